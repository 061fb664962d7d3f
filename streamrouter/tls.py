"""TLS for clients: one certificate, modern versions only, and which protocol is agreed on (ALPN)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

HANDSHAKE_S = 10.0  # an unfinished handshake is closed


def server_context(cert: str, key: str, *, http2: bool) -> ssl.SSLContext:
    """The context of the listening port. ``cert``: a PEM file with the whole chain; ``key``: its key, not encrypted.

    ``http2`` offers HTTP/2 before HTTP/1.1. Raises OSError (an ssl.SSLError is one) when the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # of TLS 1.2: what HTTP/2 allows (RFC 9113 section 9.2.2)
    context.load_cert_chain(cert, key, password=_no_password)
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def renew(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Show another certificate from the next handshake on. Raises OSError, and then goes on with the old one."""
    server_context(cert, key, http2=False)  # a pair that does not fit would be half taken over
    context.load_cert_chain(cert, key, password=_no_password)


def listening(cert: str | None, key: str | None, *, http2: bool) -> dict[str, Any]:
    """What a listening port is made with: nothing without a certificate."""
    if not cert or not key:
        return {}
    return {"ssl": server_context(cert, key, http2=http2), "ssl_handshake_timeout": HANDSHAKE_S}


def _no_password() -> str:
    """Else OpenSSL would ask on the terminal, and wait for ever where there is none."""
    return ""


def fault_of(cert: str, key: str) -> tuple[str, str] | None:
    """What is wrong with the two files: ``tls_cert`` or ``tls_key``, and why. None if they can be used."""
    for name, path in (("tls_cert", cert), ("tls_key", key)):
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            return name, f"{path} cannot be read: {error.strerror or 'no such file'}"
        if b"-----BEGIN " not in text:
            return name, f"{path} is not PEM (a text that begins with -----BEGIN)"
    try:
        server_context(cert, key, http2=False)
    except OSError:
        return "tls_key", f"{key} is not the key of {cert}, or it is encrypted; give the certificate's own, plain key"
    return None
