"""Parameters, bodies and paths of requests, and the messages that refuse them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncRequestFactory
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import BadRequest
from streaming.requests import (
    BODY_IN_SCOPE,
    is_reconnect,
    raw_path_after,
    read_playback,
    streaming_body,
)
from streaming.sources import DOCUMENTS, Playback

factory = AsyncRequestFactory()


def query(text: str) -> HttpRequest:
    return factory.get(f"/stream?{text}")


def post(body: bytes | dict[str, Any], address: str = "/stream", kind: str = "application/json") -> HttpRequest:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return factory.generic("POST", address, data, content_type=kind)


class TestStreamParameters:
    def test_are_all_optional(self) -> None:
        form = read_playback(query(""))

        assert form.playback == Playback("tour", 0.5, 30, None)
        assert (form.is_full, form.is_openai) == (False, False)

    def test_can_all_be_given_in_the_query(self) -> None:
        form = read_playback(query("document=poem&mode=full&interval=0.25&step=7&seed=-3&format=native&other=1"))

        assert form.playback == Playback("poem", 0.25, 7, -3)
        assert (form.is_full, form.is_openai) == (True, False)

    def test_can_all_be_given_in_json(self) -> None:
        body = {"document": "poem", "mode": "delta", "interval": 0, "step": 10_000, "seed": 0, "format": "openai"}

        form = read_playback(post(body))

        assert form.playback == Playback("poem", 0, 10_000, 0)
        assert (form.is_full, form.is_openai) == (False, True)

    def test_in_json_take_precedence_over_the_query(self) -> None:
        form = read_playback(post({"step": 2, "seed": None}, "/stream?step=1&seed=5&interval=3"))

        assert form.playback == Playback(interval=3, step=2, seed=5)

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_can_name_any_document(self, name: str) -> None:
        assert read_playback(query(f"document={name}")).playback.document == name

    @pytest.mark.parametrize("text", ["interval=0", "interval=60", "step=1", "step=10000", "seed=" + "9" * 100])
    def test_can_be_at_their_limits(self, text: str) -> None:
        assert read_playback(query(text))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("document", "secret"),
            ("document", "../settings"),
            ("mode", "both"),
            ("interval", "-0.1"),
            ("interval", "60.1"),
            ("interval", "nan"),
            ("interval", "inf"),
            ("interval", "1e999"),
            ("interval", "soon"),
            ("step", "0"),
            ("step", "10001"),
            ("step", "1.5"),
            ("step", "9" * 5000),
            ("seed", "x"),
            ("seed", "9" * 5000),
            ("format", "text"),
        ],
    )
    def test_that_are_invalid_are_named(self, name: str, value: str) -> None:
        for request in (query(f"{name}={value}"), post({name: value})):
            with pytest.raises(BadRequest) as refused:
                read_playback(request)

            assert refused.value.status == 400
            assert list(refused.value.errors) == [name]
            assert str(refused.value).startswith(f"{name}: ")

    @pytest.mark.parametrize("value", [True, [1], {"a": 1}, float("nan"), float("inf")])
    @pytest.mark.parametrize("name", ["document", "mode", "interval", "step", "seed", "format"])
    def test_of_a_wrong_type_are_named(self, name: str, value: object) -> None:
        with pytest.raises(BadRequest) as refused:
            read_playback(post({name: value}))

        assert list(refused.value.errors) == [name]

    def test_that_are_invalid_together_are_all_named(self) -> None:
        with pytest.raises(BadRequest) as refused:
            read_playback(query("step=0&interval=x&mode=y"))

        assert set(refused.value.errors) == {"step", "interval", "mode"}

    def test_refuse_full_mode_in_the_openai_format(self) -> None:
        with pytest.raises(BadRequest) as refused:
            read_playback(query("mode=full&format=openai"))

        assert set(refused.value.errors) == {"mode"}

    @pytest.mark.parametrize("body", [b"", b"{}"])
    def test_need_no_body_on_post(self, body: bytes) -> None:
        assert read_playback(post(body)).playback == Playback()

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
    def test_refuse_other_content_types(self, kind: str) -> None:
        with pytest.raises(BadRequest) as refused:
            read_playback(post(b'{"step": 1}', kind=kind))

        assert refused.value.status == 415

    @pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
    def test_accept_any_spelling_of_the_json_content_type(self, kind: str) -> None:
        assert read_playback(post(b'{"step": 1}', kind=kind)).playback.step == 1

    @pytest.mark.parametrize("body", [b"{", b"[]", b"3", b'"a"', b"null", b"\xff\xfe", b"{'a': 1}", b"[" * 500_000])
    def test_have_to_be_a_json_object(self, body: bytes) -> None:
        with pytest.raises(BadRequest, match="JSON"):
            read_playback(post(body))


def test_a_deeply_nested_body_is_refused_at_any_depth() -> None:
    for depth in [*range(800, 1100), 100_000]:
        with pytest.raises(BadRequest):
            read_playback(post(b'{"step":' + b"[" * depth + b"]" * depth + b"}"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from(["document", "mode", "interval", "step", "seed", "format"]) | st.text(max_size=4)


@given(st.dictionaries(fields, json_values, max_size=6) | json_values)
def test_any_json_is_accepted_or_refused(body: Any) -> None:
    try:
        form = read_playback(post(json.dumps(body).encode()))
    except BadRequest as refused:
        json.dumps(refused.errors)
        return

    assert 0 <= form.playback.interval <= 60
    assert 1 <= form.playback.step <= 10_000
    assert form.playback.document in DOCUMENTS


@given(st.binary(max_size=40))
def test_any_bytes_are_accepted_or_refused(body: bytes) -> None:
    try:
        read_playback(post(body))
    except BadRequest as refused:
        assert refused.status == 400


class TestABody:
    def test_that_still_arrives_is_taken_from_the_scope(self) -> None:
        request = post(b"")
        assert streaming_body(request) == b""

        async def body() -> Any:
            yield b"x"

        arriving = body()
        request.scope[BODY_IN_SCOPE] = arriving
        assert streaming_body(request) is arriving


@pytest.mark.parametrize(
    ("request_", "returns"),
    [
        (factory.get("/stream", headers={"Last-Event-ID": "a:1"}), True),
        (factory.get("/stream"), False),
        (factory.post("/stream", headers={"Last-Event-ID": "a:1"}), False),
    ],
    ids=["a GET that says what it saw last", "a GET", "a POST"],
)
def test_recognizes_a_reconnecting_event_source(request_: HttpRequest, returns: bool) -> None:
    assert is_reconnect(request_) is returns


class TestTheRawPath:
    def request(self, raw: str, path: str) -> HttpRequest:
        request = factory.get(path)
        request.scope["raw_path"] = raw.encode("latin-1")
        return request

    @pytest.mark.parametrize(
        ("raw", "path", "rest", "expected"),
        [
            ("/proxy/x/a/b", "/proxy/x/a/b", "a/b", "a/b"),
            ("/proxy/x/a%2Fb?c=/d", "/proxy/x/a/b", "a/b", "a%2Fb"),
            ("/proxy/x/%E4%B8%AD", "/proxy/x/中", "中", "%E4%B8%AD"),
            ("/proxy/x/a%20b/", "/proxy/x/a b/", "a b/", "a%20b/"),
            ("/proxy/x//etc//", "/proxy/x//etc//", "/etc//", "/etc//"),
            ("/proxy/x/a+b;c=1,2", "/proxy/x/a+b;c=1,2", "a+b;c=1,2", "a+b;c=1,2"),
            ("/proxy/x%20y/a", "/proxy/x y/a", "a", "a"),
            ("/proxy/x/", "/proxy/x/", "", ""),
            ("/proxy", "/proxy", "", ""),
        ],
    )
    def test_is_kept_unchanged(self, raw: str, path: str, rest: str, expected: str) -> None:
        assert raw_path_after(self.request(raw, path), rest) == expected

    def test_with_a_quoted_slash_before_it_is_refused(self) -> None:
        with pytest.raises(BadRequest, match="encoded slashes"):
            raw_path_after(self.request("/proxy%2Fx/a/b", "/proxy/x/a/b"), "a/b")

    @pytest.mark.parametrize(("path", "rest"), [("/proxy/x/a/b", "a/b"), ("/proxy/x/中 ?#%", "中 ?#%")])
    def test_is_quoted_again_for_a_server_that_does_not_provide_it(self, path: str, rest: str) -> None:
        request = factory.get("/")
        request.path = path
        request.scope.pop("raw_path", None)

        assert raw_path_after(request, rest) in ("a/b", "%E4%B8%AD%20%3F%23%25")
