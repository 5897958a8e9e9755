"""Two dozen ways to break the moderation engine, each of which has to turn its tests red.

    uv run tests/benchmarks/mutants.py

Each mutant is one change in a copy of the project, on which tests/test_moderation.py is run until its first failure.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

# (file, what stands there, what the mutant has in its place)
MUTANTS = [
    (
        "literals.py",
        "node.may_grow = node.depth if node else fail.may_grow",
        "node.may_grow = node.depth if node else 0",
    ),
    ("literals.py", "if node.rank >= 0 or isinstance(fail, _Accepting):", "if node.rank >= 0:"),
    ("literals.py", "rank if node.rank < 0 else min(rank, node.rank)", "rank"),
    (
        "literals.py",
        "return not is_word_char(text[end]) if end < len(text) else final",
        "return not is_word_char(text[end]) if end < len(text) else True",
    ),
    ("regexes.py", "least == 0, firsts, lasts", "False, firsts, lasts"),
    ("regexes.py", "return length + places.distance(positions) <= self.max_span", "return length < self.max_span"),
    ("regexes.py", "min(start + regexes.max_span, len(text))", "len(text)"),
    ("literals.py", "child.output = suffix if suffix.rank >= 0 else suffix.output", "child.output = None"),
    ("scanning.py", "if not is_word_char(char):\n            for match", "if True:\n            for match"),
    ("scanning.py", "elif match < found[at]:", "else:"),
    ("scanning.py", "if first >= least and self._is_live(start):", "if first >= least:"),
    (
        "scanning.py",
        "self._reach[match.start] = -match.minus_end",
        "self._reach.setdefault(match.start, -match.minus_end)",
    ),
    ("scanning.py", "while starts and self._count - starts[0][0] > regexes.max_span:", "while False:"),
    ("scanning.py", "if known[-len(starts) - 1] > starts[0]:", "if False:"),
    ("scanning.py", "if not is_word_char(char):\n                self._reach", "if True:\n                self._reach"),
    ("matching.py", "if allowed.covers(match):", "if False:"),
    ("matching.py", "allowed.live <= match.start or", "False or"),
    ("matching.py", "-match.minus_end > -block.minus_end", "False"),
    ("matching.py", "keep = max(min(window.begin(folded, exact=False), keep - span), 0)", "pass"),
    ("matching.py", "self._block_from = block_from - keep", "self._block_from = 0"),
    ("scanning.py", "iter(sorted(self.all()))", "self._longest_of_each()"),
    ("window.py", "if not whole_word or not is_word_char(spelling[after - 1]):", "if True:"),
    ("moderator.py", "key=lambda rule: -rule.priority", "key=lambda rule: rule.priority"),
    ("moderator.py", "outcomes += self._flagged(decided)", "pass"),
    ("folding.py", '("Mn", "Cf")', '("Mn",)'),
]


def is_caught(folder: Path, name: str, old: str, new: str) -> bool:
    source = folder / "streaming" / "moderation" / name
    text = source.read_text("utf-8")
    if old not in text:
        sys.exit(f"{name} has no {old!r} any more: write this mutant anew")
    source.write_text(text.replace(old, new), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/test_moderation.py"]
    run = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    source.write_text(text, "utf-8")
    return run.returncode == 1


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "copy")
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".venv", ".git", "node_modules", ".hypothesis"))
        survivors = [mutant for mutant in MUTANTS if not is_caught(folder, *mutant)]
    for mutant in survivors:
        print("not caught:", *mutant, sep="\n    ")
    print(f"{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} mutants are caught")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
