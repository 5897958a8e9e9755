"""Upstreams over TLS: authorities, client certificates and log messages."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
import trustme

from streaming import upstreams
from streaming.upstreams import Unreachable
from streaming.upstreams.tls import has_trust_store, tls_context
from tests.conftest import ScriptedUpstream
from tests.test_proxies import MakeProxy, make_proxy
from tests.test_upstreams import all_of, answers, connected, relayed

__all__ = ["make_proxy"]

pytestmark = pytest.mark.usefixtures("no_client_outlives_its_loop")

EVENT = b"data: x\n\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of the authority that signed the upstream's certificate."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


def context_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def tls_upstream(authority: trustme.CA) -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream(context_of(authority, "127.0.0.1", "llm.example"))
    upstream.script = answers("200 OK", body=EVENT)
    yield upstream
    upstream.stop()


def configure(settings: Any, url: str, **entry: Any) -> None:
    settings.STREAMING_UPSTREAMS = {"default": {"URL": url, "PROXY": True, **entry}}


class TestVerify:
    async def test_accepts_a_certificate_of_the_configured_authority(
        self, tls_upstream: ScriptedUpstream, settings: Any, ca: str
    ) -> None:
        configure(settings, tls_upstream.url, VERIFY=ca)

        assert await all_of(await connected()) == EVENT
        assert await all_of(await relayed()) == EVENT

    async def test_false_accepts_any_certificate(self, tls_upstream: ScriptedUpstream, settings: Any) -> None:
        configure(settings, tls_upstream.url, VERIFY=False)

        assert await all_of(await connected()) == EVENT

    async def test_true_accepts_authorities_in_the_trust_store(
        self, tls_upstream: ScriptedUpstream, settings: Any, ca: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", ca)
        configure(settings, tls_upstream.url)

        assert await all_of(await connected()) == EVENT

    @pytest.mark.parametrize("entry", [{}, {"VERIFY": True}, {"VERIFY": certifi.where()}])
    async def test_refuses_an_unknown_authority_and_logs_it(
        self, tls_upstream: ScriptedUpstream, settings: Any, log_text: Callable[[], str], entry: dict[str, Any]
    ) -> None:
        configure(settings, tls_upstream.url, **entry)

        with pytest.raises(Unreachable, match=r"the upstream 'default' cannot be reached over TLS$"):
            await connected()

        assert "unable to get local issuer certificate: set VERIFY to the file of its certificate" in log_text()

    async def test_refuses_a_certificate_for_another_host(
        self, authority: trustme.CA, settings: Any, ca: str, log_text: Callable[[], str]
    ) -> None:
        upstream = ScriptedUpstream(context_of(authority, "other.example"))
        configure(settings, upstream.url, VERIFY=ca)

        with pytest.raises(Unreachable, match="over TLS"):
            await connected()

        assert "certificate is not valid for '127.0.0.1'" in log_text()
        upstream.stop()

    async def test_fails_with_an_upstream_without_tls(self, settings: Any, log_text: Callable[[], str]) -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        configure(settings, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")

        with pytest.raises(Unreachable, match="over TLS"):
            await connected()

        assert "wrong version number" in log_text()
        server.close()

    async def test_upstreams_with_different_settings_use_separate_clients(
        self, tls_upstream: ScriptedUpstream, settings: Any, ca: str
    ) -> None:
        url = tls_upstream.url
        settings.STREAMING_UPSTREAMS = {"default": {"URL": url, "VERIFY": False}, "strict": {"URL": url}}

        await all_of(await connected())
        with pytest.raises(Unreachable):
            await connected("strict")
        await all_of(await connected())

    async def test_with_an_invalid_certificate_file_is_logged(
        self, tls_upstream: ScriptedUpstream, settings: Any, log_text: Callable[[], str], tmp_path: Path
    ) -> None:
        (tmp_path / "ca.pem").write_text("hello")
        configure(settings, tls_upstream.url, VERIFY=str(tmp_path / "ca.pem"))

        with pytest.raises(Unreachable, match="over TLS"):
            await connected()

        assert "VERIFY or CERT of the upstream 'default' cannot be used" in log_text()


class TestAClientCertificate:
    @pytest.fixture
    def strict(self, authority: trustme.CA) -> Iterator[ScriptedUpstream]:
        """An upstream that wants to know who asks."""
        context = context_of(authority, "127.0.0.1")
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
        upstream = ScriptedUpstream(context)
        upstream.script = answers("200 OK", body=EVENT)
        yield upstream
        upstream.stop()

    @pytest.mark.parametrize("files", [1, 2], ids=["in one file with its key", "in two files"])
    async def test_is_presented(
        self, strict: ScriptedUpstream, settings: Any, authority: trustme.CA, ca: str, tmp_path: Path, files: int
    ) -> None:
        ours = authority.issue_cert("us.example")
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        if files == 1:
            ours.private_key_and_cert_chain_pem.write_to_path(str(certificate))
        else:
            ours.cert_chain_pems[0].write_to_path(str(certificate))
            ours.private_key_pem.write_to_path(str(key))
        cert = str(certificate) if files == 1 else [str(certificate), str(key)]
        configure(settings, strict.url, VERIFY=ca, CERT=cert)

        assert await all_of(await connected()) == EVENT

    async def test_that_is_missing_is_a_502(self, strict: ScriptedUpstream, settings: Any, ca: str) -> None:
        configure(settings, strict.url, VERIFY=ca)

        with pytest.raises(Unreachable):
            await connected()


async def test_a_proxy_tunnels_tls_to_the_upstream(
    tls_upstream: ScriptedUpstream, settings: Any, ca: str, monkeypatch: pytest.MonkeyPatch, make_proxy: MakeProxy
) -> None:
    proxy = make_proxy(tls_upstream.port)
    configure(settings, "https://llm.example/v1", VERIFY=ca, HEADERS={"Authorization": "Bearer ours"})
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy.address}")

    assert await all_of(await connected()) == EVENT
    assert await all_of(await connected()) == EVENT

    assert tls_upstream.requests[0].headers["Authorization"] == "Bearer ours"
    assert "proxy-authorization" not in tls_upstream.requests[0].head.lower()
    assert proxy.heads[0].startswith("CONNECT llm.example:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic " in proxy.heads[0]
    assert "ours" not in "".join(proxy.heads)


class TestTheTrustStore:
    def test_is_that_of_the_system(self, monkeypatch: pytest.MonkeyPatch, ca: str) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", ca)
        monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")

        context = tls_context(verify=True)

        assert [dict(part[0] for part in found["subject"]) for found in context.get_ca_certs()] != []
        assert context.cert_store_stats()["x509_ca"] == 1  # and nobody else is trusted

    def test_is_mozillas_if_the_system_has_none(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        assert not has_trust_store(ssl.create_default_context())

        assert tls_context(verify=True).cert_store_stats()["x509_ca"] > 50

    def test_with_a_configured_authority_is_that_authority_only(self, ca: str) -> None:
        assert tls_context(ca).cert_store_stats()["x509_ca"] == 1
        assert tls_context(ca).verify_mode == ssl.CERT_REQUIRED

    def test_is_not_loaded_if_nothing_is_verified(self) -> None:
        context = tls_context(verify=False)

        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_an_encrypted_key_does_not_prompt_for_a_password(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    issued = trustme.CA().issue_cert("us.example")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "both.pem").write_bytes(issued.cert_chain_pems[0].bytes() + encrypted)

    with pytest.raises(OSError, match=r".+"):
        tls_context(verify=True, cert=(str(tmp_path / "both.pem"),))


async def test_a_connection_with_its_own_client_is_reused(authority: trustme.CA, settings: Any, ca: str) -> None:
    upstream = ScriptedUpstream(context_of(authority, "127.0.0.1"))

    async def keep_alive(connection: Any) -> None:
        while True:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await connection.reader.readuntil(b"\r\n\r\n")

    upstream.script = keep_alive
    configure(settings, upstream.url, VERIFY=ca)

    for _ in range(3):
        assert await all_of(await relayed()) == b"ok"

    assert upstream.accepted == 1
    await upstreams.close()
    upstream.stop()
