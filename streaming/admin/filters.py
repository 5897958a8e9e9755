"""Filters of lists, whose values are what strangers wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin

from streaming.visible_text import visible


class VisibleValuesFilter(admin.AllValuesFieldListFilter):
    """Each value there is, in characters that can be seen."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": visible(str(choice["display"]))}
