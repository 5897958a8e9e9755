"""Judging hits: right or wrong, allow rules after wrong ones, the queue of flags, filters and the export."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from streaming.admin import downloads, hit_review
from streaming.admin.hit_review import allows, passages
from streaming.models import ModerationHit, ModerationRule, RuleList
from tests.conftest import whole_body
from tests.test_admin import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_in_force_yet")]

HITS = "/admin/streaming/moderationhit/"
rules = ModerationRule.objects


def hit(rule: ModerationRule | None = None, **values: Any) -> ModerationHit:
    defaults = {"when": timezone.now(), "version": 7, "offset": 0, "action": "mask", "stream": "s1", "who": "bob"}
    if rule:
        defaults |= {"rule": rule, "pattern": rule.pattern, "action": rule.action}
    return ModerationHit.objects.create(**{**defaults, **values})


def shown(client: Client, **query: Any) -> set[str]:
    return {each.text for each in client.get(HITS, query).context["cl"].result_list}


class TestAVerdict:
    def test_is_given_by_the_buttons_of_a_row_and_leads_back_to_the_filtered_list(self, moderator: Client) -> None:
        one = hit(text="darn")
        page = moderator.get(HITS, {"who": "bob"}).content.decode()
        right = next(address for address in re.findall(r'formaction="([^"]+)"', page))

        done = moderator.post(html.unescape(right), {"verdict": "right", "csrfmiddlewaretoken": "x"})

        one.refresh_from_db()
        assert (one.verdict, one.reviewed_by) == ("right", "ann")
        assert done["Location"] == f"{HITS}?who=bob"
        assert shown(moderator, verdict__exact="right") == {"darn"}

    def test_is_given_to_many_hits_and_taken_back(self, moderator: Client) -> None:
        made = [hit(text=f"t{number}") for number in range(3)]
        chosen = [each.pk for each in made[:2]]

        moderator.post(HITS, {"action": "mark_wrong", "_selected_action": chosen})
        assert shown(moderator, verdict__exact="wrong") == {"t0", "t1"}
        moderator.post(HITS, {"action": "unmark", "_selected_action": chosen})
        assert shown(moderator, verdict__exact="wrong") == set()

    def test_is_given_on_the_page_of_a_hit_which_names_its_edition(self, moderator: Client) -> None:
        one = hit(text="darn")

        page = text_of(moderator.get(f"{HITS}{one.pk}/change/"))

        assert "Right or wrong?" in page and "Found with edition 7" in page

    def test_is_counted_for_each_rule(self, moderator: Client) -> None:
        rule = rules.create(pattern="darn")
        for verdict in ("wrong", "right", ""):
            hit(rule, verdict=verdict)

        assert "(1 wrong)" in text_of(moderator.get(HITS))


class TestAfterAWrongHit:
    @pytest.mark.parametrize(
        ("before", "text", "after", "expected"),
        [
            ("in the ", "ass", "embly room", ["assembly", "the assembly", "in the assembly room"]),
            ("the town of S", "cunt", "horpe, England", ["Scunthorpe"]),
            ("ate a ", "cock", " au vin today", ["a cock au", "ate a cock au vin today"]),
            ("他在", "他妈", "的家里", ["他在他妈的家", "他在他妈的家里"]),
            ("", "darn", "", ["darn"]),
            ("<b>", "darn", "</b>", ["<b>darn</b>"]),
        ],
    )
    def test_passages_are_offered_that_allow_it(self, before: str, text: str, after: str, expected: list[str]) -> None:
        wrong = hit(rules.create(pattern=text), before=before, text=text, after=after)

        offered = passages(wrong)

        assert [each for each in offered if each in expected] == expected
        assert text in offered[0]

    def test_an_allow_rule_is_made_that_exempts_it_and_nothing_else(self, moderator: Client) -> None:
        rule = rules.create(pattern="ass")
        wrong = hit(rule, before="in ", text="ass", after="embly now")
        asked = moderator.post(f"{HITS}{wrong.pk}/judge/?from=review", {"verdict": "wrong"})
        assert asked["Location"] == f"{HITS}{wrong.pk}/allow/?from=review"
        assert "assembly" in text_of(moderator.get(asked["Location"]))

        done = moderator.post(asked["Location"], {"passage": "assembly"})

        assert done["Location"] == f"{HITS}review/"
        allow = rules.get(action="allow")
        assert (allow.pattern, allow.enabled, f"rule {rule.pk}" in allow.note) == ("assembly", True, True)
        assert allows(allow.as_value(), wrong)
        assert not allows(allow.as_value(), hit(rule, before="an ", text="ass", after=" now"))

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({}, "Choose a passage, or write one."),
            ({"other": "embl"}, "would still be a hit"),
            ({"other": "x" * 501}, "at most 500"),
            ({"passage": "something else"}, "Select a valid choice"),
            ({"other": "in assembly"}, "There is a rule with this passage already: mask in assembly. Change that one."),
            ({"other": "\u200b"}, "only marks and invisible characters"),
        ],
    )
    def test_what_does_not_help_is_refused_in_a_sentence(self, moderator: Client, given: Any, error: str) -> None:
        rule = rules.create(pattern="ass")
        rules.create(pattern="in assembly", action="mask")
        wrong = hit(rule, before="in ", text="ass", after="embly now")

        page = moderator.post(f"{HITS}{wrong.pk}/allow/", given)

        assert page.status_code == 200
        assert error in text_of(page)
        assert rules.count() == 2

    def test_a_passage_that_is_allowed_already_may_be_chosen_again_after_an_equal_hit(self, moderator: Client) -> None:
        rule = rules.create(pattern="ass")
        first, second = (hit(rule, before="in ", text="ass", after="embly now") for _ in range(2))
        moderator.post(f"{HITS}{first.pk}/allow/", {"passage": "assembly"})

        done = moderator.post(f"{HITS}{second.pk}/allow/", {"passage": "assembly"}, follow=True)

        assert "“assembly” is allowed in all streams that start from now on." in text_of(done)
        assert rules.filter(action="allow").count() == 1

    def test_a_passage_that_two_requests_allow_at_the_same_time_is_allowed_once(
        self, moderator: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrong = hit(rules.create(pattern="ass", action="mask"), text="ass", after="embly")
        begin = hit_review.changing

        def begin_later(*what: Any, **who: Any) -> Any:
            rules.create(pattern="assembly", action="allow")  # the other request
            return begin(*what, **who)

        monkeypatch.setattr(hit_review, "changing", begin_later)
        done = moderator.post(f"{HITS}{wrong.pk}/allow/", {"passage": "assembly"}, follow=True)

        assert "“assembly” is allowed in all streams that start from now on." in text_of(done)
        assert rules.filter(action="allow").count() == 1

    @pytest.mark.parametrize(
        "values",
        [
            {"enabled": False},
            {"on_trial": True},
            {"upstreams": ["other"]},
            {"only_for": ["group:staff"]},
            {"applies_to": "prompts"},
            {"valid_from": timezone.now() + timedelta(days=1)},
            {"valid_until": timezone.now() - timedelta(days=1)},
        ],
    )
    def test_a_passage_that_is_allowed_somewhere_or_sometimes_only_is_not_called_allowed(
        self, moderator: Client, values: dict[str, Any]
    ) -> None:
        wrong = hit(rules.create(pattern="ass"), before="in ", text="ass", after="embly now")
        rules.create(pattern="assembly", action="allow", **values)

        refused = moderator.post(f"{HITS}{wrong.pk}/allow/", {"passage": "assembly"})

        assert "There is a rule with this passage already: allow assembly. Change that one." in text_of(refused)

    def test_a_passage_is_written_by_hand_where_texts_are_not_kept(self, moderator: Client) -> None:
        wrong = hit(rules.create(pattern="ass"), digest="ab" * 32)

        assert "write the passage" in text_of(moderator.get(f"{HITS}{wrong.pk}/allow/"))
        moderator.post(f"{HITS}{wrong.pk}/allow/", {"other": "assembly"})

        assert rules.filter(action="allow", pattern="assembly").exists()


def test_flags_wait_in_a_queue_the_oldest_first_until_they_are_judged(moderator: Client) -> None:
    flag = rules.create(pattern="darn", action="flag")
    for number in range(12):
        hit(flag, text=f"<i>{number}</i>", when=timezone.now() - timedelta(hours=number))
    hit(text="no flag")

    page = moderator.get(f"{HITS}review/")
    assert "12 flags wait" in text_of(page)
    assert "<mark>&lt;i&gt;11&lt;/i&gt;</mark>" in page.content.decode()
    assert "Review 12 flags" in text_of(moderator.get(HITS))
    buttons = re.findall(r'formaction="([^"]+)"', page.content.decode())
    assert moderator.post(buttons[0], {"verdict": "right"})["Location"] == f"{HITS}review/"
    assert "11 flags wait" in text_of(moderator.get(f"{HITS}review/"))


class TestTheList:
    def test_is_filtered_by_rule_list_user_and_stream_and_says_so(self, moderator: Client) -> None:
        words = RuleList.objects.create(name="words")
        rule = rules.create(pattern="darn", rule_list=words)
        hit(rule, text="a", stream="s2", who="<eve>")
        hit(text="b")

        assert shown(moderator, rule__id__exact=rule.pk) == {"a"}
        assert shown(moderator, rule__rule_list__id__exact=words.pk) == {"a"}
        assert shown(moderator, who="<eve>") == {"a"}
        assert shown(moderator, stream="s1") == {"b"}
        assert "user or key <eve>" in text_of(moderator.get(HITS, {"who": "<eve>"}))

    def test_is_exported_as_filtered_and_no_cell_is_a_formula(self, moderator: Client) -> None:
        hit(text="=1+1", before="@SUM(A1)", who="-eve", pattern="+1")
        hit(text="other", stream="s2")

        answer = moderator.get(f"{HITS}export/", {"stream": "s1"})

        rows = list(csv.DictReader(io.StringIO(whole_body(answer).decode("utf-8-sig"))))
        assert len(rows) == 1
        assert [rows[0][name] for name in ("text", "before", "who", "pattern")] == [
            "'=1+1",
            "'@SUM(A1)",
            "'-eve",
            "'+1",
        ]
        assert rows[0]["version"] == "7"

    @pytest.mark.parametrize("at_once", [1, 2, 3, 6, 7])
    def test_is_exported_whole_the_latest_first_however_many_hits_there_are(
        self, moderator: Client, monkeypatch: pytest.MonkeyPatch, at_once: int
    ) -> None:
        monkeypatch.setattr(downloads, "ROWS_AT_ONCE", at_once)
        now = timezone.now()
        for number, ago in enumerate((9, 5, 5, 5, 5, 1)):  # some at the same moment
            hit(text=str(number), when=now - timedelta(seconds=ago))
        hit(text="of another stream", stream="s2")

        answer = moderator.get(f"{HITS}export/", {"stream": "s1"})
        rows = csv.DictReader(io.StringIO(whole_body(answer).decode("utf-8-sig")))
        assert [row["text"] for row in rows] == ["5", "4", "3", "2", "1", "0"]


@pytest.mark.usefixtures("groups")
class TestWhoMayNot:
    def test_judge_sees_no_button_and_is_refused(self, client: Client) -> None:
        user = User.objects.create_user("eve", is_staff=True)
        user.groups.add(Group.objects.get(name="auditor"))
        client.force_login(user)
        one = hit(text="darn")

        assert "formaction" not in client.get(HITS).content.decode()
        for address in ("judge/", "allow/"):
            assert client.post(f"{HITS}{one.pk}/{address}", {"verdict": "wrong", "other": "x"}).status_code == 403
        assert client.get(f"{HITS}review/").status_code == 403
        assert client.get(f"{HITS}export/").status_code == 200
        client.post(HITS, {"action": "mark_wrong", "_selected_action": [one.pk]})
        one.refresh_from_db()
        assert one.verdict == "" and not rules.exists()

    def test_see_the_hits_cannot_export_them(self, client: Client) -> None:
        client.force_login(User.objects.create_user("eve", is_staff=True))

        assert client.get(f"{HITS}export/").status_code == 403

    def test_be_sent_to_another_site_by_a_link(self, moderator: Client) -> None:
        one = hit()
        for query in ("list=//evil.example", "from=https://evil.example", "next=//evil.example"):
            done = moderator.post(f"{HITS}{one.pk}/judge/?{query}", {"verdict": "right"})
            assert done["Location"].startswith(f"{HITS}?")

    def test_judge_by_a_link_or_without_the_token(self, moderator: Client) -> None:
        one = hit()
        moderator.get(f"{HITS}{one.pk}/judge/", {"verdict": "right"})
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(User.objects.get(username="ann"))
        assert strict.post(f"{HITS}{one.pk}/judge/", {"verdict": "right"}).status_code == 403
        one.refresh_from_db()
        assert one.verdict == ""
