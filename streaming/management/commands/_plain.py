"""What goes wrong outside a command is one sentence, not a traceback."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError


class PlainCommand(BaseCommand):
    """A command that needs the database, and writes to wherever its output goes."""

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used ({error}). Run 'migrate'?") from error
        except OSError as error:
            raise CommandError(f"It cannot go on: {error.strerror or error}.") from error
