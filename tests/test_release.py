"""Held text is released before another channel speaks; a match that it begins is still acted on."""

from __future__ import annotations

import gc
import json
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streaming.answer import AnswerModeration
from streaming.formats import Delta, Part
from streaming.moderation import Medium, Rule, RuleSet
from streaming.moderation.word_automaton import Node
from tests import oracle
from tests.test_moderation import LIBERAL, Reading, read

ARGUMENTS = "tool_calls.0.function.arguments"

mask_rules = st.lists(
    st.builds(
        Rule,
        st.integers(1, 9),
        st.sampled_from(["a", "ab", "aba", "bs", "a b", "sa", "abab", "b a"]),
        action=st.sampled_from(["mask", "mask", "allow"]),
        compare=st.sampled_from(["exact", "normal"]),
        whole_word=st.booleans(),
    )
    | st.builds(
        Rule,
        st.integers(1, 9),
        st.sampled_from(["ab*s", "a[bs]+", "(?<![a-z])ba", "ba(?!a)", "a.{0,3}s", r"\bab\b", "b$"]),
        st.just("regex"),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda rule: rule.id,
)


def released_at(reading: Reading, text: str, places: list[int]) -> None:
    """Feeds the text by character, and releases what is held at these places."""
    for at, char in enumerate(text):
        if at in places:
            reading._take(reading.moderator.release())
        reading.feed(char)
    reading.finish()


@settings(max_examples=400, **LIBERAL)
@given(mask_rules, st.text(st.sampled_from("abs "), max_size=12), st.lists(st.integers(0, 11), max_size=3))
def test_what_was_released_stays_and_the_rest_is_as_in_the_whole_text(
    rules: list[Rule], text: str, places: list[int]
) -> None:
    assume("  " not in text)  # one space for a rule, and one mask: then the rest is not found by counting
    expected = ""
    for place in [*sorted(set(places)), len(text)]:
        expected += oracle.moderate(rules, text[:place]).shown[len(expected) :]

    reading = Reading(RuleSet(rules, max_span=oracle.SPAN))
    released_at(reading, text, places)

    assert reading.shown == expected
    assert len(reading.found) == len(set(reading.found)), "each hit is reported once"


@pytest.mark.parametrize("place", range(1, 8))
@pytest.mark.parametrize(
    ("rule", "medium", "text", "rests"),
    [
        # The text after each place, if what is before it was released.
        (Rule(1, "darn", action="drop"), "plain", "a darn b", {3: " b", 4: " b", 5: " b"}),
        (Rule(1, "darn", action="replace", replacement="[x]"), "plain", "a darn b", {3: "[x] b", 5: "[x] b"}),
        (Rule(1, "darn"), "markdown", "da**rn** b", {1: "•**••** b", 2: "**••** b", 4: "••** b", 5: "•** b"}),
        (Rule(1, "ass", whole_word=True), "plain", "bass ass", {1: "ass •••", 6: "••", 7: "•"}),
    ],
)
def test_a_match_is_acted_on_after_the_place_of_a_release(
    rule: Rule, medium: Medium, text: str, rests: dict[int, str], place: int
) -> None:
    reading = Reading(RuleSet([rule]), medium)
    for char in text[:place]:
        reading.feed(char)
    reading._take(reading.moderator.release())
    released = len(reading.shown)
    assert reading.moderator.held == 0
    reading.feed(text[place:])
    reading.finish()

    assert rests.get(place) in (None, reading.shown[released:])


@pytest.mark.parametrize("rule", [Rule(1, "dar", action="flag"), Rule(1, "dar", on_trial=True)])
@pytest.mark.parametrize("more", ["", "n", "n x", "n|", "n|e|", "|x", "ned"])
def test_a_hit_that_changes_nothing_is_reported_once(rule: Rule, more: str) -> None:
    # The released text is decided before it is for the rule that only records, as that may match more of it.
    longer = replace(rule, id=2, pattern="darned")
    reading = Reading(RuleSet([rule, longer, Rule(3, "darx")]))

    for char in f"dar|{more}":
        if char == "|":
            reading._take(reading.moderator.release())
        else:
            reading.feed(char)
    reading.finish()

    assert reading.found.count((rule, 0, 3)) == 1
    assert reading.found.count((longer, 0, 6)) == (more == "ned")


@pytest.mark.parametrize("action", ["mask", "replace", "drop"])
def test_arguments_stay_json_when_another_channel_speaks_between(action: str) -> None:
    rule_set = RuleSet(
        [Rule(1, "darn", action=action, replacement='a "b"'), Rule(2, "7777", action=action, replacement="many")]
    )  # type: ignore[arg-type]
    text = '{"darn": "a darn b", "n": [7777, 2], "c": "\\"darn\\""}'
    for place in range(1, len(text)):
        if text[place - 1] == "\\":
            continue  # an escape that is torn apart by its upstream
        moderation = AnswerModeration(rule_set)
        parts: list[Part | None] = []
        for part in (Delta(text[:place], ARGUMENTS), Delta("Hello", "content"), Delta(text[place:], ARGUMENTS)):
            parts += moderation.feed([part])
        parts += moderation._channels[Delta, 0, ARGUMENTS].finish()
        shown = "".join(part.text for part in parts if isinstance(part, Delta) and part.channel == ARGUMENTS)

        # A masked number is zeros, which Python reads only as a string.
        assert "darn" not in json.dumps(json.loads(re.sub(r"\b0000\b|\b7*0+\b", "0", shown))), shown


@pytest.mark.parametrize("action", ["mask", "replace", "drop"])
@pytest.mark.parametrize("size", [1, 2, 3, 99])
def test_a_match_within_a_number_leaves_a_number(action: str, size: int) -> None:
    rule = Rule(1, "77", action=action, replacement="many")  # type: ignore[arg-type]
    text = '{"a": 1773, "b": -77.5, "c": "177"}'
    reading = read([rule], *(text[at : at + size] for at in range(0, len(text), size)), medium="json")

    values = json.loads(reading.shown.replace("-00.5", "-0.5"))  # JSON knows no leading zeros; most of its readers do
    assert values["a"] == 1003
    assert values["b"] == -0.5


def test_a_release_copies_the_state_of_its_text_and_no_rules() -> None:
    words = [Rule(number, f"w{number}x{number % 7}") for number in range(2000)]
    reading = Reading(RuleSet(words), "markdown")
    reading.feed("hello w19")
    gc.collect()
    before = sum(isinstance(each, Node) for each in gc.get_objects())

    reading._take(reading.moderator.release())

    assert sum(isinstance(each, Node) for each in gc.get_objects()) - before < 20
    reading.feed("99x4 ")
    assert reading.shown == "hello w19•••• "
