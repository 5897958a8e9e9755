"""``manage.py create_key NAME``: creates an API key and prints it, which is possible only once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError

from streaming.models import ApiKey


class Command(BaseCommand):
    help = "Makes an API key and prints it, this once. Programs send it as 'Authorization: Bearer ...' or 'x-api-key'."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what it is for")
        parser.add_argument("--owner", metavar="USERNAME", help="whose it is (default: the only superuser)")

    def handle(self, *args: Any, name: str, owner: str | None, **options: Any) -> None:
        if not name.strip() or len(name) > 100:
            raise CommandError("The name has to be 1 to 100 characters long.")
        try:
            key = ApiKey(name=name.strip(), owner=self._owner(owner))
            secret = key.make_secret()
            key.save()
        except DatabaseError as error:
            raise CommandError(f"The key cannot be kept in the database ({error}). Run 'migrate'?") from error
        self.stdout.write(secret)
        self.stderr.write(f"It is shown this once. It lets in as {key.owner}; the admin takes it back.")

    def _owner(self, name: str | None) -> Any:
        users = get_user_model().objects
        if name is not None:
            if user := users.filter(**{get_user_model().USERNAME_FIELD: name}).first():
                return user
            raise CommandError(f"There is no user {name!r}.")
        if len(found := users.filter(is_superuser=True, is_active=True)[:2]) == 1:
            return found[0]
        raise CommandError(f"There is {'more than one' if found else 'no'} superuser: say whose it is with --owner.")
