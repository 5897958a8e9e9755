"""One completion request, prepared for each of the upstreams that have its model, in turn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.http import HttpRequest

from streaming import guardrails, upstream_settings, upstreams
from streaming.guardrails import Guardrail
from streaming.upstream_settings import Route


class Attempts:
    """What ``upstreams.complete`` tries. ``guardrail`` is that of the upstream which was tried last."""

    def __init__(self, request: HttpRequest, fields: dict[str, Any], routes: Sequence[Route]) -> None:
        self._request = request
        self._fields = fields
        self._routes = routes
        self._moderated: dict[str, Any] | None = None
        self.guardrail: Guardrail

    async def begin(self) -> Guardrail:
        """Looks up the rules for the first upstream."""
        first, *others = self._routes
        request = self._request
        guardrail = await guardrails.begin(request, first.upstream.name, models=_names(first))
        more = [
            await guardrails.for_another(guardrail, request, route.upstream.name, models=_names(route))
            for route in others
        ]
        found = [guardrail, *more]
        # Any of them may answer: none of their secrets may be quoted.
        secrets = tuple(dict.fromkeys(secret for each in found for secret in each.secrets))
        self._guardrails = [replace(each, secrets=secrets) for each in found]
        self.guardrail = self._guardrails[0]
        return self.guardrail

    @property
    def prepares(self) -> list[upstreams.Prepare]:
        return [partial(self._prepare, number) for number in range(len(self._routes))]

    @property
    def may_answer_late(self) -> bool:
        """Whether the rules for the answer are known before it is known which upstream answers."""
        return all(each.answers is self.guardrail.answers for each in self._guardrails)

    @property
    def _moderates_again(self) -> bool:
        """Whether other rules for prompts apply to another of the upstreams."""
        return any(each.prompts is not self._guardrails[0].prompts for each in self._guardrails)

    async def _prepare(self, number: int) -> upstreams.Attempt:
        route, guardrail = self._routes[number], self._guardrails[number]
        if self._moderated is None or guardrail.prompts is not self.guardrail.prompts:
            # Not deepcopy, which goes less deep than JSON that was read.
            self._moderated = json.loads(json.dumps(self._fields)) if self._moderates_again else self._fields
            guardrail.meter.prompt_chars = None
            await guardrail.moderate_prompt(self._moderated)
        self.guardrail = guardrail
        guardrail.meter.upstream = route.upstream.name
        upstream = upstreams.config_of(route.upstream.name, self._request)
        return upstreams.Attempt(upstream, {**self._moderated, "model": route.model}, guardrail)


def _names(route: Route) -> list[str]:
    return [route.model, *upstream_settings.public_names(route.upstream.name, route.model)]
