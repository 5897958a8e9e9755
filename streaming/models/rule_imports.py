"""The imports of files of rules."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from streaming.visible_text import isolated


class RuleImport(models.Model):
    """An uploaded file of rules: previewed, then imported, and possibly undone."""

    class State(models.TextChoices):
        PREVIEW = "preview", _("not imported")
        DONE = "done", _("done")
        UNDONE = "undone", _("undone")

    when = models.DateTimeField(_("when"), auto_now_add=True)
    who = models.CharField(_("who"), max_length=150, blank=True)
    name = models.CharField(_("file"), max_length=255, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.PREVIEW)
    added = models.PositiveIntegerField(_("added"), default=0)
    changed = models.PositiveIntegerField(_("changed"), default=0)
    removed = models.PositiveIntegerField(_("removed"), default=0)
    # Until it is imported: the uploaded file, compressed, the defaults chosen in the form, and the other choices.
    data = models.BinaryField(null=True)
    defaults = models.JSONField(default=dict)
    options = models.JSONField(default=dict)
    # After the import: its edition, and what was refused, as compressed JSON.
    edition = models.PositiveBigIntegerField(null=True)
    refused = models.BinaryField(null=True)
    # After the import: the previous values of the rules that it changed, as pairs of pk and fields.
    before = models.JSONField(default=list)

    class Meta:
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        ordering = ["-when", "-pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{isolated(self.name)} ({self.when:%Y-%m-%d %H:%M})"
