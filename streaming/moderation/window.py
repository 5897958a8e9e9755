"""The part of a text that still matters: the undecided text, and text before it that may be examined again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from streaming.moderation.readings import Key, Medium
from streaming.moderation.readings.constructs import MAX_HELD_CHARS
from streaming.moderation.readings.json import JsonStrings
from streaming.moderation.readings.reading import READERS
from streaming.moderation.spelling import Spelling


class Decided(NamedTuple):
    """Decided text, what is shown in its place, and the rank of the rule that matched it.

    The rank is NONE if no rule matched, and SWALLOWED if the text is removed with the match before it. ``is_rest``
    tells whether it is the rest of that match, which was cut at ``max_span``.
    """

    text: str
    start: int
    end: int
    rank: int
    shown: str
    is_rest: bool = False


new_decided: Callable[[tuple[str, int, int, int, str, bool]], Decided] = partial(tuple.__new__, Decided)
"""The same as ``Decided``, in a third of the time."""

NONE, SWALLOWED = -1, -2

# Readings that merge white space ignore quote markers after a line break.
_QUOTE = re.compile(r"\n\s*>")
# What the flat reading reads otherwise than the deep one, the decoded one otherwise than the deep one and the flat one.
_FLAT_READS_APART = re.compile(r"\][(\[]|[<$%]|\\[()\[\]\nux]")
_BEGINS_CONSTRUCT = ("]", "<")
_DECODED_READS_APART = re.compile(r"[<%]|\\(?:[\nux]|\Z)")
_HIDES = re.compile(r"[\[\]<!$]|\\[()]")
# Without these the decoded reading is the deep one, and without those that hide something it is the flat one. The
# others are read otherwise by both, or have more of a state than can be copied.
_CODES = re.compile(r"[<%]|\$\$|\\[\nux()\[\]]")
_HIDING = re.compile(r"[\[\]<]|\$\$|\\[()]")
# All characters with which a sign may begin, or a quote marker. A class is searched for much faster than the grammar.
_MARKDOWN_SIGN = re.compile(r"[*~`_\\&%\[\]<>!$]")
# Within a word, underscores are no signs.
_ONLY_EMPHASIS = re.compile(r"(?:[^_\\&%\[\]<>!$]++|(?<=[^\W_])_{1,32}(?=[^\W_]))++\Z")
_JSON_SIGN = READERS["json"].grammar.may_begin
_QUOTE_FIRST = re.compile(r"\s*>")


class Window:
    """The raw text, and its spellings.

    While all readings of Markdown agree, only one is kept up to date, and the others follow it. They fork when a piece
    of the text has signs, which they read differently, and join again when they agree on everything that still matters.
    The decoded readings sleep until they may differ from the deep ones and from the flat ones, which is seldom.
    """

    def __init__(self, keys: Iterable[Key], medium: Medium) -> None:
        self.offset = 0  # the number of characters of the text before the window
        self.raw = ""
        self.sent = 0  # the number of characters of the text that have left, although some of them were undecided
        self._skimmed_last = ""  # what was skimmed since text was appended
        self.medium: Medium = medium
        self.json = JsonStrings() if medium == "json" else None
        self.by_key: dict[Key, Spelling] = {}
        for key in keys:
            if key not in self.by_key:
                self.by_key[key] = Spelling(len(self.by_key), key)
        self.spellings = list(self.by_key.values())
        self._read = [each for each in self.spellings if not each.is_raw]
        leaders: dict[tuple[bool, bool], Spelling] = {}
        for each in self._read:
            each.leader = leaders.setdefault((each.key.accents, each.key.spaces), each)
        self._leaders = list(leaders.values())
        self._followers = [each for each in self._read if each.leader is not each and each.key.kind != "decoded"]
        self._spaced = next((each for each in self._leaders if each.key.spaces), None)
        self._trios = [self._trio(each.key) for each in self._read if each.key.kind == "deep"]
        self._others = [each for each in self.spellings if each.key.kind in ("written", "raw")]
        self._sleepers = [each for each in self._read if each.key.kind == "decoded"]
        self._few = [each for each in self.spellings if each not in self._sleepers]
        self._sign = READERS["deep"].grammar.may_begin
        self._together = [each for each in self.spellings if each.leader is each]
        self.active = self._together
        self.is_forked = self.is_awake = False
        self.has_codes = False  # codes have been read since the fork, before the decoded readings were awake
        self._hides = False  # so has what is hidden
        self._may_fork = medium == "markdown"

    def _trio(self, key: Key) -> tuple[Spelling, Spelling, Spelling]:
        """The deep, flat and decoded readings of a key."""
        return self.by_key[key], self.by_key[key._replace(kind="flat")], self.by_key[key._replace(kind="decoded")]

    @property
    def sent_here(self) -> int:
        """How much of the window has left."""
        return self.sent - self.offset

    def append(self, text: str) -> None:
        self._catch_up()
        if not text:
            for each in self.active:
                each.added = ""
            return
        if self._may_fork and not self.is_forked and self._has_signs(text):
            self.is_forked, self.active = True, self._few
            for each in self._followers:
                each.follow()
        if self.is_forked:
            if not self.is_awake and self._trios and self._wakes(text):
                self.is_awake, self.active = True, self.spellings
                for deep, flat, decoded in self._trios:
                    decoded.follow(flat if self.has_codes else deep)
            self._read_apart(text)
        elif self.json:
            for each in self.active:
                each.read(text)
        else:
            for each in self.active:
                each.read_written(text)
        self.raw += text

    def _read_apart(self, text: str) -> None:
        """Feeds each reading separately, but those that equal another one in this text."""
        for trio in self._trios:
            self._read_trio(*trio, text)
        for each in self._others:
            if each.is_raw:
                each.read(text)
            else:
                each.read_written(text)

    def _read_trio(self, deep: Spelling, flat: Spelling, decoded: Spelling, text: str) -> None:
        begun, begun_flat, awake = deep.pending, flat.pending, self.is_awake
        flat_is_deep = flat.is_where(deep)
        decoded_is_deep, decoded_is_flat = awake and decoded.is_where(deep), awake and decoded.is_where(flat)
        deep.read(text)
        # What all take for a link or a tag remains undecided in all.
        is_undecided = begun[:1] in _BEGINS_CONSTRUCT and len(deep.pending) == len(begun) + len(text)
        if flat_is_deep and (is_undecided or not _FLAT_READS_APART.search(begun + text)):
            flat.read_like(deep, len(text))
        else:
            flat.read(text)
        # A formula, or a long link, that begins in this text has more of a state than can be copied.
        copies_deep = decoded_is_deep and not (deep.reading and deep.reading.medium.is_within)
        if copies_deep and (is_undecided or not _DECODED_READS_APART.search(begun + text)):
            decoded.read_like(deep, len(text))
        elif decoded_is_flat and not _HIDES.search(begun_flat + text):
            decoded.read_like(flat, len(text))
        elif awake:
            decoded.read(text)

    def _has_signs(self, text: str) -> bool:
        if self._sign.search(text):
            return True
        spaced = self._spaced
        if not spaced or ">" not in text:
            return False
        after_line_break = spaced.reading is not None and spaced.reading.symbols.after_line_break
        return bool(_QUOTE.search(text) or (after_line_break and _QUOTE_FIRST.match(text)))

    def may_skim(self, text: str) -> bool:
        """Whether a text has no signs, so that all readings of it agree. Not called while they are forked."""
        if self._may_fork:
            return not _MARKDOWN_SIGN.search(text) or not self._has_signs(text)
        return self.json is None or not _JSON_SIGN.search(text)

    def without_emphasis(self, text: str) -> str | None:
        """The text without its signs of emphasis, as Markdown is read; None if it has other signs."""
        if not self._may_fork or not _ONLY_EMPHASIS.match(text):
            return None
        if "`" in text and any(each.reading and each.reading.medium.minds_backticks for each in self._leaders):
            return None
        return text.replace("*", "").replace("`", "").replace("~", "")

    def skimmed(self, text: str, keep: int) -> str:
        """Accounts for a text that was skimmed, and keeps the last ``keep`` characters. Returns those before them."""
        for each in self.active:
            each.skimmed(keep)
        self._skimmed_last = text
        if keep:
            gone = self.raw + text
            gone, self.raw = gone[:-keep], gone[-keep:]
        elif self.raw:
            gone, self.raw = self.raw + text, ""
        else:
            gone = text
        if self.json:
            self.json.passed(gone)
        self.offset += len(gone)
        return gone

    def _catch_up(self) -> None:
        """Tells the readings of what was skimmed."""
        if self._skimmed_last:
            for each in self.active:
                each.catch_up(self._skimmed_last[-1])
            self._skimmed_last = ""

    def _wakes(self, text: str) -> bool:
        """Whether the decoded readings may differ from the deep ones, and from the flat ones, from this text on."""
        text = self._trios[0][0].pending + text
        has_codes, hides = bool(_CODES.search(text)), bool(_HIDING.search(text))
        if (self._hides or hides) and (has_codes or self.has_codes or len(text) >= MAX_HELD_CHARS):
            return True
        self.has_codes |= has_codes
        self._hides |= hides
        return False

    def current(self, spelling: Spelling) -> Spelling:
        """The spelling that is kept up to date for this one."""
        if spelling in self.active:
            return spelling
        if self.is_forked and self.has_codes:
            return self.by_key[spelling.key._replace(kind="flat")]  # it is asleep: see ``_wakes``
        return spelling.leader

    def agree(self) -> bool:
        """Whether all readings agree on everything that still matters, so that they may join."""
        return (
            all(each.reading is None or each.reading.medium.is_neutral for each in self.active)
            and all(each.agrees() for each in self._followers)
            and (not self.is_awake or all(each.agrees() for each in self._sleepers))
        )

    def join(self) -> None:
        self.is_forked = self.is_awake = self.has_codes = self._hides = False
        self.active = self._together

    def finish(self) -> None:
        """Ends the text: an incomplete sign is read as literal text."""
        self._catch_up()
        for each in self.active:
            each.read("", final=True)

    @property
    def has_pending_signs(self) -> bool:
        """Whether the text ends with what could be the beginning of a sign."""
        if not self.is_forked and self._may_fork:
            return False
        return any(each.pending for each in self.active)

    def sign_from(self, begins_in: Callable[[str, str], int]) -> int:
        """The offset of an incomplete sign with which a pattern could begin; the end of the window if there is none."""
        size = 0
        for each in self.active:
            pending = each.pending
            if len(pending) > size:
                size = max(size, len(pending) - begins_in(pending, each.last_or_open))
        return max(len(self.raw) - size, 0)  # a pending sign may have begun before the window

    def drop(self, count: int) -> None:
        if not count:
            return
        if self.json:
            self.json.passed(self.raw[:count])
        self.offset += count
        self.raw = self.raw[count:]
        for each in self.active:
            each.drop(count)

    def take_all(self) -> list[Decided]:
        """Returns the whole window as text without a match, and empties it."""
        text, start = self.raw, self.offset
        if not text:
            return []
        if self.json:
            self.json.passed(text)
        self.offset = end = start + len(text)
        self.raw = ""
        for each in self.active:
            each.drop_all()
        return [Decided(text, start, end, NONE, text)]
