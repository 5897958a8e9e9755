"""The rules in force: what a moderator changed holds for the next stream, and nothing is compiled twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from streaming import rulebook
from streaming.models import ModerationRule
from streaming.moderation import Finding, Moderator, RuleError, RuleSet, Text

pytestmark = pytest.mark.django_db(transaction=True)

rules = ModerationRule.objects


@pytest.fixture(autouse=True)
def nothing_compiled_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulebook, "_snapshot", (None, RuleSet([])))


def shown(rule_set: RuleSet, text: str) -> str:
    moderator = Moderator(rule_set)
    return "".join(part.text for part in [*moderator.feed(text), *moderator.finish()] if isinstance(part, Text))


async def now(text: str = "darn, heck and 中文") -> str:
    return shown(await rulebook.current(), text)


async def test_without_rules_everything_goes_through() -> None:
    assert await now() == "darn, heck and 中文"


async def test_every_change_holds_for_the_next_snapshot() -> None:
    darn = await rules.acreate(pattern="darn")
    assert await now() == "****, heck and 中文"

    await rules.acreate(pattern="中文")
    assert await now() == "****, heck and **"

    darn.pattern = "heck"
    await darn.asave()
    assert await now() == "darn, **** and **"

    await rules.filter(pattern="中文").aupdate(enabled=False)
    assert await now() == "darn, **** and 中文"

    await darn.adelete()
    assert await now() == "darn, heck and 中文"


async def test_rules_are_compiled_only_when_they_have_changed() -> None:
    rule = await rules.acreate(pattern="darn")

    one, same = await rulebook.current(), await rulebook.current()
    await rule.asave()
    other = await rulebook.current()

    assert one is same
    assert other is not one


async def test_a_stream_keeps_the_snapshot_it_began_with() -> None:
    rule = await rules.acreate(pattern="darn")
    begun_with = await rulebook.current()

    await rule.adelete()

    assert await now("darn") == "darn"
    assert shown(begun_with, "darn") == "****"


async def test_the_older_of_two_rules_for_a_pattern_counts() -> None:
    older = await rules.acreate(pattern="darn")
    newer = await rules.acreate(pattern="Darn")
    await older.asave()  # its edit does not make it younger

    (finding,) = [part for part in Moderator(await rulebook.current()).feed("darn!") if isinstance(part, Finding)]
    assert finding.rule.id == older.pk != newer.pk


async def test_while_the_rules_cannot_be_compiled_the_last_good_ones_hold(said_in_log: Callable[[], str]) -> None:
    await rules.acreate(pattern="darn")
    await rulebook.current()
    wrong = await rules.acreate(pattern="\u200b")  # past the form, which would refuse it

    assert await now("darn") == "****"
    assert "cannot be compiled" in said_in_log()

    await wrong.adelete()
    await rules.acreate(pattern="heck")
    assert await now() == "****, **** and 中文"


async def test_no_text_goes_out_when_there_never_were_good_ones() -> None:
    await rules.acreate(pattern="\u200b")

    with pytest.raises(RuleError):
        await rulebook.current()


async def test_is_asked_of_the_database_in_one_query_while_nothing_changes(
    django_assert_num_queries: Any,
) -> None:
    await rulebook.current()

    def load() -> None:
        with django_assert_num_queries(1):
            rulebook._load()

    await sync_to_async(load)()
