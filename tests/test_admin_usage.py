"""The admin's list of usage, its overview and its file; and ``manage.py usage``."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from streaming.admin import downloads
from streaming.models import LostUsage, UsageRecord
from tests.conftest import whole_body

pytestmark = pytest.mark.django_db

LIST = "/admin/streaming/usagerecord/"


def record(days: float = 0, **fields: Any) -> UsageRecord:
    known = {
        "when": timezone.now() - timedelta(days=days),
        "endpoint": "chat-completions",
        "username": "ann",
        "key_name": "backend",
        "upstream": "default",
        "model": "gpt",
        "prompt_tokens": 30,
        "completion_tokens": 4,
        "prompt_chars": 100,
        "completion_chars": 20,
        "seconds": 1.25,
        "first_byte_seconds": 0.5,
        "bytes": 1234,
        "reason": "stop",
        "status": 200,
        "stream": "ab12cd34" * 4,
    }
    return UsageRecord.objects.create(**{**known, **fields})


def page(client: Client, query: str = "") -> str:
    answer = client.get(LIST + query)
    assert answer.status_code == 200
    return answer.content.decode()


class TestTheList:
    def test_shows_who_where_how_much_and_how_it_ended(self, moderator: Client) -> None:
        record()
        record(status=504, reason="error", prompt_tokens=None, completion_tokens=None, first_byte_seconds=None)

        shown = page(moderator)

        for words in (
            "ann (backend)",
            "30 / 4",
            "100 / 20",
            "0.50 s, 1.2 s",
            "1,234",
            "stop",
            "error (504)",
            "–, 1.2 s",
        ):
            assert words in shown, words

    def test_changes_and_adds_nothing(self, moderator: Client) -> None:
        made = record()

        assert moderator.get(f"{LIST}add/").status_code == 403
        assert moderator.post(f"{LIST}{made.pk}/change/", {"reason": "x"}).status_code == 403
        assert moderator.post(f"{LIST}{made.pk}/delete/", {"post": "yes"}).status_code == 403

    @pytest.mark.parametrize(
        "query",
        ["?upstream=default", "?model=simulated", "?endpoint=transfer", "?reason=left", "?q=ann", "?q=ab12cd34"],
    )
    def test_has_filters_and_a_search(self, moderator: Client, query: str) -> None:
        record(upstream="elsewhere", model="simulated", endpoint="transfer", reason="left", username="bob")
        record(days=1)

        name, _, value = query[1:].partition("=")

        found = page(moderator, query)
        expected = {"upstream": 1, "model": 1, "endpoint": 1, "reason": 1, "q": 1 if value == "ann" else 0}[name]
        assert found.count('class="action-select"') + found.count('<th class="field-when') == expected

    def test_makes_what_users_choose_visible_and_harmless(self, moderator: Client) -> None:
        record(username="<script>alert(1)</script>", model="a\u202eb", key_name="<b>")

        shown = page(moderator)

        assert "<script>alert" not in shown
        assert "\u202eb" not in shown

    def test_is_only_for_those_with_the_permission(self, client: Client) -> None:
        user = get_user_model().objects.create_user("bob", is_staff=True)
        client.force_login(user)
        addresses = (LIST, f"{LIST}csv/", f"{LIST}open/", f"{LIST}open/events")
        before = [client.get(address).status_code for address in addresses]

        user.user_permissions.add(Permission.objects.get(codename="view_usagerecord"))

        assert before == [403] * 4
        assert [client.get(address).status_code for address in addresses[:3]] == [200] * 3


class TestTheOverview:
    def test_sums_tokens_by_day_key_and_model_as_chart_and_table(self, moderator: Client) -> None:
        for days in (0, 0, 1):
            record(days=days)
        record(key_name="", username="bob", model="other-model", prompt_tokens=1000)

        shown = page(moderator)

        day = timezone.localdate().strftime("%Y-%m-%d")
        assert f'<th scope="row">{day}</th><td>3</td><td>0</td><td>1060</td><td>12</td>' in shown
        assert "1106 in the last 30 days, at most 1072 on one day" in shown
        bob, ann = shown.index('<a href="?q=bob">bob</a>'), shown.index('<a href="?q=ann%20backend">ann · backend</a>')
        assert bob < ann, "who used most comes first"
        assert '<a href="?q=other-model">other-model</a></td><td>1</td><td>1004</td>' in shown

    @pytest.mark.parametrize("name", ["laptop", "my laptop", 'Ann\'s "big" one', "a\\ b", "=x", "笔记本 二"])
    def test_leads_to_the_records_of_a_key_whatever_its_name_is(self, moderator: Client, name: str) -> None:
        record(key_name=name)
        record(key_name=f"{name}2")
        record(key_name=name, username="bob")

        links = re.findall(r'<td class="piece"><a href="(.*?)"', page(moderator))
        shown = [moderator.get(f"{LIST}{html.unescape(link)}").context["cl"].result_list for link in links[:3]]

        assert [len(records) for records in shown] == [1, 1, 1]

    def test_compares_tokens_with_tokens_only(self, moderator: Client) -> None:
        record(prompt_tokens=3, completion_tokens=0)
        for _ in range(9):
            record(key_name="unreported", prompt_tokens=None, completion_tokens=None)

        meters = re.findall(r'<meter min="0" max="(\d+)" value="(\d+)">', page(moderator))

        assert meters == [("3", "3"), ("3", "0"), ("3", "3")], "two keys and a model"

    def test_follows_the_filters(self, moderator: Client) -> None:
        record()
        record(username="bob", prompt_tokens=1000)

        assert "34 in the last 30 days" in page(moderator, "?q=ann")

    def test_counts_requests_where_no_upstream_reports_tokens(self, moderator: Client) -> None:
        record(prompt_tokens=None, completion_tokens=None)

        shown = page(moderator)

        assert "Requests day by day" in shown
        assert "1 in the last 30 days, at most 1 on one day" in shown

    def test_says_what_was_lost(self, moderator: Client) -> None:
        LostUsage.objects.create(count=7)

        assert "7 requests were not recorded while the database was unavailable" in page(moderator)

    def test_needs_few_queries(self, moderator: Client, django_assert_max_num_queries: Any) -> None:
        for number in range(60):
            record(username=f"user{number}", days=number / 3)

        with django_assert_max_num_queries(16):
            page(moderator)


class TestTheFile:
    def rows(self, client: Client, query: str = "") -> list[dict[str, str]]:
        answer = client.get(f"{LIST}csv/{query}")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert f"usage-{timezone.now():%Y-%m-%d}.csv" in answer["Content-Disposition"]
        text = whole_body(answer).decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def test_has_the_records_that_the_list_shows(self, moderator: Client) -> None:
        record()
        record(username="bob", prompt_tokens=None)

        (row,) = self.rows(moderator, "?q=bob")

        assert (row["username"], row["prompt_tokens"], row["completion_tokens"]) == ("bob", "", "4")
        assert (row["reason"], row["status"], row["seconds"]) == ("stop", "200", "1.25")
        assert len(self.rows(moderator)) == 2

    def test_has_all_of_them(self, moderator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(downloads, "ROWS_AT_ONCE", 2)
        for number in range(5):
            record(days=number, stream=str(number))

        assert [row["stream"] for row in self.rows(moderator)] == ["0", "1", "2", "3", "4"]

    def test_has_no_formulas(self, moderator: Client) -> None:
        record(model="=HYPERLINK(1)", username="@ann")

        (row,) = self.rows(moderator)

        assert (row["model"], row["username"]) == ("'=HYPERLINK(1)", "'@ann")

    def test_of_a_broken_query_goes_back_to_the_list(self, moderator: Client) -> None:
        assert moderator.get(f"{LIST}csv/?when__gte=nonsense").status_code in (200, 302)


class TestTheCommand:
    def said(self, capsys: Any, *arguments: str) -> str:
        call_command("usage", *arguments)
        return str(capsys.readouterr().out)

    def test_sums_up_by_day(self, capsys: Any) -> None:
        record()
        record(status=500, reason="error")
        record(days=40)

        heading, row = self.said(capsys).splitlines()

        assert heading.split() == [
            "day",
            "requests",
            "errors",
            "prompt",
            "tokens",
            "completion",
            "tokens",
            "characters",
            "bytes",
        ]
        assert row.split() == [timezone.localdate().isoformat(), "2", "1", "60", "8", "240", "2,468"]

    def test_sums_up_by_key_or_model_the_greatest_first(self, capsys: Any) -> None:
        record()
        record(username="bob", key_name="", model="big", prompt_tokens=1000)

        by_key = self.said(capsys, "--by", "key").splitlines()[1:]
        by_model = self.said(capsys, "--by", "model").splitlines()[1:]

        assert [line.split("  ")[0] for line in by_key] == ["bob", "ann · backend"]
        assert [line.split()[0] for line in by_model] == ["big", "gpt"]

    def test_takes_a_period_a_user_and_a_key(self, capsys: Any) -> None:
        record(days=2)
        record(username="bob")
        today = timezone.localdate()

        since = self.said(capsys, "--since", str(today - timedelta(days=1)))
        until = self.said(capsys, "--until", str(today - timedelta(days=1)))

        assert since.splitlines()[1].split()[1] == "1"
        assert until.splitlines()[1].split()[0] == str(today - timedelta(days=2))
        assert len(self.said(capsys, "--user", "bob").splitlines()) == 2
        assert len(self.said(capsys, "--key", "none").splitlines()) == 1

    def test_prints_csv(self, capsys: Any) -> None:
        record(model="=1+1")

        (row,) = csv.DictReader(io.StringIO(self.said(capsys, "--csv"), newline=""))

        assert (row["model"], row["completion_tokens"]) == ("'=1+1", "4")

    @pytest.mark.parametrize(
        "wrong",
        [
            *(["--days", "0"], ["--since", "yesterday"], ["--until", "2026-02-31"]),
            *(["--until", "9999-12-31"], ["--until", "0001-01-01"], ["--since", "0001-01-01"]),
            *(["--since", "2026-02-02", "--until", "2026-02-01"], ["--since", "8999-01-01"]),
        ],
    )
    def test_names_what_is_wrong(self, wrong: list[str]) -> None:
        with pytest.raises(CommandError, match=wrong[0]):
            call_command("usage", *wrong)
