"""One reading of a text: a pipeline of medium, letters and spaces."""

from __future__ import annotations

from streaming.moderation.folding import TABLES
from streaming.moderation.readings.json import JsonReader
from streaming.moderation.readings.kinds import Key, Kind
from streaming.moderation.readings.letters import Letters
from streaming.moderation.readings.markdown import DecodedReader, DeepReader, FlatReader
from streaming.moderation.readings.medium_reader import MediumReader
from streaming.moderation.readings.plain import PlainReader
from streaming.moderation.readings.spaces import Read, Symbols

READERS: dict[Kind, type[MediumReader]] = {
    "deep": DeepReader,
    "decoded": DecodedReader,
    "flat": FlatReader,
    "json": JsonReader,
    "written": PlainReader,
}


class Reading:
    """Converts text, which arrives in pieces, to symbols with the spans that they come from."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.symbols = Symbols(spaces=key.spaces)
        self.letters = Letters(self.symbols, accents=key.accents)
        self.medium = READERS[key.kind](self.letters)
        self._table = TABLES[key.accents]

    @property
    def undecided(self) -> int:
        """The number of undecided characters at the end."""
        spans = self.letters.spans
        begin = spans[0][0] if spans else 0
        return max(len(self.medium.pending), -begin)

    def feed(self, text: str, *, final: bool = False) -> Read:
        """Returns the symbols that are now decided. Spans are relative to the start of this text."""
        self.medium.feed(text, final=final)
        if final:
            self.letters.close()
        self.letters.moved(len(text))
        return self.symbols.take()

    def feed_written(self, text: str) -> Read:
        """The same as ``feed``, for a text without signs."""
        self.medium.as_written(text, 0)
        self.letters.moved(len(text))
        return self.symbols.take()

    def follow(self, other: Reading) -> None:
        """Copies the state of another reading."""
        self.medium.follow(other.medium)
        self.letters.follow(other.letters)
        self.symbols.follow(other.symbols)

    def agrees(self, other: Reading) -> bool:
        """Whether both read all further text alike, except for signs that only one of them knows."""
        return self.medium.is_neutral and other.medium.is_neutral and self.is_where(other)

    def is_where(self, other: Reading) -> bool:
        """Whether both are in the same state: nothing read so far makes them read what follows differently."""
        mine, others = self.letters, other.letters
        return (
            self.medium.agrees(other.medium)
            and mine.open == others.open
            and mine.spans == others.spans
            and self.symbols.after_space == other.symbols.after_space
            and self.symbols.after_line_break == other.symbols.after_line_break
        )
