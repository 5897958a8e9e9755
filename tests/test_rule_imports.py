"""Importing a file of rules in one transaction, undoing it, and exporting."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone
from hypothesis import given, settings
from hypothesis.extra.django import TestCase

from streaming import rule_imports
from streaming.editions import Revision
from streaming.import_undo import Undone, undo
from streaming.models import ModerationRule, RuleImport, RuleList
from streaming.rule_comparison import compare
from streaming.rule_exports import export
from streaming.rule_files import LIST_COLUMNS, Row, find_problem, read, write_csv
from streaming.rule_imports import AlreadyDone, carry_out, save_preview
from tests.test_rule_files import ROWS

pytestmark = pytest.mark.django_db

rules = ModerationRule.objects


def bring(text: str, user: User | None = None, **defaults: Any) -> RuleImport:
    kept = save_preview(text.encode(), "words.txt", "ann", defaults)
    carry_out(kept, user.pk if user else None)
    return kept


def counts(text: str, **defaults: Any) -> dict[str, int]:
    found = compare(read(text.encode(), defaults))
    return {name: len(getattr(found, name)) for name in ("added", "changed", "unchanged", "refused")}


def test_the_comparison_lists_added_changed_unchanged_and_refused_rules() -> None:
    rules.create(pattern="same", category="c")
    rules.create(pattern="other", category="c")
    text = "pattern,category\nnew,c\nsame,c\nother,d\n,c\n"

    comparison = compare(read(text.encode()))

    assert [(line, row.pattern) for line, row in comparison.added] == [(2, "new")]
    assert [(line, row.pattern) for line, row in comparison.unchanged] == [(3, "same")]
    assert [(each.line, each.differences) for each in comparison.changed] == [(4, {"category": ("c", "d")})]
    assert [(each.line, each.reason) for each in comparison.refused] == [(5, "The pattern is empty.")]
    assert rules.count() == 2


def test_an_existing_rule_keeps_fields_that_the_file_does_not_have() -> None:
    rules.create(pattern="darn", category="c", whole_word=True)

    assert counts("darn") == {"added": 0, "changed": 0, "unchanged": 1, "refused": 0}
    assert counts("darn", category="d") == {"added": 0, "changed": 1, "unchanged": 0, "refused": 0}


def test_a_rule_is_found_again_by_pattern_kind_and_comparison_whatever_its_action() -> None:
    kept = rules.create(pattern="darn", action="mask", note="n")
    rules.create(pattern="da+rn", kind="regex", action="block")
    edited = "".join(write_csv(export())).replace("mask", "block")

    assert counts(edited) == {"added": 0, "changed": 1, "unchanged": 1, "refused": 0}
    bring(edited)

    kept.refresh_from_db()
    assert (rules.count(), kept.action, kept.note) == (2, "block", "n")
    assert counts("darn", compare="loose")["added"] == 1
    assert counts("darn", kind="regex")["added"] == 1


def test_two_lines_that_differ_in_their_actions_are_the_same_rule() -> None:
    found = compare(read(b"pattern,action\ndarn,mask\ndarn,block\n"))

    assert [(row.pattern, row.action) for _, row in found.added] == [("darn", "mask")]
    assert [(each.line, each.reason) for each in found.refused] == [
        (3, "Line 2 has the same pattern with other values.")
    ]


class TestRulesOfAList:
    def test_are_others_than_those_of_another_list(self) -> None:
        rules.create(pattern="darn", action="block")
        RuleList.objects.create(name="there")

        bring("pattern,list\ndarn,there\ndarn,new\nheck,\n")

        assert set(rules.values_list("pattern", "action", "rule_list__name", "rule_list__source")) == {
            ("darn", "block", None, None),
            ("darn", "mask", "there", "hand"),
            ("darn", "mask", "new", "import"),
            ("heck", "mask", None, None),
        }
        assert counts("".join(write_csv(export()))) == {"added": 0, "changed": 0, "unchanged": 4, "refused": 0}


def test_an_import_is_carried_out_once() -> None:
    kept = bring("one\ntwo", action="block", category="c")

    assert {(rule.pattern, rule.action, rule.category) for rule in rules.all()} == {
        ("one", "block", "c"),
        ("two", "block", "c"),
    }
    assert (kept.state, kept.added, kept.changed, kept.data) == ("done", 2, 0, None)
    with pytest.raises(AlreadyDone):
        carry_out(kept)


def test_an_import_is_atomic(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = save_preview(b"\n".join(b"word %d" % number for number in range(1200)), "words.txt", "ann", {})

    def fail(done: int, total: int) -> None:
        assert total == 1200
        if done == 1000:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        carry_out(kept, progress=fail)

    assert not rules.exists()
    kept.refresh_from_db()
    assert kept.state == "preview"


def test_an_import_reports_its_progress() -> None:
    kept = save_preview(b"\n".join(b"word %d" % number for number in range(1200)), "words.txt", "ann", {})
    reports = []

    carry_out(kept, progress=lambda done, total: reports.append((done, total)))

    assert reports == [(500, 1200), (1000, 1200), (1200, 1200)]


def test_an_import_is_in_the_history_of_each_rule_with_old_and_new_values() -> None:
    user = User.objects.create_user("ann")
    old = rules.create(pattern="old", priority=1)

    bring("pattern,priority\nold,2\nnew,3\n", user)

    said = {entry.object_id: json.loads(entry.change_message) for entry in LogEntry.objects.all()}
    changed = {"fields": ["priority"], "values": {"priority": [1, 2]}}
    assert said == {
        str(old.pk): [{"changed": changed}, {"import": "words.txt"}],
        str(rules.get(pattern="new").pk): [{"added": {}}, {"import": "words.txt"}],
    }
    assert {entry.user_id for entry in LogEntry.objects.all()} == {user.pk}


class TestUndo:
    def test_restores_all_rules(self) -> None:
        rules.create(pattern="old", priority=1, valid_until="2030-01-01T00:00Z", upstreams=["a"])
        rules.create(pattern="other")
        before = [*export()]
        done = bring("pattern,priority,valid_until,upstreams\nold,2,2031-01-01,b|c\nnew,3,,\n")
        assert [*export()] != before

        undone = undo(done)

        assert (undone.removed, undone.restored, undone.kept) == (1, 1, 0)
        assert [*export()] == before
        done.refresh_from_db()
        assert done.state == "undone"
        with pytest.raises(AlreadyDone):
            undo(done)

    def test_keeps_rules_that_were_edited_since(self) -> None:
        rules.create(pattern="old", priority=1)
        done = bring("pattern,priority\nold,2\nnew,3\nnewer,4\n")
        for pattern in ("old", "new"):
            rules.filter(pattern=pattern).update(priority=9, imported=None)

        undone = undo(done)

        assert (undone.removed, undone.restored, undone.kept) == (1, 0, 2)
        assert dict(rules.values_list("pattern", "priority")) == {"old": 9, "new": 9}

    def test_keeps_rules_that_a_later_import_changed(self) -> None:
        first = bring("pattern,priority\na,1\nb,1\n")
        second = bring("pattern,priority\na,2\n")

        assert undo(first).removed == 1
        assert undo(second).restored == 1

        assert dict(rules.values_list("pattern", "priority")) == {"a": 1}


class TestExport(TestCase):
    @settings(max_examples=20, deadline=None)
    @given(ROWS.filter(lambda row: not find_problem(row)))
    def test_importing_an_export_gives_the_same_rules(self, row: Row) -> None:
        rules.all().delete()
        carry_out(save_preview("".join(write_csv([row])).encode("utf-8-sig"), "", "", {}))

        data = "".join(write_csv(export())).encode("utf-8-sig")

        assert [*export()] == [row]
        found = compare(read(data))
        assert [len(found.unchanged), found.changed, found.added, found.refused] == [1, [], [], []]


def test_previews_are_deleted_after_two_days() -> None:
    old = save_preview(b"a", "old.txt", "ann", {})
    RuleImport.objects.filter(pk=old.pk).update(when="2020-01-01T00:00Z")
    done = bring("b")

    save_preview(b"c", "new.txt", "ann", {})

    assert {kept.name for kept in RuleImport.objects.all()} == {"new.txt", done.name}


def test_a_rule_that_a_later_import_changed_belongs_to_its_own_when_that_is_undone() -> None:
    first = bring("darn\nheck")
    second = bring("darn", category="c")

    assert undo(second) == Undone(removed=0, restored=1, kept=0)
    assert undo(first) == Undone(removed=2, restored=0, kept=0)


def test_the_history_of_a_rule_says_who_removed_it_by_undoing_an_import() -> None:
    ann = User.objects.create_user("ann")
    done = bring("new", ann)
    added = rules.get()

    undo(done, ann)

    entry = LogEntry.objects.filter(object_id=str(added.pk)).first()
    assert entry
    assert (entry.is_deletion(), entry.user, entry.object_repr) == (True, ann, "mask new")


def test_an_undo_says_of_how_many_rules_that_the_import_removed_nothing_is_kept() -> None:
    words = RuleList.objects.create(name="words")
    rules.bulk_create(ModerationRule(pattern=pattern, rule_list=words) for pattern in ("stays", "goes", "went"))
    done = save_preview(b"stays\nnew\n", "words.txt", "ann", {"rule_list": "words"}, replaces=True)
    carry_out(done)
    Revision.objects.filter(edition=done.edition, before__pattern="went").delete()  # as after 30 days

    assert undo(done) == Undone(removed=1, restored=1, kept=1)


class TestTheCommand:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "words.csv"
        file.write_text("pattern,category\nnew,c\nsame,c\nother,d\n,c\n", "utf-8")
        rules.create(pattern="same", category="c")
        rules.create(pattern="other", category="c")
        return file

    def test_imports_a_file(self, file: Path, capsys: Any) -> None:
        call_command("import_rules", file)

        out, err = capsys.readouterr()
        assert out == "1 added, 1 changed, 1 there already, 1 refused.\n"
        assert err == f"{file}, line 5: The pattern is empty.\n"
        assert dict(rules.values_list("pattern", "category")) == {"new": "c", "same": "c", "other": "d"}

    def test_has_a_dry_run(self, file: Path, capsys: Any) -> None:
        call_command("import_rules", file, "--dry-run")

        assert capsys.readouterr().out == "1 would be added, 1 would be changed, 1 there already, 1 would be refused.\n"
        assert rules.count() == 2

    def test_can_undo_an_import(self, file: Path, capsys: Any) -> None:
        call_command("import_rules", file)
        call_command("import_rules", file, "--undo")

        assert capsys.readouterr().out.endswith(
            "1 removed, 1 restored, 0 not undone: edited, deleted or forgotten since.\n"
        )
        assert dict(rules.values_list("pattern", "category")) == {"same": "c", "other": "c"}
        with pytest.raises(CommandError, match=r"no import of words\.csv that could be undone"):
            call_command("import_rules", file, "--undo")

    @pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9.txt"), "w" * 251 + ".txt"])
    def test_imports_and_undoes_a_file_whatever_its_name_is(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("darn\n")

        call_command("import_rules", tmp_path / name)
        assert rules.get().pattern == "darn"
        call_command("import_rules", tmp_path / name, "--undo")

        assert not rules.exists()

    def test_has_a_dry_run_of_an_undo(self, file: Path, capsys: Any) -> None:
        call_command("import_rules", file)
        before = set(rules.values_list("pk", "pattern", "category"))
        capsys.readouterr()

        call_command("import_rules", file, "--undo", "--dry-run")

        said = "1 would be removed, 1 would be restored, 0 not undone: edited, deleted or forgotten since.\n"
        assert capsys.readouterr().out == said
        assert set(rules.values_list("pk", "pattern", "category")) == before
        call_command("import_rules", file, "--undo")

    def test_undoes_an_import_from_the_admin_with_what_it_removed_from_a_list(self, capsys: Any) -> None:
        words = RuleList.objects.create(name="words")
        for pattern in ("stays", "goes"):
            rules.create(pattern=pattern, rule_list=words)
        before = set(rules.values_list("pk", "pattern", "rule_list"))
        carry_out(save_preview(b"stays\nnew\n", "words.txt", "ann", {"rule_list": "words"}, replaces=True))
        assert set(rules.values_list("pattern", flat=True)) >= {"stays", "new"}
        assert not rules.filter(pattern="goes")

        call_command("import_rules", "words.txt", "--undo")

        assert capsys.readouterr().out == "1 removed, 1 restored, 0 not undone: edited, deleted or forgotten since.\n"
        assert set(rules.values_list("pk", "pattern", "rule_list")) == before

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda file: file.unlink(), "words.csv cannot be read: No such file or directory"),
            (lambda file: file.write_bytes(b"\0a\n\0"), "words.csv, line 1: This is not a text file"),
            (lambda file: file.write_text("pattern,colour\na,b"), "words.csv, line 1: Unknown column “colour”"),
        ],
    )
    def test_reports_errors_in_a_file(self, file: Path, make: Callable[[Path], Any], words: str) -> None:
        make(file)

        with pytest.raises(CommandError, match=words):
            call_command("import_rules", file)

        assert rules.count() == 2


def test_a_chunk_is_within_the_parameter_limit_of_every_database() -> None:
    assert rule_imports.CHUNK <= 999  # SQLite's parameters of a statement, once


def test_a_backup_is_read_back_with_its_lists_switched_and_limited_as_they_were(tmp_path: Path) -> None:
    later = timezone.now().replace(microsecond=0) + timedelta(days=9)
    scope = {"upstreams": ["a", "b"], "only_for": ["group:staff"], "applies_to": "prompts", "valid_until": later}
    RuleList.objects.create(name='off, "really"', enabled=False, note="two\nlines")
    RuleList.objects.create(name="=limited", on_trial=True, **scope)
    RuleList.objects.create(name="有效")
    for words in RuleList.objects.all():
        rules.create(pattern="darn", rule_list=words)
    columns = ("name", *LIST_COLUMNS[1:])
    before = list(RuleList.objects.values_list(*columns))
    call_command("backup_rules", tmp_path / "rules.csv")
    RuleList.objects.all().delete()

    call_command("import_rules", tmp_path / "rules.csv")

    assert list(RuleList.objects.values_list(*columns)) == before
    assert set(rules.values_list("rule_list__name", flat=True)) == {name for name, *_ in before}


def test_a_backup_leaves_the_lists_that_are_there_as_they_are(tmp_path: Path) -> None:
    words = RuleList.objects.create(name="words", enabled=False)
    rules.create(pattern="darn", rule_list=words)
    call_command("backup_rules", tmp_path / "rules.csv")
    RuleList.objects.update(enabled=True)

    call_command("import_rules", tmp_path / "rules.csv")

    assert RuleList.objects.get().enabled


@pytest.mark.parametrize(
    "comment",
    [
        "# list: [",
        "# list: " + "[" * 100_000,
        "# list: {}",
        "# list: [1]",
        '# list: ["words", "maybe"]',
        "# list: []",
        f'# list: ["{"x" * 101}"]',
    ],
)
def test_a_comment_that_describes_no_list_is_a_comment(comment: str) -> None:
    parsed = read(f"{comment}\npattern,list\ndarn,words\n".encode())

    assert [row.pattern for _, row in parsed.rows] == ["darn"]
    assert "words" not in parsed.lists
