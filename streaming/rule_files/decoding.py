"""Detects the encoding of a file of rules, decodes it and splits it into lines."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from streaming.rule_files.rows import FileError

UNREADABLE = "\ufffd"
"""Stands for bytes that are not text in the file's encoding. A rule that contains it is refused, with its line."""

_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_ALONE = re.compile(rb"(?<![\x80-\xff])[\xc0-\xff](?![\x80-\xff])")
_NOT_WESTERN = re.compile(rb"[\x81\x8d\x8f\x90\x9d\xff]")  # none in Windows-1252, and a letter that hardly occurs
_IN_A_ROW = re.compile(rb"[\x80-\xff]{2,}")
_BINARY = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF", b"\x1f\x8b", b"\x7fELF", b"SQLite format 3\0")
_ARCHIVES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


def decode(data: bytes) -> tuple[str, str]:
    """The text of a file and the name of its encoding: UTF-8, with a BOM or not, UTF-16 with one, Windows-1252 or GBK.

    Single bad bytes become UNREADABLE. FileError if most lines are no text.
    """
    if data.startswith(_ARCHIVES):
        raise FileError(_("This is a workbook or an archive. In a spreadsheet, save the table as CSV (UTF-8)."))
    if data.startswith(_BINARY):
        raise FileError(_("This is not a text file."), 1)
    encoding = _encoding_of(data)
    text = data.decode(encoding, "replace")
    lines = [line for line in split_lines(text) if line.strip()]
    bad = [line for line in lines if UNREADABLE in line or "\0" in line]
    if len(bad) * 2 > len(lines):
        before = text[: text.index(bad[0])]
        raise FileError(_("This is not a text file."), len(split_lines(before)))
    return text, "gbk" if encoding == "gb18030" else encoding


def _encoding_of(data: bytes) -> str:
    for bom, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(bom):
            return encoding
    lines = [line for line in re.split(b"[\r\n]", data) if not line.isascii()]
    # Text in GBK is hardly ever valid UTF-8; most lines of damaged UTF-8 are.
    valid = sum(_is_utf8(line) for line in lines)
    if valid * 2 >= len(lines):
        return "utf-8"
    if _is_western(lines):
        return "windows-1252"
    if any(_is_gbk(line) for line in lines):
        return "gb18030"
    return "utf-8"


def _is_western(lines: list[bytes]) -> bool:
    """Whether bytes beyond ASCII stand alone among letters, as in ``m\\xfcll``; in GBK nearly all come in pairs."""
    alone = sum(len(_ALONE.findall(line)) for line in lines)
    paired = sum(len(_IN_A_ROW.findall(line)) for line in lines)
    return alone > 4 * paired and not any(_NOT_WESTERN.search(line) for line in lines)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_gbk(line: bytes) -> bool:
    try:
        line.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True


def has_control(text: str) -> str:
    """The first control character of a text, or UNREADABLE if it has that; empty if it has neither."""
    found = _CONTROL.search(text)
    return UNREADABLE if UNREADABLE in text else found[0] if found else ""


def split_lines(text: str) -> list[str]:
    """Lines as an editor counts them; str.splitlines() would split at a form feed too."""
    return re.split("\r\n|\r|\n", text)
