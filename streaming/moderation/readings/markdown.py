"""Markdown (CommonMark 0.31), read as a person sees the rendered page.

When in doubt, text is read rather than skipped, since every word that readers can see must be found: skipping visible
text would be a leak. What some pages hide and others show is skipped by one reading and read by the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from streaming.moderation.readings.brackets import NO_BRACKETS
from streaming.moderation.readings.constructs import Construct, ConstructFinder, LinkEnd
from streaming.moderation.readings.escapes import CODES, CODES_SO_FAR, REFERENCE, REFERENCE_SO_FAR, decoded
from streaming.moderation.readings.letters import Letters
from streaming.moderation.readings.medium_reader import Grammar, MediumReader, grammar

_EMPHASIS = r"(?P<nothing>[*~`]+)|(?P<underscores>_{1,32})"
_ESCAPE = r"(?P<escape>\\[!-/:-@\[-`{-~])"
_REFERENCE_OR_CODE = rf"(?P<reference>{REFERENCE})|{CODES}"
_FLAT = rf"{_EMPHASIS}|{_ESCAPE}|(?P<reference>{REFERENCE})"
_MAY_BEGIN = r"[*~`_\\&\[\]<]|!(?:\[|\Z)|\$(?:\$|\Z)"
_SO_FAR_IN_FORMULA = rf"[\]!$]|<(?:/|!-?)?|{REFERENCE_SO_FAR}"
_SO_FAR = rf"_{{1,32}}|{_SO_FAR_IN_FORMULA}"
_FORMULA = r"(?P<formula>\\[()\[\]]|\$\$)"
_BRACKET = r"(?P<bracket>!?\[|\])"
_IN_ADDRESS = re.compile(_REFERENCE_OR_CODE)
_BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)
_HIDDEN_WITHIN = re.compile(r"\]\(.*|</?[A-Z][A-Z0-9-]*\s*/?>", re.DOTALL | re.IGNORECASE)
_KNOWN_ADDRESS = re.compile(r"<(?:(?:https?|mailto|tel):|[^\s:<>]*@)", re.IGNORECASE)
_FORMULA_ENDS_WITH = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
_QUOTE_MARKERS = re.compile(r"[\s>]+")


class _MarkdownReader(MediumReader):
    """Ignores emphasis, brackets and formula delimiters, and decodes escapes and references."""

    def __init__(self, letters: Letters) -> None:
        super().__init__(letters)
        self._finder = ConstructFinder()
        self._skip_long: Callable[[str, int], int] | None = None
        self._long_link: LinkEnd | None = None
        self._inside: _Inside | None = None
        self.brackets = NO_BRACKETS

    _shows_long_tags = True
    """Whether tags and comments that are not complete at the limit are text: they may never end, or hide a word."""

    @property
    def minds_backticks(self) -> bool:  # type: ignore[override]
        return self.brackets.depth > 0 and not self.brackets.has_code

    def follow(self, other: MediumReader) -> None:
        super().follow(other)
        self._finder.forget()
        self._skip_long = self._inside = self._long_link = None
        if isinstance(other, _MarkdownReader):
            self.brackets = other.brackets

    def agrees(self, other: MediumReader) -> bool:
        if isinstance(other, _MarkdownReader):
            return self.brackets == other.brackets and super().agrees(other)
        return super().agrees(other)

    @property
    def is_within(self) -> bool:  # type: ignore[override]
        return self._skip_long is not None or self._inside is not None

    @property
    def is_neutral(self) -> bool:
        return not self.pending and not self.is_within

    def _step(self, data: str, at: int, base: int, *, final: bool) -> int:
        if self._inside:
            return self._step_inside(self._inside, data, at, base, final=final)
        end = self._skip_long(data, at) if self._skip_long else at
        if end <= 0:
            self._end_long()
        return abs(end) if abs(end) > at else self._read_on(data, at, base, final=final)

    def _end_long(self) -> None:
        if self._long_link and self._long_link.is_closed:
            self.brackets = self.brackets.around_link()
        self._skip_long = self._long_link = None

    def _read_on(self, data: str, at: int, base: int, *, final: bool) -> int:
        construct = self._find(data, at, final=final)
        if construct:
            return self._read_construct(construct, data, at, base)
        return super()._step(data, at, base, final=final)

    def _find(self, data: str, at: int, *, final: bool) -> Construct | None:
        may_begin = data[at] == "<" or (data[at] == "]" and self.brackets.may_end_link)
        return self._finder.find(data, at, final=final) if may_begin else None

    def _read_construct(self, construct: Construct, data: str, at: int, base: int) -> int:
        """Reads a construct. Returns the offset up to which it is read, which is ``at`` while it is undecided."""
        kind, end = construct
        if kind == "undecided":
            return at
        if data[at] == "]":
            self._close_bracket(kind, data[at + 1])
        if kind == "text" or (kind == "long" and data[at] == "<" and self._shows_long_tags):
            self.late.append((base + at, base + end))
            self._read_text(data[at], base + at)
            return at + 1
        if kind == "address":
            self.late.append((base + at, base + end))
            return self._read_address(data, at, end, base)
        return self._read_hidden(kind, data, at, end, base)

    def _close_bracket(self, kind: str, follows: str) -> None:
        is_link = follows == "(" and self.brackets.is_last_of_link  # whether a label is one, its definition tells
        self.brackets = self.brackets.closed()
        self._long_link = self._finder.long_link if is_link and kind == "long" else None
        if is_link and kind == "hidden":
            self.brackets = self.brackets.around_link()

    def _read_text(self, char: str, start: int) -> None:
        """Reads the first character of what turned out to be no construct."""
        if char != "]":
            self.as_written(char, start)

    def _read_address(self, data: str, at: int, end: int, base: int) -> int:
        """Reads an address in angle brackets, in which only references and codes are signs (§6.5)."""
        done = at = at + 1
        for sign in _IN_ADDRESS.finditer(data, at, end - 1):
            chars = decoded(str(sign.lastgroup), sign[0])
            if chars is not None:
                self._as_written(data[done : sign.start()], base + done)
                self.stands_for(chars, base + sign.start(), base + sign.end())
                done = sign.end()
        self._as_written(data[done : end - 1], base + done)
        return end

    def _as_written(self, text: str, start: int) -> None:
        if text:
            self.as_written(text, start)

    def _read_hidden(self, kind: str, data: str, at: int, end: int, base: int) -> int:
        """Reads a construct that pages hide, or the beginning of a long one. Returns the offset after what was read."""
        raise NotImplementedError

    def _see_formula(self, sign: str) -> None:
        """Notes the beginning or end of a formula."""

    def _read_as_text(self, kind: str, data: str, at: int, end: int, base: int) -> int:
        """Begins a construct that pages may show as text, or a long one: its inside is Markdown too.

        Where tags are text, links in them are links, which the decoded reading reads. But until such a link is complete
        all of it may be seen, so here it is text.
        """
        is_label = data.startswith("][", at)
        self.late.append((base + at, base + end + is_label))  # a label needs the next character
        begin = at + (2 if data[at] == "]" else 1)
        self.as_written(data[at:begin], base + at)
        is_closed = kind != "long"
        reader = _InnerReader(self.letters) if data[at] == "]" else _TagReader(self.letters)
        self._inside = _Inside(reader, end - is_closed - begin, is_closed=is_closed)
        return begin

    def _step_inside(self, inside: _Inside, data: str, at: int, base: int, *, final: bool) -> int:
        end = inside.step(data, at, base, final=final)
        self.late += inside.reader.take_late()
        self._inside = inside.remaining
        return end

    def _read_bracket(self, text: str, start: int) -> None:
        if text != "]":
            self.brackets = self.brackets.opened(is_image=text == "![")
        elif self.brackets.depth:
            self.brackets = self.brackets.closed()

    def _is_decided(self, data: str, at: int) -> bool:
        # Underscores that do not follow a word are emphasis whatever comes next (§6.2).
        return data[at] == "_" and not self.previous.isalnum()

    def _line_beginning(self, data: str, at: int) -> int:
        found = _QUOTE_MARKERS.match(data, at)
        return found.end() if found else at

    def _read_sign(self, sign: re.Match[str], data: str, base: int) -> None:
        kind, text, start = str(sign.lastgroup), sign[0], base + sign.start()
        if kind == "bracket":
            self._read_bracket(text, start)
            return
        if kind in ("nothing", "formula", "line_break"):
            if "`" in text:
                self.brackets = self.brackets.beside_code()
            if kind == "formula":
                self._see_formula(text)
            return
        if kind == "underscores":
            if self.previous.isalnum() and data[sign.end() : sign.end() + 1].isalnum():
                self.as_written(text, start)
            return
        chars = decoded(kind, text)
        if chars is None:
            self.as_written(text, start)
        else:
            self.stands_for(chars, start, base + sign.end())


def _in_formula(outside: Grammar, so_far: str) -> Grammar:
    """The grammar after the beginning of a formula."""
    sign = outside.sign.pattern.replace("(?P<nothing>[*~`]+)|", "")
    return grammar(rf"[\n{{}}^]|{outside.may_begin.pattern}", rf"(?P<nothing>[*~`_^{{}}]+)|{sign}", so_far)


class DeepReader(_MarkdownReader):
    """Also ignores destinations, labels, tags, comments and line breaks. It is what a page shows.

    A word may go on after ``<br>`` or a backslash at the end of a line, as in the text that programs get from a page.
    After the beginning of a formula, subscripts and superscripts are read in line: ``a_{b}`` is ab.
    """

    grammar: Grammar = grammar(
        rf"%|{_MAY_BEGIN}",
        rf"{_BRACKET}|{_FORMULA}|(?P<line_break>\\\n)|{_FLAT}",
        rf"\\|{_SO_FAR}",
    )
    _in_formula = _in_formula(grammar, rf"\\|{_SO_FAR_IN_FORMULA}")

    def __init__(self, letters: Letters) -> None:
        super().__init__(letters)
        self._is_in_formula = False

    @property
    def is_within(self) -> bool:  # type: ignore[override]
        return self._is_in_formula or super().is_within

    def follow(self, other: MediumReader) -> None:
        super().follow(other)
        self._leave_formula()

    def _see_formula(self, sign: str) -> None:
        # Where it ends is not looked at: pages disagree, and reading more is no leak.
        self._is_in_formula, self.grammar = True, self._in_formula

    def _leave_formula(self) -> None:
        self._is_in_formula, self.grammar = False, type(self).grammar

    def _line_beginning(self, data: str, at: int) -> int:
        end = super()._line_beginning(data, at)
        if self._is_in_formula and "\n\n" in self.previous + data[at:end]:
            self._leave_formula()
        return end

    def _read_on(self, data: str, at: int, base: int, *, final: bool) -> int:
        if self._is_in_formula and self.previous == data[at] == "\n":
            self._leave_formula()
        return super()._read_on(data, at, base, final=final)

    def _read_hidden(self, kind: str, data: str, at: int, end: int, base: int) -> int:
        if kind == "long":
            self._skip_long = self._finder.follow_long
        return end


class DecodedReader(DeepReader):
    """Also decodes codes, and reads breaks between lines as white space: a word does not go on after them.

    Comments, addresses and tags with attributes are text in which links are links, as to a page without HTML. But no
    brackets are those of links in a formula, as to a page with formulas.
    """

    _formula_ends_with = ""

    grammar = grammar(
        DeepReader.grammar.may_begin.pattern,
        rf"(?P<line_break>\\(?=\n))|{DeepReader.grammar.sign.pattern}|{CODES}".replace(r"|(?P<line_break>\\\n)", ""),
        rf"{_SO_FAR}|{CODES_SO_FAR}",
    )
    _in_formula = _in_formula(grammar, rf"{_SO_FAR_IN_FORMULA}|{CODES_SO_FAR}")

    def _read_hidden(self, kind: str, data: str, at: int, end: int, base: int) -> int:
        if _BREAK_TAG.match(data, at):
            self.stands_for("\n", base + at, base + end)
        elif data[at] == "<" and not _HIDDEN_WITHIN.fullmatch(data, at, end):
            self.late.append((base + at, base + end))
            self.as_written("<", base + at)
            return at + 1
        return super()._read_hidden(kind, data, at, end, base)

    def _read_address(self, data: str, at: int, end: int, base: int) -> int:
        if _KNOWN_ADDRESS.match(data, at, end):
            return super()._read_address(data, at, end, base)
        return self._read_hidden("address", data, at, end, base)

    def _see_formula(self, sign: str) -> None:
        super()._see_formula(sign)
        if not self._formula_ends_with:
            self._formula_ends_with = _FORMULA_ENDS_WITH.get(sign, "")
        elif sign == self._formula_ends_with:
            self._formula_ends_with = ""

    def _leave_formula(self) -> None:
        super()._leave_formula()
        self._formula_ends_with = ""

    def _find(self, data: str, at: int, *, final: bool) -> Construct | None:
        return None if self._formula_ends_with and data[at] == "]" else super()._find(data, at, final=final)

    def _read_bracket(self, text: str, start: int) -> None:
        if not self._formula_ends_with:
            super()._read_bracket(text, start)


class _InnerReader(DeepReader):
    """Reads the inside of what pages may hide, as it is where they show it: also decodes codes, as in an address.

    Links within it are links, and tags without attributes are hidden. Other tags, and labels, are text again.
    """

    grammar = grammar(DeepReader.grammar.may_begin.pattern, f"{DeepReader.grammar.sign.pattern}|{CODES}", "(?!)")

    def step_until(self, stop: int, data: str, at: int, base: int, *, final: bool) -> int:
        """Reads on from ``at``, before ``stop``. Only constructs may go on beyond it."""
        if self._inside:
            return self._step_inside(self._inside, data, at, base, final=final)
        construct = self._find(data, at, final=final)
        if construct:
            return self._read_construct(construct, data, at, base)
        return at + MediumReader._step(self, data[at:stop], 0, base + at, final=True)

    def _see_formula(self, sign: str) -> None:
        """It is read as a whole, without a formula of its own."""

    def _read_hidden(self, kind: str, data: str, at: int, end: int, base: int) -> int:
        if kind == "long" or not _HIDDEN_WITHIN.fullmatch(data, at, end):
            return self._read_as_text(kind, data, at, end, base)
        return end


class _TagReader(_InnerReader):
    """Reads the inside of a tag, a comment or an address, in which links are text."""

    def _find(self, data: str, at: int, *, final: bool) -> Construct | None:
        return super()._find(data, at, final=final) if data[at] == "<" else None


class _Inside:
    """The inside of a construct that is read as text, and how much of it is left.

    A construct that begins in it may end beyond it, and is what a page shows if the one around it is none. In
    ``](a[b](<c)>)d`` with no bracket open, ``b`` is a link, and ``d`` follows it.
    """

    def __init__(self, reader: _InnerReader, left: int, *, is_closed: bool) -> None:
        self.reader = reader
        self._left = left
        self._is_closed = is_closed  # whether a last character of the construct follows

    @property
    def remaining(self) -> _Inside | None:
        """What is still to be read: all of it, or only what began in it and goes on beyond it.

        So they are not nested deeper than a construct is long, however many begin in each other.
        """
        return self if self._left >= 0 else self.reader._inside

    def step(self, data: str, at: int, base: int, *, final: bool) -> int:
        if self._left == 0 and not self.reader.is_within:
            self.reader.as_written(data[at], base + at)
            end = at + 1
        else:
            end = self.reader.step_until(at + self._left, data, at, base, final=final)
        self._left -= end - at
        if end > at:
            self.reader.previous = data[end - 1]
        if not self._left and not self._is_closed:
            self._left = -1
        return end


class FlatReader(_MarkdownReader):
    """Decodes codes, and reads breaks between lines as white space, and as text what the deep reading ignores.

    To CommonMark, ``\\(`` is an escaped bracket (§2.4), which a page without formulas shows: the phone number
    ``\\(555\\) 123-4567``.
    """

    _shows_long_tags = False

    grammar = grammar(
        rf"%|{_MAY_BEGIN}",
        rf"{_BRACKET}|(?P<line_break>\\(?=\n))|{_FLAT}|{_FORMULA}|{CODES}",
        rf"{_SO_FAR}|{CODES_SO_FAR}",
    )

    def _read_hidden(self, kind: str, data: str, at: int, end: int, base: int) -> int:
        if kind == "long" and data[at] == "<":
            self._skip_long = self._finder.follow_long
        elif _BREAK_TAG.match(data, at):
            self.stands_for("\n", base + at, base + end)
        else:
            return self._read_as_text(kind, data, at, end, base)
        return end

    def _read_address(self, data: str, at: int, end: int, base: int) -> int:
        """Pages show addresses with a scheme that they do not know as any text."""
        return self._read_hidden("address", data, at, end, base)
