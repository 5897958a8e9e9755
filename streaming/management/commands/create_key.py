"""``manage.py create_key NAME``: creates an API key and prints it, once; or rotates or revokes one."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from streaming import upstreams
from streaming.models import ApiKey

MAX_DAYS = 36_500


class Command(BaseCommand):
    help = "Creates an API key and prints it, once. Programs send it as 'Authorization: Bearer ...' or 'x-api-key'."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="a name that says what the key is for")
        parser.add_argument(
            "--owner", metavar="USERNAME", help="the user as whom the key acts (default: the only superuser)"
        )
        existing = parser.add_mutually_exclusive_group()
        existing.add_argument(
            "--rotate", action="store_true", help="give the key of this name, or beginning, a new secret"
        )
        existing.add_argument("--revoke", action="store_true", help="disable the key of this name, or beginning")
        parser.add_argument("--days", type=_days, metavar="N", help="expires after so many days (default: never)")
        parser.add_argument(
            "--upstream",
            action="append",
            default=[],
            metavar="NAME",
            help="may use only this upstream; may be given again",
        )
        parser.add_argument(
            "--model",
            action="append",
            default=[],
            metavar="NAME",
            help="may use only this model, or with gpt-* those that begin so; may be given again",
        )
        for option, unit in LIMITS.items():
            option_help = f"{unit} (default: the site's limit; 0: none)"
            parser.add_argument(f"--{option.replace('_', '-')}", type=_count, metavar="N", help=option_help)

    def handle(self, *args: Any, name: str, owner: str | None, **options: Any) -> None:
        try:
            if options["rotate"] or options["revoke"]:
                _require_no_limits(options)
                self._change(self._existing(name, owner), options)
            else:
                self._create(name, owner, options)
        except DatabaseError as error:
            raise CommandError(f"The key cannot be saved in the database ({error}). Run 'migrate'?") from error

    def _create(self, name: str, owner: str | None, options: dict[str, Any]) -> None:
        if not name.strip() or len(name) > 100:
            raise CommandError("The name has to be 1 to 100 characters long.")
        if unknown := sorted(set(options["upstream"]) - set(upstreams.names())):
            raise CommandError(f"There is no upstream {unknown[0]!r}; there are {', '.join(upstreams.names())}.")
        user = self._owner(owner)
        if not user.is_active:
            raise CommandError(f"The user {owner!r} is not active, so every key of theirs is refused.")
        key = ApiKey(
            name=name.strip(),
            owner=user,
            expires=_expiry(options["days"]),
            allowed_upstreams=options["upstream"],
            allowed_models=options["model"],
            **{limit: options[limit] for limit in LIMITS},
        )
        secret = key.make_secret()
        key.save()
        self.stdout.write(secret)
        self.stderr.write(
            f"This key is shown only once. It gives access as {key.owner}{_rights(key)}, "
            "and can be revoked in the admin."
        )

    def _change(self, key: ApiKey, options: dict[str, Any]) -> None:
        if options["revoke"]:
            key.enabled = False
            key.save(update_fields=["enabled"])
            self.stderr.write(f"{key} is refused within a second.")
            return
        secret = key.rotate()
        if options["days"]:
            key.expires = _expiry(options["days"])
            key.save(update_fields=["expires"])
        self.stdout.write(secret)
        self.stderr.write("This key is shown only once. The one before it is refused within a second.")
        if not key.is_valid_at(timezone.now()):
            how = "give --days" if key.enabled else "enable it in the admin"
            self.stderr.write(f"It is refused too, because the key {_state(key)}: {how}.")

    def _existing(self, name: str, owner: str | None) -> ApiKey:
        found = ApiKey.objects.select_related("owner").filter(Q(name=name.strip()) | Q(prefix=name.strip()))
        if owner is not None:
            found = found.filter(owner=self._owner(owner))
        if len(keys := found[:2]) == 1:
            return keys[0]
        many = "more than one key has this name: give its first 14 characters, as the admin shows them"
        raise CommandError(f"{name!r}: {many if keys else 'there is no such key'}.")

    def _owner(self, name: str | None) -> Any:
        users = get_user_model().objects
        if name is not None:
            if user := users.filter(**{get_user_model().USERNAME_FIELD: name}).first():
                return user
            raise CommandError(f"There is no user {name!r}.")
        if len(found := users.filter(is_superuser=True, is_active=True)[:2]) == 1:
            return found[0]
        if found:
            raise CommandError("There is more than one superuser: name the key's owner with --owner.")
        words = "make one with 'manage.py createsuperuser', or name the key's owner with --owner"
        raise CommandError(f"There is no superuser: {words}.")


def _rights(key: ApiKey) -> str:
    return " (a superuser: --owner names another user)" if key.owner.is_superuser else ""


def _expiry(days: int | None) -> datetime | None:
    return timezone.now() + timedelta(days=days) if days else None


def _state(key: ApiKey) -> str:
    return "has expired" if key.enabled else "is not enabled"


LIMITS = {
    "requests_per_minute": "requests a minute",
    "streams_at_once": "streams that are open at once",
    "tokens_per_day": "tokens a day, of prompts and answers",
}


def _require_no_limits(options: dict[str, Any]) -> None:
    """CommandError for options of new keys, which an existing key would not get."""
    given = [name for name in ("upstream", "model") if options[name]]
    given += [name for name in LIMITS if options[name] is not None]
    if options["revoke"] and options["days"]:
        given.append("days")
    if given:
        option = given[0].replace("_", "-")
        raise CommandError(f"--{option} is for new keys: what an existing key may do is changed in the admin.")


def _days(value: str) -> int:
    if not 1 <= (days := _count(value)) <= MAX_DAYS:
        raise ArgumentTypeError(f"{value!r} is not a number of days from 1 to {MAX_DAYS}")
    return days


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) >= 2**31:
        raise ArgumentTypeError(f"{value!r} is not a number from 0 to {2**31 - 1}")
    return int(value)
