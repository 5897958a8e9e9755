"""The system checks of ``manage.py check``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.checks import CheckMessage, run_checks

from streaming import checks, conf
from streaming.upstream_settings import read_config
from tests.conftest import manage


def ids(messages: Any) -> list[str]:
    return [message.id for message in messages]


def test_daphne_has_to_be_the_first_installed_app(settings: Any) -> None:
    assert checks.check_daphne_is_first(None) == []

    settings.INSTALLED_APPS = ["django.contrib.staticfiles", "daphne"]

    (warning,) = checks.check_daphne_is_first(None)
    assert warning.id == "streaming.W001"
    assert "cannot stream" in warning.msg


@pytest.mark.parametrize(("access", "found"), [("login", []), ("public", []), ("local", ["E003"]), ("all", ["E003"])])
def test_an_unknown_access_mode_is_an_error(settings: Any, access: str, found: list[str]) -> None:
    settings.STREAMING_ACCESS = access

    assert ids(checks.check_access(None)) == [f"streaming.{code}" for code in found]


@pytest.mark.parametrize(("readers", "found"), [("staff", []), ("public", []), ("everyone", ["streaming.E011"])])
def test_unknown_readers_of_the_metrics_are_an_error(settings: Any, readers: str, found: list[str]) -> None:
    settings.STREAMING_METRICS = readers

    assert ids(checks.check_metrics(None)) == found


@pytest.mark.parametrize(
    ("access", "debug", "found"), [("public", False, ["streaming.W002"]), ("public", True, []), ("login", False, [])]
)
def test_public_access_in_production_is_a_warning(settings: Any, access: str, debug: bool, found: list[str]) -> None:
    settings.STREAMING_ACCESS, settings.DEBUG = access, debug

    assert ids(checks.check_access_for_deployment(None)) == found


NUMBERS = re.findall(r'_number\("(\w+)"', Path(conf.__file__).read_text("utf-8"))
LISTS = ["STREAMING_ALLOWED_ORIGINS", "STREAMING_TRUSTED_PROXIES"]


@pytest.mark.django_db  # which Django 6's checks of fields ask what it supports
class TestASettingOfTheWrongKind:
    @pytest.mark.parametrize("value", [None, "soon", "", [], {"a": 1}, float("nan"), float("inf")], ids=repr)
    @pytest.mark.parametrize("name", NUMBERS)
    def test_is_one_error_if_it_has_to_be_a_number(self, settings: Any, name: str, value: object) -> None:
        setattr(settings, name, value)

        (error,) = ours(run_checks())
        assert error.msg.startswith(f"{name} is {value}" if isinstance(value, float) else f"{name} is {value!r}")
        assert "it has to be " in error.msg

    @pytest.mark.parametrize("value", [None, "127.0.0.1", 5, [5], {"127.0.0.1": 1}], ids=repr)
    @pytest.mark.parametrize("name", LISTS)
    def test_is_one_error_if_it_has_to_be_a_list(self, settings: Any, name: str, value: object) -> None:
        setattr(settings, name, value)

        (error,) = ours(run_checks())
        assert error.msg == f"{name} is {value!r}: it has to be a list of strings."

    @pytest.mark.parametrize("value", [None, "https://llm", ["https://llm"], {"default": "https://llm"}], ids=repr)
    def test_is_one_error_if_it_has_to_be_a_dict_and_says_no_secret(self, settings: Any, value: object) -> None:
        settings.STREAMING_UPSTREAMS = value

        (error,) = ours(run_checks())
        assert error.msg == "STREAMING_UPSTREAMS has to be a dict from names to dicts, like DATABASES."

    async def test_is_a_500_that_says_where_to_look(self, settings: Any, async_client: Any) -> None:
        settings.STREAMING_UPSTREAMS = ["https://llm"]

        response = await async_client.post("/transfer", {"prompt": "Hello"}, content_type="application/json")

        assert response.status_code == 500
        assert response.json()["detail"] == "the site's settings are wrong: 'manage.py check' says which"


def ours(messages: Iterable[CheckMessage]) -> list[CheckMessage]:
    return [message for message in messages if str(message.id).startswith("streaming.")]


def test_an_invalid_upstream_is_an_error(settings: Any) -> None:
    settings.STREAMING_UPSTREAMS = {"good": {"URL": "http://x"}}
    assert checks.check_upstreams(None) == []

    settings.STREAMING_UPSTREAMS = {"good": {"URL": "http://x"}, "bad": {"URL": "x"}, "worse": {}}

    errors = checks.check_upstreams(None)
    assert ids(errors) == ["streaming.E001"] * 2
    assert "STREAMING_UPSTREAMS['bad']['URL']" in errors[0].msg


def words(messages: Any) -> str:
    return "\n".join(f"{message.id}: {message.msg} {message.hint or ''}" for message in messages)


@pytest.mark.parametrize(
    ("url", "is_doubtful"),
    [
        ("https://api.openai.com/v1", True),
        ("http://127.0.0.1:11434", True),
        ("http://127.0.0.1:8080/v1/", True),
        ("https://llm.example/v1/chat/completions", True),
        ("https://streams.example/stream", False),
        ("https://streams.example/v1/streams", False),
    ],
)
def test_an_openai_url_without_a_format_is_a_warning(settings: Any, url: str, is_doubtful: bool) -> None:
    settings.STREAMING_UPSTREAMS = {"default": {"URL": url}, "openai": {"URL": url, "FORMAT": "openai"}}

    messages = checks.check_upstreams(None)

    assert ids(messages) == (["streaming.W003"] if is_doubtful else [])
    assert "['openai']" not in words(messages)


def test_a_header_that_is_never_forwarded_cannot_be_listed(settings: Any) -> None:
    settings.STREAMING_UPSTREAMS = {"default": {"URL": "http://x", "FORWARD": ["Host", "X-Trace", "TE", "Cookie"]}}

    assert words(checks.check_upstreams(None)).startswith(
        "streaming.W004: STREAMING_UPSTREAMS['default']['FORWARD'] names host, te, which"
    )


@pytest.mark.parametrize("key", ["VERIFY", "CERT"])
def test_tls_files_have_to_be_certificates(settings: Any, key: str) -> None:
    settings.STREAMING_UPSTREAMS = {"default": {"URL": "https://x", key: __file__}}

    messages = checks.check_upstreams(None)

    assert ids(messages) == ["streaming.E005"]
    assert "VERIFY or CERT of STREAMING_UPSTREAMS['default'] cannot be used: " in words(messages)


def test_an_unsupported_proxy_is_named_without_its_password(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STREAMING_UPSTREAMS = {"far": {"URL": "https://x"}, "near": {"URL": "http://127.0.0.1:1"}}
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@proxy:1080")

    messages = checks.check_upstreams(None)

    assert ids(messages) == ["streaming.W005"]
    assert "the kind 'socks5' is not known" in words(messages)
    assert "secret" not in words(messages)


@pytest.mark.parametrize("entry", ["proxy.example", "10.0.0.0/33", "10.0.0.1:80", ""])
def test_trusted_proxies_have_to_be_addresses_or_networks(settings: Any, entry: str) -> None:
    settings.STREAMING_TRUSTED_PROXIES = ["10.0.0.0/8", "::1", "unix"]
    assert checks.check_trusted_proxies(None) == []

    settings.STREAMING_TRUSTED_PROXIES = ["10.0.0.0/8", entry]

    assert ids(checks.check_trusted_proxies(None)) == ["streaming.E004"]
    assert repr(entry) in words(checks.check_trusted_proxies(None))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        (
            "ALLOWED_HOSTS",
            ["*", ".streams.example", "streams.example", "127.0.0.1", "[::1]"],
            ["https://streams.example", "streams.example:8000", " streams.example", "streams.example/", ""],
        ),
        (
            "CSRF_TRUSTED_ORIGINS",
            ["https://streams.example", "https://*.streams.example", "http://127.0.0.1:8000"],
            ["https://streams.example/", "https://streams.example ", "https://streams.example/app"],
        ),
        (
            "STREAMING_ALLOWED_ORIGINS",
            ["https://app.example", "http://localhost:5173"],
            ["*", "app.example", "https://app.example/", "https://app.example, https://b.example"],
        ),
    ],
)
def test_hosts_and_origins_that_can_never_match_are_warnings(
    settings: Any, name: str, right: list[str], wrong: list[str]
) -> None:
    setattr(settings, name, right)
    assert checks.check_hosts_and_origins(None) == []

    setattr(settings, name, [*right, *wrong])

    messages = checks.check_hosts_and_origins(None)
    assert ids(messages) == ["streaming.W008"] * len(wrong)
    assert all(f"{name} has {entry!r}, which matches nothing" in words(messages) for entry in wrong)


class TestUnknownNames:
    def test_of_settings_are_reported(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAM = {}
        settings.STREAMING_PURPLE = 1

        assert words(checks.check_names(None)).splitlines() == [
            "streaming.W006: The setting STREAMING_PURPLE means nothing to this project. ",
            "streaming.W006: The setting STREAMING_UPSTREAM means nothing to this project. "
            "Is STREAMING_UPSTREAMS meant?",
        ]

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("UPSTREAM_MODEL", "UPSTREAM_MODELS"),
            ("UPSTREAM_APIKEY", "UPSTREAM_API_KEY"),
            ("STREAMING_ALLOWED_ORIGIN", "STREAMING_ALLOWED_ORIGINS"),
            ("STREAMING_ACESS", "STREAMING_ACCESS"),
        ],
    )
    def test_of_environment_variables_are_reported(
        self, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
    ) -> None:
        monkeypatch.setenv(name, "x")

        said = words(checks.check_names(None))

        assert said == f"streaming.W006: The variable {name} means nothing to this project. Is {meant} meant?"

    def test_of_an_upstreams_further_settings_name_where_those_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UPSTREAM_VERIFY", "false")

        said = words(checks.check_names(None))

        assert said.startswith("streaming.W006: The variable UPSTREAM_VERIFY means nothing to this project.")
        assert "STREAMING_UPSTREAMS can say more of an upstream" in said

    def test_do_not_include_the_variable_of_an_upstreams_key(
        self, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        monkeypatch.setenv("UPSTREAM_TWO_KEY", "x")
        settings.STREAMING_UPSTREAMS = {"two": {"URL": "http://x", "API_KEY_ENV": "UPSTREAM_TWO_KEY"}}

        assert checks.check_names(None) == []

    def test_are_not_reported_in_a_project_that_reads_no_environment(
        self, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        monkeypatch.setenv("UPSTREAM_MODEL", "x")
        del settings.STREAMING_ENVIRONMENT

        assert checks.check_names(None) == []

    def test_are_named_in_a_project_that_has_django_settings_for_them(
        self, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        del settings.STREAMING_ENVIRONMENT
        monkeypatch.setenv("UPSTREAM_URL", "http://x")
        monkeypatch.setenv("STREAMING_ACCESS", "public")
        del settings.STREAMING_ACCESS

        assert words(checks.check_names(None)).splitlines() == [
            f"streaming.W011: The variable {name} has no effect: this project's settings do not read it. "
            f"In the settings: {name} = os.environ['{name}'], or the value itself."
            for name in ("STREAMING_ACCESS", "UPSTREAM_URL")
        ]

        settings.STREAMING_UPSTREAMS = {"default": {"URL": "http://x"}}
        settings.STREAMING_ACCESS = "login"

        assert checks.check_names(None) == []

    def test_of_another_app_are_not_reported(self, settings: Any) -> None:
        settings.UPSTREAM_QUOTA = 3
        assert checks.check_names(None) == []

        settings.UPSTREAM_MODEL = "x"
        assert "The setting UPSTREAM_MODEL means nothing to this project. Is UPSTREAM_MODELS meant?" in words(
            checks.check_names(None)
        )

    def test_include_a_url_beside_another_default(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        monkeypatch.setenv("UPSTREAM_URL", "http://x")
        settings.STREAMING_UPSTREAMS = {"default": {"URL": "http://x"}}
        assert checks.check_names(None) == []

        settings.STREAMING_UPSTREAMS = {"default": {"URL": "http://y"}}
        assert "UPSTREAM_URL has no effect, because STREAMING_UPSTREAMS has" in words(checks.check_names(None))

    @pytest.mark.parametrize("name", ["UPSTREAM_MODELS", "UPSTREAM_FORMAT", "UPSTREAM_API_KEY", "UPSTREAM_PROXY"])
    def test_include_upstream_variables_without_a_url(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(name, "1")

        assert (
            words(checks.check_names(None))
            == f"streaming.W007: {name} has no effect, because UPSTREAM_URL is not set. "
        )


class TestTheShortWayToOneUpstream:
    """The settings of a project that has no environment variables for them."""

    @pytest.fixture(autouse=True)
    def _project(self, settings: Any) -> None:
        del settings.STREAMING_ENVIRONMENT, settings.STREAMING_UPSTREAMS

    def test_is_read_from_django_settings(self, settings: Any) -> None:
        settings.UPSTREAM_URL, settings.UPSTREAM_FORMAT = "http://llm/v1", "openai"
        settings.UPSTREAM_MODELS, settings.UPSTREAM_API_KEY, settings.UPSTREAM_PROXY = "a, b", "sk-1", True

        upstream = read_config("default", conf.upstreams()["default"])

        assert (upstream.url, upstream.format, upstream.models) == ("http://llm/v1", "openai", ("a", "b"))
        assert upstream.headers == {"Authorization": "Bearer sk-1"}
        assert upstream.is_open_to_proxy
        assert [*checks.check_upstreams(None), *checks.check_names(None)] == []

    def test_gives_way_to_an_entry_of_that_name(self, settings: Any) -> None:
        settings.UPSTREAM_URL = "http://short"
        settings.STREAMING_UPSTREAMS = {"default": {"URL": "http://long"}, "two": {"URL": "http://two"}}

        assert {name: entry["URL"] for name, entry in conf.upstreams().items()} == {
            "default": "http://long",
            "two": "http://two",
        }
        assert ids(checks.check_names(None)) == ["streaming.W007"]

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ({"UPSTREAM_URL": "http://llm/v1"}, "streaming.W003"),
            ({"UPSTREAM_URL": "llm:8000"}, "UPSTREAM_URL is 'llm:8000': it has to be like http://host:port/path"),
            ({"UPSTREAM_URL": "http://llm", "UPSTREAM_FORMAT": "opnai"}, "is 'opnai': it may be native, openai, text"),
            ({"UPSTREAM_MODELS": ["a"]}, "UPSTREAM_MODELS has no effect, because UPSTREAM_URL is not set"),
            ({"UPSTREAM_URL": "http://llm", "UPSTREAM_TOKEN": "x"}, "The setting UPSTREAM_TOKEN means nothing"),
            (
                {"UPSTREAM_URL": "http://llm", "UPSTREAM_PROXY": "off"},
                "UPSTREAM_PROXY is 'off': it has to be true or false",
            ),
        ],
    )
    def test_is_checked(self, settings: Any, written: dict[str, Any], said: str) -> None:
        for name, value in written.items():
            setattr(settings, name, value)

        messages = [*checks.check_upstreams(None), *checks.check_names(None)]

        assert len(messages) == 1
        assert said in words(messages)


def test_missing_browser_libraries_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_the_browser_library_is_there(None) == []

    monkeypatch.setattr(finders, "find", lambda path: None)

    assert ids(checks.check_the_browser_library_is_there(None)) == ["streaming.E002"]


def test_the_default_site_has_no_warnings(tmp_path: Path) -> None:
    run = manage(tmp_path, "check")

    assert (run.returncode, run.stderr) == (0, "")
    assert "no issues" in run.stdout


def test_each_mistake_in_the_environment_is_one_sentence(tmp_path: Path) -> None:
    run = manage(
        tmp_path,
        "check",
        UPSTREAM_URL="https://api.openai.com/v1",
        UPSTREAM_MODEL="gpt",
        ALLOWED_HOSTS="https://streams.example",
        STREAMING_TRUSTED_PROXIES="10.0.0.0/8,proxy",
    )

    found = re.findall(r"streaming\.[EW]\d+", run.stderr)
    assert sorted(set(found)) == ["streaming.E004", "streaming.W003", "streaming.W006", "streaming.W008"]
    assert "Is UPSTREAM_MODELS meant?" in run.stderr


@pytest.mark.parametrize(
    ("prefix", "is_fine"),
    [(None, True), ("/ai", True), ("/a/b", True), ("ai", False), ("/ai/", False), ("/", False), ("http://x/ai", False)],
)
def test_a_prefix_begins_with_a_slash_and_ends_without_one(settings: Any, prefix: str | None, is_fine: bool) -> None:
    settings.FORCE_SCRIPT_NAME = prefix

    assert ids(checks.check_script_name(None)) == ([] if is_fine else ["streaming.E014"])


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    run = manage(tmp_path, "check", UPSTREAM_URL="http://127.0.0.1:9", UPSTREAM_FORMAT="xml")

    assert run.returncode == 1
    assert "UPSTREAM_FORMAT is 'xml'" in run.stderr


class TestTheProjectAround:
    def test_has_to_name_its_asgi_application(self, settings: Any) -> None:
        assert checks.check_asgi(None) == []

        settings.ASGI_APPLICATION = None

        assert "ASGI_APPLICATION is not set" in words(checks.check_asgi(None))

    def test_has_to_wrap_its_asgi_application(
        self, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "plain_project_asgi.py").write_text("application = None\n")
        monkeypatch.syspath_prepend(tmp_path)
        settings.ASGI_APPLICATION = "plain_project_asgi.application"

        assert "plain_project_asgi does not use streaming.asgi" in words(checks.check_asgi(None))

    def test_has_to_include_the_urls(self, settings: Any) -> None:
        assert checks.check_urls(None) == []

        settings.ROOT_URLCONF = "django.contrib.auth.urls"

        assert ids(checks.check_urls(None)) == ["streaming.W012"]
        assert "django.contrib.auth.urls does not include streaming.urls" in words(checks.check_urls(None))
        assert "urlpatterns += [path('ai/', include('streaming.urls'))]" in words(checks.check_urls(None))

    def test_needs_the_middleware_that_knows_users(self, settings: Any) -> None:
        settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if "Authentication" not in path]

        assert ids(checks.check_middleware(None)) == ["streaming.E008"]

    def test_is_warned_of_middleware_that_is_only_synchronous(self, settings: Any) -> None:
        assert checks.check_middleware(None) == []

        settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.OnlySynchronous"]

        assert f"{__name__}.OnlySynchronous, which is only synchronous" in words(checks.check_middleware(None))

    def test_is_told_how_to_install_redis(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.REDIS_URL = "redis://localhost"
        assert checks.check_redis(None) == []

        monkeypatch.setattr(checks, "find_spec", lambda name: None)

        assert "pip install 'django-streaming-llm[redis]'" in words(checks.check_redis(None))

    @pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://:secret@localhost:port"])
    def test_is_told_that_the_address_of_redis_is_wrong(self, settings: Any, url: str) -> None:
        settings.REDIS_URL = url

        assert "REDIS_URL has to be like redis://" in words(checks.check_redis(None))
        assert "secret" not in words(checks.check_redis(None))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("STREAMING_GRACE", value) for value in (-1, float("inf"), float("nan"))),
        ("STREAMING_KEEP", -1),
        ("STREAMING_JOURNAL_BYTES", 0),
        ("STREAMING_JOURNAL_TOTAL", 1_000_000),  # less than one stream may have
    ],
)
def test_sizes_and_times_of_the_journal_that_make_no_sense_are_reported(settings: Any, name: str, value: float) -> None:
    assert checks.check_times_and_sizes(None) == []
    settings.STREAMING_GRACE = settings.STREAMING_KEEP = 0
    assert checks.check_times_and_sizes(None) == []

    setattr(settings, name, value)

    assert f"{name} is " in words(checks.check_times_and_sizes(None))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STREAMING_MAX_STREAMS", -1),
        ("STREAMING_STREAMS_PER_CALLER", -1),
        ("STREAMING_STREAMS_PER_ADDRESS", -5),
        ("STREAMING_REQUESTS_PER_MINUTE", -1),
        ("STREAMING_TOKENS_PER_DAY", -1),
        ("STREAMING_MAX_PROMPT_CHARS", -1),
        ("STREAMING_MAX_MESSAGE_CHARS", -1),
        ("STREAMING_MAX_STREAM_BYTES", -1),
        ("STREAMING_MAX_STREAM_SECONDS", float("nan")),
    ],
)
def test_limits_below_zero_are_reported(settings: Any, name: str, value: float) -> None:
    setattr(settings, name, 0)
    assert checks.check_limits(None) == []

    setattr(settings, name, value)

    assert f"{name} is {value:g}: it has to be above 0, or 0 for no limit." in words(checks.check_limits(None))


class OnlySynchronous:
    """Middleware as it was written before Django could be asynchronous."""
