"""The models of rules: their values, their validation, and the version that counts changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import serializers
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from streaming.models import ModerationRule
from streaming.moderation import Rule
from streaming.rule_files import COLUMNS

pytestmark = pytest.mark.django_db

rules = ModerationRule.objects


def test_a_pattern_alone_makes_a_rule_that_masks() -> None:
    rule = rules.create(pattern="darn")

    assert rule.as_value() == Rule(rule.pk, "darn", action="mask", category="")
    assert rule.enabled


def test_the_enabled_rules_are_used_oldest_first() -> None:
    one = rules.create(pattern="one", category="c")
    rules.create(pattern="off", enabled=False)
    two = rules.create(pattern="two", action="block")
    one.save()  # the last that was changed

    assert rules.in_force() == [
        Rule(one.pk, "one", action="mask", category="c"),
        Rule(two.pk, "two", action="block"),
    ]


def test_files_and_the_admin_have_every_editable_field() -> None:
    editable = {
        field.name for field in ModerationRule._meta.concrete_fields if field.editable and not field.primary_key
    }

    assert set(COLUMNS) == editable


CHANGES: dict[str, Callable[[ModerationRule], Any]] = {
    "an addition": lambda rule: rules.create(pattern="new"),
    "many additions": lambda rule: rules.bulk_create([ModerationRule(pattern="new"), ModerationRule(pattern="newer")]),
    "an edit": lambda rule: (setattr(rule, "pattern", "other"), rule.save()),
    "an edit of one field": lambda rule: (setattr(rule, "enabled", False), rule.save(update_fields=["enabled"])),
    "a bulk update": lambda rule: rules.filter(pk=rule.pk).update(enabled=False),
    "an update of many at once": lambda rule: (
        setattr(rule, "category", "c"),
        rules.bulk_update([rule], ["category"]),
    ),
    "a deletion": lambda rule: rule.delete(),
    "a bulk deletion": lambda rule: rules.filter(pk=rule.pk).delete(),
    "a deletion and an addition": lambda rule: (rule.delete(), rules.create(pattern="new")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_every_change_increases_the_version(change: Callable[[ModerationRule], Any], which: int) -> None:
    made = [rules.create(pattern=f"rule {number}") for number in range(3)]
    before = rules.version()
    assert rules.version() == before

    change(made[which])

    assert rules.version() != before


@pytest.mark.parametrize("pattern", ["\u200b", "\u0301\u0301", "ﷺ" * 256])
def test_an_invalid_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ModerationRule(pattern=pattern).full_clean()

    assert set(refused.value.message_dict) == {"pattern"}


def test_pattern_and_action_are_unique_together() -> None:
    rules.create(pattern="darn")

    ModerationRule(pattern="darn", action="block").full_clean()
    with pytest.raises(ValidationError, match="A rule with this pattern and action already exists"):
        ModerationRule(pattern="darn").full_clean()


def test_a_rule_is_displayed_as_action_and_pattern() -> None:
    assert str(ModerationRule(pattern="darn")) == "mask darn"


@pytest.mark.django_db(transaction=True)
def test_migrations_keep_the_meaning_of_old_rules() -> None:
    executor = MigrationExecutor(connection)
    first = executor.migrate([("streaming", "0001_initial")]).apps.get_model("streaming", "ModerationRule")
    for action in ("mask", "block"):
        first.objects.create(pattern="darn", action=action, category="c")

    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())

    assert [(rule.pattern, rule.action, rule.kind) for rule in rules.order_by("pk")] == [
        ("darn", "mask", "literal"),
        ("darn", "block", "literal"),
    ]
    assert {rule.fingerprint for rule in rules.all()} == {ModerationRule.fingerprint_of("literal", "darn")}
    with pytest.raises(ValidationError, match="A rule with this pattern and action already exists"):
        ModerationRule(pattern="darn").full_clean()


def test_loading_a_fixture_increases_the_version() -> None:
    rule = rules.create(pattern="darn")
    before = rules.version()

    for loaded in serializers.deserialize("json", serializers.serialize("json", [rule])):
        loaded.save()

    assert rules.version() > before
