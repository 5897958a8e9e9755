"""The models of rules: their values, their validation, and the version that counts changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import serializers
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from streaming.models import ModerationRule, RuleList
from streaming.moderation import Rule
from streaming.rule_fields import Direction, RuleScope
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


def test_pattern_kind_and_comparison_are_unique_together_in_a_list() -> None:
    rule_list = RuleList.objects.create(name="words")
    rules.create(pattern="darn")
    rules.create(pattern="darn", rule_list=rule_list)

    ModerationRule(pattern="darn", kind="regex").full_clean()
    ModerationRule(pattern="darn", compare="loose").full_clean()
    ModerationRule(pattern="darn", rule_list=RuleList.objects.create(name="other words")).full_clean()
    for same in (None, rule_list):
        with pytest.raises(ValidationError, match="The list has a rule with this pattern and comparison already"):
            ModerationRule(pattern="darn", action="block", rule_list=same).full_clean()
        with transaction.atomic(), pytest.raises(IntegrityError):
            rules.bulk_create([ModerationRule(pattern="darn", action="block", rule_list=same)])


def test_a_bulk_update_of_the_comparison_makes_other_rules_of_them() -> None:
    rules.bulk_create(ModerationRule(pattern=f"rule {number}") for number in range(1203))

    assert rules.filter(compare="normal").exclude(pattern="rule 7").update(compare="loose") == 1202

    assert {rule.fingerprint for rule in rules.all()} == {rule.make_fingerprint() for rule in rules.all()}
    assert set(rules.filter(compare="normal").values_list("pattern", flat=True)) == {"rule 7"}


class TestAList:
    NOW = datetime(2026, 1, 1, tzinfo=UTC)

    @pytest.fixture
    def words(self) -> RuleList:
        words = RuleList.objects.create(name="words")
        rules.create(pattern="in it", rule_list=words)
        rules.create(pattern="by hand")
        return words

    def test_switches_its_rules(self, words: RuleList) -> None:
        assert [rule.pattern for rule in rules.in_force()] == ["in it", "by hand"]

        words.enabled = False
        words.save()

        assert [rule.pattern for rule in rules.in_force()] == ["by hand"]

    def test_scopes_its_rules(self, words: RuleList) -> None:
        words.upstreams, words.applies_to = ["x", "y"], "prompts"
        words.save()
        rules.filter(pattern="in it").update(upstreams=["y", "z"])

        def patterns(upstream: str, direction: Direction) -> set[str]:
            return {rule.pattern for rule in rules.in_force(upstream, direction)}

        assert patterns("y", "prompts") == {"in it", "by hand"}
        for elsewhere in (("x", "prompts"), ("z", "prompts"), ("y", "answers")):
            assert patterns(*elsewhere) == {"by hand"}  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("of_rule", "of_list", "both"),
        [
            ({}, {}, {}),
            ({"upstreams": {"a"}}, {}, {"upstreams": {"a"}}),
            ({}, {"upstreams": {"a"}}, {"upstreams": {"a"}}),
            ({"upstreams": {"a", "b"}}, {"upstreams": {"b", "c"}}, {"upstreams": {"b"}}),
            ({"upstreams": {"a"}}, {"upstreams": {"b"}}, None),
            ({"applies_to": "prompts"}, {"applies_to": "both"}, {"applies_to": "prompts"}),
            ({"applies_to": "prompts"}, {"applies_to": "answers"}, None),
            ({"valid_from": 1}, {"valid_from": 2}, {"valid_from": 2}),
            ({"valid_until": 1}, {"valid_until": 2}, {"valid_until": 1}),
            ({"valid_from": 1}, {"valid_until": 2}, {"valid_from": 1, "valid_until": 2}),
            ({"valid_from": 2}, {"valid_until": 2}, None),
        ],
    )
    def test_adds_its_scope_to_that_of_a_rule(self, of_rule: Any, of_list: Any, both: Any) -> None:
        def scope(upstreams: Any = (), applies_to: str = "both", **days: int) -> RuleScope:
            moments = [
                self.NOW + timedelta(days[name]) if name in days else None for name in ("valid_from", "valid_until")
            ]
            return RuleScope(frozenset(upstreams), applies_to, *moments)

        expected = None if both is None else scope(**both)
        assert scope(**of_rule).within(scope(**of_list)) == expected
        assert scope(**of_list).within(scope(**of_rule)) == expected

    def test_takes_its_rules_with_it_when_it_is_deleted(self, words: RuleList) -> None:
        words.delete()

        assert [rule.pattern for rule in rules.all()] == ["by hand"]

    @pytest.mark.parametrize(
        "change",
        [
            lambda words: RuleList.objects.create(name="new"),
            lambda words: RuleList.objects.bulk_create([RuleList(name="new")]),
            lambda words: words.save(),
            lambda words: words.save(update_fields=["enabled"]),
            lambda words: RuleList.objects.update(enabled=False),
            lambda words: words.delete(),
            lambda words: RuleList.objects.all().delete(),
        ],
    )
    def test_increases_the_version_when_it_changes(self, words: RuleList, change: Callable[[RuleList], Any]) -> None:
        before = rules.version()

        change(words)

        assert rules.version() > before

    def test_that_was_changed_changes_its_rules(self, words: RuleList) -> None:
        moment = timezone.now()
        assert rules.changed_since(moment, 10) == []

        words.enabled = False
        words.save()

        assert [(each.rule.pattern, enabled) for each, enabled in rules.changed_since(moment, 10) or ()] == [
            ("in it", False)
        ]
        assert rules.changed_since(moment, 0) is None


def test_a_rule_is_displayed_as_action_and_pattern() -> None:
    assert str(ModerationRule(pattern="darn")) == "mask darn"


@pytest.mark.django_db(transaction=True)
def test_migrations_keep_the_meaning_of_old_rules() -> None:
    executor = MigrationExecutor(connection)
    first = executor.migrate([("streaming", "0001_initial")]).apps.get_model("streaming", "ModerationRule")
    for action in ("mask", "block", "drop"):
        first.objects.create(pattern="darn", action=action, category="c")

    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())

    assert [rule.action for rule in rules.in_force()] == ["mask", "block", "drop"]
    assert [(rule.pattern, rule.kind, rule.rule_list and rule.rule_list.name) for rule in rules.order_by("pk")] == [
        ("darn", "literal", None),
        ("darn", "literal", "Same patterns, other actions (1)"),
        ("darn", "literal", "Same patterns, other actions (2)"),
    ]
    assert {rule.fingerprint for rule in rules.all()} == {ModerationRule.fingerprint_of("literal", "normal", "darn")}
    with pytest.raises(ValidationError, match="The list has a rule with this pattern and comparison already"):
        ModerationRule(pattern="darn").full_clean()


def test_loading_a_fixture_increases_the_version() -> None:
    rule = rules.create(pattern="darn")
    before = rules.version()

    for loaded in serializers.deserialize("json", serializers.serialize("json", [rule])):
        loaded.save()

    assert rules.version() > before


def test_the_rules_of_a_list_on_trial_are_on_trial() -> None:
    on_trial = RuleList.objects.create(name="new words", on_trial=True)
    in_force = RuleList.objects.create(name="words")
    for rule_list, pattern in [(on_trial, "a"), (in_force, "b"), (None, "c")]:
        rules.create(pattern=pattern, rule_list=rule_list)

    expected = {"a": True, "b": False, "c": False}
    assert {rule.pattern: rule.on_trial for rule in rules.in_force()} == expected
    changed = rules.changed_since(timezone.now() - timedelta(hours=1), 9)
    assert {scoped.rule.pattern: scoped.rule.on_trial for scoped, _ in changed or ()} == expected
