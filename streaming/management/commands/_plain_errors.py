"""Reports failures of the database and of files as one sentence instead of a traceback."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError


class PlainCommand(BaseCommand):
    """A command that uses the database or files."""

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used ({error}). Run 'migrate'?") from error
        except OSError as error:
            file = f"{error.filename}: " if error.filename else ""
            raise CommandError(f"The command failed: {file}{error.strerror or error}.") from error
