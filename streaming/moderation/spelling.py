"""A spelling of the text: the symbols that one reading gave, with their spans, for the part that still matters."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple
from unicodedata import is_normalized

from streaming.moderation.edges import Edges
from streaming.moderation.folding import ODD, OPEN_LETTERS, TABLES, fold_letter, goes_on, is_mark
from streaming.moderation.readings import Key, Reading
from streaming.moderation.readings.spaces import Read


class Match(NamedTuple):
    """A match, as character offsets in its window. Of several matches, the one that compares lowest counts.

    ``looks`` tells whether the symbol after the match had to be known.
    """

    start: int
    minus_end: int
    rank: int
    spelling: int = 0
    looks: bool = False


class Spelling:
    """Symbols and their spans in the window. ``starts`` and ``ends`` are None while symbol i is character i."""

    def __init__(self, number: int, key: Key) -> None:
        self.number = number
        self.key = key
        self.is_raw = key.kind == "raw"
        self.reading = None if self.is_raw else Reading(key)
        self.size = 0  # the number of characters in the window
        self.chars = ""
        self.starts: list[int] | None = None
        self.ends: list[int] | None = None
        self.before = ""  # the symbol before these
        self.dropped = 0  # the number of symbols before these
        self.added = ""  # the symbols added last
        self.open = ""  # the last letter, while a mark could follow it
        self.opening = ""  # the one after what was skimmed last
        self.leader = self
        self._last_read = Read("")
        self._late: list[tuple[int, int]] = []  # texts of the window of which no character was decided before the last
        self._table = TABLES[key.accents]
        self._is_open = OPEN_LETTERS[key.accents]
        self._keeps_accents, self._merges_spaces = key.accents, key.spaces

    @property
    def undecided(self) -> int:
        """The number of characters at the end whose reading is undecided."""
        return self.reading.undecided if self.reading else 0

    @property
    def pending(self) -> str:
        """The end of the text that could still become a sign."""
        return self.reading.medium.pending if self.reading else ""

    @property
    def last(self) -> str:
        """The last symbol; empty at the start of the text."""
        return self.chars[-1:] or self.before

    @property
    def last_or_open(self) -> str:
        """The symbol before what is pending; empty if that depends on the pattern, as for a mark without a letter."""
        if not self.open:
            return self.last
        return "" if is_mark(self.open[0]) else fold_letter(self.open, accents=self.key.accents)[-1:]

    @property
    def is_one_to_one(self) -> bool:
        return self.starts is None

    def read(self, text: str, *, final: bool = False) -> None:
        """Reads more text, which may contain signs."""
        if self.reading:
            self._last_read = self.reading.feed(text, final=final)
            if self.reading.medium.late:
                late = self.reading.medium.take_late()
                self._late += [(self.size + start, self.size + end) for start, end in late]
            self._add(self._last_read, len(text))
            self.open = self.reading.letters.open
        else:
            self._add(Read(text), len(text))

    def is_where(self, other: Spelling) -> bool:
        """Whether both read what follows alike, provided it has no signs that only one of them knows."""
        return self.reading is not None and other.reading is not None and self.reading.is_where(other.reading)

    def read_like(self, other: Spelling, length: int) -> None:
        """Adds what another spelling has just read."""
        self._late, self._last_read = other._late[:], other._last_read
        self._add(other._last_read, length)
        self.open = other.open
        if self.reading and other.reading:
            self.reading.follow(other.reading)

    def read_written(self, text: str) -> None:
        """Reads more text, which contains no signs."""
        if self.reading is None:
            self._add(Read(text), len(text))
        elif not self._read_simply(self.reading, text):
            self._add(self.reading.feed_written(text), len(text))
            self.open = self.reading.letters.open

    @property
    def is_even(self) -> bool:
        """Whether each character of the window is one symbol, but for the open letter at its end."""
        if self.starts is not None or len(self.open) > 1 or self._late:
            return False
        return not self.pending and self.size in (0, len(self.chars) + len(self.open))

    def skim(self, text: str) -> bool:
        """Reads a text without signs if each character is one symbol, as in nearly all texts. Otherwise returns False.

        Requires that the spelling is even. Only ``added`` and ``opening`` change: see ``skimmed``.
        """
        self.opening = ""
        if self.reading is None:
            self.added = text
            return True
        if self.open:
            if goes_on(text[0]):
                return False
            text = self.open + text
        if self._merges_spaces and not self.reading.symbols.is_even_after(self.last, text):
            return False
        if text.isascii() and not self._keeps_accents:  # no ASCII letter is open
            self.added = text.lower()
            return True
        last = text[-1]
        if self._is_open[last]:
            if goes_on(last):
                return False
            self.opening, text = last, text[:-1]
        symbols = text.translate(self._table)
        self.added = symbols
        return ODD not in symbols and is_normalized("NFC", text)

    def skimmed(self, keep: int) -> None:
        """Accounts for what was skimmed. The window keeps its last ``keep`` characters."""
        symbols = self.chars + self.added
        kept = keep - len(self.opening)
        gone = len(symbols) - kept if kept > 0 else len(symbols)
        if gone:
            self.before = symbols[gone - 1]
            self.dropped += gone
            symbols = symbols[gone:]
        self.chars, self.size, self.open = symbols, keep, self.opening

    def catch_up(self, last: str) -> None:
        """Tells the reading of what was skimmed, which ended with this character."""
        if self.reading:
            self.reading.medium.previous = last
            self.reading.letters.keep_open(self.open)
            if self._merges_spaces and self.last:
                self.reading.symbols.passed(self.last)

    def _read_simply(self, reading: Reading, text: str) -> bool:
        """Reads a text if each character is one symbol, as in nearly all texts. Otherwise returns False."""
        opened, last = self.open, text[-1]
        if opened:
            if len(opened) > 1 or goes_on(text[0]):
                return False
            text = opened + text
        keeps_open = self._is_open[last]
        if keeps_open and goes_on(last):
            return False
        if reading.key.spaces and not reading.symbols.is_even(text):
            return False
        body = text[:-1] if keeps_open else text
        if body.isascii():
            symbols = body.lower()
        else:
            symbols = body.translate(self._table)
            if ODD in symbols or not is_normalized("NFC", body):
                return False
        self._add_each(symbols, len(text) - len(opened), len(opened))
        reading.medium.previous = last
        if keeps_open or opened:
            self.open = last if keeps_open else ""
            reading.letters.keep_open(self.open)
        if reading.key.spaces and symbols:
            reading.symbols.passed(symbols[-1])
        return True

    def _add_each(self, symbols: str, length: int, undecided: int) -> None:
        """Adds symbols of one character each; the first ``undecided`` characters were fed earlier."""
        first = self.size - undecided
        self.size += length
        self.added = symbols
        if first < 0 and symbols:
            self.before = symbols[-first - 1]
            self.dropped -= first
            symbols, first = symbols[-first:], 0
        if self.starts is None and first == len(self.chars):
            self.chars += symbols
        elif symbols:
            self._spell_out()
            self.starts += range(first, first + len(symbols))  # type: ignore[operator]
            self.ends += range(first + 1, first + 1 + len(symbols))  # type: ignore[operator]
            self.chars += symbols

    def _spell_out(self) -> None:
        if self.starts is None:
            count = len(self.chars)
            self.starts, self.ends = list(range(count)), list(range(1, count + 1))

    def _add(self, read: Read, length: int) -> None:
        symbols, first, starts, ends = read
        base = self.size
        self.size += length
        self.added = symbols
        if not symbols:
            return
        first = base + (starts[0] if starts else first)
        if first < 0:
            # Text that was dropped before it was decided can no longer be part of a match.
            gone = bisect_left(starts, -base) if starts else min(-first, len(symbols))
            self.before = symbols[gone - 1]
            self.dropped += gone
            symbols = symbols[gone:]
            starts, ends = (starts[gone:], ends[gone:]) if starts and ends else (None, None)
            first = base + starts[0] if starts else max(first, 0)
        count = len(self.chars)
        self.chars += symbols
        if self.starts is None and starts is None and (first == count or not symbols):
            return
        if self.starts is None or self.ends is None:
            self.starts, self.ends = list(range(count)), list(range(1, count + 1))
        if starts is None or ends is None:
            self.starts += range(first, first + len(symbols))
            self.ends += range(first + 1, first + 1 + len(symbols))
        else:
            self.starts += [base + at for at in starts]
            self.ends += [base + at for at in ends]

    def follow(self, other: Spelling | None = None) -> None:
        """Copies the state of another spelling, or of the leader."""
        leader = other or self.leader
        self.size, self.chars, self.before, self.dropped = leader.size, leader.chars, leader.before, leader.dropped
        self._late = leader._late[:]
        self.starts = None if leader.starts is None else leader.starts[:]
        self.ends = None if leader.ends is None else leader.ends[:]
        self.open = leader.open
        if self.reading and leader.reading:
            self.reading.follow(leader.reading)

    def agrees(self) -> bool:
        """Whether it is the same as the leader's spelling again."""
        mine, leader = self.reading, self.leader.reading
        return (
            self.chars == self.leader.chars
            and self.before == self.leader.before
            and self.starts == self.leader.starts
            and self.ends == self.leader.ends
            and mine is not None
            and leader is not None
            and mine.agrees(leader)
        )

    def drop(self, count: int) -> None:
        """Drops the symbols that come from the first ``count`` characters of the window."""
        self.size -= count
        if self._late:
            self._late = [(start - count, end - count) for start, end in self._late if end > count]
        index = self.index(count)
        if index:
            self.dropped += index
            self.before = self.chars[index - 1]
            self.chars = self.chars[index:]
        if self.starts is not None and self.ends is not None:
            self.starts = [at - count for at in self.starts[index:]]
            self.ends = [at - count for at in self.ends[index:]]
            size = len(self.chars)
            if size == self.size - self.undecided and self.starts == list(range(size)):
                self.starts = self.ends = None

    def drop_all(self) -> None:
        if self.chars:
            self.dropped += len(self.chars)
            self.before = self.chars[-1]
            self.chars = ""
        self.starts = self.ends = None
        self._late = []
        self.size = 0

    def index(self, at: int) -> int:
        """The index of the first symbol that begins at or after character ``at``."""
        return min(at, len(self.chars)) if self.starts is None else bisect_left(self.starts, at)

    def index_of_end(self, at: int) -> int:
        """The number of symbols that end at or before character ``at``."""
        return min(at, len(self.chars)) if self.ends is None else bisect_left(self.ends, at + 1)

    def places(self, match: Match) -> list[tuple[int, int]]:
        """The indexes of the first symbol of a match and the one after its last.

        Several if symbols have the same span: then the first that the pattern matches is meant.
        """
        start, end = match.start, -match.minus_end
        if self.starts is None or self.ends is None:
            return [(start, end)]
        firsts = range(bisect_left(self.starts, start), bisect_right(self.starts, start))
        ends = range(bisect_left(self.ends, end), bisect_right(self.ends, end))
        return [(first, last + 1) for first in firsts for last in ends if first <= last]

    def begin(self, index: int) -> int:
        """The character at which a symbol begins; for the next symbol, the start of the undecided text."""
        if index >= len(self.chars):
            return max(self.size - self.undecided, 0)
        return index if self.starts is None else self.starts[index]

    def end(self, index: int) -> int:
        """The character at which the symbol before ``index`` ends."""
        return index if self.ends is None else self.ends[index - 1]

    def symbol_before(self, index: int) -> str:
        return self.chars[index - 1] if index else self.before

    def known_at(self, match: Match, edges: Edges, raw: str) -> int:
        """How many characters of the window are needed for a match to be known."""
        after = self.index_of_end(-match.minus_end)
        needs_next = match.looks or edges.waits(self.chars[after - 1])
        return self._decided_at(after + needs_next, raw)

    def end_of_known(self, end: int, known: int, raw: str) -> int:
        """The end of the last symbol that ends by ``end`` and is decided by the first ``known`` characters."""
        count = self.index_of_end(end)
        while count and self._decided_at(count, raw) > known:
            count -= 1
        return self.end(count) if count else 0

    def _decided_at(self, count: int, raw: str) -> int:
        """How many characters of the window are needed to decide the first ``count`` symbols."""
        if count > len(self.chars):
            return len(raw) + 1
        if self.is_raw or self.reading is None:
            return self.end(count)
        own = Reading(self.key)
        own.feed(raw[self.begin(count - 1) : self.end(count)])
        if not own.letters.open:
            return self._read_at(count - 1, raw)
        # An open letter is decided by the letter after it, if that has arrived; it may be open itself.
        following = self.index(self.end(count))
        while following < len(self.chars) and goes_on(self.chars[following]):
            following += 1
        if following < len(self.chars):
            return self._read_at(following, raw)
        if not self.open or not self.reading.letters.spans:
            return len(raw) + 1
        start, end = self.reading.letters.spans[0]
        return self._read_between(len(raw) + start, len(raw) + end, raw)

    def _read_at(self, index: int, raw: str) -> int:
        """How many characters of the window are needed to read the sign of a symbol."""
        return self._read_between(self.begin(index), self.end(index + 1), raw)

    def _read_between(self, start: int, end: int, raw: str) -> int:
        late = max((stop for begin, stop in self._late if begin <= start < stop), default=0)
        if end - start > 1 or self.reading is None:
            return max(end, late)
        return max(start + self.reading.medium.known_after(raw[start:]), late)
