"""Reads the rules of scanners for secrets: gitleaks (TOML) and TruffleHog (YAML, and the JSON of its version 2).

Their formats: https://github.com/gitleaks/gitleaks#configuration and
https://docs.trufflesecurity.com/custom-detectors
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from streaming.rule_fields import LIMITS
from streaming.rule_files.questions import Reading
from streaming.rule_files.rows import Refusal, Row, RowsAndRefusals
from streaming.rule_files.structures import TextAt, line_of

MIN_ENTROPY, MAX_ENTROPY = 0.0, 9.0
MAX_GROUP = 1_000


def read_gitleaks(data: Any, defaults: Row, reading: Reading) -> RowsAndRefusals | None:
    rules = data.get("rules") if isinstance(data, dict) else None
    if not isinstance(rules, list) or not any(
        isinstance(rule, dict) and {"regex", "path"} & rule.keys() for rule in rules
    ):
        return None
    reading.drop_others(data, ("rules", "title", "description", "minVersion"))
    return (item for rule in rules for item in _of_gitleaks(rule, defaults, reading))


def _of_gitleaks(rule: Any, defaults: Row, reading: Reading) -> Iterator[tuple[int, Row] | Refusal]:
    if not isinstance(rule, dict) or not isinstance(rule.get("regex"), str) or not rule["regex"]:
        name = str(rule.get("id", "")) if isinstance(rule, dict) else str(rule)
        yield Refusal(line_of(rule), name[:200], _("This rule has no regular expression; it looks at names of files."))
        return
    reading.drop_others(rule, ("id", "description", "regex", "secretGroup", "entropy", "keywords", "tags"))
    regex, wanted = rule["regex"], number(rule.get("secretGroup")) or 0
    # Without a group that is named as the secret, gitleaks takes the first.
    has_groups = bool(_capturing(regex))
    yield secret(
        line_of(regex),
        only_group(regex, int(min(wanted, MAX_GROUP))) if wanted > 1 else regex,
        replace(defaults, group=int(has_groups)),
        note=_join("gitleaks", rule.get("id"), rule.get("description")),
        entropy=number(rule.get("entropy")),
    )


def read_trufflehog(data: Any, defaults: Row, reading: Reading) -> RowsAndRefusals | None:
    if not isinstance(data, dict):
        return None
    if isinstance(detectors := data.get("detectors"), list):
        reading.drop_others(data, ("detectors",))
        return (item for detector in detectors for item in _of_detector(detector, defaults, reading))
    regexes: list[Any] = [value.get("pattern") if isinstance(value, dict) else value for value in data.values()]
    if not regexes or not all(isinstance(regex, str) for regex in regexes):
        return None
    if not any(re.search(r"[\\\[(]", regex) for regex in regexes):
        return None
    return (
        secret(line_of(regex), regex, defaults, note=_join("TruffleHog", name))
        for name, regex in zip(data, regexes, strict=True)
    )


def _of_detector(detector: Any, defaults: Row, reading: Reading) -> Iterator[tuple[int, Row] | Refusal]:
    regexes = detector.get("regex") if isinstance(detector, dict) else None
    if not isinstance(regexes, dict) or not regexes:
        name = str(detector.get("name", "")) if isinstance(detector, dict) else str(detector)
        yield Refusal(line_of(detector), name[:200], _("This detector has no regular expression."))
        return
    reading.drop_others(detector, ("name", "description", "regex", "entropy"))
    for name, regex in regexes.items():
        if not isinstance(regex, str):
            yield Refusal(line_of(name), str(name)[:200], _("This detector has no regular expression."))
            continue
        has_groups = bool(_capturing(regex))
        yield secret(
            line_of(regex),
            regex,
            replace(defaults, group=int(has_groups)),
            note=_join("TruffleHog", detector.get("name"), name),
            entropy=number(detector.get("entropy")),
        )


def secret(
    line: int, regex: str, defaults: Row, *, note: str, entropy: float | None = None
) -> tuple[int, Row] | Refusal:
    """A rule for a secret: as it is written, since scanners distinguish upper and lower case."""
    if entropy is not None and not MIN_ENTROPY <= entropy <= MAX_ENTROPY:
        return Refusal(line, regex[:200], _("An entropy of %s is out of range.") % entropy)
    return line, replace(
        defaults,
        pattern=str(regex),
        kind="regex",
        compare="exact",
        match_check=f"entropy:{entropy:.3f}".rstrip("0").rstrip(".") if entropy else "",
        note=(defaults.note or note)[: LIMITS["note"]],
    )


def number(value: Any) -> float | None:
    """A number, from one or from its text; None if it is neither."""
    try:
        return float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _join(*parts: Any) -> str:
    return ": ".join(str(part) for part in parts if isinstance(part, str | TextAt) and part)


_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\((?:\?(?:P?<(?![=!])[^>]*>)?)?", re.DOTALL)


def _capturing(regex: str) -> list[re.Match[str]]:
    """The beginnings of the groups that are numbered."""
    return [part for part in _PARTS.finditer(regex) if part[0] == "(" or part[0].startswith(("(?P<", "(?<"))]


def only_group(regex: str, wanted: int) -> str:
    """The pattern with its groups before this one no longer numbered, so that it is the first."""
    for group in reversed(_capturing(regex)[: wanted - 1]):
        regex = f"{regex[: group.start()]}(?:{regex[group.end() :]}"
    return regex
