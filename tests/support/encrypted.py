"""A certificate of one's own, and clients that speak TLS: HTTP/2 with the h2 package, one byte stream otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.support.rig import until

MAKE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"


def certificate(directory: Path, name: str = "own") -> tuple[str, str]:
    """A fresh certificate for ``localhost`` and 127.0.0.1, and its key: paths of PEM files."""
    cert, key = str(directory / f"{name}.crt"), str(directory / f"{name}.key")
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*MAKE.split(), *names, "-out", cert, "-keyout", key], check=True, capture_output=True)
    return cert, key


def trusting(cert: str, *protocols: str) -> ssl.SSLContext:
    """A client's context that trusts ``cert`` alone and offers ``protocols`` by ALPN."""
    context = ssl.create_default_context(cafile=cert)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


class Got:
    """What has come on one HTTP/2 stream."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self.reset = False


class Http2Client:
    """One HTTP/2 connection. ``taking`` False: flow control stays where it is, nothing more may be sent to us."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.streams: dict[int, Got] = defaultdict(Got)
        self.taking = True
        self.closed = False
        self._reader = reader
        self._writer = writer
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self._writer.write(self.h2.data_to_send())

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        end: bool = True,
        headers: dict[str, str] | None = None,
    ) -> int:
        """Send a request; its stream."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":authority", "localhost")]
        pseudo += [] if method == "CONNECT" else [(":scheme", "https"), (":path", path)]
        self.h2.send_headers(stream, [*pseudo, *(headers or {}).items()], end_stream=body is None and end)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def reset(self, stream: int) -> None:
        """Leave one stream."""
        self.h2.reset_stream(stream, 8)
        self.flush()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for ``condition`` of what comes."""
        await until(condition, "what was asked for on HTTP/2")

    async def pump(self) -> None:
        """Take what comes until the connection is closed."""
        with contextlib.suppress(OSError):
            while data := await self._reader.read(65536):
                for event in self.h2.receive_data(data):
                    self._took(event)
                self.flush()
        self.closed = True

    def _took(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            got = self.streams[event.stream_id or 0]
            got.headers = {str(name): str(value) for name, value in event.headers or []}
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id or 0].body += event.data or b""
            if self.taking:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[event.stream_id].ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.streams[event.stream_id].reset = True


@contextlib.asynccontextmanager
async def http2(port: int, cert: str) -> AsyncIterator[Http2Client]:
    """A connection whose client offered HTTP/2 and HTTP/1.1; the server must have chosen HTTP/2."""
    reader, writer = await asyncio.open_connection("localhost", port, ssl=trusting(cert, "h2", "http/1.1"))
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    client = Http2Client(reader, writer)
    pump = asyncio.create_task(client.pump())
    try:
        yield client
    finally:
        writer.transport.abort()
        await pump
