"""What a client sends to an upstream in the upstream's own format: whatever parser reads it there, the rules saw it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streaming.errors import PromptBlocked
from streaming.guardrails import moderate_prompt
from streaming.moderation import Rule, RuleSet
from streaming.upstreams import BadPrompt, UnreadablePrompt
from streaming.upstreams.relayed_prompts import moderated_body, moderated_query

RULES = RuleSet([Rule(1, "darn"), Rule(2, "so long", action="block")])

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


async def moderate(fields: dict[str, Any]) -> None:
    await moderate_prompt(fields, RULES)


async def body_after(body: bytes, kind: str = "", encoding: str = "") -> bytes:
    return await moderated_body("first", kind, encoding, body, moderate)


async def query_after(query: str) -> str:
    return await moderated_query("first", query, moderate)


class TestTheQuery:
    @pytest.mark.parametrize("query", ["", "a=%2F&a=2&b", "a=b+c%20d&&=", "q=%E4%B8%AD", "q=a%00b"])
    async def test_stays_as_it_came_where_no_rule_changes_it(self, query: str) -> None:
        assert await query_after(query) == query

    @pytest.mark.parametrize("query", ["prompt=you+darn", "prompt=you%20d%61rn", "darn=1&a", "a=2&b=darn&c=%2F"])
    async def test_is_moderated_in_its_names_and_values(self, query: str) -> None:
        after = await query_after(query)

        assert "darn" not in unquote(after)
        assert parse_qsl(after, keep_blank_values=True) == [
            (name.replace("darn", "••••"), value.replace("darn", "••••"))
            for name, value in parse_qsl(query, keep_blank_values=True)
        ]

    async def test_is_moderated_in_escapes_of_another_format(self) -> None:
        assert unquote(await query_after(r"q=d\u0061rn")) == "q=••••"

    @pytest.mark.parametrize("query", ["prompt=so+long", "prompt=s%6F%20long", "so+long"])
    async def test_is_blocked_like_any_prompt(self, query: str) -> None:
        with pytest.raises(PromptBlocked):
            await query_after(query)

    @pytest.mark.parametrize("query", ["q=%ff", "&".join(["a"] * 10_001)])
    async def test_is_refused_where_it_could_be_read_otherwise(self, query: str) -> None:
        with pytest.raises(BadPrompt):
            await query_after(query)


class TestTheBody:
    @pytest.mark.parametrize(
        ("body", "kind", "after"),
        [
            (b'{"prompt": "a",  "n": 1.50}', JSON, b'{"prompt": "a",  "n": 1.50}'),
            (b'\xef\xbb\xbf{"prompt":  "a"}', JSON, b'\xef\xbb\xbf{"prompt":  "a"}'),
            (b'{"prompt": "d\\u0061rn"}', JSON, b'{"prompt": "\\u2022\\u2022\\u2022\\u2022"}'),
            (b'{"prompt": "d\\u0061rn"}', "a/b", b'{"prompt": "\\u2022\\u2022\\u2022\\u2022"}'),
            (b'{"prompt": "darn", "prompt": "a"}', "", b'{"prompt": "a"}'),
            (
                b'["darn", {"a": "darn"}]',
                JSON,
                b'["\\u2022\\u2022\\u2022\\u2022", {"a": "\\u2022\\u2022\\u2022\\u2022"}]',
            ),
            (b'"you darn"', "", b'"you \\u2022\\u2022\\u2022\\u2022"'),
            (b"you darn", "text/plain; charset=UTF-8", "you ••••".encode()),
            (b"you", "text/plain; charset=iso-8859-1", b"you"),
            (b'{"prompt": "darn"', "", '{"prompt": "••••"'.encode()),
            (b"prompt=a%2Fb+c", FORM, b"prompt=a%2Fb+c"),
            (b"prompt=you+d%61rn&b", FORM, b"prompt=you+%E2%80%A2%E2%80%A2%E2%80%A2%E2%80%A2&b="),
            (b'{"prompt":  "a b"}', FORM, b'{"prompt":  "a b"}'),
            (b'{"prompt": "darn"}', FORM, b'{"prompt": "\\u2022\\u2022\\u2022\\u2022"}'),
            (b"", "image/png", b""),
        ],
    )
    async def test_arrives_as_the_rules_leave_it(self, body: bytes, kind: str, after: bytes) -> None:
        assert await body_after(body, kind) == after

    @pytest.mark.parametrize(
        ("body", "kind", "after"),
        [
            (b'{"prompt": "d\\u0061rn"', "", '{"prompt": "••••"'),
            (b"you d%61rn", "text/plain", "you ••••"),
            (b'"p=d%61rn"', FORM, r'"p=\u2022\u2022\u2022\u2022"'),
        ],
    )
    async def test_is_moderated_in_escapes_of_another_format(self, body: bytes, kind: str, after: str) -> None:
        assert (await body_after(body, kind)).decode() == after

    @pytest.mark.parametrize(
        ("body", "kind"),
        [(b'{"prompt": "so long"}', JSON), (b"p=so+long", FORM), (b"so long", ""), (b"so%20long", "text/plain")],
    )
    async def test_is_blocked_like_any_prompt(self, body: bytes, kind: str) -> None:
        with pytest.raises(PromptBlocked):
            await body_after(body, kind)

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b'{"prompt": "d\\u0061rn"', JSON),
            (b'{"prompt": "a",}', "application/vnd.x+json"),
            (b"prompt=a", JSON),
            (b"[" * 100_000, JSON),
            (b"p=%ff", FORM),
        ],
    )
    async def test_is_refused_where_it_could_be_read_otherwise(self, body: bytes, kind: str) -> None:
        with pytest.raises(BadPrompt):
            await body_after(body, kind)

    @pytest.mark.parametrize(
        ("body", "kind", "encoding"),
        [
            ("darn".encode("utf-16"), "text/plain; charset=utf-16", ""),
            ("darn".encode("utf-16-le"), "", ""),
            (json.dumps({"prompt": "darn"}).encode("utf-32"), JSON, ""),
            (b"+AGQAYQByAG4-", "text/plain; charset=utf-7", ""),
            (b"+AGQAYQByAG4-", "text/plain;charset*=utf-7''utf-7", ""),
            (b"+AGQAYQByAG4-", 'text/plain; charset=utf-8; charset="utf-7"', ""),
            ("verdächtig".encode("latin-1"), "text/plain; charset=iso-8859-1", ""),
            ("大".encode("gbk"), "", ""),
            (b"\xff\x00", "application/octet-stream", ""),
            (b"a", "text/plain", "gzip"),
            (b"<a>d&#97;rn</a>", "application/xml", ""),
            (b'a: "d\\x61rn"', "application/yaml", ""),
            (b"--a\r\n\r\ndarn\r\n--a--", "multipart/form-data; boundary=a", ""),
        ],
    )
    async def test_is_refused_where_nobody_can_tell_how_it_is_read(self, body: bytes, kind: str, encoding: str) -> None:
        with pytest.raises(UnreadablePrompt):
            await body_after(body, kind, encoding)


def readings(body: bytes, kind: str) -> list[str]:
    """All texts that an upstream finds in a body which says that it is of this type, and in one that says nothing."""
    charset = kind.partition("charset=")[2] or "utf-8"
    texts = [body.decode(charset, "replace")]
    for encoding in {charset, "utf-8"}:
        text = body.decode(encoding, "replace")
        if "form" in kind:
            texts += [part for pair in parse_qsl(text, keep_blank_values=True) for part in pair]
    with suppress(ValueError, RecursionError):
        texts += leaves(json.loads(body))
    return texts


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for inner in pair for text in leaves(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in leaves(inner)]
    return [value] if isinstance(value, str) else []


def escaped(word: str) -> st.SearchStrategy[str]:
    """A word, each of its characters written in one of the ways that parsers undo."""
    ways = [lambda c: c, quote, lambda c: f"%{ord(c):02x}", lambda c: f"\\u{ord(c):04x}", str.upper]
    return st.tuples(*(st.sampled_from(ways).map(lambda way, c=c: way(c)) for c in word)).map("".join)  # type: ignore[misc]


words = st.lists(
    escaped("darn")
    | escaped("so long")
    | st.sampled_from(["so+long", "a", " ", "&", "=", "+", '"', "%", "\\", "中", "{"]),
    max_size=5,
).map("".join)
bodies = st.one_of(
    words,
    words.map(lambda text: json.dumps({"prompt": text})),
    words.map(lambda text: f'{{"prompt": "{text}", "a": ["{text}"]}}'),
    words.map(lambda text: f'"{text}"'),
    words.map(lambda text: urlencode({"prompt": text, text: "1"})),
    words.map(lambda text: f"prompt={text}&b"),
)
encodings = st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-7", "gbk"])
charsets = st.sampled_from(["", "; charset=utf-8", "; charset=utf-16", "; charset=utf-7", "; charset=gbk"])
kinds = st.sampled_from(
    ["", JSON, FORM, "text/plain", "application/x-ndjson", "text/xml", "a/b", "application/problem+json"]
)

many = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


@many
@given(bodies, encodings, kinds, charsets)
@example('"prompt=d%61rn"', "utf-8", FORM, "")
async def test_no_upstream_reads_a_forbidden_word_in_a_body(text: str, encoding: str, kind: str, charset: str) -> None:
    kind += charset if kind else ""
    try:
        sent = await body_after(text.encode(encoding, "replace"), kind)
    except (BadPrompt, UnreadablePrompt, PromptBlocked):
        return

    for read in readings(sent, kind):
        assert "darn" not in read.lower()
        assert "so long" not in read.lower()


@many
@given(bodies)
async def test_no_upstream_reads_a_forbidden_word_in_a_query(query: str) -> None:
    try:
        sent = await query_after(query)
    except (BadPrompt, PromptBlocked):
        return

    for read in [unquote(sent), *(part for pair in parse_qsl(sent, keep_blank_values=True) for part in pair)]:
        assert "darn" not in read.lower()
        assert "so long" not in read.lower()
