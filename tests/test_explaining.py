"""Why a text is a hit, in words for moderators."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.moderation import Explainer, Explanation, Hit, Medium, Moderator, Rule, RuleSet


def explained(text: str, *rules: Rule, medium: Medium = "markdown", size: int = 1000) -> list[Explanation]:
    """The explanations of the hits, of a text that arrives in pieces of this size."""
    explainer, moderator = Explainer(medium), Moderator(RuleSet(rules), medium)
    found: list[Explanation] = []
    for at in range(0, len(text), size):
        explainer.feed(text[at : at + size])
        found += [explainer.explain(hit) for hit in moderator.feed(text[at : at + size]) if isinstance(hit, Hit)]
    explainer.feed("", final=True)
    return found + [explainer.explain(hit) for hit in moderator.finish() if isinstance(hit, Hit)]


def explanation(
    text: str, pattern: str, medium: Medium = "markdown", size: int = 1000, **fields: Any
) -> tuple[str, ...]:
    """What was read, and the reasons, of the one hit in a text."""
    [found] = explained(text, Rule(1, pattern, **fields), medium=medium, size=size)
    return found.read, *map(str, found.reasons)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("a darn b", "darn", ("darn",)),
        ("a da**rn** b", "darn", ("darn", "through Markdown")),
        ("[da](x)[rn](y)", "darn", ("darn", "through Markdown")),
        ("da<b>rn</b>", "darn", ("darn", "through Markdown")),
        (r"a\*b", "a*b", ("a*b", "through Markdown")),
        ("d&#97;rn", "darn", ("darn", "through character codes")),
        ("d%61rn", "darn", ("darn", "through character codes")),
        (r"d\u0061**rn**", "darn", ("darn", "through Markdown", "through character codes")),
        (
            "[m](mailto:AB@cd.com)",
            "ab@cd.com",
            ("ab@cd.com", "in an address, a tag or a comment", "upper and lower case"),
        ),
        ("x A*B y", "a*b", ("a*b", "as written, with the signs of Markdown", "upper and lower case")),
        ("DARN", "darn", ("darn", "upper and lower case")),
        ("darn", "DARN", ("darn", "upper and lower case")),
        ("ｄａｒｎ", "darn", ("darn", "the width or form of letters")),
        ("ﬁne", "fine", ("fine", "the width or form of letters")),
        ("カ", "か", ("か", "the width or form of letters")),
        ("廣告", "广告", ("广告", "traditional and simplified Chinese")),
        ("广告", "廣告", ("广告", "traditional and simplified Chinese")),
        ("café", "cafe", ("cafe", "accents")),
        ("da\u200brn", "darn", ("darn", "invisible characters")),
        ("> the secret\n> project", "secret project", ("secret project", "white space and line breaks")),
        ("secret   project", "secret project", ("secret project", "white space and line breaks")),
    ],
)
def test_what_was_overlooked_is_named(text: str, pattern: str, expected: tuple[str, ...], size: int) -> None:
    assert explanation(text, pattern, size=size) == expected


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("shit", ()),
        ("$hit", ("look-alike letters",)),
        ("ѕһіt", ("look-alike letters",)),
        ("s h i t", ("signs or spaces between the letters",)),
        ("shiiit", ("repeated letters",)),
        ("s-h-11-t", ("look-alike letters", "signs or spaces between the letters", "repeated letters")),
        ("ShIt", ("upper and lower case",)),
        ("s**h**it", ("through Markdown",)),
    ],
)
def test_a_loose_word_is_read_as_it_was_meant(text: str, reasons: tuple[str, ...], size: int) -> None:
    assert explanation(text, "shit", size=size, compare="loose") == ("shit", *reasons)


def test_json_is_read_through_its_escapes() -> None:
    assert explanation(r'{"q": "\u0064arn"}', "darn", "json") == ("darn", "through JSON's escapes")
    assert explanation(r'{"q": "d%61rn"}', "darn", "json") == ("darn", "through character codes")


def test_an_exact_rule_is_explained_by_the_text_itself() -> None:
    assert explanation("a **b** c", "**b**", compare="exact") == ("**b**",)


def test_a_regular_expression_is_explained_by_what_it_was_compared_with() -> None:
    assert explanation("id 12*3*4.", r"\b\d{4}\b", kind="regex") == ("1234", "through Markdown")
    assert explanation("id &#49;234.", r"\b\d{4}(?!\d)", kind="regex") == ("1234", "through character codes")
    assert explanation("Jane@X.com", r"\w+@\w+\.com", kind="regex") == ("jane@x.com",)


def test_a_pattern_that_looks_at_what_stands_beside_it_is_explained() -> None:
    assert explanation("a d**ar**n!", r"(?<=\s)darn(?=!)", kind="regex") == ("darn", "through Markdown")
    assert explanation("key: ab**cd**", r"key: (\w+)", kind="regex", group=1) == ("key: abcd", "through Markdown")


def test_hits_far_into_a_long_text_are_explained_and_the_text_is_forgotten() -> None:
    explainer, moderator = Explainer("markdown", keep=100), Moderator(RuleSet([Rule(1, "darn")]), "markdown")
    found = []
    for _ in range(300):
        explainer.feed("some text, da**rn** ")
        hits = [each for each in moderator.feed("some text, da**rn** ") if isinstance(each, Hit)]
        found += [(explainer.explain(hit).read, *map(str, explainer.explain(hit).reasons)) for hit in hits]

    assert found == [("darn", "through Markdown")] * 300
    assert len(explainer._text) < 400


SIGNS = [
    "darn",
    "d",
    "a",
    "rn",
    "**",
    "](x)",
    "[",
    "&#97;",
    "%61",
    "<b>",
    "`",
    "\\",
    "é",
    "\u0301",
    "\u200b",
    "\n> ",
    " ",
    "1",
]


@given(st.lists(st.sampled_from(SIGNS), max_size=12).map("".join), st.integers(1, 5))
def test_every_hit_can_be_explained_in_every_cut(text: str, size: int) -> None:
    rules = [
        Rule(1, "darn", compare="loose"),
        Rule(2, "a r", action="flag"),
        Rule(3, "d?[aé]+", "regex", on_trial=True),
    ]

    whole = explained(text, *rules)

    assert sorted(map(str, explained(text, *rules, size=size))) == sorted(map(str, whole))
    assert all(each.read for each in whole)
