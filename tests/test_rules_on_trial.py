"""Rules on trial: their hits are recorded, and nothing else is different."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.answer import AnswerModeration, Step
from streaming.formats import ChoiceEnd, Delta, Part, Snapshot, StreamEnd, TextPart
from streaming.moderation import ACTIONS, Hit, Medium, Moderator, Outcome, Rule, RuleSet, Text
from tests.conftest import eventually
from tests.test_hit_log import add_rule, rows
from tests.test_moderation import LIBERAL, compiled, in_pieces, media, rule_lists, rule_strategy, texts

trial_lists = st.lists(rule_strategy(list(ACTIONS)), min_size=1, max_size=3).map(
    lambda rules: [replace(rule, id=rule.id + 100, on_trial=True) for rule in rules]  # type: ignore[operator]
)


def run(rule_set: RuleSet, pieces: list[str], medium: Medium) -> tuple[list[list[Outcome]], list[int], list[Rule]]:
    """What the client gets of each piece and the hits in force, what is held after each, and the rules on trial hit."""
    moderator, given, held, on_trial = Moderator(rule_set, medium), [], [], []
    for outcomes in (*map(moderator.feed, pieces), moderator.finish()):
        shown = "".join(outcome.text for outcome in outcomes if isinstance(outcome, Text))
        hits = [outcome for outcome in outcomes if isinstance(outcome, Hit)]
        given.append([Text(shown), *(hit for hit in hits if not hit.rule.on_trial)])
        held.append(moderator.held)
        on_trial += [hit.rule for hit in hits if hit.rule.on_trial]
    return given, held, on_trial


class TestWithRulesOnTrial:
    @settings(max_examples=400, **LIBERAL)
    @given(rule_lists, trial_lists, texts, st.lists(st.integers(0, 5), max_size=14), media)
    def test_the_client_gets_the_same_at_the_same_time_in_every_cut(
        self, rules: list[Rule], trials: list[Rule], text: str, sizes: list[int], medium: Medium
    ) -> None:
        without = compiled(rules)
        with_trials = RuleSet([*without.rules, *compiled(trials).rules], max_span=without.max_span)

        for pieces in ([text], list(text), in_pieces(text, sizes)):
            assert run(with_trials, pieces, medium)[:2] == run(without, pieces, medium)[:2]

    @settings(max_examples=200, **LIBERAL)
    @given(rule_lists, trial_lists, texts, st.lists(st.integers(0, 5), max_size=14), media)
    def test_pieces_that_are_searched_together_are_the_same_too(
        self, rules: list[Rule], trials: list[Rule], text: str, sizes: list[int], medium: Medium
    ) -> None:
        without, pieces = compiled(rules), in_pieces(text, sizes)
        with_trials = RuleSet([*without.rules, *compiled(trials).rules], max_span=without.max_span)

        def shown(rule_set: RuleSet) -> list[str]:
            groups = Moderator(rule_set, medium).feed_all(pieces)
            return ["".join(each.text for each in group if isinstance(each, Text)) for group in groups]

        assert shown(with_trials) == shown(without)

    @settings(max_examples=200, **LIBERAL)
    @given(trial_lists, texts, st.lists(st.integers(0, 5), max_size=14), media)
    def test_what_they_would_hit_does_not_depend_on_the_cut(
        self, trials: list[Rule], text: str, sizes: list[int], medium: Medium
    ) -> None:
        rule_set = compiled(trials)
        whole = sorted(map(repr, run(rule_set, [text], medium)[2]))

        for pieces in (list(text), in_pieces(text, sizes)):
            assert sorted(map(repr, run(rule_set, pieces, medium)[2])) == whole


channels = st.sampled_from(["content", "reasoning", "tool_calls.0"])
parts = st.one_of(
    st.builds(Delta, texts, channels),
    st.builds(TextPart, texts, st.sampled_from(["name", "title"])),
    st.builds(Snapshot, texts, st.just("summary")),
    st.just(ChoiceEnd(0)),
)


@settings(max_examples=200, **LIBERAL)
@given(rule_lists, trial_lists, st.lists(st.lists(parts, max_size=4), max_size=5))
def test_an_answer_of_several_channels_has_the_same_parts(
    rules: list[Rule], trials: list[Rule], messages: list[list[Part]]
) -> None:
    without = compiled(rules)
    with_trials = RuleSet([*without.rules, *compiled(trials).rules], max_span=without.max_span)

    def answered(rule_set: RuleSet) -> list[list[Step]]:
        moderation, steps = AnswerModeration(rule_set, lambda hit: None), []
        for message in [*messages, [StreamEnd()]]:
            steps.append([])
            for step in moderation.feed(message):
                steps[-1].append(step)
                if isinstance(step, StreamEnd):
                    return steps
        raise AssertionError("a stream ends")

    assert answered(with_trials) == answered(without)


MASK_A, DARN = Rule(1, "oh darn"), Rule(2, "darn", on_trial=True)


def hits(rules: list[Rule], text: str) -> list[tuple[int | str, int, int]]:
    outcomes = [*(moderator := Moderator(RuleSet(rules))).feed(text), *moderator.finish()]
    return [(hit.rule.id, hit.start, hit.end) for hit in outcomes if isinstance(hit, Hit)]


@pytest.mark.parametrize("action", ["mask", "replace", "drop", "block", "flag"])
def test_a_hit_has_the_action_that_the_rule_would_have_taken(action: str) -> None:
    rule = Rule(1, "darn", action=action, replacement="heck", on_trial=True)  # type: ignore[arg-type]

    moderator = Moderator(RuleSet([rule]))
    outcomes = [*moderator.feed("a darn b darn"), *moderator.finish()]

    assert "".join(each.text for each in outcomes if isinstance(each, Text)) == "a darn b darn"
    assert [each for each in outcomes if isinstance(each, Hit)] == [Hit(rule, 2, 6), Hit(rule, 9, 13)]


def test_a_rule_on_trial_is_hit_inside_a_match_of_a_rule_in_force_and_hides_no_flag() -> None:
    assert sorted(hits([MASK_A, DARN], "oh darn")) == [(1, 0, 7), (2, 3, 7)]
    assert sorted(hits([Rule(1, "arn", action="flag"), DARN], "darn")) == [(1, 1, 4), (2, 0, 4)]


def test_what_rules_in_force_allow_is_no_hit_and_a_rule_on_trial_allows_only_others_on_trial() -> None:
    allow = Rule(3, "darn it", action="allow")

    assert hits([allow, DARN], "darn it") == []
    assert hits([replace(allow, on_trial=True), DARN], "darn it") == []
    assert hits([replace(allow, on_trial=True), replace(DARN, on_trial=False)], "darn it") == [(2, 0, 4)]


def test_nothing_is_hit_after_a_block_in_force() -> None:
    assert hits([Rule(1, "stop", action="block"), DARN], "darn stop darn") == [(2, 0, 4), (1, 5, 9)]


def test_rules_that_are_added_later_may_be_on_trial_and_armed_later() -> None:
    in_force = replace(DARN, on_trial=False)

    def shown(rule_set: RuleSet) -> str:
        outcomes = [*(moderator := Moderator(rule_set)).feed("darn"), *moderator.finish()]
        return "".join(each.text for each in outcomes if isinstance(each, Text))

    assert shown(RuleSet([MASK_A]).extended([DARN])) == "darn"
    assert shown(RuleSet([MASK_A, DARN]).extended([in_force])) == "••••"
    assert shown(RuleSet([MASK_A, in_force]).extended([DARN])) == "darn"


def test_a_stream_is_the_same_with_a_rule_on_trial_and_its_hits_are_recorded(make_site: Any) -> None:
    site = make_site()

    def answer() -> tuple[str, list[Any]]:
        """The text, and everything else that is said about it."""
        stream = httpx.get(f"{site.url}/transfer?interval=0&seed=1").text
        said = [json.loads(line) for line in re.findall(r"^data: (.*)$", stream, re.MULTILINE)]
        rest = [each for each in said if {"reason", "action"} & set(each)]
        return "".join(each.get("delta", "") for each in said), rest

    without = answer()
    add_rule(site.folder, pattern="darn", action="block", on_trial=True)

    assert without[1] == [{"reason": "stop"}]
    found = "SELECT DISTINCT pattern, action, on_trial FROM streaming_moderationhit"

    def is_recorded() -> bool:  # by the first stream a second later, which has the rule
        assert answer() == without
        return rows(site, found) == [("darn", "block", 1)]

    eventually(is_recorded, "the hits are recorded")
