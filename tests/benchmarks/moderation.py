"""How fast moderation is, on real words and on the worst text we could think of.

    uv run --group dev --with jieba==0.42.1 tests/benchmarks/moderation.py

The words are of jieba's dictionary (349,046 words); the prose is the site's own handbook, from which words that are
in the rules were left out of the rules, so that it is clean. Processor time, the best of three runs; each row is also
given in units of the JSON round trip (loads of dumps) of one chat completion chunk, timed beside it, since machines
differ. The naive ways stand last.
"""

from __future__ import annotations

import gc
import json
import random
import re
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from streaming.moderation import Moderator, Rule, RuleSet, Text
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
        sys.exit("the words are jieba's: run 'uv run --group dev --with jieba==0.42.1 tests/benchmarks/moderation.py'")
    lines = Path(jieba.__file__).with_name("dict.txt").read_text("utf-8").splitlines()
    return [word for line in lines if len(word := line.split(" ")[0]) >= 2]


def prose(characters: int) -> str:
    text = (ROOT / "streaming" / "documents" / "handbook.md").read_text("utf-8")
    return (text * (characters // len(text) + 1))[:characters]


def words_not_in(text: str, count: int) -> list[Rule]:
    text, dice, words = fold(text), random.Random(1), dictionary()
    dice.shuffle(words)
    clean = (word for word in words if fold(word) not in text)
    return [Rule(number, next(clean)) for number in range(count)]


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


def moderate(rule_set: RuleSet, pieces: Iterable[str]) -> None:
    moderator = Moderator(rule_set)
    for piece in pieces:
        moderator.feed(piece)
    moderator.finish()


def held_and_hits(rule_set: RuleSet, pieces: Iterable[str]) -> tuple[float, int, int]:
    moderator, held, hits = Moderator(rule_set), [], 0
    for piece in pieces:
        hits += sum(not isinstance(outcome, Text) for outcome in moderator.feed(piece))
        held.append(moderator.held)
    held.sort()
    return sum(held) / len(held), held[len(held) * 99 // 100], hits


def build(rules: list[Rule]) -> tuple[RuleSet, float, float]:
    """The rule set, the seconds it took, and its megabytes."""
    gc.collect()
    began = time.process_time()
    rule_set = RuleSet(rules)
    seconds = time.process_time() - began
    del rule_set
    gc.collect()
    tracemalloc.start()
    rule_set = RuleSet(rules)
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return rule_set, seconds, megabytes


def row(name: str, rules: list[Rule], text: str, size: int) -> None:
    rule_set, seconds, megabytes = build(rules)
    pieces = pieces_of(text, size)
    spent = processor_seconds(lambda: moderate(rule_set, pieces))
    unit = round_trip()
    mean, p99, hits = held_and_hits(rule_set, pieces)
    a_char, a_piece = spent / len(text) * 1e6, spent / len(pieces) * 1e6
    print(
        f"| {name} | {size} | {a_char:.2f} | {a_char * REFERENCE_ROUND_TRIP / unit:.2f} | {a_piece / unit:.2f} | "
        f"{mean:.1f} | {p99} | {hits} | {seconds:.2f} | {megabytes:.0f} |",
        flush=True,
    )


def naive(name: str, act: Callable[[str], object], text: str, size: int) -> None:
    pieces = pieces_of(text, size)
    spent = processor_seconds(lambda: [act(piece) for piece in pieces], 1)
    a_char = spent / len(text) * 1e6
    scaled = a_char * REFERENCE_ROUND_TRIP / round_trip()
    print(f"| {name} | {size} | {a_char:.2f} | {scaled:.2f} | | | | | | |", flush=True)


def main() -> None:
    text = prose(300_000)
    sample = text[:30_000]
    ten, hundred = words_not_in(sample, 10_000), words_not_in(sample, 100_000)
    regexes = [Rule(f"regex {number}", pattern, "regex") for number, pattern in enumerate(REGEXES)]
    dice = random.Random(1)
    coins = "".join(dice.choice("ab") for _ in range(50_000))

    print(f"JSON round trip of one chunk here: {round_trip():.1f} µs; 'there' is where it takes 11.\n")
    print("| rules | piece | µs a character | there | a piece in JSON round trips | held, mean | p99 | hits | s | MB |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    row("10,000 words", ten, text, 20)
    row("10,000 words", ten, text, 4)
    row("100,000 words", hundred, text, 20)
    row("10 regexes", regexes, text, 20)
    row("10,000 words and 10 regexes", ten + regexes, text, 20)
    row("10,000 words and 10 regexes", ten + regexes, text, 4)
    row("worst: `(?:a+)+b` on aaaa", [Rule(1, "(?:a+)+b", "regex")], coins.replace("b", "a"), 20)
    row("worst: `a.{200}b` on aaaa", [Rule(1, "a.{200}b", "regex")], coins.replace("b", "a"), 20)
    row("worst: `a.{200}c` on abba", [Rule(1, "a.{200}c", "regex")], coins, 20)
    row("worst: `a+` on aaaa", [Rule(1, "a+", "regex")], coins.replace("b", "a"), 20)
    row("worst: `(?:a?){100}b` on aaaa", [Rule(1, "(?:a?){100}b", "regex")], coins.replace("b", "a"), 20)
    overlap = [Rule(1, "(?:a|b)*c", "regex"), Rule(2, "[ab]a[ab]{7}", "regex")]
    row("worst: `(?:a|b)*c` and `[ab]a[ab]{7}` on abba", overlap, coins, 20)
    both = [Rule(1, "a.{200}c", "regex"), Rule(2, "a")]
    row("worst: `a.{200}c` and the word a on aaaa, a hit a character", both, coins.replace("b", "a"), 20)
    row("worst: the same on abba", both, coins, 20)
    a, b_after = Rule(1, "a"), "a" * 255 + "b"
    row("worst: the words a and a…ab (256) on aaaa", [a, Rule(2, b_after)], coins.replace("b", "a"), 20)
    allowed = [a, Rule(2, b_after, action="allow")]
    row("worst: the word a, a…ab (256) allowed, on aaaa", allowed, coins.replace("b", "a"), 20)
    urls = [Rule(1, "ttp"), Rule(2, r"https?://[^\s]+", "regex", action="allow")]
    row("worst: the word ttp, URLs allowed, on http://http://", urls, "http://" * 7_000, 20)
    folded = [fold(rule.pattern) for rule in ten]
    naive("naive: `in` for each of 10,000", lambda piece: [word in piece for word in folded], text[:20_000], 20)
    alternation = re.compile("|".join(map(re.escape, folded)))
    naive("naive: one `re` alternation of 10,000", lambda piece: alternation.search(piece), text[:20_000], 20)


if __name__ == "__main__":
    main()
