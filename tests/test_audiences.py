"""Rules that are limited to a model, an API key or a group of users, besides upstreams."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.core.exceptions import ValidationError

from streaming.models import ModerationRule
from streaming.rule_exports import export
from streaming.rule_fields import RuleScope, read_labels
from streaming.rule_files import read, write_csv
from tests.conftest import DEADLINE, PASSWORD, Connection, ScriptedUpstream, Site, eventually, manage
from tests.test_limits import CHUNK, chat


def scope(*only_for: str) -> RuleScope:
    return RuleScope(frozenset(), "both", None, None, frozenset(only_for))


class TestAScope:
    @pytest.mark.parametrize(
        ("only_for", "audience", "covered"),
        [
            ((), {"model:a"}, True),
            (("model:a",), {"model:a", "key:ann/x"}, True),
            (("model:a", "model:b"), {"model:b"}, True),
            (("model:a",), {"model:b"}, False),
            (("model:a",), set(), False),
            (("model:a", "group:staff"), {"model:a"}, False),
            (("model:a", "group:staff"), {"model:a", "group:staff", "group:other"}, True),
            (("key:ann/x",), {"key:bob/x"}, False),
        ],
    )
    def test_needs_one_label_of_each_kind(self, only_for: tuple[str, ...], audience: set[str], covered: bool) -> None:
        assert scope(*only_for).covers("up", "prompts", frozenset(audience)) is covered
        assert scope(*only_for).covers("up", "prompts"), "of any audience"

    @pytest.mark.parametrize(
        ("one", "other", "both"),
        [
            ((), ("model:a",), ("model:a",)),
            (("model:a",), ("group:g",), ("model:a", "group:g")),
            (("model:a", "model:b"), ("model:b", "model:c"), ("model:b",)),
            (("model:a", "key:k/k"), ("model:a", "model:c"), ("model:a", "key:k/k")),
        ],
    )
    def test_within_another_is_what_both_cover(
        self, one: tuple[str, ...], other: tuple[str, ...], both: tuple[str, ...]
    ) -> None:
        assert scope(*one).within(scope(*other)) == scope(*other).within(scope(*one)) == scope(*both)

    def test_within_another_is_nothing_if_they_exclude_each_other(self) -> None:
        assert scope("model:a").within(scope("model:b", "group:g")) is None


class TestLabels:
    def test_are_read_as_people_write_them(self) -> None:
        text = " Model: gpt-4o:latest \r\nkey:ann/my laptop; group:staff,model:gpt-4o:latest"

        assert read_labels(text) == ["model:gpt-4o:latest", "key:ann/my laptop", "group:staff"]

    @pytest.mark.parametrize("text", ["gpt-4o", "models:x", "key:", ":x"])
    def test_that_are_none_are_named(self, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            read_labels(f"model:a|{text}")


@pytest.mark.django_db
class TestARule:
    def test_is_checked_and_written_in_one_way(self) -> None:
        rule = ModerationRule(pattern="x", only_for=["Group: staff", "model:a"])
        rule.full_clean()
        assert rule.only_for == ["group:staff", "model:a"]

        for wrong in (["staff"], "model:a", [5]):
            with pytest.raises(ValidationError) as error:
                ModerationRule(pattern="x", only_for=wrong).full_clean()
            assert "only_for" in error.value.message_dict

    def test_is_exported_and_read_back(self) -> None:
        ModerationRule.objects.create(pattern="x", only_for=["model:a", "key:ann/x"])
        [row] = export()

        [(_, read_back)] = read("".join(write_csv([row])).encode()).rows
        [refused] = read(b"pattern,only_for\nx,staff\n").refused

        assert row.only_for == ("model:a", "key:ann/x")
        assert read_back == row
        assert "“staff” is not like model:gpt-4o" in refused.reason

    def test_is_edited_in_the_admin(self, moderator: Any) -> None:
        fields = {"pattern": "x", "action": "mask", "enabled": "on", "only_for": "model:a\r\ngroup:staff"}

        moderator.post("/admin/streaming/moderationrule/add/", fields)
        refused = moderator.post("/admin/streaming/moderationrule/add/", {**fields, "only_for": "staff"})

        assert ModerationRule.objects.get().only_for == ["model:a", "group:staff"]
        assert "is not like model:gpt-4o" in refused.content.decode()
        assert "model:a" in moderator.get("/admin/streaming/moderationrule/").content.decode()


def test_rules_follow_the_model_the_key_and_the_group(
    make_site: Callable[..., Site], upstream: ScriptedUpstream
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.body()
        message = {"role": "assistant", "content": "the model, the key, the group"}
        body = {**CHUNK, "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
        await connection.begin(kind="application/json")
        await connection.send(json.dumps(body).encode())

    upstream.script = answer
    entry = {"URL": f"{upstream.url}/v1", "FORMAT": "openai", "MODELS": {"a": "own-a", "b": "own-b"}}
    site = make_site(STREAMING_ACCESS="login", STREAMING_UPSTREAMS=json.dumps({"llm": entry}))
    code = """
from django.contrib.auth.models import Group, User
from streaming.models import ModerationRule as R
bob = User.objects.create_user("bob", password="%s")
bob.groups.add(Group.objects.create(name="staff"))
for word, label in (("model", "model:a"), ("key", "key:admin/limited"), ("group", "group:staff")):
    R.objects.create(pattern=word, action="drop", only_for=[label])
"""
    assert manage(site.folder, "shell", "-c", code % PASSWORD).returncode == 0

    def key(*arguments: str) -> str:
        return manage(site.folder, "create_key", *arguments).stdout.strip()

    limited, bobs = key("limited"), key("limited", "--owner", "bob")

    def said(secret: str, model: str) -> str:
        return str(chat(site, secret, model=model).json()["choices"][0]["message"]["content"])

    eventually(lambda: said(Site.admins_key, "a") == "the , the key, the group", "the rules are in force")
    assert said(Site.admins_key, "b") == "the model, the key, the group"
    assert said(limited, "b") == "the model, the , the group"
    assert said(bobs, "b") == "the model, the key, the ", "a key of another owner, who is in the group"
    assert said(bobs, "llm/a") == "the , the key, the ", "by its other name, too"

    transferred = httpx.post(
        f"{site.url}/transfer/llm",
        json={"prompt": "hi", "model": "own-a"},
        headers={"x-api-key": limited},
        timeout=DEADLINE,
    )
    assert "the , the , the group" in "".join(
        json.loads(line[6:]).get("delta", "") for line in transferred.text.splitlines() if line.startswith("data: ")
    )
