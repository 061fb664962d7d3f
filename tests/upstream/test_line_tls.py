"""An https upstream that is left: what is closed does not wait for its goodbye."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamrouter.upstream.line import Line
from tests.support.encrypted import certificate, trusting


@contextmanager
def mute(cert: str, key: str) -> Iterator[tuple[int, list[ssl.SSLSocket]]]:
    """An upstream that answers once and then neither reads nor writes: its port, and its connections."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    taken: list[ssl.SSLSocket] = []

    def serve(listening: socket.socket) -> None:
        raw, _ = listening.accept()
        taken.append(context.wrap_socket(raw, server_side=True))
        taken[0].recv(65536)
        taken[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield listening.getsockname()[1], taken
        finally:
            thread.join(5)
            for connection in taken:
                connection.close()


async def test_idle_connections_are_gone_when_the_line_is_closed(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with mute(cert, key) as (port, taken):
        line = Line(f"https://localhost:{port}/v1", {}, 5.0, keepalive=True)
        line._connector._ssl = trusting(cert)
        answer = await line.post(b"{}", {})
        assert await answer.content.read() == b"ok"
        (idle, _), *_ = line._spares._idle
        transport = idle.transport
        assert transport is not None
        raw = transport.get_extra_info("socket")
        await line.close()
        assert taken and raw.fileno() == -1
