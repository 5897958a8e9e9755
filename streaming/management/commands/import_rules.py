"""``manage.py import_rules FILE``: the admin's import on the command line."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import CommandError
from django.db import transaction

from streaming import import_undo, rule_files, rule_imports
from streaming.management.commands._plain_errors import PlainCommand
from streaming.models import RuleImport
from streaming.moderation import ACTIONS
from streaming.rule_comparison import Comparison, compare

MAX_LISTED = 20


class Command(PlainCommand):
    help = "Imports the moderation rules of a file in any format that the admin reads, all of them or none."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the file; - is stdin")
        parser.add_argument("--action", choices=ACTIONS, help="the action of rules for which the file has none")
        parser.add_argument("--category", help="the category of rules for which the file has none")
        parser.add_argument("--list", help="the list of rules for which the file has none; it is made if it is new")
        parser.add_argument("--joined", choices=rule_files.JOINED, help="what several words on one line mean")
        parser.add_argument(
            "--whole-word", choices=rule_files.WHOLE_WORD, default="auto", help="auto: for alphabets with spaces"
        )
        parser.add_argument("--dry-run", action="store_true", help="only print what would be done")
        parser.add_argument("--undo", action="store_true", help="undo the last import of this file")

    def handle(self, *args: Any, file: str, dry_run: bool, undo: bool, **options: Any) -> None:
        if undo:
            return self._undo(rule_imports.stored_name(Path(file).name), dry_run=dry_run)
        names = {"action": "action", "category": "category", "list": "rule_list"}
        defaults = {field: options[name] for name, field in names.items() if options[name]}
        answers = rule_files.Answers(joined=options["joined"] or "", whole_word=options["whole_word"])
        data = self._read(file)
        try:
            parsed = rule_files.read(data, defaults, answers, Path(file).name)
            self._print_questions(parsed, file)
            if dry_run:
                return self._print_summary(compare(parsed), file, "would be ")
            rule_import = rule_imports.save_preview(data, Path(file).name, "manage.py", defaults, answers)
            self._print_summary(rule_imports.carry_out(rule_import, progress=self._progress), file, "")
        except rule_files.FileError as error:
            raise CommandError(f"{file}{f', line {error.line}' if error.line else ''}: {error}") from error
        return None

    def _read(self, file: str) -> bytes:
        try:
            return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error

    def _progress(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            self.stderr.write(f"\r{done:,} of {total:,}", ending="" if done < total else "\n")

    def _print_questions(self, parsed: rule_files.ParsedFile, file: str) -> None:
        for note in parsed.notes:
            self.stderr.write(f"{file}: {note}")
        for question in parsed.questions:
            if isinstance(question, rule_files.ColumnsQuestion):
                raise CommandError(f"{file}, line {question.line}: {question.unknown}")
            self.stderr.write(
                f"{file}, line {question.line}: lines with several words: {question.count:,}; see --joined."
            )

    def _print_summary(self, comparison: Comparison, file: str, prefix: str) -> None:
        for refusal in comparison.refused[:MAX_LISTED]:
            self.stderr.write(f"{file}, line {refusal.line}: {refusal.reason}")
        if (more := len(comparison.refused) - MAX_LISTED) > 0:
            self.stderr.write(f"... and {more:,} more.")
        counts = {
            f"{prefix}added": len(comparison.added),
            f"{prefix}changed": len(comparison.changed),
            "there already": len(comparison.unchanged),
            f"{prefix}refused": len(comparison.refused),
        }
        self.stdout.write(", ".join(f"{count:,} {what}" for what, count in counts.items()) + ".")

    def _undo(self, name: str, *, dry_run: bool) -> None:
        done = RuleImport.objects.filter(name=name, state=RuleImport.State.DONE).first()
        if not done:
            raise CommandError(f"There is no import of {name} that could be undone.")
        with transaction.atomic():
            undone = import_undo.undo(done)
            transaction.set_rollback(dry_run)
        would_be = "would be " if dry_run else ""
        counts = f"{undone.removed:,} {would_be}removed, {undone.restored:,} {would_be}restored"
        self.stdout.write(f"{counts}, {undone.kept:,} not undone: edited, deleted or forgotten since.")
