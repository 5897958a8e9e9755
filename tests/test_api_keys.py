"""API keys: created in the admin or by a command, shown once, and revoked."""

from __future__ import annotations

import re
from io import StringIO

import httpx
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

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
            ([], ["x"], "There is no superuser"),
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

    code = "from streaming.models import ApiKey; ApiKey.objects.update(enabled=False)"
    assert manage(site.folder, "shell", "-c", code).returncode == 0
    eventually(lambda: httpx.post(address, headers=headers).status_code == 401, "the key is refused")
