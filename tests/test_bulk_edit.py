"""Changing many rules at once, the search of the list, and adding a rule from it."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client

from streaming import rule_history, rule_imports
from streaming.models import ModerationRule, RuleList
from tests.test_admin import ADD, LIST, patterns, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_in_force_yet")]

rules = ModerationRule.objects


def change(client: Client, chosen: Any, query: str = "", **values: Any) -> Any:
    selection = {"action": "change_many", "_selected_action": chosen, "apply": "yes"}
    return client.post(f"{LIST}{query}", {**selection, **{f"to-{k}": v for k, v in values.items()}}, follow=True)


class TestABulkChange:
    def test_asks_first_and_applies_to_all_results_of_a_search(self, moderator: Client) -> None:
        rules.bulk_create(ModerationRule(pattern=f"spam {number}") for number in range(120))
        rules.create(pattern="other")
        chosen = {"action": "change_many", "select_across": "1", "_selected_action": [rules.first().pk]}  # type: ignore[union-attr]

        asked = moderator.post(f"{LIST}?q=spam", chosen)
        assert "120 rules are selected." in text_of(asked)
        inputs = re.findall(r'<input type="hidden" name="([\w_-]+)" value="([^"]*)">', asked.content.decode())
        sent = {name: html.unescape(value) for name, value in inputs}
        done = moderator.post(f"{LIST}?q=spam", {**sent, "to-action": "block", "to-category": "c"}, follow=True)

        assert "120 rules were changed." in text_of(done)
        assert set(rules.filter(pattern__startswith="spam").values_list("action", "category")) == {("block", "c")}
        assert rules.get(pattern="other").action == "mask"
        assert LogEntry.objects.filter(action_flag=2).count() == 120

    def test_changes_every_field_it_offers_and_is_undone_as_one(self, moderator: Client) -> None:
        words = RuleList.objects.create(name="words")
        made = [rules.create(pattern=f"w{number}", category="old") for number in range(3)]
        values = {
            "action": "flag",
            "change_category": "on",
            "category": "",
            "compare": "exact",
            "whole_word": "yes",
            "rule_list": str(words.pk),
            "priority": "-3",
            "applies_to": "prompts",
            "change_upstreams": "on",
            "upstreams": ["default"],
            "enabled": "no",
            "on_trial": "yes",
        }

        change(moderator, [rule.pk for rule in made[:2]], **values)

        fields = ("action", "category", "compare", "whole_word", "rule_list", "priority", "applies_to")
        fields += ("upstreams", "enabled", "on_trial")
        expected = ("flag", "", "exact", True, words.pk, -3, "prompts", ["default"], False, True)
        assert list(rules.exclude(pk=made[2].pk).values_list(*fields)) == [expected, expected]
        made[0].refresh_from_db()
        assert made[0].fingerprint == made[0].make_fingerprint()
        rule_history.undo(rules.version(), User.objects.get(username="ann"))
        assert set(rules.values_list("category", "action", "rule_list")) == {("old", "mask", None)}

    def test_into_a_list_is_in_the_history_with_the_name_of_the_list_and_so_is_its_undoing(
        self, moderator: Client
    ) -> None:
        words, rule = RuleList.objects.create(name="words"), rules.create(pattern="darn")
        change(moderator, [rule.pk], rule_list=str(words.pk))
        moderator.post(f"{LIST}editions/{rules.version()}/undo/")

        shown = text_of(moderator.get(f"{LIST}{rule.pk}/history/"))

        assert "list: – → words" in shown
        assert "list: words → –" in shown

    def test_leaves_what_would_be_invalid_or_double_and_says_so(self, moderator: Client) -> None:
        pattern = rules.create(pattern="a+", kind="regex")
        one, two = rules.create(pattern="x"), rules.create(pattern="x", compare="exact")

        done = change(moderator, [pattern.pk, one.pk, two.pk], compare="loose")

        assert list(rules.order_by("pk").values_list("compare", flat=True)) == ["normal", "loose", "exact"]
        assert "1 rule was changed." in text_of(done)
        assert "1 rule was left as it was: Loose is for words and phrases" in text_of(done)
        assert "The list has a rule with this pattern and comparison already. (mask x)" in text_of(done)

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({}, "Choose what to change."),
            ({"action": "explode"}, "Select a valid choice"),
            ({"rule_list": "999"}, "Select a valid choice"),
            ({"priority": "9" * 12}, "less than or equal"),
            ({"category": "x" * 51}, "at most 50"),
            ({"change_upstreams": "on", "upstreams": ["nowhere"]}, "Select a valid choice"),
        ],
    )
    def test_refuses_what_does_not_exist(self, moderator: Client, given: dict[str, Any], error: str) -> None:
        rule = rules.create(pattern="x")
        before = rules.version()

        page = change(moderator, [rule.pk], **given)

        assert error in text_of(page)
        assert rules.version() == before

    @pytest.mark.usefixtures("groups")
    def test_is_not_for_auditors(self, client: Client) -> None:
        user = User.objects.create_user("eve", is_staff=True)
        user.groups.add(Group.objects.get(name="auditor"))
        client.force_login(user)
        rule = rules.create(pattern="x")

        change(client, [rule.pk], action="block")

        rule.refresh_from_db()
        assert rule.action == "mask"


class TestTheSearch:
    @pytest.mark.parametrize(
        ("words", "found"),
        [
            ("COÑO", {"coño"}),
            ("cono", {"coño"}),
            ("ＡＢＣ", {"Abc def"}),
            ("DEF abc", {"Abc def"}),
            ('"c d"', {"Abc def"}),
            ("內部", {"内部代号"}),
            ("ПРИВЕТ", {"Привет"}),
            ("\u200b", set()),
            ("'", set()),
            ('"', set()),
            ("100%", {"100%"}),
            ("_", set()),
        ],
    )
    def test_compares_as_rules_do(self, moderator: Client, words: str, found: set[str]) -> None:
        for pattern in ("coño", "Abc def", "内部代号", "Привет", "100%"):
            rules.create(pattern=pattern)

        assert patterns(moderator.get(LIST, {"q": words})) == found

    def test_finds_rules_however_they_came(self, moderator: Client) -> None:
        rules.bulk_create([ModerationRule(pattern="ÉCLAIR 1")])
        rule_imports.carry_out(rule_imports.save_preview("ÉCLAIR 2".encode(), "w.txt", "ann", {}))
        rule = rules.create(pattern="x")
        rules.filter(pk=rule.pk).update(pattern="ÉCLAIR 3")
        rules.create(pattern="ÉCLAIR 4").delete()
        rule_history.restore(rule_history.deleted(), User.objects.get(username="ann"))

        assert patterns(moderator.get(LIST, {"q": "eclair"})) == {f"ÉCLAIR {number}" for number in (1, 2, 3, 4)}


def test_a_rule_is_added_from_the_list(moderator: Client) -> None:
    page = moderator.get(LIST).content.decode()
    form = page[page.index('id="quick-add"') :].partition("</form>")[0]
    names = set(re.findall(r'name="(\w+)"', form))
    assert names == {"csrfmiddlewaretoken", "pattern", "action", "on_trial", "enabled"}

    done = moderator.post(ADD, {"pattern": "darn", "action": "block", "on_trial": "on", "enabled": "on"})

    assert done["Location"] == LIST
    assert rules.values_list("pattern", "action", "on_trial", "enabled").get() == ("darn", "block", True, True)
