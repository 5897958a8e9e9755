"""Hits are reported with the text around them, in every cut of the text."""

from __future__ import annotations

import pytest

from streaming.hit_context import CONTEXT, MAX_TEXT, ContextRecorder, HitContext
from streaming.moderation import Moderator, Rule, RuleSet

RULES = RuleSet(
    [
        Rule(1, "darn"),
        Rule(2, "heck", action="flag"),
        Rule(3, "stop", action="block"),
        Rule(4, "坏话", action="drop"),
    ]
)


def hit_contexts(text: str, size: int) -> list[HitContext]:
    found: list[HitContext] = []
    recorder, moderator = ContextRecorder(found.append, "content", 0), Moderator(RULES)
    for at in range(0, len(text), size):
        piece = text[at : at + size]
        recorder.record(piece, moderator.feed(piece), moderator.held)
    recorder.record("", moderator.finish(), moderator.held)
    recorder.finish()
    return found


def around(text: str, context: HitContext) -> tuple[str, str, str]:
    start, end = context.start, context.end
    return text[max(start - CONTEXT, 0) : start], text[start:end], text[end : end + CONTEXT]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_every_hit_is_reported_with_40_characters_before_and_after(size: int) -> None:
    text = "a long way to DARN, and " + "很长的一段话，" * 300 + "oh heck 坏话 darn" + " and on" * 20 + " darn"

    contexts = hit_contexts(text, size)

    assert sorted((each.rule.id, each.text) for each in contexts) == [
        (1, "DARN"),
        (1, "darn"),
        (1, "darn"),
        (2, "heck"),
        (4, "坏话"),
    ]
    assert [(each.before, each.text, each.after) for each in contexts] == [around(text, each) for each in contexts]


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_a_block_is_reported_with_the_text_that_has_arrived(size: int) -> None:
    contexts = hit_contexts("go on and stop here", size)

    assert [(each.rule.id, each.before, each.text) for each in contexts] == [(3, "go on and ", "stop")]
    assert " here".startswith(contexts[0].after)


def test_a_long_match_is_reported_in_bounded_space() -> None:
    contexts = hit_contexts("da" + "\u200b" * 100_000 + "rn!", 1000)

    assert [(each.start, each.end, len(each.text)) for each in contexts] == [(0, 100_004, MAX_TEXT)]


def test_a_hit_is_not_reported_again_when_the_text_restarts() -> None:
    found: list[HitContext] = []
    recorder = ContextRecorder(found.append, may_rewind=True)

    for text in ("a darn", "a darn thing, darn"):
        moderator = Moderator(RULES)
        recorder.rewind()
        recorder.record(text, [*moderator.feed(text), *moderator.finish()], 0)
    recorder.finish()

    assert [each.start for each in found] == [2, 14]
