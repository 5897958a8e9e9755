"""Rules that need two words near each other, against a search of the whole text, in every cut."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from streaming.moderation import Hit, Moderator, Rule, RuleSet, both_of

WORDS = st.text("ab", min_size=1, max_size=3)


def spans(text: str, first: str, second: str, within: int) -> list[tuple[int, int]]:
    """From the leftmost start the longest way from one word to the other, without overlaps."""
    found, at = [], 0
    while at < len(text):
        ends = [
            end.end()
            for one, other in ((first, second), (second, first))
            if text.startswith(one, at)
            for start in range(at + len(one), min(at + len(one) + within, len(text)) + 1)
            if (end := re.compile(re.escape(other)).match(text, start))
        ]
        found += [(at, max(ends))] if ends else []
        at = max(ends, default=at + 1)
    return found


@given(st.text("ab. ", max_size=24), WORDS, WORDS, st.integers(0, 6), st.integers(1, 24))
def test_both_words_are_found_as_in_the_whole_text(text: str, first: str, second: str, within: int, cut: int) -> None:
    rule = Rule(1, both_of(first, second, within=within), kind="regex", compare="exact")
    moderator = Moderator(RuleSet([rule]))

    outcomes = [out for at in range(0, len(text), cut) for out in moderator.feed(text[at : at + cut])]
    outcomes += moderator.finish()

    assert [(out.start, out.end) for out in outcomes if isinstance(out, Hit)] == spans(text, first, second, within)


def test_white_space_and_signs_of_regular_expressions_are_read_as_in_words() -> None:
    rule = Rule(1, both_of("a.b c", "(x)", whole_words=(True, False)), kind="regex")
    moderator = Moderator(RuleSet([rule]))

    outcomes = [*moderator.feed("A.B  c then (X), axb c"), *moderator.finish()]

    assert [(out.start, out.end) for out in outcomes if isinstance(out, Hit)] == [(0, 15)]
