"""The admin page "Try it": how rules moderate a text, piece by piece."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from streaming.admin import trial
from streaming.admin.try_page import MAX_TEXT
from streaming.models import ModerationRule
from streaming.moderation import Moderator, Rule, RuleSet, Text

pytestmark = pytest.mark.usefixtures("nothing_in_force_yet")

LIST = "/admin/streaming/moderationrule/"
TRY = f"{LIST}try/"
rules = ModerationRule.objects

RULES = RuleSet(
    [
        *(Rule(1, "darn"), Rule(2, "heck", action="flag"), Rule(3, "a+b", "regex", "replace", "[ab]")),
        *(Rule(4, "drop", action="drop"), Rule(5, "stop", action="block"), Rule(6, "darn heck", action="flag")),
    ]
)


class TestATrial:
    def test_marks_each_hit_in_both_texts(self) -> None:
        done = trial.run(RULES, "oh DARN heck, aab drop.", 4)

        assert [(hit.number, hit.rule.id, hit.text) for hit in done.hits] == [
            *((1, 1, "DARN"), (2, 6, "DARN heck"), (3, 3, "aab"), (4, 4, "drop")),
        ]
        assert [(each.text, each.hits) for each in done.original] == [
            *(("oh ", ()), ("DARN", (1, 2)), (" heck", (2,)), (", ", ())),
            *(("aab", (3,)), (" ", ()), ("drop", (4,)), (".", ())),
        ]
        assert "".join(each.text for each in done.moderated) == "oh •••• heck, [ab] ."
        assert [(each.text, each.hits) for each in done.moderated if each.hits] == [("••••", (1,)), ("[ab]", (3,))]

    def test_lists_what_was_sent_and_held_after_each_piece(self) -> None:
        done = trial.run(RuleSet([Rule(1, "darn")]), "a darn", 2)

        assert [(step.fed, step.sent, step.held) for step in done.steps] == [
            *(("a ", "a ", ""), ("da", "", "da"), ("rn", "••••", "")),
        ]
        assert done.max_held == 2

    def test_ends_at_a_block(self) -> None:
        done = trial.run(RULES, "go on, stop here, darn", 3)

        assert done.blocked
        assert done.blocked.text == "stop"
        assert "".join(each.text for each in done.moderated) == "go on, "
        assert done.pieces == 4

    def test_lists_a_limited_number_of_steps(self) -> None:
        done = trial.run(RULES, "x" * 1000, 1)

        assert (len(done.steps), done.omitted) == (300, 700)

    def test_lists_and_explains_a_limited_number_of_hits_and_marks_all(self) -> None:
        done = trial.run(RuleSet([Rule(1, "a")]), "A" * 2000, 100)

        assert (len(done.listed_hits), done.omitted_hits) == (300, 1700)
        assert [hit.number for hit in done.hits if hit.explanation] == list(range(1, 301))
        assert [each.hits for each in done.original] == [(number,) for number in range(1, 2001)]

    @given(st.text("darnheckbdopst ", max_size=40), st.integers(1, 10))
    def test_gives_the_same_text_as_the_moderator(self, text: str, cut: int) -> None:
        done, moderator = trial.run(RULES, text, cut), Moderator(RULES)

        expected = "".join(each.text for each in [*moderator.feed(text), *moderator.finish()] if isinstance(each, Text))
        assert "".join(each.text for each in done.moderated) == expected
        assert "".join(step.sent for step in done.steps) == expected
        assert "".join(each.text for each in done.original) == text


def text_of(response: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", response.content.decode())))


def moderated_text(response: Any) -> str:
    return "".join(each.text for each in response.context["trial"].moderated)


@pytest.mark.django_db(transaction=True)
class TestThePage:
    def test_tries_all_active_rules_on_a_sample_text(self, moderator: Client) -> None:
        rules.create(pattern="darn")
        rules.create(pattern="secret-project", upstreams=["elsewhere"])

        page = moderator.get(TRY)

        assert "may write •••• when" in moderated_text(page)
        assert "secret-project" in moderated_text(page)
        assert "1 rule, edition 2;" in text_of(page)

    def test_includes_a_rule_that_was_just_saved(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn")
        moderator.get(TRY)
        rule.action = "drop"
        rule.save()

        assert "may write  when" in moderated_text(moderator.get(TRY))

    def test_tries_the_selected_rules(self, moderator: Client) -> None:
        one, _other = rules.create(pattern="one"), rules.create(pattern="two")
        moved = moderator.post(LIST, {"action": "try_selected", "_selected_action": [one.pk]})
        assert moved.url == f"{TRY}?rule={one.pk}"

        page = moderator.post(TRY, {"rule": one.pk, "which": "chosen", "text": "one two", "cut": "2"})

        assert moderated_text(page) == "••• two"
        assert "the selected rules (1)" in text_of(page)

    def test_tries_the_unsaved_rule_of_the_form(self, moderator: Client) -> None:
        rules.create(pattern="darn")
        unsaved = {"pattern": "a+b", "kind": "regex", "action": "replace", "replacement": "[x]"}

        page = moderator.post(TRY, {**unsaved, "which": "form", "text": "darn aab", "cut": "3"})

        assert moderated_text(page) == "darn [x]"
        content = page.content.decode()
        assert '<input type="hidden" name="pattern" value="a+b">' in content, "it is there for the next try"
        assert rules.count() == 1

    def test_shows_the_error_of_the_unsaved_rule(self, moderator: Client) -> None:
        page = moderator.post(TRY, {"pattern": "(a", "kind": "regex", "which": "form", "text": "x", "cut": "3"})

        assert "At character 1: the ( is not closed." in text_of(page)

    @pytest.mark.parametrize(
        "fields",
        [
            {"text": ""},
            {"text": "x" * (MAX_TEXT + 1)},
            {"cut": "0"},
            {"cut": "x"},
            {"which": "none"},
            {"upstream": "?"},
        ],
    )
    def test_names_an_invalid_field(self, moderator: Client, fields: dict[str, str]) -> None:
        page = moderator.post(TRY, {"which": "all", "text": "x", "cut": "3", **fields})

        assert list(page.context["form"].errors) == list(fields)

    def test_returns_only_the_result_to_a_script(self, moderator: Client) -> None:
        rules.create(pattern="darn")

        part = moderator.post(
            TRY, {"which": "all", "text": "a darn", "cut": "3"}, headers={"X-Requested-With": "fetch"}
        )

        assert "<html" not in part.content.decode()
        assert moderated_text(part) == "a ••••"

    def test_says_why_each_hit_is_one(self, moderator: Client) -> None:
        rules.create(pattern="darn")
        rules.create(pattern="shit", compare="loose")

        page = moderator.post(TRY, {"which": "all", "text": "[da](x)[rn](y) $h1t", "cut": "3"})

        assert "darn (through Markdown)" in text_of(page)
        assert "shit loose mask" in text_of(page)
        assert "shit (look-alike letters)" in text_of(page)
        chinese = moderator.post(
            TRY, {"which": "all", "text": "da**rn**", "cut": "3"}, headers={"Accept-Language": "zh-CN"}
        )
        assert "darn (透过 Markdown)" in text_of(chinese)

    def test_reads_the_text_as_what_it_is_written_in(self, moderator: Client) -> None:
        rules.create(pattern="darn")

        def shown(medium: str) -> str:
            given = {"which": "all", "text": r'"d\u0061rn da**rn**"', "cut": "3", "medium": medium}
            return moderated_text(moderator.post(TRY, given))

        assert shown("markdown") == r'"•••• ••**••**"'
        assert shown("json") == '"•••• da**rn**"'
        assert shown("plain") == r'"d\u0061rn da**rn**"'

    def test_reads_line_breaks_as_a_model_writes_them(self, moderator: Client) -> None:
        rules.create(pattern=r"one\ntwo", kind="regex")

        page = moderator.post(TRY, {"which": "all", "text": "one\r\ntwo", "cut": "3"})

        assert moderated_text(page) == "•" * 7
        assert "U+000D" not in text_of(page)

    def test_lists_a_limited_number_of_hits_in_little_time(self, moderator: Client) -> None:
        rules.create(pattern="a")

        page = moderator.post(TRY, {"which": "all", "text": "A" * MAX_TEXT, "cut": "200"})

        assert "19700 more hits are not listed." in text_of(page)

    def test_escapes_what_it_shows(self, moderator: Client) -> None:
        rules.create(pattern="<script>", action="flag")

        page = moderator.post(TRY, {"which": "all", "text": "<script>alert(1)</script>", "cut": "3"})

        assert "<script>alert" not in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_list_names_the_invalid_rule_that_blocks_the_latest_changes(moderator: Client) -> None:
    rules.create(pattern="darn")
    assert "not in force" not in text_of(moderator.get(LIST))

    wrong = rules.create(pattern="(a", kind="regex")  # past the form, which would refuse it
    page = moderator.get(LIST)

    assert "The latest changes are not in effect" in text_of(page)
    assert f"Rule {wrong.pk}: At character 1: the ( is not closed." in text_of(page)
    wrong.delete()
    assert "not in force" not in text_of(moderator.get(LIST))
