"""Rules on trial record hits and change no text: what they would have done, and a button to arm them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from streaming.models import ModerationHit

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object

LAST_DAY = timedelta(days=1)


def what_it_would_have_done(hits: Any) -> list[str]:
    """A sentence for each action that these hits of rules on trial would have taken in the last day."""
    recent = hits.filter(on_trial=True, when__gt=timezone.now() - LAST_DAY)
    counts = recent.order_by().values("action").annotate(n=Count("pk")).values_list("action", "n")
    return [_sentence(action, n) for action, n in sorted(counts)] or [gettext("In the last day it hit nothing.")]


def _sentence(action: str, n: int) -> str:
    match action:
        case "mask":
            sentence = ngettext(
                "In the last day it would have masked %d passage.",
                "In the last day it would have masked %d passages.",
                n,
            )
        case "replace":
            sentence = ngettext(
                "In the last day it would have replaced %d passage.",
                "In the last day it would have replaced %d passages.",
                n,
            )
        case "drop":
            sentence = ngettext(
                "In the last day it would have left out %d passage.",
                "In the last day it would have left out %d passages.",
                n,
            )
        case "block":
            sentence = ngettext(
                "In the last day it would have blocked at %d passage.",
                "In the last day it would have blocked at %d passages.",
                n,
            )
        case _:
            sentence = ngettext(
                "In the last day it would have flagged %d passage.",
                "In the last day it would have flagged %d passages.",
                n,
            )
    return sentence % n


class TrialPages(_Base):
    """The form of what can be on trial: a panel with its results, and a button that arms it."""

    hits_of = "rule__id__exact"
    """The lookup by which its hits are found from its primary key."""

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if "_arm" in request.POST:
            given = request.POST.copy()
            given.pop("on_trial", None)
            request.POST = given  # type: ignore[assignment]
        context = {
            # Only asked for where there is such a rule or list.
            "trial_results": lambda: what_it_would_have_done(ModerationHit.objects.filter(**{self.hits_of: object_id})),
            "trial_hits": f"{reverse('admin:streaming_moderationhit_changelist')}?{self.hits_of}={object_id}",
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})
