"""A program that is started warm cannot tell it from a cold start, nor can who started it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import psutil
import pytest

from tests import warm_starts
from tests.conftest import DEADLINE, ROOT, eventually

LOOK = """
import atexit, json, os, signal, sys, threading
atexit.register(print, "at its end")
print(json.dumps({
    "name": __name__, "arguments": sys.argv, "folder": os.getcwd(), "first path": sys.path[0],
    "environment": dict(sorted(os.environ.items())), "input": sys.stdin.read(),
    "files": sorted(map(int, os.listdir("/proc/self/fd")))[:3], "many files": len(os.listdir("/proc/self/fd")),
    "threads": threading.active_count(), "Ctrl-C": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "too early": sorted({"twisted.internet.reactor", "daphne.server", "streaming"} & {*sys.modules}),
    "buffered": not sys.stdout.write_through,
}))
print("an error", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(warm_starts, "_has_failed", False)
    (tmp_path / "manage.py").write_text(LOOK)
    return tmp_path


def ran(process: warm_starts.WarmProcess | subprocess.Popen[bytes], out: object, err: object) -> tuple[object, ...]:
    returncode = process.wait(DEADLINE)
    for written in (out, err):
        written.seek(0)  # type: ignore[attr-defined]
    return returncode, out.read().decode(), err.read().decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize("has_input", [False, True], ids=["without input", "with input"])
def test_finds_what_a_cold_start_finds(folder: Path, has_input: bool) -> None:
    env = {"PYTHONUNBUFFERED": "1", "SECRET_KEY": "x", "LANG": "C.UTF-8"}
    words = [str(folder / "manage.py"), "one", "two three"]
    (folder / "given").write_bytes("Öne line\r\nand another".encode() if has_input else b"")
    with TemporaryFile() as out, TemporaryFile() as err, (folder / "given").open("rb") as given:
        process = warm_starts.start(words, env, folder, out, err, given if has_input else None)
        warm = ran(process, out, err)
    with TemporaryFile() as out, TemporaryFile() as err, (folder / "given").open("rb") as given:
        command = [sys.executable, *words]
        streams = {"stdout": out, "stderr": err, "stdin": given if has_input else subprocess.DEVNULL}
        cold = ran(subprocess.Popen(command, env=env, cwd=folder, **streams), out, err)  # type: ignore[call-overload]

    assert isinstance(process, warm_starts.WarmProcess)
    assert cold[0] == 3
    assert warm == cold


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_says_which_signal_ended_it(folder: Path, number: int) -> None:
    (folder / "manage.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(600)\n")
    with TemporaryFile() as out:
        process = warm_starts.start([str(folder / "manage.py")], {}, folder, out, out)
        eventually(lambda: out.tell() or out.seek(0, 2), "it runs")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        assert process.poll() is None

        process.send_signal(number)

        assert process.wait(DEADLINE) == -number
        process.kill()  # it is no error that it has ended


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["-m", "uvicorn", "--workers", "2", "ssesite.asgi:application"], {}),
        (["-m", "granian", "ssesite.asgi:application"], {}),
        (["manage.py", "runserver"], {}),
        (["-c", "print()"], {}),
        (["-m", "daphne", "ssesite.asgi:application"], {"PYTHONPATH": "/elsewhere"}),
        (["-m", "daphne", "ssesite.asgi:application"], {"STREAMING_UPSTREAMS": "x" * 20_000}),
    ],
)
def test_is_not_for_what_looks_at_how_it_was_started(words: list[str], env: dict[str, str]) -> None:
    assert not warm_starts._can_be_warm(words, env)


def test_ends_what_still_runs_when_the_tests_have_ended(folder: Path) -> None:
    (folder / "manage.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(600)\n")
    code = (
        "import sys; from pathlib import Path; from tests import warm_starts; log = open(sys.argv[1], 'wb')\n"
        "words = [str(Path(sys.argv[1]).with_name('manage.py'))]\n"
        "print(warm_starts.start(words, {}, Path(sys.argv[1]).parent, log, log).pid)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, folder / "log"], cwd=ROOT, check=True, stdout=subprocess.PIPE)

    eventually(lambda: has_ended(int(ran.stdout)), "it is terminated")


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
