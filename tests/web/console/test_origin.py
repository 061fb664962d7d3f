from __future__ import annotations

import pytest

from streamrouter.errors import Refusal
from streamrouter.web.console.origin import check_origin, client_address, is_secure, networks, session_of
from tests.support.asgi import Pairs, scope_of

OURS = ("origin", "http://console.example")
HOST = ("host", "console.example")
COOKIE = ("cookie", "streamrouter_session=abc")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ((HOST, OURS, COOKIE), True),
        ((HOST, OURS, COOKIE, ("sec-fetch-site", "same-origin")), True),
        ((HOST, COOKIE, ("sec-fetch-site", "same-origin")), True),
        ((("host", "Console.Example:80"), OURS, COOKIE), True),
        ((HOST, ("origin", "https://console.example:443"), COOKIE), True),  # a proxy in front has the certificate
        ((HOST,), True),  # a script, which has nothing to lose
        ((HOST, COOKIE), False),
        ((HOST, OURS, COOKIE, ("sec-fetch-site", "cross-site")), False),
        ((HOST, COOKIE, ("sec-fetch-site", "same-site")), False),
        ((HOST, COOKIE, ("sec-fetch-site", "none")), False),
        ((HOST, ("sec-fetch-site", "cross-site")), False),
        ((HOST, ("origin", "null"), COOKIE), False),
        ((HOST, ("origin", ""), COOKIE), False),
        ((HOST, ("origin", "http://evil.example")), False),
        ((HOST, ("origin", "http://console.example.evil.example"), COOKIE), False),
        ((HOST, ("origin", "http://console.example:8443"), COOKIE), False),
        ((HOST, ("origin", "file://console.example"), COOKIE), False),
        ((OURS, COOKIE), False),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
def test_where_a_change_may_come_from(method: str, headers: Pairs, allowed: bool) -> None:
    scope = scope_of(method, headers=headers)
    if allowed:
        check_origin(scope)
    else:
        with pytest.raises(Refusal) as refused:
            check_origin(scope)
        assert refused.value.code == "forbidden_origin"


def test_reading_may_come_from_anywhere() -> None:
    check_origin(scope_of("GET", headers=[HOST, COOKIE, ("origin", "http://evil.example")]))


def test_a_page_without_encryption_cannot_speak_for_one_with_it() -> None:
    scope = {**scope_of("POST", headers=[HOST, OURS, COOKIE]), "scheme": "https"}
    with pytest.raises(Refusal):
        check_origin(scope)


def test_when_the_cookie_is_for_encrypted_connections_only() -> None:
    assert not is_secure(scope_of("POST", headers=[HOST, OURS]))
    assert is_secure({**scope_of("POST"), "scheme": "https"})
    assert is_secure(scope_of("POST", headers=[HOST, ("origin", "https://console.example")]))


@pytest.mark.parametrize("origin", ["http://[", "https//x", "\xff", ""])
def test_an_origin_that_is_none_is_no_fault(origin: str) -> None:
    assert not is_secure(scope_of("GET", headers=[HOST, ("origin", origin)]))


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        ([], None),
        (["a=b"], None),
        (["streamrouter_session=abc"], "abc"),
        (["a=b; streamrouter_session=abc; c=d"], "abc"),
        (["a=b", "streamrouter_session=abc"], "abc"),
        (["streamrouter_session=abc; streamrouter_session=abc"], "abc"),
        (["streamrouter_session=abc; streamrouter_session=planted"], None),
        (["Streamrouter_Session=abc"], None),
        (["streamrouter_session"], ""),
    ],
)
def test_the_session_in_the_cookies(cookies: list[str], found: str | None) -> None:
    assert session_of(scope_of("GET", headers=[("cookie", cookie) for cookie in cookies])) == found


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),  # nobody we trust says so
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),  # or all of IPv4 would be one household
        ("", ["203.0.113.9"], ""),
    ],
)
def test_who_asks_behind_which_proxy(peer: str, forwarded: list[str], found: str) -> None:
    scope = scope_of("GET", headers=[("x-forwarded-for", value) for value in forwarded], client=peer)
    assert client_address(scope, networks(["10.0.0.0/8", "fd00::/8"])) == found


def test_without_a_peer_nobody_asks() -> None:
    assert client_address({**scope_of("GET"), "client": None}, []) == ""
