"""API keys: created in the admin or by a command, shown once, and revoked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.db import transaction
from django.db.models.signals import pre_save
from django.test import Client
from django.utils import timezone

from streaming import api_keys, own_keys
from streaming.models import ApiKey, hash_of_secret
from tests.conftest import Site, eventually, manage

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("create_key", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


class TestTheCommand:
    def test_prints_only_the_key_on_stdout_for_scripts(self) -> None:
        User.objects.create_superuser("ann")

        out, err = create("a program")

        key = ApiKey.objects.get()
        assert re.fullmatch(r"streams-[\w-]{43}\n", out)
        assert key.hashed == hash_of_secret(out.strip())
        assert (key.name, key.owner.username) == ("a program", "ann")
        assert "shown only once" in err

    def test_creates_a_key_for_the_given_owner(self) -> None:
        User.objects.create_superuser("ann")
        User.objects.create_user("bob")

        create("a program", "--owner", "bob")

        assert ApiKey.objects.get().owner.username == "bob"

    @pytest.mark.parametrize(
        ("superusers", "arguments", "sentence"),
        [
            ([], ["x"], "There is no superuser: make one with 'manage.py createsuperuser', or name"),
            (["ann", "eve"], ["x"], "more than one superuser"),
            (["ann"], ["x", "--owner", "nobody"], "no user 'nobody'"),
            (["ann"], [" "], "1 to 100 characters"),
            (["ann"], ["x" * 101], "1 to 100 characters"),
        ],
    )
    def test_says_which_argument_is_missing_or_wrong(
        self, superusers: list[str], arguments: list[str], sentence: str
    ) -> None:
        for name in superusers:
            User.objects.create_superuser(name)

        with pytest.raises(CommandError, match=sentence):
            create(*arguments)

    def test_limits_a_key_as_its_options_say(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"llm": {"URL": "http://127.0.0.1:9"}}
        User.objects.create_superuser("ann")

        create("a program", "--upstream", "llm", "--model", "m", "--model", "gpt-*", "--days", "30")
        create("another", "--requests-per-minute", "60", "--streams-at-once", "2", "--tokens-per-day", "0")

        first, second = ApiKey.objects.order_by("pk")
        assert (first.allowed_upstreams, first.allowed_models) == (["llm"], ["m", "gpt-*"])
        assert first.expires
        assert timedelta(days=29) < first.expires - timezone.now() <= timedelta(days=30)
        assert (second.requests_per_minute, second.streams_at_once, second.tokens_per_day) == (60, 2, 0)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["x", "--upstream", "nowhere"], "There is no upstream 'nowhere'; there are default"),
            (["x", "--days", "-1"], "'-1' is not a number"),
            (["x", "--days", "0"], "'0' is not a number of days from 1 to 36500"),
            (["x", "--days", "2147483647"], "not a number of days from 1 to 36500"),
            (["x", "--owner", "gone"], "The user 'gone' is not active"),
            (["x", "--rotate", "--model", "m"], "--model is for new keys"),
            (["x", "--rotate", "--tokens-per-day", "0"], "--tokens-per-day is for new keys"),
            (["x", "--revoke", "--days", "3"], "--days is for new keys"),
            (["x", "--tokens-per-day", "many"], "'many' is not a number"),
            (["unknown", "--rotate"], "there is no such key"),
            (["twice", "--revoke"], "more than one key has this name"),
        ],
    )
    def test_says_which_option_is_wrong(self, arguments: list[str], sentence: str) -> None:
        User.objects.create_superuser("ann")
        User.objects.create_user("gone", is_active=False)
        for _ in range(2):
            create("twice")

        with pytest.raises(CommandError, match=sentence):
            create(*arguments)

    def test_rotates_a_key_that_keeps_its_limits(self) -> None:
        User.objects.create_superuser("ann")
        old, _ = create("a program", "--model", "m")

        new, err = create("a program", "--rotate")

        key = ApiKey.objects.get()
        assert (key.hashed, key.allowed_models) == (hash_of_secret(new.strip()), ["m"])
        assert new != old
        assert "The one before it is refused" in err

    def test_rotates_an_expired_key_with_more_days_or_says_that_it_is_refused(self) -> None:
        User.objects.create_superuser("ann")
        create("a program")
        ApiKey.objects.update(expires=timezone.now() - timedelta(days=1))

        _, refused = create("a program", "--rotate")
        _, renewed = create("a program", "--rotate", "--days", "3")

        assert "It is refused too, because the key has expired: give --days." in refused
        assert "refused too" not in renewed
        assert ApiKey.objects.get().is_valid_at(timezone.now() + timedelta(days=2))

    def test_revokes_the_key_with_this_beginning(self) -> None:
        User.objects.create_superuser("ann")
        first, _ = create("twice")
        create("twice")

        out, _ = create(first[:14], "--revoke")

        assert out == ""
        assert [key.enabled for key in ApiKey.objects.order_by("pk")] == [False, True]


@contextmanager
def changed_meanwhile(**fields: Any) -> Iterator[None]:
    """Just before a key is saved, another worker changes it."""

    def change(**_: Any) -> None:
        ApiKey.objects.update(**fields)

    pre_save.connect(change, sender=ApiKey)
    try:
        yield
    finally:
        pre_save.disconnect(change, sender=ApiKey)


class TestTheAdmin:
    ADD = "/admin/streaming/apikey/add/"

    def add(self, moderator: Client) -> str:
        owner = User.objects.get(username="ann")
        fields = {"name": "a program", "owner": str(owner.pk), "enabled": "on"}
        answer = moderator.post(self.ADD, fields, follow=True).content.decode()
        [shown] = set(re.findall(r"streams-[\w-]{43}", answer))
        return shown

    def test_shows_a_new_key_once(self, moderator: Client) -> None:
        shown = self.add(moderator)

        again = moderator.get("/admin/streaming/apikey/").content.decode()

        assert ApiKey.objects.get().hashed == hash_of_secret(shown)
        assert shown not in again
        assert f"{shown[:14]}…{shown[-4:]}" in again

    def test_can_change_the_name_but_not_the_key(self, moderator: Client) -> None:
        shown = self.add(moderator)
        key = ApiKey.objects.get()

        moderator.post(f"/admin/streaming/apikey/{key.pk}/change/", {"name": "another", "owner": str(key.owner_id)})

        key.refresh_from_db()
        assert (key.name, key.enabled, key.hashed) == ("another", False, hash_of_secret(shown))

    def test_saves_what_a_key_may_use(self, moderator: Client, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"llm": {"URL": "http://127.0.0.1:9"}}
        self.add(moderator)
        key = ApiKey.objects.get()
        ApiKey.objects.update(allowed_upstreams=["gone"])
        fields = {
            "name": "a program",
            "owner": str(key.owner_id),
            "enabled": "on",
            "allowed_upstreams": ["llm", "gone"],
            "allowed_models": "m\r\ngpt-*, o1\n\nm",
            "tokens_per_day": "1000",
            "expires_0": "2030-01-01",
            "expires_1": "12:00",
        }

        page = moderator.post(f"/admin/streaming/apikey/{key.pk}/change/", fields, follow=True)

        assert page.redirect_chain, page.content.decode()
        key.refresh_from_db()
        assert (key.allowed_upstreams, key.allowed_models) == (["llm", "gone"], ["m", "gpt-*", "o1"])
        assert (key.tokens_per_day, key.requests_per_minute) == (1000, None)
        assert key.expires == datetime(2030, 1, 1, 12, tzinfo=UTC)

    def test_rotates_a_key_and_shows_the_new_one_once(self, moderator: Client) -> None:
        old = self.add(moderator)

        data = {"action": "rotate", "_selected_action": [str(ApiKey.objects.get().pk)]}
        page = moderator.post("/admin/streaming/apikey/", data, follow=True).content.decode()

        [new] = set(re.findall(r"streams-[\w-]{43}", page))
        assert new != old
        assert ApiKey.objects.get().hashed == hash_of_secret(new)
        assert new not in moderator.get("/admin/streaming/apikey/").content.decode()
        assert new not in str(list(LogEntry.objects.values()))

    @pytest.mark.parametrize("state", [{"enabled": False}, {"expires": datetime(2026, 1, 1, tzinfo=UTC)}])
    def test_says_of_a_rotated_key_that_it_is_refused(self, moderator: Client, state: dict[str, Any]) -> None:
        self.add(moderator)
        ApiKey.objects.update(**state)

        data = {"action": "rotate", "_selected_action": [str(ApiKey.objects.get().pk)]}
        page = moderator.post("/admin/streaming/apikey/", data, follow=True).content.decode()

        assert "the key is refused, because it is not enabled or has expired." in page

    def test_disables_keys(self, moderator: Client) -> None:
        self.add(moderator)

        data = {"action": "disable", "_selected_action": [str(ApiKey.objects.get().pk)]}
        page = moderator.post("/admin/streaming/apikey/", data, follow=True).content.decode()

        assert "1 key is refused from now on." in page
        assert not ApiKey.objects.get().enabled

    def test_overwrites_nothing_that_others_change_at_the_same_time(self, moderator: Client) -> None:
        self.add(moderator)
        key = ApiKey.objects.get()

        with changed_meanwhile(enabled=False):
            moderator.post("/admin/streaming/apikey/", {"action": "rotate", "_selected_action": [str(key.pk)]})
        assert not ApiKey.objects.get().enabled

        with changed_meanwhile(hashed="its owner has rotated it", tokens_per_day=5):
            fields = {"name": "another", "owner": str(key.owner_id)}
            moderator.post(f"/admin/streaming/apikey/{key.pk}/change/", fields)
        saved = ApiKey.objects.get()
        assert (saved.name, saved.hashed, saved.tokens_per_day) == ("another", "its owner has rotated it", 5)

    def test_is_in_chinese_too(self, moderator: Client) -> None:
        self.add(moderator)

        page = moderator.get(
            f"/admin/streaming/apikey/{ApiKey.objects.get().pk}/change/", headers={"Accept-Language": "zh-hans"}
        ).content.decode()

        assert all(text in page for text in ("每分钟请求数", "可使用的内容", "最近使用", "到期时间"))

    def test_proposes_the_current_user_as_owner(self, moderator: Client) -> None:
        assert "ann" in moderator.get(self.ADD).content.decode()


def test_a_key_gives_access_to_a_running_site_until_it_is_revoked(make_site: type[Site]) -> None:
    site = make_site(STREAMING_ACCESS="login", UPSTREAM_URL="http://127.0.0.1:9", UPSTREAM_PROXY="1")
    made = manage(site.folder, "create_key", "curl")
    assert made.returncode == 0, made.stderr
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    address = f"{site.url}/proxy"

    assert httpx.post(address).status_code == 401
    assert httpx.post(address, headers=headers).status_code == 502, "it came in; the upstream is not there"

    uses = "from streaming.models import ApiKey; print(ApiKey.objects.filter(last_used=None, name='curl').count())"
    eventually(lambda: manage(site.folder, "shell", "-v0", "-c", uses).stdout.strip() == "0", "its use is recorded")
    assert made.stdout.strip() not in site.log

    code = "from streaming.models import ApiKey; ApiKey.objects.update(enabled=False)"
    assert manage(site.folder, "shell", "-c", code).returncode == 0
    eventually(lambda: httpx.post(address, headers=headers).status_code == 401, "the key is refused")


@pytest.mark.django_db(transaction=True)
class TestARevokedKey:
    """In the process that revoked it, the next request is refused."""

    @pytest.fixture
    def key(self) -> ApiKey:
        return ApiKey(owner=User.objects.create_superuser("ann"))

    @pytest.fixture
    def secret(self, key: ApiKey) -> str:
        secret = key.make_secret()
        key.save()
        return secret

    async def test_is_refused_although_it_was_being_looked_up(
        self, key: ApiKey, secret: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look_up = api_keys._look_up

        async def late(*asked: str) -> ApiKey | None:
            found = await look_up(*asked)
            key.enabled = False
            await key.asave(update_fields=["enabled"])
            return found

        with monkeypatch.context() as patch:
            patch.setattr(api_keys, "_look_up", late)
            assert await api_keys.find(secret), "this request came before"

        assert await api_keys.find(secret) is None

    def test_is_refused_although_it_was_looked_up_before_the_commit(
        self, key: ApiKey, secret: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def as_others_see_it(*_: str) -> ApiKey | None:
            return ApiKey(pk=key.pk, enabled=True)

        with monkeypatch.context() as patch, transaction.atomic():
            key.enabled = False
            key.save(update_fields=["enabled"])
            patch.setattr(api_keys, "_look_up", as_others_see_it)
            assert async_to_sync(api_keys.find)(secret), "this request came before"

        assert async_to_sync(api_keys.find)(secret) is None

    async def test_is_not_accepted_again_when_an_earlier_look_up_ends_later(
        self, key: ApiKey, secret: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look_up, is_read, may_go_on = api_keys._look_up, asyncio.Event(), asyncio.Event()

        async def late(*asked: str) -> ApiKey | None:
            found = await look_up(*asked)
            is_read.set()
            await may_go_on.wait()
            return found

        with monkeypatch.context() as patch:
            patch.setattr(api_keys, "_look_up", late)
            earlier = asyncio.create_task(api_keys.find(secret))
            await is_read.wait()
        await ApiKey.objects.aupdate(enabled=False)  # in another worker
        assert await api_keys.find(secret) is None

        may_go_on.set()
        await earlier

        assert await api_keys.find(secret) is None


class TestThePageOfOwnKeys:
    PAGE = "/keys/"

    @pytest.fixture
    def bob(self, client: Client) -> User:
        """A user who is no staff, and whose group has the permission."""
        bob = User.objects.create_user("bob")
        group = Group.objects.create(name="developers")
        group.permissions.add(Permission.objects.get(codename="own_apikey"))
        bob.groups.add(group)
        client.force_login(bob)
        return bob

    def create(self, client: Client, **fields: str) -> str:
        page = client.post(self.PAGE, {"action": "create", "name": "my script", "days": "30", **fields})
        self.created = page.content.decode()
        [shown] = set(re.findall(r"streams-[\w-]{43}", self.created))
        return shown

    def test_makes_a_key_and_shows_it_once(self, client: Client, bob: User) -> None:
        shown = self.create(client, owner="1", streams_at_once="0", tokens_per_day="0")

        key = ApiKey.objects.get()
        assert (key.owner, key.name, key.hashed) == (bob, "my script", hash_of_secret(shown))
        assert 'value="my script"' not in self.created, "the form is empty again"
        assert key.expires
        assert (key.streams_at_once, key.tokens_per_day) == (None, None), "limits are the site's"
        page = client.get(self.PAGE)
        assert shown not in page.content.decode()
        assert f"{shown[:14]}…{shown[-4:]}" in page.content.decode()
        assert "no-store" in page["Cache-Control"]

    def test_revokes_an_expired_key_and_does_not_offer_to_rotate_it(self, client: Client, bob: User) -> None:
        self.create(client)
        own = ApiKey.objects.get()
        ApiKey.objects.update(expires=timezone.now() - timedelta(days=1))

        page = client.get(self.PAGE).content.decode()

        assert 'value="revoke"' in page
        assert 'value="rotate"' not in page
        assert client.post(self.PAGE, {"action": "rotate", "key": str(own.pk)}).status_code == 404
        assert client.post(self.PAGE, {"action": "revoke", "key": str(own.pk)}).status_code == 302
        assert not ApiKey.objects.get().enabled

    def test_rotates_and_revokes_own_keys_only(self, client: Client, bob: User) -> None:
        self.create(client)
        own = ApiKey.objects.get()
        ann = User.objects.create_superuser("ann")
        create("anns", "--owner", "ann")
        anns = ApiKey.objects.get(owner=ann)

        for action in ("rotate", "revoke"):
            for key in (str(anns.pk), "", "x", "-1", "99999999999999999999999"):
                assert client.post(self.PAGE, {"action": action, "key": key}).status_code == 404
        rotated = client.post(self.PAGE, {"action": "rotate", "key": str(own.pk)}).content.decode()

        [new] = set(re.findall(r"streams-[\w-]{43}", rotated))
        own.refresh_from_db()
        assert own.hashed == hash_of_secret(new)
        assert client.post(self.PAGE, {"action": "revoke", "key": str(own.pk)}).status_code == 302
        assert list(ApiKey.objects.filter(enabled=True)) == [anns]
        assert client.post(self.PAGE, {"action": "rotate", "key": str(own.pk)}).status_code == 404, "it stays revoked"
        page = client.get(self.PAGE).content.decode()
        assert "my script" in page
        assert "anns" not in page

    def test_rotates_no_key_into_force_again_that_is_revoked_at_the_same_time(self, client: Client, bob: User) -> None:
        self.create(client)

        with changed_meanwhile(enabled=False):
            client.post(self.PAGE, {"action": "rotate", "key": str(ApiKey.objects.get().pk)})

        assert not ApiKey.objects.get().enabled

    def test_refuses_others(self, client: Client, bob: User) -> None:
        assert Client().get(self.PAGE)["Location"] == "/login/?next=%2Fkeys%2F"
        assert Client(enforce_csrf_checks=True).post(self.PAGE).status_code == 403

        bob.groups.clear()

        assert client.get(self.PAGE).status_code == 403
        assert client.post(self.PAGE, {"action": "create", "name": "x", "days": "0"}).status_code == 403
        assert not ApiKey.objects.exists()

    def test_says_what_is_wrong_with_a_new_key(self, client: Client, bob: User) -> None:
        page = client.post(self.PAGE, {"action": "create", "name": "", "days": "7"}).content.decode()

        assert "This field is required." in page
        assert "Select a valid choice. 7 is not one of the available choices." in page
        assert not ApiKey.objects.exists()

    def test_makes_no_more_than_a_number_of_keys(
        self, client: Client, bob: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(own_keys, "MAX_KEYS", 1)
        self.create(client)

        page = client.post(self.PAGE, {"action": "create", "name": "another", "days": "0"}).content.decode()

        assert "You have 1 keys: revoke one first." in page

    def test_is_linked_for_those_who_may_use_it(self, client: Client, bob: User) -> None:
        assert 'href="/keys/"' in client.get("/").content.decode()
        bob.groups.clear()
        assert 'href="/keys/"' not in client.get("/").content.decode()

    def test_is_in_chinese_too(self, client: Client, bob: User) -> None:
        self.create(client)

        page = client.get(self.PAGE, headers={"Accept-Language": "zh-hans"}).content.decode()

        assert all(text in page for text in ("你的 API 密钥", "轮换", "吊销", "90 天后", "最近使用"))
