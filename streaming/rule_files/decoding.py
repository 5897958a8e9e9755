"""Detects the encoding of a file of rules, decodes it and splits it into lines."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from streaming.rule_files.rows import FileError

_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def decode(data: bytes) -> tuple[str, str]:
    """The text of a file and the name of its encoding: UTF-8, with a BOM or not, UTF-16 with one, or else GBK."""
    for bom, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(bom):
            return _decoded(data, encoding), encoding
    if found := _NO_TEXT.search(data):
        raise FileError(_("This is not a text file."), data.count(b"\n", 0, found.start()) + 1)
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError as error:
        if _is_damaged_utf8(data):
            raise _undecodable(data, error) from error
        return _decoded(data, "gb18030"), "gbk"


def _decoded(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _undecodable(data, error) from error
    if "\0" in text:
        raise FileError(_("This is not a text file."), text.count("\n", 0, text.index("\0")) + 1)
    return text


def _is_damaged_utf8(data: bytes) -> bool:
    """Whether most of its non-ASCII characters are valid UTF-8, which hardly ever happens in GBK text."""
    text = data.decode(errors="replace")
    wrong = text.count("\ufffd")
    return sum(char > "\x7f" for char in text) - wrong > wrong


def _undecodable(data: bytes, error: UnicodeDecodeError) -> FileError:
    message = _("The byte 0x%(byte)02X is not %(encoding)s. Save the file as UTF-8.")
    encoding = "UTF-8" if error.encoding in ("utf-8", "utf-8-sig") else "UTF-8, nor GBK"
    byte = data[error.start] if error.start < len(data) else 0
    return FileError(message % {"byte": byte, "encoding": encoding}, data.count(b"\n", 0, error.start) + 1)


def split_lines(text: str) -> list[str]:
    """Lines as an editor counts them; str.splitlines() would split at a form feed too."""
    return re.split("\r\n|\r|\n", text)
