"""Sends alerts: a rule, list, category or action with more than N hits in M minutes, by e-mail or webhook.

Hits wake a thread of its own, so neither streams nor the writing of hits wait for a mail server.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core import mail
from django.db import DatabaseError, connections
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming import webhooks
from streaming.models import HitAlert, ModerationHit

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
"""Alerts are checked at most once in this time."""

RETRY = timedelta(minutes=1)
"""How long after a failure the next attempt is made, if there are still as many hits."""

MAIL_SECONDS = 10


class _Checker:
    """The thread that checks alerts; it is started with the first hit."""

    def __init__(self, check: Callable[[], float | None]) -> None:
        self._check = check
        self._woken, self._lock = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        self._woken.set()
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="alerts", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the process is ending, or has too many
                    logger.warning("alerts cannot be checked: %s", error)
                else:
                    self._thread = thread

    def _run(self) -> None:
        again_at = float("inf")
        while True:
            self._woken.wait(None if again_at == float("inf") else max(again_at - time.monotonic(), 0.0))
            self._woken.clear()
            if time.monotonic() >= again_at:
                again_at = float("inf")
            if (seconds := self._checked()) is not None:
                again_at = min(again_at, time.monotonic() + seconds)
            time.sleep(EVERY_SECONDS)

    def _checked(self) -> float | None:
        try:
            return self._check()
        except DatabaseError as error:
            logger.warning("alerts cannot be checked: %s", error)
        except Exception:
            logger.exception("alerts cannot be checked")
        finally:
            connections.close_all()
        return RETRY.total_seconds()


def check(now: datetime | None = None) -> int:
    """Send the alerts that are due. Returns how many that were, whether they were delivered or not."""
    return len(_send_due(now or timezone.now()))


def _check_and_retry() -> float | None:
    """``check``. Returns after how many seconds to check again although there are no new hits; None if not at all."""
    return RETRY.total_seconds() if any(_send_due(timezone.now())) else None


wake = _Checker(_check_and_retry).wake
"""There are new hits. Neither blocks nor raises."""


def _send_due(now: datetime) -> list[str]:
    """For each alert that is due, what went wrong when it was sent; empty if nothing did."""
    problems = []
    for alert in HitAlert.objects.filter(enabled=True):
        if alert.is_resting(now) or (count := hits_of(alert, now)) <= alert.more_than or not _claim(alert, now):
            continue
        problems.append(problem := deliver(alert, count))
        if problem:
            alert.last_sent = now - alert.cooldown_time + min(RETRY, alert.cooldown_time)
            HitAlert.objects.filter(pk=alert.pk).update(last_sent=alert.last_sent)
            logger.warning("the alert %r was not delivered: %s", alert.name, problem)
    return problems


def hits_of(alert: HitAlert, now: datetime) -> int:
    """How many hits that an alert is about there were in its minutes. Those of rules on trial do not count."""
    hits = ModerationHit.objects.filter(when__gt=now - timedelta(minutes=alert.minutes), when__lte=now, on_trial=False)
    wanted = {
        "rule": alert.rule_id,
        "rule__rule_list": alert.rule_list_id,
        "category": alert.category,
        "action": alert.action,
    }
    return hits.filter(**{name: value for name, value in wanted.items() if value}).count()


def _claim(alert: HitAlert, now: datetime) -> bool:
    """Whether this worker is the one that sends it."""
    same = HitAlert.objects.filter(pk=alert.pk, enabled=True)
    same = same.filter(last_sent=alert.last_sent) if alert.last_sent else same.filter(last_sent=None)
    return bool(same.update(last_sent=now))


def deliver(alert: HitAlert, count: int, *, is_test: bool = False) -> str:
    """Send it now, by all its ways. Returns what went wrong; empty if nothing did. It is kept as the last result."""
    problems = []
    if alert.recipients:
        try:
            _mail(alert, count, is_test=is_test)
        except Exception as error:  # noqa: BLE001 (mail backends raise anything)
            problems.append(_("E-mail: %s") % type(error).__name__)
    if alert.webhook:
        try:
            webhooks.send(alert.webhook, alert.secret, _body(alert, count, is_test=is_test))
        except webhooks.WebhookError as error:
            problems.append(_("Webhook: %s") % error)
    result = "; ".join(problems)
    HitAlert.objects.filter(pk=alert.pk).update(last_result=(result or _("delivered"))[:500])
    return result


def _mail(alert: HitAlert, count: int, *, is_test: bool) -> None:
    name = " ".join(alert.name.split())  # a header has one line
    subject = (
        _("Test of the alert “%s”") % name
        if is_test
        else ngettext("Alert “%(name)s”: %(n)d hit", "Alert “%(name)s”: %(n)d hits", count) % {"name": name, "n": count}
    )
    text = ngettext(
        "In the last %(time)s there was %(n)d hit; the alert is for more than %(most)d.",
        "In the last %(time)s there were %(n)d hits; the alert is for more than %(most)d.",
        count,
    )
    body = text % {"time": in_minutes(alert.minutes), "n": count, "most": alert.more_than}
    about = _("About: %s") % alert.about()
    rest = _("The next alert comes after %s at the earliest.") % in_minutes(alert.cooldown)
    message = mail.EmailMessage(subject, "\n\n".join([body, about, rest]), to=alert.recipients)
    mailer().send_messages([message])


def in_minutes(number: int) -> str:
    return ngettext("%d minute", "%d minutes", number) % number


def mailer() -> Any:
    """Django's default mailer. SMTP without a timeout in the settings gets one: the others' alerts wait meanwhile."""
    found: Any = mail.mailers.default if hasattr(mail, "mailers") else mail.get_connection()  # Django 6.1, and before
    if getattr(found, "timeout", 0) is None:
        found.timeout = MAIL_SECONDS
    return found


def _body(alert: HitAlert, count: int, *, is_test: bool) -> bytes:
    """No pattern and no text: the receiver may be a chat in which many read."""
    data = {
        "alert": alert.name,
        "test": is_test,
        "hits": count,
        "minutes": alert.minutes,
        "more_than": alert.more_than,
        "rule": alert.rule_id,
        "list": alert.rule_list.name if alert.rule_list else None,
        "category": alert.category or None,
        "action": alert.action or None,
    }
    message = {"type": "moderation.alert", "timestamp": timezone.now().isoformat(), "data": data}
    return json.dumps(message).encode()
