"""Messages about rules, in English. Code that displays one may translate its template before filling it in."""

from __future__ import annotations

from dataclasses import dataclass, field


def gettext_noop(template: str) -> str:
    """Marks a template for translation. This package itself uses only English."""
    return template


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence: ``template % params``."""

    template: str
    params: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template % self.params
