"""Each stage of a reading by itself: what it makes of a text, from where, whole and in every cut."""

from __future__ import annotations

import itertools

import pytest

from streaming.moderation import folding
from streaming.moderation.readings import Key, Reading, constructs
from streaming.moderation.readings.escapes import could_stand_for
from streaming.moderation.readings.json import JsonStrings

Symbols = list[tuple[str, int, int]]


def read(key: Key, *pieces: str) -> Symbols:
    """The symbols of a text that is fed in these pieces, each with the characters that it comes from."""
    reading, at, symbols = Reading(key), 0, Symbols()
    for piece in (*pieces, None):
        got = reading.feed(piece or "", final=piece is None)
        starts = got.starts or range(got.first, got.first + len(got.symbols))
        ends = got.ends or range(got.first + 1, got.first + 1 + len(got.symbols))
        symbols += [(symbol, at + a, at + b) for symbol, a, b in zip(got.symbols, starts, ends, strict=True)]
        at += len(piece or "")
    assert not reading.undecided
    return symbols


def cuts(text: str) -> list[tuple[str, ...]]:
    """The text whole, by character, and cut at each one and two places."""
    places = itertools.combinations(range(len(text) + 1), 2)
    return [(text,), tuple(text), *((text[:a], text[a:b], text[b:]) for a, b in places)]


def read_in_every_cut(key: Key, text: str) -> Symbols:
    whole = read(key, text)
    for pieces in cuts(text):
        assert read(key, *pieces) == whole, pieces
    return whole


def chars(symbols: Symbols) -> str:
    return "".join(symbol for symbol, _, _ in symbols)


DEEP, DECODED, FLAT, WRITTEN, JSON = Key("deep"), Key("decoded"), Key("flat"), Key("written"), Key("json")


@pytest.mark.parametrize(
    ("text", "deep", "flat"),
    [
        ("da**rn**", "darn", "darn"),
        ("a_b_c _d_", "a_b_c d", "a_b_c d"),
        ("a\\*b \\a", "a*b \\a", "a*b \\a"),
        ("&amp;&#97;&#x62;&bogus;&#0;", "&ab&bogus;\ufffd", "&ab&bogus;\ufffd"),
        ("%61 %c3%a9 %zz \\x61 \\u0061", "%61 %c3%a9 %zz \\x61 \\u0061", "a e %zz a a"),
        ("\\ud800 \\udc00", "\\ud800 \\udc00", "\\ud800 \\udc00"),
        ("\\ud83d\\ude00", "\\ud83d\\ude00", "😀"),
        ("[da](x)rn", "darn", "da](x)rn"),
        ("![da](<a)b> 't')rn", "darn", "da](<a)b> 't')rn"),
        ("[a](b\\)c)d", "ad", "a](bc)d"),
        ("[a](b(c)d)e", "ae", "a](b(c)d)e"),
        ("[a](b(c d)e)f", "a(b(c d)e)f", "a(b(c d)e)f"),
        ('[a](b "c\n\nd")e', 'a(b "c\n\nd")e', 'a(b "c\n\nd")e'),
        ("[a](<b<c>)d", "a(<b)d", "a(<b<c>)d"),
        ('[a](b(c "d")e', 'a(b(c "d")e', 'a(b(c "d")e'),
        ("[a](b c)d", "a(b c)d", "a(b c)d"),
        ('[a](b "c)d', 'a(b "c)d', 'a(b "c)d'),
        ("[a](x\n\ny)b", "a(x\n\ny)b", "a(x\n\ny)b"),
        ("[a](%61)", "a", "a](a)"),
        ("](a)", "(a)", "(a)"),
        ("[a](b)](c)", "a(c)", "a](b)(c)"),
        ("[a][b]c", "ac", "a][b]c"),
        ("[`]`a](b)c", "ac", "a](b)c"),
        ("[a][b](c)d", "abd", "ab](c)d"),
        ("[a][b\\]c]d", "ad", "a][bc]d"),
        ("[a][b", "ab", "ab"),
        ("a<b>c</b>d<br/>e", "acde", "a<b>c</b>d\ne"),
        ("a<b c='>'>d", "ad", "a<b c='>'>d"),
        ("a<b c=>d", "a<b c=>d", "a<b c=>d"),
        ("a<b\n\n>c", "a<b\n\n>c", "a<b\n\n>c"),
        ("a <b and c", "a <b and c", "a <b and c"),
        ("a<!-- b - -> c -->d", "ad", "a<!-- b - -> c -->d"),
        ("a<!-->b", "ab", "a<!-->b"),
        ("a<!-- b", "a<!-- b", "a<!-- b"),
        ("a<?b?>c<!D e>f<![CDATA[g]]>h", "acfh", "a<?b?>c<!d e>f<cdatag>h"),
        ("<https://a.b/c>d", "https://a.b/cd", "<https://a.b/c>d"),
        ("<ab:c$$d>", "ab:c$$d", "<ab:cd>"),
        ("<https://a.b/%61&amp;*c>", "https://a.b/a&*c", "<https://a.b/a&c>"),
        ("<a@b.c>d <a@b c>", "a@b.cd <a@b c>", "<a@b.c>d <a@b c>"),
        ("<da\\(rn\\)", "<darn", "<da(rn)"),
        ("\\(a\\)\\[b\\]$$c$$ $5", "abc $5", "(a)[b]c $5"),
        ("f\\(x) [y\\](z)", "fx) y(z)", "f(x) y](z)"),
        ("a_b $$a_b^{c_d}$$ e_f", "a_b abcd ef", "a_b a_b^{c_d} e_f"),
        ("\\(a_{b}\\) {_c}\n{d}\n\n{a}_b", "ab c\nd\n\n{a}b", "(a{b}) {c}\n{d}\n\n{a}b"),
        ("$$$$a_b*c*", "abc", "a_bc"),
        ("[a](b_$$_c) a_b", "a a_b", "a](bc) a_b"),
        ("a\\\nb", "ab", "a\nb"),
        ("a  \nb", "a  \nb", "a  \nb"),
        ("<a b='[][c*d*]'>", "", "<a b='cd'>"),
        ("<a b='[c](x)d<b>e</b><f g=h*i*>'>j", "j", "<a b='c(x)de<f g=hi>'>j"),
        ("<a b='c<br>d'>e", "e", "<a b='cd'>e"),
        # A link within what may be another one, a tag, a comment or an address, and which ends with it or beyond it.
        ("[][](a[b](<c\\>)d>)e", "e", "](abe"),
        ("[](<a[b](c>)d", "d", "](<abd"),
        ("[](a 'b[c](d')e", "e", "](a 'bce"),
        ('<a b="c[d](e">)f', ")f", '<a b="cd(e">)f'),
        ("<!--a[b](c-->)d", ")d", "<!--ab(c-->)d"),
        ("<ab:c[d](e>)f", "ab:c[d](e)f", "<ab:cd(e>)f"),
        ("[](a[b](<c)d)e", "e", "](ab(<c)d)e"),
        # Links hold no links, and images may.
        ("[a [b](c)](d)e", "a b(d)e", "a b](c)(d)e"),
        ("[[a [b](c)](d)](e)f", "a b(d)(e)f", "a b](c)(d)(e)f"),
        ("[[a](b)[c](d)](e)f", "ac(e)f", "a](b)c](d)(e)f"),
        ("[a ![b](c)](d)e", "a be", "a b](c)](d)e"),
        ("![a [b](c)](d)e", "a be", "a b](c)](d)e"),
        ("[![a [b](c)](d)](e)f", "a b(e)f", "a b](c)](d)(e)f"),
        ("[a [b][c]](d)e", "a be", "a b][c]](d)e"),
        ("[a [b](c d)](e)f", "a b(c d)f", "a b(c d)](e)f"),
        ("[a `[b](c)](d)e", "a be", "a b](c)](d)e"),
        ("[a [b](c)](xd[a](<a\\>)b>)[r](x)n", "a b(xdarn", "a b](c)(xda](<a>)b>)r](x)n"),
        ("""[](a "<b c='")[d](e)'>f""", "d'>f", """](a "<b c='")d(e)'>f"""),
    ],
)
def test_markdown_is_read_as_a_page_shows_it_and_as_it_hides_it(text: str, deep: str, flat: str) -> None:
    assert chars(read_in_every_cut(DEEP, text)) == deep
    assert chars(read_in_every_cut(FLAT, text)) == flat
    assert chars(read_in_every_cut(WRITTEN, text)) == text.replace("D", "d").replace("CDATA", "cdata").lower()


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("%61 %c3%a9 %zz \\x61 \\u0061", "a e %zz a a"),
        ("[%61](%62)c", "ac"),
        ("a<br>b<BR/>c\\\nd", "a\nb\nc\nd"),
        ("a<b>c</b><!-- d -->[e][f]g", "ac<!-- d -->eg"),
        ("<https://a.b/%61> <a@b.c> <ab:%61>", "https://a.b/a a@b.c <ab:a>"),
        ("<a b='<[c][d]e'>", "<a b='<ce'>"),
        ("<!-- a[b](c)d -->", "<!-- abd -->"),
        ("<ab:![c[d][e]f](g)>", "<ab:cdf>"),
        ("<a b='[c](d)<e@f.g>'>", "<a b='ce@f.g'>"),
        ("$$[a](b)$$ [c](d)e", "a(b) ce"),
        ("\\([a](b\\[c](d)\\) [e](f)g", "a(bc(d) eg"),
        ("\\[a](b)\n\n[c](d)e", "a(b)\n\nce"),
        ("$$%61_b^{c}$$\n\nd_e", "abc\n\nd_e"),
        ("\\(%61_{b}<br>\\)", "ab\n"),
    ],
)
def test_codes_and_line_breaks_are_read_as_what_they_stand_for_where_links_are_hidden(text: str, decoded: str) -> None:
    assert chars(read_in_every_cut(DECODED, text)) == decoded


@pytest.mark.parametrize(
    ("key", "text", "symbols"),
    [
        (DEEP, "a**&#98;", [("a", 0, 1), ("b", 3, 8)]),
        (DEEP, "[a](x)b", [("a", 1, 2), ("b", 6, 7)]),
        (DEEP, "ﬁ&#x1F600;", [("f", 0, 1), ("i", 0, 1), ("😀", 1, 10)]),
        (FLAT, "%c3%a9a", [("e", 0, 6), ("a", 6, 7)]),
        (DEEP, "e\u0301a", [("e", 0, 1), ("a", 2, 3)]),
        (Key("deep", accents=True), "e\u0301a", [("é", 0, 2), ("a", 2, 3)]),
        (Key("deep", accents=True), "e**\u0301**a", [("é", 0, 4), ("a", 6, 7)]),
        (WRITTEN, "は\u3099カ", [("ば", 0, 2), ("か", 2, 3)]),
        (WRITTEN, "ﾊﾞ", [("ば", 0, 2)]),
        (WRITTEN, "\u1112\u1161\u11ab", [("한", 0, 3)]),
        (WRITTEN, "กี่", [("ก", 0, 1), ("ี", 1, 2), ("่", 2, 3)]),
        (WRITTEN, "a\u200bb", [("a", 0, 1), ("b", 2, 3)]),
        (WRITTEN, "и\u0306e\u0308", [("й", 0, 2), ("e", 2, 3)]),
        (Key("written", spaces=True), "a \t\n b", [("a", 0, 1), (" ", 1, 2), ("b", 5, 6)]),
        (Key("deep", spaces=True), "a\n> > b", [("a", 0, 1), (" ", 1, 2), ("b", 6, 7)]),
        (Key("deep", spaces=True), "a > b", [("a", 0, 1), (" ", 1, 2), (">", 2, 3), (" ", 3, 4), ("b", 4, 5)]),
        (Key("flat", spaces=True), "a<br>b", [("a", 0, 1), (" ", 1, 5), ("b", 5, 6)]),
        # A letter that may still get an accent is a letter: what follows it is not the beginning of a line.
        (Key("deep", accents=True, spaces=True), "\n&#97; b", [(" ", 0, 1), ("a", 1, 6), (" ", 6, 7), ("b", 7, 8)]),
        (Key("deep", accents=True, spaces=True), "\na>&#98;", [(" ", 0, 1), ("a", 1, 2), (">", 2, 3), ("b", 3, 8)]),
        (JSON, '"\\u0061\\n\\"', [('"', 0, 1), ("a", 1, 7), ("\n", 7, 9), ('"', 9, 11)]),
        (JSON, "**a** &amp;", [*((c, n, n + 1) for n, c in enumerate("**a** &amp;"))]),
    ],
)
def test_symbols_have_the_characters_that_they_come_from(key: Key, text: str, symbols: Symbols) -> None:
    assert read_in_every_cut(key, text) == symbols


@pytest.mark.parametrize(
    ("key", "text", "undecided"),
    [
        (DEEP, "a&am", 3),
        (DEEP, "a&am ", 0),
        (DEEP, "a%6", 0),
        (FLAT, "a%6", 2),
        (FLAT, "a%c3%a", 5),
        (DEEP, "[a](x", 3),
        (DEEP, "[a](x y", 0),
        (DEEP, "a](x", 0),
        (DEEP, "a<b c", 4),
        (DEEP, "a<b c,", 0),
        (DEEP, "a<b\n", 3),
        (DEEP, "a<b\n\n", 0),
        (DEEP, "a<5", 2),
        (DEEP, "a_", 1),
        (DEEP, "a _", 0),
        (WRITTEN, "aは", 1),
        (WRITTEN, "aん", 0),
        (WRITTEN, "a가", 1),
        (WRITTEN, "a각", 0),
        (WRITTEN, "e", 0),
        (Key("written", accents=True), "e", 1),
    ],
)
def test_only_text_that_could_be_read_otherwise_is_undecided(key: Key, text: str, undecided: int) -> None:
    for pieces in cuts(text):
        reading = Reading(key)
        for piece in pieces:
            reading.feed(piece)
        assert reading.undecided == undecided, pieces


@pytest.mark.parametrize("size", range(1, 9))
def test_text_is_known_to_be_no_construct_from_the_character_that_rules_it_out(size: int) -> None:
    text = "<" + "a" * size

    assert constructs.ConstructFinder().find(text + ",more", 0, final=False) == ("text", len(text) + 1)
    assert constructs.ConstructFinder().find(text, 0, final=False) == ("undecided", 0)


@pytest.mark.parametrize(
    ("text", "deep", "flat"),
    [
        ("[a](xxxxxxxxxxxx)b", "ab", "a](xxxxxxxxxxxx)b"),
        ("[a](xxxxxxx xxxx)b", "axxxx)b", "a](xxxxxxx xxxx)b"),
        ("[a][xxxxxxxxxxxx]b", "ab", "a][xxxxxxxxxxxxb"),
        # Whether pages show long tags and comments, and where these end, differs: one reading shows them.
        ("a<b xxxxxxxxxxxx>b", "a<b xxxxxxxxxxxx>b", "ab"),
        ("a<!-- xxxxxxxx -->b", "a<!-- xxxxxxxx -->b", "ab"),
        ("a<!-- xxxxxxxx [d](x)e", "a<!-- xxxxxxxx de", "a"),
        ("<https://a.b/cccc>d", "<https://a.b/cccc>d", "<https://a.b/cccc>d"),
    ],
)
def test_a_long_construct_is_taken_for_what_it_looks_like(
    text: str, deep: str, flat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constructs, "MAX_HELD_CHARS", 10)

    assert chars(read_in_every_cut(DEEP, text)) == deep
    assert chars(read_in_every_cut(FLAT, text)) == flat


def test_an_escape_that_is_not_complete_tells_what_it_may_become() -> None:
    assert could_stand_for("&am") == {"&", "ā", "⨿"}
    assert could_stand_for("\\x6") == {chr(code) for code in range(0x60, 0x70)}
    assert could_stand_for("%4") == {chr(code) for code in range(0x40, 0x50)}
    assert could_stand_for("&#9") is None
    assert could_stand_for("&") is None
    assert could_stand_for("_") == frozenset()


@pytest.mark.parametrize(
    ("text", "inside"),
    [("", False), ('{"a', True), ('{"a"', False), ('{"a\\"', True), ('{"a\\\\"', False), ('"\\', True)],
)
def test_strings_of_json_are_followed_over_escaped_quotes(text: str, inside: bool) -> None:
    for at in range(len(text) + 1):
        strings = JsonStrings()
        strings.passed(text[:at])
        assert strings.is_inside(text[at:]) is inside


@pytest.mark.parametrize("mark", ["\u0301", "&#769;"])
@pytest.mark.parametrize("accents", [True, False])
def test_a_letter_with_hundreds_of_marks_is_held_up_to_a_bound_only(mark: str, accents: bool) -> None:
    reading = Reading(Key("deep", accents))
    held = []
    for char in ["e", *[mark] * 300]:
        reading.feed(char)
        held.append(reading.undecided)

    assert max(held) <= folding.MAX_LETTER_CHARS * len(mark)


@pytest.mark.parametrize("accents", [True, False])
def test_a_letter_with_hundreds_of_marks_is_read_alike_in_every_cut(accents: bool) -> None:
    text, key = "e" + "\u0301" * 100 + "é", Key("deep", accents)

    whole = read(key, text)
    assert chars(whole)[0] == ("é" if accents else "e")
    for size in (1, 2, 31, 32, 33, 50):
        assert read(key, *(text[at : at + size] for at in range(0, len(text), size))) == whole


@pytest.mark.parametrize("blank", ["\n\n", "\n\n\n", "\n \n\n", "\n> \n\n"])
def test_a_formula_ends_with_its_paragraph_where_white_space_is_one_space_too(blank: str) -> None:
    text = f"$$a_{{b}}{blank}c_d {{e}}"

    assert chars(read_in_every_cut(Key("deep", spaces=True), text)) == "ab c_d {e}"
