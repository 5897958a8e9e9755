"""The files of other filters: what is read of them, what is said to be left out, and what is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streaming.moderation import Moderator, RuleSet, Text
from streaming.rule_files import (
    NO_TABLE,
    Answers,
    ColumnsQuestion,
    FileError,
    JoinedQuestion,
    ParsedFile,
    Row,
    read,
)


def parse(text: str | bytes, name: str = "", answers: Answers | None = None, **defaults: Any) -> ParsedFile:
    return read(text if isinstance(text, bytes) else text.encode(), defaults, answers, name)


def patterns(parsed: ParsedFile) -> list[str]:
    return [row.pattern for _, row in parsed.rows]


def moderated(row: Row, text: str) -> str:
    moderator = Moderator(RuleSet([row.as_rule(1)]))
    outcomes = [*moderator.feed(text), *moderator.finish()]
    return "".join(each.text for each in outcomes if isinstance(each, Text))


GITLEAKS = r"""title = "rules"
[extend]
useDefault = true

[[rules]]
id = "acme-key"
description = "Acme key"
regex = '''(?i)acme[ =:]{1,3}\b(AK[A-Z0-9]{8})(?:\s|$)'''
entropy = 2
keywords = ["acme"]

[[rules]]
id = "second-group"
regex = '''(user|login)=(?P<name>[a-z]+);(pw=[^;]{4,20})'''
secretGroup = 3
[[rules.allowlists]]
regexes = ["pw=test"]

[[rules]]
id = "files"
path = '''\.pem$'''

[[rules]]
id = "broken"
regex = '''(a'''
"""


class TestGitleaks:
    def test_rules_act_on_the_secret_with_its_entropy_as_written(self) -> None:
        parsed = parse(GITLEAKS)

        assert parsed.file_format == "gitleaks"
        assert [(line, row.group, row.match_check, row.compare, row.note) for line, row in parsed.rows] == [
            (8, 1, "entropy:2", "exact", "gitleaks: acme-key: Acme key"),
            (14, 1, "", "exact", "gitleaks: second-group"),
        ]
        first, second = (row for _, row in parsed.rows)
        assert moderated(first, "ACME = AKX7Q2M9PZ and acme:ak12345678") == "ACME = •••••••••• and acme:••••••••••"
        assert moderated(first, "acme aaaaaaaaaa") == "acme aaaaaaaaaa"
        assert moderated(second, "login=bob;pw=secret;") == "login=bob;•••••••••;"

    def test_rules_without_a_pattern_and_wrong_ones_are_refused_with_their_line(self) -> None:
        assert [(each.line, each.text) for each in parse(GITLEAKS).refused] == [(20, "files"), (25, "(a")]

    def test_what_is_left_out_is_said(self) -> None:
        (note,) = parse(GITLEAKS).notes

        assert note == "Not imported, because a rule here has no such part: allowlists (1), extend (1)."

    @pytest.mark.parametrize(
        ("regex", "group", "expected"),
        [
            (r"(a)(b)", 2, r"(?:a)(b)"),
            (r"\((a)[(](?:x)(?P<n>b)(c)", 3, r"\((?:a)[(](?:x)(?:b)(c)"),
            (r"[]()](a)[^]()](b)", 2, r"[]()](?:a)[^]()](b)"),
            (r"(?i)(?<x>a)(?<!b)(c)", 2, r"(?i)(?:a)(?<!b)(c)"),
        ],
    )
    def test_a_later_group_becomes_the_first(self, regex: str, group: int, expected: str) -> None:
        from streaming.rule_files.scanner_rules import only_group

        assert only_group(regex, group) == expected


def test_trufflehog_detectors_are_read_and_their_conditions_said_to_be_left_out() -> None:
    text = r"""
detectors:
  - name: HogToken
    keywords: [hog]
    entropy: 3.5
    verify:
      - endpoint: http://localhost
    regex:
      id: '\b(HOG[0-9A-Z]{17})\b'
      # a comment
      token: "x{3}\\d"
  - name: none
"""
    parsed = parse(text, "custom.yaml")

    assert parsed.file_format == "trufflehog"
    assert [(line, row.pattern, row.group, row.match_check, row.compare) for line, row in parsed.rows] == [
        (9, r"\b(HOG[0-9A-Z]{17})\b", 1, "entropy:3.5", "exact"),
        (11, r"x{3}\d", 0, "entropy:3.5", "exact"),
    ]
    assert [each.line for each in parsed.refused] == [12]
    assert parsed.notes == ["Not imported, because a rule here has no such part: keywords (1), verify (1)."]


def test_trufflehog_2_names_its_regexes() -> None:
    parsed = parse('{\n"Slack": "(xox[pb]-[0-9]{4})",\n"RSA": {"pattern": "-----BEGIN RSA"}\n}')

    assert [(line, row.pattern, row.note) for line, row in parsed.rows] == [
        (2, "(xox[pb]-[0-9]{4})", "TruffleHog: Slack"),
        (3, "-----BEGIN RSA", "TruffleHog: RSA"),
    ]


def test_presidio_recognizers_give_patterns_and_whole_words_by_entity() -> None:
    text = json.dumps(
        [
            {
                "name": "Zip",
                "supported_entity": "ZIP",
                "patterns": [{"name": "zip", "regex": r"\b\d{5}\b", "score": 0.1}],
                "context": ["zip"],
            },
            {"supported_entity": "TITLE", "deny_list": ["Mr", "Mrs"], "enabled": False},
            {"name": "SpacyRecognizer", "supported_entity": "PERSON"},
        ],
        indent=1,
    )

    parsed = parse(text)

    assert [(row.pattern, row.kind, row.category, row.whole_word, row.compare) for _, row in parsed.rows] == [
        (r"\b\d{5}\b", "regex", "ZIP", False, "normal"),
        ("Mr", "literal", "TITLE", True, "normal"),
        ("Mrs", "literal", "TITLE", True, "normal"),
    ]
    assert [row.enabled for _, row in parsed.rows] == [True, False, False]
    assert [each.text for each in parsed.refused] == ["SpacyRecognizer"]
    assert parsed.notes == ["Not imported, because a rule here has no such part: context (1), score (1)."]
    assert patterns(parse("recognizers:\n  - supported_entity: X\n    deny_list:\n      - no\n      - 007\n")) == [
        "no",
        "007",
    ]


def test_litellm_patterns_and_blocked_words_are_read() -> None:
    text = json.dumps(
        {
            "patterns": [
                {"name": "us_ssn", "display_name": "SSN", "pattern": r"\b\d{3}-\d{2}-\d{4}\b", "category": "PII"},
                {"name": "odd", "pattern": r"(a)\1"},
            ],
            "blocked_words": [{"keyword": "acme", "action": "BLOCK", "severity": "high"}],
        }
    )

    parsed = parse(text, action="flag")

    assert [(row.pattern, row.kind, row.action, row.category, row.note) for _, row in parsed.rows] == [
        (r"\b\d{3}-\d{2}-\d{4}\b", "regex", "flag", "PII", "LiteLLM: SSN"),
        ("acme", "literal", "block", "", "LiteLLM"),
    ]
    assert len(parsed.refused) == 1
    assert parsed.notes == ["Not imported, because a rule here has no such part: severity (1)."]


def test_litellm_categories_are_read_with_their_phrases_exceptions_and_action() -> None:
    text = r"""
category_name: insults
default_action: BLOCK
always_block_keywords:
  - keyword: "dunce"
    severity: high
identifier_words: [dumb]
phrase_patterns:
  - '\bas\s+helpful\s+as\s+a\b'
exceptions:
  - "dunce cap"
"""
    parsed = parse(text, "insults.yaml", action="mask")

    assert [(line, row.pattern, row.kind, row.action, row.category) for line, row in parsed.rows] == [
        (9, r"\bas\s+helpful\s+as\s+a\b", "regex", "block", "insults"),
        (5, "dunce", "literal", "block", "insults"),
        (11, "dunce cap", "literal", "allow", ""),
    ]
    assert parsed.notes == ["Not imported, because a rule here has no such part: identifier_words (1), severity (1)."]


def test_litellm_lists_join_their_words() -> None:
    text = '[{"id": "dag", "match": "dag|dags", "tags": ["insult"], "severity": 1, "exceptions": ["graph"]}]'

    assert [(row.pattern, row.category, row.whole_word) for _, row in parse(text).rows] == [
        ("dag", "insult", True),
        ("dags", "insult", True),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[[rules]]\nregex = "(a)(b)"\nsecretGroup = inf\n', "gitleaks.toml"),
        ('[{"trigger_type": [], "keyword_filter": ["a"]}]', "automod.json"),
        ('[{"trigger_type": {}, "keyword_filter": ["a"]}]', "automod.json"),
    ],
)
def test_a_value_of_another_type_than_the_format_has_refuses_its_rule(text: str, name: str) -> None:
    parsed = read(text.encode(), name=name)

    assert len(parsed.refused) == 1
    assert not parsed.rows


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"ca\\ud800t": ["a\\udfffb", "fine"]}', "words.json"),
        ('[{"ca\\ud800t": "x", "\\ud800": "x"}]', "table.json"),
        ('"ca\\uD800t":\n  - "a\\uDFFFb"\n', "words.yaml"),
    ],
)
def test_half_a_character_is_unreadable(text: str, name: str) -> None:
    try:
        parsed = read(text.encode(), name=name)
    except FileError:
        return

    said = [*(row.category for _, row in parsed.rows), *(each.text for each in parsed.refused)]
    said += [name for each in parsed.questions if isinstance(each, ColumnsQuestion) for name in each.names]
    assert "".join(said).encode(), "it can be stored and shown"
    assert [row.pattern for _, row in parsed.rows] in ([], ["fine"])


def test_what_automod_does_beside_matching_is_said_to_be_left_out() -> None:
    rule = {
        "name": "words",
        "trigger_type": 1,
        "trigger_metadata": {"keyword_filter": ["bad"], "mention_total_limit": 5},
        "actions": [{"type": 1}],
        "exempt_roles": ["1"],
        "exempt_channels": [],
    }

    parsed = parse(json.dumps([rule, rule | {"name": "more", "trigger_metadata": {"keyword_filter": ["worse"]}}]))

    assert patterns(parsed) == ["bad", "worse"]
    assert parsed.notes == [
        "Not imported, because a rule here has no such part: actions (2), exempt_roles (2), mention_total_limit (1)."
    ]


class TestListsInStructures:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ('[\n"bad",\n"worse"]', ""),
            ('{"words":\n["bad",\n"worse"]}', ""),
            ("\n- bad\n- worse\n", "list.yml"),
            ("words:\n  - bad\n  - worse\n", ""),
            ('words = [\n"bad",\n"worse"]\n', "list.toml"),
        ],
    )
    def test_are_read_with_their_lines(self, text: str, name: str) -> None:
        assert [(line, row.pattern, row.category) for line, row in parse(text, name).rows] == [
            (2, "bad", ""),
            (3, "worse", ""),
        ]

    def test_by_category_have_it(self) -> None:
        parsed = parse('{"insults": ["bad"], "drugs": ["worse", 7, null], "version": 2}')

        assert [(row.pattern, row.category) for _, row in parsed.rows] == [("bad", "insults"), ("worse", "drugs")]
        assert [each.reason for each in parsed.refused] == ["This is not a word."] * 2
        assert parsed.notes == ["Not imported, because a rule here has no such part: version (1)."]

    def test_of_objects_are_asked_about_and_read_as_answered(self) -> None:
        text = '[{"word": "bad", "severity": 3, "tags": ["a", "b"]},\n {"word": "worse", "why": "x"}]'

        asked = parse(text)
        assert asked.questions == [
            ColumnsQuestion(
                ("word", "severity", "tags", "why"),
                ("pattern", "", "category", ""),
                (("bad", "worse"), ("3", ""), ("a|b", ""), ("", "x")),
                has_header=True,
            )
        ]
        answered = parse(text, answers=Answers(columns=("pattern", "priority", "", "note")))
        assert answered.questions == []
        assert [(line, row.pattern, row.priority, row.note) for line, row in answered.rows] == [
            (1, "bad", 3, ""),
            (2, "worse", 0, "x"),
        ]

    def test_with_a_line_for_every_word_are_read_fast_and_exactly(self) -> None:
        text = json.dumps([f"wörd {number}" for number in range(50_000)], indent=0)

        rows = parse(text).rows

        assert rows[-1] == (50_001, Row("wörd 49999"))


_LAUGHS = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


class TestYaml:
    def test_names_no_python_types(self) -> None:
        assert patterns(parse("- !!python/object/apply:os.system ['x']\n- a\n", "x.yaml")) == ["a"]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (_LAUGHS, "aliases nested"),
            ("[" * 100_000, "not valid YAML"),
            ("[" * 60 + "]" * 60, "nested too deeply"),
            ("- *nothing\n", "stands for nothing before it"),
            ("a: [b\nc: d\n", "not valid YAML"),
            ("? [a]\n: b\n", "is not a text"),
            ("- \x01\n- b\n", "not valid YAML"),
            ("a: " + "x" * 8_000_001, "more than 8000000 characters"),
        ],
    )  # fmt: skip
    def test_is_read_within_bounds(self, text: str, words: str) -> None:
        with pytest.raises(FileError, match=words):
            parse(text, "x.yaml")

    def test_errors_have_their_line(self) -> None:
        with pytest.raises(FileError) as error:
            parse("a: 1\nb: [c\nd: e\n", "x.yml")

        assert error.value.line == 3


class TestToml:
    @pytest.mark.parametrize(
        ("text", "line"),
        [("a = 1\nb = \n", 2), ("a = " + "[" * 3000 + "]" * 3000, None), ("a = '" + "x" * 2_000_001 + "'", None)],
    )
    def test_that_is_wrong_is_refused(self, text: str, line: int | None) -> None:
        with pytest.raises(FileError, match="TOML") as error:
            parse(text, "x.toml")

        assert error.value.line == line


class TestATable:
    TEXT = "Term;Severity;Kind of word\nbad;3;insult\nworse;4;drug\n"

    def test_with_unknown_names_is_asked_about_and_not_imported_as_words(self) -> None:
        asked = parse(self.TEXT)

        assert asked.file_format == "csv"
        assert asked.questions == [
            ColumnsQuestion(
                ("Term", "Severity", "Kind of word"),
                ("pattern", "", ""),
                (("bad", "worse"), ("3", "4"), ("insult", "drug")),
                has_header=True,
            )
        ]
        assert patterns(asked) == ["bad", "worse"]

    def test_is_read_as_answered(self) -> None:
        parsed = parse(self.TEXT, answers=Answers(columns=("pattern", "", "category")))

        assert parsed.questions == []
        assert [(line, row.pattern, row.category) for line, row in parsed.rows] == [
            (2, "bad", "insult"),
            (3, "worse", "drug"),
        ]
        assert parsed.columns == ("pattern", "category")

    def test_without_known_names_gives_no_rule_before_the_answer(self) -> None:
        text = "bad,3,x\nworse,4,y\nworst,5,z\n"
        asked = parse(text)

        assert asked.rows == []
        assert isinstance(asked.questions[0], ColumnsQuestion)
        assert asked.questions[0].has_header is False
        assert patterns(parse(text, answers=Answers(columns=("pattern", "", ""), has_header=False))) == [
            "bad",
            "worse",
            "worst",
        ]

    def test_may_be_answered_to_be_a_list_of_words(self) -> None:
        answers = Answers(columns=NO_TABLE, joined="any")

        assert patterns(parse("bad,naughty\nworse,wicked\n", answers=answers)) == ["bad", "naughty", "worse", "wicked"]

    def test_may_have_a_single_column_with_a_usual_name(self) -> None:
        parsed = parse("敏感词\n坏话\n广告\n")

        assert patterns(parsed) == ["坏话", "广告"]
        assert isinstance(parsed.questions[0], ColumnsQuestion)

    @pytest.mark.parametrize("text", ["pattern,category\nbad,x\n", "Pattern;Note\nbad;x\n"])
    def test_of_our_own_is_not_asked_about(self, text: str) -> None:
        assert parse(text).questions == []


class TestJoinedWords:
    TEXT = "plain\nfree、money\nHello, world\n"

    def test_are_asked_about(self) -> None:
        assert parse(self.TEXT).questions == [JoinedQuestion(2, "free、money", 2)]

    def test_can_be_any_of_them(self) -> None:
        parsed = parse(self.TEXT, answers=Answers(joined="any"))

        assert patterns(parsed) == ["plain", "free", "money", "Hello", "world"]
        assert parsed.questions == []

    def test_can_be_both_of_them_in_a_few_rules_of_two_words(self) -> None:
        text = "plain\nfree、money\na,b,c\n" + "".join(f"one{number}|two{number}\n" for number in range(10))

        parsed = parse(text, answers=Answers(joined="all", whole_word="auto"), compare="loose")

        first, second = parsed.rows[0][1], parsed.rows[1][1]
        assert (first.pattern, first.compare, second.kind, second.compare) == ("plain", "loose", "regex", "normal")
        assert moderated(second, "Money for nothing is free; freedom") == "•" * 25 + "; freedom"
        assert moderated(second, "free" + " " * 31 + "money") == "free" + " " * 31 + "money"
        assert [each.line for each in parsed.refused] == [3, 12, 13]
        assert "There can be 10 rules that need two words" in parsed.refused[1].reason

    def test_can_be_one_phrase(self) -> None:
        assert patterns(parse(self.TEXT, answers=Answers(joined="one"))) == ["plain", "free、money", "Hello, world"]


class TestWholeWords:
    @pytest.mark.parametrize("word", ["ass", "café", "жопа", "κακό", "כלב", "كلب", "hello world", "o'clock", "phở"])
    def test_are_suggested_for_alphabets_with_spaces(self, word: str) -> None:
        assert parse(word, answers=Answers(whole_word="auto")).rows[0][1].whole_word

    @pytest.mark.parametrize("word", ["坏话", "ばか", "멍청이", "หี", "ខ្មែរ", "c++", ".com", "A片"])
    def test_are_not_suggested_for_others(self, word: str) -> None:
        assert not parse(word, answers=Answers(whole_word="auto")).rows[0][1].whole_word

    def test_are_a_change_of_existing_rules_only_if_they_are_chosen(self) -> None:
        assert "whole_word" not in parse("ass", answers=Answers(whole_word="auto")).columns
        assert "whole_word" in parse("ass", answers=Answers(whole_word="yes")).columns

    def test_are_as_a_file_says_where_it_does(self) -> None:
        text = "pattern,whole_word\nass,no\n"

        assert not parse(text, answers=Answers(whole_word="yes")).rows[0][1].whole_word
