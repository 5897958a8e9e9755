"""Finds where constructs of Markdown end whose inside a page hides or shows apart, or that they are plain text.

These are the end of a link (``](address "title")`` or ``][label]``), tags, comments and addresses in angle brackets
(CommonMark 0.31 §6.3, §6.5 and §6.6). What looks like one of them may turn out to be text: then a page shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

MAX_HELD_CHARS = 256
"""The most characters of a construct that stay undecided. A longer one is read as if it were complete."""

_NAME = r"[A-Za-z][A-Za-z0-9-]*"
_KEY = r"[A-Za-z_:][A-Za-z0-9_.:-]*"
_ATTRIBUTES = rf"""(?:\s+{_KEY}(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?)*"""
_LAST_ATTRIBUTE = rf"""\s+{_KEY}\s*(?:=\s*(?:[^\s"'=<>`]+|'[^']*'?|"[^"]*"?)?)?"""
_MAIL_NAME, _MAIL_HOST = r"[A-Za-z0-9][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]*", r"[A-Za-z0-9.-]"

_BEGIN = re.compile(
    r"(?P<destination>\]\()|(?P<label>\]\[)|(?P<comment><!--)|(?P<tag><(?:/?[A-Za-z]|[0-9?]|![A-Za-z\[]))"
)
_WHOLE = {
    "label": re.compile(r"\]\[(?:\\[\s\S]|[^\[\]\\])*\](?=[^(])"),  # [b](c) in [a][b](c) is a link
    "comment": re.compile(r"<!--(?:-?>|[\s\S]*?-->)"),
    "tag": re.compile(
        rf"<(?:{_NAME}{_ATTRIBUTES}\s*/?>|/{_NAME}\s*>|\?[\s\S]*?\?>|!\[CDATA\[[\s\S]*?\]\]>|![A-Za-z][^>]*>"
        rf"|(?P<address>(?:[A-Za-z][A-Za-z0-9+.-]{{1,31}}:[^\s<>]*|{_MAIL_NAME}@{_MAIL_HOST}+)>))"
    ),
}
_SO_FAR = {
    "label": re.compile(r"\]\[(?:\\[\s\S]|[^\[\]\\])*[\\\]]?"),
    "comment": re.compile(r"<!--[\s\S]*"),
    "tag": re.compile(
        rf"<(?:{_NAME}{_ATTRIBUTES}(?:\s*/?|{_LAST_ATTRIBUTE})|/(?:{_NAME}\s*)?|\?[\s\S]*"
        rf"|!\[(?:C(?:D(?:A(?:T(?:A(?:\[[\s\S]*)?)?)?)?)?)?|![A-Za-z][^>]*"
        rf"|(?P<address>[A-Za-z][A-Za-z0-9+.-]{{1,31}}:[^\s<>]*|{_MAIL_NAME}(?:@{_MAIL_HOST}*)?))"
    ),
}
_ENDS_LONG = {"label": "]", "comment": "-->", "tag": ">"}
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_IN_ADDRESS = re.compile(r"[^()<>\"'\\\s]+")

Kind = Literal["undecided", "text", "hidden", "address", "long"]


class Construct(NamedTuple):
    """What was found: undecided, text (not a construct), or a construct that is hidden, an address, or too long.

    ``end`` is where the construct ends. Of text, it is how far it had to be known.
    """

    kind: Kind
    end: int


class ConstructFinder:
    """Finds constructs in text that arrives in pieces."""

    def __init__(self) -> None:
        self._link_end: LinkEnd | None = None
        self.follow_long: Callable[[str, int], int] | None = None
        self.long_link: LinkEnd | None = None

    def forget(self) -> None:
        """Forgets how far it has looked at what is undecided."""
        self._link_end = None

    def find(self, data: str, at: int, *, final: bool) -> Construct | None:
        """The construct that begins at ``at``; None if none does."""
        begin = _BEGIN.match(data, at)
        if begin is None:
            return None
        limit = at + MAX_HELD_CHARS
        if begin.lastgroup == "destination":
            found = self._find_link_end(data, at, limit, final=final)
        else:
            found = self._find(begin, data, limit, final=final)
        if found.kind != "undecided":
            self._link_end = None
        return found

    def _find(self, begin: re.Match[str], data: str, limit: int, *, final: bool) -> Construct:
        kind, at = str(begin.lastgroup), begin.start()
        blank = _BLANK_LINE.search(data, at, limit) if kind != "comment" else None
        stop = min(blank.start() + 1 if blank else limit, len(data))
        whole, so_far = _WHOLE[kind].match(data, at, stop), _SO_FAR[kind]
        if whole:
            return Construct("address" if whole.lastgroup == "address" else "hidden", whole.end())
        begun = so_far.fullmatch(data, at, stop)
        if not begun:
            return Construct("text", _first_without(so_far, data, at, begin.end(), stop))
        if blank:
            return Construct("text", blank.end())
        if stop == limit:
            if begun.lastgroup == "address":
                return Construct("text", limit)
            self.follow_long = _Search(_ENDS_LONG[kind], data[at:stop]).skip
            return Construct("long", limit)
        return Construct("text", stop + 1) if final else Construct("undecided", at)

    def _find_link_end(self, data: str, at: int, limit: int, *, final: bool) -> Construct:
        link_end = self._link_end
        if link_end is None:
            link_end = self._link_end = LinkEnd()
        here, stop = at + 2 + link_end.count, min(limit, len(data))
        while here < stop:
            end = link_end.skip(data, here, stop)
            if end == here:
                return Construct("text", here + 1)
            if link_end.is_closed:
                return Construct("hidden", end)
            here = end
        if stop == limit:
            self.follow_long, self.long_link = link_end.skip_on, link_end
            return Construct("long", limit)
        return Construct("text", stop + 1) if final else Construct("undecided", at)


def _first_without(so_far: re.Pattern[str], data: str, at: int, least: int, most: int) -> int:
    """The end of the shortest text from ``at`` on that cannot become a construct; that up to ``least`` still can."""
    while least + 1 < most:
        middle = (least + most) // 2
        if so_far.fullmatch(data, at, middle):
            least = middle
        else:
            most = middle
    return most


class _Search:
    """Searches the end of a long construct."""

    def __init__(self, end: str, begun: str) -> None:
        self._end = end
        self._last = begun[len(begun) - len(end) + 1 :]

    def skip(self, data: str, at: int) -> int:
        """Skips as much as is part of the construct. Returns the new offset, negative if it ends there."""
        text = self._last + data[at:]
        found = text.find(self._end)
        if found >= 0:
            return -(at + found + len(self._end) - len(self._last))
        self._last = text[len(text) - len(self._end) + 1 :]
        return len(data)


class LinkEnd:
    """Parses what is between a link's ``](`` and its ``)``: an address and a title (CommonMark 0.31 §6.3)."""

    def __init__(self) -> None:
        self.is_closed = False
        self.count = 0
        """The number of characters taken."""
        self._next = self._before_address
        self._depth = 0
        self._title_ends_with = ""
        self._is_escaped = self._is_line_empty = False

    def skip(self, data: str, at: int, stop: int) -> int:
        """Takes one or more characters. Returns the new offset, which is ``at`` if this is not a link."""
        run = _IN_ADDRESS.match(data, at, stop)
        end = run.end() if run else at + 1
        # Of a run of other characters, only the first and the last need to be examined.
        if not self._take(data[at]) or (end - at > 1 and not self._take(data[end - 1])):
            return at
        self.count += end - at
        return end

    def skip_on(self, data: str, at: int) -> int:
        """Skips as much as is part of a long construct. Returns the new offset, negative if it ends there."""
        while at < len(data):
            end = self.skip(data, at, len(data))
            if end == at or self.is_closed:
                return -end
            at = end
        return at

    def _take(self, char: str) -> bool:
        """Takes a character. Returns whether it is allowed here; if not, this is not a link."""
        if char == "\n" and self._is_line_empty:
            return False
        self._is_line_empty = char == "\n" or (self._is_line_empty and (char.isspace() or char == ">"))
        if self._is_escaped and not char.isspace():
            self._is_escaped = False
            return True
        self._is_escaped = char == "\\"
        is_quote_marker = char == ">" and self._is_line_empty
        return is_quote_marker or self._next(char)

    def _before_address(self, char: str) -> bool:
        if char.isspace():
            return True
        self._next = self._in_brackets if char == "<" else self._in_address
        return char == "<" or self._in_address(char)

    def _in_brackets(self, char: str) -> bool:
        if char == ">":
            self._next = self._ends
        return char not in "<\n"

    def _in_address(self, char: str) -> bool:
        if char.isspace():
            return not self._depth and self._ends(char)
        self._depth += {"(": 1, ")": -1}.get(char, 0)
        self.is_closed = self._depth < 0
        return True

    def _before_title(self, char: str) -> bool:
        if char not in "\"'(":
            return self._ends(char)
        self._title_ends_with = {"(": ")"}.get(char, char)
        self._next = self._in_title
        return True

    def _in_title(self, char: str) -> bool:
        if char == self._title_ends_with:
            self._next = self._ends
        return char != "(" or self._title_ends_with != ")"

    def _ends(self, char: str) -> bool:
        if char.isspace():
            self._next = self._ends if self._title_ends_with else self._before_title
        self.is_closed = char == ")"
        return self.is_closed or char.isspace()
