"""Which of several upstreams of one model is asked: order, weight, cooldown; and the settings that say so."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from streaming import upstream_settings
from streaming.upstream_settings import Route, UpstreamConfig, read_config
from streaming.upstreams import (
    BadPrompt,
    Broken,
    Busy,
    Closed,
    PostOnly,
    Refused,
    Silent,
    Unreachable,
    UpstreamError,
)
from streaming.upstreams.routing import LONGEST_COOLDOWN, Cooldowns, in_order, may_try_next

OPENAI = {"URL": "http://x/v1", "FORMAT": "openai"}


def route(name: str, **more: Any) -> Route:
    return Route(UpstreamConfig(name, "http://x", **more), "m")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def names(routes: list[Route]) -> list[str]:
    return [each.upstream.name for each in routes]


class TestTheOrder:
    def test_is_that_of_the_settings(self) -> None:
        routes = [route("c", order=2), route("a"), route("b", order=1)]

        assert all(names(in_order(routes, Cooldowns(), random.Random(n))) == ["a", "b", "c"] for n in range(20))

    def test_is_random_in_proportion_to_the_weights(self) -> None:
        routes, dice = [route("a", weight=3.0), route("b", weight=1.0)], random.Random(1)

        first = Counter(names(in_order(routes, Cooldowns(), dice))[0] for _ in range(4_000))

        assert 2_850 < first["a"] < 3_150

    def test_ends_with_those_that_failed_until_their_cooldown_is_over(self) -> None:
        clock, dice = Clock(), random.Random(1)
        routes = [route("a", cooldown=15.0), route("b", order=1, cooldown=5.0), route("c", order=2)]
        cooldowns = Cooldowns(clock)
        cooldowns.begin(routes[0], Unreachable("a", "cannot be reached"))
        cooldowns.begin(routes[1], Unreachable("b", "cannot be reached"))

        assert names(in_order(routes, cooldowns, dice)) == ["c", "b", "a"]
        clock.now += 5
        assert names(in_order(routes, cooldowns, dice)) == ["b", "c", "a"]
        clock.now += 10
        assert names(in_order(routes, cooldowns, dice)) == ["a", "b", "c"]

    def test_is_restored_when_an_upstream_answers(self) -> None:
        routes, cooldowns = [route("a"), route("b", order=1)], Cooldowns()
        cooldowns.begin(routes[0], Silent("a", "did not answer"))
        cooldowns.end(routes[0])

        assert names(in_order(routes, cooldowns, random.Random(1))) == ["a", "b"]


class TestACooldown:
    @pytest.mark.parametrize(("asked", "seconds"), [("", 15), ("3", 15), ("60", 60), ("999999", LONGEST_COOLDOWN)])
    def test_is_as_long_as_the_upstream_asks_for(self, asked: str, seconds: float) -> None:
        cooldowns, one = Cooldowns(Clock()), route("a")

        cooldowns.begin(one, Refused("a", 429, "answered 429", retry_after=asked))

        assert cooldowns.seconds_left(one) == seconds

    def test_is_not_for_an_upstream_that_is_only_busy(self) -> None:
        cooldowns, one = Cooldowns(Clock()), route("a")

        cooldowns.begin(one, Busy("a", "already has 1 open stream"))

        assert cooldowns.seconds_left(one) == 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((kind("a", "failed"), True) for kind in (Unreachable, Silent, Busy, Broken)),
        *((kind("a", "failed"), False) for kind in (BadPrompt, Closed, PostOnly)),
        *((Refused("a", status, "refused"), True) for status in (401, 403, 408, 429, 500, 502, 503, 529)),
        *((Refused("a", status, "refused"), False) for status in (400, 404, 413, 422)),
    ],
)
def test_another_upstream_is_tried_unless_the_request_is_at_fault(error: UpstreamError, expected: bool) -> None:
    assert may_try_next(error) is expected


class TestTheSettings:
    def test_give_models_public_names(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {
            "one": {**OPENAI, "MODELS": {"fast": "vendor/fast-2", "big": "vendor/big-7"}},
            "two": {**OPENAI, "MODELS": ["fast"]},
        }

        routes = {
            name: [(it.upstream.name, it.model) for it in found] for name, found in upstream_settings.routes().items()
        }

        assert routes == {"fast": [("one", "vendor/fast-2"), ("two", "fast")], "big": [("one", "vendor/big-7")]}
        assert names(upstream_settings.find_routes("two/fast")) == ["two"]
        assert upstream_settings.find_routes("one/big")[0].model == "vendor/big-7"
        assert upstream_settings.find_routes("vendor/big-7") == []
        assert upstream_settings.public_names("one", "vendor/fast-2") == ["fast", "one/fast"]

    def test_read_a_key_from_a_file_again_when_it_changes(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        entry = {**OPENAI, "API_KEY_FILE": str(file)}
        file.write_text("first-key\n")
        assert read_config("x", entry).headers["Authorization"] == "Bearer first-key"

        (tmp_path / "new").write_text("other-key\n")
        os.replace(tmp_path / "new", file)  # noqa: PTH105 (as secrets are replaced: at once)

        assert read_config("x", entry).headers["Authorization"] == "Bearer other-key"
        assert "other-key" in read_config("x", entry).secrets

    @pytest.mark.parametrize("content", [None, b"", b" \n", b"two\nlines", b"\xff\xfe"])
    def test_name_a_key_file_that_has_no_key(self, tmp_path: Path, content: bytes | None) -> None:
        file = tmp_path / "key"
        if content is not None:
            file.write_bytes(content)

        with pytest.raises(ImproperlyConfigured, match="API_KEY_FILE"):
            read_config("x", {**OPENAI, "API_KEY_FILE": str(file)})

    @pytest.mark.parametrize(
        "wrong",
        [
            *({"ORDER": it} for it in ("1", 1.5, True, None)),
            *({"WEIGHT": it} for it in (0, -1, "2", float("inf"))),
            *({"COOLDOWN": it} for it in (-1, "x", float("nan"))),
            *({"MODELS": it} for it in ({"a": ""}, {"a": 1}, {"": "a"})),
            {"API_KEY_FILE": "/x", "API_KEY_ENV": "X"},
        ],
    )
    def test_name_what_is_wrong(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ImproperlyConfigured, match=rf"STREAMING_UPSTREAMS\['x'\].*{next(iter(wrong))}"):
            read_config("x", {**OPENAI, **wrong})
