"""Editing rules in the admin: the form, the list, actions on many rules, the history and permissions."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone

from streaming.import_undo import undo
from streaming.models import LostHits, ModerationHit, ModerationRule, RuleList
from streaming.rule_files import COLUMNS
from streaming.rule_imports import carry_out, save_preview

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_in_force_yet")]

LIST = "/admin/streaming/moderationrule/"
ADD = f"{LIST}add/"
LISTS = "/admin/streaming/rulelist/"
rules = ModerationRule.objects


def patterns(response: Any) -> set[str]:
    return {rule.pattern for rule in response.context["cl"].result_list}


def in_the_list(*rows: ModerationRule, **changes: Any) -> dict[str, Any]:
    """The form of the list as a browser sends it, with changes to the first row."""
    data: dict[str, Any] = {"form-TOTAL_FORMS": len(rows), "form-INITIAL_FORMS": len(rows), "_save": "Save"}
    for number, rule in enumerate(rows):
        row = {"id": rule.pk, "action": rule.action, "category": rule.category, "enabled": "on" if rule.enabled else ""}
        row |= changes if number == 0 else {}
        data |= {f"form-{number}-{key}": value for key, value in row.items() if value != ""}
    return data


def test_a_pattern_and_an_action_alone_make_a_rule(moderator: Client) -> None:
    response = moderator.post(ADD, {"pattern": "darn", "action": "mask", "enabled": "on"})

    assert response.status_code == 302
    rule = rules.get()
    assert (rule.pattern, rule.action, rule.category, rule.note, rule.enabled) == ("darn", "mask", "", "", True)


def test_the_form_requires_only_these_and_defaults_to_an_enabled_mask(moderator: Client) -> None:
    form = moderator.get(ADD).context["adminform"].form

    assert {name for name, field in form.fields.items() if field.required} == {"pattern", "action"}
    assert set(form.fields) == {*COLUMNS, "loaded_version"}
    assert (form["action"].value(), form["enabled"].value()) == ("mask", True)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"pattern": ""}, "pattern"),
        ({"pattern": "   "}, "pattern"),
        ({"pattern": "\u200b"}, "pattern"),
        ({"pattern": "x" * 4097}, "pattern"),
        ({"pattern": "x" * 1_000_000}, "pattern"),
        ({"pattern": "(a", "kind": "regex"}, "pattern"),
        ({"pattern": "(a)\\1", "kind": "regex"}, "pattern"),
        ({"pattern": "a(?=bc)", "kind": "regex"}, "pattern"),
        ({"pattern": "a*", "kind": "regex"}, "pattern"),
        ({"pattern": ".*a", "kind": "regex"}, "pattern"),
        ({"pattern": "(?:(?:a{1,99}){1,99}){1,99}", "kind": "regex"}, "pattern"),
        ({"pattern": "(" * 200 + "a" + ")" * 200, "kind": "regex"}, "pattern"),
        ({"pattern": "(?:a?){4096}a", "kind": "regex"}, "pattern"),
        ({"pattern": "a", "kind": "regex", "compare": "loose"}, "pattern"),
        ({"pattern": "a", "group": "1"}, "pattern"),
        ({"pattern": "a", "kind": "regex", "group": "1"}, "pattern"),
        ({"pattern": "a", "kind": "regex", "match_check": "sum"}, "match_check"),
        ({"pattern": "a", "kind": "regex", "overflow": "no"}, "overflow"),
        ({"pattern": "darn", "kind": "glob"}, "kind"),
        ({"pattern": "darn", "priority": "high"}, "priority"),
        ({"pattern": "darn", "priority": "99999999999"}, "priority"),
        ({"pattern": "darn", "replacement": "x" * 501}, "replacement"),
        ({"pattern": "darn", "upstreams": "nowhere"}, "upstreams"),
        ({"pattern": "darn", "applies_to": "nobody"}, "applies_to"),
        ({"pattern": "darn", "valid_from_0": "2026-13-01", "valid_from_1": "00:00"}, "valid_from"),
        (
            {
                "pattern": "darn",
                "valid_from_0": "2026-02-01",
                "valid_from_1": "00:00",
                "valid_until_0": "2026-01-01",
                "valid_until_1": "00:00",
            },
            "valid_until",
        ),
        ({"pattern": "ﷺ" * 300}, "pattern"),
        ({"pattern": "a\0b"}, "pattern"),
        ({"pattern": "darn", "action": "explode"}, "action"),
        ({"pattern": "darn", "category": "x" * 51}, "category"),
    ],
)
def test_an_invalid_pattern_is_refused_under_its_field(moderator: Client, fields: dict[str, str], field: str) -> None:
    response = moderator.post(ADD, {"action": "mask", "enabled": "on", **fields})

    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert list(errors) == [field]
    assert str(errors[field][0]) in html.unescape(response.content.decode())
    assert not rules.exists()


@pytest.mark.parametrize("name", ["", "words"])
def test_a_second_rule_with_a_pattern_is_refused_in_a_list_whatever_its_action(moderator: Client, name: str) -> None:
    rule_list = RuleList.objects.create(name=name) if name else None
    rules.create(pattern="darn", rule_list=rule_list)
    fields = {"pattern": "darn", "action": "block", "enabled": "on"}

    response = moderator.post(ADD, {**fields, "rule_list": rule_list.pk if rule_list else ""})

    assert "The list has a rule with this pattern and comparison already." in response.content.decode()
    assert rules.count() == 1
    other = RuleList.objects.create(name="others")
    assert moderator.post(ADD, {**fields, "rule_list": other.pk}).status_code == 302


def test_an_edit_of_the_list_of_a_rule_is_in_its_history_by_name(moderator: Client) -> None:
    old, new = RuleList.objects.create(name="old <words>"), RuleList.objects.create(name="new words")
    rule = rules.create(pattern="darn", rule_list=old)

    moderator.post(f"{LIST}{rule.pk}/change/", {"pattern": "darn", "action": "mask", "rule_list": new.pk})

    page = text_of(moderator.get(f"{LIST}{rule.pk}/history/"))
    assert "old <words>" in page
    assert "new words" in page


def test_an_edit_is_saved_and_recorded_in_the_history(moderator: Client) -> None:
    rule = rules.create(pattern="darn")

    moderator.post(f"{LIST}{rule.pk}/change/", {"pattern": "heck", "action": "block", "note": "n"})

    rule.refresh_from_db()
    assert (rule.pattern, rule.action, rule.note, rule.enabled) == ("heck", "block", "n", False)
    assert LogEntry.objects.get().object_id == str(rule.pk)


class TestTheList:
    def test_shows_all_rules_last_changed_first(self, moderator: Client) -> None:
        for pattern in ("one", "two", "three"):
            rules.create(pattern=pattern, category="c", note=f"note on {pattern}")
        rules.get(pattern="two").save()

        response = moderator.get(LIST)

        assert [rule.pattern for rule in response.context["cl"].result_list] == ["two", "three", "one"]
        assert "note on three" in response.content.decode()

    @pytest.mark.parametrize(
        ("word", "found"), [("arn", {"darn"}), ("spam", {"广告"}), ("why", {"heck"}), ("x", set())]
    )
    def test_is_searched_by_pattern_category_and_note(self, moderator: Client, word: str, found: set[str]) -> None:
        rules.create(pattern="darn")
        rules.create(pattern="heck", note="who knows why")
        rules.create(pattern="广告", category="spam")

        assert patterns(moderator.get(LIST, {"q": word})) == found

    @pytest.mark.parametrize(
        ("choice", "found"),
        [
            ({"enabled__exact": "0"}, {"off"}),
            ({"action__exact": "block"}, {"stop"}),
            ({"category": "c"}, {"stop"}),
            ({"enabled__exact": "1", "action__exact": "mask"}, {"on"}),
        ],
    )
    def test_is_filtered(self, moderator: Client, choice: dict[str, str], found: set[str]) -> None:
        rules.create(pattern="on")
        rules.create(pattern="off", enabled=False)
        rules.create(pattern="stop", action="block", category="c")

        assert patterns(moderator.get(LIST, choice)) == found

    def test_is_edited_in_place(self, moderator: Client) -> None:
        one, two = rules.create(pattern="one"), rules.create(pattern="two")
        before = rules.version()

        response = moderator.post(LIST, in_the_list(one, two, action="block", category="c", enabled=""))

        assert response.status_code == 302
        one.refresh_from_db()
        assert (one.pattern, one.action, one.category, one.enabled) == ("one", "block", "c", False)
        assert rules.version() != before
        assert LogEntry.objects.get().object_id == str(one.pk)

    def test_can_be_saved_without_changes(self, moderator: Client) -> None:
        mask, block = rules.create(pattern="darn"), rules.create(pattern="heck", action="block")

        assert moderator.post(LIST, in_the_list(mask, block)).status_code == 302
        assert not LogEntry.objects.exists()


class TestActionsOnManyRules:
    def test_that_change_nothing_do_not_say_that_it_applies(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn", enabled=False)
        before = rules.version()

        done = text_of(moderator.post(LIST, {"action": "disable", "_selected_action": [rule.pk]}, follow=True))

        assert "0 rules were changed." in done
        assert "This applies" not in done
        assert rules.version() == before

    @pytest.mark.parametrize(("action", "enabled"), [("enable", True), ("disable", False)])
    def test_enable_and_disable_rules_and_record_it(self, moderator: Client, action: str, enabled: bool) -> None:
        one, two = rules.create(pattern="one", enabled=enabled), rules.create(pattern="two", enabled=not enabled)
        three, other = [rules.create(pattern=pattern, enabled=not enabled) for pattern in ("three", "other")]
        before = rules.version()

        response = moderator.post(LIST, {"action": action, "_selected_action": [one.pk, two.pk, three.pk]}, follow=True)

        assert dict(rules.values_list("pattern", "enabled")) == {
            "one": enabled,
            "two": enabled,
            "three": enabled,
            "other": not enabled,
        }
        assert rules.version() != before
        assert "2 rules were changed." in response.content.decode()
        assert {entry.object_id for entry in LogEntry.objects.all()} == {str(two.pk), str(three.pk)}
        assert {entry.get_change_message() for entry in LogEntry.objects.all()} == {"Changed enabled."}
        assert other.pk

    @pytest.mark.parametrize(("action", "on_trial"), [("put_on_trial", True), ("arm", False)])
    def test_put_rules_on_trial_and_arm_them(self, moderator: Client, action: str, on_trial: bool) -> None:
        rule = rules.create(pattern="one", on_trial=not on_trial)

        moderator.post(LIST, {"action": action, "_selected_action": [rule.pk]})

        rule.refresh_from_db()
        assert rule.on_trial is on_trial
        assert LogEntry.objects.get().get_change_message() == "Changed on_trial."

    @pytest.mark.parametrize("action", ["disable", "put_on_trial"])
    def test_are_decisions_that_no_undo_of_an_import_takes_back(self, moderator: Client, action: str) -> None:
        rules.create(pattern="old", priority=1)
        done = save_preview(b"pattern,priority\nold,2\nnew,3\nnewer,4\n", "words.csv", "", {})
        carry_out(done)
        chosen = list(rules.filter(pattern__in=["old", "new"]).values_list("pk", flat=True))

        moderator.post(LIST, {"action": action, "_selected_action": chosen})
        undone = undo(done)

        assert (undone.removed, undone.restored, undone.kept) == (1, 0, 2)
        switched = {"enabled": False} if action == "disable" else {"on_trial": True}
        assert set(rules.filter(**switched).values_list("pattern", flat=True)) == {"old", "new"}

    def test_apply_to_all_results_of_a_search(self, moderator: Client) -> None:
        rules.bulk_create(ModerationRule(pattern=f"spam {number}") for number in range(120))
        rules.create(pattern="other")

        moderator.post(
            f"{LIST}?q=spam", {"action": "disable", "select_across": "1", "_selected_action": [rules.first().pk]}
        )

        assert list(rules.filter(enabled=True).values_list("pattern", flat=True)) == ["other"]
        assert LogEntry.objects.count() == 120

    def test_skip_rules_that_are_in_that_state_already(self, moderator: Client) -> None:
        rule = rules.create(pattern="one")
        before = rules.version()

        response = moderator.post(LIST, {"action": "enable", "_selected_action": [rule.pk]}, follow=True)

        assert "0 rules were changed." in response.content.decode()
        assert rules.version() == before
        assert not LogEntry.objects.exists()

    def test_delete_rules_after_a_confirmation_and_record_it(self, moderator: Client) -> None:
        rules.bulk_create(ModerationRule(pattern=f"spam {number}") for number in range(120))
        other = rules.create(pattern="other")
        chosen = {"action": "delete", "select_across": "1", "index": "0", "_selected_action": [rules.first().pk]}

        asked = moderator.post(f"{LIST}?q=spam", chosen)

        assert "120 rules would be deleted. Their hits stay." in text_of(asked)
        assert rules.count() == 121
        sent = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.content.decode()))
        done = moderator.post(f"{LIST}?q=spam", sent, follow=True)
        assert "120 rules were deleted." in text_of(done)
        assert list(rules.values_list("pk", flat=True)) == [other.pk]
        assert LogEntry.objects.filter(action_flag=3).count() == 120

    @pytest.mark.usefixtures("groups")
    def test_delete_nothing_without_the_permission(self, client: Client) -> None:
        user = User.objects.create_user("ann", is_staff=True)
        user.groups.add(Group.objects.get(name="auditor"))
        client.force_login(user)
        rule = rules.create(pattern="one")

        client.post(LIST, {"action": "delete", "_selected_action": [rule.pk], "post": "yes"})

        assert rules.count() == 1

    def test_are_hidden_from_users_who_can_only_view(self, client: Client) -> None:
        reader = User.objects.create_user("reader", is_staff=True)
        reader.user_permissions.add(Permission.objects.get(codename="view_moderationrule"))
        client.force_login(reader)
        rule = rules.create(pattern="one")

        client.post(LIST, {"action": "disable", "_selected_action": [rule.pk]})

        rule.refresh_from_db()
        assert rule.enabled


def change(rule: ModerationRule) -> str:
    return f"{LIST}{rule.pk}/change/"


def as_sent(response: Any, **changes: str) -> dict[str, str]:
    """The form on a page as a browser would send it, with changes."""
    form = response.context["adminform"].form
    data = {name: form[name].value() for name in form.fields}
    moments = {name: data.pop(name) for name in ("valid_from", "valid_until")}
    for name, moment in moments.items():
        if isinstance(moment, list):
            data |= {f"{name}_{part}": value for part, value in enumerate(moment) if value}
        elif moment:
            data |= {f"{name}_0": f"{moment:%Y-%m-%d}", f"{name}_1": f"{moment:%H:%M:%S}"}
    sent = {name: "on" if value is True else value for name, value in data.items() if value not in (None, "", False)}
    return {**sent, **changes}


def text_of(response: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode())))


def test_a_rule_can_have_a_scope_a_period_and_a_comparison(moderator: Client) -> None:
    fields = {
        "pattern": "a+b",
        "kind": "regex",
        "action": "replace",
        "replacement": " … ",
        "category": "c",
        "priority": "-3",
        "whole_word": "on",
        "compare": "exact",
        "match_check": "luhn",
        "upstreams": ["default"],
        "only_for": "model:a\r\nGroup: staff",
        "applies_to": "prompts",
        "valid_from_0": "2026-01-31",
        "valid_from_1": "18:00",
        "note": "n",
    }

    response = moderator.post(ADD, fields, follow=True)

    rule = rules.get()
    assert {name: getattr(rule, name) for name in COLUMNS} == {
        "pattern": "a+b",
        "kind": "regex",
        "action": "replace",
        "replacement": " … ",
        "category": "c",
        "priority": -3,
        "whole_word": True,
        "compare": "exact",
        "group": 0,
        "match_check": "luhn",
        "overflow": "pass",
        "on_trial": False,
        "upstreams": ["default"],
        "only_for": ["model:a", "group:staff"],
        "applies_to": "prompts",
        "enabled": False,
        "valid_from": datetime(2026, 1, 31, 18, tzinfo=UTC),
        "valid_until": None,
        "note": "n",
        "rule_list": None,
    }
    assert "A match is cut at 4,096 characters." in text_of(response), "a warning is shown, and the rule is saved"


class TestARuleOnTrial:
    def test_says_what_it_would_have_done_in_the_last_day(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn", on_trial=True)
        nothing = text_of(moderator.get(change(rule)))
        for hours, on_trial in [(1, True), (2, True), (3, False), (30, True)]:
            when = timezone.now() - timedelta(hours=hours)
            ModerationHit.objects.create(rule=rule, when=when, version=1, offset=0, action="mask", on_trial=on_trial)

        page = moderator.get(change(rule))

        assert "In the last day it hit nothing." in nothing
        assert "In the last day it would have masked 2 passages." in text_of(page)
        shown = moderator.get(LIST.replace("rule/", "hit/"), {"rule__id__exact": rule.pk, "on_trial__exact": 1})
        assert shown.context["cl"].result_count == 3

    def test_is_armed_with_one_click(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn", on_trial=True)

        moderator.post(change(rule), as_sent(moderator.get(change(rule)), _arm="1"))

        rule.refresh_from_db()
        assert not rule.on_trial
        assert LogEntry.objects.get().get_change_message().startswith("Changed On trial")

    def test_may_be_so_because_its_list_is(self, moderator: Client) -> None:
        words = RuleList.objects.create(name="words", on_trial=True)
        rule = rules.create(pattern="darn", rule_list=words)
        ModerationHit.objects.create(rule=rule, when=timezone.now(), version=1, offset=0, action="block", on_trial=True)
        address = f"/admin/streaming/rulelist/{words.pk}/change/"

        page = moderator.get(address)

        assert "In the last day it would have blocked at 1 passage." in text_of(page)
        shown = moderator.get(LIST.replace("rule/", "hit/"), {"rule__rule_list__id__exact": words.pk})
        assert shown.context["cl"].result_count == 1
        moderator.post(address, {"name": "words", "enabled": "on", "applies_to": "both", "on_trial": "on", "_arm": "1"})
        words.refresh_from_db()
        assert (words.on_trial, words.enabled) == (False, True)

    def test_is_tried_as_if_it_were_armed(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn", on_trial=True)

        page = moderator.get(f"{LIST}try/", {"rule": rule.pk, "text": "oh darn", "cut": 3, "which": "chosen"})

        assert "oh ••••" in text_of(page)


def test_a_word_and_a_regular_expression_can_have_the_same_pattern(moderator: Client) -> None:
    rules.create(pattern="a.b")

    assert moderator.post(ADD, {"pattern": "a.b", "action": "mask", "kind": "regex"}).status_code == 302
    assert rules.count() == 2


def test_a_rule_keeps_an_upstream_that_was_removed_from_the_settings(moderator: Client) -> None:
    rule = rules.create(pattern="darn", upstreams=["gone"])

    moderator.post(change(rule), as_sent(moderator.get(change(rule)), note="n", upstreams="gone"))

    rule.refresh_from_db()
    assert (rule.upstreams, rule.note) == (["gone"], "n")


class TestConcurrentEdits:
    def test_the_second_editor_is_warned_and_can_still_save(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn", category="old")
        page = moderator.get(change(rule))
        other = Client()
        other.force_login(User.objects.create_superuser("bob"))
        other.post(change(rule), as_sent(other.get(change(rule)), category="bob's"))

        response = moderator.post(change(rule), as_sent(page, category="mine"))

        assert response.status_code == 200
        assert "bob changed this rule while you were editing it. Your changes are not saved yet" in text_of(response)
        assert "Category: it is now “bob's”." in text_of(response)
        assert response.context["adminform"].form["category"].value() == "mine", "what was typed is still there"
        rule.refresh_from_db()
        assert rule.category == "bob's"

        again = moderator.post(change(rule), as_sent(response))

        assert again.status_code == 302
        rule.refresh_from_db()
        assert rule.category == "mine"

    def test_the_same_form_sent_twice_as_by_a_double_click_is_no_conflict(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn", upstreams=["one"], valid_until=timezone.now() + timedelta(days=1))
        sent = as_sent(moderator.get(change(rule)), category="new", action="block")
        row = in_the_list(rules.create(pattern="other"), category="c")
        shown = moderator.get(LIST, {"q": "other"}).context["cl"].formset[0]
        row["form-0-changed"] = shown["changed"].value()

        answers = [moderator.post(change(rule), sent) for _ in range(2)]
        answers += [moderator.post(f"{LIST}?q=other", row) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [302] * 4
        assert set(rules.values_list("pattern", "category", "action")) == {
            ("darn", "new", "block"),
            ("other", "c", "mask"),
        }

    def test_a_rule_that_was_deleted_meanwhile_can_be_added_again(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn", category="c", upstreams=["default"], whole_word=True)
        page = moderator.get(change(rule))
        sent = as_sent(page, note="all that I wrote", valid_until_0="2030-01-31", valid_until_1="18:00:00")
        del sent["enabled"]
        other = Client()
        other.force_login(User.objects.create_superuser("bob"))
        other.post(f"{LIST}{rule.pk}/delete/", {"post": "yes"})

        response = moderator.post(change(rule), sent)

        assert "This rule was deleted by bob while you were editing it." in text_of(response)
        assert f'action="{ADD}"' in response.content.decode()
        form = as_sent(response)
        assert not rules.exists()
        moderator.post(ADD, form)
        added = rules.get()
        assert added.valid_until == datetime(2030, 1, 31, 18, tzinfo=UTC)
        assert (added.pattern, added.category, added.note) == ("darn", "c", "all that I wrote")
        assert (added.upstreams, added.whole_word, added.enabled) == (["default"], True, False)

    def test_in_the_list_a_row_that_was_not_edited_overwrites_nothing(self, moderator: Client) -> None:
        one, two = rules.create(pattern="one", category="old"), rules.create(pattern="two")
        page = moderator.get(LIST)
        rows = {form.instance.pk: form["changed"].value() for form in page.context["cl"].formset}
        rules.filter(pk=one.pk).update(category="bob's")

        data = in_the_list(two, one, category="mine")
        data |= {"form-0-changed": rows[two.pk], "form-1-changed": rows[one.pk]}
        response = moderator.post(LIST, data)

        assert response.status_code == 302
        assert dict(rules.values_list("pattern", "category")) == {"one": "bob's", "two": "mine"}

    def test_in_the_list_the_second_editor_is_warned_too(self, moderator: Client) -> None:
        rule = rules.create(pattern="one", category="old")
        page = moderator.get(LIST)
        (row,) = page.context["cl"].formset
        rules.filter(pk=rule.pk).update(category="bob's")

        data = {**in_the_list(rule, category="mine"), "form-0-changed": row["changed"].value()}
        response = moderator.post(LIST, data)

        assert "changed this rule while you were editing it" in text_of(response)
        rule.refresh_from_db()
        assert rule.category == "bob's"
        (row,) = response.context["cl"].formset
        assert moderator.post(LIST, {**data, "form-0-changed": row["changed"].value()}).status_code == 302
        rule.refresh_from_db()
        assert rule.category == "mine"

    def test_of_a_list_of_rules_are_noticed_too(self, moderator: Client) -> None:
        words = RuleList.objects.create(name="words")
        address = f"{LISTS}{words.pk}/change/"
        page = moderator.get(address)
        other = Client()
        other.force_login(User.objects.create_superuser("bob"))
        off = as_sent(other.get(address), note="it is too strict")
        del off["enabled"]
        other.post(address, off)

        response = moderator.post(address, as_sent(page, note="mine"))

        assert "bob changed this list while you were editing it. Your changes are not saved yet" in text_of(response)
        assert "Enabled: it is now “no”." in text_of(response)
        assert not RuleList.objects.get().enabled
        assert moderator.post(address, as_sent(response)).status_code == 302
        assert (RuleList.objects.get().enabled, RuleList.objects.get().note) == (True, "mine")

    def test_of_one_list_leave_the_others_as_they_are(self, moderator: Client) -> None:
        one, two = RuleList.objects.create(name="one"), RuleList.objects.create(name="two")
        page = moderator.get(LISTS)
        RuleList.objects.filter(pk=one.pk).update(enabled=False)

        rows = {"form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "2", "_save": "Save"}
        for number, form in enumerate(page.context["cl"].formset):
            rows |= {f"form-{number}-{name}": str(form[name].value()) for name in ("id", "changed")}
            rows[f"form-{number}-enabled"] = "on"
        assert moderator.post(LISTS, {**rows, "form-1-on_trial": "on"}).status_code == 302

        assert dict(RuleList.objects.values_list("name", "enabled")) == {"one": False, "two": True}
        assert RuleList.objects.get(pk=two.pk).on_trial
        warned = moderator.post(LISTS, {**rows, "form-0-on_trial": "on"})
        assert "changed this list while you were editing it" in text_of(warned)
        assert not RuleList.objects.get(pk=one.pk).enabled


class TestTheCheckOfARule:
    def check(self, moderator: Client, **fields: str) -> str:
        address = f"{LIST}check/"
        return text_of(moderator.post(address, {"action": "mask", **fields}, headers={"X-Requested-With": "fetch"}))

    def test_shows_what_an_unsaved_rule_matches(self, moderator: Client) -> None:
        ModerationHit.objects.create(
            when="2026-01-01T00:00Z", version=1, offset=0, before="so ", text="Darn", after="!"
        )

        text = self.check(moderator, pattern="darn")

        assert "The shortest text it matches has 4 characters; the longest has 4." in text
        assert re.search(r"tour\.md 2 ", text)
        assert re.search(r"the last hit 1 so Darn !", text)
        assert not rules.exists()

    def test_says_when_a_match_has_no_longest_length(self, moderator: Client) -> None:
        text = self.check(moderator, pattern="a+b", kind="regex")

        assert "A match is cut at 4,096 characters." in text
        assert "the longest is limited only by the maximum of 4,096 characters in a match." in text

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({}, "up to 4 characters are held back, with the Markdown and codes in them."),
            ({"compare": "exact"}, "up to 4 characters are held back."),
            ({"compare": "loose"}, "the longest has 13, and more where letters are repeated."),
            ({"compare": "loose"}, "up to 13 characters are held back, with the Markdown and codes in them."),
            ({"action": "flag"}, "It holds nothing back."),
            ({"on_trial": "on"}, "It holds nothing back."),
            ({"kind": "regex", "pattern": "a+b"}, "up to 4096 characters are held back"),
        ],
    )
    def test_says_how_much_the_rule_can_hold_back(
        self, moderator: Client, fields: dict[str, str], sentence: str
    ) -> None:
        assert sentence in self.check(moderator, **{"pattern": "darn", **fields})

    def test_shows_the_error_of_an_invalid_rule(self, moderator: Client) -> None:
        assert "At character 1: the ( is not closed." in self.check(moderator, pattern="(a", kind="regex")

    def test_shows_nothing_of_hits_to_those_who_may_not_see_them(self, client: Client) -> None:
        ModerationHit.objects.create(
            when=timezone.now(), version=1, offset=1, before="a secret of ", text="darn", after="ed people"
        )
        user = User.objects.create_user("eve", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__endswith="_moderationrule"))
        client.force_login(user)

        checked = client.post(f"{LIST}check/", {"pattern": "darn", "action": "block"})
        previewed = client.post(f"{LIST}import/", {"text": "darned people", "action": "block"}, follow=True)

        assert "tour.md" in text_of(checked)
        assert "the last hit" not in text_of(checked)
        assert "would be added" in text_of(previewed)
        for page in (checked, previewed):
            assert "a secret of" not in text_of(page)

    def test_is_a_separate_page_without_javascript(self, moderator: Client) -> None:
        page = moderator.post(f"{LIST}check/", {"pattern": "darn", "action": "block"})

        assert "What it matches" in text_of(page)
        assert "DARN" in text_of(page)
        assert moderator.get(f"{LIST}check/").status_code == 200


class TestTheHistory:
    def test_shows_old_and_new_values(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn", category="old", priority=1)

        sent = as_sent(moderator.get(change(rule)), category="new", action="block", compare="exact")
        moderator.post(change(rule), sent)
        page = text_of(moderator.get(f"{LIST}{rule.pk}/history/"))

        assert "category : old → new".replace(" :", ":") in page
        assert "action: mask: show • instead → block: end the answer there" in page
        assert "comparison: normal → exact" in page

    def test_includes_edits_in_the_list_and_actions_on_many_rules(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn")
        moderator.post(LIST, in_the_list(rule, category="c"))
        moderator.post(LIST, {"action": "disable", "_selected_action": [rule.pk]})

        page = text_of(moderator.get(f"{LIST}{rule.pk}/history/"))

        assert "category: – → c" in page
        assert "enabled: yes → no" in page

    def test_shows_entries_of_unknown_formats_too(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn")
        moderator.post(change(rule), as_sent(moderator.get(change(rule)), note="n"))
        LogEntry.objects.update(change_message=json.dumps("by hand"))

        assert moderator.get(f"{LIST}{rule.pk}/history/").status_code == 200


@pytest.mark.usefixtures("groups")
class TestGroups:
    def member(self, group: str) -> Client:
        user = User.objects.create_user(group, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        client = Client()
        client.force_login(user)
        return client

    def addresses(self) -> dict[str, str]:
        """Every page of the admin that lists something."""
        models = [model._meta for model in admin.site._registry]
        return {m.label: f"/admin/{m.app_label}/{m.model_name}/" for m in models}

    @pytest.mark.parametrize("group", ["moderator", "auditor"])
    def test_give_access_to_rules_lists_hits_and_alerts_only(self, group: str) -> None:
        client = self.member(group)

        reached = {label for label, address in self.addresses().items() if client.get(address).status_code == 200}

        theirs = {"ModerationRule", "ModerationHit", "RuleList", "HitAlert"}
        assert reached == {f"streaming.{name}" for name in theirs}
        for label, address in self.addresses().items():
            if label not in reached:
                assert client.get(f"{address}add/").status_code == 403
                assert client.post(f"{address}add/", {"username": "x"}).status_code == 403
                assert address not in client.get("/admin/").content.decode()

    def test_a_moderator_edits_rules_and_cannot_gain_permissions(self) -> None:
        client = self.member("moderator")

        client.post(ADD, {"pattern": "darn", "action": "mask", "enabled": "on"})
        me = User.objects.get(username="moderator")
        refused = client.post(f"/admin/auth/user/{me.pk}/change/", {"username": "moderator", "is_superuser": "on"})

        assert rules.get().pattern == "darn"
        assert refused.status_code == 403
        me.refresh_from_db()
        assert not me.is_superuser

    def test_an_auditor_can_view_everything_and_change_nothing(self) -> None:
        client, rule = self.member("auditor"), rules.create(pattern="darn")

        for address in ("", f"{rule.pk}/change/", f"{rule.pk}/history/", "export/"):
            assert client.get(LIST + address).status_code == 200, address
        for address in ("add/", f"{rule.pk}/change/", f"{rule.pk}/delete/", "import/"):
            assert client.post(LIST + address, {"pattern": "x", "action": "block"}).status_code == 403, address
        assert [(each.pattern, each.action) for each in rules.all()] == [("darn", "mask")]
        assert "Import" not in text_of(client.get(LIST))

    def test_an_auditor_tries_a_rule_that_is_no_form(self) -> None:
        client, rule = self.member("auditor"), rules.create(pattern="darn")

        page = client.get(f"{LIST}{rule.pk}/change/")
        [address] = re.findall(r'href="([^"]*/try/[^"]*)"', page.content.decode())

        assert "Loaded version" not in text_of(page)
        assert "Show what it matches" not in text_of(page)
        assert "the selected rules (1)" in text_of(client.get(html.unescape(address)))

    def test_an_auditor_reads_where_a_rule_and_a_list_apply_as_text(self) -> None:
        client, scope = self.member("auditor"), {"upstreams": ["上游", "b"], "only_for": ["key:ann/笔记本"]}
        words = RuleList.objects.create(name="words", **scope)
        rule = rules.create(pattern="darn", rule_list=words, **scope)

        for address in (f"{LIST}{rule.pk}/change/", f"/admin/streaming/rulelist/{words.pk}/change/"):
            page = text_of(client.get(address))

            assert "Upstreams: 上游, b Only for: key:ann/笔记本 Applies to: prompts and answers" in page
            assert "Loaded version" not in page

    def test_nobody_can_add_change_or_delete_a_hit(self, moderator: Client) -> None:
        hit = ModerationHit.objects.create(when="2026-01-01T00:00Z", version=1, offset=0)
        address = f"/admin/streaming/moderationhit/{hit.pk}/"

        assert moderator.get(f"{address}change/").status_code == 200
        assert moderator.post(f"{address}change/", {"text": "x"}).status_code == 403
        assert moderator.post(f"{address}delete/", {"post": "yes"}).status_code == 403
        assert moderator.get("/admin/streaming/moderationhit/add/").status_code == 403


class TestHits:
    HITS = "/admin/streaming/moderationhit/"

    @pytest.fixture(autouse=True)
    def some(self) -> None:
        now = timezone.now()
        self.rule = rules.create(pattern="darn")
        for days, pattern, rule in (
            (0, "darn", self.rule.pk),
            (0, "darn", self.rule.pk),
            (3, "heck", 9999),
            (99, "o", 8888),
        ):
            ModerationHit.objects.create(
                when=now - timedelta(days=days),
                pattern=pattern,
                rule_id=rule,
                version=3,
                offset=7,
                action="mask",
                stream="a1b2c3",
                upstream="default",
                direction="answers",
                who="ann",
                before="oh <b>",
                text=pattern,
                after=" it",
                channel="content",
            )

    def test_are_shown_with_the_text_around_them(self, moderator: Client) -> None:
        page = moderator.get(self.HITS)

        assert "oh &lt;b&gt;<mark>heck</mark> it" in page.content.decode()
        assert len(page.context["cl"].result_list) == 4

    def test_are_charted_day_by_day_with_the_top_rules(self, moderator: Client) -> None:
        page = moderator.get(self.HITS)

        chart = page.context["chart"]
        assert (chart.total, chart.most, len(chart.bars)) == (3, 2, 30)
        assert [bar.count for bar in chart.bars[-4:]] == [1, 0, 0, 2]
        assert [(row["pattern"], row["n"], bool(row["address"])) for row in page.context["top"]][:2] == [
            ("darn", 2, True),
            ("heck", 1, False),
        ]

    def test_of_one_rule_are_linked_from_the_rule(self, moderator: Client) -> None:
        link = f"{self.HITS}?rule__id__exact={self.rule.pk}"

        assert link in moderator.get(LIST).content.decode()
        assert link in moderator.get(change(self.rule)).content.decode()
        page = moderator.get(link)
        assert [hit.pattern for hit in page.context["cl"].result_list] == ["darn", "darn"]
        assert page.context["chart"].total == 2

    @pytest.mark.parametrize(
        ("query", "count"),
        [({"q": "a1b2c3"}, 4), ({"q": "heck"}, 1), ({"action": "block"}, 0), ({"upstream": "default"}, 4)],
    )
    def test_are_searched_and_filtered(self, moderator: Client, query: dict[str, str], count: int) -> None:
        assert moderator.get(self.HITS, query).context["cl"].result_count == count

    def test_that_were_lost_are_reported(self, moderator: Client) -> None:
        LostHits.objects.create(count=30)
        LostHits.objects.create(count=12)

        assert "42 hits were not recorded while the database was unavailable" in text_of(moderator.get(self.HITS))
