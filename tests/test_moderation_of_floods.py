"""Text that is written to be expensive: all of it could be the beginning of a match, so as much as possible is held."""

import time
import unicodedata
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streaming.moderation import (
    Hit,
    Medium,
    Moderator,
    Outcome,
    Rule,
    RuleError,
    RuleSet,
    Text,
    char_sets,
    compile_rule,
    found,
    glushkov,
    live_starts,
    regex_automaton,
    regex_syntax,
    validators,
)
from streaming.moderation.edges import Edges, Ending
from streaming.moderation.loose_words import LooseMatches, LooseWords
from streaming.moderation.regex_automaton import Regexes
from streaming.moderation.regex_states import StateMachine
from streaming.moderation.rules import Action
from streaming.moderation.scanning_of_allowed import ReachOfRegexes
from streaming.moderation.walks import Walks
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


@pytest.mark.parametrize("flood", ["a_", "*a", "[a](b) "])
def test_what_an_allow_rule_reads_is_not_read_again_where_the_readings_fork(
    flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[int] = []
    read = ReachOfRegexes._read
    monkeypatch.setattr(ReachOfRegexes, "_read", lambda self, at: (places.append(at), read(self, at)))
    moderator = Moderator(RuleSet([Rule(1, "a[^z]{0,200}z", "regex", "allow"), Rule(2, "a")]), "markdown")

    for char in (flood * 200)[:400]:
        moderator.feed(char)

    assert len(places) <= 4 * 400, "each of the four readings reads each symbol once"


def read_in_short_blocks(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Blocks are longer than generated texts. With more than ``most`` groups there are none for a while."""
    for name, value in (("_BLOCK", 2), ("_MAX_GROUPS", most), ("_RETRY", 3)):
        monkeypatch.setattr(live_starts, name, value)
    monkeypatch.setattr(LooseWords, "MUCH", 1)
    monkeypatch.setattr(Regexes, "MUCH", 1)


def is_valid(rule: Rule) -> bool:
    try:
        compile_rule(rule, 12)
    except RuleError:
        return False
    return True


def outcomes(rules: list[Rule], pieces: list[str], medium: Medium) -> list[tuple[list[Outcome], int]]:
    """What each piece decides, and how much is held after it."""
    moderator = Moderator(RuleSet(filter(is_valid, rules), max_span=12), medium)
    return [(moderator.feed(piece), moderator.held) for piece in pieces]


@pytest.mark.parametrize("most", [1, 99])
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


def test_starts_in_more_states_than_are_carried_forward_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = list("xaaaa---b----")
    expected = outcomes([Rule(1, "a.{6}b", "regex")], pieces, "plain")

    read_in_short_blocks(monkeypatch, 1)

    assert outcomes([Rule(1, "a.{6}b", "regex")], pieces, "plain") == expected


@pytest.mark.parametrize(
    ("rules", "flood", "medium"),
    [
        ([Rule(1, "a+b", "regex")], "a" * 3_999 + "b", "plain"),
        ([Rule(1, "a+b", "regex")], "a" * 3_999 + "*b*", "markdown"),
        ([Rule(1, "a+b", "regex"), Rule(2, "a+b", "regex", "allow")], "a" * 3_999 + "b", "plain"),
        ([Rule(1, "a+b", "regex", "block"), Rule(2, "a+b", "regex", "allow")], "a" * 3_999 + "b", "plain"),
        ([Rule(1, "a.{0,4000}b", "regex")], "a" * 4_000 + "b", "plain"),
        ([Rule(1, "darn", compare="loose")], "d" * 4_000 + "*a*rn", "markdown"),
        ([Rule(1, "[ab]{20,}", "regex", check="entropy:3.5")], "ab" * 2_000, "plain"),
        ([Rule(1, "[a-z0-9]{20,}", "regex", check="entropy:3.5")], "a" * 50 + "bcdefghijklmn", "plain"),
        ([Rule(1, "[A-Z0-9]{11,}", "regex", check="iban")], "DE89370400440532013001", "plain"),
    ],
    ids=lambda value: value[-12:] if isinstance(value, str) else " ".join(rule.pattern[:20] for rule in value),
)
def test_a_flood_that_ends_in_a_match_or_fails_its_check_takes_no_second(
    rules: list[Rule], flood: str, medium: Medium
) -> None:
    moderator, text = Moderator(RuleSet(rules), medium), (flood * 4_000)[:4_200]
    began = time.process_time()

    for at in range(0, len(text), 20):
        moderator.feed(text[at : at + 20])
    moderator.finish()

    # It would take 5 to 300 s if each part of what is held were looked at.
    assert time.process_time() - began < 5


@pytest.mark.parametrize("size", [7, 2_400])
@pytest.mark.parametrize("flood", ["[d](", "[](", "[a](<", "<a b='"])
def test_constructs_that_begin_within_each_other_are_read_without_recursion(flood: str, size: int) -> None:
    moderator, text = Moderator(RuleSet([Rule(1, "darn")]), "markdown"), (flood * 2_400)[:2_400] + " darn"

    outcomes = [each for piece in moderation.cut(text, size) for each in moderator.feed(piece)] + moderator.finish()

    assert "".join(each.text for each in outcomes if isinstance(each, Text)).endswith(" ••••")


def test_what_fails_its_check_is_not_tried_again_but_what_follows_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """So much of a text decides that generated texts are shorter, so it is made less."""
    for module in (validators, found, regex_automaton):
        monkeypatch.setattr(module, "REACH", 3)

    @settings(max_examples=200, **moderation.LIBERAL)
    @moderation.cases
    def check(rules: list[Rule], text: str, sizes: list[int], medium: Medium) -> None:
        checked = [replace(rule, check=rule.check or "entropy:0.9") if rule.kind == "regex" else rule for rule in rules]
        moderation.check_against_the_oracle(checked, "plain", moderation.in_pieces(text, sizes), list(text))

    check()


@pytest.mark.parametrize("size", [1, 2, 20])
def test_a_match_that_ends_beyond_what_is_allowed_counts_from_wherever_it_begins(size: int) -> None:
    rules = [Rule(1, "a[a-z]*c", "regex"), Rule(2, "[a-z]{3}", "regex", action="allow")]
    pieces = moderation.in_pieces("aac aabc abac", [size] * 13)

    moderation.check_against_the_oracle(rules, "plain", pieces)
    assert moderation.read(RuleSet(rules), *pieces).shown == "aac •••• ••••"


@pytest.mark.parametrize(
    ("pattern", "often"), [("(?:a|aa){1,%s}", 1500), ("(?:a|b|cc){1,%s}", 1500), ("(?:a|a{80}b){1,%s}", 240)]
)
def test_the_first_visit_of_a_text_costs_the_same_however_often_alternatives_repeat(pattern: str, often: int) -> None:
    def cost(count: int) -> float:
        moderator = Moderator(RuleSet([Rule(1, pattern % count, "regex")]), "plain")
        began = time.process_time()
        for _ in range(200):
            moderator.feed("a")
        return time.process_time() - began

    few, many = (min(cost(count) for _ in range(3)) for count in (10, often))

    # 38 times as much and more if each copy's arrows were followed by themselves.
    assert many < 10 * few


def test_alternatives_of_one_character_each_are_one_set() -> None:
    assert regex_syntax.parse("(?:a|b|[x-z]){2,3}(c|dd|e|f)") == regex_syntax.parse("[abx-z]{2,3}(?:c|dd|[ef])")


@given(targets=st.lists(st.integers(0, (1 << 12) - 1), max_size=12), positions=st.integers(0, (1 << 12) - 1))
@pytest.mark.parametrize(("near", "many"), [(256, 64), (256, 1), (2, 2), (0, 1)])
def test_a_step_leads_to_all_successors_whichever_arrows_are_shifts(
    near: int, many: int, targets: list[int], positions: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glushkov, "_NEAR", near)
        patch.setattr(glushkov, "_MANY_ARROWS", many)
        arrows = glushkov._Arrows(targets)

    reached = 0
    for position, mask in enumerate(targets):
        reached |= mask if positions >> position & 1 else 0

    assert arrows.step(positions) == reached


def test_the_categories_of_all_characters_are_kept_as_ranges() -> None:
    """A name for each character would take 60 MB."""
    named = char_sets._categories()

    assert len(named) < 5_000
    assert all(unicodedata.category(chr(code)) == name for name, span in named for code in span)
    assert sum(last - first + 1 for _, (first, last) in named) == char_sets.LAST + 1


@settings(max_examples=200, **moderation.LIBERAL)
@given(
    pattern=st.sampled_from(["a+b", "(?:a|b)*c", "a.{0,2}b", "[ab]{2,}|bc+", "a+(?=c)", "(?<=a)b+", "ab*$", "a?b?c"]),
    text=st.text("abc", max_size=9),
    whole_word=st.booleans(),
    span=st.integers(1, 9),
    final=st.booleans(),
)
@example(pattern="aab", text="aacaab", whole_word=False, span=3, final=False)
def test_of_the_matches_with_one_end_the_first_is_found_however_few_are_followed(
    pattern: str, text: str, whole_word: bool, span: int, final: bool
) -> None:
    node = compile_rule(Rule(1, pattern, "regex")).node
    assert node
    regexes = Regexes([(node, 1)], span, Edges(whole_word=whole_word, accents=False))
    loose = LooseWords([("ab", 1), ("abb", 2)], span, Edges(whole_word=whole_word, accents=False))

    for each, read in ((regexes, text), (loose, text.replace("c", "-"))):
        matches, again = (each.matches(read, "", final=final) for _ in range(2))
        starts = list(matches.starts())
        first: dict[Ending, int] = {}
        for start in starts:
            for ending in matches.ends(start):
                first.setdefault(ending, start)

        found = [(ending, start) for start in starts for ending in again.fresh_ends(start)]

        assert dict(reversed(found)) == first


@pytest.mark.parametrize(
    ("rule", "flood"),
    [
        (Rule(1, "a+b", "regex", "block"), "a" * 500 + "b"),
        (Rule(1, "darn", action="block", compare="loose"), "d" * 500 + "arn"),
    ],
    ids=["regex", "loose"],
)
def test_each_symbol_of_a_flood_is_followed_once_for_all_blocks_in_one_state(
    rule: Rule, flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    walk = Walks.walk

    def counted(self: Walks[int], start: int, state: int | None, limit: int) -> Iterator[tuple[int, int]]:
        for at, reached in walk(self, start, state, limit):
            steps.append(at)
            yield at, reached

    monkeypatch.setattr(Walks, "walk", counted)
    moderator = Moderator(RuleSet([rule]))

    assert moderator.feed(flood)[-1] == Hit(rule, 0, len(flood))
    assert 0 < len(steps) < 4 * len(flood)  # 125,000 if each match were followed by itself


def test_the_states_of_a_long_gap_are_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[StateMachine] = []
    monkeypatch.setattr(StateMachine, "_forget", forgotten.append)
    moderator = Moderator(RuleSet([Rule(1, "a.{0,4000}!", "regex")]))

    moderator.feed("ab" * 2_000)
    for char in "abb" * 50:
        moderator.feed(char)

    assert not forgotten, "else each piece would make thousands of them again"


@pytest.mark.parametrize("action", ["mask", "block", "allow"])
def test_each_beginning_of_a_loose_word_with_an_accent_is_not_followed_again_with_each_piece(
    action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its letters may still get a mark, so the last one is always open."""
    looked_at: list[int] = []
    ends = LooseMatches.ends
    monkeypatch.setattr(LooseMatches, "ends", lambda self, start: (looked_at.append(start), ends(self, start))[1])
    moderator = Moderator(RuleSet([Rule(1, "dárn", action=action, compare="loose"), Rule(2, "d")]))

    for _ in range(300):
        moderator.feed("d")

    assert len(looked_at) < 10


@pytest.mark.parametrize("text", ["x d.á.r.n y", "dá-rn darná dárn", "a dárná", "dd.á.rnn", "xd.á.r.n dárnn."])
@pytest.mark.parametrize("action", ["mask", "block", "allow"])
def test_a_loose_word_with_an_accent_waits_for_what_follows_it_alike_in_every_cut(text: str, action: Action) -> None:
    rules = [Rule(1, "dárn", action=action, compare="loose"), Rule(2, "n")]

    moderation.check_against_the_oracle(rules, "plain", list(text), [text], moderation.cut(text, 2))


@pytest.mark.parametrize(
    "allowing",
    [
        Rule(2, "darn it", "regex"),
        Rule(2, r"darn(?=\s)", "regex"),
        Rule(2, "darn it", compare="loose"),
        Rule(2, "darn it[ 0-9]*", "regex", check="luhn"),
        Rule(2, "darn it"),
    ],
    ids=lambda rule: f"{rule.pattern} {rule.compare} {rule.check}",
)
def test_an_allow_rule_that_was_removed_by_hand_allows_nothing(allowing: Rule) -> None:
    rule_set = RuleSet([Rule(1, "darn"), replace(allowing, action="allow")])

    assert moderation.read(rule_set, "oh darn it 00 x").shown == "oh darn it 00 x"
    assert moderation.read(rule_set.extended([], [2]), "oh darn it 00 x").shown == "oh •••• it 00 x"


@settings(**moderation.LIBERAL)
@given(spans=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), max_size=12), forgotten=st.integers(0, 25))
def test_how_far_matches_reach_is_known_from_those_that_lie_in_no_other(
    spans: list[tuple[int, int]], forgotten: int
) -> None:
    reach = found.Reach()
    for start, size in spans:
        reach.add(start, start + size)
    reach.forget(forgotten)

    for at in range(30):
        furthest = max((start + size for start, size in spans if start <= at), default=0)
        assert reach.of(at) == (furthest if furthest > forgotten else 0)
