"""Moderates one request: its prompt, and its answer, streamed or complete."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.http import HttpRequest

from streaming import answer, conf, formats, hit_log, rulebook, usage_log
from streaming.answer import PAUSE, AnswerModeration
from streaming.caller import caller_of
from streaming.errors import PromptBlocked, PromptTooDeep, PromptTooLong
from streaming.formats import Delta, Notice, Part, StreamEnd, TextPart
from streaming.hit_context import HitHandler
from streaming.moderation import RuleSet
from streaming.rule_fields import Direction
from streaming.upstream_settings import secrets_of
from streaming.usage_meter import UsageMeter


@dataclass(frozen=True, slots=True)
class Guardrail:
    """The rules for one request, as they were when it began. Implements ``upstreams.Guardrail``."""

    stream: str
    meter: UsageMeter
    prompts: RuleSet
    answers: RuleSet
    on_prompt_hit: HitHandler
    on_answer_hit: HitHandler
    secrets: tuple[str, ...] = ()
    """The operator's credentials, which an upstream's errors may quote."""
    prompt_notices: list[Notice] = field(default_factory=list)
    """What the rules did to the prompt, for its sender."""

    async def moderate_prompt(self, fields: dict[str, Any]) -> None:
        self.prompt_notices.extend(await moderate_prompt(fields, self.prompts, self.on_prompt_hit, self.meter))

    def clean(self, words: str) -> str:
        return answer.clean(words, self.answers)

    def moderate_answer(self, *, is_json: bool = False) -> AnswerModeration:
        """The moderation of the answer, which a Relay feeds as it comes; ``is_json`` if it was asked for in JSON."""
        return AnswerModeration(self.answers, self.on_answer_hit, is_json=is_json, secrets=self.secrets)

    async def moderate_completion(self, data: str, *, is_json: bool = False) -> dict[str, Any]:
        return await moderate_completion(data, self.answers, self.on_answer_hit, is_json=is_json, meter=self.meter)


async def begin(
    request: HttpRequest, upstream: str, stream: str | None = None, *, models: Iterable[str] = ()
) -> Guardrail:
    """The guardrail of a stream of this upstream, under an id of its own unless it has one.

    ``models``: all names of the model that is asked for, if it is known.
    """
    stream = stream or formats.new_stream_id()
    meter = await usage_log.begin(request, upstream, stream)
    return await _guardrail(request, upstream, stream, meter, await audience_of(request, models))


async def audience_of(request: HttpRequest, models: Iterable[str]) -> frozenset[str]:
    """What is true of a request, as the scope of rules has it (``RuleScope.only_for``)."""
    caller = await caller_of(request)
    labels = {f"model:{model}" for model in models}
    if caller.api_key:
        labels.add(f"key:{caller.username}/{caller.api_key.name}")
    if caller.is_known and rulebook.mentions("group"):
        labels |= {f"group:{name}" async for name in caller.user.groups.values_list("name", flat=True)}
    return frozenset(labels)


async def for_another(
    guardrail: Guardrail, request: HttpRequest, upstream: str, *, models: Iterable[str] = ()
) -> Guardrail:
    """The guardrail of the same stream, should another upstream answer."""
    return await _guardrail(request, upstream, guardrail.stream, guardrail.meter, await audience_of(request, models))


async def _guardrail(
    request: HttpRequest, upstream: str, stream: str, meter: UsageMeter, audience: frozenset[str]
) -> Guardrail:
    who = (await caller_of(request)).username

    async def of(direction: Direction) -> tuple[RuleSet, HitHandler]:
        snapshot = await rulebook.current(upstream, direction, audience)
        on_hit = hit_log.on_hit(hit_log.StreamInfo(stream, upstream, direction, snapshot.version, who))
        return snapshot.rule_set, usage_log.counting(on_hit, meter)

    (prompts, on_prompt_hit), (answers, on_answer_hit) = await of("prompts"), await of("answers")
    return Guardrail(stream, meter, prompts, answers, on_prompt_hit, on_answer_hit, secrets_of(upstream))


class ModeratedTexts(NamedTuple):
    """The result of moderating complete texts, by choice and channel."""

    texts: dict[tuple[int, str], str]
    notices: list[Notice]
    is_blocked: bool


async def moderate_complete_texts(
    texts: Iterable[Delta | TextPart],
    rule_set: RuleSet,
    on_hit: HitHandler | None,
    *,
    is_json: bool = False,
    is_prompt: bool = False,
) -> ModeratedTexts:
    """Moderates complete texts without blocking the event loop. A block drops everything after it."""
    shown = defaultdict[tuple[int, str], list[str]](list)
    notices, moderation = list[Notice](), AnswerModeration(rule_set, on_hit, is_json=is_json, is_prompt=is_prompt)
    parts: list[Part] = [*texts, StreamEnd()]
    with closing(moderation):
        for part in moderation.feed(parts):
            if part is PAUSE:
                await asyncio.sleep(0)
            elif isinstance(part, Delta | TextPart):
                shown[part.choice, part.channel].append(part.text)
            elif isinstance(part, Notice):
                notices.append(part)
            elif isinstance(part, StreamEnd):
                joined = {name: "".join(pieces) for name, pieces in shown.items()}
                return ModeratedTexts(joined, notices, is_blocked=part.reason == "blocked")
    raise AssertionError("StreamEnd is always the last part")


async def moderate_prompt(
    fields: dict[str, Any], rule_set: RuleSet, on_hit: HitHandler | None = None, meter: UsageMeter | None = None
) -> list[Notice]:
    """Moderates the texts of a chat completion request in place. PromptBlocked if a rule blocks one of them."""
    try:
        texts, refs = formats.extract_prompt(fields)
    except RecursionError as error:
        raise PromptTooDeep from error
    texts = list(texts)
    chars = sum(len(text.text) for text in texts)
    if meter:
        meter.count_prompt(chars)
    _refuse_if_too_long(chars)
    moderated = await moderate_complete_texts(texts, rule_set, on_hit, is_prompt=True)
    if moderated.is_blocked:
        notice = moderated.notices[-1]
        raise PromptBlocked(notice.category, notice.notice)
    formats.put_back(refs, moderated.texts)
    return moderated.notices


def _refuse_if_too_long(chars: int) -> None:
    if 0 < (most := conf.max_prompt_chars()) < chars:
        raise PromptTooLong(chars, most)


async def moderate_completion(
    data: str,
    rule_set: RuleSet,
    on_hit: HitHandler | None = None,
    *,
    is_json: bool = False,
    meter: UsageMeter | None = None,
) -> dict[str, Any]:
    """A complete chat completion with its texts moderated. FormatError if ``data`` is not one."""
    completion, (texts, refs) = formats.read_completion(data)
    if meter:
        chars = sum(len(text.text) for text in texts if isinstance(text, Delta))
        meter.count_completion(chars, formats.token_counts(completion))
    notices = list[Notice]()
    for index in sorted({text.choice for text in texts}):
        choice_texts = [text for text in texts if text.choice == index]
        moderated = await moderate_complete_texts(choice_texts, rule_set, on_hit, is_json=is_json)
        formats.put_back([ref for ref in refs if ref.choice == index], moderated.texts)
        if moderated.is_blocked:
            formats.end_choice(completion, index)
        notices += moderated.notices
    return formats.with_notices(completion, notices)
