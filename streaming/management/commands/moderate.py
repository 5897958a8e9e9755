"""``manage.py moderate``: moderates a text in the way a stream is moderated."""

from __future__ import annotations

import codecs
import os
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from django.core.management import CommandError
from django.utils import timezone

from streaming import conf, rule_files
from streaming.management.commands._plain_errors import PlainCommand
from streaming.models import ModerationRule
from streaming.moderation import MEDIA, Explainer, Hit, Medium, Moderator, Outcome, Rule, RuleError, RuleSet, Text

READ_BYTES = 65536


class Command(PlainCommand):
    help = "Moderates a text and prints what a client would receive; a summary goes to stderr."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="the text, in UTF-8 (default: stdin)")
        parser.add_argument("--rules", metavar="FILE", help="any file that an import reads (default: the database)")
        parser.add_argument("--cut", type=int, metavar="N", help="feed N characters at a time")
        parser.add_argument("--medium", choices=MEDIA, default="markdown", help="the format of the text")
        parser.add_argument("--explain", action="store_true", help="print each hit, and why it is one, on stderr")
        parser.add_argument("--upstream", help="only the rules that apply to this upstream")
        parser.add_argument("--direction", choices=["prompts", "answers"], help="only the rules that apply to these")

    def handle(self, *args: Any, file: str, cut: int | None, explain: bool, **options: Any) -> None:
        if cut is not None and cut < 1:
            raise CommandError(f"--cut is {cut}: it has to be 1 or more.")
        rules, origin = self._rules(options["rules"], options["upstream"], options["direction"])
        try:
            rule_set = RuleSet(rules)
        except RuleError as error:
            raise CommandError(f"{origin(error.rule)}: {error}") from error
        for rule, warning in rule_set.warnings:
            self.stderr.write(f"{origin(rule)}: {warning}", self.style.WARNING)
        with _ignoring_broken_pipe(), _open(file) as source:
            run = Run(rule_set, options["medium"], explain=explain)
            for outcome in run.outcomes(_cut_into_pieces(_texts(source, file), cut)):
                if isinstance(outcome, Text):
                    self.stdout.write(outcome.text, ending="")
                elif explain:
                    self.stderr.write(_describe_hit(outcome, origin(outcome.rule), run.why(outcome)))
            self.stdout.flush()
        self.stderr.write(run.summary())

    def _rules(self, path: str | None, upstream: str | None, direction: Any) -> tuple[list[Rule], Any]:
        """The rules, and a function that names the origin of a rule (its id, or file and line)."""
        if path is None:
            _require_known(upstream, set())
            return ModerationRule.objects.in_force(upstream, direction), lambda rule: f"rule {rule.id}"
        now = timezone.now()
        reading = self._read_rules(path)
        # A backup describes its lists: the rules of one are as active as both are.
        rows = [(line, row, reading.lists.get(row.rule_list, row)) for line, row in reading.rows]
        _require_known(upstream, {name for _, *both in rows for each in both for name in each.upstreams})
        rules = [
            replace(row.as_rule(line), on_trial=row.on_trial or in_list.on_trial)
            for line, row, in_list in rows
            if row.scope.within(in_list.scope)
            and all(each.is_active(now, upstream, direction) for each in (row, in_list))
        ]
        return rules, lambda rule: f"{path}, line {rule.id}"

    def _read_rules(self, path: str) -> rule_files.ParsedFile:
        try:
            reading = rule_files.read(Path(path).read_bytes(), name=Path(path).name)
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        except rule_files.FileError as error:
            raise CommandError(f"{path}{f', line {error.line}' if error.line else ''}: {error}") from error
        for question in reading.questions:
            if isinstance(question, rule_files.ColumnsQuestion):
                raise CommandError(f"{path}, line {question.line}: {question.unknown}")
        refused = [refusal for refusal in reading.refused if not _is_a_repetition(refusal, reading)]
        if refused:
            lines = [f"{path}, line {refusal.line}: {refusal.reason}" for refusal in refused[:20]]
            more = [f"... and {len(refused) - 20} more."] if len(refused) > 20 else []
            raise CommandError("\n".join([*lines, *more]))
        return reading


def _require_known(upstream: str | None, named: set[str]) -> None:
    """CommandError for an upstream that is neither in the settings nor among these names: it would hide rules."""
    known = {"default", *conf.upstreams(), *named}
    if upstream is not None and upstream not in known:
        raise CommandError(f"There is no upstream {upstream!r}. Known are {', '.join(sorted(known))}.")


def _is_a_repetition(refusal: rule_files.Refusal, reading: rule_files.ParsedFile) -> bool:
    """Whether the refusal is for a duplicate in a word list, which does no harm."""
    return reading.file_format == "words" and any(row.pattern == refusal.text for _, row in reading.rows)


class Run:
    """Moderates one text and collects the figures for the summary."""

    def __init__(self, rule_set: RuleSet, medium: Medium, *, explain: bool) -> None:
        self._medium = medium
        self._moderator = Moderator(rule_set, medium)
        self._explainer = Explainer(medium) if explain else None
        self._held: Counter[int] = Counter()
        self._characters = self._hits = 0
        self._seconds = 0.0

    def outcomes(self, pieces: Iterator[str]) -> Iterator[Outcome]:
        for piece in pieces:
            self._read(piece)
            began = time.perf_counter()
            outcomes = self._moderator.feed(piece)
            self._seconds += time.perf_counter() - began
            self._characters += len(piece)
            self._held[self._moderator.held] += 1
            yield from self._counted(outcomes)
            if any(isinstance(outcome, Hit) and outcome.ends_text for outcome in outcomes):
                return
        self._read("", final=True)
        yield from self._counted(self._moderator.finish())

    def _counted(self, outcomes: list[Outcome]) -> list[Outcome]:
        self._hits += sum(isinstance(outcome, Hit) for outcome in outcomes)
        return outcomes

    def _read(self, piece: str, *, final: bool = False) -> None:
        if self._explainer:
            self._explainer.feed(piece, final=final)

    def why(self, hit: Hit) -> str:
        """Why it is a hit, if that is not obvious, and the text that was compared with the rule."""
        found = self._explainer.explain(hit) if self._explainer else None
        if found is None or not found.reasons:
            return ""
        return f": {', '.join(map(str, found.reasons))}; read as {found.read[:80]!r}"

    def summary(self) -> str:
        pieces = max(self._held.total(), 1)
        mean = sum(held * times for held, times in self._held.items()) / pieces
        below, p99 = 0, 0
        for p99, times in sorted(self._held.items()):  # noqa: B007 (used after the loop)
            below += times
            if below >= 0.99 * pieces:
                break
        speed = self._seconds / max(self._characters, 1) * 1e6
        return (
            f"{self._characters:,} characters of {self._medium}, {self._hits:,} hits, "
            f"held: mean {mean:.2f}, p99 {p99}; {speed:.2f} µs per character"
        )


def _describe_hit(hit: Hit, origin: str, why: str) -> str:
    action = f"{hit.rule.action} (on trial)" if hit.rule.on_trial else hit.rule.action
    compare = "" if hit.rule.compare == "normal" else f", {hit.rule.compare}"
    return f"{origin}: {action} {hit.start}-{hit.end} ({hit.rule.pattern[:80]}{compare}){why}"


@contextmanager
def _open(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        source = Path(file).open("rb")  # noqa: SIM115 (closed below; the except clause is only for opening it)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
    with source:
        yield source


def _texts(source: IO[bytes], file: str) -> Iterator[str]:
    """The text in chunks as they arrive, so that a pipe is moderated while it is being written."""
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), 1
    read = getattr(source, "read1", source.read)
    name = "stdin" if file == "-" else file
    while True:
        try:
            chunk = read(READ_BYTES)
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line = lines + error.object.count(b"\n", 0, error.start)
            raise CommandError(
                f"{name}, line {line}: the byte 0x{error.object[error.start]:02X} is not UTF-8."
            ) from error
        except OSError as error:
            raise CommandError(f"{name} cannot be read: {error.strerror}.") from error
        lines += text.count("\n")
        if text:
            yield text
        if not chunk:
            return


def _cut_into_pieces(texts: Iterator[str], size: int | None) -> Iterator[str]:
    """The text in pieces of exactly ``size`` characters, except for the last; unchanged if ``size`` is None."""
    if size is None:
        yield from texts
        return
    rest = ""
    for text in texts:
        rest += text
        whole = len(rest) - len(rest) % size
        for at in range(0, whole, size):
            yield rest[at : at + size]
        rest = rest[whole:]
    if rest:
        yield rest


@contextmanager
def _ignoring_broken_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # for example with "| head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
