"""``manage.py create_key NAME``: creates an API key and prints it, which is possible only once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError

from streaming.models import ApiKey


class Command(BaseCommand):
    help = "Creates an API key and prints it, once. Programs send it as 'Authorization: Bearer ...' or 'x-api-key'."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="a name that says what the key is for")
        parser.add_argument(
            "--owner", metavar="USERNAME", help="the user the key belongs to (default: the only superuser)"
        )

    def handle(self, *args: Any, name: str, owner: str | None, **options: Any) -> None:
        if not name.strip() or len(name) > 100:
            raise CommandError("The name has to be 1 to 100 characters long.")
        try:
            key = ApiKey(name=name.strip(), owner=self._owner(owner))
            secret = key.make_secret()
            key.save()
        except DatabaseError as error:
            raise CommandError(f"The key cannot be saved in the database ({error}). Run 'migrate'?") from error
        self.stdout.write(secret)
        self.stderr.write(
            f"This key is shown only once. It gives access as {key.owner}, and can be revoked in the admin."
        )

    def _owner(self, name: str | None) -> Any:
        users = get_user_model().objects
        if name is not None:
            if user := users.filter(**{get_user_model().USERNAME_FIELD: name}).first():
                return user
            raise CommandError(f"There is no user {name!r}.")
        if len(found := users.filter(is_superuser=True, is_active=True)[:2]) == 1:
            return found[0]
        raise CommandError(
            f"There is {'more than one' if found else 'no'} superuser: name the key's owner with --owner."
        )
