"""What the rules say to one request: to its prompt and to its answer; and the audit is told."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from streaming import answer, audit, relay, rulebook
from streaming.models import Direction
from streaming.moderation import RuleSet
from streaming.relay import Parts
from streaming.sightings import Witness


@dataclass(frozen=True, slots=True)
class Guardrail:
    """The rules of one stream, as they were when it began. To ``upstreams`` it is a Guardrail."""

    stream: str
    prompts: RuleSet
    answers: RuleSet
    prompt_witness: Witness
    answer_witness: Witness

    async def moderate_prompt(self, fields: dict[str, Any]) -> None:
        await relay.moderate_prompt(fields, self.prompts, self.prompt_witness)

    def clean(self, words: str) -> str:
        return answer.clean(words, self.answers)

    def moderate_answer(self, parts: Parts) -> Parts:
        return relay.moderate(parts, self.answers, self.answer_witness)

    async def moderate_completion(self, data: str) -> dict[str, Any]:
        return await relay.moderate_completion(data, self.answers, self.answer_witness)


async def begin(request: HttpRequest, upstream: str, stream: str | None = None) -> Guardrail:
    """The guardrail of a stream of this upstream, under an id of its own unless it has one."""
    stream, who = stream or uuid.uuid4().hex, await audit.name_of(request)

    async def of(direction: Direction) -> tuple[RuleSet, Witness]:
        snapshot = await rulebook.current(upstream, direction)
        return snapshot.rule_set, audit.witness(audit.Occasion(stream, upstream, direction, snapshot.version, who))

    (prompts, prompt_witness), (answers, answer_witness) = await of("prompts"), await of("answers")
    return Guardrail(stream, prompts, answers, prompt_witness, answer_witness)
