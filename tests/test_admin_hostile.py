"""Hostile parameters and texts: no page of the admin fails, runs a script or hides text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from streaming.models import ModerationHit, ModerationRule

pytestmark = pytest.mark.django_db

VALUES = {
    "a year beyond dates": "99999999999",
    "beyond 64 bits": "99999999999999999999",
    "beyond digits": "9" * 5000,
    "negative": "-1",
    "nothing": "",
    "NUL": "a\0b",
    "half of a surrogate pair": "\ud800",
    "markup": '"><script>alert(1)</script>',
    "turned round": "\u202e\u2066",
    "a broken regular expression": "[",
    "another digit": "٣",
}

COMMON = ("q", "o", "p", "all", "_facets", "_popup", "_to_field", "e", "pk", "id__in", "no_field", "pk__gt__lt")
DATES = ("year", "month", "day", "gte", "year__gte")
OWN = {
    "moderationrule": ("imported", "imported__id__exact", "hits__when__year", "pattern__regex", "enabled__exact"),
    "moderationhit": ("rule", "rule__id__exact", "rule__pattern__startswith", "text__regex"),
}


@pytest.fixture
def visitor(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("ann"))
    client.raise_request_exception = False
    return client


def quoted(value: str) -> str:
    return quote(value.encode("utf-8", "surrogatepass"))


def lists() -> Iterator[tuple[str, tuple[str, ...]]]:
    for model, page in admin.site._registry.items():
        fields = model._meta.concrete_fields
        dates = [f"{field.name}__{part}" for field in fields if "Date" in type(field).__name__ for part in DATES]
        filters = [name if isinstance(name, str) else name[0] for name in page.list_filter if not callable(name)]
        filters = [f"{name}{end}" for name in filters for end in ("", "__exact")]
        own = OWN.get(str(model._meta.model_name), ())
        yield f"/admin/{model._meta.app_label}/{model._meta.model_name}/", (*COMMON, *dates, *filters, *own)


EXPORTS = {"moderationrule": "export/", "moderationhit": "export/", "usagerecord": "csv/"}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_no_query_parameter_of_a_list_causes_a_500(visitor: Client, value: str) -> None:
    rule = ModerationRule.objects.create(pattern="darn")
    ModerationHit.objects.create(when=timezone.now() - timedelta(days=1), rule=rule, version=1, offset=1)
    for address, names in lists():
        for name in names:
            # Of a date the smaller parts are looked at where the greater ones are right.
            beside = "&when__year=2026&when__month=2" if name in ("when__day", "when__month") else ""
            for page in filter(None, ("list", EXPORTS.get(address.split("/")[-2]))):
                response = visitor.get(f"{address}{page.removeprefix('list')}?{name}={quoted(value)}{beside}")
                assert response.status_code < 500, (address, page, name)
                assert page != "list" or b"<script>alert" not in response.content


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_no_path_of_a_page_causes_a_500(visitor: Client, value: str) -> None:
    for page in ("change/", "delete/", "history/", ""):
        for model in ("moderationrule", "moderationhit"):
            for method in (visitor.get, visitor.post):
                assert method(f"/admin/streaming/{model}/{quoted(value)}/{page}").status_code < 500
    for page in (f"import/{quoted(value)}/", f"import/{quoted(value)}/undo/", f"export/?q={quoted(value)}"):
        assert visitor.get(f"/admin/streaming/moderationrule/{page}").status_code < 500


TEXTS = {
    "markup": '"><img src=x onerror=alert(1)><script>alert(1)</script>',
    "a template": "{{ 7|add:7 }}{% now 'Y' %}",
    "turned round": "abc\u202egpj.exe",
    "isolates that are not closed": "a\u2067b\u2066c",
    "invisible": "da\u200brn\u00ad",
    "control characters": "a\x01b\x1b[31m",
    "right to left": "سيء جدا",
    "a formula": "=cmd|' /C calc'!A0",
    "long": "x" * 4000,
    "emoji": "👩\u200d👧",
}
TURNING = re.compile("[\u202a-\u202e\u2066\u2067]")  # without U+2068, which isolates


@pytest.mark.parametrize("filled", ["moderationrule/add/?valid_from", "apikey/add/?owner"])
def test_no_address_that_fills_a_form_in_is_a_500(visitor: Client, filled: str) -> None:
    for value in ("beyond 64 bits", "NUL", "markup"):
        response = visitor.get(f"/admin/streaming/{filled}={quoted(VALUES[value])}", follow=True)
        assert response.status_code < 500, value


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_of_rules_and_hits_is_escaped_and_cannot_hide_or_reorder_anything(visitor: Client, text: str) -> None:
    rule = ModerationRule.objects.create(
        pattern=text, replacement=text[:500], category=text[:50], note=text, upstreams=[text[:50]]
    )
    for _ in range(2):  # one edit makes a history
        ModerationHit.objects.create(
            when=timezone.now(), rule=rule, pattern=text[:200], category=text[:50], upstream=text[:100],
            channel=text[:100], who=text[:150], before=text, text=text, after=text, version=1, offset=1, action="mask",
        )  # fmt: skip
    base, there = "/admin/streaming/moderationrule/", f"/admin/streaming/moderationrule/{rule.pk}/"
    form = {"pattern": text, "action": "mask", "note": text}
    chosen = {"_selected_action": rule.pk, "index": 0}
    responses = [
        visitor.post(f"{there}change/", {**form, "action": "block", "replacement": text[:500]}, follow=True),
        visitor.get(base),
        visitor.get(f"{there}change/"),
        visitor.get(f"{there}history/"),
        visitor.get(f"{there}delete/"),
        visitor.post(base, {"action": "delete", **chosen}),
        visitor.post(base, {"action": "disable", **chosen}, follow=True),
        visitor.post(f"{base}check/", form),
        visitor.post(f"{base}try/", {**form, "text": f"a {text} b", "cut": 1}),
        visitor.post(f"{base}import/", {"text": f"new\n{text}\n", "action": "mask", "name": text}, follow=True),
        visitor.get(f"{base}export/"),
        visitor.get("/admin/streaming/moderationhit/"),
        visitor.get("/admin/"),
    ]
    for response in responses:
        assert response.status_code == 200, response.request
        if response["Content-Type"].startswith("text/html"):
            check_page(response.content.decode(), text)


def check_page(page: str, text: str) -> None:
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    # What a form sends back is as it was; everything else is to be read.
    read = re.sub(r"<textarea.*?</textarea>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert not TURNING.search(html.unescape(read)), "nothing turns what follows it round"
    assert "\x1b" not in read


@pytest.mark.parametrize("size", [5000, 1_000_000])
def test_a_text_that_is_far_too_long_is_refused_with_a_message(visitor: Client, size: int) -> None:
    base = "/admin/streaming/moderationrule/"
    form: dict[str, Any] = {"pattern": "x" * size, "action": "mask", "category": "y" * size, "note": "\0" * size}

    for address in (f"{base}add/", f"{base}check/", f"{base}import/"):
        assert visitor.post(address, {**form, "text": "x" * size}).status_code in (200, 302, 413)
    assert not ModerationRule.objects.exists()
