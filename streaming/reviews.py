"""What the rules say to one request: to its prompt and to its answer; and the audit is told."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from streaming import audit, channels, pipeline, rulebook
from streaming.models import Direction
from streaming.moderation import RuleSet
from streaming.pipeline import Parts
from streaming.sightings import Witness


@dataclass(frozen=True, slots=True)
class Review:
    """The rules of one stream, as they were when it began. To ``upstreams`` it is a Censor."""

    stream: str
    prompts: RuleSet
    answers: RuleSet
    prompt_witness: Witness
    answer_witness: Witness

    async def see_prompt(self, fields: dict[str, Any]) -> None:
        await pipeline.moderate_prompt(fields, self.prompts, self.prompt_witness)

    def clean(self, words: str) -> str:
        return channels.clean(words, self.answers)

    def see_answer(self, parts: Parts) -> Parts:
        return pipeline.moderate(parts, self.answers, self.answer_witness)

    async def see_completion(self, data: str) -> dict[str, Any]:
        return await pipeline.moderate_completion(data, self.answers, self.answer_witness)


async def begin(request: HttpRequest, upstream: str, stream: str | None = None) -> Review:
    """The review of a stream of this upstream, under an id of its own unless it has one."""
    stream, who = stream or uuid.uuid4().hex, await audit.name_of(request)

    async def of(direction: Direction) -> tuple[RuleSet, Witness]:
        snapshot = await rulebook.current(upstream, direction)
        return snapshot.rule_set, audit.witness(audit.Occasion(stream, upstream, direction, snapshot.version, who))

    (prompts, prompt_witness), (answers, answer_witness) = await of("prompts"), await of("answers")
    return Review(stream, prompts, answers, prompt_witness, answer_witness)
