"""``manage.py doctor``: tries settings, database, Redis and upstreams, and says how to mend what fails."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import django
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from streaming import conf, resumption, upstreams
from streaming.journal import JournalError
from streaming.models import ApiKey, ModerationRule
from streaming.upstream_settings import read_config

Finding = tuple[str, str, str]
"""``ok``, ``note`` or ``FAIL``; what it is about; and a sentence."""

SERVERS = ("daphne", "uvicorn", "granian", "hypercorn", "gunicorn")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class Command(BaseCommand):
    help = "Looks at the settings, the database, Redis, the upstreams, keys and proxies, and prints what it finds."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        failed = 0
        for finding in findings():
            failed += finding[0] == "FAIL"
            self.stdout.write("{:<5} {:<11} {}".format(*finding))
        if failed:
            raise CommandError(f"{failed} of these cannot work as {'it is' if failed == 1 else 'they are'}.")


def findings() -> Iterator[Finding]:
    yield "ok", "versions", _versions()
    yield from _settings()
    yield from _database()
    with _quiet():
        yield from asyncio.run(_network())
    yield from _proxies()


@contextmanager
def _quiet() -> Iterator[None]:
    """What is logged about a failure is in the finding, too."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _versions() -> str:
    servers = [f"{name} {metadata.version(name)}" for name in SERVERS if find_spec(name)]
    parts = [f"Python {platform.python_version()}", f"Django {django.get_version()}", *servers]
    return ", ".join(parts)


def _settings() -> Iterator[Finding]:
    # Without the checks that ask the database, which Django 6.1 makes as well: it has a line of its own.
    messages = [message for message in checks.run_checks(databases=[]) if message.level >= checks.WARNING]
    if not messages:
        yield "ok", "settings", f"manage.py check has nothing to say about {settings.SETTINGS_MODULE}"
    for message in messages:
        level = "FAIL" if message.is_serious() else "note"
        yield level, "settings", f"{message.msg} {message.hint or ''}".strip()


def _database() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
        version = ".".join(map(str, connection.get_database_version()))
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except (DatabaseError, ImproperlyConfigured) as error:
        yield "FAIL", "database", f"{connection.settings_dict['NAME']} cannot be used: {' '.join(str(error).split())}"
        return
    if missing:
        yield "FAIL", "database", f"{connection.vendor} {version}: run 'manage.py migrate' ({len(missing)} are missing)"
        return
    rules, keys = ModerationRule.objects.count(), ApiKey.objects.count()
    yield "ok", "database", f"{connection.vendor} {version}, migrated; {rules} rule{'' if rules == 1 else 's'}"
    yield "ok" if keys else "note", "API keys", f"{keys} in the database; 'manage.py create_key' makes one"


async def _network() -> list[Finding]:
    """Redis and the upstreams, in one event loop."""
    found = [await _redis()]
    if "default" not in conf.upstreams():
        found.append(("ok", "upstreams", "'default' is this project's own /stream: UPSTREAM_URL is not set"))
    found += [await _upstream(name, entry) for name, entry in conf.upstreams().items()]
    await upstreams.close()
    return found


async def _redis() -> Finding:
    if not conf.redis_url():
        return "note", "Redis", "REDIS_URL is not set: each worker keeps its own streams, so use one worker"
    try:
        state = await resumption.state()
        if state["status"] != "ok":
            return "FAIL", "Redis", f"REDIS_URL is set, and Redis does not answer there: {await _refusal_of_redis()}"
    except (JournalError, ImproperlyConfigured) as error:
        return "FAIL", "Redis", str(error)
    finally:
        await resumption.close()
    return "ok", "Redis", "answers: every worker can serve every stream"


async def _refusal_of_redis() -> str:
    from streaming import redis_client  # it need not be installed

    client = redis_client.client_with_one_connection(conf.redis_url(), timeout=5, queue=5)
    try:
        await client.ping()
    except redis_client.STORE_ERRORS as error:
        return " ".join(str(error).split()) or type(error).__name__
    finally:
        await client.aclose()
    return "now it does"


async def _upstream(name: str, entry: dict[str, Any]) -> Finding:
    try:
        upstream = read_config(name, entry)
    except ImproperlyConfigured as error:
        return "FAIL", "upstreams", str(error)
    works, sentence = await upstreams.probe(upstream)
    key = "with a key" if upstream.headers else "without a key"
    where = f"unix:{upstream.socket}" if upstream.socket else upstream.url
    return "ok" if works else "FAIL", "upstreams", f"{name!r} at {where} ({upstream.format}, {key}): {sentence}"


def _proxies() -> Iterator[Finding]:
    trusted = ", ".join(conf.trusted_proxies())
    if trusted:
        yield "ok", "proxies", f"X-Forwarded-For, -Proto and -Host are believed from {trusted}"
    else:
        yield "note", "proxies", "STREAMING_TRUSTED_PROXIES is not set: no X-Forwarded- header is believed"
    outgoing = [name for name in PROXY_VARIABLES if os.environ.get(name) or os.environ.get(name.lower())]
    if outgoing:
        yield "ok", "proxies", f"upstreams are reached as {', '.join(outgoing)} say"
