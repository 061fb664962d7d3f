"""Who asks: every header a key may come in, keys that are not good here, and what is taken over from a request."""

from __future__ import annotations

import pytest

from streamrouter.config.schema import SurfaceConfig
from streamrouter.errors import Refusal
from streamrouter.ids import secret_hash
from streamrouter.ledger.records import Account, Key
from streamrouter.web.auth import authenticate, client_id, presented_key
from tests.ledger.books import account, key
from tests.support.asgi import Pairs, scope_of

SECRET = "sk-0123456789abcdef"
MAIN = SurfaceConfig(name="main")
NOW_NS = 1_000_000_000
ONLY_BEARER = SurfaceConfig(name="main", auth=["bearer"])
ONLY_API_KEY = SurfaceConfig(name="main", auth=["api-key"])
BEARER = ("authorization", f"Bearer {SECRET}")


class Keys:
    """One key that is known; counts how often it was looked for. ``elsewhere``: another process has just made it."""

    def __init__(self, of: Account | None = None, by: Key | None = None, *, elsewhere: bool = False) -> None:
        self.found = (by or key(), of or account())
        self.looked = 0
        self._elsewhere = elsewhere

    def key_by_hash(self, digest: bytes) -> tuple[Key, Account] | None:
        self.looked += 1
        return self.found if digest == secret_hash(SECRET) and not self._elsewhere else None

    async def find(self, digest: bytes) -> tuple[Key, Account] | None:
        return self.found if digest == secret_hash(SECRET) and self._elsewhere else None


PRESENTED: dict[str, tuple[Pairs, SurfaceConfig, bytes | None]] = {
    "bearer": ([BEARER], MAIN, SECRET.encode()),
    "bearer in other letters": ([("authorization", f"bEARER  {SECRET} ")], MAIN, SECRET.encode()),
    "x-api-key": ([("x-api-key", f" {SECRET}")], MAIN, SECRET.encode()),
    "api-key": ([("api-key", SECRET)], MAIN, SECRET.encode()),
    "the first that the surface knows": ([("x-api-key", "other"), BEARER], MAIN, SECRET.encode()),
    "another scheme is passed over": ([("authorization", f"Basic {SECRET}"), ("api-key", "k")], MAIN, b"k"),
    "no scheme": ([("authorization", SECRET)], MAIN, None),
    "none": ([], MAIN, None),
    "a header the surface does not know": ([("x-api-key", SECRET)], ONLY_BEARER, None),
    "bearer where it is not known": ([BEARER], ONLY_API_KEY, None),
    "empty": ([("authorization", "Bearer ")], MAIN, b""),
    "not ASCII": ([("api-key", "clé")], MAIN, "clé".encode("latin-1")),
}


@pytest.mark.parametrize(("headers", "surface", "secret"), PRESENTED.values(), ids=PRESENTED)
def test_which_key_is_presented(headers: Pairs, surface: SurfaceConfig, secret: bytes | None) -> None:
    assert presented_key(scope_of(headers=headers), surface) == secret


async def test_a_rotated_key_is_good_until_its_end() -> None:
    keys = Keys(by=key(expires_ns=NOW_NS + 1))
    assert (await authenticate(scope_of(headers=[BEARER]), MAIN, keys, NOW_NS)).key is keys.found[0]


async def test_a_key_that_another_process_has_made_is_good_at_once() -> None:
    keys = Keys(elsewhere=True)
    assert (await authenticate(scope_of(headers=[BEARER]), MAIN, keys, NOW_NS)).key is keys.found[0]
    with pytest.raises(Refusal, match="not valid here"):
        await authenticate(scope_of(headers=[("api-key", "another")]), MAIN, keys, NOW_NS)


async def test_a_good_key_is_its_caller() -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    scope = scope_of(headers=[BEARER, ("x-request-id", "mine-1"), ("traceparent", trace)])
    caller = await authenticate(scope, MAIN, Keys(), NOW_NS)
    assert (caller.key.id, caller.account.name, caller.surface) == ("key_1", "team-a", MAIN)
    assert (caller.client_request_id, caller.traceparent) == ("mine-1", trace)


@pytest.mark.parametrize(
    ("headers", "keys", "code", "told"),
    [
        ([], Keys(), "missing_api_key", "Authorization: Bearer or x-api-key or api-key"),
        ([("authorization", "Bearer ")], Keys(), "missing_api_key", "header"),
        ([("authorization", f"Bearer {SECRET}x")], Keys(), "invalid_api_key", "not valid here"),
        ([("authorization", f"Bearer {SECRET[:-1]}")], Keys(), "invalid_api_key", "not valid here"),
        ([("authorization", "Bearer clé")], Keys(), "invalid_api_key", "not valid here"),
        ([BEARER], Keys(by=key(surface="admin")), "invalid_api_key", "not valid here"),
        ([BEARER], Keys(by=key(status="revoked")), "invalid_api_key", "revoked"),
        ([BEARER], Keys(by=key(expires_ns=NOW_NS)), "invalid_api_key", "replaced and has expired"),
        ([BEARER], Keys(of=account(status="disabled")), "invalid_api_key", "disabled"),
        ([BEARER], Keys(by=key(status="revoked", surface="admin")), "invalid_api_key", "not valid here"),
    ],
)
async def test_who_is_refused(headers: Pairs, keys: Keys, code: str, told: str) -> None:
    with pytest.raises(Refusal, match=told) as raised:
        await authenticate(scope_of(headers=headers), MAIN, keys, NOW_NS)
    assert raised.value.code == code
    assert raised.value.rule.status == 401
    assert SECRET[:-1] not in raised.value.message


@pytest.mark.parametrize(("size", "looked"), [(256, 1), (257, 0), (15_000, 0)])
async def test_a_huge_key_is_not_hashed(size: int, looked: int) -> None:
    keys = Keys()
    with pytest.raises(Refusal):
        await authenticate(scope_of(headers=[("api-key", "x" * size)]), MAIN, keys, NOW_NS)
    assert keys.looked == looked


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], ""),
        ([("x-request-id", "abc-1._X")], "abc-1._X"),
        ([("x-request-id", "a"), ("x-client-request-id", "b")], "b"),
        ([("x-request-id", "x" * 128)], "x" * 128),
        ([("x-request-id", "x" * 129)], ""),
        ([("x-request-id", "a b")], ""),
        ([("x-request-id", "a\r\nSet-Cookie: b")], ""),
        ([("x-request-id", "a\n")], ""),
        ([("x-request-id", "ž".encode().decode("latin-1"))], ""),
        ([("x-request-id", "")], ""),
    ],
)
def test_which_id_of_the_clients_is_echoed(headers: Pairs, found: str) -> None:
    assert client_id(scope_of(headers=headers)) == found


@pytest.mark.parametrize("trace", ["", "rubbish", "00-" + "A" * 32 + "-" + "b" * 16 + "-01", "00-a\r\nb"])
async def test_a_traceparent_that_is_none_is_dropped(trace: str) -> None:
    caller = await authenticate(scope_of(headers=[BEARER, ("traceparent", trace)]), MAIN, Keys(), NOW_NS)
    assert caller.traceparent == ""
