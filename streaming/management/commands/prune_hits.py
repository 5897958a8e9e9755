"""``manage.py prune_hits``: deletes old hits."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management import CommandError
from django.utils import timezone

from streaming.management.commands._plain_errors import PlainCommand
from streaming.models import LostHits, ModerationHit

BATCH = 5_000


class Command(PlainCommand):
    help = "Deletes the hits of moderation rules that are older than a number of days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=90, help="how long to keep them (default: %(default)s)")
        parser.add_argument("--dry-run", action="store_true", help="only print how many there are")

    def handle(self, *args: Any, days: int, dry_run: bool, **options: Any) -> None:
        if not 0 <= days <= 36_500:
            raise CommandError(f"--days is {days}: it may be 0 to 36,500.")
        end = timezone.now() - timedelta(days=days)
        old = ModerationHit.objects.filter(when__lt=end)
        if dry_run:
            self.stdout.write(f"Hits older than {days} days: {old.count():,}.")
            return
        self.stdout.write(f"Deleted hits older than {days} days: {self._delete(old):,}.")
        LostHits.objects.filter(when__lt=end).delete()

    def _delete(self, old: Any) -> int:
        """In batches, so that writers of hits do not have to wait for one long transaction."""
        deleted = 0
        while keys := list(old.order_by("pk").values_list("pk", flat=True)[:BATCH]):
            deleted += ModerationHit.objects.filter(pk__in=keys).delete()[0]
        return deleted
