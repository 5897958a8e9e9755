"""Starts Python programs as forks of a process that has imported their libraries already.

The imports are two thirds of what a start of the site costs, and the tests start it some hundred times. What is forked
has no thread, no event loop and no settings yet, and gets arguments, environment, folder and files of its own: from
there on it is the program that ``python -m daphne`` or ``python manage.py`` would be. With the environment variable
COLD_STARTS each program starts from nothing.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, NoReturn

LIBRARIES = (
    *("aiohttp", "asgiref.server", "asgiref.sync", "cffi.cparser", "dj_database_url", "environs", "h2.connection"),
    *("httpx", "hyperlink", "redis.asyncio", "regex", "service_identity", "servestatic", "uvicorn.config", "yaml"),
    *("django.contrib.admin.options", "django.contrib.staticfiles.handlers", "django.core.handlers.asgi"),
    *("django.core.management", "django.core.serializers.json", "django.db.models", "django.forms"),
    *("django.template.backends.django", "django.urls.base", "twisted.internet.asyncioreactor"),
    *("twisted.internet.base", "twisted.internet.ssl", "twisted.internet.tcp", "twisted.protocols.tls"),
    *("twisted.web.http", "zope.interface"),
)
"""What the site imports and does nothing yet. Not Daphne, which makes its event loop when it is imported."""

TOO_EARLY = ("twisted.internet.reactor", "daphne.server", "prometheus_client")
"""What has to be imported by each program itself: it opens files, or reads the environment."""

LARGEST = 1 << 17
"""The bytes of a request, at most: one message of a socket."""


class WarmProcess:
    """A program that was started so; as far as tests need it, like ``subprocess.Popen``."""

    def __init__(self, words: list[str], pid: int, status: socket.socket) -> None:
        self.args, self.pid = words, pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        return self._read_status(0)

    def wait(self, timeout: float | None = None) -> int:
        if (returncode := self._read_status(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read_status(self, timeout: float | None) -> int | None:
        """None if it has not ended within so many seconds."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            with suppress(TimeoutError, BlockingIOError):
                self.returncode = int(self._status.recv(LARGEST) or b"-9")
                self._status.close()
        return self.returncode


class WarmStarter:
    """The process that forks, and what talks to it. Raises OSError where it does not run (any more)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        with other:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=other, env={**env, "PYTHONUNBUFFERED": "1"}, start_new_session=True
            )

    def start(self, words: list[str], env: dict[str, str], folder: Path, streams: Sequence[IO[bytes]]) -> WarmProcess:
        """``words``: what follows ``python``: ``-m`` and a module, or a file, and arguments; ``streams``: its standard
        input, output and errors."""
        status, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked = json.dumps([words, env, str(folder)]).encode()
        with self._lock, other:
            socket.send_fds(self._channel, [asked], [each.fileno() for each in (*streams, other)])
            answer = self._channel.recv(LARGEST)
        if not answer:
            status.close()
            raise ConnectionAbortedError("what starts programs has ended")
        return WarmProcess(words, int(answer), status)


_starter: WarmStarter | None = None
_has_failed = "COLD_STARTS" in os.environ or not hasattr(os, "pidfd_open")  # Linux has it


def start(
    words: list[str],
    env: dict[str, str],
    folder: Path,
    out: IO[bytes],
    err: IO[bytes],
    given: IO[bytes] | None = None,
) -> WarmProcess | subprocess.Popen[bytes]:
    """Starts Python with these arguments, and with ``given`` as its standard input: warm if possible."""
    global _starter, _has_failed
    if not _has_failed and _can_be_warm(words, env):
        try:
            _starter = _starter or WarmStarter()
            with Path(os.devnull).open("rb") as nothing:
                return _starter.start(words, env, folder, (given or nothing, out, err))
        except OSError:
            _has_failed = True
    streams = {"stdin": given or subprocess.DEVNULL, "stdout": out, "stderr": err}
    return subprocess.Popen([sys.executable, *words], env=env, cwd=folder, **streams)


def _can_be_warm(words: list[str], env: dict[str, str]) -> bool:
    """Not what starts processes itself, which look at how they were started, nor what tells Python how to start."""
    is_known = words[:2] == ["-m", "daphne"] or (words[:2] == ["-m", "uvicorn"] and "--workers" not in words)
    is_command = Path(words[0]).name == "manage.py" and "runserver" not in words
    for_python = {key for key in env if key.startswith("PYTHON")} - {"PYTHONUNBUFFERED"}
    is_short = 8 * sum(map(len, [*words, *env.values()])) < LARGEST
    return (is_known or is_command) and is_short and not for_python


# --- In the process that forks


def _await_a_program(channel: socket.socket) -> list[str]:
    """Forks for each request. Returns in what was forked, with the words to run."""
    running: dict[int, tuple[int, int]] = {}
    """By process file descriptor: the process, and the descriptor to which its status is written."""
    while True:
        ready, _, _ = select.select([channel, *running], [], [])
        for ended in [each for each in ready if each is not channel]:
            pid, status = running.pop(ended)
            os.close(ended)
            returncode = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with suppress(OSError):  # nobody may want to know
                os.write(status, b"%d" % returncode)
            os.close(status)
        if channel not in ready:
            continue
        asked, descriptors, _, _ = socket.recv_fds(channel, LARGEST, 4)
        if not asked:  # the tests have ended
            _terminate([pid for pid, _ in running.values()])
        pid = os.fork()
        if not pid:
            channel.close()
            return _take_over(*json.loads(asked), descriptors[:3])
        running[os.pidfd_open(pid)] = pid, descriptors[3]
        for each in descriptors[:3]:
            os.close(each)
        channel.send(b"%d" % pid)


def _terminate(pids: list[int]) -> NoReturn:
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    os._exit(0)


def _take_over(words: list[str], env: dict[str, str], folder: str, streams: Sequence[int]) -> list[str]:
    """Makes this process that of the program."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(3, 1 + max(int(each.name) for each in Path("/proc/self/fd").iterdir()))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    return words


def _run(words: list[str]) -> None:
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        runpy.run_path(words[0], run_name="__main__")


def _import_libraries() -> None:
    for name in LIBRARIES:
        with suppress(ImportError):
            import_module(name)
    early = [name for name in TOO_EARLY if name in sys.modules]
    if early or threading.active_count() > 1:
        sys.exit(f"{__file__} may not import {early}, nor start threads")


if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    _import_libraries()
    _run(_await_a_program(socket.socket(fileno=os.dup(0))))
