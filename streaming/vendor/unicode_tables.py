"""Makes streaming/moderation/unicode_tables.py: what Unicode's data files say and Python's unicodedata does not.

    uv run --group dev streaming/vendor/unicode_tables.py

Scripts, Extended_Pictographic and Default_Ignorable_Code_Point are those of the package regex (Apache License 2.0),
which has them from the Unicode Character Database; the look-alike letters are those of the package
confusable-homoglyphs (MIT), which has them from confusables.txt of UTS #39. Unicode's data files are under the Unicode
License v3.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import regex
from confusable_homoglyphs import confusables

TARGET = Path(__file__).parent.parent / "moderation" / "unicode_tables.py"

# What the names of UAX #24 are, as RE2 knows them: those that \p{...} takes.
SCRIPTS = """
    Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki
    Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee
    Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra
    Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati
    Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited
    Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi
    Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian
    Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui
    Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nandinagari
    New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian
    Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong
    Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian
    Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa
    Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic
    Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square
""".split()  # noqa: SIM905 (a list of 160 strings is no easier to read)
PROPERTIES = ["Extended_Pictographic", "Default_Ignorable_Code_Point"]

ACCENTED_SCRIPTS = r"[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Arabic}\p{Script=Hebrew}]"

HEAD = '''"""What Unicode's data files say and Python's unicodedata does not.

Made by streaming/vendor/unicode_tables.py, from regex {regex} (Apache License 2.0) and confusable-homoglyphs
{confusables} (MIT). Unicode's data files are under the Unicode License v3.
"""

RANGES: dict[str, str] = {{
{ranges}
}}
"""Of each script or property the code points, as ranges in hexadecimal: see ``ranges_of``."""

ACCENTS = (
{accents}
)
"""The combining marks of Latin, Greek, Cyrillic, Arabic and Hebrew, and those of no script that Indic scripts do not
use: the marks that readers leave out."""

LOOK_ALIKES: dict[str, str] = {{
{look_alikes}
}}
"""Of each letter or digit of ASCII the characters that look like it (UTS #39)."""


def ranges_of(name: str) -> tuple[tuple[int, int], ...]:
    """The code points of a script or property, both ends included; empty if there is none of that name."""
    pairs = (each.partition("-") for each in RANGES.get(name, "").split())
    return tuple((int(first, 16), int(last or first, 16)) for first, _, last in pairs)
'''


def members(pattern: str) -> list[int]:
    found = regex.compile(pattern)
    return [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000 and found.match(chr(code))]


def as_ranges(codes: Iterable[int]) -> str:
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return " ".join(f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in ranges)


def accents() -> list[int]:
    """Marks of the scripts above; of those of no script the ones that are not of Indic or other scripts alone."""
    own = members(rf"(?=\p{{M}}){ACCENTED_SCRIPTS}")
    shared = members(r"(?=\p{Mn})\p{Script=Inherited}(?<!\p{Default_Ignorable_Code_Point})")
    return sorted({*own, *(code for code in shared if not _is_of_another_script(chr(code)))})


def _is_of_another_script(mark: str) -> bool:
    wanted = (r"\p{scx=Latin}", r"\p{scx=Greek}", r"\p{scx=Cyrillic}", r"\p{scx=Arabic}", r"\p{scx=Hebrew}")
    anywhere = regex.match(r"\p{scx=Inherited}", mark)
    # U+0951 and its like are accents of the Vedas, though Latin transcription has them too.
    vedic = regex.match(r"\p{scx=Devanagari}", mark)
    return not anywhere and (bool(vedic) or not any(regex.match(each, mark) for each in wanted))


def look_alikes() -> dict[str, str]:
    table: dict[str, str] = {}
    for letter in "abcdefghijklmnopqrstuvwxyz0123456789":
        found = {each["c"] for form in {letter, letter.upper()} for each in _homoglyphs(form)}
        table[letter] = "".join(sorted(c for c in found if len(c) == 1 and not c.isascii() and c.isprintable()))
    return {letter: alike for letter, alike in table.items() if alike}


def _homoglyphs(letter: str) -> list[dict[str, str]]:
    found = confusables.is_confusable(letter, greedy=True)
    return found[0]["homoglyphs"] if found else []


def wrapped(text: str, width: int = 96, indent: str = " " * 8) -> str:
    rows, row = [], ""
    for word in text.split(" "):
        if row and len(row) + len(word) + 1 > width:
            rows.append(f'{indent}"{row} "')
            row = word
        else:
            row = f"{row} {word}" if row else word
    return "\n".join([*rows, f'{indent}"{row}"'])


def escaped(codes: Iterable[int]) -> str:
    return "".join(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}" for code in codes)


def in_rows(codes: list[int], each: int = 14) -> str:
    return "\n".join(f'    "{escaped(codes[i : i + each])}"' for i in range(0, len(codes), each))


def render() -> str:
    tables = {name: as_ranges(members(rf"\p{{Script={name}}}")) for name in SCRIPTS}
    tables |= {name: as_ranges(members(rf"\p{{{name}}}")) for name in PROPERTIES}
    ranges = "\n".join(f'    "{name}": (\n{wrapped(text)}\n    ),' for name, text in tables.items() if text)
    alike = []
    for letter, chars in look_alikes().items():
        codes = list(map(ord, chars))
        rows = (codes[i : i + 11] for i in range(0, len(codes), 11))
        body = "\n".join(f'        "{escaped(row)}"' for row in rows)
        alike.append(f'    "{letter}": (\n{body}\n    ),')
    return HEAD.format(
        regex=version("regex"),
        confusables=version("confusable-homoglyphs"),
        ranges=ranges,
        accents=in_rows(accents()),
        look_alikes="\n".join(alike),
    )


if __name__ == "__main__":
    TARGET.write_text(render(), "utf-8")
