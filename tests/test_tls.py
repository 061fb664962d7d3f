"""TLS over real sockets: what is agreed on, what is written through the sink, what is refused before a start."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from streamrouter.relay.sink import SendSink
from streamrouter.tls import fault_of
from tests.support.encrypted import certificate, trusting
from tests.support.rig import call, rig
from tests.support.serving import GET, Application, serving
from tests.support.upstream import streamed


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    ("http2", "offered", "chosen"),
    [
        (False, ["h2", "http/1.1"], "http/1.1"),
        (False, [], None),
        (True, ["http/1.1"], "http/1.1"),
        (True, [], None),
        (True, ["http/1.1", "h2"], "h2"),
    ],
)
async def test_what_is_agreed_on(own: tuple[str, str], http2: bool, offered: list[str], chosen: str | None) -> None:
    async with serving(Application(), tls_cert=own[0], tls_key=own[1], http2=http2) as running:
        _, writer = await asyncio.open_connection("localhost", running.port, ssl=trusting(own[0], *offered))
        tls = writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == chosen
        assert tls.version() in ("TLSv1.2", "TLSv1.3")
        writer.transport.abort()


async def test_a_stream_over_tls_goes_through_the_sink(own: tuple[str, str]) -> None:
    app = Application()
    async with serving(app, tls_cert=own[0], tls_key=own[1]) as running:
        reader, writer = await asyncio.open_connection("localhost", running.port, ssl=trusting(own[0]))
        for _ in range(2):
            writer.write(GET)
            head, _, body = (await reader.readuntil(b"0\r\n\r\n")).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert body == b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
        writer.transport.abort()
        assert await running.server.drained(2)
    assert app.scopes[0]["scheme"] == "https"
    assert not any(isinstance(sink, SendSink) for sink in app.sinks)


async def test_clear_text_on_a_tls_port_is_closed(own: tuple[str, str]) -> None:
    app = Application()
    async with serving(app, tls_cert=own[0], tls_key=own[1]) as running:
        assert not (await (await running.connect(GET)).rest()).startswith(b"HTTP")
    assert app.scopes == []


async def test_a_whole_server_speaks_tls(tmp_path: Path, own: tuple[str, str]) -> None:
    server = f'tls_cert = "{own[0]}"\ntls_key = "{own[1]}"'
    async with rig(tmp_path, server=server) as rigged:
        rigged.upstream.script = streamed(["hello", " you"])
        assert rigged.server.url.startswith("https://127.0.0.1:")
        async with rigged.client.post(
            rigged.server.url + "/chat/completions", json=call(), headers=rigged.headers(), ssl=trusting(own[0])
        ) as response:
            assert response.status == 200
            assert (await response.text()).endswith("data: [DONE]\n\n")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await rigged.client.get(rigged.server.root + "/healthz")


async def shown_to(port: int, cert: str) -> bool:
    """Whether a client that trusts ``cert`` alone is shown it."""
    try:
        _, writer = await asyncio.open_connection("localhost", port, ssl=trusting(cert))
    except ssl.SSLCertVerificationError:
        return False
    writer.transport.abort()
    return True


async def test_another_certificate_is_shown_from_the_next_handshake_on(own: tuple[str, str], tmp_path: Path) -> None:
    other = certificate(tmp_path, "other")
    async with serving(Application(), tls_cert=own[0], tls_key=own[1]) as running:
        reader, writer = await asyncio.open_connection("localhost", running.port, ssl=trusting(own[0]))
        with pytest.raises(OSError):
            running.server.renew_certificate(other[0], own[1])  # a pair that does not fit
        assert await shown_to(running.port, own[0])
        running.server.renew_certificate(*other)
        assert await shown_to(running.port, other[0])
        assert not await shown_to(running.port, own[0])
        writer.write(GET)  # the connection that was there goes on
        assert (await reader.readuntil(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.transport.abort()


async def test_a_clear_text_server_has_no_certificate_to_renew(own: tuple[str, str]) -> None:
    async with serving(Application()) as running:
        running.server.renew_certificate(*own)
        running.server.renew_certificate(None, None)
        assert (await (await running.connect(GET)).reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")


def test_which_files_cannot_be_used(tmp_path: Path, own: tuple[str, str]) -> None:
    cert, key = own
    assert fault_of(cert, key) is None
    _, other = certificate(tmp_path, "other")
    encrypted, rubbish = tmp_path / "encrypted.key", tmp_path / "rubbish"
    lock = ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:secret", "-out", str(encrypted)]
    subprocess.run(lock, check=True, capture_output=True)
    rubbish.write_bytes(b"\x00\x01")
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    for files, name in {
        ("/nowhere", key): "tls_cert",
        (cert, "/nowhere"): "tls_key",
        (str(tmp_path), key): "tls_cert",
        (str(rubbish), key): "tls_cert",
        (cert, other): "tls_key",
        (cert, str(encrypted)): "tls_key",
        (str(broken), key): "tls_key",
    }.items():
        fault = fault_of(*files)
        assert fault is not None and fault[0] == name, files
        assert "KEY" not in fault[1]
