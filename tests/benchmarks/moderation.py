"""How fast moderation is, on real words and on the worst text we could think of.

    uv run --group dev --with jieba==0.42.1 --with wordfreq==3.1.1 tests/benchmarks/moderation.py [prose] [hits] ...

Chinese words are of jieba's dictionary (349,046 words), Russian and Japanese ones are wordfreq's most frequent. The
texts are the site's own handbook and Django's messages; words that they contain are left out of the rules. Processor
time: each run is compared with the JSON round trips (loads of dumps) of one chat completion chunk right before and
after it, since machines differ and are busy. A row is the median of the runs. Collections of garbage are included.
"""

from __future__ import annotations

import gc
import json
import random
import re
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import django

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from streaming.gc_pauses import no_long_pauses
from streaming.moderation import Medium, Moderator, Rule, RuleSet, Text
from streaming.moderation.folding import fold

REFERENCE_ROUND_TRIP = 11.0
"""Microseconds of the JSON round trip on the machine that the targets were written for."""

CHUNK = {
    "id": "chatcmpl-123",
    "object": "chat.completion.chunk",
    "created": 1694268190,
    "model": "gpt-4o-mini",
    "system_fingerprint": "fp_44709d6fcb",
    "choices": [{"index": 0, "delta": {"content": "Hello"}, "logprobs": None, "finish_reason": None}],
}

REGEXES = [
    r"[\w.+-]+@[\w-]+\.[\w.]+",  # e-mail
    r"https?://[^\s)]+",
    r"\d{13,19}",  # card
    r"\+?\d{1,3}[ -]\d{3}[ -]\d{4,8}",  # phone
    r"\d{17}[\dx]",  # Chinese identity card
    r"sk-[A-Za-z0-9]{20,80}",  # API key
    r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}",  # IPv4
    r"AKIA[0-9A-Z]{16}",
    r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}",  # MAC
    r"eyJ[\w-]+\.[\w-]+\.[\w-]+",  # JWT
]


def dictionary() -> list[str]:
    try:
        import jieba
    except ImportError:
        sys.exit("the words are jieba's: run 'uv run --group dev --with jieba==0.42.1 --with wordfreq==3.1.1 ...'")
    lines = Path(jieba.__file__).with_name("dict.txt").read_text("utf-8").splitlines()
    words = [word for line in lines if len(word := line.split(" ")[0]) >= 2]
    random.Random(1).shuffle(words)
    return words


def frequent_words(language: str) -> list[str]:
    import wordfreq

    return [word for word in wordfreq.top_n_list(language, 60_000) if len(word) >= 2]


def handbook(characters: int) -> str:
    text = (ROOT / "streaming" / "documents" / "handbook.md").read_text("utf-8")
    return _repeated(text, characters)


def prose(characters: int) -> str:
    """The handbook without any sign that Markdown may read otherwise than as written."""
    return _repeated(re.sub(r"[*~`_\\&%\[\]<>$|]", "", handbook(30_000)), characters)


def messages(language: str, characters: int) -> str:
    """Django's messages in a language, as one prose text."""
    lines: list[str] = []
    for path in sorted(Path(django.__file__).parent.rglob(f"locale/{language}/LC_MESSAGES/django.po")):
        lines += re.findall(r'^msgstr(?:\[\d\])? "(.{20,})"$', path.read_text("utf-8"), re.MULTILINE)
    return _repeated(re.sub(r"%\(\w+\)\w|[*~`_\\&%\[\]<>$|]", "", " ".join(lines)), characters)


def _repeated(text: str, characters: int) -> str:
    return (text * (characters // len(text) + 1))[:characters]


def rules_not_in(text: str, words: Iterable[str], count: int, *, whole_word: bool = False) -> list[Rule]:
    folded = fold(text)
    found = set(re.findall(r"\w+", folded)) if whole_word else set()
    clean = (word for word in words if (fold(word) not in found if whole_word else fold(word) not in folded))
    return [Rule(number, next(clean), whole_word=whole_word) for number in range(count)]


def hard(words: int, characters: int) -> tuple[list[Rule], str]:
    """Random words over frequent characters, and a text in which every second character could begin one."""
    dice = random.Random(2)
    frequent = [chr(code) for code in dice.sample(range(0x4E00, 0x9FA0), 600)]
    beginning = frequent[:300]
    rules = {"".join(dice.choices(beginning, k=dice.randint(3, 6))) for _ in range(words)}
    return [Rule(number, word) for number, word in enumerate(sorted(rules))], "".join(
        dice.choices(frequent, k=characters)
    )


def processor_seconds(act: Callable[[], object], times: int = 3) -> float:
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        act()
        best = min(best, time.process_time() - began)
    return best


def round_trip() -> float:
    """Microseconds of json.loads(json.dumps(CHUNK)), now."""
    rounds = range(2000)
    return processor_seconds(lambda: [json.loads(json.dumps(CHUNK)) for _ in rounds], 5) / len(rounds) * 1e6


def pieces_of(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def moderate(rule_set: RuleSet, pieces: Iterable[str], medium: Medium) -> None:
    moderator = Moderator(rule_set, medium)
    for piece in pieces:
        moderator.feed(piece)
    moderator.finish()


def held_and_hits(rule_set: RuleSet, pieces: Iterable[str], medium: Medium) -> tuple[float, int, int]:
    moderator, held, hits = Moderator(rule_set, medium), [], 0
    for piece in pieces:
        hits += sum(not isinstance(outcome, Text) for outcome in moderator.feed(piece))
        held.append(moderator.held)
    held.sort()
    return sum(held) / len(held), held[len(held) * 99 // 100], hits


def build(rules: list[Rule]) -> tuple[RuleSet, float, float]:
    """The rule set, the seconds it takes there, and its megabytes."""
    gc.collect()
    began = time.process_time()
    with no_long_pauses():  # as the site compiles them
        rule_set = RuleSet(rules)
    seconds = (time.process_time() - began) * REFERENCE_ROUND_TRIP / round_trip()
    del rule_set
    gc.collect()
    tracemalloc.start()
    rule_set = RuleSet(rules)
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return rule_set, seconds, megabytes


RUNS = 7


def row(name: str, rules: list[Rule], text: str, size: int, medium: Medium = "markdown") -> None:
    rule_set, seconds, megabytes = build(rules)
    pieces = pieces_of(text, size)
    moderate(rule_set, pieces, medium)
    ratios = []
    for _ in range(RUNS):
        before = round_trip()
        spent = processor_seconds(lambda: moderate(rule_set, pieces, medium), 1)
        ratios.append(spent * 1e6 / ((before + round_trip()) / 2))
    trips = statistics.median(ratios)
    mean, p99, hits = held_and_hits(rule_set, pieces, medium)
    print(
        f"| {name} | {size} | {trips / len(text) * REFERENCE_ROUND_TRIP:.2f} | {trips / len(pieces):.2f} | "
        f"{mean:.1f} | {p99} | {hits} | {seconds:.2f} | {megabytes:.0f} |",
        flush=True,
    )


def naive(name: str, act: Callable[[str], object], text: str, size: int) -> None:
    pieces = pieces_of(text, size)
    spent = processor_seconds(lambda: [act(piece) for piece in pieces], 1) * 1e6 / round_trip()
    print(f"| {name} | {size} | {spent / len(text) * REFERENCE_ROUND_TRIP:.2f} | | | | | | |", flush=True)


def of_prose(words: list[str]) -> None:
    text = prose(100_000)
    ten = rules_not_in(text[:30_000], words, 10_000)
    regexes = [Rule(f"regex {number}", pattern, "regex") for number, pattern in enumerate(REGEXES)]
    row("10,000 words, prose without signs", ten, text, 20)
    row("10,000 words, prose without signs", ten, text, 4)
    row("10,000 words and 10 regexes, prose", ten + regexes, text, 20)
    row("10,000 words and 10 regexes, prose", ten + regexes, text, 4)


def of_markdown(words: list[str]) -> None:
    text = handbook(100_000)
    ten = rules_not_in(text[:30_000], words, 10_000)
    row("10,000 words, the handbook with all its Markdown", ten, text, 20)
    row("10,000 words, the handbook with all its Markdown", ten, text, 4)
    row("percent codes only", ten, "%41" * 10_000, 20)


def of_languages(_: list[str]) -> None:
    for name, language, whole_word in (("Russian", "ru", True), ("Japanese", "ja", False)):
        text = messages(language, 50_000)
        rules = rules_not_in(text, frequent_words(language), 10_000, whole_word=whole_word)
        for size in (20, 4):
            row(f"10,000 {'whole ' if whole_word else ''}words, {name}", rules, text, size)


def of_hard_texts(_: list[str]) -> None:
    rules, text = hard(10_000, 40_000)
    row("10,000 random words, of which every second piece ends in a beginning", rules, text, 4)


def worst() -> list[tuple[str, list[Rule], str, Medium]]:
    """(name, rules, text, medium): texts that an attacker would write to these rules."""
    length = 12_000
    coins = "".join(random.Random(1).choices("ab", k=length))
    only_a = "a" * length
    a, b_after = Rule(1, "a"), Rule(2, "a" * 255 + "b")
    mail, allowed = Rule(3, REGEXES[0], "regex"), {"kind": "regex", "action": "allow"}
    counted, urls = Rule(4, "a.{200}c", "regex"), Rule(5, r"https?://[^\s]+", **allowed)
    lone, flag = Rule(6, "ttp"), replace(mail, action="flag")
    random_key = Rule(7, "[a-z0-9]{20,}", "regex", check="entropy:3.5")
    loose, long_block = Rule(8, "darn", compare="loose"), Rule(9, "a" * 4_000 + "b", action="block")
    until_b, until_c = Rule(10, "a(?s:.*)b", **allowed), Rule(11, "a(?s:.*)c", **allowed)
    darn_allowed = replace(loose, action="allow")
    blocking, stars = Rule(12, "ab+a", "regex", action="block"), _repeated("*a*b", length)

    def regex(*patterns: str) -> list[Rule]:
        return [Rule(pattern, pattern, "regex") for pattern in patterns]

    cases: list[tuple[str, list[Rule], str, Medium]] = [
        ("`(?:a+)+b` on aaaa", regex("(?:a+)+b"), only_a, "plain"),
        ("`(?:a?){100}b` on aaaa", regex("(?:a?){100}b"), only_a, "plain"),
        ("`a+` on aaaa", regex("a+"), only_a, "plain"),
        ("`a.{200}b` on aaaa", regex("a.{200}b"), only_a, "plain"),
        ("`a.{200}c` on abba", [counted], coins, "plain"),
        ("`a.{0,4000}c` on abba", regex("a.{0,4000}c"), coins, "plain"),
        ("`a.{0,4000}c` on aaaa", regex("a.{0,4000}c"), only_a, "plain"),
        ("`(?:a|b)*c` and `[ab]a[ab]{7}` on abba", regex("(?:a|b)*c", "[ab]a[ab]{7}"), coins, "plain"),
        ("`a.{200}c` and the word a on abba", [counted, a], coins, "plain"),
        ("the words a and a…ab (256) on aaaa", [a, b_after], only_a, "plain"),
        ("the word a, a…ab (256) allowed, on aaaa", [a, replace(b_after, action="allow")], only_a, "plain"),
        ("the word a, a…ab (4,001) blocks, on aaaa", [a, long_block], only_a, "plain"),
        ("e-mail on aaaa", [mail], only_a, "plain"),
        ("e-mail, only reported, on aaaa", [flag], only_a, "plain"),
        ("e-mail on a\\_a\\_ in Markdown", [mail], _repeated("a_", length), "markdown"),
        ("e-mail on a\\*ba\\*b in Markdown", [mail], _repeated("a*b", length), "markdown"),
        (
            "26 of `a[a-z]{10,60}a!` on letters",
            regex(*(f"{c}[a-z]{{10,60}}{c}!" for c in LETTERS)),
            letters(length),
            "plain",
        ),
        ("the word ttp, URLs allowed, on http://http://", [lone, urls], _repeated("http://", length), "plain"),
        ("loose darn on dddd", [loose], "d" * length, "plain"),
        ("loose darn on d…darn (1,500)", [loose], _repeated("d" * 1_500 + "arn ", length), "plain"),
        (
            "the word ttp, loose http allowed, on http://http://",
            [lone, replace(loose, pattern="http", action="allow")],
            _repeated("http://", length),
            "plain",
        ),
        (
            "`a+b`, the same allowed, on a…ab (1,500)",
            [Rule(1, "a+b", "regex"), Rule(2, "a+b", **allowed)],
            _repeated("a" * 1_499 + "b", length),
            "plain",
        ),
        ("the word d, loose darn allowed, on dddd", [Rule(1, "d"), darn_allowed], "d" * length, "plain"),
        ("loose dárn on dddd", [Rule(1, "dárn", compare="loose")], "d" * length, "plain"),
        ("`ab+a` and `a(?s:.*)c` on abba", regex("ab+a", "a(?s:.*)c"), coins, "plain"),
        ("`ab+a`, `a(?s:.*)c` allowed, on abba", [*regex("ab+a"), until_c], coins, "plain"),
        ("`ab+a`, `a(?s:.*)c` allowed, on \\*a\\*b in Markdown", [*regex("ab+a"), until_c], stars, "markdown"),
        ("`ab+a` blocks, `a(?s:.*)b` allowed, on abba", [blocking, until_b], "aaaa" + coins, "plain"),
        ("20 random letters on abba", [random_key], coins, "plain"),
        (
            "20 random letters on a…abcdefghijklmn (64)",
            [random_key],
            _repeated("a" * 50 + "bcdefghijklmn", length),
            "plain",
        ),
        (
            "`\\d{13,19}` with Luhn on digits",
            [Rule(1, r"\d{13,19}", "regex", check="luhn")],
            _repeated("1234567890", length),
            "plain",
        ),
    ]
    floods = ("[d](", "](", "<a ", "<!--", "%64", "&#100;", "d*", "d`", "\\d", "a\u0301")
    return cases + [
        (f"the word darn on {flood!r} again and again", [Rule(1, "darn")], _repeated(flood, length), "markdown")
        for flood in floods
    ]


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def letters(count: int) -> str:
    return "".join(random.Random(3).choices(LETTERS, k=count))


def of_worst_texts(_: list[str]) -> None:
    """One column for each size of the pieces, in microseconds a character, there."""
    print("| rules, text | 20 | 4 | 1 |\n| --- | --: | --: | --: |")
    for name, rules, text, medium in worst():
        rule_set = RuleSet(rules)
        print(f"| {name} | " + " | ".join(f"{steady(rule_set, text, size, medium):.1f}" for size in (20, 4, 1)) + " |")


def steady(rule_set: RuleSet, text: str, size: int, medium: Medium) -> float:
    """Microseconds a character, there, once as much is held as can be. It is measured for half a second at most."""
    moderator, warm = Moderator(rule_set, medium), 4_400
    for piece in pieces_of(text[:warm], 40):
        moderator.feed(piece)
    before, began, done = round_trip(), time.process_time(), 0
    for piece in pieces_of(text[warm:], size):
        moderator.feed(piece)
        done += len(piece)
        if time.process_time() - began > 0.5:
            break
    spent = time.process_time() - began
    return spent / done * 1e6 * REFERENCE_ROUND_TRIP / ((before + round_trip()) / 2)


def of_hits(words: list[str]) -> None:
    for name, text, size in (
        ("four hits in each piece", "darn darn darn darn ", 20),
        ("a hit in every second piece", "oh darn it, it is so", 10),
    ):
        text = _repeated(text, 20_000)
        row(f"10,000 words, {name}", [*rules_not_in(text, words, 9_999), Rule("darn", "darn")], text, size)


def of_large_sets(words: list[str]) -> None:
    text = handbook(100_000)
    row("100,000 words, the handbook", rules_not_in(text[:30_000], words, 100_000), text, 20)


def of_naive_ways(words: list[str]) -> None:
    text = prose(20_000)
    folded = [rule.pattern for rule in rules_not_in(text, words, 10_000)]
    naive("naive: `in` for each of 10,000", lambda piece: [word in piece for word in folded], text, 20)
    alternation = re.compile("|".join(map(re.escape, folded)))
    naive("naive: one `re` alternation of 10,000", alternation.search, text, 20)


PARTS: dict[str, Callable[[list[str]], None]] = {
    "prose": of_prose,
    "markdown": of_markdown,
    "languages": of_languages,
    "hard": of_hard_texts,
    "worst": of_worst_texts,
    "hits": of_hits,
    "large": of_large_sets,
    "naive": of_naive_ways,
}


def main() -> None:
    words = dictionary()
    print(f"JSON round trip of one chunk here: {round_trip():.1f} µs; 'there' is where it takes 11.\n")
    print(
        "| rules, text | piece | µs a character, there | round trips a piece | held, mean | p99 | hits | s there | MB |"
    )
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: |")
    for name in sys.argv[1:] or PARTS:
        PARTS[name](words)


if __name__ == "__main__":
    main()
