"""The benchmarks run. Their figures are not checked, because the machine may be busy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SERVING = Path(__file__).parent / "benchmarks" / "serving.py"
RESUMING = SERVING.with_name("resuming.py")


def test_a_small_run_of_the_serving_benchmark_gives_its_tables() -> None:
    command = [sys.executable, str(SERVING), "--quick", "--alone", "paced", "chat", "opening", "--servers", "uvicorn"]

    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    for row in ("plain Node", "`/transfer` on uvicorn", "`/proxy` on uvicorn", "`/v1` on uvicorn", "on uvicorn"):
        assert f"| {row} |" in run.stdout


def test_a_small_run_of_the_benchmark_of_coming_back_gives_its_figures() -> None:
    command = [sys.executable, str(RESUMING), "--quick", "cost", "join", "kept", "storm"]

    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    for line in ("the journal's own", "redis, another worker", "of them data", "requests each"):
        assert line in run.stdout
