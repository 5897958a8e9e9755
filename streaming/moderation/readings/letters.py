"""Joins characters with their marks to letters, and folds these. The last letter is open while a mark could follow."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from streaming.moderation.folding import (
    ACCENTS,
    MAX_LETTER_CHARS,
    ODD,
    OPEN_LETTERS,
    TABLES,
    fold_letter,
    goes_on,
    is_mark,
    letters,
)
from streaming.moderation.readings.spaces import Symbols

Span = tuple[int, int]


class Letters:
    """Receives characters with their spans, and passes symbols on."""

    def __init__(self, symbols: Symbols, *, accents: bool) -> None:
        self._symbols = symbols
        self._accents = accents
        self._is_open = OPEN_LETTERS[accents]
        self._table = TABLES[accents]
        self.open = ""
        """The undecided letter."""
        self.spans: list[Span] = []
        """The spans of its characters."""

    @property
    def spaces(self) -> bool:
        return self._symbols.spaces

    @property
    def is_after_line_break(self) -> bool:
        """Whether only white space follows a line break so far: an open letter is not among the symbols yet."""
        is_after = self._symbols.spaces and self._symbols.after_line_break
        return is_after and not fold_letter(self.open, accents=self._accents)

    def follow(self, other: Letters) -> None:
        self.open, self.spans = other.open, other.spans[:]

    def keep_open(self, char: str) -> None:
        """Makes the last character the open letter; an empty string means that no letter is open."""
        self.open, self.spans = char, [(-1, 0)] if char else []

    def moved(self, count: int) -> None:
        """Makes spans relative to the next text, which begins ``count`` characters later."""
        if self.spans:
            self.spans = [(start - count, end - count) for start, end in self.spans]

    def as_written(self, text: str, start: int) -> None:
        """Receives characters that stand for themselves."""
        if self.open:
            done = self._go_on(text, start)
            if done == len(text):
                return
            self.close()
            text, start = text[done:], start + done
        size = len(text) - len(self._open_end(text))
        if size:
            self._close_all(text[:size], start)
        if size < len(text):
            self.open = text[size:]
            self.spans = [(start + at, start + at + 1) for at in range(size, len(text))]

    def stands_for(self, chars: str, start: int, end: int) -> None:
        """Receives characters that were decoded from a sign at this span."""
        for char in chars:
            if self.open and goes_on(char) and len(self.open) < MAX_LETTER_CHARS:
                self.open += char
                self.spans.append((start, end))
                continue
            self.close()
            if self._is_open[char]:
                self.open, self.spans = char, [(start, end)]
            else:
                self._symbols.add(fold_letter(char, accents=self._accents), start, end)

    def close(self) -> None:
        """Decides the open letter: nothing that follows is part of it."""
        if self.open:
            self._add_letter(self.open, self.spans)
            self.open, self.spans = "", []

    def _go_on(self, text: str, start: int) -> int:
        """Adds the first characters of a text that continue the open letter. Returns how many."""
        size = 0
        while size < len(text) and goes_on(text[size]) and len(self.open) < MAX_LETTER_CHARS:
            self.open += text[size]
            self.spans.append((start + size, start + size + 1))
            size += 1
        return size

    def _open_end(self, text: str) -> str:
        """The undecided letter at the end of a text; empty if there is none. The text must start with a new letter."""
        last = text[-1]
        if not goes_on(last):
            return last if self._is_open[last] else ""
        begin = len(text) - 1
        while begin and goes_on(text[begin]):
            begin -= 1
        letter = letters(text[begin:], accents=self._accents)[-1]
        return letter if self._is_open[letter[0]] and len(letter) < MAX_LETTER_CHARS else ""

    def _close_all(self, text: str, start: int) -> None:
        """Adds letters that are all decided. Nearly always, each is one character and one symbol."""
        if text.isascii():
            self._symbols.add_each(text.lower(), start)
            return
        folded = text.translate(self._table)
        if ODD not in folded and unicodedata.is_normalized("NFC", text):
            self._symbols.add_each(folded, start)
            return
        for letter in letters(text, accents=self._accents):
            spans = [(at, at + 1) for at in range(start, start + len(letter))]
            self._add_letter(letter, spans)
            start += len(letter)

    def _add_letter(self, letter: str, spans: Sequence[Span]) -> None:
        symbols = fold_letter(letter, accents=self._accents)
        if len(letter) == 1 or not symbols:
            self._symbols.add(symbols, *spans[0])
            return
        for symbol, (start, end) in zip(symbols, self._spans_of(letter, spans), strict=True):
            self._symbols.add(symbol, start, end)

    def _spans_of(self, letter: str, spans: Sequence[Span]) -> list[Span]:
        """The span of each symbol of a letter. A vowel sign has its own span; an accent extends its letter's."""
        found: list[Span] = []
        before = ""
        for size, (char, (start, end)) in enumerate(zip(letter, spans, strict=True), 1):
            symbols = fold_letter(letter[:size], accents=self._accents)
            if symbols == before:
                continue
            more = len(symbols) - len(found)
            is_accent = char in ACCENTS and is_mark(symbols[-1:] or char)  # a Greek iota below is a letter
            if found and (more < 1 or is_accent):
                first = found[-1][0]
                found = [(first, end) if span[0] == first else span for span in found[: len(symbols)]]
                found += [(first, end)] * more
            else:
                found += [(start, end)] * more
            before = symbols
        return found
