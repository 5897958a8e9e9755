"""The page "Try it": shows how rules moderate a text, piece by piece as in a stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from streaming import rulebook, upstreams
from streaming.admin import trial
from streaming.models import ModerationRule, translated
from streaming.moderation import Rule, RuleError, RuleSet, compile_rule
from streaming.rule_files import COLUMNS

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[ModerationRule]
else:
    _Base = object

MAX_TEXT = 20_000
MAX_CHOSEN = 200

SAMPLE = (
    "A status report may name secret-project too early; a tired engineer may write darn when a test fails, and DARN "
    "when it fails again.\n文中若出现内部代号，或夹带垃圾广告，读者只能看到遮盖的痕迹。\n"
)


class TryForm(forms.Form):
    """The text, the size of its pieces, and the rules to try."""

    text = forms.CharField(
        label=_("Text"),
        strip=False,
        max_length=MAX_TEXT,
        initial=SAMPLE,
        widget=forms.Textarea(attrs={"rows": 6, "class": "vLargeTextField", "spellcheck": "false"}),
    )
    cut = forms.IntegerField(
        label=_("Characters in each piece"),
        min_value=1,
        max_value=200,
        initial=5,
        widget=forms.NumberInput(attrs={"type": "range", "min": 1, "max": 60}),
    )
    medium = forms.ChoiceField(
        label=_("Written in"),
        choices=[("markdown", "Markdown"), ("json", "JSON"), ("plain", _("plain text"))],
        initial="markdown",
        required=False,
    )
    which = forms.ChoiceField(label=_("Rules"), widget=forms.RadioSelect)
    upstream = forms.ChoiceField(label=_("Upstream"), required=False)
    direction = forms.ChoiceField(
        label=_("Direction"), choices=[("answers", _("answers")), ("prompts", _("prompts"))], required=False
    )

    def clean_text(self) -> str:
        # Browsers send line breaks as \r\n; the text of an LLM has \n.
        return str(self.cleaned_data["text"]).replace("\r\n", "\n")

    def __init__(self, *args: Any, chosen: int, unsaved: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices: list[tuple[str, Any]] = [("all", _("all active rules"))]
        if chosen:
            choices.insert(0, ("chosen", _("the selected rules (%d)") % chosen))
        if unsaved:
            choices.insert(0, ("form", _("the unsaved rule in the form")))
        self.fields["which"].choices = choices  # type: ignore[attr-defined]
        self.fields["which"].initial = choices[0][0]
        self.fields["upstream"].choices = [(name, name) for name in upstreams.names()]  # type: ignore[attr-defined]


class TryPage(_Base):
    """The page, which is opened from the list, for selected rules, or from the form of an unsaved rule."""

    def get_urls(self) -> list[Any]:
        name = "streaming_moderationrule_try"
        return [path("try/", self.admin_site.admin_view(self.try_view), name=name), *super().get_urls()]

    @admin.action(description=_("Try the selected rules"), permissions=["view"])
    def try_selected(self, request: HttpRequest, rules: QuerySet[ModerationRule]) -> HttpResponse:
        chosen = "&".join(f"rule={pk}" for pk in rules.values_list("pk", flat=True)[:MAX_CHOSEN])
        return HttpResponseRedirect(f"{reverse('admin:streaming_moderationrule_try')}?{chosen}")

    def try_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        submitted = request.POST if request.method == "POST" else request.GET
        chosen = [int(pk) for pk in submitted.getlist("rule") if pk.isdecimal() and len(pk) < 19][:MAX_CHOSEN]
        unsaved = [(name, value) for name in _unsaved_names() for value in submitted.getlist(name)]
        is_submitted = "text" in submitted
        data: Any = submitted if is_submitted else None
        form = TryForm(data, chosen=len(chosen), unsaved=bool(unsaved))
        context: dict[str, Any] = {"form": form, "hidden_inputs": [*unsaved, *(("rule", pk) for pk in chosen)]}
        values = _initial(form) if data is None else form.cleaned_data if form.is_valid() else None
        if values:
            context |= self._run_trial(request, values, chosen)
        if request.headers.get("X-Requested-With") == "fetch":
            return render(request, "admin/streaming/moderationrule/trial.html", context)
        page = {**self.admin_site.each_context(request), "opts": self.opts, "title": gettext("Try it")}
        return render(request, "admin/streaming/moderationrule/try.html", {**page, "media": self.media, **context})

    def _run_trial(self, request: HttpRequest, values: dict[str, Any], chosen: list[int]) -> dict[str, Any]:
        try:
            rule_set, version = self._rules(request, values, chosen)
        except RuleError as error:
            return {"error": translated(error)}
        if isinstance(rule_set, str):
            return {"error": rule_set}
        medium: Any = values["medium"] or "markdown"
        done = trial.run(rule_set, values["text"], values["cut"], medium)
        labels = dict(ModerationRule.Action.choices)
        hits = [(hit, _label(hit.rule, labels), _compare(hit.rule), _why(hit)) for hit in done.listed_hits]
        return {"trial": done, "hits": hits, "version": version, "number_of_rules": len(rule_set.rules)}

    def _rules(
        self, request: HttpRequest, values: dict[str, Any], chosen: list[int]
    ) -> tuple[RuleSet | str, int | None]:
        """The rules to try with their version, or a sentence that says why they cannot be tried."""
        match values["which"]:
            case "all":
                current = rulebook.current_blocking(values["upstream"] or "default", values["direction"] or "answers")
                return current.rule_set, current.version
            case "chosen":
                found = ModerationRule.objects.filter(pk__in=chosen).order_by("pk")
                return RuleSet([_armed(rule) for rule in found]), None
        form: Any = self.get_form(request, change=False, fields=None)(request.POST)
        form.is_valid()
        rule = _armed(form.instance)
        if not rule.pattern:
            return " ".join(form.errors.get("pattern", [])), None
        compile_rule(rule)
        return RuleSet([rule]), None


def _label(rule: Rule, labels: dict[str, Any]) -> str:
    return (
        gettext("on trial, nothing changes – %s") % labels[rule.action] if rule.on_trial else str(labels[rule.action])
    )


def _compare(rule: Rule) -> str:
    """How the rule compares text, unless it does as most do."""
    return "" if rule.compare == "normal" else str(ModerationRule.Compare(rule.compare).label)


def _armed(rule: ModerationRule) -> Rule:
    """The rule as it acts once its trial has ended."""
    return replace(rule.as_value(), on_trial=False)


def _unsaved_names() -> list[str]:
    """The names of the inputs in a rule's form; date and time of a field are two inputs."""
    moments = [f"{name}_{part}" for name in ("valid_from", "valid_until") for part in (0, 1)]
    return [*(name for name in COLUMNS if not name.startswith("valid_")), *moments]


def _why(hit: trial.NumberedHit) -> str:
    """Why it is a hit, where that cannot be seen."""
    return "; ".join(map(translated, hit.explanation.reasons)) if hit.explanation else ""


def _initial(form: TryForm) -> dict[str, Any]:
    return {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
