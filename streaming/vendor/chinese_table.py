"""Makes streaming/moderation/chinese.py: traditional Chinese characters and their simplified ones, one to one.

    uv run --group dev streaming/vendor/chinese_table.py

The facts are OpenCC's table TSCharacters (Apache License 2.0), as opencc-python-reimplemented ships it.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

TARGET = Path(__file__).parent.parent / "moderation" / "chinese.py"
PACKAGE = "opencc-python-reimplemented"

HEAD = '''"""Traditional Chinese characters and their simplified ones, one to one.

Made by streaming/vendor/chinese_table.py. The facts are OpenCC's table TSCharacters (Apache License
2.0), from {package} {version}: the first of several simplified characters, followed to its end
where that one has a simplified form of its own.
"""

TRADITIONAL = (
{traditional}
)

SIMPLIFIED_OF_EACH = (
{simplified}
)

SIMPLIFIED = dict(zip(map(ord, TRADITIONAL), SIMPLIFIED_OF_EACH, strict=True))
"""For str.translate."""
'''


def read_table() -> dict[str, str]:
    """Each character that has a simplified form. Phrases have none here: what a character means may not depend on
    what stands beside it."""
    text = (files("opencc") / "dictionary" / "TSCharacters.txt").read_text("utf-8")
    pairs = (line.split("\t") for line in text.splitlines() if line)
    first = {traditional: simplified.split()[0] for traditional, simplified in pairs}
    first = {a: b for a, b in first.items() if a != b and len(a) == len(b) == 1}
    return {character: _end(character, first) for character in sorted(first)}


def _end(character: str, table: dict[str, str]) -> str:
    seen = {character}
    while (character := table[character]) in table and character not in seen:
        seen.add(character)
    return character


def render() -> str:
    table = read_table()
    rows = {"traditional": _rows("".join(table)), "simplified": _rows("".join(table.values()))}
    lines = {name: "\n".join(part) for name, part in rows.items()}
    return HEAD.format(package=PACKAGE, version=version(PACKAGE), **lines)


def _rows(text: str, width: int = 50) -> list[str]:
    return [f'    "{text[i : i + width]}"' for i in range(0, len(text), width)]


if __name__ == "__main__":
    TARGET.write_text(render(), "utf-8")
