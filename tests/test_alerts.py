"""Alerts: sent once when there are too many hits, by e-mail or signed webhook, and to no private address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection
from django.db.models.signals import pre_save
from django.test import Client, override_settings
from django.utils import timezone

from ssesite.email_settings import email_settings
from streaming import alerts, webhooks
from streaming.models import HitAlert, ModerationHit, ModerationRule, RuleList
from streaming.rule_imports import carry_out, save_preview
from tests.conftest import DEADLINE, eventually
from tests.test_admin import text_of

PAGE = "/admin/streaming/hitalert/"


class Receiver(ThreadingHTTPServer):
    """A real HTTP server on loopback that keeps what it gets."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.silent = 204, threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        if server.silent.is_set():
            self.rfile.read(1)  # until the client gives up
            return
        self.send_response(server.status)
        self.send_header("Location", f"{server.url}/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.shutdown()
    receiver.server_close()


@pytest.fixture
def private(settings: Any) -> None:
    settings.STREAMING_PRIVATE_WEBHOOKS = True


def hits(number: int, minutes_ago: float = 1, **values: Any) -> None:
    when = timezone.now() - timedelta(minutes=minutes_ago)
    defaults = {"when": when, "version": 1, "offset": 0, "action": "mask"}
    ModerationHit.objects.bulk_create([ModerationHit(**{**defaults, **values}) for _ in range(number)])


def alert(**values: Any) -> HitAlert:
    defaults: dict[str, Any] = {
        "name": "many",
        "more_than": 2,
        "minutes": 10,
        "cooldown": 60,
        "emails": "ann@example.com",
    }
    return HitAlert.objects.create(**{**defaults, **values})


@pytest.mark.parametrize(
    ("url", "port", "encryption"),
    [
        ("smtp+tls://ann:a%40b@mail.example:2587", 2587, (True, False)),
        ("smtp+tls://ann:a%40b@mail.example", 587, (True, False)),
        ("submission://ann:a%40b@mail.example", 587, (True, False)),
        ("smtp+ssl://ann:a%40b@mail.example", 465, (False, True)),
        ("smtp://ann:a%40b@mail.example", 25, (False, False)),
    ],
)
def test_mail_goes_where_email_url_says_and_gives_up_in_time(
    url: str, port: int, encryption: tuple[bool, bool]
) -> None:
    with override_settings(**email_settings(url)):
        mailer = alerts.mailer()

    assert (mailer.host, mailer.port, mailer.username, mailer.password) == ("mail.example", port, "ann", "a@b")
    assert (mailer.use_tls, mailer.use_ssl) == encryption
    assert mailer.timeout == alerts.MAIL_SECONDS


def test_a_timeout_of_the_project_is_kept() -> None:
    with override_settings(**email_settings("smtp://mail.example?timeout=3")):
        assert alerts.mailer().timeout == 3


@pytest.mark.django_db
class TestAnAlert:
    def test_is_sent_when_there_are_more_hits_than_its_number_in_its_minutes(self) -> None:
        alert(emails="ann@example.com, bob@example.com")
        hits(2)
        hits(9, minutes_ago=11)
        assert alerts.check() == 0

        hits(1)
        assert alerts.check() == 1

        (sent,) = mail.outbox
        assert sent.to == ["ann@example.com", "bob@example.com"]
        assert sent.subject == "Alert “many”: 3 hits"
        assert "In the last 10 minutes there were 3 hits" in sent.body

    def test_is_sent_although_the_clock_was_far_ahead_when_it_was_sent_before(self) -> None:
        alert(cooldown=60, last_sent=timezone.now() + timedelta(days=1))
        hits(3)

        assert alerts.check() == 1

    def test_is_not_sent_again_before_its_cooldown_has_passed(self) -> None:
        alert(cooldown=60)
        hits(3)
        assert [alerts.check() for _ in range(5)] == [1, 0, 0, 0, 0]

        later = timezone.now() + timedelta(minutes=61)
        hits(3, minutes_ago=-60)
        assert alerts.check(later) == 1

    def test_is_sent_by_one_of_several_workers(self) -> None:
        same = alert()
        other = HitAlert.objects.get(pk=same.pk)

        assert [alerts._claim(each, timezone.now()) for each in (same, other)] == [True, False]

    @pytest.mark.parametrize(
        ("about", "counted"),
        [({}, 3), ({"category": "c"}, 1), ({"action": "block"}, 1), ({"category": "c", "action": "block"}, 0)],
    )
    def test_counts_what_it_is_about(self, about: dict[str, str], counted: int) -> None:
        hits(1)
        hits(1, category="c")
        hits(1, action="block")
        hits(5, on_trial=True, category="c", action="block")

        assert alerts.hits_of(alert(**about), timezone.now()) == counted

    def test_counts_the_hits_of_its_rule_or_list(self) -> None:
        rule = ModerationRule.objects.create(pattern="darn")
        hits(2, rule=rule)
        hits(2)

        assert alerts.hits_of(alert(rule=rule), timezone.now()) == 2

    def test_that_could_not_be_delivered_is_tried_again_after_a_minute(self, receiver: Receiver, private: None) -> None:
        failing = alert(emails="", webhook=receiver.url)
        receiver.status = 500
        hits(3)
        now = timezone.now()

        assert [alerts.check(now + timedelta(seconds=seconds)) for seconds in (0, 30, 61)] == [1, 0, 1]
        failing.refresh_from_db()
        assert failing.last_result == "Webhook: The address answered with status 500."

    def test_that_could_not_be_delivered_needs_no_further_hit_to_be_tried_again(
        self, receiver: Receiver, private: None
    ) -> None:
        alert(emails="", webhook=receiver.url)
        receiver.status = 500
        hits(3)

        assert alerts._check_and_retry() == alerts.RETRY.total_seconds()
        assert alerts._check_and_retry() is None, "it rests"

    def test_speaks_of_one_hit_in_one_minute(self) -> None:
        alerts.deliver(alert(more_than=0, minutes=1, cooldown=1), 1)

        (sent,) = mail.outbox
        assert sent.subject == "Alert “many”: 1 hit"
        assert sent.body.startswith("In the last 1 minute there was 1 hit; the alert is for more than 0.\n")
        assert sent.body.endswith("The next alert comes after 1 minute at the earliest.")

    def test_in_a_mail_cannot_add_headers(self) -> None:
        alert(name="x\nBcc: eve@example.com")
        hits(3)

        alerts.check()

        assert "\n" not in mail.outbox[0].subject

    def test_is_not_sent_while_it_is_not_enabled(self) -> None:
        alert(enabled=False)
        hits(3)
        assert alerts.check() == 0


def test_alerts_are_checked_again_when_their_time_has_come_and_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(alerts, "RETRY", timedelta(milliseconds=1))
    outcomes: list[float | Exception | None] = [0.001, DatabaseError("away"), ValueError(), 0.001, None]
    checked: list[object] = []

    def check() -> float | None:
        checked.append(outcome := outcomes[len(checked)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    alerts._Checker(check).wake()

    eventually(lambda: checked == outcomes, "the alerts are checked again and again")


def test_hits_do_not_make_alerts_forget_that_one_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "EVERY_SECONDS", 0.0)
    checked: list[None] = []

    def check() -> float | None:
        checked.append(None)
        if len(checked) == 1:
            checker.wake()
            return 0.05
        return None

    checker = alerts._Checker(check)
    checker.wake()

    eventually(lambda: len(checked) == 3, "after the hit, and when its time has come")


@pytest.mark.django_db
class TestAWebhook:
    def test_is_signed_as_standard_webhooks_says_and_tells_no_pattern(self, receiver: Receiver, private: None) -> None:
        rule = ModerationRule.objects.create(pattern="the secret pattern")
        made = alert(emails="", webhook=f"{receiver.url}/hook?a=b", rule=rule)
        hits(3, rule=rule, pattern=rule.pattern, text="the secret text")

        assert alerts.check() == 1

        path, headers, body = receiver.got[0]
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(made.secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert (path, headers["webhook-signature"]) == ("/hook?a=b", f"v1,{expected}")
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        assert json.loads(body)["data"] == {
            "alert": "many",
            "test": False,
            "hits": 3,
            "minutes": 10,
            "more_than": 2,
            "rule": rule.pk,
            "list": None,
            "category": None,
            "action": None,
        }
        assert b"secret" not in body

    @pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 500])
    def test_that_is_redirected_or_refused_has_failed(self, receiver: Receiver, private: None, status: int) -> None:
        receiver.status = status

        with pytest.raises(webhooks.WebhookError, match=str(status)):
            webhooks.send(receiver.url, webhooks.make_secret(), b"{}")

        assert len(receiver.got) == 1

    def test_that_is_not_answered_is_given_up(
        self, receiver: Receiver, private: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(webhooks, "TOTAL_SECONDS", 0.2)
        receiver.silent.set()

        with pytest.raises(webhooks.WebhookError, match="cannot be reached"):
            webhooks.send(receiver.url, webhooks.make_secret(), b"{}")

    def test_that_connects_only_when_its_time_is_over_is_given_up(
        self, receiver: Receiver, private: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect, abort, is_over = socket.create_connection, webhooks._Connection.abort, threading.Event()

        def noted(connection: Any) -> None:
            abort(connection)
            is_over.set()

        def late(*address: Any) -> socket.socket:
            assert is_over.wait(DEADLINE)
            return connect(*address)

        monkeypatch.setattr(webhooks, "TOTAL_SECONDS", 0)
        monkeypatch.setattr(webhooks._Connection, "abort", noted)
        monkeypatch.setattr(socket, "create_connection", late)

        with pytest.raises(webhooks.WebhookError, match="TimeoutError"):
            webhooks.send(receiver.url, webhooks.make_secret(), b"{}")
        assert receiver.got == []

    def test_that_is_over_while_tls_is_negotiated_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(webhooks, "CONNECT_SECONDS", DEADLINE)
        with socket.create_server(("127.0.0.1", 0)) as server:
            connection = webhooks._Connection("localhost", server.getsockname()[1], ["127.0.0.1"], is_tls=True)

            def begin_and_say_nothing() -> None:
                client, _ = server.accept()
                assert client.recv(1)
                connection.abort()
                while client.recv(65_536):
                    pass  # until the other side has closed
                client.close()

            negotiating = threading.Thread(target=begin_and_say_nothing)
            negotiating.start()
            with pytest.raises(OSError) as failed:
                connection.connect()
            connection.close()
            negotiating.join()

        assert not isinstance(failed.value, TimeoutError)

    def test_without_the_setting_reaches_nothing_on_this_machine(self, receiver: Receiver) -> None:
        for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
            with pytest.raises(webhooks.WebhookError, match="private networks"):
                webhooks.send(url, webhooks.make_secret(), b"{}")
        assert receiver.got == []

    def test_goes_to_the_address_that_was_checked_although_dns_changes_its_mind(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def rebinding(host: str, port: int, *_: Any, **__: Any) -> Any:
            asked.append(host)
            address = "192.0.2.1" if host == "evil.example" and asked.count(host) > 1 else host
            address = "127.0.0.1" if host == "evil.example" else address
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        with pytest.raises(webhooks.WebhookError, match="private networks"):
            webhooks.send(f"http://evil.example:{receiver.server_port}/", webhooks.make_secret(), b"{}")
        assert receiver.got == []
        assert asked == ["evil.example"]

    def test_connects_to_the_address_and_not_to_the_name(
        self, receiver: Receiver, private: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = socket.getaddrinfo

        def once(host: str, *arguments: Any, **options: Any) -> Any:
            assert host != "moved.example" or not seen, "the name is resolved once"
            seen.append(host)
            return real("127.0.0.1" if host == "moved.example" else host, *arguments, **options)

        seen: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", once)
        webhooks.send(f"http://moved.example:{receiver.server_port}/", webhooks.make_secret(), b"{}")
        assert receiver.got[0][1]["host"] == f"moved.example:{receiver.server_port}"


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
        ),
        *(
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
        ),
        *("fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1"),
        *("2002:7f00:1::1", "2001:db8::1"),
    ],
)
def test_addresses_that_are_not_public_are_known_as_such(address: str) -> None:
    assert not webhooks.is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_known_as_such(address: str) -> None:
    assert webhooks.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://a.example/", "file:///etc/passwd", "https://", "http://user:pw@a.example/", "http://@a.example/"),
        *(
            "http://127.0.0.1/",
            "http://localhost/",
            "http://x.localhost./",
            "http://[::1]/",
            "http://[bad",
            "http://a:99999/",
        ),
        *(
            "http://a.example/\r\nX: y",
            "http://a.exa mple/",
            "gopher://a.example",
            "http://169.254.169.254/latest",
            "x",
        ),
    ],
)
def test_an_address_that_is_no_good_is_refused_in_the_form(url: str) -> None:
    assert webhooks.problem_with(url)
    with pytest.raises(ValidationError):
        HitAlert(name="x", webhook=url).clean()


@pytest.mark.django_db
class TestTheForm:
    FIELDS = {"name": "many", "more_than": "3", "minutes": "5", "cooldown": "60", "enabled": "on"}

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({}, "Enter an e-mail address or a webhook."),
            ({"emails": "ann@example.com nobody"}, "valid email address"),
            ({"emails": "ann@example.com\nBcc: eve@example.com"}, "valid email address"),
            ({"emails": "ann@example.com", "minutes": "0"}, "greater than or equal to 1"),
            ({"webhook": "http://127.0.0.1:6379/"}, "private networks"),
        ],
    )
    def test_refuses_what_cannot_be_sent(self, moderator: Client, given: dict[str, str], error: str) -> None:
        page = moderator.post(f"{PAGE}add/", {**self.FIELDS, **given})

        assert page.status_code == 200 and error in text_of(page)
        assert not HitAlert.objects.exists()

    def test_saves_and_sends_a_test(self, moderator: Client, receiver: Receiver, private: None) -> None:
        moderator.post(f"{PAGE}add/", {**self.FIELDS, "emails": "ann@example.com", "webhook": receiver.url})
        made = HitAlert.objects.get()

        address = f"{PAGE}{made.pk}/change/"
        done = moderator.post(address, {**self.FIELDS, "webhook": receiver.url, "_test": "1"}, follow=True)

        assert "The test was delivered." in text_of(done)
        assert json.loads(receiver.got[0][2])["data"]["test"] is True
        made.refresh_from_db()
        assert (made.last_sent, made.emails) == (None, ""), "a test does not begin the cooldown"
        assert made.secret in text_of(done)

    @pytest.mark.usefixtures("groups")
    def test_shows_the_secret_only_to_who_may_change_it(self, client: Client) -> None:
        user = User.objects.create_user("eve", is_staff=True)
        user.groups.add(Group.objects.get(name="auditor"))
        client.force_login(user)
        made = alert()

        page = client.get(f"{PAGE}{made.pk}/change/")

        assert page.status_code == 200 and made.secret not in page.content.decode()
        assert client.post(f"{PAGE}{made.pk}/change/", {**self.FIELDS, "_test": "1"}).status_code == 403
        assert client.get(f"{PAGE}add/").status_code == 403
        assert mail.outbox == []


@pytest.mark.django_db(transaction=True)
class TestAnEdit:
    FIELDS = {**TestTheForm.FIELDS, "emails": "ann@example.com"}

    def test_holds_up_nobody_while_its_test_is_sent(self, moderator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        made, in_transaction = alert(), list[bool]()
        monkeypatch.setattr(alerts, "deliver", lambda *_, **__: in_transaction.append(connection.in_atomic_block))

        moderator.post(f"{PAGE}{made.pk}/change/", {**self.FIELDS, "_test": "1"})

        assert in_transaction == [False]

    def test_does_not_have_an_alert_sent_twice_that_is_sent_at_the_same_time(self, moderator: Client) -> None:
        made = alert()
        hits(3)
        sent = []

        def in_another_worker(**_: Any) -> None:
            sent.append(alerts.check())

        pre_save.connect(in_another_worker, sender=HitAlert)
        try:
            moderator.post(f"{PAGE}{made.pk}/change/", {**self.FIELDS, "name": "very many", "more_than": "2"})
        finally:
            pre_save.disconnect(in_another_worker, sender=HitAlert)

        assert (sent, alerts.check()) == ([1], 0)
        assert HitAlert.objects.get().name == "very many"

    def test_does_not_say_that_an_alert_is_there_whose_rule_was_deleted_at_the_same_time(
        self, moderator: Client
    ) -> None:
        rule = ModerationRule.objects.create(pattern="gone")

        def elsewhere(**_: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM streaming_moderationrule WHERE id = %s", [rule.pk])

        pre_save.connect(elsewhere, sender=HitAlert)
        try:
            with pytest.raises(IntegrityError):
                moderator.post(f"{PAGE}add/", {**self.FIELDS, "rule": str(rule.pk)})
        finally:
            pre_save.disconnect(elsewhere, sender=HitAlert)

        assert not HitAlert.objects.exists()


def test_hits_of_streams_send_an_alert_while_the_stream_goes_on(make_site: Any, receiver: Receiver) -> None:
    site = make_site(STREAMING_PRIVATE_WEBHOOKS="1")
    with sqlite3.connect(site.folder / "db.sqlite3") as database:
        columns = "pattern, kind, action, replacement, whole_word, category, priority, compare, match_check, overflow,"
        columns += " upstreams, applies_to, enabled, note, changed, fingerprint"
        rule = "('darn','literal','mask','',0,'c',0,'normal','','pass','[]','both',1,'','2026-01-01','x',0)"
        database.execute(f'INSERT INTO streaming_moderationrule ({columns}, "group") VALUES {rule}')
        columns = "name, enabled, category, action, more_than, minutes, cooldown, emails, webhook, secret, last_result"
        values = ("many", 1, "c", "", 0, 10, 60, "", receiver.url, webhooks.make_secret(), "")
        places = ",".join("?" * len(values))
        database.execute(f"INSERT INTO streaming_hitalert ({columns}) VALUES ({places})", values)

    answer = httpx.get(f"{site.url}/transfer?interval=0")

    assert "done" in answer.text
    eventually(lambda: receiver.got, "the webhook is called")
    assert json.loads(receiver.got[0][2])["data"]["category"] == "c"


@pytest.mark.django_db
class TestWhatIsDeletedWithARuleOrAList:
    def test_is_named_before(self, moderator: Client) -> None:
        words = RuleList.objects.create(name="words")
        inside, alone = ModerationRule.objects.create(pattern="a", rule_list=words), ModerationRule.objects.create()
        alert(name="about the list", rule_list=words)
        alert(name="about its rule", rule=inside)
        alert(name="about another rule", rule=alone)
        lists, rules = "/admin/streaming/rulelist/", "/admin/streaming/moderationrule/"

        asked = [
            text_of(moderator.get(f"{lists}{words.pk}/delete/")),
            text_of(moderator.post(lists, {"action": "delete_selected", "_selected_action": [words.pk]})),
            text_of(moderator.post(rules, {"action": "delete", "_selected_action": [inside.pk, alone.pk]})),
        ]

        for page in asked[:2]:
            assert "alert: about its rule alert: about the list" in page
            assert "another rule" not in page
        assert "2 alerts are only about them. They are deleted too" in asked[2]
        assert "about another rule about its rule" in asked[2]
        replacing = save_preview(b"pattern\nb\n", "words.csv", "", {"rule_list": "words"}, replaces=True)
        preview = text_of(moderator.get(f"{rules}import/{replacing.pk}/"))
        assert "1 alert is only about them. It is deleted too" in preview
        assert "about its rule" in preview
        assert HitAlert.objects.count() == 3

    def test_is_counted_where_an_undo_deletes_it(self, moderator: Client) -> None:
        rules = "/admin/streaming/moderationrule/"
        done = save_preview(b"pattern\none\n", "words.csv", "", {})
        carry_out(done)
        alert(name="about its rule", rule=ModerationRule.objects.get())
        undone = [moderator.post(f"{rules}import/{done.pk}/undo/", follow=True)]
        carry_out(save_preview(b"pattern\ntwo\n", "words.csv", "", {}))
        alert(name="about its rule", rule=ModerationRule.objects.get())
        undone.append(moderator.post(f"{rules}editions/{ModerationRule.objects.version()}/undo/", follow=True))

        for page in undone:
            assert "1 alert that was only about them was deleted too." in text_of(page)
        assert not HitAlert.objects.exists()

    def test_stays_where_alerts_may_not_be_deleted(self, client: Client) -> None:
        words = RuleList.objects.create(name="words")
        rule = ModerationRule.objects.create(pattern="a", rule_list=words)
        alert(name="about its rule", rule=rule)
        user = User.objects.create_user("eve", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__endswith="_moderationrule"))
        client.force_login(user)
        rules = "/admin/streaming/moderationrule/"
        replacing = save_preview(b"pattern\nb\n", "words.csv", "", {"rule_list": "words"}, replaces=True)

        answers = [
            client.post(rules, {"action": "delete", "_selected_action": [rule.pk], "post": "yes"}, follow=True),
            client.post(f"{rules}import/{replacing.pk}/", follow=True),
        ]

        for answer in answers:
            assert "1 alert is only about these rules, and you may not delete alerts." in text_of(answer)
        assert HitAlert.objects.exists()
        assert list(ModerationRule.objects.all()) == [rule]
