"""The usage of each request."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from streaming.visible_text import isolated


class UsageRecord(models.Model):
    """What one request used: who asked which upstream, how much came, and how it ended. Never a prompt or an answer.

    It copies the names it needs: users and keys may be deleted later, and their usage stays.
    """

    when = models.DateTimeField(_("when"), db_index=True, help_text=_("When the request arrived."))
    stream = models.CharField(_("stream"), max_length=64, blank=True)
    endpoint = models.CharField(_("endpoint"), max_length=50)
    # No constraints: rows are written with a delay, when the user or the key may be deleted already.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        verbose_name=_("user"),
        related_name="+",
        null=True,
        db_constraint=False,
    )
    api_key = models.ForeignKey(
        "ApiKey", models.DO_NOTHING, verbose_name=_("API key"), related_name="usage", null=True, db_constraint=False
    )
    username = models.CharField(_("user"), max_length=150, blank=True)
    key_name = models.CharField(_("API key"), max_length=100, blank=True)
    upstream = models.CharField(_("upstream"), max_length=100)
    model = models.CharField(_("model"), max_length=200, blank=True)
    prompt_tokens = models.PositiveBigIntegerField(
        _("prompt tokens"), null=True, help_text=_("As the upstream reports them; empty if it does not.")
    )
    completion_tokens = models.PositiveBigIntegerField(
        _("completion tokens"), null=True, help_text=_("As the upstream reports them; empty if it does not.")
    )
    prompt_chars = models.PositiveBigIntegerField(
        _("prompt characters"), null=True, help_text=_("Empty if the request was relayed unread.")
    )
    completion_chars = models.PositiveBigIntegerField(
        _("completion characters"), null=True, help_text=_("As the upstream sent them, before moderation.")
    )
    hits = models.PositiveIntegerField(_("hits"), default=0)
    first_byte_seconds = models.FloatField(
        _("seconds to first byte"), null=True, help_text=_("From the request to the first bytes of the answer.")
    )
    seconds = models.FloatField(_("seconds"), help_text=_("From the request to the end of the answer."))
    bytes = models.PositiveBigIntegerField(_("bytes"), default=0, help_text=_("Of the answer, as this site sends it."))
    reason = models.CharField(_("reason of the end"), max_length=20)
    status = models.PositiveSmallIntegerField(
        _("status"), help_text=_("The HTTP status, or that of the error that ended the stream.")
    )

    class Meta:
        verbose_name = _("usage record")
        verbose_name_plural = _("usage")
        ordering = ["-when", "-pk"]
        default_permissions = ("view",)
        permissions = [("stop_streams", _("Can stop running streams"))]
        indexes = [models.Index(fields=["api_key", "when"], name="usage_of_a_key")]

    def __str__(self) -> str:
        return f"{self.when:%Y-%m-%d %H:%M:%S} {isolated(self.upstream)} {isolated(self.model)}"


class LostUsage(models.Model):
    """A number of usage records that a worker had to discard because its queue was full."""

    when = models.DateTimeField(auto_now_add=True)
    count = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.count)
