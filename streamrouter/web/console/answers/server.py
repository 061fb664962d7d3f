"""What the admin API answers about the running server, as Structs: traffic, models, upstreams, configuration, me."""

from __future__ import annotations

from typing import Any, Literal

from streamrouter.web.console.answers.books import Answer, Key, OwnAccount, Usage, page_of


class Flight(Answer, frozen=True):
    """A request in flight. ``output_tokens``: read so far; ``tokens_per_s`` null: nothing came yet."""

    id: str
    user: str
    key: str
    key_id: str
    model: str
    upstream: str
    age_s: float
    output_tokens: int
    tokens_per_s: float | None
    reserved_output: int
    leased_output: int
    state: Literal["waiting", "streaming", "answering"]


class Stopped(Answer, frozen=True):
    """It was in flight, and is being ended."""

    id: str
    stopped: bool


class Price(Answer, frozen=True):
    """USD per million tokens, as configured."""

    input: str
    output: str
    cache_read: str


class Target(Answer, frozen=True):
    """One place that a model is served from; the lowest rank first, within a rank by weight."""

    upstream: str
    model: str
    rank: int
    weight: int


class Model(Answer, frozen=True):
    """A public model."""

    id: str
    name: str
    owned_by: str
    context_length: int
    max_output_tokens: int
    default_max_tokens: int
    price: Price
    targets: list[Target]
    streaming: bool
    exact: bool


class Upstream(Answer, frozen=True):
    """An upstream and its last hour (attempts, failed ones, times of requests that it served)."""

    name: str
    base_url: str
    preset: str | None
    state: Literal["closed", "open", "half_open"]
    cooldown_until: str | None
    requests: int
    errors: int
    ttft_p50_ms: int | None
    ttft_p95_ms: int | None
    gap_p99_ms: int | None


class Tested(Answer, frozen=True):
    """One prompt that was sent to an upstream. ``ttft_ms``: until its first text."""

    ok: bool
    status: int | None
    ttft_ms: int | None
    duration_ms: int
    text: str | None
    error: str | None


class Surface(Answer, frozen=True):
    """Where clients are served, and how."""

    name: str
    base_path: str
    host: str | None
    key_prefix: str
    auth: list[str]
    billing: Literal["tokens", "prepaid"]
    streaming: Literal["relay", "reject", "single"]
    models: list[str] | None


class Configuration(Answer, frozen=True):
    """``path``: the file, or "built in"; ``config``: the tree of it, secrets left out."""

    path: str
    config: dict[str, Any]
    surfaces: list[Surface]


class AuditLine(Answer, frozen=True):
    """One change: when, by whom, what, to what."""

    id: int
    time: str
    actor: str
    action: str
    subject: str
    detail: Any


class Books(Answer, frozen=True):
    """Whether the books are right (``faults``: what is not), and whether they can be written (``health`` null)."""

    ok: bool
    faults: list[str]
    invariants: int
    checked: str
    day: str
    alarm: str | None
    health: str | None
    queue_length: int


class Lines(Answer, frozen=True):
    """One value per step; null: nothing is known. Times are milliseconds."""

    requests: list[int | None]
    errors: list[int | None]
    input_tokens: list[int | None]
    output_tokens: list[int | None]
    cost_usd: list[str | None]
    ttft_p50_ms: list[int | None]
    ttft_p95_ms: list[int | None]
    gap_p99_ms: list[int | None]
    active: list[int | None]


class SeriesAnswer(Answer, frozen=True):
    """``t``: the Unix second that each step begins with."""

    step_s: int
    t: list[int]
    series: Lines


class UpstreamState(Answer, frozen=True):
    """An upstream in the live feed."""

    name: str
    state: Literal["closed", "open", "half_open"]


class LiveEvent(Answer, frozen=True):
    """One second: ``data:`` of each event. Rates are of that second, percentiles of the last minute."""

    t: int
    active: int
    streams: int
    requests_s: float
    errors_s: float
    input_tokens_s: float
    output_tokens_s: float
    ttft_p50_ms: int | None
    ttft_p95_ms: int | None
    gap_p99_ms: int | None
    spend_today_usd: str
    upstreams: list[UpstreamState]


class OwnPerson(Answer, frozen=True):
    """Who is signed in."""

    id: str | None
    name: str
    role: Literal["admin", "member"]
    user: str


class Me(Answer, frozen=True):
    """All that a member needs to know of themselves."""

    person: OwnPerson
    account: OwnAccount
    usage: Usage
    keys: list[Key]
    surfaces: list[Surface]


Flights, Models = page_of("Flights", Flight), page_of("Models", Model)
Upstreams, AuditLog = page_of("Upstreams", Upstream), page_of("AuditLog", AuditLine)
