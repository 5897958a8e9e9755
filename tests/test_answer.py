"""The moderation of an answer with alternating channels: the order is kept and no match is sent whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.answer import AnswerModeration, medium_of
from streaming.answer.moderation import MAX_TEXTS
from streaming.formats import ChoiceEnd, Delta, FormatError, Notice, Part, RawChunk, Snapshot, StreamEnd, TextPart
from streaming.hit_context import HitContext
from streaming.moderation import Rule, RuleSet

RULES = RuleSet(
    [Rule(1, "darn"), Rule(2, "secret", action="drop"), Rule(3, "hello", action="replace", replacement="bye")]
)
BLOCK = RuleSet([Rule(1, "darn", action="block", category="x", replacement="No.")])
RAW: Any = RawChunk({}, [])

Turn = tuple[str, str]


def moderated(*messages: list[Turn], rules: RuleSet = RULES, on_hit: Any = None, raw: bool = True) -> list[Part]:
    """What comes of messages, each a list of (channel, text), fed one by one."""
    moderation, out = AnswerModeration(rules, on_hit), list[Part]()
    for message in messages:
        parts = [Delta(text, channel) for channel, text in message]
        out += [part for part in moderation.feed([*parts, *([RAW] if raw else [])]) if part]
    out += [part for part in moderation.feed([ChoiceEnd(0), StreamEnd()]) if part]
    moderation.close()
    return out


def order_of(parts: list[Part]) -> list[list[str]]:
    order: list[list[str]] = []
    for part in parts:
        if isinstance(part, Delta | TextPart):
            if order and order[-1][0] == part.channel:
                order[-1][1] += part.text
            else:
                order.append([part.channel, part.text])
    return order


def text_of(parts: list[Part], channel: str) -> str:
    return "".join(part.text for part in parts if isinstance(part, Delta) and part.channel == channel)


class TestHeldText:
    def test_is_sent_before_text_of_another_channel(self) -> None:
        out = moderated([("reasoning", "I think da")], [("content", "Yes")])

        assert order_of(out) == [["reasoning", "I think da"], ["content", "Yes"]]

    def test_is_sent_before_an_atomic_text(self) -> None:
        moderation = AnswerModeration(RULES)

        out = [*moderation.feed([Delta("da")]), *moderation.feed([TextPart("f", "name")])]

        assert order_of([part for part in out if part]) == [["content", "da"], ["name", "f"]]

    def test_stays_held_while_another_choice_gets_text(self) -> None:
        moderation = AnswerModeration(RULES)

        assert not list(moderation.feed([Delta("da", choice=0)]))
        assert list(moderation.feed([Delta("a", choice=1)])) == [Delta("a", choice=1)]
        assert list(moderation.feed([Delta("rk", choice=0)])) == [Delta("dark")]

    def test_stays_held_while_channels_share_their_messages(self) -> None:
        turns = [[("a", piece), ("b", piece)] for piece in ("da", "r", "n", "!")]

        out = moderated(*turns)

        assert (text_of(out, "a"), text_of(out, "b")) == ("••••!", "••••!")


class TestAMatchWhoseBeginningWasSent:
    @pytest.mark.parametrize(
        ("first", "then", "shown"),
        [
            ("da", "rn!", "da••!"),
            ("d", "arn darn", "d••• ••••"),
            ("da", "rk", "dark"),
            ("oh da", "rn", "oh da••"),
            ("sec", "ret x", "sec x"),
            ("hel", "lo x", "helbye x"),
            ("da", "darn", "da••••"),
            ("da", "d", "dad"),
        ],
    )
    def test_is_moderated_in_the_rest_of_the_match(self, first: str, then: str, shown: str) -> None:
        for pieces in ([then], list(then)):
            out = moderated([("a", first)], [("b", "x")], *([("a", piece)] for piece in pieces))

            assert text_of(out, "a") == shown

    def test_can_be_interrupted_several_times(self) -> None:
        turns = [[turn] for piece in "oh darn it" for turn in (("a", piece), ("b", "."))]

        out = moderated(*turns)

        assert text_of(out, "a") == "oh dar• it"

    def test_can_be_a_block(self) -> None:
        out = moderated([("a", "oh da")], [("b", "x")], [("a", "rn you")], rules=BLOCK)

        end = out.index(StreamEnd("blocked"))
        assert out[end - 1] == Notice("block", "x", "No.")
        assert text_of(out[:end], "a") == "oh da"

    def test_is_reported_with_its_position(self) -> None:
        hits: list[HitContext] = []

        moderated([("a", "oh darn da")], [("b", "x")], [("a", "rn, so darn")], on_hit=hits.append)

        assert [(hit.start, hit.end, hit.text) for hit in hits] == [(3, 7, "darn"), (8, 12, "darn"), (17, 21, "darn")]


WORDS = RuleSet([Rule(1, "darn"), Rule(2, "rat"), Rule(3, "nerd it"), Rule(4, r"[0-9]{3,5}", "regex")])
turns = st.lists(st.tuples(st.sampled_from("ab"), st.text("darnt eit12", min_size=1, max_size=4)), max_size=14)


@given(turns, st.booleans())
def test_no_match_is_sent_whole_and_no_text_is_lost_however_channels_alternate(turns: list[Turn], raw: bool) -> None:
    out = moderated(*([turn] for turn in turns), rules=WORDS, raw=raw)

    for channel in "ab":
        whole = "".join(text for name, text in turns if name == channel)
        shown = text_of(out, channel)
        assert len(shown) == len(whole)
        assert all(char in (original, "•") for char, original in zip(shown, whole, strict=True))
        assert not [word for word in ("darn", "rat", "nerd it") if word in shown]
        assert not any(shown[at : at + 3].isdigit() for at in range(len(shown) - 2))


@given(turns)
def test_text_without_matches_keeps_its_order(turns: list[Turn]) -> None:
    rules = RuleSet([Rule(1, "darn you all"), Rule(2, "rate of entry"), Rule(3, "tide and")])

    out = moderated(*([turn] for turn in turns), rules=rules)

    assert order_of(out) == order_of([Delta(text, channel) for channel, text in turns])


def feed_texts(moderation: AnswerModeration, kind: type[Delta | Snapshot | TextPart]) -> None:
    for number in range(MAX_TEXTS + 1):
        for _ in moderation.feed([kind("x", f"field{number}")]):
            pass


@pytest.mark.parametrize("kind", [Delta, Snapshot, TextPart])
def test_an_answer_of_too_many_texts_is_refused_before_it_fills_the_memory(kind: Any) -> None:
    with pytest.raises(FormatError, match="more than 4,096 texts"):
        feed_texts(AnswerModeration(RULES), kind)


def test_a_prompt_may_have_as_many_messages_as_it_likes() -> None:
    feed_texts(AnswerModeration(RULES, is_prompt=True), Delta)


class TestAnAtomicTextThatIsRepeated:
    def parts(self, *texts: str, rules: RuleSet = RULES, on_hit: Any = None) -> list[Part]:
        moderation = AnswerModeration(rules, on_hit)
        return [part for text in texts for part in moderation.feed([TextPart(text, "provider")]) if part]

    def test_is_sent_each_time(self) -> None:
        texts = ["Some Provider", "Some Provider", "Some Provider", "Another", "Some Provider"]

        assert self.parts(*texts) == [TextPart(text, "provider") for text in texts]

    def test_is_moderated_each_time(self) -> None:
        hits: list[HitContext] = []

        out = self.parts("darn", "darn", "darn", on_hit=hits.append)

        assert [part.text for part in out if isinstance(part, TextPart)] == ["••••"] * 3
        assert len(hits) == 3

    @pytest.mark.parametrize(
        "texts", [["ada", "ada", "rn"], ["rn da"] * 4, ["da", "x", "da", "rn"], ["narda"] * 3 + ["rn"]]
    )
    def test_never_forms_a_match_with_the_text_before_it(self, texts: list[str]) -> None:
        shown = "".join(part.text for part in self.parts(*texts) if isinstance(part, TextPart))

        assert "darn" not in shown


@pytest.mark.parametrize("channel", ["content", "x_note", "delta.annotation", "reasoning_content", "0.text"])
def test_a_field_that_nobody_knows_is_read_as_markdown(channel: str) -> None:
    (shown,) = [part for part in moderated([(channel, "da%72n d&#97;**rn**")]) if isinstance(part, Delta)]

    assert shown.text == "•••• ••**••**"


@pytest.mark.parametrize("channel", ["name", "tool_calls.0.name", "title", "label", "call_id"])
def test_names_and_labels_are_read_as_they_stand(channel: str) -> None:
    assert medium_of(channel) == "plain"
