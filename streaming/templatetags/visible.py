"""Filters for untrusted text: ``visible`` shows invisible characters, ``isolated`` isolates right-to-left text."""

from __future__ import annotations

from django import template

from streaming import visible_text

register = template.Library()
register.filter("visible", lambda value: visible_text.visible(str(value)))
register.filter("isolated", lambda value: visible_text.isolated(str(value)))
