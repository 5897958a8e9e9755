"""A spelling: the result of one reading, for the part of the text that still matters."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple
from unicodedata import is_normalized

from streaming.moderation.edges import Edges
from streaming.moderation.folding import ODD, OPEN_LETTERS, TABLES, goes_on
from streaming.moderation.readings import Key, Reading
from streaming.moderation.readings.spaces import Read


class Match(NamedTuple):
    """A match, in characters of its window. The least of several is the one that counts.

    ``looks`` is whether the symbol after it had to be known.
    """

    start: int
    minus_end: int
    rank: int
    spelling: int = 0
    looks: bool = False


class Spelling:
    """Symbols, and where each comes from. ``starts`` and ``ends`` are None while each is the character at its place."""

    def __init__(self, number: int, key: Key) -> None:
        self.number = number
        self.key = key
        self.is_raw = key.kind == "raw"
        self.reading = None if self.is_raw else Reading(key)
        self.size = 0  # characters of the window
        self.chars = ""
        self.starts: list[int] | None = None
        self.ends: list[int] | None = None
        self.before = ""  # the symbol before these
        self.dropped = 0  # symbols before these
        self.added = ""  # the symbols that came last
        self.open = ""  # the last letter, while a mark could follow it
        self.leader = self
        self._last_read = Read("")
        self._table = TABLES[key.accents]
        self._is_open = OPEN_LETTERS[key.accents]

    @property
    def undecided(self) -> int:
        """Characters at the end whose reading is not decided."""
        return self.reading.undecided if self.reading else 0

    @property
    def pending(self) -> str:
        """The end of the text, while it is undecided whether it is a sign."""
        return self.reading.medium.pending if self.reading else ""

    @property
    def last(self) -> str:
        """The last symbol; empty at the beginning of the text."""
        return self.chars[-1:] or self.before

    @property
    def is_one_to_one(self) -> bool:
        return self.starts is None

    def read(self, text: str, *, final: bool = False) -> None:
        """Reads on, whatever signs the text has."""
        if self.reading:
            self._last_read = self.reading.feed(text, final=final)
            self._add(self._last_read, len(text))
            self.open = self.reading.letters.open
        else:
            self._add(Read(text), len(text))

    def is_where(self, other: Spelling) -> bool:
        """Whether it reads what follows as another does, if that has no signs that only one of them knows."""
        return self.reading is not None and other.reading is not None and self.reading.is_where(other.reading)

    def read_like(self, other: Spelling, length: int) -> None:
        """Reads on as another has just done."""
        self._add(other._last_read, length)
        self.open = other.open
        if self.reading and other.reading:
            self.reading.follow(other.reading)

    def read_written(self, text: str) -> None:
        """Reads on in a text without signs."""
        if self.reading is None:
            self._add(Read(text), len(text))
        elif not self._read_simply(self.reading, text):
            self._add(self.reading.feed_written(text), len(text))
            self.open = self.reading.letters.open

    def simple_symbols(self, text: str) -> str | None:
        """The symbols of a text without signs of which each character is one, and the last one decided; else None.

        It asks for nothing to be open or undecided, and remembers nothing: see ``passed``.
        """
        if self.is_raw:
            return text
        if self.reading is None or self._is_open[text[-1]]:
            return None
        if self.key.spaces and not self.reading.symbols.is_even(text):
            return None
        if text.isascii():
            return text.lower()
        symbols = text.translate(self._table)
        return None if ODD in symbols or not is_normalized("NFC", text) else symbols

    def passed(self, last: str) -> None:
        """What was added is let go at once, while nothing is held; ``last`` is the text's last character."""
        symbols = self.added
        self.before = symbols[-1]
        self.dropped += len(symbols)
        if self.reading:
            self.reading.medium.previous = last
            if self.key.spaces:
                self.reading.symbols.passed(symbols[-1])

    def _read_simply(self, reading: Reading, text: str) -> bool:
        """Reads a text of which each character is one symbol, as nearly all texts are. Whether it is such a one."""
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
        """Adds symbols of one character each, of which some were not decided before."""
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
            # What was let go before it was decided cannot be part of a match any more.
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

    def follow(self) -> None:
        """Goes on where the leader is."""
        leader = self.leader
        self.size, self.chars, self.before, self.dropped = leader.size, leader.chars, leader.before, leader.dropped
        self.starts = None if leader.starts is None else leader.starts[:]
        self.ends = None if leader.ends is None else leader.ends[:]
        self.open = leader.open
        if self.reading and leader.reading:
            self.reading.follow(leader.reading)

    def agrees(self) -> bool:
        """Whether nothing tells it from the leader's any more."""
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
        """Forgets what comes from the first characters of the window."""
        self.size -= count
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
        self.size = 0

    def index(self, at: int) -> int:
        """The first symbol that comes from there or after."""
        return min(at, len(self.chars)) if self.starts is None else bisect_left(self.starts, at)

    def index_of_end(self, at: int) -> int:
        """How many symbols end there or before."""
        return min(at, len(self.chars)) if self.ends is None else bisect_left(self.ends, at + 1)

    def begin(self, index: int) -> int:
        """Where a symbol comes from; the one that is to come, from what is not decided."""
        if index >= len(self.chars):
            return max(self.size - self.undecided, 0)
        return index if self.starts is None else self.starts[index]

    def end(self, index: int) -> int:
        """Where the symbol before ``index`` ends."""
        return index if self.ends is None else self.ends[index - 1]

    def symbol_before(self, index: int) -> str:
        return self.chars[index - 1] if index else self.before

    def known_at(self, match: Match, edges: Edges, raw: str) -> int:
        """How much of the window has to be there for a match to be known."""
        after = self.index_of_end(-match.minus_end)
        needs_next = match.looks or edges.waits(self.chars[after - 1])
        return self._decided_at(after + needs_next, raw)

    def end_of_known(self, end: int, known: int, raw: str) -> int:
        """Where the last symbol ends that does so there or before, and is decided when so much has come."""
        count = self.index_of_end(end)
        while count and self._decided_at(count, raw) > known:
            count -= 1
        return self.end(count) if count else 0

    def _decided_at(self, count: int, raw: str) -> int:
        """How much of the window has to be there for the first ``count`` symbols to be decided."""
        if count > len(self.chars):
            return len(raw) + 1
        if self.is_raw or self.reading is None:
            return self.end(count)
        own = Reading(self.key)
        own.feed(raw[self.begin(count - 1) : self.end(count)])
        if not own.letters.open:
            return self._read_at(count - 1, raw)
        # An open letter is decided by the next one that has come.
        return self._read_at(count, raw) if count < len(self.chars) else len(raw) + 1

    def _read_at(self, index: int, raw: str) -> int:
        """How much has to be there for a symbol's sign to be read."""
        start, end = self.begin(index), self.end(index + 1)
        if end - start > 1 or self.reading is None:
            return end
        return start + self.reading.medium.known_after(raw[start:])
