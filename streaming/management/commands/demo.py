"""``manage.py demo``: from a fresh clone to a running site in one command."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, call_command
from django.db import DatabaseError, transaction
from django.http.request import validate_host

from streaming import conf
from streaming.login import one_time_path
from streaming.management.commands import _llama
from streaming.models import ApiKey, ModerationRule

ADMIN = "admin"
KEY_NAME = "demo"

# They match words in documents/tour.md, so that the first stream shows moderation. None of these matches blocks it.
SAMPLE_RULES = [
    {"pattern": "darn", "action": "mask", "category": "profanity", "note": "A sample: a mild swear word."},
    {"pattern": "secret-project", "action": "mask", "category": "internal", "note": "A sample: a code name."},
    {"pattern": "内部代号", "action": "mask", "category": "internal", "note": "示例：内部用语。"},
    {"pattern": "垃圾广告", "action": "mask", "category": "spam", "note": "示例：广告。"},
    {"pattern": "stop-the-stream-here", "action": "block", "category": "test", "note": "A sample: ends the answer."},
    {"pattern": "tired engineer", "action": "flag", "category": "care", "note": "A sample: shown, and recorded."},
    {
        "pattern": r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,40}){1,3}",
        "kind": "regex",
        "action": "replace",
        "replacement": "(e-mail)",
        "category": "contact",
        "note": "A sample: a regular expression. An allow rule makes an exception: someone@example.com.",
    },
    {
        "pattern": "someone@example.com",
        "action": "allow",
        "note": "A sample: an exception from the rule that replaces e-mail addresses.",
    },
]


class Command(BaseCommand):
    help = "Prepares the database, an admin and a few sample rules, once; then serves the site with Daphne."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="the port to listen on (default: %(default)s)")
        parser.add_argument("--model", action="store_true", help="also run a small LLM on this machine")

    def handle(self, *args: Any, host: str, port: int, model: bool, **options: Any) -> None:
        if model and not _llama.is_installed():
            raise CommandError(_llama.BEFORE_DOWNLOADING)
        self._check_port(host, port)
        others = _reachable_by_others(host)
        with _one_at_a_time():
            password, path, key = self._prepare()
        shown = f"[{host}]" if ":" in host else host
        site = f"http://{'localhost' if host in ('0.0.0.0', '::') else shown}:{port}"  # noqa: S104 (only compared)
        self.stdout.write(f"The page:   {site}/")
        self.stdout.write(f"The rules:  {site}/admin/streaming/moderationrule/")
        self.stdout.write(f"Logged in:  {site}{path} (a link that logs you in as the admin, once)")
        if password:
            self.stdout.write(f"Log in as {ADMIN!r} with the password {password} (shown only once).")
        self.stdout.write(f"With curl:  curl -N {site}/transfer")
        self.stdout.write(f"API key:    {key} (valid until the demo is started again)")
        self._describe_others(others, port)
        with self._model(site) if model else nullcontext():
            self.stdout.write("Press Ctrl-C to stop.")
            self.stdout.flush()
            serve(host, port)

    def _describe_others(self, addresses: list[str], port: int) -> None:
        """How readers on other machines reach the site, and what they need."""
        refused = [address for address in addresses if not validate_host(address, settings.ALLOWED_HOSTS)]
        for address in addresses if not refused else ():
            self.stdout.write(f"Others:     http://{address}:{port}/ (upstreams of yours need a login or an API key)")
        if refused:
            names = ",".join([*settings.ALLOWED_HOSTS, *refused])
            self.stdout.write(f"Others get an error at {', '.join(refused)}, unless you set ALLOWED_HOSTS={names}")

    @contextmanager
    def _model(self, site: str) -> Iterator[None]:
        """Run a real model and add it to the upstreams."""
        self.stdout.write("Starting the model ...")
        self.stdout.flush()
        with _llama.serving() as url:
            gemma = {
                "URL": url,
                "FORMAT": "openai",
                "MODEL": _llama.NAME,
                "TIMEOUTS": {"idle": 300},  # a slow machine may read a long prompt for minutes
            }
            settings.STREAMING_UPSTREAMS = {**conf.upstreams(), "gemma": gemma}
            self.stdout.write(f"The model:  {_llama.NAME}; choose 'gemma' under 'Answered by' on the page")
            self.stdout.write(
                f"By client:  OpenAI(base_url='{site}/v1', api_key=<the key above>), model='{_llama.NAME}'"
            )
            yield

    def _check_port(self, host: str, port: int) -> None:
        """Fail before anything is created if the port is taken: Daphne itself would go on without it."""
        if not 0 < port < 65536:
            raise CommandError(f"There is no port {port}: it is a number from 1 to 65535.")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with closing(socket.socket(family)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise CommandError(
                    f"Cannot listen on {host}, port {port} ({reason}). Another program may have it: try --port."
                ) from error

    def _prepare(self) -> tuple[str | None, str, str]:
        """Create the tables, an admin and the sample rules.

        Returns the admin's password if it is new, the path that logs the admin in once, and an API key.
        """
        try:
            call_command("migrate", verbosity=0, interactive=False)
            with transaction.atomic():
                password = self._make_admin_and_rules()
                admin = get_user_model().objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
                if admin is None:
                    raise CommandError("No superuser is active: 'manage.py createsuperuser' creates one.")
                return password, one_time_path(admin), self._make_key(admin)
        except DatabaseError as error:
            name = settings.DATABASES["default"]["NAME"]
            raise CommandError(f"The database {name} cannot be prepared: {error}.") from error

    def _make_key(self, admin: Any) -> str:
        """A new key each time, because the previous one cannot be shown again."""
        ApiKey.objects.filter(owner=admin, name=KEY_NAME).delete()
        key = ApiKey(owner=admin, name=KEY_NAME)
        secret = key.make_secret()
        key.save()
        return secret

    def _make_admin_and_rules(self) -> str | None:
        users = get_user_model().objects
        if users.filter(is_superuser=True).exists():
            return None  # the site is already set up: leave its users and rules alone
        password = secrets.token_urlsafe(9)
        users.create_superuser(ADMIN, password=password)
        if not ModerationRule.objects.exists():
            for fields in SAMPLE_RULES:
                ModerationRule.objects.create(**fields)
        return password


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two demos that begin at the same moment would both create the tables of a new SQLite database."""
    database = settings.DATABASES["default"]
    try:
        folder = os.open(Path(database["NAME"]).parent, os.O_RDONLY)
    except OSError:  # the database says what is wrong, if anything is
        yield
        return
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}


def _reachable_by_others(host: str) -> list[str]:
    """This machine's addresses on which ``host`` listens, as they stand in URLs.

    They are added to ALLOWED_HOSTS if that has only local names: whoever chose --host wants to be reached.
    """
    if host in LOCAL_NAMES or host.startswith("127.") or host == "::1":
        return []
    addresses = _own_addresses(host) if host in ("0.0.0.0", "::") else [host]  # noqa: S104 (only compared)
    addresses = [f"[{address}]" if ":" in address else address for address in addresses]
    if set(settings.ALLOWED_HOSTS) <= LOCAL_NAMES:
        settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, *addresses, *_own_names()]
    return addresses


def _own_names() -> list[str]:
    """The names by which others on this network may know this machine: its host name, and that of mDNS (RFC 6762)."""
    name = socket.gethostname().lower()
    return [name, f"{name}.local"] if name and "." not in name else [name] if name else []


def _own_addresses(host: str) -> list[str]:
    """The addresses from which this machine would reach others. Nothing is sent for a UDP "connection"."""
    found = []
    documentation = [(socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")]  # RFC 5737, RFC 3849
    for family, destination in documentation if host == "::" else documentation[:1]:
        with suppress(OSError), closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            probe.connect((destination, 9))
            found.append(probe.getsockname()[0])
    return found


def serve(host: str, port: int) -> None:
    """Serve this site with Daphne until a signal ends it."""
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.management.commands.runserver import get_default_application
    from daphne.server import Server

    Server(
        get_default_application(), endpoints=build_endpoint_description_strings(host=host, port=port), verbosity=1
    ).run()
