"""``manage.py prune_usage``: deletes old usage records."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management import CommandError
from django.utils import timezone

from streaming.management.commands._plain_errors import PlainCommand
from streaming.models import UsageRecord
from streaming.usage_log import delete_before


class Command(PlainCommand):
    help = "Deletes usage records that are older than a number of days. STREAMING_USAGE_DAYS does so by itself."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=400, help="how long to keep them (default: %(default)s)")
        parser.add_argument("--dry-run", action="store_true", help="only print how many there are")

    def handle(self, *args: Any, days: int, dry_run: bool, **options: Any) -> None:
        if not 0 <= days <= 36_500:
            raise CommandError(f"--days is {days}: it may be 0 to 36,500.")
        end = timezone.now() - timedelta(days=days)
        if dry_run:
            count = UsageRecord.objects.filter(when__lt=end).count()
            self.stdout.write(f"Usage records older than {days} days: {count:,}.")
        else:
            self.stdout.write(f"Deleted usage records older than {days} days: {delete_before(end):,}.")
