"""The packs of rules: each rule compiles, finds its examples and nothing else, and has a source."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from streaming.clean_samples import clean_texts, find_matches, languages
from streaming.import_undo import undo
from streaming.models import HitAlert, ModerationRule, RuleImport, RuleList
from streaming.moderation import Hit, Moderator, RuleSet, Text
from streaming.rule_files import Row, find_problem, read
from streaming.rule_packs import PACKS, Pack, PackRule
from tests.conftest import whole_body

RULES = [(pack, each) for pack in PACKS.values() for each in pack.rules]
IDS = [f"{pack.name}: {each.title}" for pack, each in RULES]


def visible_text(page: Any) -> str:
    return re.sub("[\u2066-\u2069]", "", html.unescape(page.content.decode()))


def row_of(pack: Pack, rule: PackRule) -> Row:
    return pack.rows()[pack.rules.index(rule)]


def moderated(rule_set: RuleSet, text: str, cut: int) -> tuple[str, int]:
    """The text that is shown, and the number of hits, of a text fed in pieces."""
    moderator = Moderator(rule_set, "markdown")
    outcomes = [out for at in range(0, len(text), cut) for out in moderator.feed(text[at : at + cut])]
    outcomes += moderator.finish()
    shown = "".join(out.text for out in outcomes if isinstance(out, Text))
    return shown, sum(isinstance(out, Hit) for out in outcomes)


@pytest.mark.parametrize(("pack", "rule"), RULES, ids=IDS)
def test_a_rule_finds_its_examples_in_every_cut_and_not_its_counterexamples(pack: Pack, rule: PackRule) -> None:
    rule_set = RuleSet([row_of(pack, rule).as_rule(1)])

    for text in rule.finds:
        shown, hits = moderated(rule_set, text, len(text))
        assert hits == 1, text
        assert "•" in shown, text
        assert {moderated(rule_set, text, cut) for cut in (1, 2, 3, 7)} == {(shown, hits)}, text
    for text in rule.ignores:
        assert moderated(rule_set, text, len(text)) == (text, 0), text
    assert rule.finds
    assert "http" in rule.source or "README" in rule.source


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
def test_a_pack_is_a_list_of_valid_rules(pack: Pack) -> None:
    rows = pack.rows()

    assert [find_problem(row) for row in rows] == [""] * len(rows)
    assert len({row.key for row in rows}) == len(rows)
    assert [row for _, row in read(pack.as_file()).rows] == rows
    assert "action" not in read(pack.as_file()).columns
    assert RuleSet([row.as_rule(at) for at, row in enumerate(rows)]).rules


@pytest.mark.parametrize("name", ["secrets", "personal-data"])
def test_a_pack_finds_nothing_in_everyday_texts(name: str) -> None:
    texts = {language: clean_texts()[language] for language in languages()}

    assert find_matches(enumerate(PACKS[name].rows()), texts) == []


def test_card_numbers_are_told_from_timestamps_by_their_check_digit() -> None:
    (rule,) = (each for each in PACKS["personal-data"].rules if each.check == "luhn")
    rule_set = RuleSet([row_of(PACKS["personal-data"], rule).as_rule(1)])

    assert not any(moderated(rule_set, str(1764150000000 + number * 977), 50)[1] for number in range(500))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("nothing_in_force_yet")
class TestInTheAdmin:
    LISTS = "/admin/streaming/rulelist/"

    def add(self, moderator: Client, name: str, **choices: str) -> Any:
        page = moderator.post(f"{self.LISTS}packs/{name}/", follow=True)
        (address, _status) = page.redirect_chain[-1]
        if choices:
            moderator.post(address, {"_update": "1", **choices})
        return whole_body(moderator.post(address)).decode()

    def test_a_pack_is_added_as_a_list_that_is_not_enabled(self, moderator: Client) -> None:
        assert "Personal data" in moderator.get(self.LISTS).content.decode()
        assert not RuleList.objects.exists()

        page = self.add(moderator, "secrets")

        added = RuleList.objects.get()
        assert (added.name, added.source, added.pack, added.enabled) == ("Secrets", "pack", "secrets", False)
        assert added.rules.count() == len(PACKS["secrets"].rules)
        assert ModerationRule.objects.in_force() == []
        assert f"/admin/streaming/rulelist/{added.pk}/change/" in page
        added.enabled = True
        added.save()
        assert len(ModerationRule.objects.in_force()) == len(PACKS["secrets"].rules)

    def test_a_pack_that_was_added_is_replaced_as_one_and_keeps_the_moderators_actions(self, moderator: Client) -> None:
        self.add(moderator, "links")
        RuleList.objects.update(name="our links", enabled=True)
        kept, gone = ModerationRule.objects.order_by("pk")[:2]
        ModerationRule.objects.filter(pk=kept.pk).update(action="block", category="x")
        ModerationRule.objects.filter(pk=gone.pk).update(
            pattern="no longer in the pack", note="Something. https://else.example"
        )

        self.add(moderator, "links")

        updated = RuleList.objects.get()
        assert (updated.name, updated.enabled, updated.rules.count()) == ("our links", True, len(PACKS["links"].rules))
        kept.refresh_from_db()
        assert (kept.action, kept.category) == ("block", "link")
        assert not ModerationRule.objects.filter(pk=gone.pk).exists()

    def test_a_rule_that_finds_better_what_it_is_for_stays_the_same_rule(self, moderator: Client) -> None:
        self.add(moderator, "links")
        renewed = ModerationRule.objects.order_by("pk").first()
        latest = renewed.pattern
        renewed.pattern, renewed.compare = "as it was in an older release", "exact"
        renewed.action, renewed.enabled = "block", False
        renewed.save()
        alert = HitAlert.objects.create(name="links", rule=renewed, emails="ann@example.com")

        self.add(moderator, "links")

        assert HitAlert.objects.get() == alert
        renewed.refresh_from_db()
        assert (renewed.pattern, renewed.compare, renewed.action, renewed.enabled) == (latest, "normal", "block", False)
        assert renewed.fingerprint == renewed.make_fingerprint()
        assert ModerationRule.objects.count() == len(PACKS["links"].rules)

        undone = undo(RuleImport.objects.first())

        assert (undone.restored, undone.kept) == (1, 0)
        renewed.refresh_from_db()
        assert (renewed.pattern, renewed.compare) == ("as it was in an older release", "exact")
        assert renewed.fingerprint == renewed.make_fingerprint()
        assert renewed.folded == renewed.pattern

    def test_an_undo_leaves_a_rule_whose_former_pattern_another_has_by_now(self, moderator: Client) -> None:
        self.add(moderator, "links")
        renewed = ModerationRule.objects.order_by("pk").first()
        latest = renewed.pattern
        ModerationRule.objects.filter(pk=renewed.pk).update(pattern="as it was")
        self.add(moderator, "links")
        ModerationRule.objects.create(pattern="as it was", kind="regex", rule_list=RuleList.objects.get())

        undone = undo(RuleImport.objects.first())

        assert (undone.removed, undone.restored, undone.kept) == (0, 0, 1)
        renewed.refresh_from_db()
        assert (renewed.pattern, renewed.imported) == (latest, None)

    def test_its_rules_may_have_another_action(self, moderator: Client) -> None:
        self.add(moderator, "links", action="flag", new_list="where they lead")

        assert set(ModerationRule.objects.values_list("action", "rule_list__name", "rule_list__enabled")) == {
            ("flag", "where they lead", False)
        }

    def test_a_list_is_deleted_with_its_rules_which_are_counted_and_not_shown(self, moderator: Client) -> None:
        self.add(moderator, "secrets")
        pk = RuleList.objects.get().pk

        for page in (
            moderator.get(f"{self.LISTS}{pk}/delete/"),
            moderator.post(self.LISTS, {"action": "delete_selected", "_selected_action": pk}),
        ):
            assert f"Secrets: {len(PACKS['secrets'].rules)} rules" in visible_text(page)
            assert "AKIA" not in page.content.decode()
        moderator.post(f"{self.LISTS}{pk}/delete/", {"post": "yes"})
        assert not ModerationRule.objects.exists()

    def test_a_list_is_not_deleted_without_the_permission_to_delete_rules(self, moderator: Client) -> None:
        self.add(moderator, "secrets")
        user = User.objects.get()
        user.is_superuser = False
        user.save()
        user.user_permissions.set(Permission.objects.filter(codename__in=["view_rulelist", "delete_rulelist"]))

        moderator.post(f"{self.LISTS}{RuleList.objects.get().pk}/delete/", {"post": "yes"})

        assert RuleList.objects.exists()

    def test_what_is_no_pack_is_a_404_and_needs_the_permission_to_import(self, moderator: Client) -> None:
        assert moderator.post(f"{self.LISTS}packs/nothing/").status_code == 404
        assert moderator.get(f"{self.LISTS}packs/links/").status_code == 405
        assert Client().post(f"{self.LISTS}packs/links/").status_code == 302
        assert not RuleImport.objects.exists()


def test_a_private_key_without_an_end_is_masked_up_to_the_limit() -> None:
    pack = PACKS["secrets"]
    (rule,) = (each for each in pack.rules if each.overflow == "match")
    text = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADAN\n" * 400

    shown, hits = moderated(RuleSet([row_of(pack, rule).as_rule(1)]), text, 20)

    assert hits == 1
    assert "MIIE" not in shown
