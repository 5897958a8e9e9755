"""Nothing is final: editions can be compared, undone and brought back, deleted rules restored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core import serializers
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from streaming import editions, rule_history, rule_imports
from streaming.editions import KEEP_DAYS, Edition, Revision, RuleEdition, changing, kept_fields
from streaming.models import ModerationRule, RuleList

pytestmark = pytest.mark.django_db
rules = ModerationRule.objects


@pytest.fixture
def ann() -> Any:
    return get_user_model().objects.create_user("ann")


def state() -> dict[Any, Any]:
    """All rules and lists, by primary key, with every value that can be edited."""
    return {
        (model.__name__, row.pk): {each.attname: getattr(row, each.attname) for each in kept_fields(model)}
        for model in (ModerationRule, RuleList)
        for row in model.objects.all()
    }


def newest() -> int:
    return rules.version()


class TestEveryChangeIsAnEdition:
    def test_that_knows_what_was_added_changed_and_deleted(self) -> None:
        rule = rules.create(pattern="darn")
        rule.category = "c"
        rule.save()
        rule.delete()

        counts = RuleEdition.objects.order_by("number").values_list("added", "changed", "removed")
        assert list(counts) == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
        assert [each.how for each in Revision.objects.order_by("edition_id")] == ["+", "~", "-"]

    def test_changes_that_belong_together_are_one_edition_by_one_person(self) -> None:
        with changing(who="ann"):
            one, two = rules.create(pattern="one"), rules.create(pattern="two")
            rules.filter(pk=one.pk).update(category="c")
            two.delete()

        edition = RuleEdition.objects.get()
        assert (edition.who, edition.added, edition.changed, edition.removed) == ("ann", 1, 0, 0)

    def test_after_a_rollback_the_next_change_is_an_edition_of_its_own(self) -> None:
        with changing(who="ann"):
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                rules.create(pattern="one")
                raise ZeroDivisionError
            rules.create(pattern="two")

        assert [(each.edition.number, each.object_id) for each in Revision.objects.all()] == [
            (newest(), rules.get().pk)
        ]

    @pytest.mark.parametrize(
        "change",
        [
            lambda rule: rules.filter(pk=rule.pk).update(pattern="other"),
            lambda rule: (setattr(rule, "pattern", "other"), rules.bulk_update([rule], ["pattern"])),
            lambda rule: (setattr(rule, "pattern", "other"), rule.save(update_fields=["pattern"])),
            lambda rule: rules.all().delete(),
            lambda rule: RuleList.objects.get().delete(),
            lambda rule: RuleList.objects.all().delete(),
            lambda rule: rules.bulk_create([ModerationRule(pattern="new"), ModerationRule(pattern="newer")]),
            lambda rule: RuleList.objects.update(enabled=False),
            lambda rule: load(rule, pattern="loaded"),
            lambda rule: bring("pattern,category,list\ndarn,other,words\nnew,,more\n"),
        ],
    )
    def test_however_it_is_made_it_can_be_undone(self, ann: Any, change: Any) -> None:
        rule = rules.create(pattern="darn", category="c", rule_list=RuleList.objects.create(name="words"))
        before, number = state(), newest()

        with changing():
            change(rule)
        assert state() != before

        rule_history.bring_back(number, ann)
        assert state() == before
        assert not rule_history.Comparison(number).differences(9)


def load(rule: ModerationRule, **changes: Any) -> None:
    """As ``loaddata`` does."""
    for name, value in changes.items():
        setattr(rule, name, value)
    for each in serializers.deserialize("json", serializers.serialize("json", [rule])):
        each.save()


def bring(csv: str) -> None:
    rule_imports.carry_out(rule_imports.save_preview(csv.encode(), "w.csv", "ann", {}))


class TestUndo:
    def test_makes_undone_what_an_edition_did_to_many_rules(self, ann: Any) -> None:
        made = rules.bulk_create(ModerationRule(pattern=f"word {number}") for number in range(1200))
        before = state()
        rules.filter(pk__in=[each.pk for each in made[:1100]]).update(action="block", category="c")

        outcome = rule_history.undo(newest(), ann)

        assert state() == before
        assert (outcome.restored, outcome.removed, outcome.edited_since) == (1100, 0, 0)
        edition = RuleEdition.objects.get(number=newest())
        assert (edition.who, edition.what, edition.changed) == ("ann", "undo", 1100)

    def test_leaves_what_was_edited_since(self, ann: Any) -> None:
        one, two = rules.create(pattern="one"), rules.create(pattern="two")
        rules.update(category="c")
        number = newest()
        rules.filter(pk=two.pk).update(note="n")

        outcome = rule_history.undo(number, ann)

        assert dict(rules.values_list("pattern", "category")) == {"one": "", "two": "c"}
        assert outcome.edited_since == 1
        assert one.pk

    def test_can_be_undone_in_its_turn(self, ann: Any) -> None:
        rules.create(pattern="one")
        rules.update(category="c")
        rule_history.undo(newest(), ann)

        rule_history.undo(newest(), ann)

        assert rules.get().category == "c"

    def test_gives_back_patterns_that_rules_have_exchanged(self, ann: Any) -> None:
        one, two = rules.create(pattern="one"), rules.create(pattern="two")
        number = newest()
        for rule, pattern in ((one, "x"), (two, "one"), (one, "two")):
            rule.pattern = pattern
            rule.save()

        rule_history.bring_back(number, ann)

        assert dict(rules.values_list("pk", "pattern")) == {one.pk: "one", two.pk: "two"}
        one.refresh_from_db()
        assert one.fingerprint == one.make_fingerprint()

    def test_gives_back_names_that_lists_have_exchanged(self, ann: Any) -> None:
        one, two = (RuleList.objects.create(name=name) for name in ("one", "two"))
        before, then = state(), newest()
        for each, name in ((one, "other"), (two, "one"), (one, "two")):
            each.name = name
            each.save()

        rule_history.bring_back(then, ann)

        assert state() == before


class TestDeletedRules:
    def test_are_restored_under_their_id_with_their_history_and_their_list(self, ann: Any) -> None:
        words = RuleList.objects.create(name="words", note="n")
        rule = rules.create(
            pattern="darn", category="c", valid_until=timezone.now() + timedelta(days=1), rule_list=words
        )
        LogEntry.objects.log_actions(ann.pk, [rule], 2, "edited", single_object=True)
        before = state()
        words.delete()
        assert not state()

        outcome = rule_history.restore(rule_history.deleted(), ann)

        after, deadline = state(), before["ModerationRule", rule.pk].pop("valid_until")
        restored = after["ModerationRule", rule.pk].pop("valid_until")
        assert after == before
        assert abs(deadline - restored) < timedelta(milliseconds=1)
        assert outcome.restored == 2
        assert list(LogEntry.objects.filter(object_id=str(rule.pk)).values_list("action_flag", flat=True)) == [1, 2]
        assert not rule_history.deleted().exists()

    def test_that_another_moderator_has_just_restored_and_edited_are_left_as_they_are(
        self, ann: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rule = rules.create(pattern="darn", category="old")
        pk, lock = rule.pk, Edition.bump
        rule.delete()

        def lock_later() -> int:
            monkeypatch.setattr(Edition, "bump", lock)
            rules.bulk_create([ModerationRule(pk=pk, pattern="darn", category="edited")])
            return lock()

        monkeypatch.setattr(Edition, "bump", lock_later)
        outcome = rule_history.restore(rule_history.deleted(), ann)

        assert (outcome.restored, rules.get().category) == (0, "edited")

    def test_are_not_restored_where_another_has_their_pattern(self, ann: Any) -> None:
        rules.create(pattern="darn").delete()
        rules.create(pattern="darn", action="block")

        outcome = rule_history.restore(rule_history.deleted(), ann)

        assert (outcome.restored, len(outcome.skipped), rules.get().action) == (0, 1, "block")

    def test_are_restored_into_the_list_that_has_the_name_of_theirs_by_now(self, ann: Any) -> None:
        """In no list they would apply where they never did."""
        old = RuleList.objects.create(name="words", upstreams=["one"])
        for pattern in ("darn", "heck"):
            rules.create(pattern=pattern, rule_list=old)
        old.delete()
        new = RuleList.objects.create(name="words", enabled=False)
        rules.create(pattern="heck", rule_list=new)

        outcome = rule_history.restore(rule_history.deleted(), ann)

        assert set(rules.values_list("pattern", "rule_list")) == {("darn", new.pk), ("heck", new.pk)}
        assert (outcome.restored, outcome.skipped) == (1, ["mask heck"])

    def test_are_listed_once_the_latest_first_and_found_by_their_pattern(self) -> None:
        for pattern in ("one", "two"):
            rules.create(pattern=pattern).delete()
        rules.create(pattern="there")

        found = rule_history.deleted()

        assert [each.before["pattern"] for each in found] == ["two", "one"]
        assert [each.before["pattern"] for each in rule_history.revisions_named(found, "ON")] == ["one"]

    def test_are_forgotten_after_30_days(self) -> None:
        rules.create(pattern="old").delete()
        RuleEdition.objects.update(when=timezone.now() - timedelta(days=KEEP_DAYS + 1))

        for number in range(3):
            rules.create(pattern=f"new {number}")

        assert not rule_history.deleted().exists()
        assert not rule_history.can_bring_back(1)
        assert rule_history.can_bring_back(newest() - 1)

    def test_of_which_a_part_is_forgotten_cannot_be_undone_by_halves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(editions, "FORGET_AT_ONCE", 3)
        rules.bulk_create(ModerationRule(pattern=f"word {number}") for number in range(5))
        old = newest()
        assert rule_history.can_bring_back(old - 1)
        RuleEdition.objects.update(when=timezone.now() - timedelta(days=KEEP_DAYS + 1))

        rules.create(pattern="new")

        assert Revision.objects.filter(edition=old).count() == 2
        assert not rule_history.can_bring_back(old - 1)
        assert rule_history.can_bring_back(old)


class TestAComparison:
    def test_lists_what_was_added_changed_and_deleted_between_two_editions(self) -> None:
        gone, edited = rules.create(pattern="gone"), rules.create(pattern="edited")
        since = newest()
        gone.delete()
        edited.category = "c"
        edited.save()
        new = rules.create(pattern="new")
        until = newest()
        new.delete()
        rules.create(pattern="newer").delete()

        comparison = rule_history.Comparison(since, until)

        assert comparison.counts == {"added": 1, "changed": 1, "removed": 1}
        found = {each.object_id: (each.how, list(each.changes())) for each in comparison.differences(9)}
        assert found[edited.pk] == ("~", [("category", "", "c")])
        assert sorted(how for how, _ in found.values()) == ["+", "-", "~"]
        assert rule_history.Comparison(since).counts == {"added": 0, "changed": 1, "removed": 1}


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "edit", "delete", "all", "list"]), st.integers(0, 4)), max_size=12
)


class TestAnyEdition(TestCase):
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(OPERATIONS, st.integers(0, 12))
    def test_can_be_brought_back_whatever_happened_since(self, operations: Any, at: int) -> None:
        user = get_user_model().objects.create_user("ann")
        words = RuleList.objects.create(name="words")
        kept = state(), newest()
        for number, (what, which) in enumerate(operations):
            operate(what, which, words)
            if number == at:
                kept = state(), newest()

        outcome = rule_history.bring_back(kept[1], user)

        assert not outcome.skipped
        assert state() == kept[0]


def operate(what: str, which: int, words: RuleList) -> None:
    rule = rules.filter(pattern=f"w{which}").first()
    if what == "add" and not rule:
        there = RuleList.objects.filter(pk=words.pk).exists()
        rules.create(pattern=f"w{which}", rule_list_id=words.pk if which % 2 and there else None)
    elif what == "edit" and rule:
        rule.category += "x"
        rule.save()
    elif what == "delete" and rule:
        rule.delete()
    elif what == "all":
        rules.update(priority=which)
    elif what == "list" and which == 0:
        RuleList.objects.filter(pk=words.pk).delete()
