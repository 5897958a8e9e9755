"""``manage.py moderate``: a text through the rules, from a file or a pipe."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests import warm_starts
from tests.conftest import DEADLINE, ROOT, environment, eventually, manage

SUMMARY = re.compile(
    r"([\d,]+) characters of markdown, ([\d,]+) hits, held: mean ([\d.]+), p99 (\d+); ([\d.]+) µs per character\n\Z"
)


def moderate(
    folder: Path, *arguments: object, text: str | bytes | None = None, rules: str | bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command, with this on stdin and these rules in a file."""
    command = [str(ROOT / "manage.py"), "moderate", *map(str, arguments)]
    if rules is not None:
        (folder / "rules").write_bytes(rules.encode() if isinstance(rules, str) else rules)
        command += ["--rules", "rules"]
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(text.encode() if isinstance(text, str) else text or b"")
        given.seek(0)
        returncode = warm_starts.start(command, environment(folder), folder, out, err, given).wait(240)
        printed = [written.seek(0) or written.read().decode() for written in (out, err)]
    return subprocess.CompletedProcess(command, returncode, *printed)


def complaint(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 1
    assert run.stdout == ""
    return run.stderr.strip().removeprefix("CommandError: ")


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_prints_the_moderated_text_in_every_cut(tmp_path: Path, cut: int) -> None:
    run = moderate(tmp_path, "--cut", cut, text="Oh DARN, 坏话\r\nin two lines\n", rules="darn\n坏话")

    assert (run.returncode, run.stdout) == (0, "Oh ••••, ••\r\nin two lines\n")


def test_reads_a_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a darn thing", "utf-8")

    assert moderate(tmp_path, "text", rules="darn").stdout == "a •••• thing"


def test_prints_a_summary(tmp_path: Path) -> None:
    run = moderate(tmp_path, "--cut", 1, text="a darn dar thing " * 100, rules="darn")

    found = SUMMARY.search(run.stderr)
    assert found
    assert found.groups()[:2] == ("1,700", "100")
    # Of the 17 characters of a round, d is held as 1, a as 2, r as 3, twice.
    assert float(found[3]) == pytest.approx(12 / 17, abs=0.01)
    assert found[4] == "3"


def test_explains_each_hit(tmp_path: Path) -> None:
    rules = "pattern,action\ndarn,mask\nheck,flag\nstop,block\n"

    run = moderate(tmp_path, "--explain", text="oh darn, heck, stop here", rules=rules)

    assert run.stdout == "oh ••••, heck, "
    assert run.stderr.splitlines()[:3] == [
        "rules, line 2: mask 3-7 (darn)",
        "rules, line 3: flag 9-13 (heck)",
        "rules, line 4: block 15-19 (stop)",
    ]


def test_explains_why_a_text_is_a_hit(tmp_path: Path) -> None:
    rules = "pattern,compare\ndarn,\nshit,loose\n"

    run = moderate(tmp_path, "--explain", "--cut", 2, text="d&#97;rn [da](x)[rn](y) $h1t", rules=rules)
    arguments = moderate(tmp_path, "--explain", "--medium", "json", text=r'{"q": "\u0064arn"}', rules=rules)

    assert run.stderr.splitlines()[:3] == [
        "rules, line 2: mask 0-8 (darn): through character codes; read as 'darn'",
        "rules, line 2: mask 10-19 (darn): through Markdown; read as 'darn'",
        "rules, line 3: mask 24-28 (shit, loose): look-alike letters; read as 'shit'",
    ]
    assert arguments.stdout == '{"q": "••••"}'
    assert arguments.stderr.startswith("rules, line 2: mask 7-16 (darn): through JSON's escapes; read as 'darn'\n")
    assert " characters of json, 1 hits" in arguments.stderr


def test_filters_rules_by_upstream_and_direction(tmp_path: Path) -> None:
    rows = ["a,one,both,,", "b,,prompts,,", "c,,,no,", "d,,,,2001-01-01", "e,,,,"]
    rules = "\n".join(["pattern,upstreams,applies_to,enabled,valid_until", *rows])

    def shown(*arguments: str) -> str:
        return moderate(tmp_path, *arguments, text="abcde", rules=rules).stdout

    assert shown() == "••cd•"
    assert shown("--upstream", "default") == "a•cd•"
    assert shown("--upstream", "one", "--direction", "answers") == "•bcd•"


def test_the_rules_of_a_backup_are_as_active_as_their_lists(tmp_path: Path) -> None:
    lists = ['["off", "false"]', '["on trial", "true", "true"]', '["limited", "true", "false", "one"]']
    rows = ["a,off,", "b,on trial,", "c,limited,", "d,limited,two", "e,unknown,", "f,,"]
    rules = "\n".join([*(f"# list: {each}" for each in lists), "pattern,list,upstreams", *rows])

    assert moderate(tmp_path, text="abcdef", rules=rules).stdout == "ab•d••"
    assert moderate(tmp_path, "--upstream", "default", text="abcdef", rules=rules).stdout == "abcd••"


def test_an_upstream_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    rules = "pattern,upstreams\na,one"

    run = moderate(tmp_path, "--upstream", "ome", text="a", rules=rules)

    assert complaint(run) == "There is no upstream 'ome'. Known are default, one."


def test_uses_the_rules_of_the_database_by_default(migrated: Path, tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").write_bytes((migrated / "db.sqlite3").read_bytes())
    made = "from streaming.models import ModerationRule as R; R.objects.create(pattern='darn', action='drop')"
    assert manage(tmp_path, "shell", "-c", made).returncode == 0

    run = moderate(tmp_path, "--explain", text="oh darn it")

    assert run.stdout == "oh  it"
    assert run.stderr.startswith("rule 1: drop 3-7 (darn)\n")


def test_prints_the_warning_of_a_rule(tmp_path: Path) -> None:
    run = moderate(tmp_path, text="aab", rules="pattern,kind\na+b,regex\n")

    assert run.stdout == "•••"
    assert run.stderr.startswith("rules, line 2: A match is cut at 4,096 characters.\n")


def test_prints_text_while_the_pipe_is_still_open(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("darn", "utf-8")
    command = [sys.executable, str(ROOT / "manage.py"), "moderate", "--rules", "rules"]
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            command, env=environment(tmp_path), cwd=tmp_path, stdin=subprocess.PIPE, stdout=out, stderr=out
        )
        assert process.stdin
        process.stdin.write(b"a darn th")
        process.stdin.flush()
        eventually(lambda: (tmp_path / "out").read_text("utf-8") == "a •••• th", "what was written is shown")
        process.stdin.close()
        assert process.wait(DEADLINE) == 0


def test_ends_quietly_when_its_output_is_closed(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("darn", "utf-8")
    (tmp_path / "text").write_text("a line\n" * 100_000, "utf-8")
    command = f"{sys.executable} {ROOT / 'manage.py'} moderate text --rules rules | head -n 1"

    run = subprocess.run(command, shell=True, env=environment(tmp_path), cwd=tmp_path, capture_output=True, check=False)

    assert run.stdout == b"a line\n"
    assert b"Traceback" not in run.stderr
    assert b"Broken" not in run.stderr


class TestAnError:
    @pytest.mark.parametrize(
        ("rules", "words"),
        [
            ("pattern,kind\nok,\n(x,regex\n", "rules, line 3: At character 1: the ( is not closed."),
            ("pattern,color\n", "rules, line 1: Unknown column “color”."),
            (b"ok\n\x00\x01", "rules, line 2: The pattern contains a NUL character."),
            ("好\n".encode() * 9 + b"\xff\n", "rules, line 10: It contains bytes that are not text"),
            ("pattern,priority\na,x\nb,y\n", "rules, line 2: priority: “x” is not a whole number.\nrules, line 3:"),
        ],
    )
    def test_in_the_rules_is_reported_with_its_line(self, tmp_path: Path, rules: str | bytes, words: str) -> None:
        assert complaint(moderate(tmp_path, text="x", rules=rules)).startswith(words)

    def test_in_the_text_is_reported_with_its_line(self, tmp_path: Path) -> None:
        run = moderate(tmp_path, text=b"one\ntwo\nthr\xffee\n", rules="darn")

        assert (run.returncode, run.stderr) == (1, "CommandError: stdin, line 3: the byte 0xFF is not UTF-8.\n")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nowhere.txt", "--rules", __file__ + ".none"], "none cannot be read: No such file or directory."),
            (["--rules", "."], ". cannot be read: Is a directory."),
            (["--cut", "0"], "--cut is 0: it has to be 1 or more."),
            ([], "The database cannot be used (no such table"),
        ],
    )
    def test_in_the_arguments_is_reported_in_one_sentence(
        self, tmp_path: Path, arguments: list[str], words: str
    ) -> None:
        assert words in complaint(moderate(tmp_path, *arguments, text="x"))

    def test_in_reading_the_file_is_reported_in_one_sentence(self, tmp_path: Path) -> None:
        run = moderate(tmp_path, "nowhere.txt", rules="darn")

        assert complaint(run) == "nowhere.txt cannot be read: No such file or directory."
