"""``manage.py backup_rules``: all rules and their lists as CSV, which ``import_rules`` reads back the same."""

from __future__ import annotations

from argparse import ArgumentParser
from itertools import chain
from pathlib import Path
from typing import Any

from streaming import rule_exports, rule_files
from streaming.management.commands._plain_errors import PlainCommand


class Command(PlainCommand):
    help = "Writes all moderation rules as CSV, for 'manage.py import_rules'. Hits and keys stay in the database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="the file to write; - is stdout (default)")

    def handle(self, *args: Any, file: str, **options: Any) -> None:
        lines = chain(rule_files.write_lists(rule_exports.export_lists()), rule_files.write_csv(rule_exports.export()))
        if file == "-":
            for line in lines:
                self.stdout.write(line, ending="")
            return
        # Whole, or not at all: a backup that broke off must not replace the previous one.
        unfinished = Path(f"{file}.unfinished")
        try:
            with unfinished.open("w", encoding="utf-8", newline="") as target:
                target.writelines(lines)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
