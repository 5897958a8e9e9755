"""What moderation means, sentence by sentence: each example holds in every cut."""

from __future__ import annotations

from typing import Any

import pytest

from streaming.moderation import Medium, Moderator, Rule, RuleSet, Text

Example = tuple[Any, str, str]
"""A pattern, a rule's fields, or a list of these; a text; and what comes of it."""


def exact(pattern: str, **fields: Any) -> dict[str, Any]:
    return {"pattern": pattern, "compare": "exact", **fields}


def loose(pattern: str) -> dict[str, Any]:
    return {"pattern": pattern, "compare": "loose"}


def regex(pattern: str, **fields: Any) -> dict[str, Any]:
    return {"pattern": pattern, "kind": "regex", **fields}


def replaced(pattern: str, **fields: Any) -> dict[str, Any]:
    return {"pattern": pattern, "action": "replace", "replacement": "X", **fields}


CHOICE: dict[str, list[Example]] = {
    "the leftmost match counts, then the longest": [(["bc", "abcd", "ab"], "abcd", "••••")],
    "a longer match counts before an older rule": [(["ab", replaced("abc")], "abcd", "Xd")],
    "then the priority counts": [(["ab", replaced("ab", compare="exact", priority=1)], "ab", "X")],
    "then the older rule": [(["ab", replaced("ab", compare="exact")], "ab", "••")],
    "matches do not overlap": [("aba", "ababa", "•••ba")],
    "a block ends the text, also inside another match": [
        ({"pattern": "stop", "action": "block"}, "a stop b", "a "),
        (["abcdef", {"pattern": "bcd", "action": "block"}], "xx abcdef", "xx a"),
    ],
    "what is allowed is exempt as far as it reaches": [
        ([{"pattern": "a@x.com", "action": "allow"}, regex(r"\w+@x\.com"), "darn"], "a@x.com darn", "a@x.com ••••"),
    ],
}

LETTERS: dict[str, list[Example]] = {
    "what follows a match and is read as nothing goes with it": [
        ("cafe", "cafe\u0301 x", "•••• x"),
        *(("ab", "ab\u200d c", "•• c"), ("ab", "ab\ufe0f c", "•• c"), ("👍", "👍\U0001f3fb!", "•!")),
    ],
    "a mark that is a letter makes another letter of what it follows": [("ห", "หี ห", "หี •"), ("か", "が", "が")],
    "case and width make no difference": [("darn", "DaRN ｄａｒｎ", "•••• ••••"), ("fine", "ﬁne", "•••")],
    "what is invisible makes none": [
        *(("darn", "d\u00ada\u200brn", "•\u00ad•\u200b••"), ("darn", "d\u2800arn", "•\u2800•••")),
        *(("darn", "d\u3164arn", "•\u3164•••"), ("darn", "d\u20ddarn", "•\u20dd•••")),
        *(("darn", "d\ufffcarn", "•\ufffc•••"), ("darn", "d\u202ea\u2066rn", "•\u202e•\u2066••")),
        *(("darn", f"d{sign}arn", f"•{sign}•••") for sign in "\u202a\u202b\u202c\u202d\u2067\u2068\u2069\u206a"),
    ],
    "traditional and simplified Chinese are the same": [("广告", "廣告", "••"), ("廣告", "广告", "••")],
    "digits of any script are digits": [("42", "٤٢ ४२", "•• ••")],
    "letters of Persian and Urdu keyboards are those of Arabic": [("کیک", "كيك کیک", "••• •••")],
    "katakana is hiragana, in any width, but a voiced letter is another": [
        *(("ばか", "バカ ﾊﾞｶ", "•• ••"), ("ばか", "はか", "はか")),
    ],
    "Hangul is compared as syllables": [("한국", "한국", "••"), ("한", "하", "하")],
    "accents are ignored by patterns without any, and the whole pattern counts": [
        *(("cafe", "café", "••••"), ("lồn", "lợn lon lồn", "lợn lon •••"), ("Coño", "economía coño", "economía ••••")),
        ("naïve cafe", "naïve café naïve cafe", "naïve café ••••••••••"),
    ],
    "marks within a letter are compared in canonical order": [("q\u0307\u0323", "q\u0323\u0307 q", "• q")],
    "Greek tonos and Cyrillic ё are ignored on both sides": [
        *(("κακός", "ΚΑΚΟΣ κακός", "••••• •••••"), ("ёж", "ёж еж", "•• ••"), ("еж", "ёж еж", "•• ••")),
    ],
    "й, ї and ў are letters": [("и", "и й", "• й"), ("і", "ї і", "ї •"), ("у", "ў у", "ў •")],
    "a rule's dotless i finds every i, and a rule's i never the dotless one": [
        *(("ırak", "IRAK irak ırak", "•••• •••• ••••"), ("irak", "ırak irak", "ırak ••••")),
    ],
    "letters with a stroke and ligatures fold by patterns without them": [
        *((["d", "l", "o", "h"], "đ ł ø ħ", "• • • •"), ("đ", "đ d", "• d")),
        *((["oeuvre", "strasse"], "œuvre straße", "••••• ••••••"), ("œuvre", "oeuvre œuvre", "oeuvre •••••")),
    ],
    "to a phrase, a run of white space is one space, and so it is masked": [
        ("secret project", "secret \t project", "•" * 14),
    ],
    "a regular expression sees white space as written": [(regex("a b"), "a  b a b", "a  b •••")],
    "white space around a word in a rule is cut off": [("  darn ", "x darn y", "x •••• y")],
}

LOOSE = ["$hit", "sh1t", "shlt", "sh!t", "sh|t", "5hit", "shiiit", "ѕhit", "SHIT", "$h1+", "ṡḣïṫ"]
SEPARATED = ["s h i t", "s.h.i.t", "s---h---i---t", "s😀h😀i😀t"]
INNOCENT = ["push it", "this hit", "s----hit", "shi", "shot"]

SIGNS: dict[str, list[Example]] = {
    "emphasis is read as nothing": [
        *(("darn", "da**rn**", "••**••**"), ("darn", "d~~a~~rn", "•~~•~~••"), ("darn", "d`a`rn", "•`•`••")),
        ("darn", "d_a_rn", "d_a_rn"),
    ],
    "escapes, references and codes are what they stand for": [
        *(("darn", text, "••••") for text in ("d&#x61;rn", "&#100;arn", r"\u0064arn", r"\x64arn", "d%61rn")),
        *((r"a*b", r"a\*b", "•••"), ("darn", "&amp;darn", "&amp;••••")),
    ],
    "links and images are their text": [
        *(("darn", "[da](u)rn", "[••](u)••"), ("darn", "![da](u)rn", "![••](u)••"), ("darn", "[da][1]rn", "[••][1]••")),
    ],
    "tags and comments are nothing": [
        *(("darn", "da<b>rn</b>", "••<b>••</b>"), ("darn", "da<!-- c -->rn", "••<!-- c -->••")),
    ],
    "addresses, titles, tags and comments are text too": [
        *(("darn", "[m](mailto:darn@x.com)", "[m](mailto:••••@x.com)"), ("darn", '[x](a "darn")', '[x](a "••••")')),
        *(("darn", "<!-- darn -->", "<!-- •••• -->"), ("darn", "<da**rn", "<••**••")),
    ],
    "to a phrase, a line break is a space, with the quote markers after it": [
        ("secret project", "> a secret\n>   project", "> a " + "•" * 14),
    ],
    "a rule may have signs itself": [(["a*b", "50%", "&amp;", "[x]"], "a*b 50% &amp; [x]", "••• ••• ••••• •••")],
    "an exact rule reads the raw text": [(exact("darn"), "da**rn** darn Darn", "da**rn** •••• Darn")],
    "what is read as nothing stays when a match is dropped": [
        ({"pattern": "darn", "action": "drop"}, "a da**rn** b", "a **** b"),
    ],
}

JSON: dict[str, list[Example]] = {
    "strings are read through their escapes": [("darn", r'{"a": "\u0064arn"}', '{"a": "••••"}')],
    "a number is masked as zeros": [("4242", '{"n": 4242, "s": "4242"}', '{"n": 0000, "s": "••••"}')],
    "a literal is masked as a string, and a part of one is kept": [
        *(("true", '{"a": true, "b": "true"}', '{"a": "••••", "b": "••••"}'), ("null", "[null]", '["••••"]')),
        *(("rue", '[true, "rue"]', '[true, "•••"]'), ("nul", "il est nul", "il est •••")),
    ],
    "a replacement takes the place of a whole number": [
        *((replaced("12"), "[123, 4.5, 12]", '["X", 4.5, "X"]'), (replaced("23"), "[123, 23.5]", '[100, "X"]')),
        *((replaced("2, 3"), "[12, 34]", '[10, "X"]'), ([replaced("12"), "34"], "[1234.5]", '["X"]')),
        ({"pattern": "12", "action": "drop"}, '{"a": 123}', '{"a": ""}'),
    ],
    "a replacement is written once, and other values become empty": [
        (replaced("1, 2, null"), "[1, 2, null]", '["X", "", ""]')
    ],
    "a replacement is a string, and escaped within one": [
        (replaced("4242"), '{"n": 4242}', '{"n": "X"}'),
        ({"pattern": "zorp", "action": "replace", "replacement": 'a"b'}, '{"n": "zorp"}', r'{"n": "a\"b"}'),
    ],
}

PLAIN: dict[str, list[Example]] = {
    "plain text is read as written": [("darn", "da**rn** d&#97;rn darn", "da**rn** d&#97;rn ••••")],
}

PATTERNS: dict[str, list[Example]] = {
    "bounds": [
        *((regex(r"\bcat\b"), "a cat concat", "a ••• concat"), (regex(r"\Bcat"), "cat concat", "cat con•••")),
        *((regex("^cat"), "cat cat", "••• cat"), (regex("cat$"), "cat cat", "cat •••")),
        *((regex(r"\Acat\z"), "cat", "•••"), (regex("(?m)^cat$"), "a\ncat\n", "a\n•••\n")),
    ],
    "look-around of one character": [
        *((regex("(?<![a-z])cat"), "xcat cat", "xcat •••"), (regex(r"cat(?!\d)"), "cat1 cat", "cat1 •••")),
        (regex(r"cat(?=\s|$)"), "cat. cat", "cat. •••"),
    ],
    "flags mean what they say": [
        *((exact("(?i)cat", kind="regex"), "CAT", "•••"), (exact("a(?i:cat)", kind="regex"), "aCAT ACAT", "•••• ACAT")),
        *((regex("(?s)a.b"), "a\nb", "•••"), (regex("a.b"), "a\nb", "a\nb")),
    ],
    "escapes are read as RE2 does": [
        *((exact(r"\101", kind="regex"), "AB", "•B"), (exact(r"\u{41}", kind="regex"), "AB", "•B")),
        *((regex(r"\p{Cyrillic}+"), "привет x", "•••••• x"), (regex(r"\p{Extended_Pictographic}"), "😀 x", "• x")),
        (exact(r"\p{Uppercase_Letter}", kind="regex"), "A1", "•1"),
    ],
    "a class of letters with marks is alive": [
        *(
            (regex("[ß]"), "ß", "•"),
            (regex("[éè]"), "é", "•"),
            (regex("[ば]"), "ば", "•"),
            (regex("[가-힣]"), "한", "•"),
        ),
    ],
    "a rule may act on its first group": [(regex(r'key: "(\w{8})"', group=1), 'key: "abcd1234"', 'key: "••••••••"')],
    "a match has to pass its check": [
        (regex(r"\b\d{16}\b", check="luhn"), "4111111111111111 4111111111111112", "•" * 16 + " 4111111111111112"),
        (regex(r"\b\d{17}[\dX]\b", check="cn_id"), "11010519491231002X", "•" * 18),
        (
            regex(r"key=\w{12}", check="entropy:3.2"),
            "key=aaaaaaaaaaaa key=a8Kd93mZq0Xp",
            "key=aaaaaaaaaaaa " + "•" * 16,
        ),
    ],
}


def moderated(rules: Any, text: str, size: int, medium: Medium, **limits: int) -> str:
    listed = [
        {"pattern": each} if isinstance(each, str) else each for each in (rules if isinstance(rules, list) else [rules])
    ]
    moderator = Moderator(RuleSet([Rule(number, **fields) for number, fields in enumerate(listed)], **limits), medium)
    outcomes = [each for at in range(0, len(text), size) for each in moderator.feed(text[at : at + size])]
    return "".join(each.text for each in [*outcomes, *moderator.finish()] if isinstance(each, Text))


def sentences(medium: Medium, *tables: dict[str, list[Example]]) -> Any:
    rows = [(sentence, medium, example) for table in tables for sentence, found in table.items() for example in found]
    return [pytest.param(medium, *example, id=f"{sentence}: {example[1]!r}") for sentence, medium, example in rows]


@pytest.mark.parametrize(
    ("medium", "rules", "text", "shown"),
    [
        *sentences("markdown", CHOICE, LETTERS, SIGNS, PATTERNS),
        *sentences("json", JSON),
        *sentences("plain", PLAIN, CHOICE, LETTERS),
    ],
)
def test_each_sentence_holds_in_every_cut(medium: Medium, rules: Any, text: str, shown: str) -> None:
    assert {moderated(rules, text, size, medium) for size in (1, 2, 3, 1000)} == {shown}


def test_a_loose_word_is_found_in_all_its_spellings_and_joins_no_words() -> None:
    for size in (1, 1000):
        shown = {text: moderated(loose("shit"), text, size, "markdown") for text in [*LOOSE, *SEPARATED, *INNOCENT]}
        assert {text: shown[text] for text in LOOSE} == {text: "•" * len(text) for text in LOOSE}
        assert [text for text in SEPARATED if any(letter in shown[text] for letter in "shit")] == []
        assert {text: shown[text] for text in INNOCENT} == {text: text for text in INNOCENT}


def test_the_tail_of_a_growing_match_never_shows_and_an_unfinished_one_passes_unless_the_rule_says_so() -> None:
    token, unfinished = "tok_" + "a" * 50, "<key " + "a" * 20
    key = exact("<key [^>]*>", kind="regex")
    for size in (1, 7, 1000):
        assert moderated(regex(r"tok_\w+"), f"{token} z", size, "markdown", max_span=10) == "•" * 54 + " z"
        assert (
            moderated(regex(r"tok_\w+", action="replace", replacement="X"), f"{token} z", size, "markdown", max_span=10)
            == "X z"
        )
        assert moderated(key, unfinished, size, "plain", max_span=10) == unfinished
        assert moderated({**key, "overflow": "match"}, unfinished, size, "plain", max_span=10) == "•" * 25


def test_only_what_could_become_a_match_is_held() -> None:
    def held(rule: dict[str, Any]) -> int:
        moderator = Moderator(RuleSet([Rule(1, **rule)]), "markdown")
        moderator.feed("xx da")
        return moderator.held

    assert held({"pattern": "darn"}) == 2
    assert held({"pattern": "darn", "action": "flag"}) == 0
    assert held({"pattern": "darn", "on_trial": True}) == 0
