"""The moderation over the seams between the parts of one content: ``[{"text": "da"}, {"text": "rn"}]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, cast

from streaming.answer.media import medium_of
from streaming.answer.outcomes import fed, outcomes_of
from streaming.formats import Delta, Notice, Part, StreamEnd, TextPart
from streaming.hit_context import ContextRecorder, HitHandler
from streaming.moderation import Hit, Moderator, RuleSet

UndecidedText = Callable[[int, str], str]
"""The end of what a channel of a choice has received, in which a match may have begun."""

_LISTS = r"(?:content|parts|thinking|reasoning|reasoning_content|reasoning_details|summary|refusal|system|text)"
_TEXTS = r"(?:text|content|refusal|summary|thinking|reasoning|transcript)"
_POSITION = re.compile(rf"(?:(?<=\.)|^)({_LISTS})(?:\.\d+)+(?=\.|$)")
_IS_TEXT = re.compile(rf"(?:.*\.)?(?:{_LISTS}|output)(?:\.\d+)+(?:\.{_TEXTS}(?:\.value)?)?")
_NUMBER = re.compile(r"\.\d+(?=\.|$)")
_COMPLETE = re.compile(r"(?:.*\.)?(?:tool_calls|annotations|citations|sources|search_results|images|choices)\.\d+.*")
_PLAIN_TEXT = frozenset({"content", "reasoning", "reasoning_content", "refusal", "thinking"})


@lru_cache(1024)
def run_of_prompt(channel: str) -> str:
    """The name of the running text that a channel is a part of; empty if it is a text of its own."""
    if not _IS_TEXT.fullmatch(channel):
        return ""
    name = _POSITION.sub(r"\1", channel)
    return _NUMBER.sub("", name) if "output." in name else name.removesuffix(".value").removesuffix(".text")


@lru_cache(1024)
def run_of_answer(channel: str) -> str:
    """The same for an answer, where any list may be one text in parts, unless it is known to have complete items."""
    if channel in _PLAIN_TEXT:
        return channel
    if run := run_of_prompt(channel):
        return run
    if not _NUMBER.search(channel) or _COMPLETE.fullmatch(channel) or medium_of(channel) == "plain":
        return ""
    return _NUMBER.sub("", channel)


class _Piece(NamedTuple):
    """The text of the part ``at`` of a feed, and where it stands in the running text."""

    at: int
    channel: str
    start: int
    text: str


@dataclass(slots=True)
class _Run:
    """A running text. It is only followed once a second channel has a part in it."""

    channel: str
    """That of its last part."""
    moderator: Moderator | None = None
    before: str = ""
    seams: list[int] = field(default_factory=list)


class JoinedParts:
    """Finds the matches that lie over a seam, and replaces them in each part, before the parts are moderated alone.

    Clients and servers join the parts of a content, most with nothing between them. So each part is moderated alone,
    where a rule for a whole word acts on ``hello`` before a part that begins with ``world``; and all parts of a content
    are moderated as one running text, in which only the matches over a seam count. What is not text, such as an image,
    does not separate the parts around it. Of a match that began in a part that was sent, the rest is replaced.
    """

    def __init__(
        self,
        rule_set: RuleSet,
        on_hit: HitHandler | None,
        undecided_text: UndecidedText,
        run_of: Callable[[str], str] = run_of_answer,
    ) -> None:
        self._rule_set = rule_set
        self._on_hit = on_hit
        self._undecided_text = undecided_text
        self._run_of = run_of
        self._runs: dict[tuple[int, str], _Run] = {}
        self.has_seams = False
        """Whether a text has come in several parts. Until then, more of the same part need not be fed here."""

    def are_joined(self, channel: str, other: str) -> bool:
        """Whether two channels are parts of one running text."""
        return bool(run := self._run_of(channel)) and run == self._run_of(other)

    def feed(self, parts: list[Part]) -> Generator[None, None, list[Part]]:
        """The parts without matches over seams; with the notices of those, and the end if one of them blocks."""
        added: dict[int, list[Part]] = {}  # by the number of the part before
        parts = list(parts)
        for (choice, name), pieces in self._by_run(parts).items():
            run = self._runs.setdefault((choice, name), _Run(pieces[0].channel))
            if run.moderator is None and all(piece.channel == run.channel for piece in pieces):
                continue
            self.has_seams = True
            hits = yield from self._hits(run, choice, pieces, is_last=isinstance(parts[-1], StreamEnd))
            for hit, start in hits:
                touched = _replaced(hit, start, pieces, parts, self._rule_set.mask)
                added.setdefault(touched, []).extend(_notices_of(hit))
        return _with_added(parts, added) if added else parts

    def _by_run(self, parts: list[Part]) -> dict[tuple[int, str], list[_Piece]]:
        runs: dict[tuple[int, str], list[_Piece]] = {}
        for at, part in enumerate(parts):
            if isinstance(part, Delta | TextPart) and not _is_number(part) and (name := self._run_of(part.channel)):
                pieces = runs.setdefault((part.choice, name), [])
                start = pieces[-1].start + len(pieces[-1].text) if pieces else 0
                pieces.append(_Piece(at, part.channel, start, part.text))
        return runs

    def _hits(
        self, run: _Run, choice: int, pieces: list[_Piece], *, is_last: bool
    ) -> Generator[None, None, list[tuple[Hit, int]]]:
        """The matches over a seam that end in these pieces, and where each begins, counted from the first piece."""
        medium = medium_of(run.channel)
        if run.moderator is None:
            run.moderator = Moderator(self._rule_set, medium)
            run.before = self._undecided_text(choice, run.channel)
            run.moderator.feed(run.before)
        before = len(run.before)
        for piece in pieces:
            if piece.channel != run.channel:
                run.seams.append(before + piece.start)
                run.channel = piece.channel
        new = "".join(piece.text for piece in pieces)
        joined = run.before + new
        outcomes = yield from outcomes_of(joined, self._rule_set, medium)
        hits = [hit for hit in outcomes if isinstance(hit, Hit) and hit.end > before and _is_over(run.seams, hit)]
        if hits and self._on_hit:
            recorder = ContextRecorder(self._on_hit, run.channel, choice)
            recorder.record(joined, hits, 0)
            recorder.finish()
        if not is_last:
            yield from fed(run.moderator, new)
            run.before = joined[len(joined) - run.moderator.undecided :]
            gone = len(joined) - len(run.before)
            run.seams = [seam - gone for seam in run.seams if seam > gone]
        return [(hit, hit.start - before) for hit in hits if not hit.changes_nothing]


def _is_number(part: Delta | TextPart) -> bool:
    return isinstance(part, TextPart) and part.is_number


def _is_over(seams: list[int], hit: Hit) -> bool:
    return any(hit.start < seam < hit.end for seam in seams)


def _replaced(hit: Hit, start: int, pieces: list[_Piece], parts: list[Part], mask: str) -> int:
    """Replaces what a match covers in each of the parts. Returns the number of the last one it touches, or the first
    if it blocks: what comes after that is not shown."""
    end = start + hit.end - hit.start
    touched = [piece for piece in pieces if piece.start < end and piece.start + len(piece.text) > start]
    replacement = hit.rule.replacement if hit.rule.action == "replace" else ""
    for piece in touched:
        first, last = max(start - piece.start, 0), min(end - piece.start, len(piece.text))
        part = cast("Delta | TextPart", parts[piece.at])
        behind = len(piece.text) - last  # what is before may have been replaced by less
        kept = part.text[len(part.text) - behind :] if behind else ""
        ahead = part.text[: len(part.text) - (len(piece.text) - first)]
        shown = mask * (last - first) if hit.rule.action == "mask" else replacement
        parts[piece.at] = part._replace(text=ahead + ("" if hit.ends_text else shown + kept))
        replacement = ""
        if hit.ends_text:
            return piece.at
    return touched[-1].at


def _notices_of(hit: Hit) -> list[Part]:
    if hit.ends_text:
        return [Notice("block", hit.rule.category, hit.rule.replacement), StreamEnd("blocked")]
    return [Notice(hit.rule.action, hit.rule.category)]


def _with_added(parts: list[Part], added: dict[int, list[Part]]) -> list[Part]:
    """The parts with others after some of them; nothing follows an end."""
    together = [each for at, part in enumerate(parts) for each in (part, *added.get(at, ()))]
    end = next((at for at, part in enumerate(together) if part == StreamEnd("blocked")), len(together))
    return together[: end + 1]
