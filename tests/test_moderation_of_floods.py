"""Text that is written to be expensive: all of it could be the beginning of a match, so as much as possible is held."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import settings

from streaming.moderation import Medium, Moderator, Outcome, Rule, RuleSet, live_starts
from streaming.moderation.loose_words import LooseWords
from streaming.moderation.regex_automaton import Regexes
from tests import test_moderation as moderation

MAIL = r"[\w.+-]+@[\w-]+\.[\w.]+"


def fed(rule_set: RuleSet, text: str, medium: Medium) -> Iterator[float]:
    """Seconds of processor time for each 2,000 characters, in pieces of 20."""
    moderator = Moderator(rule_set, medium)
    for begin in range(0, len(text), 2_000):
        began = time.process_time()
        for at in range(begin, begin + 2_000, 20):
            moderator.feed(text[at : at + 20])
        yield time.process_time() - began


@pytest.mark.parametrize("medium", ["plain", "markdown"])
@pytest.mark.parametrize(
    ("rules", "flood"),
    [
        ([Rule(1, MAIL, "regex")], "a"),
        ([Rule(1, "(?:a+)+b", "regex")], "a"),
        ([Rule(1, MAIL, "regex"), Rule(2, "a[a-z]{20,60}!", "regex")], "a"),
        ([Rule(1, "ttp"), Rule(2, r"https?://[^\s]+", "regex", action="allow")], "http://"),
        ([Rule(1, "a"), Rule(2, "a" * 4_000 + "b", action="block")], "a"),
        ([Rule(1, "darn", compare="loose")], "d"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(rule.pattern[:20] for rule in value),
)
def test_a_piece_costs_the_same_however_much_is_held(rules: list[Rule], flood: str, medium: Medium) -> None:
    rule_set, text = RuleSet(rules), (flood * 10_000)[:10_000]
    list(fed(rule_set, text, medium))

    runs = list(zip(*(fed(rule_set, text, medium) for _ in range(3)), strict=True))

    # Without what live_starts carries forward, the last costs 10 times the first, and for loose words 1,000 times.
    assert min(runs[-1]) < 6 * min(runs[0])


def read_in_short_blocks(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Blocks are longer than generated texts. With more than ``most`` groups there are none for a while."""
    for name, value in (("_BLOCK", 2), ("_MAX_GROUPS", most), ("_RETRY", 3)):
        monkeypatch.setattr(live_starts, name, value)
    monkeypatch.setattr(LooseWords, "MUCH", 1)
    monkeypatch.setattr(Regexes, "MUCH", 1)


def outcomes(rules: list[Rule], pieces: list[str], medium: Medium) -> list[tuple[list[Outcome], int]]:
    """What each piece decides, and how much is held after it."""
    moderator = Moderator(moderation.compiled(rules), medium)
    return [(moderator.feed(piece), moderator.held) for piece in pieces]


@pytest.mark.parametrize("most", [3, 99])
def test_what_leaves_is_the_same_when_a_long_text_is_read_in_blocks(most: int) -> None:
    @settings(max_examples=200, **moderation.LIBERAL)
    @moderation.cases
    def check(rules: list[Rule], text: str, sizes: list[int], medium: Medium) -> None:
        pieces = moderation.in_pieces(text, sizes)
        expected = outcomes(rules, pieces, medium)
        with pytest.MonkeyPatch.context() as monkeypatch:
            read_in_short_blocks(monkeypatch, most)

            assert outcomes(rules, pieces, medium) == expected

    check()
