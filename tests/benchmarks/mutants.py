"""Seventy-two ways to break the moderation engine, each of which has to turn its tests red.

    uv run --group dev tests/benchmarks/mutants.py

Each mutant is one change in a copy of the project, on which the tests of moderation are run until their first failure.
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
    ("word_automaton.py", "depth if is_longer or (is_word and waits) else fail.may_grow", "depth if is_longer else 0"),
    (
        "word_automaton.py",
        "kind = _Accepting if ends and not waits else Node",
        "kind = _Accepting if is_word else Node",
    ),
    ("word_automaton.py", "min(rank, ranks.get(word, rank))", "rank"),
    ("word_automaton.py", "output = fail if fail.rank >= 0 else fail.output", "output = None"),
    ("edges.py", "return final or not self.waits(text[end - 1])", "return True"),
    ("edges.py", "not (is_mark(following) and self._is_open[last])", "True"),
    ("glushkov.py", "least == 0, firsts, lasts", "False, firsts, lasts"),
    ("glushkov.py", "firsts |= first if through else 0", "firsts |= first"),
    ("lookaround.py", "return common(one[0], other[0]), one[1] and other[1]", "return one"),
    (
        "lookaround.py",
        "for target in (onward, again) if is_lazy else (again, onward):",
        "for target in (again, onward):",
    ),
    (
        "regex_automaton.py",
        "max(self.longest - state.distance, ",
        "max(self.longest - 1, ",
    ),
    ("loose_words.py", "separators < MAX_SEPARATORS", "True"),
    ("loose_words.py", "if letter == node.letter and not separators:", "if False:"),
    ("loose_words.py", "if self._joins_before(start):", "if False:"),
    ("scanning.py", "elif match < found[at]:", "else:"),
    ("scanning.py", "starts = [iter(self._waiting_starts(start))]", "starts = []"),
    ("word_automaton.py", "if after.is_hit and (end == size or may_end(char, text[end])):", "if after.is_hit:"),
    ("word_hits.py", "if start < at:", "if False:"),
    ("word_hits.py", "if start >= certain:", "if False:"),
    ("word_hits.py", "self.ends_text = at == len(raw) and", "self.ends_text = False and"),
    ("match_engine.py", "if allowed.covers(match):", "if False:"),
    ("match_engine.py", "allowed.live <= match.start or", "False or"),
    ("match_engine.py", "-match.minus_end > -block.minus_end", "False"),
    ("output.py", "self.swallows = takes_along(spelling) or", "self.swallows = False or"),
    ("spelling.py", "needs_next = match.looks or edges.waits(self.chars[after - 1])", "needs_next = False"),
    ("moderator.py", "sorted(rules, key=lambda rule: -rule.priority)", "sorted(rules, key=lambda rule: rule.priority)"),
    ("moderator.py", "*self._recorded_to_the_end(decided), Hit", "Hit"),
    ("folding.py", "if (base, mark) in _CYRILLIC_LETTERS:", "if False:"),
    ("folding.py", "return accents and not written_without", "return accents"),
    ("readings/escapes.py", 'if begun[0] == "&" and begun[1:2].isalpha():', 'if begun[0] == "&":'),
    ("readings/markdown.py", 'return data[at] == "_" and not self.previous.isalnum()', "return False"),
    ("readings/brackets.py", "        if self.has_code:\n            return self\n", ""),
    ("readings/markdown.py", '(data[at] == "]" and self.brackets.may_end_link)', 'data[at] == "]"'),
    ("readings/markdown.py", 'if char != "]":', "if True:"),
    ("readings/markdown.py", "return abs(end) if abs(end) > at else", "return abs(end) if self._skip_long else"),
    ("readings/markdown.py", 'if kind == "long" or not _HIDDEN_WITHIN.fullmatch(data, at, end):', "if False:"),
    ("readings/markdown.py", "    _shows_long_tags = False", ""),
    ("readings/markdown.py", 'kind == "long" or not _HIDDEN_WITHIN.fullmatch(data, at, end)', 'kind == "long"'),
    ("readings/markdown.py", "if _BREAK_TAG.match(data, at):", "if False:"),
    (
        "readings/markdown.py",
        "self.late.append((base + at, base + end))\n            self._read_text",
        "self._read_text",
    ),
    ("readings/constructs.py", "\\\\])*\\](?=[^(])", "\\\\])*\\]"),
    ("readings/constructs.py", "if blank:", "if False:"),
    ("readings/constructs.py", "self._depth += {", "self._depth += 0 and {"),
    ("readings/constructs.py", "return not self._depth and self._ends(char)", "return self._ends(char)"),
    ("readings/constructs.py", 'if char == "\\n" and self._is_line_empty:', "if False:"),
    ("readings/constructs.py", "if self._is_escaped and not char.isspace():", "if False:"),
    ("readings/constructs.py", 'return char not in "<\\n"', "return True"),
    ("readings/constructs.py", "self._last = text[len(text) - len(self._end) + 1 :]", 'self._last = ""'),
    ("readings/constructs.py", "least = middle", "least = middle + 1"),
    ("readings/json.py", "elif sign.end() == len(text) and _is_open(sign[0]):", "elif False:"),
    (
        "readings/letters.py",
        "and len(self.open) < MAX_LETTER_CHARS:\n            self.open",
        ":\n            self.open",
    ),
    (
        "readings/escapes.py",
        "0xD800 <= code < 0xE000 else chr(code)\n        case",
        "False else chr(code)\n        case",
    ),
    ("window.py", "not _FLAT_READS_APART.search(begun + text)", "not _FLAT_READS_APART.search(text)"),
    ("window.py", "len(deep.pending) == len(begun) + len(text)", "True"),
    ("plan.py", 'char in "\\\\&%" or', ""),
    ("output.py", "size = spelling.index_of_end(bound)", "size = len(spelling.chars)"),
    ("readings/letters.py", "if found and (more < 1 or is_accent):", "if False:"),
    (
        "readings/spaces.py",
        "if self.after_space:\n                    continue",
        "if False:\n                    continue",
    ),
    ("masking.py", "return text[run.end() :] if run else text", "return text"),
    ("regex_automaton.py", "if not self._regexes.acts_on_group:", "if True:"),
    ("glushkov.py", "if not context or context & behind", "if True"),
    ("glushkov.py", "edge = self.after_edge if final else 0", "edge = 0"),
    ("output.py", "if inside[1] == place[1]:", "if True:"),
    ("watching.py", "kind = ReachOfCheckedRegexes", "kind = loose"),
    ("readings/markdown.py", 'if self._is_in_formula and self.previous == data[at] == "\\n":', "if False:"),
    ("readings/markdown.py", 'if self._is_in_formula and "\\n\\n" in', "if False and"),
    ("readings/markdown.py", "return self._is_in_formula or super().is_within", "return super().is_within"),
    ("loose_words.py", "return unicodedata.lookup(name)", 'return ""'),
    ("live_starts.py", "size - automaton.reach(", "0 * automaton.reach("),
    ("live_starts.py", "self._read, self._groups, self._again_at = begin, [],", "self._groups, self._again_at = [],"),
    ("found.py", "or start in self._beyond or", "or"),
    ("found.py", "max(self._failed, self._last.end - 1)", "max(self._failed, self._last.end + 1)"),
]


def is_caught(folder: Path, name: str, old: str, new: str) -> bool:
    source = folder / "streaming" / "moderation" / name
    text = source.read_text("utf-8")
    if old not in text:
        sys.exit(f"{name} has no {old!r} any more: update this mutant")
    source.write_text(text.replace(old, new), "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "tests/test_readings.py",
        "tests/test_moderation.py",
        "tests/test_moderation_of_floods.py",
    ]
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
