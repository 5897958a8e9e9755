"""The setting STREAMING_UPSTREAMS, and how a model selects its upstream."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from streaming import upstream_settings
from streaming.upstream_settings import Timeouts, read_config


class TestTheSettings:
    def test_have_sensible_defaults(self) -> None:
        read = read_config("x", {"URL": "http://localhost:9000/v1"})

        assert (read.name, read.url, read.format, read.models) == ("x", "http://localhost:9000/v1", "native", ())
        assert read.timeouts == Timeouts(connect=5, head=15, idle=60, total=None)
        assert (read.headers, read.forward, read.verify) == ({}, frozenset(), True)
        assert read.concurrency is None

    def test_are_all_read(self) -> None:
        entry = {
            "URL": "https://[::1]:8443",
            "FORMAT": "openai",
            "HEADERS": {"Authorization": "x"},
            "MODEL": "m",
            "MODELS": ["n", "m"],
            "CONCURRENCY": 3,
            "TIMEOUTS": {"idle": None, "total": 600},
            "FORWARD": ["Cookie"],
            "VERIFY": False,
        }

        read = read_config("x", entry)

        assert read.timeouts == Timeouts(idle=None, total=600)
        assert (read.headers, read.forward, read.verify) == ({"Authorization": "x"}, {"cookie"}, False)
        assert (read.models, read.concurrency) == (("m", "n"), 3)

    @pytest.mark.parametrize(
        ("entry", "secrets"),
        [
            ({"HEADERS": {"Authorization": "Bearer sk-secret"}}, {"sk-secret"}),
            ({"HEADERS": {"Authorization": "Basic dXNlcjpwYS9zc3dvcmQ="}}, {"dXNlcjpwYS9zc3dvcmQ=", "pa/ssword"}),
            ({"HEADERS": {"Cookie": "first=secret1; second=secret2"}}, {"secret1", "secret2"}),
            ({"HEADERS": {"X-Session": 'Token token="secret3"'}}, {"secret3"}),
            ({"HEADERS": {"X-Account": "0123456789abcdef0123"}}, {"0123456789abcdef0123"}),
            ({"PROXY_URL": "http://user:pass%2Fword@proxy:3128"}, {"pass%2Fword", "pass/word"}),
            ({"URL": "https://gateway/k0123456789abcdefg/v1"}, {"k0123456789abcdefg"}),
        ],
    )
    def test_hold_secrets_in_headers_and_addresses(self, entry: dict[str, Any], secrets: set[str]) -> None:
        assert secrets <= set(read_config("x", {"URL": "http://x", **entry}).secrets)

    def test_hold_much_that_is_no_secret(self) -> None:
        headers = {
            "Anthropic-Version": "2023-06-01",
            "X-Title": "Authorization of people",
            "Accept": "text/event-stream",
        }
        beta = {"Anthropic-Beta": "prompt-caching-2024-07-31", "X-Request": "550e8400-e29b-41d4-a716-446655440000"}

        assert (
            read_config("x", {"URL": "http://model-server.internal:8080/v1beta1", "HEADERS": headers | beta}).secrets
            == ()
        )

    def test_take_the_key_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("A_KEY", "k\n")

        read = read_config("x", {"URL": "http://x", "API_KEY_ENV": "A_KEY", "HEADERS": {"X-A": "1"}})

        assert read.headers == {"Authorization": "Bearer k", "X-A": "1"}

    @pytest.mark.parametrize(
        ("entry", "word"),
        [
            ({}, "URL"),
            ({"URL": "localhost:8000"}, "URL"),
            ({"URL": "ftp://x"}, "URL"),
            ({"URL": "http://"}, "URL"),
            ({"URL": "http://:80"}, "URL"),
            ({"URL": "http://x:port"}, "URL"),
            ({"URL": "http://x:99999"}, "URL"),
            ({"URL": "http://[::1"}, "URL"),
            ({"URL": "http://x/?a=b"}, "URL"),
            ({"URL": "http://x/#a"}, "URL"),
            ({"URL": "http://x/a b"}, "URL"),
            ({"URL": None}, "URL"),
            ({"URL": "http://x", "FORMAT": "xml"}, "FORMAT"),
            ({"URL": "http://x", "FORMAT": ["native"]}, "FORMAT"),
            ({"URL": "http://x", "url": "http://y"}, "'url'"),
            ({"URL": "http://x", "TIMEOUTS": {"read": 5}}, "TIMEOUTS"),
            ({"URL": "http://x", "TIMEOUTS": {"idle": "5"}}, "TIMEOUTS"),
            ({"URL": "http://x", "TIMEOUTS": {"head": None}}, "TIMEOUTS"),
            ({"URL": "http://x", "TIMEOUTS": 5}, "TIMEOUTS"),
            ({"URL": "http://x", "HEADERS": ["Authorization"]}, "HEADERS"),
            ({"URL": "http://x", "HEADERS": {"X-Key": "a\nb"}}, "has to be one line of text"),
            ({"URL": "http://x", "HEADERS": {"X-Key": 5}}, "has to be one line of text"),
            ({"URL": "http://x", "HEADERS": {"X Key": "a"}}, "'X Key', which is no name of a header"),
            ({"URL": "http://x", "API_KEY_ENV": "OF_TWO_LINES"}, "'OF_TWO_LINES', which has not one line with a key"),
            ({"URL": "http://x", "FORWARD": "Authorization"}, "FORWARD"),
            ({"URL": "http://x", "API_KEY_ENV": "NOBODY_HAS_SET_IT"}, "NOBODY_HAS_SET_IT"),
            ({"URL": "http://x", "MODELS": "m"}, "MODELS"),
            ({"URL": "http://x", "MODELS": ["m", 5]}, "MODELS"),
            ({"URL": "http://x", "MODEL": 5}, "MODEL"),
            ({"URL": "http://x", "CONCURRENCY": 0}, "CONCURRENCY"),
            ({"URL": "http://x", "CONCURRENCY": "5"}, "CONCURRENCY"),
            ({"URL": "http://x", "CONCURRENCY": True}, "CONCURRENCY"),
            ({"URL": "http://x "}, "a space at its beginning or end"),
            ({"URL": "http://me:secret@x/v1"}, "a password in it"),
            ({"URL": "http://key@x/v1"}, "a password in it"),
            ({"URL": "http://x", "FROMAT": "openai"}, "is 'FORMAT' meant?"),
            ({"URL": "http://x", "url": "http://y"}, "is 'URL' meant?"),
            ({"URL": "http://x", "PROXY": "yes"}, "PROXY"),
            ({"URL": "http://x", "PROXY": 1}, "PROXY"),
            ({"URL": "http://x", "FORWARD": [3]}, "FORWARD"),
            ({"URL": "http://x", "FORWARD": ["X Y"]}, "FORWARD"),
            ({"URL": "https://x", "VERIFY": "false"}, "it has to be true, false, or the file"),
            ({"URL": "https://x", "VERIFY": ""}, "VERIFY"),
            ({"URL": "https://x", "VERIFY": 0}, "VERIFY"),
            ({"URL": "https://x", "VERIFY": None}, "VERIFY"),
            ({"URL": "https://x", "VERIFY": "/nowhere/ca.pem"}, "VERIFY"),
            ({"URL": "https://x", "CERT": "/nowhere/cert.pem"}, "CERT"),
            ({"URL": "https://x", "CERT": [__file__, __file__, __file__]}, "CERT"),
            ({"URL": "https://x", "CERT": {"cert": __file__}}, "CERT"),
            ({"URL": "https://x", "CERT": [3]}, "CERT"),
            ({"URL": "unix:llm.sock"}, "unix:///run/llm.sock"),
            ({"URL": "unix://run/llm.sock?a=b"}, "unix:///run/llm.sock"),
            ({"URL": "http://x", "UDS": "llm.sock"}, "UDS"),
            ({"URL": "http://x", "UDS": 3}, "UDS"),
            ({"URL": "https://x", "UDS": "/run/llm.sock"}, "UDS"),
            ({"URL": "http://x", "PROXY_URL": "proxy:3128"}, "PROXY_URL"),
            ({"URL": "http://x", "PROXY_URL": "socks5://me:secret@proxy:1080"}, "PROXY_URL"),
            ({"URL": "http://x", "PROXY_URL": 3}, "PROXY_URL"),
        ],
    )
    def test_that_are_invalid_are_named(
        self, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any], word: str
    ) -> None:
        monkeypatch.setenv("OF_TWO_LINES", "secret\nsecret")
        with pytest.raises(ImproperlyConfigured, match=word) as wrong:
            read_config("x", entry)

        assert "STREAMING_UPSTREAMS['x']" in str(wrong.value)
        assert "secret" not in str(wrong.value)

    @pytest.mark.parametrize(
        ("entry", "url", "socket"),
        [
            ({"URL": "unix:///run/llm.sock"}, "http://localhost", "/run/llm.sock"),
            ({"URL": "unix:/run/llm.sock:/v1"}, "http://localhost/v1", "/run/llm.sock"),
            ({"URL": "http://llm.example/v1", "UDS": "/run/llm.sock"}, "http://llm.example/v1", "/run/llm.sock"),
            ({"URL": "http://llm.example/v1", "UDS": ""}, "http://llm.example/v1", ""),
        ],
    )
    def test_can_name_a_unix_socket(self, entry: dict[str, Any], url: str, socket: str) -> None:
        read = read_config("x", entry)

        assert (read.url, read.socket) == (url, socket)

    @pytest.mark.parametrize(
        ("entry", "verify", "cert"),
        [
            ({}, True, ()),
            ({"VERIFY": False}, False, ()),
            ({"VERIFY": __file__}, __file__, ()),
            ({"CERT": __file__}, True, (__file__,)),
            ({"CERT": [__file__, __file__]}, True, (__file__, __file__)),
            ({"CERT": None}, True, ()),
        ],
    )
    def test_can_name_tls_authorities_and_a_client_certificate(
        self, entry: dict[str, Any], verify: object, cert: tuple[str, ...]
    ) -> None:
        read = read_config("x", {"URL": "https://x", **entry})

        assert (read.verify, read.cert) == (verify, cert)

    @pytest.mark.parametrize(
        ("entry", "proxy"),
        [({}, None), ({"PROXY_URL": ""}, ""), ({"PROXY_URL": None}, ""), ({"PROXY_URL": "http://p:1"}, "http://p:1")],
    )
    def test_can_name_a_proxy(self, entry: dict[str, Any], proxy: str | None) -> None:
        assert read_config("x", {"URL": "https://x", **entry}).proxy_url == proxy

    def test_do_not_open_an_upstream_to_the_proxy_view_by_default(self) -> None:
        assert not read_config("x", {"URL": "http://x"}).is_open_to_proxy
        assert read_config("x", {"URL": "http://x", "PROXY": True}).is_open_to_proxy

    def test_list_the_default_upstream_first(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"other": {"URL": "http://x"}}

        assert upstream_settings.names() == ["default", "other"]


class TestModels:
    @pytest.fixture(autouse=True)
    def two(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {
            "native": {"URL": "http://x", "MODEL": "not-one"},
            "one": {"URL": "http://x", "FORMAT": "openai", "MODELS": ["a", "b"]},
            "two": {"URL": "http://x", "FORMAT": "openai", "MODELS": ["b", "c/d"]},
        }

    def test_are_those_of_openai_upstreams(self) -> None:
        assert upstream_settings.models() == {
            "a": ("one", "a"),
            "b": ("one", "b"),
            "c/d": ("two", "c/d"),
        }

    @pytest.mark.parametrize(
        ("model", "found"),
        [
            ("b", [("one", "b"), ("two", "b")]),
            ("two/b", [("two", "b")]),
            ("one/a", [("one", "a")]),
            ("c/d", [("two", "c/d")]),
            ("none", []),
            ("one/none", []),
            ("not-one", []),
        ],
    )
    def test_select_their_upstreams(self, model: str, found: object) -> None:
        assert self.find(model) == found

    def test_can_have_any_name_if_an_upstream_lists_none(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS["any"] = {"URL": "http://x", "FORMAT": "openai"}

        assert self.find("a") == [("one", "a")]
        assert self.find("what/ever") == [("any", "what/ever")]

    @staticmethod
    def find(model: str) -> list[tuple[str, str]]:
        return [(route.upstream.name, route.model) for route in upstream_settings.find_routes(model)]


@pytest.mark.parametrize(
    ("entry", "idle"),
    [
        ({}, 60),
        ({"FORMAT": "text"}, 60),
        ({"FORMAT": "openai"}, 600),
        ({"FORMAT": "openai", "TIMEOUTS": {"idle": 7}}, 7),
        ({"FORMAT": "openai", "TIMEOUTS": {"idle": None}}, None),
        ({"FORMAT": "openai", "TIMEOUTS": {"head": 7}}, 600),
    ],
)
def test_an_openai_upstream_has_an_idle_timeout_of_ten_minutes_by_default(
    entry: dict[str, Any], idle: float | None
) -> None:
    assert read_config("x", {"URL": "http://localhost", **entry}).timeouts.idle == idle
