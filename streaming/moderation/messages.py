"""What is said of a rule. The sentence is English; whoever shows it may translate its template before filling it in."""

from __future__ import annotations

from dataclasses import dataclass, field


def gettext_noop(template: str) -> str:
    """Marks a template for translation. Nothing here knows any language but English."""
    return template


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence: ``template % params``."""

    template: str
    params: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template % self.params
