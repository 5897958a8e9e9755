"""The pages of editions and deleted rules: see, undo, bring back, restore; and who may."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from streaming.editions import RuleEdition
from streaming.models import ModerationRule, RuleList
from tests.test_admin import LIST, in_the_list, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_in_force_yet")]

EDITIONS = f"{LIST}editions/"
rules = ModerationRule.objects


def compared(client: Client, since: Any, until: Any = "") -> Any:
    return client.get(f"{EDITIONS}compare/", {"from": since, "to": until})


def test_editions_say_who_did_what_to_how_many_rules(moderator: Client) -> None:
    made = [rules.create(pattern=f"w{number}") for number in range(3)]
    moderator.post(LIST, in_the_list(made[0], action="block"))
    moderator.post(LIST, {"action": "disable", "_selected_action": [rule.pk for rule in made]})
    moderator.post(LIST, {"action": "delete", "_selected_action": [rule.pk for rule in made], "post": "yes"})

    page = moderator.get(EDITIONS)

    found = [(each.who, str(what), each.changed, each.removed) for each, what in page.context["rows"]]
    assert found[:3] == [("ann", "deleted", 0, 3), ("ann", "changed together", 3, 0), ("ann", "edited", 1, 0)]


def test_a_bulk_change_is_undone_with_one_click_and_that_too(moderator: Client) -> None:
    made = [rules.create(pattern=f"w{number}") for number in range(3)]
    moderator.post(LIST, {"action": "disable", "_selected_action": [rule.pk for rule in made]})

    done = moderator.post(f"{EDITIONS}{rules.version()}/undo/", follow=True)

    assert rules.filter(enabled=True).count() == 3
    assert "was undone. As they were: 3; removed: 0." in text_of(done)
    moderator.post(f"{EDITIONS}{rules.version()}/undo/")
    assert not rules.filter(enabled=True).exists()


def test_a_comparison_is_all_in_the_language_of_its_page(moderator: Client) -> None:
    rule = rules.create(pattern="darn")
    number = rules.version()
    rule.category = "new"
    rule.save()

    page = moderator.get(f"{EDITIONS}compare/", {"from": number}, headers={"Accept-Language": "zh-Hans"})

    assert "遮盖 darn 更改 类别" in text_of(page)
    assert "修改时间" not in text_of(page)


def test_an_edition_is_compared_and_brought_back(moderator: Client) -> None:
    rule, words = rules.create(pattern="darn", category="old"), RuleList.objects.create(name="words")
    number = rules.version()
    rule.category = "new <b>"
    rule.save()
    rules.create(pattern="more", rule_list=words)
    words.on_trial = True
    words.save()

    page = compared(moderator, number)

    assert "added: 1, changed: 2, deleted: 0." in text_of(page)
    assert "category: old → new <b>" in text_of(page)
    assert "on trial: no → yes" in text_of(page)
    assert "<del>old</del>" in page.content.decode() and "new &lt;b&gt;" in page.content.decode()
    address = re.search(r'action="([^"]*bring-back[^"]*)"', page.content.decode())
    assert address
    done = moderator.post(address[1], follow=True)
    assert f"The rules are those of edition {number} again." in text_of(done)
    assert list(rules.values_list("pattern", "category")) == [("darn", "old")]
    assert not RuleList.objects.get().on_trial


@pytest.mark.parametrize("since", ["x", "-1", "9" * 30, "1e3"])
def test_a_comparison_with_what_is_no_number_is_not_found(moderator: Client, since: str) -> None:
    assert compared(moderator, since).status_code == 404


def test_an_edition_that_is_no_longer_kept_cannot_be_brought_back(moderator: Client) -> None:
    for number in range(3):
        rules.create(pattern=f"w{number}")
    RuleEdition.objects.order_by("number").first().delete()  # type: ignore[union-attr]

    assert "Edition 0 is no longer known" in text_of(compared(moderator, 0))
    for address in ("0/bring-back/", "1/undo/", f"{10**30}/undo/"):
        done = moderator.post(f"{EDITIONS}{address}", follow=True)
        assert "no longer kept" in text_of(done)
    assert rules.count() == 3


def test_deleted_rules_are_found_and_restored_with_their_history(moderator: Client) -> None:
    rule, other = rules.create(pattern="darn"), rules.create(pattern="<heck>", action="block", category="c")
    moderator.post(f"{LIST}{rule.pk}/delete/", {"post": "yes"})
    moderator.post(LIST, {"action": "delete", "_selected_action": [other.pk], "post": "yes"})

    page = moderator.get(f"{LIST}deleted/")
    assert re.findall(r"(darn|&lt;heck&gt;)</th>", page.content.decode()) == ["&lt;heck&gt;", "darn"]
    assert "ann" in text_of(page)
    page = moderator.get(f"{LIST}deleted/", {"q": "DARN"})
    chosen = re.findall(r'name="revision" value="(\d+)"', page.content.decode())

    done = moderator.post(f"{LIST}deleted/", {"revision": chosen}, follow=True)

    assert "1 was restored." in text_of(done)
    assert rules.get().pk == rule.pk


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("address", ["editions/1/undo/", "editions/0/bring-back/", "deleted/"])
def test_nobody_without_all_permissions_changes_anything_and_nobody_without_csrf(address: str) -> None:
    rules.create(pattern="one").delete()
    rules.create(pattern="two")
    for client, status in ((as_auditor(), 403), (as_admin(enforce_csrf_checks=True), 403), (Client(), 302)):
        assert client.post(f"{LIST}{address}", {"revision": ["1", "2"]}).status_code == status
        assert [rule.pattern for rule in rules.all()] == ["two"]
    assert as_auditor().get(EDITIONS).status_code == 200
    assert "Undo edition" not in as_auditor().get(EDITIONS).content.decode()
    as_admin().get(f"{LIST}editions/1/undo/")
    assert [rule.pattern for rule in rules.all()] == ["two"], "a link changes nothing"


def as_auditor() -> Client:
    user, _ = User.objects.get_or_create(username="eve", is_staff=True)
    user.groups.add(Group.objects.get(name="auditor"))
    client = Client()
    client.force_login(user)
    return client


def as_admin(**options: Any) -> Client:
    client = Client(**options)
    client.force_login(User.objects.filter(username="root").first() or User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("what", ["undo", "bring-back"])
def test_an_edition_that_is_yet_to_come_is_neither_undone_nor_brought_back(moderator: Client, what: str) -> None:
    rules.create(pattern="darn")
    number = rules.version()

    done = moderator.post(f"{EDITIONS}{number + 1}/{what}/", follow=True)

    assert "was undone" not in text_of(done)
    assert "again" not in text_of(done)
    assert rules.version() == number


def test_deleted_rules_are_searched_for_what_no_database_can_store(moderator: Client) -> None:
    rules.create(pattern="darn").delete()

    assert "darn" in text_of(moderator.get(f"{LIST}deleted/", {"q": "da\0rn"}))
