"""The forms for editing rules. They detect concurrent edits, so that no moderator overwrites another's unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from streaming import upstreams
from streaming.editions import Edition
from streaming.models import ModerationRule, RuleList, action_name
from streaming.rule_files import COLUMNS, Row
from streaming.visible_text import isolated

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object

_DEFAULTS = {
    name: getattr(Row(""), name) for name in ("kind", "applies_to", "priority", "compare", "group", "overflow")
}
"""The values of fields that a form may leave out: a pattern and an action alone make a rule."""


def last_editor(edited: ModerationRule | RuleList) -> str:
    """The username of the last entry in the history of a rule or a list; empty if there is none."""
    kind = ContentType.objects.get_for_model(edited)
    entry = LogEntry.objects.filter(content_type=kind, object_id=str(edited.pk)).select_related("user").first()
    return entry.user.get_username() if entry else ""


def display_value(name: str, value: Any, model: type[Model] = ModerationRule) -> str:
    """The value of a rule's or a list's field as text for a person."""
    field: Any = model._meta.get_field(name)
    if value in (None, "", [], ()):
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if field.choices:
        return str(dict(field.flatchoices).get(value, value))
    if isinstance(value, list | tuple):
        return ", ".join(isolated(str(item)) for item in value)
    return isolated(str(value))


class UpstreamsField(forms.MultipleChoiceField):
    """A choice of the upstreams in the settings, and of any others that the rule already names."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        for unwanted in ("encoder", "decoder", "max_length"):
            kwargs.pop(unwanted, None)
        super().__init__(choices=lambda: [(name, name) for name in upstreams.names()], **kwargs)

    def add_choices(self, names: Any) -> None:
        known = upstreams.names()
        self.choices = [(name, name) for name in dict.fromkeys([*known, *names])]


class LinesField(forms.CharField):
    """A list of names, one per line."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})

    def __init__(self, **kwargs: Any) -> None:
        for unwanted in ("encoder", "decoder", "max_length"):
            kwargs.pop(unwanted, None)
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        lines = value if isinstance(value, list) else str(value or "").replace(",", "\n").splitlines()
        return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


class VersionedForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of one rule or list. ``loaded_version`` is its ``changed`` when the form was rendered."""

    loaded_version = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "loaded_version" in self.fields:
            self.fields["loaded_version"].initial = self.instance.changed.isoformat() if self.instance.pk else ""

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.instance.pk and (loaded := values.get("loaded_version")):
            _refuse_if_changed_since(self, loaded, values, "loaded_version", lambda now: now.changed.isoformat())
        return values


class RuleForm(VersionedForm):
    """The form of one rule."""

    upstreams = UpstreamsField(
        label=gettext_lazy("Upstreams"),
        required=False,
        help_text=gettext_lazy("If none is chosen, the rule applies to all."),
    )
    only_for = LinesField(
        label=gettext_lazy("Only for"),
        required=False,
        help_text=gettext_lazy(
            "Models, API keys and groups, one per line, like model:gpt-4o, key:ann/laptop, group:staff."
        ),
    )

    class Meta:
        model = ModerationRule
        fields = COLUMNS
        widgets = {
            "pattern": forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField", "spellcheck": "false"}),
            "note": forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "upstreams" in self.fields:
            self.fields["upstreams"].add_choices(self.instance.upstreams)  # type: ignore[attr-defined]
        if "replacement" in self.fields:
            self.fields["replacement"].strip = False  # type: ignore[attr-defined]
        for name in ("pattern", "replacement", "category", "note"):
            if name in self.fields:
                self.fields[name].widget.attrs["dir"] = "auto"
        for name in ("valid_from", "valid_until"):
            # Django renders two inputs, date and time, beside one label that belongs to neither.
            widget = self.fields[name].widget if name in self.fields else None
            for part, message in zip(getattr(widget, "widgets", ()), (_("Date"), _("Time")), strict=False):
                part.attrs["aria-label"] = f"{self.fields[name].label}: {message}"
        for name in _DEFAULTS:
            # A pattern and an action alone make a rule.
            if name in self.fields:
                self.fields[name].required = False

    def clean_pattern(self) -> str:
        # Browsers send line breaks as \r\n; the text of an LLM has \n.
        return str(self.cleaned_data["pattern"]).replace("\r\n", "\n")

    def clean(self) -> dict[str, Any]:
        for name, value in _DEFAULTS.items():
            if name in self.fields and self.cleaned_data.get(name) in (None, ""):
                self.cleaned_data[name] = value
        return super().clean()


def _refuse_if_changed_since(
    form: Any, loaded_version: str, values: dict[str, Any], field: str, state: Callable[[Any], str]
) -> None:
    """ValidationError if another moderator has changed it since, and not to the same, as a second click does.

    Saving again succeeds: the form shown again has the new state in this field.
    """
    Edition.lock()
    now = type(form.instance)._base_manager.filter(pk=form.instance.pk).first()
    if now is None or now.changed.isoformat() == loaded_version:
        return
    if differences := _current_values(now, values, form.fields):
        _override_data(form, form.add_prefix(field), state(now))
        raise ValidationError([_conflict_message(now), *differences])


def _override_data(form: Any, name: str, value: str) -> None:
    """Set the value that this field has when the form is shown again."""
    form.data = form.data.copy()
    form.data[name] = value


def _conflict_message(now: ModerationRule | RuleList) -> str:
    who = last_editor(now) or _("Another moderator")
    if isinstance(now, RuleList):
        message = _(
            "{who} changed this list while you were editing it. Your changes are not saved yet. "
            "Save again to overwrite theirs."
        )
    else:
        message = _(
            "{who} changed this rule while you were editing it. Your changes are not saved yet. "
            "Save again to overwrite theirs."
        )
    return format_html(message, who=who)


def _current_values(now: ModerationRule | RuleList, values: dict[str, Any], fields: Any) -> list[str]:
    """A sentence for each field whose value in the database differs from the form."""
    names = [name for name in fields if name in values and name not in ("id", "changed", "loaded_version")]
    differing = [name for name in names if values[name] != getattr(now, name)]
    labels = {name: str(fields[name].label or name) for name in differing}
    message = _("{label}: it is now “{value}”.")
    shown = {name: display_value(name, getattr(now, name), type(now)) for name in differing}
    return [format_html(message, label=labels[name], value=shown[name]) for name in differing]


class LoadedVersionWidget(forms.HiddenInput):
    """Shows when a row was last changed; a hidden input holds the row's state when the list was rendered."""

    is_hidden = False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        try:
            moment = timezone.localtime(datetime.fromisoformat(json.loads(value)[0]))
            when = formats.date_format(moment, "SHORT_DATETIME_FORMAT")
        except (ValueError, TypeError, LookupError):
            when = ""
        return format_html("{} {}", when, super().render(name, value, attrs, renderer))


def label_by_row(form: Any, name: str) -> None:
    """The headings of columns are no labels of fields, so each field says what it is, and of which row."""
    for field_name, field in form.fields.items():
        field.widget.attrs["aria-label"] = f"{field.label or field_name}: {name}"


class RowForm(forms.ModelForm):  # type: ignore[type-arg]
    """A row of a list. Rows that the moderator did not edit are not saved, even if others changed them meanwhile."""

    changed = forms.CharField(widget=LoadedVersionWidget, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["changed"].initial = self._state(self.instance)

    def _state(self, row: Any) -> str:
        values = [getattr(row, name) for name in self._meta.fields or ()]
        return json.dumps([row.changed.isoformat() if row.changed else "", *values])

    def _loaded_state(self) -> list[Any]:
        try:
            return list(json.loads(self["changed"].data or "[]"))
        except (ValueError, TypeError):
            return []

    def has_changed(self) -> bool:
        loaded_version = self._loaded_state()
        if loaded_version[1:]:
            names = list(self._meta.fields or ())
            given = [self.fields[name].to_python(self[name].data) for name in names]
            return given != loaded_version[1:]
        return super().has_changed()

    @property
    def changed_data(self) -> list[str]:
        return [name for name in super().changed_data if name != "changed"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        loaded_version = self._loaded_state()
        if loaded_version and self.has_changed():
            _refuse_if_changed_since(self, loaded_version[0], values, "changed", self._state)
        return values


class ListRowForm(RowForm):
    """A rule list in the list of lists."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        label_by_row(self, self.instance.name)


class RuleListForm(RowForm):
    """A rule in the list of rules."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        label_by_row(self, self.instance.pattern[:60])
        if "action" in self.fields:
            choices = [(value, action_name(value)) for value in ModerationRule.Action.values]
            self.fields["action"].choices = choices  # type: ignore[attr-defined]


class ScopedPages(_Base):
    """The page of a rule or a list for who may only look: names as text, and nothing that is only for a form."""

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        sets: Any = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return sets
        return [(name, {**options, "fields": _to_look_at(options["fields"])}) for name, options in sets]

    @admin.display(description=gettext_lazy("upstreams"))
    def upstreams_shown(self, scoped: Any) -> str:
        return display_value("upstreams", scoped.upstreams)

    @admin.display(description=gettext_lazy("only for"))
    def only_for_shown(self, scoped: Any) -> str:
        return display_value("only_for", scoped.only_for)


def _to_look_at(fields: Sequence[Any]) -> list[Any]:
    shown = {"upstreams": "upstreams_shown", "only_for": "only_for_shown"}
    return [shown.get(name, name) for name in fields if name != "loaded_version"]
