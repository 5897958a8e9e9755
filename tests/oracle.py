"""A reference implementation of moderation, written for clarity and without regard to speed.

The whole text is read, then matched at all places with Python's own ``re``, then acted on. Of the engine it shares only
tables: what a letter folds to, which characters are marks, and which texts could still become a sign.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html.entities import html5
from typing import NamedTuple

import regex

from streaming.moderation import Medium, Rule
from streaming.moderation.folding import (
    ACCENTS,
    ATTACHED,
    MAX_LETTER_CHARS,
    OPEN_LETTERS,
    fold,
    fold_letter,
    goes_on,
    has_accents,
    is_mark,
    is_word_char,
)
from streaming.moderation.loose_words import is_letter, is_separator, letters_of
from streaming.moderation.readings.escapes import CODES_SO_FAR, REFERENCE_SO_FAR
from streaming.moderation.validators import check_named

SPAN = 4
"""Symbols of the longest match in these tests."""
MASK = "•"

READINGS: dict[Medium, tuple[str, ...]] = {
    "markdown": ("deep", "decoded", "flat", "written"),
    "json": ("json",),
    "plain": ("written",),
}
ORDER = ("deep", "decoded", "flat", "json", "written", "raw")
SO_FAR = {
    "deep": rf"[\]!$]|<(?:/|!-?)?|_{{1,32}}|{REFERENCE_SO_FAR}|\\",
    "flat": rf"[\]!$]|<(?:/|!-?)?|_{{1,32}}|{REFERENCE_SO_FAR}|{CODES_SO_FAR}",
    "decoded": rf"[\]!$]|<(?:/|!-?)?|_{{1,32}}|{REFERENCE_SO_FAR}|{CODES_SO_FAR}",
    "address": "(?!)",
    "json": CODES_SO_FAR,
    "written": "(?!)",
}
HEX = "[0-9a-fA-F]"


class Symbol(NamedTuple):
    char: str
    start: int
    end: int


class Reading(NamedTuple):
    kind: str
    accents: bool
    spaces: bool


# --- reading


def _sign(text: str, at: int, kind: str, previous: str) -> tuple[str | None, int] | None:
    """The escape or markup at a position: the text it stands for ("" for nothing, None for itself) and its end."""
    rest = text[at:]
    if kind == "written":
        return None
    if kind == "address":
        return _reference_at(rest, at) or _code(rest, at)
    if kind == "json" and (m := re.match(r'\\(["\\/bfnrt])', rest)):
        return {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}.get(m[1], m[1]), at + 2
    is_markdown = kind in ("deep", "decoded", "flat", "inner", "tag")
    if is_markdown and (m := re.match(r"!?\[|\]|\$\$", rest)):
        return "", at + m.end()
    if kind in ("deep", "decoded", "inner", "tag") and (m := re.match(r"\\[()\[\]]", rest)):
        return "", at + m.end()
    if is_markdown:
        if m := re.match(r"[*~`]+", rest):
            return "", at + m.end()
        if m := re.match("_{1,32}", rest):
            following = rest[m.end() : m.end() + 1]
            return (None if previous.isalnum() and following.isalnum() else ""), at + m.end()
        if rest.startswith("\\\n"):
            return "", at + (1 if kind in ("decoded", "flat") else 2)
        if m := re.match(r"\\([!-/:-@\[-`{-~])", rest):
            return m[1], at + 2
        if found := _reference_at(rest, at):
            return found
    return None if kind == "deep" else _code(rest, at)


def _code(rest: str, at: int) -> tuple[str | None, int] | None:
    if m := re.match(rf"\\u([dD][89abAB]{HEX}{HEX})\\u([dD][c-fC-F]{HEX}{HEX})", rest):
        return bytes.fromhex(m[1] + m[2]).decode("utf-16-be"), at + m.end()
    if m := re.match(rf"\\u({HEX}{{4}})|\\x({HEX}{HEX})", rest):
        code = int(m[1] or m[2], 16)
        return (None if 0xD800 <= code < 0xE000 else chr(code)), at + m.end()
    if m := re.match(rf"(?:%{HEX}{HEX})+", rest):
        data = bytes.fromhex(m[0].replace("%", ""))
        for count in (1, 2, 3, 4):
            try:
                return data[:count].decode(), at + 3 * count
            except UnicodeDecodeError:
                continue
    return None


_GAP = r"(?:\s|(?<=\n[\s>]*)>)"
_ANY = r"\\\S|\\(?=\s)"
_CONSTRUCTS = {
    "link": rf"\]\({_GAP}*+(?:<(?:{_ANY}|[^<>\n\\])*>"
    rf"|(?!<)(?:{_ANY}|[^\s()\\]|(?P<nested>\((?:{_ANY}|[^\s()\\]|(?&nested))*\)))+)"
    rf"""(?:{_GAP}++(?:"(?:{_ANY}|[^"\\])*"|'(?:{_ANY}|[^'\\])*'|\((?:{_ANY}|[^()\\])*\)))?{_GAP}*+\)|\]\({_GAP}*+\)""",
    "label": r"\]\[(?:\\.|[^\\\[\]])*\][^(]",
    "comment": r"<!--(?:>|->|.*?-->)",
    "open tag": r"""<[A-Z][A-Z0-9-]*(?:\s+[A-Z_:][A-Z0-9_.:-]*(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?)*\s*/?>""",
    "closing tag": r"</[A-Z][A-Z0-9-]*\s*>",
    "instruction": r"<\?.*?\?>",
    "declaration": r"<![A-Z][^>]*>",
    "CDATA": r"<!\[CDATA\[.*?\]\]>",
    "address": r"<[A-Z][A-Z0-9+.-]{1,31}:[^\s<>]*>",
    "mail address": r"<[A-Z0-9][A-Z0-9.!#$%&'*+/=?^_`{|}~-]*@[A-Z0-9.-]+>",
}
_COMPILED = {
    name: regex.compile(pattern, regex.DOTALL | (0 if name == "CDATA" else regex.IGNORECASE | regex.ASCII))
    for name, pattern in _CONSTRUCTS.items()
    if name != "link"
} | {"link": regex.compile(_CONSTRUCTS["link"])}


@lru_cache(maxsize=50_000)
def _construct(rest: str, *, final: bool) -> tuple[str, int] | None:
    """The construct with which a text begins, and its end; "uncertain" while it may become one; None if it has none."""
    if not re.match(r"\][(\[]|<(?:!--|/?[A-Za-z]|[0-9?]|![A-Za-z\[])", rest):
        return None
    names = list(_COMPILED)
    for size in range(2, len(rest) + 1):
        text = rest[:size]
        blank = re.search(r"\n[^\S\n]*\n", text) or re.search(r"\n(?:[^\S\n]|>)*\n\Z", text)
        for name in names:
            if name != "comment" and blank and (name == "link" or ">" not in blank[0]):
                names = [each for each in names if each != name]
            elif name in names and _COMPILED[name].fullmatch(text):
                return name, size - (name == "label")
        names = [name for name in names if _COMPILED[name].fullmatch(text, partial=True)]
        if not names:
            return None
    return None if final else ("uncertain", 0)


def _is_hidden_within(construct: str) -> bool:
    """Whether a construct in another one is hidden where the other is shown: the end of a link, and simple tags."""
    return construct.startswith("](") or re.fullmatch(r"(?i)</?[a-z][a-z0-9-]*\s*/?>", construct) is not None


def _reference_at(rest: str, at: int) -> tuple[str | None, int] | None:
    m = re.match(rf"&(?:#([0-9]{{1,7}})|#[xX]({HEX}{{1,6}})|([A-Za-z][A-Za-z0-9]{{1,31}}));", rest)
    return (_reference(m), at + m.end()) if m else None


def _reference(m: re.Match[str]) -> str | None:
    if m[3]:
        return html5.get(m[3] + ";")
    code = int(m[1]) if m[1] else int(m[2], 16)
    bad = not code or code > 0x10FFFF or 0xD800 <= code < 0xE000
    return "\ufffd" if bad else chr(code)


class _White:
    """The current run of white space."""

    run = ""


def _characters(
    whole: str,
    kind: str,
    *,
    accents: bool,
    spaces: bool,
    final: bool,
    at: int = 0,
    stop: int | None = None,
    white: _White | None = None,
) -> Generator[tuple[str, int, int], None, int | None]:
    """Normalised characters with their spans; uncertain ones at the end are omitted unless final.

    Of the inside of a construct, which ends at ``stop``, only constructs may go on beyond that. Returns the end of what
    was read; None if it is uncertain.
    """
    white = white or _White()
    is_final, text = final or stop is not None, whole[:stop]
    is_markdown = kind in ("deep", "decoded", "flat", "inner", "tag")
    brackets: list[str] = []  # for each open one, what it may begin: a link, an image or nothing
    has_code = in_formula = False
    formula_ends_with = None  # in the decoded reading, which takes no brackets within for those of links

    def with_white(char: str, start: int, end: int) -> tuple[str, int, int]:
        folded = fold_letter(char, accents=accents)
        if folded:
            white.run = white.run + folded if folded.isspace() else ""
        return char, start, end

    def within(stop: int, kind: str, at: int) -> Generator[tuple[str, int, int], None, int | None]:
        options = {"accents": accents, "spaces": spaces, "final": final, "white": white}
        return _characters(whole, kind, at=at, stop=stop, **options)

    while at < len(text):
        if is_markdown and spaces and "\n" in white.run and text[at] == ">":
            at += 1
            continue
        closes = text[at] == "]" and is_markdown and bool(brackets) and not formula_ends_with
        may_begin = closes and (has_code or brackets[-1] != "nothing") if text[at] == "]" else is_markdown
        may_begin &= kind != "tag" or text[at] == "<"
        construct = _construct(whole[at:], final=final) if may_begin else None
        if closes and not has_code and construct != ("uncertain", 0):
            is_link = brackets.pop() == "link" and construct is not None and construct[0] == "link"
            if is_link:
                brackets = ["image" if each == "image" else "nothing" for each in brackets]
        if construct:
            name, size = construct
            if name == "uncertain":
                return None
            end = at + size
            is_tag = whole[at] == "<"
            is_known_address = name == "mail address" or re.match("(?i)<(https?|mailto|tel):", whole[at:end])
            if kind == "decoded" and is_tag and not is_known_address and not _is_hidden_within(whole[at:end]):
                yield with_white("<", at, at + 1)
                end = at + 1
            elif name in ("address", "mail address") and kind != "flat":
                yield from within(end - 1, "address", at + 1)
            elif kind in ("decoded", "flat") and re.fullmatch(r"(?i)<br\s*/?>", whole[at:end]):
                yield with_white("\n", at, end)
            elif kind == "flat" or (kind in ("inner", "tag") and not _is_hidden_within(whole[at:end])):
                begin = at + (1 if text[at] == "<" else 2)
                for place in range(at, begin):
                    yield with_white(whole[place], place, place + 1)
                reached = yield from within(end - 1, "tag" if is_tag else "inner", begin)
                if reached is None:
                    return None
                if reached < end:
                    yield with_white(whole[end - 1], end - 1, end)
                end = max(reached, end)
            at = end
            continue
        before = text[:at][-1:]
        in_formula &= not (before == text[at] == "\n")
        formula_ends_with = formula_ends_with if in_formula else None
        if in_formula and text[at] in "_^{}":
            at += 1
            continue
        if not is_final and re.fullmatch(SO_FAR[kind], text[at:]) and (text[at] != "_" or before.isalnum()):
            return None
        formula = re.match(r"\\[()\[\]]|\$\$", text[at:]) if kind in ("deep", "decoded") else None
        in_formula |= formula is not None
        if kind == "decoded" and formula:
            ends_with = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}.get(formula[0])
            if formula_ends_with in (None, formula[0]):
                formula_ends_with = None if formula_ends_with else ends_with
        sign = _sign(text, at, kind, before)
        if is_markdown and not formula_ends_with and (text[at] == "[" or text[at : at + 2] == "!["):
            brackets.append("link" if text[at] == "[" else "image")
        has_code |= bool(brackets) and sign is not None and sign[0] == "" and "`" in text[at : sign[1]]
        if sign is None:
            yield with_white(text[at], at, at + 1)
            at += 1
            continue
        chars, end = sign
        if chars is None:
            for place in range(at, end):
                yield with_white(text[place], place, place + 1)
        else:
            for char in chars:
                yield with_white(char, at, end)
        at = end
    return at


@lru_cache(maxsize=50_000)
def read(text: str, reading: Reading, *, final: bool = True) -> tuple[Symbol, ...]:
    """The symbols of a text: all of them if it is final, otherwise those that later text cannot change."""
    if reading.kind == "raw":
        return tuple(Symbol(char, at, at + 1) for at, char in enumerate(text))
    letters: list[list[tuple[str, int, int]]] = []
    is_open = OPEN_LETTERS[reading.accents]
    options = {"accents": reading.accents, "spaces": reading.spaces, "final": final}
    for each in _characters(text, reading.kind, **options):
        if letters and goes_on(each[0]) and is_open[letters[-1][0][0]] and len(letters[-1]) < MAX_LETTER_CHARS:
            letters[-1].append(each)
        else:
            letters.append([each])
    if letters and not final and is_open[letters[-1][0][0]]:
        letters.pop()
    symbols: list[Symbol] = []
    for letter in letters:
        for symbol in _symbols(letter, accents=reading.accents):
            if reading.spaces and symbol.char.isspace():
                if not (symbols and symbols[-1].char == " "):
                    symbols.append(Symbol(" ", symbol.start, symbol.end))
                continue
            symbols.append(symbol)
    return tuple(symbols)


def _symbols(letter: list[tuple[str, int, int]], *, accents: bool) -> list[Symbol]:
    chars = "".join(char for char, _, _ in letter)
    symbols = fold_letter(chars, accents=accents)
    spans: list[list[int]] = []  # those that are one object are of one stretch
    for size, (char, start, end) in enumerate(letter, 1):
        now, before = (fold_letter(chars[:each], accents=accents) if each else "" for each in (size, size - 1))
        if now == before:
            continue
        del spans[len(now) :]
        is_accent = char in ACCENTS and is_mark(now[-1:] or char)
        if spans and (is_accent or len(now) <= len(spans)):
            spans[-1][1] = end
            spans += [spans[-1]] * (len(now) - len(spans))
        else:
            stretch = [start, end]
            spans += [stretch] * (len(now) - len(spans))
    return [Symbol(symbol, *span) for symbol, span in zip(symbols, spans, strict=True)]


# --- matching


def accents_of(rule: Rule) -> bool:
    return rule.compare != "exact" and has_accents(rule.pattern)


def readings_of(rule: Rule, medium: Medium) -> list[Reading]:
    if rule.compare == "exact":
        return [Reading("raw", accents=False, spaces=False)]
    spaces = rule.kind == "literal" and rule.compare == "normal" and " " in fold(rule.pattern).strip()
    return [Reading(kind, accents_of(rule), spaces) for kind in READINGS[medium]]


@lru_cache(maxsize=4096)
def matcher(rule: Rule, left: int) -> re.Pattern[str]:
    """A pattern for matches that end this many symbols before the end."""
    flags = re.ASCII
    if rule.kind == "regex":
        pattern = rule.pattern
        for flag, letter in ((re.MULTILINE, "m"), (re.IGNORECASE, "i"), (re.DOTALL, "s")):
            if f"(?{letter})" in pattern:
                flags, pattern = flags | flag, pattern.replace(f"(?{letter})", "")
        if not flags & re.MULTILINE:
            pattern = re.sub(r"(?<!\\)\$", r"\\Z", pattern)
        if rule.compare == "exact" and flags & re.IGNORECASE:
            flags &= ~re.ASCII
        if rule.compare != "exact":
            pattern = pattern.replace("[ก-๛]", "(?:[ก-๛]|\u0e4dา)")  # of these characters, ำ is read as two symbols
    elif rule.compare == "exact":
        pattern = re.escape(rule.pattern)
    else:
        word = " ".join(fold(rule.pattern, accents=accents_of(rule)).split())
        pattern = "".join("[ıi]" if char == "ı" else re.escape(char) for char in word)
    return re.compile(f"(?:{pattern})(?=(?s:.{{{left}}})\\Z)", flags)


class Place(NamedTuple):
    """A match; of several that become known together, the smallest takes effect."""

    start: int
    minus_end: int
    rank: int
    order: int
    known: int
    reading: Reading
    first: int
    last: int


def places(rank: int, rule: Rule, text: str, medium: Medium, symbols_of: _SymbolsOf | None = None) -> Iterator[Place]:
    """All matches of a rule. ``known`` is how much of the text is needed to be certain of one."""
    for reading in readings_of(rule, medium):
        symbols = (symbols_of or _all_symbols)(text, reading)
        chars = "".join(symbol.char for symbol in symbols)
        for first in range(len(symbols)):
            for last in range(first + 1, min(len(symbols), first + SPAN) + 1):
                looks = _matches(rule, chars, first, last, medium)
                if looks is None:
                    continue
                after = last + (looks or (rule.whole_word and is_word_char(chars[last - 1])))
                known = _known_at(text, reading, after) if symbols_of is None else 0
                start, end = symbols[first].start, symbols[last - 1].end
                yield Place(start, -end, rank, ORDER.index(reading.kind), known, reading, first, last)


class _SymbolsOf:
    """Symbols of the part of a text received by the time a block ends it."""

    def __init__(self, known: int, end: int) -> None:
        self._known = known
        self._end = end

    def __call__(self, text: str, reading: Reading) -> tuple[Symbol, ...]:
        is_final = self._known > len(text)
        symbols = read(text[: self._known], reading, final=is_final)
        return tuple(symbol for symbol in symbols if symbol.end <= self._end)


def _all_symbols(text: str, reading: Reading) -> tuple[Symbol, ...]:
    return read(text, reading)


@lru_cache(maxsize=50_000)
def _known_at(text: str, reading: Reading, count: int) -> int:
    for size in range(1, len(text) + 1):
        if len(read(text[:size], reading, final=False)) >= count:
            return size
    return len(text) + 1


def _matches(rule: Rule, chars: str, first: int, last: int, medium: Medium) -> bool | None:
    """None if it is not a match; otherwise whether the symbol after it had to be known."""
    before, text, after = chars[:first][-1:], chars[first:last], chars[last : last + 1]
    if rule.whole_word:
        if before and is_word_char(before) and is_word_char(text[0]):
            return None
        if after and is_word_char(text[-1]) and is_word_char(after):
            return None
    if rule.compare != "exact" and after and is_mark(after) and OPEN_LETTERS[accents_of(rule)][text[-1]]:
        return None
    if rule.compare == "loose":
        return _loose(rule, before, text, after)
    if not matcher(rule, len(chars) - last).match(chars, first):
        return None
    check = check_named(rule.check)
    if check and not check(chars[slice(*_acted(rule, chars, first, last))]):
        return None
    return not _matches_whatever_follows(rule, chars, first, last)


def _acted(rule: Rule, chars: str, first: int, last: int) -> tuple[int, int]:
    """The part of a match that its rule acts on."""
    found = matcher(rule, len(chars) - last).match(chars, first) if rule.group else None
    return found.span(1) if found and found[1] else (first, last)


def _matches_whatever_follows(rule: Rule, chars: str, first: int, last: int) -> bool:
    """Whether a match does not depend on the text after it."""
    if rule.kind == "literal":
        return True
    return all(
        matcher(rule, len(more)).match(chars[:last] + more, first) for more in ("", "a", " ", "\n", "-", "9", "é")
    )


def _loose(rule: Rule, before: str, text: str, after: str) -> bool | None:
    word = [min(letters_of(symbol)) for symbol in fold(rule.pattern, accents=accents_of(rule)) if letters_of(symbol)]
    found = [each for each in (False, True) if _is_loose(word, text, separated=each)]
    for separated in found:
        if not separated:
            return False
        if not any(symbol and symbol != "_" and is_word_char(symbol) for symbol in (before, after)):
            return True
    return None


def _is_loose(word: list[str], text: str, *, separated: bool) -> bool:
    """Whether the text is the word's letters, each once or more, with (or without) separators between them."""
    # States: (letters read, separators since, has there been one)
    states = {(0, 0, False)}
    for symbol in text:
        after = set()
        for read_, since, been in states:
            if read_ < len(word) and word[read_] in letters_of(symbol):
                after.add((read_ + 1, 0, been))
            if read_ and not since and word[read_ - 1] in letters_of(symbol):
                after.add((read_, 0, been))
            if 0 < read_ < len(word) and since < 3 and is_separator(symbol):
                after.add((read_, since + 1, True))
        states = after
    return (len(word), 0, separated) in states


def visible(words: Iterable[Rule], text: str) -> Rule | None:
    """The first of these words that a person reads in a text which is shown as it is."""
    for rule in words:
        (reading,) = readings_of(rule, "plain")
        symbols = "".join(symbol.char for symbol in read(text, reading))
        word = fold(rule.pattern, accents=accents_of(rule))
        at = symbols.find(word)
        while at >= 0:
            if _matches(rule, symbols, at, at + len(word), "plain") is not None:
                return rule
            at = symbols.find(word, at + 1)
    return None


# --- acting


@dataclass
class Answer:
    """The result of moderating a text: the text shown and the matches found."""

    shown: str
    found: list[tuple[Rule, int, int]]
    blocked: bool


def moderate(rules: Iterable[Rule], text: str, medium: Medium = "plain") -> Answer:
    """Moderates a complete text."""
    ranked = sorted(rules, key=lambda rule: -rule.priority)
    every = [(rule, place) for rank, rule in enumerate(ranked) for place in places(rank, rule, text, medium)]
    allowed = [(place.start, -place.minus_end) for rule, place in every if rule.action == "allow"]

    def counts(place: Place) -> bool:
        return not any(start <= place.start and -place.minus_end <= end for start, end in allowed)

    blocks = sorted((place.known, *place[:4]) for rule, place in every if rule.action == "block" and counts(place))
    block = blocks[0] if blocks else None
    end = -block[2] if block else len(text)
    symbols_of = _SymbolsOf(block[0], end) if block else None
    acting = [
        place
        for rank, rule in enumerate(ranked)
        if rule.action in ("mask", "replace", "drop")
        for place in places(rank, rule, text, medium, symbols_of)
        if counts(place) and (not block or place.start < block[1])
    ]
    acted = _Acting(ranked, text, medium, symbols_of, block[1] if block else len(text))
    for place in sorted(acting):
        acted.take(place)
    if block:
        acted.pass_until(block[1])
        acted.found.append((ranked[block[3]], block[1], end))
    else:
        acted.pass_until(len(text))
    flags = _flagged(ranked, text[:end], medium)
    return Answer(acted.shown, [*acted.found, *flags], block is not None)


def _flagged(ranked: list[Rule], text: str, medium: Medium) -> list[tuple[Rule, int, int]]:
    every = [(rule, place) for rank, rule in enumerate(ranked) for place in places(rank, rule, text, medium)]
    allowed = [(place.start, -place.minus_end) for rule, place in every if rule.action == "allow"]
    acted = _Acting(ranked, text, medium, None, len(text))
    for place in sorted(place for rule, place in every if rule.action == "flag"):
        if not any(start <= place.start and -place.minus_end <= end for start, end in allowed):
            acted.take(place)
    return acted.found


@lru_cache(maxsize=50_000)
def _is_alive(rule: Rule, chars: str, first: int) -> bool:
    """Whether the text so far could still become a match, of any length, in which the rule acts on its end."""
    tails = ("".join(tail) for size in range(4) for tail in itertools.product("abse -*9\n", repeat=size))
    found = (matcher(rule, 0).match(chars + tail, first) for tail in tails)
    return any(each and (not rule.group or each.start(1) < len(chars) <= each.end(1)) for each in found)


class _Rest(NamedTuple):
    """What may continue a match of the maximum length: the symbols after it, its own, and the one before it."""

    rule: Rule
    symbols: tuple[Symbol, ...]
    chars: str
    before: str


class _Acting:
    """A text whose matches are applied from left to right."""

    def __init__(self, rules: list[Rule], text: str, medium: Medium, symbols_of: _SymbolsOf | None, end: int) -> None:
        self.shown = ""
        self.found: list[tuple[Rule, int, int]] = []
        self._rules = rules
        self._text = text
        self._medium = medium
        self._symbols_of = symbols_of or _all_symbols
        self._end = end  # of what continues a match of the maximum length
        self._at = 0
        self._swallows = False
        self._removes_number = False  # a string has replaced the beginning of a number in JSON
        self._rest: _Rest | None = None

    def pass_until(self, end: int) -> None:
        while self._rest:
            start = self._rest.symbols[0].start if self._rest.symbols else end + 1
            if start > end or any(map(str.isalnum, self._text[self._at : start])):
                break  # words that this reading leaves out may be matches of their own
            self._show_until(start)
            self._go_on(self._rest)
        self._show_until(end)

    def _show_until(self, end: int) -> None:
        if end <= self._at:
            return
        follows = _REST_OF_NUMBER if self._removes_number else ATTACHED
        run = follows.match(self._text, self._at, end) if self._swallows or self._removes_number else None
        start = run.end() if run else self._at
        self.shown += self._text[start:end]
        self._swallows = self._swallows and start == end
        self._removes_number = self._removes_number and start == end
        self._at = end

    def take(self, place: Place) -> None:
        if place.start < self._at:
            return
        rule = self._rules[place.rank]
        self.pass_until(place.start)
        if place.start < self._at:
            return
        self._rest = None
        symbols = self._symbols_of(self._text, place.reading)
        first, last = _acted(rule, "".join(symbol.char for symbol in symbols), place.first, place.last)
        self.shown += self._kept(place.start, symbols[first].start)
        self.shown += self._replaced(rule, symbols[first:last])
        self.shown += self._kept(symbols[last - 1].end, -place.minus_end)
        self.found.append((rule, place.start, -place.minus_end))
        self._at = -place.minus_end
        self._swallows = place.reading.kind != "raw"
        if rule.kind == "regex" and place.last - place.first == SPAN and last == place.last:
            chars = "".join(symbol.char for symbol in symbols[place.first : last])
            before = symbols[place.first - 1].char if place.first else ""
            self._go_on(_Rest(rule, symbols[last:], chars, before))

    def _kept(self, start: int, end: int) -> str:
        """What is shown of a part of a match on which its rule does not act."""
        text = self._text[start:end]
        if self._removes_number and text:
            text = _REST_OF_NUMBER.sub("", text, count=1)
            self._removes_number = not text
        return text

    def _go_on(self, rest: _Rest) -> None:
        """A match of the maximum length is extended while it could still become a longer one, up to the next gap."""
        count, at, chars = 0, self._at, rest.before + rest.chars
        for symbol in rest.symbols:
            chars += symbol.char
            if symbol.start > at or symbol.end > self._end or not _is_alive(rest.rule, chars, len(rest.before)):
                break
            count, at = count + 1, symbol.end
        if count:
            self.shown += self._replaced(rest.rule, rest.symbols[:count], is_rest=True)
            self._at = at
        chars = rest.chars + "".join(symbol.char for symbol in rest.symbols[:count])
        is_over = count < len(rest.symbols) and rest.symbols[count].start <= at
        self._rest = None if is_over else rest._replace(symbols=rest.symbols[count:], chars=chars)

    def _replaced(self, rule: Rule, symbols: tuple[Symbol, ...], *, is_rest: bool = False) -> str:
        """The text shown for a match: its masks or replacement, and what is kept of the ignored characters within."""
        stretches: list[tuple[str, Symbol]] = []
        at, before = self._at if is_rest else symbols[0].start, ""
        for symbol in symbols:
            if symbol.end > at:
                stretches.append((self._gap(self._text[at : symbol.start], before), symbol))
                at = symbol.end
            before = symbol.char
        if self._medium == "json" and stretches:
            return self._replaced_in_json(rule, stretches, is_rest=is_rest)
        if rule.action != "mask":
            text = rule.replacement if rule.action == "replace" and not is_rest else ""
            return text + "".join(gap for gap, _ in stretches)
        return "".join(gap + self._mask(rule, symbol) for gap, symbol in stretches)

    def _mask(self, rule: Rule, symbol: Symbol) -> str:
        keeps = rule.compare == "loose" and not is_letter(symbol.char)
        return self._text[symbol.start : symbol.end] if keeps else MASK

    def _gap(self, gap: str, before: str) -> str:
        if before == " ":
            gap = re.sub(r"^[\s>]+" if self._medium == "markdown" else r"^\s+", "", gap)
        run = ATTACHED.match(gap)
        return gap[run.end() :] if run else gap

    def _replaced_in_json(self, rule: Rule, stretches: list[tuple[str, Symbol]], *, is_rest: bool) -> str:
        start, end = stretches[0][1].start, stretches[-1][1].end
        values = [] if is_rest else _values(self._text[:end])
        units = [(gap, symbol.start, self._text[symbol.start : symbol.end], symbol.char) for gap, symbol in stretches]
        if rule.compare == "exact":
            units = list(_escapes(self._text[:start], self._text[start:end]))
        quoted = json.dumps(rule.replacement if rule.action == "replace" else "", ensure_ascii=False)
        inside, before = _is_inside(self._text[:start]), self._text[max(start - 1, 0) : start]
        rest = start + len(_REST_OF_NUMBER.match(self._text[start:end])[0])  # type: ignore[index]
        is_in_number = any(kind == "number" and first < start < last for kind, first, last in values)
        is_in_number |= before in list("0123456789.-+eE") and self._text[start].isdecimal()
        masked = end if rule.action == "mask" else rest if is_in_number and not inside and not is_rest else start
        removed = rest if self._removes_number else start
        shown, is_written, in_token = "", is_rest, is_rest
        for gap, at, text, char in units:
            shown += gap
            if not text or at < removed:
                continue
            masks = at < masked
            kind, first, last = next((each for each in values if each[1] <= at < each[2]), ("", 0, 0))
            if kind == "literal" and first < start:
                kind = "part"
            if text == '"':
                inside = not inside
                shown += text
            elif masks and rule.compare == "loose" and not is_letter(char):
                shown += text
            elif masks and inside:
                shown += MASK
            elif masks:
                shown += _outside(text, before, kind, is_first=at == first, is_last=at == last - 1)
            elif inside:
                shown += "" if is_written else quoted[1:-1]
                is_written = True
            elif text in list(" \t\n\r{}[]:,"):
                shown, in_token = shown + text, is_rest
            elif kind == "part" and not is_rest:
                shown += text
            elif not in_token and is_written and kind not in ("number", "literal"):
                shown += _outside(text, before, kind)
            elif not in_token:
                shown += '""' if is_written else quoted
                is_written = in_token = True
            before = text[-1]
        begun = [last for kind, first, last in values if kind == "number" and start <= first]
        self._removes_number = not inside and not is_rest and ((masked < end and end in begun) or removed == end)
        return shown


_REST_OF_NUMBER = re.compile(r"[-+.eE0-9]*")


def _values(text: str) -> list[tuple[str, int, int]]:
    """Where JSON may have a value, the numbers, literals and parts of literals: each kind with its start and end."""
    found = []
    for value in re.finditer(r"(?:^|[:\[,])\s*(?:([a-z]+)|(-?[0-9][-+.eE0-9]*|-))", text):
        if value[2]:
            found.append(("number", *value.span(2)))
        elif value[1] in ("true", "false", "null"):
            found.append(("literal", *value.span(1)))
        elif any(literal.startswith(value[1]) for literal in ("true", "false", "null")):
            found.append(("part", *value.span(1)))
    return found


def _outside(text: str, before: str, kind: str, *, is_first: bool = False, is_last: bool = False) -> str:
    """The mask of a character outside the strings of JSON."""
    if kind == "literal":
        return '"' * is_first + MASK + '"' * is_last
    if kind == "part" or text in list(" \t\n\r{}[]:,-") or (text in list(".+eE") and before in list("0123456789.-+eE")):
        return text
    return "0" if text.isdecimal() else MASK


def _escapes(before: str, text: str) -> Iterator[tuple[str, int, str, str]]:
    """What a person sees as one character; the rest of an escape that begins before is kept, as is half of one."""
    whole = before + text
    for sign in re.finditer(r"\\u[0-9a-fA-F]{0,4}|\\[^u]?|.", whole, re.DOTALL):
        at = max(sign.start(), len(before))
        if sign.end() > at:
            cut_off = sign.start() < len(before) or (sign[0] == "\\" and sign.end() == len(whole))
            kept, unit = (whole[at : sign.end()], "") if cut_off else ("", sign[0])
            yield kept, at, unit, unit


def _is_inside(text: str) -> bool:
    """Whether this JSON text ends inside a string."""
    inside = False
    for sign in re.findall(r'\\.|"', text, re.DOTALL):
        inside ^= sign == '"'
    return inside
