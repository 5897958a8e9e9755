"""The Simplified Chinese translation is complete, and gettext is not needed to run the site."""

from __future__ import annotations

import ast
import html
import re
from pathlib import Path
from typing import Any

import polib
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.translation import override

from streaming.models import ModerationHit, ModerationRule, translated
from streaming.moderation import Rule, RuleError, compile_rule

FOLDER = Path(__file__).parent.parent / "streaming" / "locale" / "zh_Hans" / "LC_MESSAGES"
DJANGO_HAS = {"Date/time", "Home", "User"}

CATALOGUE = polib.pofile(str(FOLDER / "django.po"))


def words(entry: polib.POEntry) -> tuple[str, ...]:
    return tuple(entry.msgstr_plural.values()) if entry.msgid_plural else (entry.msgstr,)


def test_every_message_is_translated() -> None:
    assert {entry.msgid for entry in CATALOGUE if not all(words(entry)) or entry.fuzzy} == DJANGO_HAS


def test_translations_have_the_same_placeholders() -> None:
    def places(text: str) -> list[str]:
        return sorted(re.findall(r"%\(\w+\)[a-zA-Z0-9]+|%s|%d|\{\w+\}", text))

    for entry in CATALOGUE:
        for said in filter(None, words(entry)):
            assert places(said) == places(entry.msgid_plural or entry.msgid)


def test_the_compiled_catalogue_is_up_to_date() -> None:
    compiled = polib.mofile(str(FOLDER / "django.mo"))

    written = {(entry.msgctxt, entry.msgid): words(entry) for entry in CATALOGUE if all(words(entry))}
    assert {(entry.msgctxt, entry.msgid): words(entry) for entry in compiled} == written


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Rule(1, "(a", "regex"), "第 1 个字符：( 未闭合。"),
        (Rule(1, "(a)\\1", "regex"), "第 4 个字符：流中无法反向引用；请写出所要重复的内容。"),
        (Rule(1, "a{9999}", "regex"), "第 2 个字符：{9999} 重复超过 4,096 次。"),
        (Rule(1, "x" * 5300), "模式有 5,300 个字符；一次匹配最多 4,096 个。"),
        (Rule(1, "a*", "regex"), "它匹配处处都有的空文本；请让它至少需要一个字符。"),
    ],
)
def test_errors_of_rules_are_translated(rule: Rule, sentence: str) -> None:
    with pytest.raises(RuleError) as error:
        compile_rule(rule)

    with override("zh-hans"):
        assert translated(error.value) == sentence
    with override("en"):
        assert translated(error.value) == str(error.value)


def test_every_message_of_the_engine_is_translated() -> None:
    engine = Path(__file__).parent.parent / "streaming" / "moderation"
    said = {
        ast.literal_eval(call.args[0])
        for file in engine.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "gettext_noop"
    }

    assert len(said) > 30
    assert said - {entry.msgid for entry in CATALOGUE} == set()


GETTEXT = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "pgettext_lazy", "translate_lazy"}
APP = Path(__file__).parent.parent / "streaming"


def test_every_message_of_the_app_is_in_the_catalogue() -> None:
    known = {entry.msgid for entry in CATALOGUE}
    asked: set[str] = set()
    for file in APP.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in GETTEXT:
                first = call.args["context" in call.func.id or call.func.id.startswith("pgettext")]
                asked |= {first.value} if isinstance(first, ast.Constant) else set()
    for file in APP.rglob("*.html"):
        asked |= set(re.findall(r'{% translate "([^"]*)"', file.read_text("utf-8")))
        for block in re.findall(
            r"{% blocktranslate[^%]*%}(.*?){% endblocktranslate %}", file.read_text("utf-8"), re.DOTALL
        ):
            asked |= {re.sub(r"{{ *(\w+) *}}", r"%(\1)s", part) for part in block.split("{% plural %}")[:1]}

    assert len(asked) > 700
    assert asked - known == set()


def test_the_limit_of_a_request_is_a_number_for_scripts_where_readers_see_separators(
    client: Client, settings: Any
) -> None:
    settings.USE_THOUSAND_SEPARATOR = True

    page = client.get("/").content.decode()

    assert re.search(r'data-limit="[0-9]+"', page)


@pytest.mark.django_db(transaction=True)
def test_no_page_of_the_admin_contains_english(client: Client) -> None:
    client.force_login(User.objects.create_superuser("ann"))
    rule = ModerationRule.objects.create(pattern="darn", category="x")
    ModerationHit.objects.create(when="2026-01-01T00:00Z", version=1, offset=0, text="darn", rule=rule, action="mask")
    client.headers = {}  # type: ignore[attr-defined]
    english = [entry.msgid for entry in CATALOGUE if len(entry.msgid) > 12 and "%" not in entry.msgid]

    for address in (
        *("", "add/", f"{rule.pk}/change/", "try/", "import/", f"{rule.pk}/history/"),
        "../moderationhit/",
        "../rulelist/",
    ):
        page = client.get(
            f"/admin/streaming/moderationrule/{address}", headers={"Accept-Language": "zh-CN"}, follow=True
        )
        text = html.unescape(page.content.decode())
        assert [said for said in english if said in text] == [], address
