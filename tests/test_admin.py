"""How moderators edit rules: in the form, in the list, many at once; and what they are told when they may not."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from streaming.models import ModerationRule

pytestmark = pytest.mark.django_db

LIST = "/admin/streaming/moderationrule/"
ADD = f"{LIST}add/"
rules = ModerationRule.objects


@pytest.fixture
def moderator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("moderator"))
    return client


def patterns(response: Any) -> set[str]:
    return {rule.pattern for rule in response.context["cl"].result_list}


def in_the_list(*rows: ModerationRule, **changes: Any) -> dict[str, Any]:
    """The list's form as a browser sends it, with changes to the first row."""
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


def test_the_form_asks_for_no_more_than_that_and_offers_an_enabled_mask(moderator: Client) -> None:
    form = moderator.get(ADD).context["adminform"].form

    assert {name for name, field in form.fields.items() if field.required} == {"pattern", "action"}
    assert list(form.fields) == ["pattern", "action", "category", "note", "enabled"]
    assert (form["action"].value(), form["enabled"].value()) == ("mask", True)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"pattern": ""}, "pattern"),
        ({"pattern": "   "}, "pattern"),
        ({"pattern": "\u200b"}, "pattern"),
        ({"pattern": "x" * 257}, "pattern"),
        ({"pattern": "ﷺ" * 100}, "pattern"),
        ({"pattern": "a\0b"}, "pattern"),
        ({"pattern": "darn", "action": "explode"}, "action"),
        ({"pattern": "darn", "category": "x" * 51}, "category"),
    ],
)
def test_a_rule_that_cannot_be_carried_out_is_refused_under_its_field(
    moderator: Client, fields: dict[str, str], field: str
) -> None:
    response = moderator.post(ADD, {"action": "mask", "enabled": "on", **fields})

    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert list(errors) == [field]
    assert str(errors[field][0]) in response.content.decode().replace("&#x27;", "'")
    assert not rules.exists()


def test_a_second_rule_for_a_pattern_and_action_is_refused_with_a_reason(moderator: Client) -> None:
    rules.create(pattern="darn")

    response = moderator.post(ADD, {"pattern": "darn", "action": "mask", "enabled": "on"})

    assert "There is a rule with this pattern and action already." in response.content.decode()
    assert rules.count() == 1


def test_an_edit_is_kept_and_remembered(moderator: Client) -> None:
    rule = rules.create(pattern="darn")

    moderator.post(f"{LIST}{rule.pk}/change/", {"pattern": "heck", "action": "block", "note": "n"})

    rule.refresh_from_db()
    assert (rule.pattern, rule.action, rule.note, rule.enabled) == ("heck", "block", "n", False)
    assert LogEntry.objects.get().object_id == str(rule.pk)


class TestTheList:
    def test_shows_every_rule_the_last_changed_first(self, moderator: Client) -> None:
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

    def test_refuses_what_would_become_another_rule(self, moderator: Client) -> None:
        mask, block = rules.create(pattern="darn"), rules.create(pattern="darn", action="block")

        response = moderator.post(LIST, in_the_list(block, mask, action="mask"))

        assert response.status_code == 200
        assert "There is a rule with this pattern and action already." in response.content.decode()
        block.refresh_from_db()
        assert block.action == "block"

    def test_may_be_saved_as_it_is(self, moderator: Client) -> None:
        mask, block = rules.create(pattern="darn"), rules.create(pattern="darn", action="block")

        assert moderator.post(LIST, in_the_list(mask, block)).status_code == 302
        assert not LogEntry.objects.exists()


class TestManyAtOnce:
    @pytest.mark.parametrize(("action", "enabled"), [("enable", True), ("disable", False)])
    def test_are_enabled_and_disabled_with_a_history(self, moderator: Client, action: str, enabled: bool) -> None:
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

    def test_may_be_all_that_a_search_found(self, moderator: Client) -> None:
        rules.bulk_create(ModerationRule(pattern=f"spam {number}") for number in range(120))
        rules.create(pattern="other")

        moderator.post(
            f"{LIST}?q=spam", {"action": "disable", "select_across": "1", "_selected_action": [rules.first().pk]}
        )

        assert list(rules.filter(enabled=True).values_list("pattern", flat=True)) == ["other"]
        assert LogEntry.objects.count() == 120

    def test_that_are_so_already_are_left_alone(self, moderator: Client) -> None:
        rule = rules.create(pattern="one")
        before = rules.version()

        response = moderator.post(LIST, {"action": "enable", "_selected_action": [rule.pk]}, follow=True)

        assert "0 rules were changed." in response.content.decode()
        assert rules.version() == before
        assert not LogEntry.objects.exists()

    def test_are_not_for_those_who_may_only_look(self, client: Client) -> None:
        reader = User.objects.create_user("reader", is_staff=True)
        reader.user_permissions.add(Permission.objects.get(codename="view_moderationrule"))
        client.force_login(reader)
        rule = rules.create(pattern="one")

        client.post(LIST, {"action": "disable", "_selected_action": [rule.pk]})

        rule.refresh_from_db()
        assert rule.enabled
