"""The benchmarks run. Their figures are not checked, because the machine may be busy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SERVING = Path(__file__).parent / "benchmarks" / "serving.py"
RESUMING = SERVING.with_name("resuming.py")
INNOCENT = SERVING.with_name("innocent.py")


def test_a_small_run_of_the_serving_benchmark_gives_its_tables() -> None:
    command = [sys.executable, str(SERVING), "--quick", "--alone", "paced", "chat", "opening", "--servers", "uvicorn"]

    run = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)

    assert run.returncode == 0, run.stderr
    for row in ("plain Node", "`/transfer` on uvicorn", "`/proxy` on uvicorn", "`/v1` on uvicorn", "on uvicorn"):
        assert f"| {row} |" in run.stdout


def test_a_small_run_of_the_benchmark_of_coming_back_gives_its_figures() -> None:
    command = [sys.executable, str(RESUMING), "--quick", "cost", "join", "kept", "storm"]

    run = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)

    assert run.returncode == 0, run.stderr
    for line in ("the journal's own", "redis, another worker", "of them data", "requests each"):
        assert line in run.stdout


def test_the_benchmark_of_innocent_text_counts_what_word_lists_hit(tmp_path: Path) -> None:
    (tmp_path / "th.json").write_text('{"words": ["หี", "ตกลงไหม"]}', "utf-8")
    (tmp_path / "de.txt").write_text("Datum\n\nrkz\n", "utf-8")

    command = [sys.executable, str(INNOCENT), f"th={tmp_path / 'th.json'}", f"de={tmp_path / 'de.txt'}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)

    assert run.returncode == 0, run.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in run.stdout.splitlines()[2:]]
    assert [row[:2] for row in rows[:2]] == [["th", "2 substrings"], ["th", "2 whole words"]]
    assert [row[3] for row in rows[:2]] == ["0.0 %", "0.0 %"]
    assert [row[1] for row in rows[2:]] == ["2 substrings", "2 whole words"]
    assert all("Datum" in row[5] for row in rows[2:])
