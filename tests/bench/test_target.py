"""Whom a load asks, and what."""

from __future__ import annotations

import json
import ssl

import pytest

from streamrouter.bench.target import call_body, target


def test_the_request_is_one_that_any_server_takes() -> None:
    body = call_body("m", stream=True, max_tokens=5)
    aim = target("http://127.0.0.1:8000/v1/", body, stream=True, key="sk-1", headers={"x-team": "a"})
    head, _, sent = aim.request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    fields = dict(line.split(": ", 1) for line in lines[1:])
    assert (fields["Host"], fields["Authorization"], fields["x-team"]) == ("127.0.0.1:8000", "Bearer sk-1", "a")
    assert int(fields["Content-Length"]) == len(sent) == len(body)
    call = json.loads(sent)
    assert [message["role"] for message in call["messages"]] == ["system", "user"]
    assert (call["stream"], call["max_tokens"], call["stream_options"]) == (True, 5, {"include_usage": True})


def test_what_is_not_wanted_is_left_out() -> None:
    call = json.loads(call_body("m", prompt="Hello", stream=False, max_tokens=None))
    assert "max_tokens" not in call
    assert "stream_options" not in call
    assert call["messages"] == [{"role": "user", "content": "Hello"}]
    assert b"Authorization" not in target("http://x/v1", b"{}", stream=False).request


def test_ports_and_tls() -> None:
    assert (target("http://x/v1", b"", stream=True).port, target("https://x/v1", b"", stream=True).port) == (80, 443)
    aim = target("https://x:8443/v1", b"", stream=True)
    assert (aim.port, aim.tls) == (8443, True)
    checked, trusting = aim.context(), aim.context(insecure=True)
    assert checked is not None and checked.verify_mode is ssl.CERT_REQUIRED
    assert trusting is not None and trusting.verify_mode is ssl.CERT_NONE
    assert target("http://x", b"", stream=True).context() is None


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8000/v1", "http://", ""])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="not an http or https address"):
        target(url, b"", stream=True)
