"""The selection of an outgoing proxy, and requests through a real one."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from yarl import URL

from streaming import upstreams
from streaming.upstreams import Unreachable
from streaming.upstreams.proxies import UnusableProxyError, proxy_of
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, free_port
from tests.test_upstreams import all_of, answers, connected, request

pytestmark = pytest.mark.usefixtures("no_client_outlives_its_loop")

PROXY = "http://proxy.example:3128"


def found(url: str, **environment: str) -> str:
    proxy = proxy_of(URL(url), environment)
    return str(proxy) if proxy else ""


class TestTheEnvironment:
    @pytest.mark.parametrize(
        ("url", "environment", "proxy"),
        [
            ("http://llm.example/v1", {}, ""),
            ("http://llm.example/v1", {"HTTP_PROXY": PROXY}, PROXY),
            ("http://llm.example/v1", {"http_proxy": PROXY}, PROXY),
            ("http://llm.example/v1", {"HTTPS_PROXY": PROXY}, ""),
            ("https://llm.example/v1", {"HTTPS_PROXY": PROXY}, PROXY),
            ("https://llm.example/v1", {"HTTP_PROXY": PROXY}, ""),
            ("https://llm.example/v1", {"ALL_PROXY": PROXY}, PROXY),
            ("http://llm.example/v1", {"all_proxy": PROXY}, PROXY),
            ("https://llm.example/v1", {"ALL_PROXY": "http://other:1", "HTTPS_PROXY": PROXY}, PROXY),
            ("https://llm.example/v1", {"HTTPS_PROXY": "http://other:1", "https_proxy": PROXY}, PROXY),
            ("https://llm.example/v1", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
            ("https://llm.example/v1", {"HTTPS_PROXY": f" {PROXY} "}, PROXY),
            ("https://llm.example/v1", {"HTTPS_PROXY": ""}, ""),
            # A client's header "Proxy" is HTTP_PROXY to a CGI program.
            ("http://llm.example/v1", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, ""),
        ],
    )
    def test_selects_the_proxy(self, url: str, environment: dict[str, str], proxy: str) -> None:
        assert found(url, **environment) == proxy

    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "LOCALHOST",
            "llm.localhost",
            "127.0.0.1",
            "127.8.9.10",
            "[::1]",
            "0.0.0.0",
            "[::ffff:127.0.0.1]",
        ],
    )
    def test_selects_no_proxy_for_this_machine(self, host: str) -> None:
        assert found(f"http://{host}:8000/v1", HTTP_PROXY=PROXY, ALL_PROXY=PROXY) == ""

    @pytest.mark.parametrize(
        ("no_proxy", "excepted"),
        [
            ("llm.example", True),
            ("LLM.Example.", True),
            (".llm.example", True),
            ("example", True),
            ("*.example", True),
            ("other.example, llm.example", True),
            ("other.example llm.example", True),
            ("llm.example:8443", True),
            ("*", True),
            ("llm.example:443", False),
            ("m.example", False),
            ("llm.example.org", False),
            ("10.0.0.0/8", False),
            ("", False),
        ],
    )
    def test_excludes_hosts_and_their_subdomains(self, no_proxy: str, excepted: bool) -> None:
        assert (found("https://llm.example:8443/", HTTPS_PROXY=PROXY, NO_PROXY=no_proxy) == "") == excepted

    @pytest.mark.parametrize(
        ("host", "no_proxy", "excepted"),
        [
            ("10.1.2.3", "10.0.0.0/8", True),
            ("10.1.2.3", "10.1.2.3", True),
            ("192.168.0.1", "10.0.0.0/8", False),
            ("[2001:db8::7]", "2001:db8::/32", True),
            ("[2001:db8::7]", "[2001:db8::7]", True),
            ("[2001:db8::7]", "[2001:db8::7]:443", True),
        ],
    )
    def test_excludes_networks(self, host: str, no_proxy: str, excepted: bool) -> None:
        assert (found(f"https://{host}/", HTTPS_PROXY=PROXY, NO_PROXY=no_proxy) == "") == excepted

    @pytest.mark.parametrize("proxy", ["socks5://proxy.example:1080", "ftp://x", "http://", "http://x:port"])
    def test_can_contain_invalid_values(self, proxy: str) -> None:
        with pytest.raises(UnusableProxyError):
            found("https://llm.example/", HTTPS_PROXY=proxy)


class ConnectProxy:
    """A proxy that connects CONNECT and absolute-form requests to one port, whatever host they name."""

    def __init__(self, port: int, refuse: str = "") -> None:
        self.heads: list[str] = []
        self._port, self._refuse = port, refuse
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        starting = asyncio.run_coroutine_threadsafe(starting, self._loop)  # type: ignore[assignment]
        self._server: asyncio.Server = starting.result(DEADLINE)  # type: ignore[attr-defined]
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            if self._refuse:
                writer.write(f"HTTP/1.1 {self._refuse}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
            else:
                there, back = await asyncio.open_connection("127.0.0.1", self._port)
                if head.startswith(b"CONNECT"):
                    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                else:
                    back.write(head)
                await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        writer.close()

    def stop(self) -> None:
        async def close() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


MakeProxy = Callable[..., ConnectProxy]


@pytest.fixture
def make_proxy() -> Iterator[MakeProxy]:
    proxies: list[ConnectProxy] = []

    def make(port: int, refuse: str = "") -> ConnectProxy:
        proxies.append(ConnectProxy(port, refuse))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.stop()


class TestARealProxy:
    async def test_gets_the_absolute_url_and_its_password(
        self, upstream: ScriptedUpstream, settings: Any, monkeypatch: pytest.MonkeyPatch, make_proxy: MakeProxy
    ) -> None:
        upstream.script = answers("200 OK", body=b"data: x\n\n")
        proxy = make_proxy(upstream.port)
        settings.STREAMING_UPSTREAMS = {"default": {"URL": "http://llm.example/v1"}}
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{proxy.address}")

        assert await all_of(await connected(address="/transfer?a=%2F")) == b"data: x\n\n"

        assert proxy.heads[0].startswith("GET http://llm.example/v1?a=%2F HTTP/1.1\r\nHost: llm.example\r\n")
        assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:secret').decode()}\r\n" in proxy.heads[0]

    async def test_is_not_used_if_the_settings_turn_it_off(
        self, upstream: ScriptedUpstream, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
        settings.STREAMING_UPSTREAMS = {"default": {"URL": "http://nowhere.invalid", "PROXY_URL": ""}}

        with pytest.raises(Unreachable, match=r"the upstream 'default' cannot be reached$"):
            await connected()

    async def test_of_the_settings_is_used_for_this_machine_too(
        self, upstream: ScriptedUpstream, settings: Any, monkeypatch: pytest.MonkeyPatch, make_proxy: MakeProxy
    ) -> None:
        upstream.script = answers("200 OK")
        proxy = make_proxy(upstream.port)
        monkeypatch.setenv("HTTP_PROXY", "http://nowhere.invalid:1")
        url = {"URL": "http://127.0.0.1:9/v1", "PROXY_URL": f"http://{proxy.address}"}
        settings.STREAMING_UPSTREAMS = {"default": url}

        await all_of(await connected())

        assert proxy.heads[0].startswith("GET http://127.0.0.1:9/v1 ")

    async def test_of_the_environment_is_not_used_for_this_machine(
        self, upstream: ScriptedUpstream, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upstream.script = answers("200 OK")
        settings.STREAMING_UPSTREAMS = {"default": {"URL": upstream.url}}
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")

        await all_of(await connected())

        assert upstream.accepted == 1

    @pytest.mark.parametrize(
        ("refuse", "words"),
        [("407 Password", "it answered 407: it requires a password"), ("403 No", "it answered 403")],
    )
    async def test_that_refuses_is_named_in_the_log(
        self,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        make_proxy: MakeProxy,
        log_text: Callable[[], str],
        refuse: str,
        words: str,
    ) -> None:
        proxy = make_proxy(0, refuse)
        settings.STREAMING_UPSTREAMS = {"default": {"URL": "https://llm.example/v1"}}
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy.address}")

        with pytest.raises(Unreachable, match=r"cannot be reached through its proxy$"):
            await connected()

        assert proxy.heads[0].startswith("CONNECT llm.example:443 HTTP/1.1\r\n")
        assert words in log_text()
        assert "secret" not in log_text()

    @pytest.mark.parametrize("proxy", ["http://me:secret@127.0.0.1:1", "socks5://me:secret@127.0.0.1:1"])
    async def test_that_is_invalid_is_named_in_the_log(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch, log_text: Callable[[], str], proxy: str
    ) -> None:
        settings.STREAMING_UPSTREAMS = {"default": {"URL": "https://llm.example/v1"}}
        monkeypatch.setenv("ALL_PROXY", proxy)

        with pytest.raises(Unreachable, match=r"cannot be reached through its proxy$"):
            await connected()

        assert "the connection to it failed" in log_text() or "'socks5' is not known" in log_text()
        assert "secret" not in log_text()


def test_the_built_in_upstream_is_never_used_through_a_proxy() -> None:
    asked = request()
    asked.scope["server"] = ("192.0.2.1", 8000)

    assert upstreams.config_of("default", asked).proxy_url == ""


async def test_a_unix_socket_can_be_an_upstream(tmp_path: Any, settings: Any) -> None:
    upstream = ScriptedUpstream(path=tmp_path / "llm.sock")
    try:
        bodies = []

        async def script(connection: Connection) -> None:
            bodies.append(await connection.body())
            await connection.begin()
            await connection.send(b"data: x\n\n")

        upstream.script = script
        entries = [
            {"URL": f"unix://{tmp_path}/llm.sock:/v1"},
            {"URL": "http://llm.example/v1", "UDS": f"{tmp_path}/llm.sock"},
        ]
        for entry in entries:
            settings.STREAMING_UPSTREAMS = {"default": entry}
            assert await all_of(await connected(body=b"hello", address="/transfer?a=1")) == b"data: x\n\n"

        assert [request.request_line for request in upstream.requests] == ["POST /v1?a=1 HTTP/1.1"] * 2
        assert [request.headers["Host"] for request in upstream.requests] == ["localhost", "llm.example"]
        assert bodies == [b"hello"] * 2
    finally:
        upstream.stop()


async def test_a_unix_socket_without_a_listener_cannot_be_reached(tmp_path: Any, settings: Any) -> None:
    settings.STREAMING_UPSTREAMS = {"default": {"URL": f"unix://{tmp_path}/nobody.sock"}}

    with pytest.raises(Unreachable, match="cannot be reached"):
        await connected()
