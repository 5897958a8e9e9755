"""The forms in which rules are edited: two who edit the same are told of each other, and nothing is lost."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from streaming import upstreams
from streaming.models import ModerationRule
from streaming.rule_files import COLUMNS, Row
from streaming.visible_text import isolated

_DEFAULTS = {
    name: getattr(Row(""), name) for name in ("kind", "applies_to", "priority", "compare", "group", "overflow")
}
"""The values of fields that a form may leave out: a pattern and an action alone make a rule."""


def last_editor(rule: ModerationRule) -> str:
    """Who changed it last, as far as the history knows."""
    kind = ContentType.objects.get_for_model(ModerationRule)
    entry = LogEntry.objects.filter(content_type=kind, object_id=str(rule.pk)).select_related("user").first()
    return entry.user.get_username() if entry else ""


def shown(rule: ModerationRule, name: str, value: Any) -> str:
    """A field's value, as a person reads it."""
    field: Any = ModerationRule._meta.get_field(name)
    if value in (None, "", [], ()):
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if field.choices:
        return str(dict(field.flatchoices).get(value, value))
    if isinstance(value, list | tuple):
        return ", ".join(isolated(str(each)) for each in value)
    return isolated(str(value))


class UpstreamsField(forms.MultipleChoiceField):
    """The upstreams of the settings, and those that rules name all the same."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        for unwanted in ("encoder", "decoder", "max_length"):
            kwargs.pop(unwanted, None)
        super().__init__(choices=lambda: [(name, name) for name in upstreams.names()], **kwargs)

    def add_choices(self, names: Any) -> None:
        known = upstreams.names()
        self.choices = [(name, name) for name in dict.fromkeys([*known, *names])]


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """One rule. ``seen`` is its last change when the form was made: whoever saves has seen no later one."""

    upstreams = UpstreamsField(
        label=gettext_lazy("Upstreams"), required=False, help_text=gettext_lazy("None chosen: all of them.")
    )
    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = ModerationRule
        fields = COLUMNS
        widgets = {
            "pattern": forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField", "spellcheck": "false"}),
            "note": forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "seen" in self.fields:
            self.fields["seen"].initial = self.instance.changed.isoformat() if self.instance.pk else ""
        if "upstreams" in self.fields:
            self.fields["upstreams"].add_choices(self.instance.upstreams)  # type: ignore[attr-defined]
        if "replacement" in self.fields:
            self.fields["replacement"].strip = False  # type: ignore[attr-defined]
        for name in ("pattern", "replacement", "category", "note"):
            if name in self.fields:
                self.fields[name].widget.attrs["dir"] = "auto"
        for name in ("valid_from", "valid_until"):
            # Django's two inputs stand beside one label, which is that of neither.
            widget = self.fields[name].widget if name in self.fields else None
            for part, said in zip(getattr(widget, "widgets", ()), (_("Date"), _("Time")), strict=False):
                part.attrs["aria-label"] = f"{self.fields[name].label}: {said}"
        for name in _DEFAULTS:
            # A pattern and an action alone make a rule.
            if name in self.fields:
                self.fields[name].required = False

    def clean_pattern(self) -> str:
        # As texts have it; a browser sends the ends of a field's lines in its own way.
        return str(self.cleaned_data["pattern"]).replace("\r\n", "\n")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        for name, value in _DEFAULTS.items():
            if name in self.fields and values.get(name) in (None, ""):
                values[name] = value
        if self.instance.pk and values.get("seen"):
            self._check_nobody_else_changed_it(values)
        return values

    def _check_nobody_else_changed_it(self, values: dict[str, Any]) -> None:
        now = ModerationRule.objects.select_for_update().filter(pk=self.instance.pk).first()
        if now is None or now.changed.isoformat() == values["seen"]:
            return
        _say_instead(self, "seen", now.changed.isoformat())
        raise ValidationError([_conflict(now), *_theirs(now, values, self.fields)])


def _say_instead(form: Any, name: str, value: str) -> None:
    """What the form has in this field when it is shown again."""
    form.data = form.data.copy()
    form.data[name] = value


def _conflict(now: ModerationRule) -> str:
    who = last_editor(now) or _("Somebody else")
    said = _(
        "{who} changed this rule while you were editing it. Nothing is saved yet: save again to put yours in place."
    )
    return format_html(said, who=who)


def _theirs(now: ModerationRule, values: dict[str, Any], fields: Any) -> list[str]:
    """What it is now, where that is not what the form says."""
    differing = [name for name in fields if name in COLUMNS and name in values and values[name] != getattr(now, name)]
    labels = {name: str(fields[name].label or name) for name in differing}
    said = _("{label}: it is now “{value}”.")
    return [format_html(said, label=labels[name], value=shown(now, name, getattr(now, name))) for name in differing]


class SeenWidget(forms.HiddenInput):
    """When a row was changed, to read; and what it was when the list was made, to send along."""

    is_hidden = False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        try:
            when = formats.localize(timezone.localtime(datetime.fromisoformat(json.loads(value)[0])))
        except (ValueError, TypeError, LookupError):
            when = ""
        return format_html("{} {}", when, super().render(name, value, attrs, renderer))


class RuleListForm(forms.ModelForm):  # type: ignore[type-arg]
    """A rule in the list. A row that its moderator left alone is left alone, whatever others did to it meanwhile."""

    changed = forms.CharField(widget=SeenWidget, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["changed"].initial = self._state(self.instance)

    def _state(self, rule: ModerationRule) -> str:
        values = [getattr(rule, name) for name in self._meta.fields or ()]
        return json.dumps([rule.changed.isoformat() if rule.changed else "", *values])

    def _seen(self) -> list[Any]:
        try:
            return list(json.loads(self["changed"].data or "[]"))
        except (ValueError, TypeError):
            return []

    def has_changed(self) -> bool:
        seen = self._seen()
        if seen[1:]:
            names = list(self._meta.fields or ())
            given = [self.fields[name].to_python(self[name].data) for name in names]
            return given != seen[1:]
        return super().has_changed()

    @property
    def changed_data(self) -> list[str]:
        return [name for name in super().changed_data if name != "changed"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        seen = self._seen()
        if seen and self.has_changed():
            now = ModerationRule.objects.select_for_update().filter(pk=self.instance.pk).first()
            if now is not None and now.changed.isoformat() != seen[0]:
                # Told once: who saves again has seen what it is now.
                _say_instead(self, self.add_prefix("changed"), self._state(now))
                raise ValidationError([_conflict(now), *_theirs(now, values, self.fields)])
        return values
