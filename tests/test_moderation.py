"""Moderation is exact: in every cut the output is that of the whole text."""

from __future__ import annotations

import itertools
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from streaming.moderation import Hit, Medium, Moderator, Rule, RuleError, RuleSet, Text, compile_rule
from streaming.moderation.folding import fold
from tests import oracle


class Reading:
    """A text as it is fed, and all that came of it so far."""

    def __init__(self, rule_set: RuleSet, medium: Medium = "plain") -> None:
        self.moderator = Moderator(rule_set, medium)
        self.shown = ""
        self.found: list[tuple[Rule, int, int]] = []
        self.blocked: Hit | None = None

    def feed(self, text: str) -> None:
        self._take(self.moderator.feed(text))

    def finish(self) -> None:
        self._take(self.moderator.finish())

    def _take(self, outcomes: list[Text | Hit]) -> None:
        for outcome in outcomes:
            assert not self.blocked, "nothing comes after a block"
            if isinstance(outcome, Text):
                assert outcome.text
                self.shown += outcome.text
            else:
                self.found.append((outcome.rule, outcome.start, outcome.end))
                self.blocked = outcome if outcome.rule.action == "block" else None


def read(rules: list[Rule] | RuleSet, *pieces: str, finish: bool = True, medium: Medium = "plain") -> Reading:
    reading = Reading(rules if isinstance(rules, RuleSet) else RuleSet(rules), medium)
    for piece in pieces:
        reading.feed(piece)
    if finish:
        reading.finish()
    return reading


def cut(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


class TestActions:
    @pytest.mark.parametrize("size", range(1, 12))
    @pytest.mark.parametrize(
        ("rule", "text", "shown"),
        [
            (Rule(1, "darn"), "oh darn it", "oh •••• it"),
            (Rule(1, "darn"), "DARN, Ｄárn", "••••, ••••"),
            (Rule(1, "darn", action="replace", replacement="[!]"), "oh darn it", "oh [!] it"),
            (Rule(1, "darn", action="drop"), "oh darn it", "oh  it"),
            (Rule(1, "darn", action="flag"), "oh darn it", "oh darn it"),
            (Rule(1, "darn", action="block"), "oh darn it", "oh "),
            (Rule(1, "dar"), "dar", "•••"),
            (Rule(1, "darn"), "dar", "dar"),
            (Rule(1, "内部代号"), "一个内部代号啊", "一个••••啊"),
            (Rule(1, "内部代号"), "一個內部代號啊", "一個••••啊"),
            (Rule(1, "darn"), "da\u200brn", "••\u200b••"),
            (Rule(1, "darn"), "d\u0301arn", "••••"),
            (Rule(1, "strasse"), "die Straße", "die ••••••"),
            (Rule(1, "i"), "ﬁ", "•"),
            (Rule(1, "elan"), "élan e\u0301lan", "•••• ••••"),
            (Rule(1, "ψωμι"), "ψωμί", "••••"),
            (Rule(1, "еще"), "ещё", "•••"),
            (Rule(1, "мои"), "мой", "мой"),
            (Rule(1, "كتب"), "كَتَبَ", "•••"),
            (Rule(1, "ספר"), "סֵפֶר", "•••"),
            (Rule(1, "ばか"), "はか、ばか", "はか、••"),
            (Rule(1, "パパ"), "ハハとパパ", "ハハと••"),
            (Rule(1, "หี"), "หัวหน้า หี", "หัวหน้า ••"),
            (Rule(1, "가"), "각 가", "각 •"),
            (Rule(1, "काम"), "कम काम", "कम •••"),
            (Rule(1, "Darn", compare="exact"), "darn Darn", "darn ••••"),
            (Rule(1, "bad", compare="loose"), "baaaad bbaaddd bd", "•••••• ••••••• bd"),
            (Rule(1, "book", compare="loose"), "bok book boook", "bok •••• •••••"),
            (Rule(1, "bad", compare="loose"), "b...ad b....ad", "•...•• b....ad"),
            (Rule(1, "ass", whole_word=True), "ass class assess an ass", "••• class assess an •••"),
            (Rule(1, "c++", whole_word=True), "c++ is c++x", "••• is •••x"),
            (Rule(1, "爱", whole_word=True), "我爱你", "我•你"),
            (Rule(1, r"\d{3}-\d{4}", "regex"), "call 555-1234 or 55-1234", "call •••••••• or 55-1234"),
            (Rule(1, r"[\w.]+@\w+\.(?:com|org)", "regex"), "to joe.x@mail.com now", "to •••••••••••••• now"),
            (Rule(1, r"(?:a+)+b", "regex"), "xaaaab aaa", "x••••• aaa"),
        ],
    )
    def test_give_the_same_text_in_every_cut(self, rule: Rule, text: str, shown: str, size: int) -> None:
        assert read([rule], *cut(text, size)).shown == shown

    def test_a_hit_has_the_position_of_its_match(self) -> None:
        rule = Rule(7, "darn", category="profanity")

        assert read([rule], "oh da", "rn it").found == [(rule, 3, 7)]

    def test_a_block_ends_the_text_after_what_precedes_the_match(self) -> None:
        rule = Rule(1, "bomb", action="block", replacement="Stopped.")

        reading = read([rule, Rule(2, "darn")], "darn a bo", "mb and more", "and more")

        assert reading.shown == "•••• a "
        assert reading.blocked == Hit(rule, 7, 11)

    @pytest.mark.parametrize("size", range(1, 20))
    def test_a_block_applies_inside_a_longer_match(self, size: int) -> None:
        rules = [Rule(1, "the bomb plan"), Rule(2, "bomb", action="block")]

        reading = read(rules, *cut("hide the bomb plan", size))

        assert reading.shown == "hide the "
        assert reading.blocked

    @pytest.mark.parametrize("size", range(1, 20))
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("class ass", "class •••"),
            ("assess", "assess"),
            ("assex", "•••ex"),
            ("classes ass", "classes •••"),
            ("ass", "•••"),
        ],
    )
    def test_an_allow_rule_exempts_a_match_inside_its_own(self, text: str, shown: str, size: int) -> None:
        rules = [Rule(1, "ass"), Rule(2, "class", action="allow"), Rule(3, "assess", action="allow")]

        assert read(rules, *cut(text, size)).shown == shown

    def test_an_allow_rule_does_not_exempt_an_overlapping_match(self) -> None:
        assert read([Rule(1, "ab"), Rule(2, "bc", action="allow")], "abc").shown == "••c"

    def test_an_allow_rule_exempts_flags_and_blocks_too(self) -> None:
        rules = [Rule(1, "ass", action="flag"), Rule(2, "las", action="block"), Rule(3, "class", action="allow")]

        assert read(rules, *"class").found == []

    @pytest.mark.parametrize("size", range(1, 6))
    @pytest.mark.parametrize(("text", "shown"), [("abcdy", "a"), ("abcdx", "••••x"), ("abcd", "a")])
    def test_text_that_a_possible_block_would_cut_is_held_until_it_is_certain(
        self, text: str, shown: str, size: int
    ) -> None:
        rules = [Rule(1, "abcd"), Rule(2, "bc", action="block"), Rule(3, "bcdx", action="allow")]

        assert read(rules, *cut(text, size)).shown == shown

    @pytest.mark.parametrize("size", range(1, 7))
    def test_an_exempted_match_is_not_checked_again(self, size: int) -> None:
        rules = RuleSet([Rule(1, "cd", action="block"), Rule(2, "abcd", action="allow")], max_span=4)

        reading = read(rules, *cut("abcdzz", size))

        assert reading.shown == "abcdzz"
        assert not reading.blocked

    @pytest.mark.parametrize("size", range(1, 6))
    @pytest.mark.parametrize(
        ("rule", "text", "shown"),
        [
            (Rule(2, "a.*b", "regex", action="allow"), "a12bzz", "a12bzz"),
            (Rule(2, "a.*b", "regex", action="allow"), "a123bzz", "a123•zz"),
            (Rule(2, "a.*b", "regex", action="allow"), "aa12bzz", "aa12bzz"),
            (Rule(2, "1b|1bz", "regex", action="allow"), "1bz", "1bz"),
            (Rule(2, "b", action="allow", whole_word=True), "bb b", "•• b"),
            (Rule(2, "[b]", "regex", action="allow", whole_word=True), "bb b", "•• b"),
        ],
    )
    def test_an_allow_rule_can_match_up_to_the_longest_match(
        self, rule: Rule, text: str, shown: str, size: int
    ) -> None:
        assert read(RuleSet([Rule(1, "b"), rule], max_span=4), *cut(text, size)).shown == shown

    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    @pytest.mark.parametrize(("kind", "pattern"), [("literal", "a"), ("regex", "[ab]+"), ("regex", "a.?b?")])
    def test_an_allow_rule_for_part_of_an_escape_does_not_exempt_the_character(
        self, kind: Any, pattern: str, size: int
    ) -> None:
        rules = [Rule(1, pattern, kind), Rule(2, "%6", action="allow")]

        assert read(rules, *cut("x %61", size), medium="markdown").shown == "x •"
        assert read([replace(rules[0], action="flag"), rules[1]], "%61", medium="markdown").found

    @pytest.mark.parametrize("size", [1, 2, 3, 6, 100])
    @pytest.mark.parametrize("compare", ["loose", "normal"])
    def test_a_loose_allow_rule_exempts_what_is_read_late(self, compare: Any, size: int) -> None:
        rules = [Rule(1, "a", action="allow", compare="loose"), Rule(2, "a", compare=compare)]
        text = "<a b='%61'> [x](%61 y"

        assert read(rules, *cut(text, size), medium="markdown").shown == text

    def test_overlapping_allow_matches_keep_their_own_beginnings(self) -> None:
        rules = RuleSet([Rule(1, "b"), Rule(2, "(?:(?:b)*|ba)(?:[ab]|a)a[bc]", "regex", action="allow")], max_span=4)

        assert read(rules, *"acbbccabbaabbb").shown == "ac••cca•baab••"

    @pytest.mark.parametrize("size", range(1, 4))
    def test_of_two_allow_matches_with_one_beginning_the_longer_applies(self, size: int) -> None:
        rules = [Rule(1, "bc"), Rule(2, "ab", action="allow"), Rule(3, "abc", action="allow")]

        assert read(rules, *cut("abcx", size)).shown == "abcx"

    @pytest.mark.parametrize("size", range(1, 4))
    def test_a_certain_block_applies_before_one_that_needs_the_next_character(self, size: int) -> None:
        word, letter = Rule(1, "ab", action="block", whole_word=True), Rule(2, "b", action="block")

        reading = read([word, letter], *cut("ab ", size))

        assert reading.shown == "a"
        assert reading.blocked == Hit(letter, 1, 2)

    @pytest.mark.parametrize("size", range(1, 4))
    def test_of_two_blocks_with_the_same_word_the_one_that_is_certain_first_applies(self, size: int) -> None:
        folded = Rule(1, "a", action="block", whole_word=True)
        exact = Rule(2, "A", action="block", whole_word=True, compare="exact")

        assert read([folded, exact], *cut("A\u200b b", size)).blocked == Hit(exact, 0, 1)

    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    def test_a_reference_in_what_turns_out_to_be_no_link_is_held(self, size: int) -> None:
        assert read([Rule(1, "a")], *cut("[b](&#97; c d", size), medium="markdown").shown == "[b](• c d"

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("[a [b](c)](xd[ar](<a\\>)b>)n", "[a [b](c)](x•[••](<a\\>)b>)•"),
            ("[a [b](c)](<d[ar](x>)n", "[a [b](c)](<•[••](x>)•"),
            ("[a [b](c)](x 'd[ar](y')n", "[a [b](c)](x '•[••](y')•"),
            ("`[`](xd[ar](<a\\>)b>)n", "`[`](x•[••](<a\\>)b>)•"),
            ('<a b="d[ar](y">)n', '<a b="•[••](y">)•'),
            ("<!-- d[ar](x-->)n", "<!-- •[••](x-->)•"),
            ("<ab:d[ar](x>)n", "<ab:•[••](x>)•"),
            # Links hold no links, so what follows the brackets around one is text, with links after it.
            ("[a [b](c)](xd[a](<a\\>)b>)[r](x)n", "[a [b](c)](x•[•](<a\\>)b>)[•](x)•"),
            ("[a [b](c)](x '[[a [b](c)](darn)](a\\)b)')", "[a [b](c)](x '[[a [b](c)](••••)](a\\)b)')"),
            ("<!-- [a [b](c)](x 'da**rn**')-->", "<!-- [a [b](c)](x '••**••**')-->"),
            # An image in what may be a tag is text until it is complete.
            ('[<a b="![a](<da&#114;n>)">](a', '[<a b="![a](<••••>)">](a'),
            ("$$[b](<d_ar_n>)$$", "$$[b](<•_••_•>)$$"),
            ("<a b='[zorp](x)<darn@e.f>'", "<a b='[zorp](x)<••••@e.f>'"),
        ],
    )
    def test_a_link_counts_that_ends_beyond_what_is_shown_as_text_around_it(
        self, text: str, shown: str, size: int
    ) -> None:
        assert read([Rule(1, "darn")], *cut(text, size), medium="markdown").shown == shown

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
    @pytest.mark.parametrize(
        ("rule", "text", "shown"),
        [
            (Rule(1, "so bad"), "so<br>[b](x)ad", "•••[•](x)••"),
            (Rule(1, "so bad"), "so\\\n[b](x)ad", "••\\•[•](x)••"),
            (Rule(1, "so bad"), "[so](x)<BR />*b*ad", "[••](x)•*•*••"),
            (Rule(1, "bad", whole_word=True), "so<br>[b](x)ad", "so<br>[•](x)••"),
            (Rule(1, r"so\s+bad", "regex"), "so<br>[b](x)ad", "•••[•](x)••"),
            (Rule(1, r"\bbad", "regex"), "so\\\n![b](x)ad", "so\\\n![•](x)••"),
            (Rule(1, "bad"), "[%62](x)ad", "[•](x)••"),
            (Rule(1, "bad"), r"[b](x)\u0061<b>d</b>", "[•](x)•<b>•</b>"),
            (Rule(1, "bad"), "b<b>%61</b>[d][1]", "•<b>•</b>[•][1]"),
            (Rule(1, "bad"), "$$b$$%61[d](x)", "$$•$$•[•](x)"),
            # Only what stands for the word is a code, and only what is between letters is hidden.
            (Rule(1, "bad"), "%6[b](x)ad 5%6d[b](x)ad", "%6[•](x)•• 5%6d[•](x)••"),
        ],
    )
    def test_line_breaks_and_codes_are_read_beside_links(self, rule: Rule, text: str, shown: str, size: int) -> None:
        assert read([rule], *cut(text, size), medium="markdown").shown == shown

    @pytest.mark.parametrize("begin", ["$$", "\\(", "\\[", "[x](y)$$"])
    @pytest.mark.parametrize("word", ["%64a_{rn}", r"\u0064a_{rn}", "d%61^{rn}"])
    def test_codes_are_read_in_a_formula_that_begins_in_an_earlier_piece(self, begin: str, word: str) -> None:
        whole = read([Rule(1, "darn")], begin + word, medium="markdown").shown

        assert "•" in whole
        for at in range(1, len(begin + word)):
            text = begin + word
            assert read([Rule(1, "darn")], text[:at], text[at:], medium="markdown").shown == whole

    @pytest.mark.parametrize("size", [1, 7, 100, 999])
    def test_codes_are_read_beside_a_link_that_is_too_long_to_be_held(self, size: int) -> None:
        text = f"[%64a](x{'y' * 5_000})rn z"
        whole = read([Rule(1, "darn")], text, medium="markdown").shown

        assert read([Rule(1, "darn")], *cut(text, size), medium="markdown").shown == whole

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
    def test_a_tag_that_stands_for_a_line_break_is_held(self, size: int) -> None:
        assert read([Rule(1, r"\sa", "regex")], *cut("b<br>a", size), medium="markdown").shown == "b••"

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
    @pytest.mark.parametrize("hidden", ["[](a'b)", "<!--a'b-->"])
    def test_a_match_that_grew_beyond_the_limit_ends_at_words_that_a_page_hides(self, hidden: str, size: int) -> None:
        rules = RuleSet([Rule(1, "a.*b", "regex", "replace", "x")], max_span=4)
        shown = hidden.replace("a'b", "x")

        assert read(rules, *cut(f"a 'b*c*{hidden}de", size), medium="markdown").shown == f"x**{shown}de"

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 100])
    def test_a_block_is_known_once_a_letter_follows_that_is_open_itself(self, size: int) -> None:
        rule = Rule(1, "a[^é]", "regex", "block")

        reading = read([rule], *cut(r"\u0061sa<", size), medium="markdown")

        assert (reading.shown, reading.blocked) == ("", Hit(rule, 0, 7))

    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    def test_the_rest_of_a_match_in_json_that_grew_beyond_the_limit_is_removed(self, size: int) -> None:
        rules = RuleSet([Rule(1, "a.*b", "regex", "replace", "x", compare="exact")], max_span=4)

        assert read(rules, *cut("a 'b62, 7", size), medium="json").shown == '"x" ••, '

    @pytest.mark.parametrize("size", [1, 2, 3, 5])
    def test_a_mark_after_a_space_goes_with_the_rest_of_a_match_that_grew_beyond_the_limit(self, size: int) -> None:
        rule_set = RuleSet([Rule(1, "a.*b", "regex", "replace", "R")], max_span=4)

        assert read(rule_set, *cut("aaab \u0306xab", size)).shown == "R"

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
    @pytest.mark.parametrize("more", ["\\ud83d\\ude00x", "\\u0041\\n", "\\ux", '\\\\ \\"', "\\", ", true", ": 12"])
    def test_the_rest_of_an_exact_match_in_json_is_masked_alike_in_every_cut(self, more: str, size: int) -> None:
        rules = [Rule(1, "a.*b", "regex", compare="exact"), Rule(2, "4.n", "regex", "block", compare="exact")]

        for kept in (rules[:1], rules):
            for quote in ("", '"'):
                text = f"{quote}a 'b'){more}"
                check_against_the_oracle(kept, "json", cut(text, size))

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("<ab:a>\u0302>", "<••••>\u0302•"),
            ("ab\u0e35$\\\n\u0301>", "••••\\\n\u0301•"),
            ("abxy*z<<b", "••••*••••"),
            ("abxyz**<<b", "•••••RR<<b"),
            ("<ab:a>xyz", "<••••Ryz"),
            ("<ab:a>-xy", "<••••>•••"),
            ("<ab:a>\\", "<••••>•"),
            ("abxy*z*bomb", "••••*•*"),
        ],
    )
    def test_a_match_beyond_the_limit_goes_on_after_signs_unless_they_are_matches_of_their_own(
        self, text: str, shown: str
    ) -> None:
        rules = [Rule(1, "a(b.*)", "regex"), Rule(2, "bomb", action="block")]
        rules += [Rule(n, word, action="replace", replacement="R" * (n - 2)) for n, word in ((3, ">x"), (4, "**"))]

        cuts = [[text], list(text), *([text[:at], text[at:]] for at in range(1, len(text)))]
        check_against_the_oracle(rules, "markdown", *cuts)
        assert read(compiled(rules), text, medium="markdown").shown == shown

    @pytest.mark.parametrize("overflow", ["pass", "match"])
    @pytest.mark.parametrize("compare", ["normal", "exact"])
    @pytest.mark.parametrize(
        "pattern",
        [r"a.{3}\b", "a.{3}$", "(a.{3})(?=b)", r"\ba.*\b", r"(?<!x)a.*\B", "(?m)a.*$", "ab.*(?!x)", "a[^x]*\\b"],
    )
    @pytest.mark.parametrize(
        "text", ["abab", "aab a", "aabbxx", "xab1<b>", "ab, b a", "abb\na", "aabbx", "a1\\d\\", "\\u0061b.b"]
    )
    def test_a_match_as_long_as_the_limit_waits_for_the_character_after_it(
        self, text: str, pattern: str, compare: Any, overflow: Any
    ) -> None:
        rule = Rule(1, pattern, "regex", compare=compare, overflow=overflow)
        rules = RuleSet([replace(rule, action=action) for action in ("mask", "flag")], max_span=4)

        whole = read(rules, text, medium="markdown")
        for size in (1, 2, 3):
            reading = read(rules, *cut(text, size), medium="markdown")
            assert (reading.shown, sorted(reading.found, key=str)) == (whole.shown, sorted(whole.found, key=str))

    @pytest.mark.parametrize("medium", ["plain", "markdown"])
    def test_a_match_as_long_as_the_limit_is_complete_with_the_character_after_it(self, medium: Medium) -> None:
        rules = RuleSet([Rule(1, r"a.{3}\b", "regex")], max_span=4)

        reading = read(rules, *"abcd", finish=False, medium=medium)
        assert (reading.shown, reading.moderator.held) == ("", 4)
        reading.feed(" ")
        assert reading.shown == "•••• "
        assert read(rules, *"abcde").shown == "abcde"

    def test_a_code_after_a_match_beyond_the_limit_that_was_read_through_codes_is_one_letter(self) -> None:
        rules = RuleSet([Rule(1, "a.*b", "regex")], max_span=4)

        for pieces in (["a%61ab1<é%61b"], ["a%61ab1<é", "%61b"], list("a%61ab1<é%61b")):
            assert read(rules, *pieces, medium="markdown").shown == "•••••••••"

    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    @pytest.mark.parametrize("text", ["&#97;\u0e33 ", "a\u0e33", "a\u0e33b", "xa\u0e2b\u0e35\u0e35 b"])
    def test_blocks_that_one_letter_of_two_symbols_decides_are_known_together(self, text: str, size: int) -> None:
        rule = Rule(1, r"(a|b)\b.?", "regex", "block", group=1)

        check_against_the_oracle([rule], "markdown", cut(text, size))

    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    def test_a_joiner_goes_with_the_rest_of_a_match_that_grew_beyond_the_limit(self, size: int) -> None:
        rules = RuleSet([Rule(1, "a.*b", "regex", action="replace", replacement="x")], max_span=4)

        assert read(rules, *cut("a 'b[(\u200d", size), medium="markdown").shown == "x["

    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    @pytest.mark.parametrize("before", ["<!--", "<!--b", "[x](", "[x](<b", "<a b='"])
    def test_a_line_break_in_what_a_page_could_hide_is_held(self, before: str, size: int) -> None:
        rule = Rule(1, r"\sa", "regex")

        assert read([rule], *cut(f"{before}<br>a", size), medium="markdown").shown == f"{before}••"

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
    def test_a_block_in_what_turns_out_to_be_no_link_is_known_no_earlier(self, size: int) -> None:
        rules = [Rule(1, "da", action="block"), Rule(2, "a ", action="block", compare="exact")]

        assert read(rules, *cut("[b](d*a x y", size), medium="markdown").shown == "[b](d*"

    def test_a_flag_is_found_before_a_block_that_ends_the_text(self) -> None:
        flag, block = Rule(1, "ab", action="flag"), Rule(2, "bomb", action="block")

        assert read([flag, block], "ab bomb").found == [(flag, 0, 2), (block, 3, 7)]

    def test_a_block_that_needs_the_next_character_waits_for_it_beside_one_that_is_exempted(self) -> None:
        words = [Rule(1, "[b]", "regex", "block", whole_word=True), Rule(2, "[a]ss", "regex", "block", whole_word=True)]

        assert read([*words, Rule(3, "b", action="allow")], "b ass", "ess").shown == "b assess"

    @pytest.mark.parametrize("size", [1, 2, 3])
    @pytest.mark.parametrize("kind", ["literal", "regex"])
    def test_a_whole_word_ends_before_a_letter_that_is_undecided(self, kind: Any, size: int) -> None:
        rule = Rule(1, "ab", kind, whole_word=True)

        assert read([rule], *cut("abか ab", size)).shown == "••か ••"
        assert read([replace(rule, action="block")], *cut("x abか", size)).shown == "x "

    def test_a_flag_is_found_inside_a_match(self) -> None:
        mask, flag = Rule(1, "abcd"), Rule(2, "bc", action="flag")

        assert sorted(read([mask, flag], "xabcdx").found, key=str) == [(mask, 1, 5), (flag, 2, 4)]


class TestChoice:
    @pytest.mark.parametrize("size", range(1, 8))
    def test_the_leftmost_and_then_the_longest_match_applies(self, size: int) -> None:
        rules = [Rule(1, "bc", action="drop"), Rule(2, "ab"), Rule(3, "abcd", action="replace", replacement="!")]

        assert read(rules, *cut("abcd abc", size)).shown == "! ••c"

    @pytest.mark.parametrize("size", range(1, 4))
    def test_a_word_applies_if_a_longer_one_around_it_does_not_match(self, size: int) -> None:
        rules = [Rule(1, "abcd"), Rule(2, "b"), Rule(3, "bc", whole_word=True)]

        assert read(rules, *cut("ab", size)).shown == "a•"
        assert read(rules, *cut("abc", size)).shown == "a•c"
        assert read(rules, *cut("abx", size)).shown == "a•x"

    @pytest.mark.parametrize("size", range(1, 7))
    def test_a_whole_word_is_held_even_if_it_begins_inside_a_failed_match(self, size: int) -> None:
        rules = [Rule(1, "a-b", whole_word=True), Rule(2, "b c", whole_word=True)]

        assert read(rules, *cut("xa-b c", size)).shown == "xa-•••"

    def test_of_two_words_in_one_character_the_older_rule_applies(self) -> None:
        first = Rule(1, "f")

        for text in ("ﬁ", "ﬁx"):
            assert read([first, Rule(2, "fi", action="drop")], text).found == [(first, 0, 1)]

    def test_a_word_of_any_length_is_searched_without_recursion(self) -> None:
        rules = RuleSet([Rule(1, "a" * 4000)], max_span=4096)

        assert read(rules, "a" * 3999, "b").shown == "a" * 3999 + "b"

    def test_for_one_text_the_higher_priority_and_then_the_older_rule_applies(self) -> None:
        first, second = Rule(1, "ab"), Rule(2, "AB", action="drop")
        urgent = Rule(3, "a[b]", "regex", action="replace", replacement="!", priority=1)

        assert read([first, second], "ab").found == [(first, 0, 2)]
        assert read([first, second, urgent], "ab").found == [(urgent, 0, 2)]


class TestHoldBack:
    @pytest.mark.parametrize(
        ("rules", "text", "held"),
        [
            ([Rule(1, "darn")], "oh da", 2),
            ([Rule(1, "darn")], "oh dax", 0),
            ([Rule(1, "darn")], "oh d", 1),
            ([Rule(1, "darn"), Rule(2, "darning")], "oh darn", 4),
            ([Rule(1, "darn"), Rule(2, "arnold")], "oh darn", 0),
            ([Rule(1, "darn", action="flag")], "oh dar", 0),
            ([Rule(1, "darn", action="allow")], "oh dar", 0),
            ([Rule(1, "ass"), Rule(2, "assess", action="allow")], "an ass", 3),
            ([Rule(1, "ass", whole_word=True)], "cla", 0),
            ([Rule(1, "ass", whole_word=True)], "an ass", 3),
            ([Rule(1, "c++", whole_word=True)], "c++", 0),
            ([Rule(1, r"a.*b", "regex")], "xa" + "y" * 100, 101),
            ([Rule(1, r"a.*b", "regex")], "xa" + "y" * 5000, 0),
            ([Rule(1, r"a.{5}b", "regex")], "a12345", 6),
            ([Rule(1, r"a.{5}b", "regex")], "a123456", 0),
        ],
    )
    def test_no_character_is_held_longer_than_necessary(self, rules: list[Rule], text: str, held: int) -> None:
        for size in (1, 2, 3, len(text)):
            assert read(rules, *cut(text, size), finish=False).moderator.held == held

    def test_text_is_released_when_the_longest_match_can_no_longer_reach_it(self) -> None:
        rules = RuleSet([Rule(1, "a.*bcd", "regex")], max_span=10)

        assert read(rules, "a" + "y" * 6, finish=False).moderator.held == 7
        assert read(rules, "a" + "y" * 7, finish=False).moderator.held == 0


ONE_CHARACTER = (
    "look-around may look at one character only; write a class, as in (?![0-9]), or an allow rule for what is not to "
    "be matched."
)
NO_REFERENCES = "a back-reference is not possible in a stream; write out what it repeats."


class TestRefusals:
    @pytest.mark.parametrize(
        ("pattern", "sentence"),
        [
            ("a(", "At character 2: the ( is not closed."),
            ("a)", "At character 2: the ) closes nothing."),
            ("a[b", "At character 2: the [ is not closed."),
            ("*a", "At character 1: there is nothing that * could repeat; write \\*."),
            ("a{3,1}", "At character 2: {3,1} counts backwards."),
            ("a{5000}", "At character 2: {5000} repeats more than 4,096 times."),
            ("[z-a]", "At character 2: the range z-a runs backwards."),
            ("a\\", "At character 2: a \\ at the end escapes nothing."),
            ("\\q", "At character 1: \\q is not known."),
            ("x(?=ab)", f"At character 2: {ONE_CHARACTER}"),
            ("(?<!a.)b", f"At character 1: {ONE_CHARACTER}"),
            ("(a)\\1", f"At character 4: {NO_REFERENCES}"),
            ("(?P<x>a)(?P=x)", f"At character 9: {NO_REFERENCES}"),
            (
                "a++",
                "At character 3: the longest match counts, so possessive repetition is not known; leave out this +.",
            ),
            ("(?>a)", "At character 1: the longest match counts, so (?> is of no use; write (?: instead."),
            ("(?-i)a", "At character 1: (?-i) is for rules that are compared exactly: make it such a one."),
            ("[\u200b]", "At character 1: the class has only characters that are not compared; make the rule exact."),
            ("a?", "It matches the empty text, which is everywhere; let it need one character at least."),
            ("a{0}", "It matches nothing but the empty text."),
            (
                ".*a",
                "It begins with an unbounded gap, so all text would be held back; leave the gap out: a match may begin "
                "anywhere.",
            ),
            (
                "(?:b|[^x]*a)",
                "It begins with an unbounded gap, so all text would be held back; leave the gap out: a match may begin "
                "anywhere.",
            ),
            ("a{4096}b", "Its shortest match has 4,097 characters; a match has at most 4,096."),
            ("((a{100}){100}){100}", "At character 1: the repetitions multiply to too many characters."),
            ("(?:a?){4096}b", "It can go on in too many ways: let less of it be optional inside a repetition."),
            ("(" * 101 + "a" + ")" * 101, "At character 101: the groups are nested more than 100 deep."),
        ],
    )
    def test_name_the_error_in_a_regular_expression_and_its_position(self, pattern: str, sentence: str) -> None:
        rule = Rule("mine", pattern, "regex")

        with pytest.raises(RuleError) as refusal:
            RuleSet([Rule(1, "good"), rule])

        assert str(refusal.value) == sentence
        assert refusal.value.rule == rule

    @pytest.mark.parametrize(
        ("rule", "sentence"),
        [
            (Rule(1, ""), "The pattern is empty."),
            (Rule(1, "\u0301\u200b"), "The pattern has only marks and invisible characters, which are not compared."),
            (Rule(1, "a" * 4097), "The pattern is 4,097 characters long; a match has at most 4,096."),
            (
                Rule(1, "a+", "regex", compare="loose"),
                "Loose is for words and phrases; in a regular expression write classes, as in [a4@].",
            ),
            (
                Rule(1, "a", group=1),
                "“Acts on”, “Check” and “When a match gets too long” (group, check, overflow) are for "
                "regular expressions.",
            ),
            (Rule(1, "a", "regex", group=1), "There is no group in it: put what is to be acted on in ( and )."),
            (
                Rule(1, "a", "regex", check="sum"),
                "The check is 'sum'; it may be luhn, iban, cn_id, entropy, or entropy:3.5 and the like.",
            ),
            (Rule(1, "a", "glob"), "The kind is 'glob'; it may be literal, regex."),
            (Rule(1, "a", action="zap"), "The action is 'zap'; it may be mask, replace, drop, block, flag, allow."),
        ],
    )
    def test_name_the_error_in_a_rule(self, rule: Rule, sentence: str) -> None:
        with pytest.raises(RuleError) as refusal:
            compile_rule(rule)

        assert str(refusal.value) == sentence

    def test_a_match_that_would_be_too_long_is_a_warning(self) -> None:
        rule = Rule(1, "a.*b", "regex")

        ((warned, remark),) = RuleSet([rule]).warnings
        assert (warned, str(remark)) == (rule, "A match is cut at 4,096 characters.")
        assert RuleSet([Rule(1, "a.{3}b", "regex")]).warnings == []


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("pattern", "text", "shown"),
    [
        (r"\d+", "a1 23 ４", "a• •• •"),
        (r"\D", "1a2", "1•2"),
        (r"[^\d\s]", "1 a", "1 •"),
        (r"[[:alpha:]]+!", "Ab! 1!", "••• 1!"),
        (r"[[:^digit:]x]", "1x2", "1•2"),
        (r"\p{Han}{2}", "中文字a中a", "••字a中a"),
        (r"\pN", "a1②", "a••"),
        (r"[a\-c]", "abc-", "•b••"),
        (r"[]x]", "]yx", "•y•"),
        (r"a\.b\x41\x{42}", "a.bab a.bAB axbab", "••••• ••••• axbab"),
        (r"\Qa.b*\E+", "a.b** a.b", "••••• a.b"),
        (r"\Qab\E+", "abbb abab", "•••• ••••"),
        (r"(?i)É", "e é É", "e • •"),
        (r"x{2", "x{2", "•••"),
        (r"a{2}b{1,2}c{0,1}d", "aabbd aabcd aabccd", "••••• ••••• aabccd"),
        (r"(?P<name>a|b)(c)?(?:d)", "acd bd cd", "••• •• cd"),
        (r"a.b", "a\nb acb", "a\nb •••"),
        (r"(?s)a.b", "a\nb", "•••"),
        (r"a+?b*?c", "aabbc", "•••••"),
        (r"東|京都", "东 京都", "• ••"),
        (r"ﬁ", "fi FI", "•• ••"),
    ],
)
def test_regular_expressions_have_re2_syntax(pattern: str, text: str, shown: str, size: int) -> None:
    assert read([Rule(1, pattern, "regex")], *cut(text, size)).shown == shown


CASES = json.loads((Path(__file__).parent / "cases" / "moderation.json").read_text("utf-8"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("case", [case for case in CASES if case["want"]], ids=lambda case: case["name"])
def test_text_is_moderated_as_a_person_sees_it(case: dict[str, Any], size: int) -> None:
    rules = RuleSet([Rule(number, **rule) for number, rule in enumerate(case["rules"])])

    assert read(rules, *cut(case["text"], size), medium=case["medium"]).shown == case["want"]


def test_a_word_with_tatweel_is_masked_completely() -> None:
    (case,) = [case for case in CASES if not case["want"]]

    assert set(read([Rule(1, **case["rules"][0])], case["text"], medium=case["medium"]).shown) == {"•"}


@st.composite
def rule_strategy(draw: st.DrawFn, actions: list[str]) -> Rule:
    kind = draw(st.sampled_from(["word", "word", "regex", "look", "group", "loose"]))
    patterns = {"word": WORDS, "regex": REGEXES, "look": LOOKS, "group": GROUPS, "loose": LOOSE}[kind]
    compare = "loose" if kind == "loose" else draw(st.sampled_from(["normal", "normal", "normal", "exact"]))
    return Rule(
        draw(st.integers(1, 9)),
        draw(st.sampled_from(patterns)),
        "literal" if kind in ("word", "loose") else "regex",
        draw(st.sampled_from(actions)),  # type: ignore[arg-type]
        draw(st.sampled_from(["", "<R>", 'q"'])),
        draw(st.sampled_from([False, False, True])),
        priority=draw(st.integers(0, 1)),
        compare=compare,
        group=draw(st.sampled_from([0, 1, 1])) if kind == "group" else 0,
        check=draw(st.sampled_from(["", "", "", "entropy:0.9"])) if kind in ("regex", "group") else "",
    )


WORDS = [
    *(
        "a",
        "ab",
        "ba",
        "bs",
        "a b",
        "aba",
        "sa",
        "é",
        "bé",
        "e",
        "мой",
        "и",
        "й",
        "ば",
        "はb",
        "愛a",
        "ss",
        "ß",
        "ıb",
        "ib",
        "a*b",
    ),
    *(
        "a_b",
        "&",
        "[a]",
        "a-b",
        "b<",
        "가",
        "각",
        "éa",
        "_a",
        "fi",
        ">",
        "a>",
        "ห",
        "หี",
        "ี",
        "x\u0302",
        "1",
        "9a",
        "!a",
        "é é",
        "ộ",
        "aộ",
        "ำ",
        "หำ",
        "\u0302b",
        "\u0651",
        "\u0e38",
        "า",
        "(a",
        "a)",
    ),
]
REGEXES = [
    *(
        "a.?b",
        "[ab]s",
        "a+b?",
        "[^a]b",
        "a b",
        "\\ws",
        "(?:ab|b)a",
        "e[ab]",
        "b[*]a",
        "a\\s+b",
        "\\sa",
        "[éa]b",
        "a[^é]",
        "[가-힣]a",
    ),
    *("[ば]", "x[îx\u0302]?", "\\d", "[^\\s]9", "(?i)aB", "(?s)a.b", "[ก-๛]{2}", "a.*b", "(?:a|b)+s"),
]
LOOKS = [
    *(
        "\\ba",
        "a\\b",
        "\\bab?\\b",
        "a\\Bb?",
        "^a",
        "a$",
        "(?m)^b",
        "b(?m)$",
        "(?<![a-z])b",
        "b(?![a-z])",
        "(?<=a)b",
        "a(?=b)",
    ),
    *(
        "a\\b.b",
        "(?:^|\\s)a",
        "a(?:\\s|$)",
        "(?:\\ba|b\\b)+",
        "(?:a\\b|b)s?",
        "\\Bb\\B",
        "(?<=[ab])b(?=a|$)",
        "(?:\\b|-)a.?\\b",
    ),
]
GROUPS = [
    *("(a)b", "a(b+)", "[ab](.a)", "b(a?)s", "(?:a|(b))s", "a(b.*)", "(a+)b*", "a(.{2})", "a.*(b)", "(?:(a)|b)b?"),
    *("\\b(a)b", "(?<=a)b(a)|(b)a", "a(b)(?=s)|(a)b", "(a|b)\\b.?", "(?:\\b|s)(a.?)", "a(?:(b)|.)s?", "(a.??)b?"),
]
LOOSE = ["ab", "bass", "as", "ba", "sa", "éa", "爱a", "i1"]
ACTIONS = ["mask", "replace", "drop", "block", "flag", "allow", "mask", "mask"]
FRAGMENTS = [
    *'aabbs -A_*~`\\&#9;[]()<>/! \n%{}",:1',
    *(
        "ab",
        "é",
        "e\u0301",
        "\u0301",
        "и\u0306",
        "й",
        "и",
        "ß",
        "は",
        "\u3099",
        "バ",
        "ﾊﾞ",
        "爱",
        "愛",
        "\u200b",
        "\u200d",
        "🏿",
    ),
    *("%61", "%c3%a9", "&#97;", "&amp;", "&#x62;", "\\u0061", "\\ud83d\\ude00", "[a](b)", "](", "[a](", "<b>", "</b>"),
    *("](<", '](a "', "](a)", "\\(", "\\]", "\\[", "$$", "$", "\\)", "'", "](a 'b')", "$$a_", "a_{b", "^"),
    *(
        "<!--",
        "-->",
        "**",
        "_a",
        "a_b",
        "\\*",
        "\\_",
        "\n> ",
        "  ",
        "ﬁ",
        "가",
        "\u1100\u1161",
        "\u11a8",
        "각",
        "\\x61",
        "\\n",
    ),
    *('\\"', "หี", "ห", "ี", "x\u0302", "![", "][a]"),
    *("ô", "\u0302", "\u0323", "ำ", "\ufe77", "\u0651", "\u0e38", "\u0e48"),
    *(
        "<ab:",
        "<ab:a>",
        "a@b>",
        "<a",
        "<br>",
        "<br/>",
        "<a b='",
        " b=",
        "'>",
        "</a",
        "<?",
        "?>",
        "<!a",
        "\n\n",
        "\\\n",
        "][",
        "](<a",
    ),
    *("true", "null", ": 12", "[-1.5"),
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=9).map("".join)
media = st.sampled_from(["markdown", "markdown", "json", "plain"])
# Text without signs, in which words hit often.
plain_rules = st.lists(
    st.builds(
        Rule,
        st.integers(1, 9),
        st.sampled_from(["a", "ab", "ba", "aba", "bb", "sab", "a b", "éa", "й", "はb", "sss", "as"]),
        st.just("literal"),
        st.sampled_from(["mask", "mask", "replace", "drop", "block", "flag"]),
        st.sampled_from(["", "<R>"]),
        st.sampled_from([False, False, True]),
        priority=st.integers(0, 1),
        compare=st.sampled_from(["normal", "normal", "normal", "exact"]),
    )
    | rule_strategy(["mask", "replace"]),
    min_size=1,
    max_size=3,
)
plain_texts = st.lists(
    st.sampled_from([*"aabbs  " * 4, "é", "e\u0301", "й", "и", "\u0306", "はb", "\u200d", "A*"]), max_size=40
).map("".join)


def compiled(rules: list[Rule]) -> RuleSet:
    """The rule set, with those rules left out that are refused."""
    kept = []
    for rule in rules:
        try:
            compile_rule(rule, oracle.SPAN)
        except RuleError:
            continue
        kept.append(rule)
    if not kept:
        reject()
    return RuleSet(kept, max_span=oracle.SPAN)


def check_against_the_oracle(rules: list[Rule], medium: Medium, *cuts: list[str]) -> None:
    """However a text is cut, the output and the hits are those of the oracle, which has the whole text."""
    rule_set = compiled(rules)
    expected = oracle.moderate(rule_set.rules, "".join(cuts[0]), medium)
    for pieces in cuts:
        reading = Reading(rule_set, medium)
        for piece in pieces:
            if not reading.blocked:
                reading.feed(piece)
        if not reading.blocked:
            reading.finish()

        assert reading.shown == expected.shown, pieces
        assert (reading.blocked is not None) == expected.blocked, pieces
        assert sorted(reading.found, key=str) == sorted(expected.found, key=str), pieces
        assert reading.moderator.held == 0, pieces


def check_that_nothing_is_taken_back(rules: list[Rule], text: str, more: str, medium: Medium) -> None:
    """What has left is the beginning of what the oracle shows, whatever follows."""
    rule_set = compiled(rules)
    reading = read(rule_set, *text, finish=False, medium=medium)
    assert oracle.moderate(rule_set.rules, text + more, medium).shown.startswith(reading.shown)


def in_pieces(text: str, sizes: list[int]) -> list[str]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    return [*pieces, text[at:]]


# Ways to write "hits". A normal rule reads through case, forms of letters, marks, invisible characters, Markdown and
# codes; look-alikes, signs for letters, separators and repeated letters need a loose one, except after the word.
READ_AS_HITS = [
    *("hits", "HITS", "hItS", "ｈｉｔｓ", "ＨＩＴＳ", "𝐡𝐢𝐭𝐬", "𝓱𝓲𝓽𝓼", "𝕙𝕚𝕥𝕤", "ⓗⓘⓣⓢ", "🄷🄸🅃🅂", "ʰⁱᵗˢ", "hitſ"),
    *("hîts", "ḥïţş", "h̸i̸t̸s̸", "h\u0489its", "h\u20ddits", "h\u200bi\u200bt\u200bs", "hi\u00adts", "hi\u2060ts"),
    *("h\u034fits", "hi\ufe0fts", "hi\u2800ts", "hi\U000e0020ts", "hi**ts**", "h*i*t*s*", "hi`t`s", "hi~~t~~s"),
    *("hi<b>ts</b>", "hi<!-- x -->ts", "[hi](x)ts", "![hi](x)ts", "h&#105;ts", "h&#x69;ts", "&lrm;hi&zwj;ts"),
    *("hi\\u0074s", "h\\x69ts", "h%69ts", "\\(hit\\)s", "$$h_i^ts$$", "h\\\nits"),
]
LIKE_HITS = [
    *("h1ts", "h!ts", "h|ts", "hit$", "h1t5", "hi7s", "hi+s", "#its", "hі+ѕ", "һіtѕ", "hitѕ", "нits", "ʜɪᴛꜱ", "🅗🅘🅣🅢"),
    *(
        "h i t s",
        "h.i.t.s",
        "h-i-t-s",
        "h_i_t_s",
        "h/i/t/s",
        "h…i…t…s",
        "h🙂i🙂t🙂s",
        "h--i--t--s",
        "hhhiiits",
        "hitssss",
    ),
]


@pytest.mark.parametrize(("compare", "least"), [("normal", 30), ("loose", 60)])
def test_of_65_spellings_of_a_word_most_are_found(compare: Literal["normal", "loose"], least: int) -> None:
    spellings = [*READ_AS_HITS, *LIKE_HITS]
    assert len(set(spellings)) == 65

    rules = RuleSet([Rule(1, "hits", compare=compare)])
    missed = [
        text for text in spellings if not all(read(rules, *cut(text, n), medium="markdown").found for n in (1, 99))
    ]

    assert missed == ([] if compare == "loose" else LIKE_HITS[:-1])
    assert len(spellings) - len(missed) >= least


LIBERAL = {"deadline": None, "suppress_health_check": list(HealthCheck)}
rule_lists = st.lists(rule_strategy(ACTIONS), min_size=1, max_size=4)
cases = given(rule_lists, texts, st.lists(st.integers(0, 5), max_size=14), media)


@pytest.mark.parametrize("text", ["\u0301%61", ".\u0301\\u0061", "b \u0301&#97;", "\u1100\u1161%61"])
def test_an_escape_after_an_undecided_letter_is_held_until_it_is_complete(text: str) -> None:
    rule = Rule(1, "a", whole_word=True)

    check_against_the_oracle([rule], "markdown", *([text[:at], text[at:]] for at in range(len(text))))


@pytest.mark.parametrize("text", ["e\u0301\u0e35", "e\u0301\u0301\u0e35\u0301", "\u0e35 \u0301\u0e35"])
def test_a_mark_after_released_marks_is_held_while_it_is_undecided(text: str) -> None:
    rules = [Rule(1, "\u0e35", action="allow", whole_word=True), Rule(2, "\u0e35")]

    in_two = [[text[:at], text[at:]] for at in range(len(text))]
    check_against_the_oracle(rules, "plain", list(text), *in_two)


@pytest.mark.parametrize("kind", ["literal", "regex"])
@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        *(("một", "mô\u0323t"), ("ộ", "ô\u0323"), ("ộ", "o\u0302\u0323x"), ("ậ", "xâ\u0323"), ("ặ", "ă\u0323")),
        *(("ṩ", "ṡ\u0323"), ("ợ", "o\u0323\u031b"), ("ạ\u0308", "ä\u0323"), ("ᾆ", "α\u0342\u0345\u0313")),
        ("ש\u05bc\u05c1", "\ufb2a\u05bc"),
    ],
)
def test_a_letter_may_get_its_marks_in_any_order(pattern: str, text: str, kind: Any) -> None:
    word = fold(pattern, accents=True)
    for medium in ("markdown", "json", "plain"):
        for before in ("", "a "):
            check_in_every_cut([Rule(1, word, kind)], before + text, medium)
            check_in_every_cut([Rule(1, word, kind, whole_word=True)], before + text, medium)


@pytest.mark.parametrize("text", ["หำ", "หำ ห", "ห ำ", "หำา"])
def test_a_character_of_two_symbols_counts_once_where_a_class_has_it(text: str) -> None:
    for whole_word in (False, True):
        check_in_every_cut([Rule(1, "[ก-๛]{2}", "regex", whole_word=whole_word)], text, "plain")
    assert read([Rule(1, "[ก-๛]{2}", "regex", whole_word=True)], "หำ").shown == "••"


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize(
    ("pattern", "text", "is_found"),
    [
        *(("ท", "ทำ", False), ("ขย", "ขยำ", False), ("ທ", "ທຳ", False), ("บ", "บ\ufe77", True)),
        *(("ทำ", "ทำ", True), ("น\u0e4dา", "นำ", True), ("น้ำ", "น้ำ", True), ("น้", "น้ำ", False)),
        *(("بّ", "بّ\ufe77", False), ("ب\u064e", "ب\ufe77", True), ("ب\u064e\u0651", "بّ\ufe77", True)),
    ],
)
def test_a_character_that_begins_with_a_mark_belongs_to_the_letter_before_it(
    pattern: str, text: str, whole_word: bool, is_found: bool
) -> None:
    rule = Rule(1, pattern, whole_word=whole_word)
    for whole in (text, f"{text} a", f"a {text}"):
        check_in_every_cut([rule], whole, "plain")
        check_in_every_cut([replace(rule, action="block")], whole, "markdown")
        assert bool(read([rule], whole).found) is is_found


@pytest.mark.parametrize("kind", ["literal", "regex", "loose"])
@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        *(("\u0651ي", "aّي"), ("\u0651ي", "aَّي"), ("\u0302b", "ôb"), ("\u0302b", "ô\u0302b")),
        *(
            ("\u0301b", "a\u0651\u0301b"),
            ("ῖb", "α\u0345\u0342b"),
            ("\u0308a", "ab\u0308a"),
            ("\u0e38\u0e48", "ก\u0e48\u0e38"),
        ),
        ("\u0e38", "aก\u0e48\u0e38"),
    ],
)
def test_a_pattern_may_begin_with_a_mark(pattern: str, text: str, kind: str) -> None:
    as_regex = Rule(1, pattern, "regex")
    rule = as_regex if kind == "regex" else Rule(1, pattern, compare="loose" if kind == "loose" else "normal")
    for medium in ("markdown", "json", "plain"):
        check_in_every_cut([rule], text, medium)
        check_in_every_cut([replace(rule, action="block")], text, medium)
    for written in (f"[{text[:-1]}](b){text[-1]}", f"&#{ord(text[0])};{text[1:]}", f"**{text[:-1]}**{text[-1]}"):
        in_two = ([written[:at], written[at:]] for at in range(len(written)))
        check_against_the_oracle([rule], "markdown", list(written), *in_two)


def check_in_every_cut(rules: list[Rule], text: str, medium: Medium) -> None:
    every = itertools.product(("", "|"), repeat=len(text) - 1)
    cuts = ["".join(itertools.chain(*zip(text, (*marks, ""), strict=True))).split("|") for marks in every]
    check_against_the_oracle(rules, medium, *cuts)


@pytest.mark.parametrize("action", ["mask", "drop", "replace"])
@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule(1, r"\d+.\d+", "regex"), '[1.5, -1.5e+3, 1e5, 2, "1.5"]'),
        (Rule(1, "-5"), '{"a": -5}'),
        (Rule(1, 'bc": ?\\d', "regex"), '{"abc": 5}'),
        (Rule(1, '[a-z"]{3,}', "regex"), r'{"a": "he said \"yes\" ok"}'),
        (Rule(1, r"\d{2}", "regex", compare="exact"), r'["\u0041 12", "\u00411"]'),
        (Rule(1, "n", compare="exact"), r'["a\n n"]'),
        (Rule(1, "u00", compare="exact"), r'["\u0041 u00"]'),
        (Rule(1, "x\\", compare="exact"), r'["x\" x\\"]'),
        (Rule(1, '[a-z"]{3,}', "regex", compare="exact"), r'{"a": "he said \"yes\" ok"}'),
        (Rule(1, "true"), '{"a": true, "b": [true]}'),
        (Rule(1, "[a-z]+", "regex"), '[null, false, "a", -1.5e3]'),
        (Rule(1, "e"), '[true, "e", 1e5, 1e-5]'),
        (Rule(1, "[.]", "regex"), '[1.5, "."]'),
        (Rule(1, 'ue, "a', "regex"), '[true, "a"]'),
    ],
)
def test_json_stays_json_whatever_a_rule_matches(rule: Rule, text: str, action: str) -> None:
    rules = [replace(rule, action=action, replacement='a "b"')]
    whole = read(rules, text, medium="json").shown

    json.loads(whole)
    assert whole != text
    for size in (1, 2, 3, 5):
        assert read(rules, *cut(text, size), medium="json").shown == whole
    for at in range(1, len(text)):
        assert read(rules, text[:at], text[at:], medium="json").shown == whole


JSON_VALUES = st.recursive(
    st.sampled_from([True, False, None, 0, 1, 12, -3, 120, 4.5, -0.5, 1e25, "", "a", "ab", "12", 'a"b', "a\\b", "é\n"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["a", "12", "true"]), values),
    max_leaves=5,
)
IN_JSON = ["1", "12", "true", "ull", "a", "ab", "4.5", "-", "0", "e", "null", '"a"', ": 1", "2, 1", "}", "[0"]
IN_JSON_REGEX = ["\\d+", "[a-z]+", "1.2", "\\w+", '"\\w+"', "[0-9.]+", "\\d(\\d)", "e.*", "(?s)[^a]{3}"]
rules_in_json = st.one_of(
    st.builds(Rule, st.just(1), st.sampled_from(IN_JSON), compare=st.sampled_from(["normal", "exact"])),
    st.builds(Rule, st.just(1), st.sampled_from(["a", "ab", "12", "null"]), compare=st.just("loose")),
    st.builds(Rule, st.just(1), st.sampled_from(IN_JSON_REGEX), st.just("regex")),
    st.just(Rule(1, "\\d(\\d)\\d?", "regex", group=1)),
)
# A number is masked digit by digit, so that its length stays, though JSON has no zeros before other digits.
ZEROS_BEFORE_DIGITS = re.compile(r"(?<![\w.+-])(-?)0+(?=\d)")


@settings(max_examples=150, **LIBERAL)
@given(
    JSON_VALUES,
    st.lists(
        st.tuples(rules_in_json, st.sampled_from(["mask", "replace", "drop", "allow"]), st.sampled_from(["", 'a "b"'])),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_generated_json_stays_json(value: object, chosen: list[tuple[Rule, Any, str]], indented: bool) -> None:
    rules = RuleSet([replace(rule, action=action, replacement=with_) for rule, action, with_ in chosen])
    text = json.dumps(value, indent=2 if indented else None)
    whole = read(rules, text, medium="json").shown

    json.loads(ZEROS_BEFORE_DIGITS.sub(r"\1", whole))
    assert read(rules, *text, medium="json").shown == whole
    for at in range(1, min(len(text), 40)):
        assert read(rules, text[:at], text[at:], medium="json").shown == whole


class TestAgainstTheOracle:
    @settings(max_examples=1200, **LIBERAL)
    @cases
    def test_fed_in_pieces_gives_the_same_as_the_whole_text(
        self, rules: list[Rule], text: str, sizes: list[int], medium: Medium
    ) -> None:
        check_against_the_oracle(rules, medium, in_pieces(text, sizes))

    @settings(max_examples=400, **LIBERAL)
    @given(rule_lists, texts, media)
    def test_fed_by_character_gives_the_same_as_the_whole_text(
        self, rules: list[Rule], text: str, medium: Medium
    ) -> None:
        check_against_the_oracle(rules, medium, list(text))

    @pytest.mark.parametrize("text", ["!a", "!a x", "so !a", "!ab", "!ab."])
    @pytest.mark.parametrize("medium", ["plain", "markdown"])
    def test_a_block_counts_that_is_only_known_after_the_word_around_it(self, text: str, medium: Medium) -> None:
        rules = [
            Rule(1, "!a", action="drop"),
            Rule(2, "!ab", action="mask"),
            Rule(3, r"\bab?\b", "regex", action="block"),
        ]

        cuts = ([text[:at], text[at:]] for at in range(1, len(text)))
        check_against_the_oracle(rules, medium, [text], list(text), *cuts)

    @settings(max_examples=600, **LIBERAL)
    @given(plain_rules, plain_texts, st.lists(st.integers(1, 9), max_size=9), media)
    def test_text_without_signs_gives_the_same_as_the_whole_text(
        self, rules: list[Rule], text: str, sizes: list[int], medium: Medium
    ) -> None:
        check_against_the_oracle(rules, medium, in_pieces(text, sizes), cut(text, 4), [text])

    @settings(max_examples=300, **LIBERAL)
    @given(rule_lists, texts, texts, media)
    def test_released_text_never_changes(self, rules: list[Rule], text: str, more: str, medium: Medium) -> None:
        rules = [rule for rule in rules if rule.action != "block"]
        assume(rules)
        check_that_nothing_is_taken_back(rules, text, more, medium)

    @pytest.mark.long
    @settings(max_examples=250_000, database=None, **LIBERAL)
    @cases
    def test_a_million_cases(self, rules: list[Rule], text: str, sizes: list[int], medium: Medium) -> None:
        """250,000 rule sets and texts, each cut in four ways."""
        check_against_the_oracle(
            rules, medium, in_pieces(text, sizes), in_pieces(text, sizes[::-1]), [text], list(text)
        )


@settings(max_examples=200, **LIBERAL)
@given(
    st.lists(
        st.builds(
            Rule,
            st.integers(1, 9),
            st.sampled_from(["a", "ab", "abs", "ba", "sa", "a b", "a.b", "[ab]s", "ab+", "a\\b", "a.*s"]),
            st.just("regex"),
            whole_word=st.booleans(),
        ),
        min_size=1,
        max_size=3,
    ),
    st.text(st.sampled_from("abs "), max_size=7),
)
def test_held_text_can_always_become_part_of_a_match(rules: list[Rule], text: str) -> None:
    rule_set = compiled(rules)
    reading = read(rule_set, text, finish=False)
    assume(reading.moderator.held)
    first = len(text) - reading.moderator.held

    for size in range(oracle.SPAN + 1):
        for more in itertools.product("abs ", repeat=size):
            found = read(rule_set, text + "".join(more)).found
            # It ends later, or with the text by what follows; or a match is complete, and waits for one before it.
            if any(start <= first < end for _, start, end in found):
                return
    raise AssertionError(f"{text[first:]!r} of {text!r} need not have been held")


def test_releasing_text_copies_no_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    moderator = Moderator(RuleSet([Rule(1, "damn")]))
    moderator.feed("dam")
    monkeypatch.setattr(Rule, "__deepcopy__", lambda *_: pytest.fail("a rule was copied"), raising=False)

    assert moderator.release() == [Text("dam")]


@settings(max_examples=300, **LIBERAL)
@cases
def test_pieces_that_are_searched_together_are_returned_separately(
    rules: list[Rule], text: str, sizes: list[int], medium: Medium
) -> None:
    rule_set, pieces = compiled(rules), in_pieces(text, sizes)
    together, one_by_one = Moderator(rule_set, medium), Reading(rule_set, medium)
    for piece in pieces:
        if not one_by_one.blocked:
            one_by_one.feed(piece)

    outcomes = together.feed_all(pieces)

    assert len(outcomes) == len(pieces)
    joined = Reading(rule_set)
    for each in outcomes:
        joined._take(each)
    assert joined.shown == one_by_one.shown
    assert together.held == one_by_one.moderator.held
    assert sorted(joined.found, key=str) == sorted(one_by_one.found, key=str)


def test_text_belongs_to_its_piece_and_a_match_to_the_piece_that_ends_it() -> None:
    rule = Rule(1, "darn")

    outcomes = Moderator(RuleSet([rule])).feed_all(["oh ", "da", "rn it", "", " da"])

    assert outcomes == [[Text("oh ")], [], [Hit(rule, 3, 7), Text("••••"), Text(" it")], [], [Text(" ")]]


class TestRulesAddedLater:
    def test_count_at_once_and_those_they_replace_do_not(self) -> None:
        base = RuleSet([Rule(1, "darn"), Rule(2, "heck"), Rule(3, "h[e]ck!", "regex")])

        later = base.extended([Rule(1, "darn", action="drop"), Rule(4, "new", action="block")], removed=[2])

        reading = read(later, *"darn heck heck! new x")
        assert reading.shown == " heck ••••• "
        assert reading.blocked
        assert [rule.id for rule in later.rules] == [3, 1, 4]
        assert read(base, "darn heck").shown == "•••• ••••"

    def test_have_the_priority_that_they_would_have(self) -> None:
        base = RuleSet([Rule(1, "a", priority=2), Rule(2, "b", priority=0)])

        urgent, lazy = Rule(3, "a", action="drop", priority=3), Rule(4, "a", action="drop", priority=1)

        assert read(base.extended([urgent]), "a").shown == ""
        assert read(base.extended([lazy]), "a").shown == "•"

    def test_may_be_flags(self) -> None:
        flagged = RuleSet([Rule(1, "a")]).extended([Rule(2, "b", action="flag")])

        assert [rule.id for rule, _, _ in read(flagged, "ab").found] == [1, 2]


class TestVeryLongMatches:
    KEY = Rule(1, r"BEGIN[\s\S]*?END", "regex")

    @pytest.mark.parametrize("size", [1, 3, 7, 1000])
    def test_are_acted_on_to_their_end_though_they_are_longer_than_a_match_may_be(self, size: int) -> None:
        rules = RuleSet([Rule(1, r"eyJ\w+", "regex")], max_span=8)

        assert read(rules, *cut("a eyJ" + "x" * 50 + " b", size)).shown == "a " + "•" * 53 + " b"

    @pytest.mark.parametrize("size", [1, 3, 7, 1000])
    def test_are_replaced_once(self, size: int) -> None:
        rules = RuleSet([Rule(1, r"eyJ\w+", "regex", action="replace", replacement="[key]")], max_span=8)

        reading = read(rules, *cut("a eyJ" + "x" * 50 + " b", size))

        assert reading.shown == "a [key] b"
        assert [(start, end) for _, start, end in reading.found] == [(2, 10)]

    @pytest.mark.parametrize("size", [1, 3, 7, 1000])
    @pytest.mark.parametrize("end", ["", "END ."])
    def test_count_although_they_have_no_end_if_the_rule_says_so(self, size: int, end: str) -> None:
        text = "x BEGIN" + "a" * 30 + end

        passing = read(RuleSet([self.KEY], max_span=16), *cut(text, size))
        matching = read(RuleSet([replace(self.KEY, overflow="match")], max_span=16), *cut(text, size))

        assert passing.shown == text
        assert matching.shown == "x " + "•" * (len(text) - 2)
        assert [(start, stop) for _, start, stop in matching.found] == [(2, 18)]

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
    @pytest.mark.parametrize(
        ("text", "shown", "block"),
        [
            ("a eyJxxxxx bomb", "a •••••••• ", (11, 15)),
            ("a eyJxxxxxbombxx b", "a ••••••••", (10, 14)),
            ("a eyJxxxxxxxbombxx b", "a ••••••••••", (12, 16)),
            ("a eyJxxxbombxx b", "a ••••••••", (8, 12)),
            ("a eyJxxxxxxxbomx b", "a •••••••••••••• b", None),
        ],
    )
    def test_go_on_no_further_than_a_block(self, text: str, shown: str, block: object, size: int) -> None:
        rules = RuleSet([Rule(1, r"eyJ\w+", "regex"), Rule(2, "bomb", action="block")], max_span=8)

        reading = read(rules, *cut(text, size))

        assert reading.shown == shown
        assert (reading.blocked and (reading.blocked.start, reading.blocked.end)) == block

    def test_go_on_in_the_reading_in_which_they_were_found(self) -> None:
        rules = RuleSet([Rule(1, r"a\*.*b", "regex")], max_span=4)

        assert read(rules, "a* b", "~", medium="markdown").shown == "•••••"

    @pytest.mark.parametrize("size", [1, 3, 7, 1000])
    def test_that_end_in_time_are_as_long_as_they_are(self, size: int) -> None:
        rules = RuleSet([replace(self.KEY, overflow="match")], max_span=16)

        assert read(rules, *cut("x BEGINabcEND y BEGINabc", size)).shown == "x ••••••••••• y BEGINabc"


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("pattern", "text", "shown"),
    [
        (r'key: "(\w{4})"', 'key: "abcd"', 'key: "••••"'),
        (r"key.{0,9}?(\d{2,8})", "key = 12345678", "key = ••••••••"),
        (r"key.{0,9}(\d{2,8})", "key = 12345678", "key = 123456••"),
        (r"(?:a|(b))c", "ac bc", "•• •c"),
        (r"\bid=(\w+)\b", "id=ab x", "id=•• x"),
        (r"(a)(b)", "ab", "•b"),
    ],
)
def test_a_rule_may_act_on_its_first_group_only(pattern: str, text: str, shown: str, size: int) -> None:
    assert read([Rule(1, pattern, "regex", group=1)], *cut(text, size)).shown == shown


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("check", "pattern", "text", "shown"),
    [
        ("luhn", r"card: (\d{16})", "card: 4111111111111111", "card: ••••••••••••••••"),
        ("luhn", r"card: (\d{16})", "card: 4111111111111112", "card: 4111111111111112"),
        ("iban", r"IBAN[: ]+([A-Z]{2}\d{20}) *;?", "IBAN: DE89370400440532013000 ;", f"IBAN: {'•' * 22} ;"),
        (
            "cn_id",
            r"\bid=(\d{17}[\dXx])\b",
            "id=11010519491231002X id=110105194912310021",
            "id=•••••••••••••••••• id=110105194912310021",
        ),
        # The text beside the secret has more entropy than the secret.
        (
            "entropy:2",
            r"xyzuvwrst=(\w{8})",
            "xyzuvwrst=aaaabbbb xyzuvwrst=abcdefgh",
            "xyzuvwrst=aaaabbbb xyzuvwrst=••••••••",
        ),
        # Of the ends whose group passes, the last one.
        ("luhn", r"n(\d+)x*", "n18xx n181", "n••xx n••1"),
        # A group that is not part of the match: then the match is checked.
        ("entropy:1", r"(?:a|(b+))cd", "acd bbcd", "••• bbcd"),
    ],
)
def test_a_rule_that_acts_on_its_group_checks_the_group(
    check: str, pattern: str, text: str, shown: str, size: int
) -> None:
    assert read([Rule(1, pattern, "regex", group=1, check=check)], *cut(text, size)).shown == shown


def test_each_rule_checks_its_own_group() -> None:
    rules = [
        Rule(1, r"(n)=\d{2}", "regex", "drop", group=1, check="luhn"),
        Rule(2, r"n=(\d{2})", "regex", "mask", group=1, check="luhn"),
    ]

    assert read(rules, *"n=18 n=19").shown == "n=•• n=19"


def test_the_group_is_that_of_the_rule_that_counts() -> None:
    rules = [Rule(1, "(?<=x)a(b)c", "regex", group=1), Rule(2, "(a)bc", "regex", group=1)]

    assert read(rules, *"xabc abc").shown == "xa•c •bc"


@pytest.mark.parametrize("text", ["abc", "abd", "ab"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_group_is_on_the_way_that_what_follows_allows(text: str, size: int) -> None:
    shown = {"abc": "•bc", "abd": "••d", "ab": "••"}

    assert read([Rule(1, "(a)b(?=c)|ab", "regex", group=1)], *cut(text, size)).shown == shown[text]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("pattern", "text", "shown"),
    [("(?<=x)(a)b|ab", "ab xab", "•• x•b"), ("(a)b$|ab", "ab ab", "•• •b")],
)
def test_the_group_is_on_the_way_that_what_stands_beside_it_allows(
    pattern: str, text: str, shown: str, size: int
) -> None:
    assert read([Rule(1, pattern, "regex", group=1)], *cut(text, size)).shown == shown


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_group_that_ended_does_not_go_on_beyond_the_limit(size: int) -> None:
    rules = RuleSet([Rule(1, "k(a+?)a*", "regex", group=1)], max_span=6)

    assert read(rules, *cut("kaaaaaaaa x", size)).shown == "k•aaaaaaa x"


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_word_with_subscripts_in_a_long_formula_is_found(size: int) -> None:
    text = "$$ x and y and z: da{r}_n$$"

    assert read([Rule(1, "darn")], *cut(text, size), medium="markdown").shown == "$$ x and y and z: ••{•}_•$$"


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_group_that_grows_beyond_the_limit_is_acted_on_to_its_end(size: int) -> None:
    rules = RuleSet([Rule(1, "key=([a-z]+);?", "regex", group=1)], max_span=12)

    assert read(rules, *cut("key=abcdefghijklmnop; x", size)).shown == "key=••••••••••••••••; x"


@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_follows_a_group_beyond_the_limit_stays(size: int) -> None:
    rules = RuleSet([Rule(1, "key=([a-z]+);.*", "regex", group=1)], max_span=12)

    assert read(rules, *cut("key=abc; and more and more", size)).shown == "key=•••; and more and more"


def test_a_checked_expression_for_whole_words_allows_what_ends_the_text() -> None:
    allow = Rule(1, "a.?b?", "regex", "allow", whole_word=True, check="entropy:0.9")

    for pieces in (["a:b"], list("a:b"), ["a:b", ";"]):
        assert read([allow, Rule(2, "b")], *pieces).shown == "".join(pieces)


@pytest.mark.parametrize(
    ("check", "pattern", "text", "shown"),
    [
        ("luhn", r"\d{16}", "4111111111111111 4111111111111112", "•••••••••••••••• 4111111111111112"),
        ("iban", r"[A-Z]{2}\d{2}[A-Z\d ]{10,30}", "DE89 3704 0044 0532 0130 00", "•" * 27),
        ("iban", r"[A-Z]{2}\d{2}[A-Z\d ]{10,30}", "DE88 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"),
        ("cn_id", r"\d{17}[\dXx]", "11010519491231002X 110105194912310021", "•••••••••••••••••• 110105194912310021"),
        ("entropy", r"\w{16}", "q8Zt3LmX0pVr7Kd2 aaaaaaaabbbbbbbb", "•••••••••••••••• aaaaaaaabbbbbbbb"),
        ("entropy:3.9", r"\w{16}", "q8Zt3LmX0pVr7Kd2 abcdabcdefghefgh", "•••••••••••••••• abcdabcdefghefgh"),
    ],
)
def test_a_match_has_to_pass_the_check_of_its_rule(check: str, pattern: str, text: str, shown: str) -> None:
    for size in (1, 5, 100):
        assert read([Rule(1, pattern, "regex", check=check)], *cut(text, size)).shown == shown


@pytest.mark.parametrize(
    ("pattern", "text", "shown"),
    [
        (r"\p{Thai}+", "2024 ปี a", "2024 •• a"),
        (r"[ก-๛]+", "98 กข", "98 ••"),
        (r"\p{Extended_Pictographic}", "i am 😀", "i am •"),
        (r"\p{So}", "a ☃", "a •"),
        (r"\p{Cyrillic}{2,}", "да no", "•• no"),
        (r"\p{Lowercase_Letter}\p{Nd}", "a1 b", "•• b"),
        (r"\101\x{42}\u0043\u{44}", "abcd", "••••"),
        (r"(?i)ſK", "sK", "••"),
        (r"[가-힣]{2}", "홍길 a", "•• a"),
        (r"[ﬁx]y", "fiy xy", "••• ••"),
        (r"[^\p{L}\p{N}]", "a1-", "a1•"),
        (r"(?#a remark)ab", "ab", "••"),
        (r"(?<![a-c])(?<![x-z])d", "ad xd d", "ad xd •"),
        (r"e(?![a-c])(?![x-z])", "ea ex e", "ea ex •"),
        (r"(?=[a-f])(?=[d-k])\w", "adk", "a•k"),
    ],
)
def test_classes_are_what_they_say(pattern: str, text: str, shown: str) -> None:
    for size in (1, 2, 100):
        assert read([Rule(1, pattern, "regex")], *cut(text, size)).shown == shown


def test_classes_of_letters_take_no_time_to_compile() -> None:
    RuleSet([Rule(0, r"a[^\pL\pN]{0,3}b", "regex")])
    began = time.process_time()

    RuleSet([Rule(number, rf"a{number}[^\pL\pN]{{0,3}}b", "regex") for number in range(400)])

    assert time.process_time() - began < 3


class TestSkimmedText:
    """Text without matches is read in a fast way, which leaves everything as the slow one would."""

    @pytest.mark.parametrize("size", range(1, 16))
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("[a `]` da](x)rn", "[a `]` ••](x)••"),  # a backtick where a bracket is open
            ("so *very*, `da`rn", "so *very*, `••`••"),
            ("snake_case *da*rn", "snake_case *••*••"),
            ("*a* __da__**rn**", "*a* __••__**••**"),
            ("~~a~~\n> da\n> rn, da  *rn*", "~~a~~\n> da\n> rn, da  *rn*"),
        ],
    )
    def test_is_the_same_in_every_cut(self, text: str, shown: str, size: int) -> None:
        assert read([Rule(1, "darn")], *cut(text, size), medium="markdown").shown == shown

    @pytest.mark.parametrize("before", ["", "a", "*", "a*", "`", "*_", "_", " ", "\n"])
    def test_has_no_sign(self, before: str) -> None:
        """Whatever the readings take for a sign is one for the fast way too."""
        rules = RuleSet([Rule(1, "abcd"), Rule(2, "xy", whole_word=True), Rule(3, "p q")])
        for sign in map(chr, range(33, 127)):
            text = f"{before}{sign}ab{sign}cd {sign}xy{sign} p{sign} q"
            whole = read(rules, text, medium="markdown")

            assert read(rules, *cut(text, 3), medium="markdown").shown == whole.shown
