"""What was done with rules, in Django's history: an entry for each rule, many of them at once."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from streaming import bulk_rows
from streaming.models import NAMED_BY, ModerationRule, RuleList, name_of


def names_of(rules: Any) -> list[tuple[int, str]]:
    """The primary key and the name in the history of each rule."""
    return [(pk, name_of(*named)) for pk, *named in rules.values_list("pk", *NAMED_BY)]


def log(user_id: int, flag: int, entries: list[tuple[int, str, list[dict[str, Any]]]]) -> None:
    """Write entries (primary key, name, message) to Django's history: one statement instead of one for each rule."""
    common = {
        "action_time": timezone.now(),
        "user_id": user_id,
        "content_type_id": ContentType.objects.get_for_model(ModerationRule).pk,
        "action_flag": flag,
    }
    rows = (
        {"object_id": str(pk), "object_repr": name[:200], "change_message": json.dumps(message)}
        for pk, name, message in entries
    )
    bulk_rows.insert(LogEntry, ({**common, **row} for row in rows))


def change_message(differences: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """The changed fields with old and new values, for ``change_message`` of Django's history."""
    return {
        "fields": list(differences),
        "values": {name: [as_json(old), as_json(new)] for name, (old, new) in differences.items()},
    }


def list_names() -> dict[int, str]:
    """The name of each list, by primary key."""
    return dict(RuleList.objects.values_list("pk", "name"))


def with_list_names(differences: dict[str, tuple[Any, Any]], names: dict[int, str]) -> dict[str, tuple[Any, Any]]:
    """For ``change_message``: in place of the primary keys of lists, their names."""
    if "rule_list" not in differences:
        return differences
    was, is_now = (names.get(pk) for pk in differences["rule_list"])
    return {**differences, "rule_list": (was, is_now)}


def as_json(value: Any) -> Any:
    """The value of a field as JSON can hold it; of a list, its name."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, RuleList):
        return value.name
    return value.isoformat() if hasattr(value, "isoformat") else value
