"""The forms of an import: the file, the choices for its rules, and the questions that it raises."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from streaming import rule_files
from streaming.admin.forms import LinesField, UpstreamsField
from streaming.models import ModerationRule, RuleImport, RuleList, not_an_audience
from streaming.moderation import MAX_BOTH_OF, WITHIN
from streaming.rule_fields import LIMITS, read_labels
from streaming.rule_files import Answers, ColumnsQuestion, JoinedQuestion, ParsedFile
from streaming.rule_imports import answers_of

_COLUMN_FIELDS = (
    *("pattern", "action", "category", "replacement", "kind", "whole_word", "compare", "priority", "enabled", "note"),
    *("upstreams", "only_for", "applies_to"),
)


class ChoicesForm(forms.Form):
    """What holds for all rules of a file for which it says nothing else."""

    action = forms.ChoiceField(label=_("Action"), choices=ModerationRule.Action.choices, initial="mask")
    category = forms.CharField(
        label=_("Category"), max_length=LIMITS["category"], required=False, help_text=_("Sent to the reader.")
    )
    whole_word = forms.ChoiceField(
        label=_("Whole words"),
        required=False,
        choices=[
            ("auto", _("for alphabets that have spaces between words")),
            ("yes", _("yes: “ass” is not found in “class”")),
            ("no", _("no: words are found inside others")),
        ],
    )
    rule_list = forms.ModelChoiceField(
        RuleList.objects.all(),
        label=_("List"),
        required=False,
        empty_label=_("none"),
        help_text=_("The rules of a list are switched, scoped and replaced together."),
    )
    new_list = forms.CharField(label=_("or a new list"), max_length=LIMITS["rule_list"], required=False)
    replaces = forms.BooleanField(
        label=_("Replace this list"),
        required=False,
        help_text=_("Rules of the list that are not in the file are deleted. They can be restored."),
    )
    on_trial = forms.BooleanField(
        label=_("On trial"), required=False, help_text=_("Hits are only recorded, with the action it would have taken.")
    )
    compare = forms.ChoiceField(
        label=_("Comparison"), required=False, choices=ModerationRule.Compare.choices, initial="normal"
    )
    replacement = forms.CharField(
        label=_("Replacement"),
        max_length=LIMITS["replacement"],
        required=False,
        help_text=_("The text that “replace” inserts, or the notice that “block” shows to the reader."),
    )
    applies_to = forms.ChoiceField(
        label=_("Applies to"), required=False, choices=ModerationRule.Scope.choices, initial="both"
    )
    upstreams = UpstreamsField(
        label=_("Upstreams"), required=False, help_text=_("If none is chosen, the rule applies to all.")
    )

    only_for = LinesField(
        label=_("Only for"),
        required=False,
        help_text=_("Models, API keys and groups, one per line, like model:gpt-4o, key:ann/laptop, group:staff."),
    )

    def clean_only_for(self) -> list[str]:
        try:
            return read_labels("\n".join(self.cleaned_data["only_for"]))
        except ValueError as error:
            raise forms.ValidationError(not_an_audience(str(error))) from error

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("rule_list") and values.get("new_list"):
            self.add_error("new_list", gettext("Choose a list, or name a new one; not both."))
        if values.get("replaces") and not values.get("rule_list"):
            self.add_error("replaces", gettext("Choose the list to replace."))
        return values

    @property
    def list_name(self) -> str:
        values = self.cleaned_data
        return str(values["rule_list"].name if values["rule_list"] else values["new_list"].strip())

    @property
    def defaults(self) -> dict[str, Any]:
        """The fields of a ``Row`` for which the file has no values; without those for which nothing was chosen."""
        values = self.cleaned_data
        chosen = {"rule_list": self.list_name}
        for name in ("action", "category", "replacement", "compare", "applies_to", "upstreams", "only_for", "on_trial"):
            chosen[name] = values[name]
        if chosen["applies_to"] == "both":
            del chosen["applies_to"]
        return {name: value for name, value in chosen.items() if value}

    @property
    def answers(self) -> Answers:
        return Answers(whole_word=self.cleaned_data["whole_word"])

    @property
    def main_fields(self) -> list[Any]:
        return [
            self[name] for name in ("action", "category", "whole_word", "rule_list", "new_list", "replaces", "on_trial")
        ]

    @property
    def more_fields(self) -> list[Any]:
        return [self[name] for name in ("compare", "replacement", "applies_to", "upstreams", "only_for")]

    @property
    def has_more_errors(self) -> bool:
        return any(field.errors for field in self.more_fields)


class ImportForm(ChoicesForm):
    """A file or text, and the choices for its rules."""

    file = forms.FileField(label=_("File"), required=False, allow_empty_file=True)
    text = forms.CharField(
        label=_("or text"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "class": "vLargeTextField", "spellcheck": "false"}),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file and file.size > rule_files.MAX_BYTES:
            message = gettext("The file has %(size)d MB; at most %(most)d MB can be read.")
            sizes = {"size": -(-file.size // 1_000_000), "most": rule_files.MAX_BYTES // 1_000_000}
            raise forms.ValidationError(message % sizes)
        return file

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if "file" in values and not values.get("file") and not (values.get("text") or "").strip():
            self.add_error("file", gettext("Choose a file, or paste the words below."))
        return values

    @property
    def content(self) -> tuple[bytes, str]:
        """The uploaded bytes and their name."""
        if file := self.cleaned_data["file"]:
            return file.read(), file.name
        return self.cleaned_data["text"].encode(), gettext("pasted text")

    @property
    def source_fields(self) -> list[Any]:
        return [self["file"], self["text"]]


class PreviewForm(ChoicesForm):
    """The choices of an import, which can be changed, and the questions about its file."""

    joined = forms.ChoiceField(required=False, widget=forms.RadioSelect, choices=lambda: _joined_choices())
    is_table = forms.ChoiceField(
        required=False,
        widget=forms.RadioSelect,
        choices=[("yes", _("a table, with the columns below")), ("no", _("no table: each line is words"))],
    )
    has_header = forms.BooleanField(required=False, label=_("The first line has the names of the columns"))

    def __init__(self, rule_import: RuleImport, parsed: ParsedFile, data: Any = None) -> None:
        self.rule_import = rule_import
        self.answers_before = answers_of(rule_import)
        self.joined_question, self.columns_question = _questions(parsed)
        self.may_be_words = parsed.file_format == "csv"
        """Whether the table may be none; the columns of JSON and YAML are certain."""
        super().__init__(data, initial=_initial(rule_import))
        self.fields["upstreams"].add_choices(rule_import.defaults.get("upstreams", ()))  # type: ignore[attr-defined]
        self._add_columns()

    def _add_columns(self) -> None:
        question = self.columns_question
        if question is None:
            return
        self.fields["is_table"].initial = "yes"
        self.fields["has_header"].initial = question.has_header
        for at, (name, guess) in enumerate(zip(question.names, question.guesses, strict=True)):
            field = forms.ChoiceField(label=name, required=False, choices=_column_choices(), initial=guess)
            self.fields[f"column_{at}"] = field

    @property
    def columns(self) -> list[Any]:
        """(field, samples) of each column."""
        question = self.columns_question
        if question is None:
            return []
        return [(self[f"column_{at}"], samples) for at, samples in enumerate(question.samples)]

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if not self.may_be_words:
            values |= {"is_table": "yes", "has_header": True}
        if self.columns_question and not values.get("is_table"):
            self.add_error("is_table", gettext("Please choose one."))
        if self.joined_question and not self.columns_question and not values.get("joined"):
            self.add_error("joined", gettext("Please choose one."))
        if self.columns_question and values.get("is_table") == "yes":
            chosen = [values.get(f"column_{at}", "") for at in range(len(self.columns_question.names))]
            if "pattern" not in chosen:
                self.add_error("is_table", gettext("Say which column has the words."))
            elif len(set(filter(None, chosen))) < len(list(filter(None, chosen))):
                self.add_error("is_table", gettext("Two columns cannot be the same field."))
        return values

    @property
    def answers(self) -> Answers:
        values, before = self.cleaned_data, self.answers_before
        columns, has_header = before.columns, before.has_header
        if self.columns_question and values["is_table"] == "no":
            columns = rule_files.NO_TABLE
        elif self.columns_question and values["is_table"] == "yes":
            columns = tuple(values[f"column_{at}"] for at in range(len(self.columns_question.names)))
            has_header = values["has_header"]
        joined = values["joined"] or before.joined
        return Answers(joined, columns, has_header, values["whole_word"])

    @property
    def asks(self) -> bool:
        return bool(self.joined_question or self.columns_question)


def _questions(parsed: ParsedFile) -> tuple[JoinedQuestion | None, ColumnsQuestion | None]:
    joined = next((each for each in parsed.questions if isinstance(each, JoinedQuestion)), None)
    return joined, next((each for each in parsed.questions if isinstance(each, ColumnsQuestion)), None)


def _initial(rule_import: RuleImport) -> dict[str, Any]:
    defaults = dict(rule_import.defaults)
    name = defaults.pop("rule_list", "")
    existing = RuleList.objects.filter(name=name).first() if name else None
    chosen = {"rule_list": existing, "new_list": "" if existing else name}
    whole_word = answers_of(rule_import).whole_word
    return {**defaults, **chosen, "whole_word": whole_word, "replaces": rule_import.options.get("replaces", False)}


def _joined_choices() -> list[tuple[str, Any]]:
    both = _("both of them, at most %(within)d characters apart; this slows streams down, so at most %(most)d rules")
    return [
        ("any", _("any of them: each word is a rule")),
        ("all", both % {"within": WITHIN, "most": MAX_BOTH_OF}),
        ("one", _("they are one phrase, with the sign in it")),
    ]


def _column_choices() -> list[tuple[str, Any]]:
    fields: list[Any] = [ModerationRule._meta.get_field(name) for name in _COLUMN_FIELDS]
    return [("", _("not imported")), *((field.name, field.verbose_name) for field in fields)]
