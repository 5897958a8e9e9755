"""List filters for fields whose values are untrusted text, and for the lists of rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.utils.translation import gettext as _

from streaming.visible_text import visible


class VisibleValuesFilter(admin.AllValuesFieldListFilter):
    """Lists all values of a field, with invisible characters made visible."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": visible(str(choice["display"])) or _("(none)")}


class ListFilter(admin.RelatedFieldListFilter):
    """Lists the rule lists, and the rules in none."""

    include_empty_choice = True

    def has_output(self) -> bool:
        return bool(self.lookup_choices)
