"""The admin pages for import, undo and export."""

from __future__ import annotations

import csv
import html
import io
import re
import threading
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from streaming.admin.jobs import _in_language
from streaming.editions import RuleEdition
from streaming.models import ModerationHit, ModerationRule, RuleImport, RuleList
from streaming.rule_exports import export
from streaming.rule_files import LIST_COLUMNS, read
from streaming.rule_imports import carry_out
from tests.conftest import whole_body

# The import is carried out in a thread of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing_in_force_yet")]

LIST = "/admin/streaming/moderationrule/"
IMPORT = f"{LIST}import/"
rules = ModerationRule.objects


def text_of(response: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", whole_body(response).decode())))


def send(client: Client, data: bytes | str, name: str = "words.txt", **fields: str) -> Any:
    content = {"text": data} if isinstance(data, str) else {"file": SimpleUploadedFile(name, data)}
    return client.post(IMPORT, {"action": "mask", **content, **fields}, follow=True)


def update(client: Client, page: Any, **fields: Any) -> Any:
    """The preview after an answer or another choice."""
    (address, _status) = page.redirect_chain[-1]
    return client.post(address, {"action": "mask", "_update": "1", **fields}, follow=True)


def test_an_edition_names_who_carried_out_the_import_and_not_who_sent_the_file(
    moderator: Client, client: Client
) -> None:
    address, _status = send(moderator, "darn").redirect_chain[-1]
    client.force_login(User.objects.create_superuser("bob"))

    whole_body(client.post(address))

    assert RuleEdition.objects.get().who == RuleImport.objects.get().who == "bob"


def test_an_uploaded_file_is_previewed_first(moderator: Client) -> None:
    rules.create(pattern="there", action="block")
    rules.create(pattern="other", action="block")

    data = "# list\nnew、there\nother\n\u200b\nnew\n".encode("gb18030")
    page = send(moderator, data, action="block", category="")
    assert "1 line has several words with a sign between them, line 2: “new、there”." in text_of(page)
    assert moderator.post(page.redirect_chain[-1][0]).status_code == 200, "nothing is imported before the answer"
    assert rules.count() == 2

    text = text_of(update(moderator, page, action="block", joined="any"))
    assert "1 line begins with # and was read as a comment." in text
    assert "words.txt, read as a word list in gbk. Nothing is changed yet." in text
    for count in ("1 would be added", "0 would be changed", "2 unchanged", "2 would be refused"):
        assert count in text
    assert "4 ⟨U+200B⟩ The pattern has only marks and invisible characters, which are not compared." in text
    assert "5 new The same rule is on line 2." in text
    assert rules.count() == 2


def test_an_import_shows_its_progress(moderator: Client) -> None:
    words = "\n".join(f"word {number}" for number in range(1234))
    page = send(moderator, words, category="c")

    response = moderator.post(page.redirect_chain[-1][0])

    text = text_of(response)
    assert response.streaming
    assert "1234 of 1234" in text
    assert "Done. Added: 1234, changed: 0, unchanged: 0, refused: 0." in text
    assert rules.filter(category="c", action="mask").count() == 1234
    history = text_of(moderator.get(f"{LIST}{rules.first().pk}/history/"))  # type: ignore[union-attr]
    assert "ann" in history
    assert "Added." in history


def test_an_import_shows_its_progress_and_outcome_in_the_language_of_its_page(moderator: Client) -> None:
    page = send(moderator, "one\ntwo")

    response = moderator.post(page.redirect_chain[-1][0], headers={"Accept-Language": "zh-Hans"})

    text = text_of(response)
    assert "完成。新增 2 条" in text
    assert "查看规则" in text
    assert "Done." not in text


def test_an_import_can_be_undone(moderator: Client) -> None:
    rules.create(pattern="old", category="before")
    page = send(moderator, b"pattern,category\nold,after\nnew,c\n", "rules.csv")
    text_of(moderator.post(page.redirect_chain[-1][0]))
    assert rules.count() == 2
    recent = moderator.get(IMPORT)
    (address,) = re.findall(r'action="([^"]+undo/)"', recent.content.decode())

    done = moderator.post(address, follow=True)

    assert "Removed: 1, restored to their previous values: 1." in text_of(done)
    assert dict(rules.values_list("pattern", "category")) == {"old": "before"}
    assert "undone" in text_of(done)
    assert "This import was already undone." in text_of(moderator.post(address, follow=True))


def test_a_large_import_is_undone_on_a_page_that_shows_its_progress(
    moderator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.admin.imports.LONG", 1000)
    text_of(moderator.post(send(moderator, "\n".join(f"word {n}" for n in range(1200))).redirect_chain[-1][0]))
    address = f"{IMPORT}{RuleImport.objects.get().pk}/undo/"

    response = moderator.post(address)

    text = text_of(response)
    assert response.streaming
    assert "The import of " in text
    assert "1200 of 1200" in text
    assert "The import was undone. Removed: 1200, restored to their previous values: 0." in text
    assert not rules.exists()
    edition = RuleEdition.objects.first()
    assert edition
    assert (edition.who, edition.what, edition.removed) == ("ann", "undo_import", 1200)
    assert "Nothing was undone: This import was already undone." in text_of(moderator.post(address))


def test_a_large_edition_is_undone_and_brought_back_on_a_page_that_shows_its_progress(
    moderator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.admin.history_pages.LONG", 1000)
    text_of(moderator.post(send(moderator, "\n".join(f"word {n}" for n in range(1200))).redirect_chain[-1][0]))
    number = rules.version()
    rules.filter(pattern="word 7").update(enabled=False)

    undone = text_of(moderator.post(f"{LIST}editions/{number}/undo/"))

    assert f"Edition {number} is being undone. This continues if you leave this page." in undone
    assert "As they were: 0; removed: 1199." in undone
    assert "Left as they are, because they were changed again later: 1." in undone
    back = text_of(moderator.post(f"{LIST}editions/{number}/bring-back/", headers={"Accept-Language": "zh-Hans"}))
    assert f"正在恢复到版本 {number}" in back
    assert "1200 / 1200" in back
    assert rules.filter(enabled=True).count() == 1200


def test_an_import_cannot_be_carried_out_twice(moderator: Client) -> None:
    address = send(moderator, b"word").redirect_chain[-1][0]
    text_of(moderator.post(address))

    assert "This import was already carried out." in text_of(moderator.get(address, follow=True))
    assert "This import was already carried out." in text_of(moderator.post(address, follow=True))
    assert rules.count() == 1


def test_the_rules_of_an_import_can_be_listed(moderator: Client) -> None:
    rules.create(pattern="other")
    text_of(moderator.post(send(moderator, b"word").redirect_chain[-1][0]))

    page = moderator.get(LIST, {"imported__id__exact": str(RuleImport.objects.get().pk)})

    assert [rule.pattern for rule in page.context["cl"].result_list] == ["word"]


def test_an_edited_rule_no_longer_belongs_to_its_import(moderator: Client) -> None:
    text_of(moderator.post(send(moderator, b"one\ntwo").redirect_chain[-1][0]))
    rule = rules.get(pattern="one")

    moderator.post(f"{LIST}{rule.pk}/change/", {"pattern": "one", "action": "block", "enabled": "on"})
    done = moderator.post(f"{IMPORT}{RuleImport.objects.get().pk}/undo/", follow=True)

    assert "Not undone because they were edited or deleted since, or are no longer kept: 1." in text_of(done)
    assert [(rule.pattern, rule.action) for rule in rules.all()] == [("one", "block")]


def test_the_export_contains_all_rules(moderator: Client) -> None:
    rules.create(pattern='a, "b"\nc', action="replace", replacement="…", upstreams=["x", "y"], enabled=False)
    rules.create(pattern="垃圾", note="n\nm")

    response = moderator.get(f"{LIST}export/")

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="rules-\d{4}-\d\d-\d\d\.csv"', response["Content-Disposition"])
    assert [row for _, row in read(response.content).rows] == [*export()]
    text = text_of(send(moderator, response.content, "rules.csv"))
    assert "0 would be added" in text


@pytest.mark.parametrize(
    ("query", "patterns"),
    [
        ("?q=coffee", ["coffee", "coffee cup"]),
        ("?action__exact=block", ["coffee cup", "tea"]),
        ("?q=coffee&action__exact=block&o=-1&p=7", ["coffee cup"]),
        ("?rule_list__id__exact={pk}", ["tea"]),
        ("?rule_list__isnull=True", ["coffee", "coffee cup"]),
        ("?q=nothing+like+it", []),
        ("", ["coffee", "coffee cup", "tea"]),
    ],
)
def test_the_export_contains_the_rules_that_the_list_shows(moderator: Client, query: str, patterns: list[str]) -> None:
    rule_list = RuleList.objects.create(name="drinks")
    rules.create(pattern="coffee")
    rules.create(pattern="coffee cup", action="block")
    rules.create(pattern="tea", action="block", rule_list=rule_list)
    query = query.format(pk=rule_list.pk)

    page = moderator.get(f"{LIST}{query}")
    (address,) = re.findall(r'href="([^"]+/export/[^"]*)"', page.content.decode())
    response = moderator.get(html.unescape(address))

    assert [row.pattern for _, row in read(response.content).rows] == patterns


def test_an_export_brings_its_lists_back_as_they_were(moderator: Client) -> None:
    off = RuleList.objects.create(name='off, "really",', enabled=False, note="two\nlines")
    limited = RuleList.objects.create(name="=有效", on_trial=True, only_for=["group:staff"], applies_to="prompts")
    rules.create(pattern="coffee", rule_list=off)
    rules.create(pattern="tea", rule_list=limited)
    columns = ("name", *LIST_COLUMNS[1:])
    before = list(RuleList.objects.values_list(*columns))
    everything = moderator.get(f"{LIST}export/").content
    some = moderator.get(f"{LIST}export/?q=tea").content
    RuleList.objects.all().delete()

    send(moderator, everything, "rules.csv")
    carry_out(RuleImport.objects.get())

    assert list(RuleList.objects.values_list(*columns)) == before
    assert dict(rules.values_list("pattern", "rule_list__name")) == {"coffee": off.name, "tea": limited.name}
    assert set(read(some).lists) == {limited.name}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_lists_come_back_from_a_file_that_a_spreadsheet_has_saved_again(moderator: Client, delimiter: str) -> None:
    """Spreadsheets fill rows up with empty cells, and many separate cells by semicolons."""
    for number in range(3):
        words = RuleList.objects.create(name=f'off, {number}; and on\t"off"', enabled=False)
        rules.create(pattern=f"coffee {number}", rule_list=words)
    text = moderator.get(f"{LIST}export/").content.decode("utf-8-sig")
    table = list(csv.reader(io.StringIO(text, newline="")))
    saved = io.StringIO()
    width = max(map(len, table))
    csv.writer(saved, delimiter=delimiter).writerows([*row, *[""] * (width - len(row))] for row in table)
    encoded = saved.getvalue().encode("utf-16" if delimiter == "\t" else "utf-8-sig")

    parsed = read(encoded)

    assert [row for _, row in parsed.rows] == [*export()]
    assert {name: row.enabled for name, row in parsed.lists.items()} == {
        each.name: False for each in RuleList.objects.all()
    }


def test_an_export_with_a_filter_that_there_is_not_leads_back_to_the_list(moderator: Client) -> None:
    response = moderator.get(f"{LIST}export/?enabled__exact=perhaps")

    assert (response.status_code, response.headers["Location"]) == (302, f"{LIST}?e=1")


class TestATable:
    TEXT = b"Term;Severity;Kind of word\nbad;3;insult\nworse;4;drug\n"

    def test_is_asked_about_and_read_as_answered(self, moderator: Client) -> None:
        page = send(moderator, self.TEXT, "list.csv")

        text = text_of(page)
        assert "The file looks like a table. What is it?" in text
        assert "insult · drug" in text
        page = update(moderator, page, is_table="yes", has_header="on", column_0="pattern", column_2="category")
        assert "The file looks like a table" not in text_of(page)
        text_of(moderator.post(page.redirect_chain[-1][0]))
        assert dict(rules.values_list("pattern", "category")) == {"bad": "insult", "worse": "drug"}

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ({"is_table": "yes", "column_1": "note"}, "Say which column has the words."),
            (
                {"is_table": "yes", "column_0": "pattern", "column_1": "pattern"},
                "Two columns cannot be the same field.",
            ),
        ],
    )
    def test_with_a_wrong_answer_is_asked_about_again(self, moderator: Client, answer: Any, words: str) -> None:
        page = send(moderator, self.TEXT, "list.csv")

        assert words in text_of(update(moderator, page, **answer))

    def test_may_be_none(self, moderator: Client) -> None:
        page = update(moderator, send(moderator, b"bad,naughty\nworse,wicked\n"), is_table="no")
        page = update(moderator, page, joined="any")

        text_of(moderator.post(page.redirect_chain[-1][0]))
        assert set(rules.values_list("pattern", flat=True)) == {"bad", "naughty", "worse", "wicked"}

    def test_of_objects_is_asked_about_by_the_names_of_their_parts(self, moderator: Client) -> None:
        text = b'[{"term": "bad", "severity": 3}, {"term": "worse", "severity": 4}]'
        page = send(moderator, text, f"{'x' * 300}.json")

        assert "Say what the parts of each entry are." in text_of(page)
        assert "The first line has the names" not in text_of(page)
        page = update(moderator, page, column_0="pattern", column_1="priority")
        text_of(moderator.post(page.redirect_chain[-1][0]))
        assert dict(rules.values_list("pattern", "priority")) == {"bad": 3, "worse": 4}

    def test_is_not_imported_by_a_form_that_was_forged(self, moderator: Client) -> None:
        address = send(moderator, b"a,1\nb,2\nc,3\n").redirect_chain[-1][0]

        assert "Please say first" in text_of(moderator.post(address))
        for forged in ({"column_0": "pk"}, {"column_0": "fingerprint"}, {"column_9": "pattern"}, {}):
            answer = moderator.post(address, {"_update": "1", "action": "mask", "is_table": "yes", **forged})
            assert answer.status_code == 200
        assert not rules.exists()


class TestTheChoices:
    def test_hold_for_all_rules_of_the_file(self, moderator: Client) -> None:
        chosen = {"new_list": "bad words", "compare": "loose", "applies_to": "prompts", "upstreams": "default"}
        chosen["only_for"] = "model:gpt-4o\nGroup: staff"

        page = send(
            moderator, "ass\n坏话", action="replace", replacement="…", on_trial="on", whole_word="auto", **chosen
        )
        text_of(moderator.post(page.redirect_chain[-1][0]))

        values = (
            "action",
            "replacement",
            "compare",
            "applies_to",
            "upstreams",
            "only_for",
            "on_trial",
            "rule_list__name",
        )
        assert set(rules.values_list("pattern", "whole_word")) == {("ass", True), ("坏话", False)}
        for rule in rules.values_list(*values):
            assert rule[:5] == ("replace", "…", "loose", "prompts", ["default"])
            assert rule[5:] == (["model:gpt-4o", "group:staff"], True, "bad words")

    def test_can_be_changed_in_the_preview(self, moderator: Client) -> None:
        page = send(moderator, "ass\ncoffee")
        page = update(moderator, page, action="block", whole_word="no", new_list="words")

        text_of(moderator.post(page.redirect_chain[-1][0]))
        assert set(rules.values_list("pattern", "action", "whole_word", "rule_list__name")) == {
            ("ass", "block", False, "words"),
            ("coffee", "block", False, "words"),
        }

    @pytest.mark.parametrize(
        ("chosen", "words"),
        [
            ({"replaces": "on"}, "Choose the list to replace."),
            ({"replaces": "on", "new_list": "new"}, "Choose the list to replace."),
            ({"rule_list": "{pk}", "new_list": "new"}, "Choose a list, or name a new one; not both."),
            ({"rule_list": "999"}, "Select a valid choice."),
            ({"whole_word": "perhaps"}, "Select a valid choice."),
            ({"upstreams": "nowhere"}, "Select a valid choice."),
            ({"only_for": "colour:blue"}, "colour:blue"),
            ({"new_list": "x" * 101}, "Ensure this value has at most 100 characters"),
        ],
    )
    def test_that_contradict_each_other_are_refused(self, moderator: Client, chosen: Any, words: str) -> None:
        pk = str(RuleList.objects.create(name="there").pk)

        page = send(moderator, "word", **{name: value.format(pk=pk) for name, value in chosen.items()})

        assert words in text_of(page)
        assert not RuleImport.objects.exists()


class TestReplacingAList:
    def test_deletes_what_is_no_longer_in_the_file_and_can_be_undone(self, moderator: Client) -> None:
        words = RuleList.objects.create(name="words")
        for pattern in ("stays", "goes", "goes too"):
            rules.create(pattern=pattern, rule_list=words)
        other = rules.create(pattern="goes", note="in no list")
        before = list(rules.order_by("pk").values_list("pk", "pattern", "rule_list"))

        page = send(moderator, "stays\nnew", rule_list=str(words.pk), replaces="on")

        text = text_of(page)
        assert "2 would be deleted" in text
        assert "mask goes too" in text
        assert "Deleted from the list: 2." in text_of(moderator.post(page.redirect_chain[-1][0]))
        assert set(rules.values_list("pattern", "rule_list")) == {
            ("stays", words.pk),
            ("new", words.pk),
            ("goes", None),
        }
        assert rules.get(pattern="goes") == other

        undone = moderator.post(f"{IMPORT}{RuleImport.objects.get().pk}/undo/", follow=True)

        assert "Removed: 1, restored to their previous values: 2." in text_of(undone)
        assert list(rules.order_by("pk").values_list("pk", "pattern", "rule_list")) == before

    def test_needs_the_permission_to_delete(self, moderator: Client) -> None:
        words = RuleList.objects.create(name="words")
        user = User.objects.get()
        user.is_superuser = False
        user.save()
        user.user_permissions.set(
            Permission.objects.filter(codename__in=["add_moderationrule", "change_moderationrule"])
        )

        assert send(moderator, "new", rule_list=str(words.pk)).status_code == 200
        assert send(moderator, "new", rule_list=str(words.pk), replaces="on").status_code == 403
        sent = send(moderator, "new", rule_list=str(words.pk))
        assert update(moderator, sent, rule_list=str(words.pk), replaces="on").status_code == 403
        (address, _status) = sent.redirect_chain[-1]
        assert moderator.get(address).status_code == 200, "the preview is as it was"
        assert RuleImport.objects.count() == 2


class TestThePreview:
    def test_shows_names_and_texts_of_strangers_as_text(self, moderator: Client) -> None:
        hostile = "<script>alert(1)</script>"
        table = f"Term;{hostile}\n{hostile};x\n{hostile}2;y\n"
        words = f"{hostile}\n{hostile}、b\n\u200b{hostile[:0]}\nass\n"

        for page in (send(moderator, table.encode(), f"{hostile}.csv"), send(moderator, words, new_list=hostile)):
            assert hostile.encode() not in page.content

    def test_shows_what_is_found_in_harmless_texts(self, moderator: Client) -> None:
        text = text_of(send(moderator, "ass\nqqqzzz", whole_word="no"))

        assert "1 rule is found" in text
        assert "everyday sentences in 17 languages" in text
        assert "2 would be added" in text
        assert "No rule is found in harmless texts" in text_of(send(moderator, "ass\nqqqzzz", whole_word="auto"))

    def test_shows_what_is_found_in_recent_answers(self, moderator: Client) -> None:
        ModerationHit.objects.create(
            when="2026-01-01T00:00Z", version=1, offset=0, before="a qqqzzz ", text="darn", action="mask"
        )

        assert "a qqqzzz darn" in text_of(send(moderator, "qqqzzz"))

    def test_warns_about_very_short_rules(self, moderator: Client) -> None:
        text = text_of(send(moderator, "xq\n坏话\n坏\nlonger"))

        assert "2 rules have only one or two characters: xq (line 1), 坏 (line 3)" in text

    def test_gives_all_refusals_as_a_file_before_the_import_and_after_it(self, moderator: Client) -> None:
        page = send(moderator, "\n".join(["ok", *["\u200b", "=1+1"] * 150]))
        (address,) = re.findall(r'href="([^"]+refused/)"', page.content.decode())

        before = moderator.get(address).content
        text_of(moderator.post(page.redirect_chain[-1][0]))
        after = moderator.get(address).content

        assert before == after
        found = list(csv.reader(io.StringIO(after.decode("utf-8-sig"))))
        assert len(found) == 1 + 299
        assert found[1] == [
            "2",
            "\u200b",
            "The pattern has only marks and invisible characters, which are not compared.",
        ]
        assert found[3] == ["5", "'=1+1", "The same rule is on line 3."]
        assert moderator.get(f"{IMPORT}99/refused/").status_code == 404


class TestAnError:
    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"x" * 50_000_000, "The file has 50 MB; at most 20 MB can be read."),
            (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "Line 1: This is not a text file."),
            (b"PK\x03\x04\x14\0", "In a spreadsheet, save the table as CSV (UTF-8)."),
            (b"pattern,note,note\na,b,c\n", "Line 1: The column “note” appears twice."),
            (b"- a\n- [b\n", "Line 3: This is not valid YAML"),
            (b"[[rules]]\nid = 'a'\nregex = \n", "Line 3: This is not valid TOML"),
            (b'{"name": ', "Line 1: This is not valid JSON"),
            ("", "Choose a file, or paste the words below."),
            ("   \n", "Choose a file, or paste the words below."),
        ],
    )
    def test_in_a_file_is_shown_under_the_file_field(self, moderator: Client, data: bytes | str, words: str) -> None:
        names = {b"- a": "words.yaml", b"[[r": "rules.toml"}
        page = send(moderator, data, names.get(data[:3], "words.txt") if isinstance(data, bytes) else "")

        assert page.status_code == 200
        assert words in text_of(page)
        assert not RuleImport.objects.exists()

    def test_in_a_row_is_shown_with_its_line(self, moderator: Client) -> None:
        page = send(moderator, "ok\n" + "x" * 1_000_000 + "\nfine")

        assert "The pattern has 1000000 characters; the maximum is 4096." in text_of(page)
        assert "2 would be added" in text_of(page)

    def test_for_an_empty_file_says_that_there_is_nothing_to_import(self, moderator: Client) -> None:
        assert "There is nothing to import." in text_of(send(moderator, b"# only this\n"))

    def test_in_the_request_is_shown_as_a_sentence(self, moderator: Client) -> None:
        response = moderator.post(IMPORT, {"text": "x" * 26_000_000, "action": "mask"})

        assert response.status_code == 413
        assert "at most 25,000,000 bytes can be sent" in text_of(response)

    def test_for_too_many_selected_rows_is_shown_as_a_sentence(self, moderator: Client) -> None:
        response = moderator.post(LIST, {f"field-{number}": "x" for number in range(10_001)})

        assert response.status_code == 413
        assert "too many rows at once" in text_of(response)

    def test_for_an_import_that_does_not_exist_is_a_404(self, moderator: Client) -> None:
        assert moderator.get(f"{IMPORT}99/").status_code == 404
        assert moderator.post(f"{IMPORT}99/undo/").status_code == 302

    def test_during_an_import_leaves_the_rules_unchanged(
        self, moderator: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        address = send(moderator, "one\ntwo").redirect_chain[-1][0]

        def fail(*args: Any) -> None:
            raise ConnectionError("the disk is full")

        monkeypatch.setattr("streaming.rule_log.log", fail)
        text = text_of(moderator.post(address))

        assert "Nothing was imported: the disk is full" in text
        assert not rules.exists()
        assert RuleImport.objects.get().state == "preview", "it can be tried again"


def test_the_thread_in_which_a_page_ends_keeps_no_connection() -> None:
    kept: list[Any] = []

    def outcome() -> str:
        connection.is_in_memory_db = lambda: False  # Django never closes one in memory
        return str(rules.count())

    def end() -> None:
        assert _in_language("en", outcome) == "0"
        kept.append(connection.connection)

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()

    assert kept == [None]
