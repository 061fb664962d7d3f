"""What the admin API answers about accounts, keys, money and requests, as Structs.

``/openapi.json`` is made from them, and tests hold real answers to them (the server's own are in server.py beside it).
Amounts are decimal strings in USD, times are ISO 8601 in UTC; an integer above 2^53 would be a string, so caps and
tokens may be either. A list has ``next``: the cursor of its next page, null on the last one.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, defstruct

Tokens = int | str
KeyStatus = Literal["active", "revoked"]


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer, or a part of one."""


class TokensOfDay(Answer, frozen=True):
    """Tokens of one day; ``cap`` null: no cap."""

    used: Tokens
    reserved: Tokens
    cap: Tokens | None


class Usage(Answer, frozen=True):
    """One account's day."""

    user: str
    day: str
    input: TokensOfDay
    output: TokensOfDay
    balance_usd: str
    spent_usd: str
    reserved_usd: str
    in_flight: int
    unlimited: bool


class Account(Answer, frozen=True):
    """A user: caps (null: none), models (null: every one), balance."""

    id: str
    user: str
    status: Literal["active", "disabled"]
    input_per_request: Tokens | None
    output_per_request: Tokens | None
    daily_input: Tokens | None
    daily_output: Tokens | None
    requests_per_minute: int | None
    models: list[str] | None
    unlimited: bool
    balance_usd: str
    spent_usd: str
    reserved_usd: str
    created: str


class OwnAccount(Account, frozen=True):
    """``keys``: how many active ones there are."""

    keys: int


class User(OwnAccount, frozen=True):
    """With today's usage."""

    usage: Usage


class Key(Answer, frozen=True):
    """A key as it may be shown; never its secret. ``expires``: when a rotation's grace ends."""

    id: str
    user: str
    display: str
    surface: str
    models: list[str] | None
    concurrency: int | None
    status: KeyStatus
    in_flight: int
    created: str
    revoked: str | None
    expires: str | None
    replaces: str | None
    replaced_by: str | None


class NewSecret(Key, frozen=True):
    """``key``: the secret, shown this once."""

    key: str


class MadeKey(Key, frozen=True):
    """``key``: the secret, shown this once; null where the Idempotency-Key made it before (``repeated``)."""

    key: str | None
    repeated: bool
    warnings: list[str]


class RevokedKey(Key, frozen=True):
    """``streams_stopped``: how many requests were ended with it."""

    streams_stopped: int


class TopUp(Answer, frozen=True):
    """A payment. ``repeated``: its Idempotency-Key was booked before, nothing was added."""

    user: str
    paid_usd: str
    fee_usd: str
    credited_usd: str
    balance_usd: str
    ref: str | None
    repeated: bool


class Booked(Answer, frozen=True):
    """A refund or an adjustment."""

    user: str
    kind: Literal["refund", "adjustment"]
    amount_usd: str
    balance_usd: str
    ref: str | None
    repeated: bool


class Entry(Answer, frozen=True):
    """One line of money. ``usage`` is a day's spending: it has neither id nor time. ``balance_usd``: after it."""

    id: str | None
    time: str | None
    day: str
    user: str
    kind: Literal["payment", "fee", "adjustment", "refund", "usage"]
    amount_usd: str
    ref: str | None
    balance_usd: str | None


class Request(Answer, frozen=True):
    """One request. Tokens are the charged ones; ``gap_p99_ms``: between two reads of its stream."""

    id: str
    time: str
    user: str
    key: str
    key_id: str
    surface: str
    model: str
    upstream: str
    stream: bool
    state: Literal["open", "settled", "released", "recovered"]
    end: str
    usage_source: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: str
    spent_usd: str
    ttft_ms: int | None
    duration_ms: int
    gap_p99_ms: int | None
    held_input: int
    held_output: int
    held_usd: str


class Held(Answer, frozen=True):
    """What was reserved, or what could not be charged."""

    input: int
    output: int
    usd: str


class Charged(Answer, frozen=True):
    """Tokens that were charged; ``cached`` is part of input, ``reasoning`` of output."""

    input: int
    cached: int
    output: int
    reasoning: int


class PriceTaken(Answer, frozen=True):
    """USD per million tokens, as they were at admission."""

    input: str
    cache_read: str
    output: str


class Phase(Answer, frozen=True):
    """One bar of the waterfall: milliseconds since the request arrived."""

    name: Literal["admit", "upstream", "first token", "stream", "settle"]
    start_ms: int
    end_ms: int


class Attempt(Answer, frozen=True):
    """An upstream that was tried: ``ok``, or the code of what went wrong."""

    upstream: str
    outcome: str


class Explained(Answer, frozen=True):
    """How a request became a charge, and where its time went. ``attempts`` null: not remembered any more."""

    id: str
    user: str
    key: str
    key_id: str
    surface: str
    model: str
    upstream: str
    stream: bool
    day: str
    state: str
    created: str
    closed: str | None
    end: str
    usage_source: str
    held: Held
    leased_output: int
    lease_steps: list[int]
    charged: Charged
    over: Held
    price_usd_per_million: PriceTaken
    pico_usd: Tokens
    rounded_up_by_pico_usd: int
    cost_usd: str
    spent_usd: str
    billing: Literal["prepaid", "tokens"]
    ttft_ms: int | None
    duration_ms: int
    gap_p99_ms: int | None
    phases: list[Phase]
    attempts: list[Attempt] | None


class UsageRow(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """Usage of one user, key, model or day (the one that was asked for)."""

    user: str | None = None
    key: str | None = None
    model: str | None = None
    day: str | None = None
    requests: Tokens
    input: Tokens
    output: Tokens
    cached: Tokens
    reasoning: Tokens
    cost_usd: str
    spent_usd: str
    over_input: Tokens
    over_output: Tokens


def page_of(name: str, row: type[Answer]) -> type[Answer]:
    """A list of rows, by pages."""
    fields: list[Any] = [("data", list[row]), ("next", str | None)]  # type: ignore[valid-type]
    made: Any = defstruct(name, fields, bases=(Answer,), frozen=True, kw_only=True, forbid_unknown_fields=True)
    made.__doc__ = "A page; ``next`` is the cursor of the one after it, null on the last one."
    return made  # type: ignore[no-any-return]


Users, Keys, Entries = page_of("Users", User), page_of("Keys", Key), page_of("Entries", Entry)
Requests, UsageReport = page_of("Requests", Request), page_of("UsageReport", UsageRow)
