"""What goes into the ledger and what comes out of it: Structs shared by the rules, the engines and the gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from streamrouter.policy.money import Price


class Account(Struct, kw_only=True):
    """A person or a team. Caps: tokens, None = no cap. Money: nano-USD. ``models`` None = every model."""

    id: str
    name: str
    status: Literal["active", "disabled"] = "active"
    input_per_request: int | None = None
    output_per_request: int | None = None
    daily_input: int | None = None
    daily_output: int | None = None
    requests_per_minute: int | None = None
    rate_tat_ns: int = 0  # GCRA's theoretical arrival time (policy/limits.py)
    models: list[str] | None = None
    unlimited: bool = False
    credited: int = 0
    spent: int = 0
    reserved: int = 0
    created_ns: int = 0


class Key(Struct, kw_only=True):
    """An API key: only its hash and a display form are kept. ``models`` narrows the account's list."""

    id: str
    account_id: str
    surface: str
    hash: bytes
    display: str
    models: list[str] | None = None
    concurrency: int | None = None
    status: Literal["active", "revoked"] = "active"
    in_flight: int = 0
    created_ns: int = 0
    revoked_ns: int | None = None
    replaces: str | None = None
    ref: str | None = None  # makes the making of a key happen once
    expires_ns: int | None = None  # the first moment at which a rotated key is refused; None: it does not end by itself
    replaced_by: str | None = None  # the key that a rotation made in its place

    def expired(self, now_ns: int) -> bool:
        """Whether the time that its rotation left it is over."""
        return self.expires_ns is not None and now_ns >= self.expires_ns


class UsageDay(Struct, kw_only=True):
    """Tokens of one account on one UTC day (days since 1970-01-01)."""

    account_id: str
    day: int
    posted_input: int = 0
    posted_output: int = 0
    reserved_input: int = 0
    reserved_output: int = 0
    requests: int = 0


class UsageModel(Struct, kw_only=True):
    """What was charged to one key for one model on one UTC day: the row that reports are made of."""

    account_id: str
    day: int
    key_id: str
    model: str
    requests: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    cost: int = 0  # nano-USD that the tokens came to, whatever the billing
    spent: int = 0  # nano-USD taken from the balance
    over_input: int = 0
    over_output: int = 0


EntryKind = Literal["payment", "fee", "adjustment", "refund"]


class Entry(Struct, frozen=True, kw_only=True):
    """One line of an account's money, never changed. ``amount`` is signed nano-USD; ``ref`` makes it idempotent."""

    id: str
    account_id: str
    kind: EntryKind
    amount: int
    ref: str | None
    created_ns: int


class Credit(Struct, frozen=True, kw_only=True):
    """What a top-up, adjustment or refund came to. ``repeated``: this ``ref`` was booked before, nothing was added."""

    account: Account
    entries: list[Entry]
    repeated: bool = False


class HoldRow(Struct, kw_only=True):
    """One request in the books, made before its first upstream byte and closed exactly once (docs/ledger.md)."""

    id: str
    account_id: str
    key_id: str
    surface: str
    model: str
    day: int
    boot: int
    state: Literal["open", "settled", "released", "recovered"] = "open"
    prepaid: bool = False
    stream: bool = False
    exact: bool = False
    r_input: int
    r_output: int
    r_usd: int = 0  # nano-USD reserved: 0 where billing is by tokens
    lease_output: int = 0
    price_input: int = 0  # pico-USD per token: the snapshot this request is priced at
    price_output: int = 0
    price_cache_read: int = 0
    s_input: int = 0
    s_output: int = 0
    s_cached: int = 0
    s_reasoning: int = 0
    s_usd: int = 0  # nano-USD taken from the balance: 0 where billing is by tokens
    cost: int = 0  # nano-USD that s came to, whatever the billing
    over_input: int = 0
    over_output: int = 0
    over_usd: int = 0
    end_reason: str = ""
    usage_source: str = ""
    upstream: str = ""
    ttft_ms: int | None = None
    duration_ms: int = 0
    created_ns: int = 0
    closed_ns: int | None = None
    leases: str = ""  # every lease in turn ("256 512 768"), once it was extended
    gap_p99_ms: int | None = None


class Idempotency(Struct, frozen=True):
    """A client's Idempotency-Key and the SHA-256 of the request that it stands for."""

    name: str
    fingerprint: bytes


class Attempt(Struct, frozen=True, kw_only=True):
    """One admitted request under an Idempotency-Key. ``reply``: its whole answer, where one is kept."""

    hold_id: str
    key_id: str
    name: str
    fingerprint: bytes
    created_ns: int
    reply: bytes | None = None


class Stored(Struct, frozen=True):
    """What a repeated request gets instead of a hold: the answer that the first one got."""

    hold_id: str
    body: bytes


class Reserve(Struct, frozen=True, kw_only=True):
    """The command that admits a request. ``limit`` is per choice: min(requested | model default, model ceiling).

    ``input_tokens`` is what the input may come to at most (the local count with its margin). Per-request caps, daily
    caps, concurrency, rate and balance are the ledger's to judge, in docs/ledger.md's order, in one step.
    ``topup_usd``: what a refusal for want of balance proposes.
    """

    id: str
    key_id: str
    model: str
    surface: str
    input_tokens: int
    limit: int
    requested: int | None
    n: int
    price: Price
    prepaid: bool
    stream: bool
    exact: bool
    idempotency: Idempotency | None = None
    topup_usd: str = "5"


class Remaining(Struct, frozen=True, kw_only=True):
    """What is left after a reserve, for the ``x-ratelimit-*`` headers: (limit, remaining), None where no cap is set."""

    input_tokens: tuple[int, int] | None = None
    output_tokens: tuple[int, int] | None = None
    requests: tuple[int, int] | None = None
    tokens_reset_s: int = 0  # to UTC midnight
    requests_reset_ms: int = 0


class Hold(Struct, kw_only=True):
    """An admitted request, in memory. ``lease`` is durable: only that much output may have left (docs/ledger.md).

    ``on_lease`` is called on the loop whenever ``lease`` has grown or an extension was refused (``lease_failed``).
    """

    id: str
    account_id: str
    account_name: str
    key_id: str
    key_display: str
    surface: str
    model: str
    limit: int  # per choice, exactly what is sent upstream
    clamped: bool  # the day or the balance left less than was asked for: announce it
    r_input: int
    r_output: int
    r_usd: int
    lease: int
    price: Price
    prepaid: bool
    remaining: Remaining
    client_id: str = ""  # the client's own request id, for the log only
    lease_failed: bool = False
    asked: int = 0  # the largest lease asked for so far
    closed: bool = False
    on_lease: Callable[[], None] | None = None


class Settled(Struct, frozen=True, kw_only=True):
    """What a committed settlement came to: charged tokens, nano-USD, and what could not be charged."""

    id: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: int
    over_input: int
    over_output: int


class Usage(Struct, frozen=True, kw_only=True):
    """One account's day, as ``usage NAME`` and ``GET /v1/usage`` tell it."""

    account: str
    day: str  # YYYY-MM-DD (UTC)
    input: dict[str, int | None]  # used, reserved, cap
    output: dict[str, int | None]
    credited: int  # nano-USD
    spent: int
    reserved_usd: int
    unlimited: bool
    in_flight: int


Row = dict[str, Any]
