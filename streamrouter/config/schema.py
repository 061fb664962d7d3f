"""The configuration as one tree of Structs: what can be said, with its default and its unit.

Every Struct refuses unknown keys. Amounts of money are decimal strings (a float never comes near them). Durations carry
their unit in the name. ``config/load.py`` reads files into this; nothing here touches a file or the environment.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from streamrouter.config.values import (
    BasePath,
    Bound,
    CancelPath,
    ErrorStatus,
    FieldName,
    FieldType,
    HeaderName,
    HostName,
    KeyPrefix,
    ModelId,
    Name,
    Natural,
    Network,
    Origin,
    Percent,
    Positive,
    Role,
    Seconds,
    SecondsOrZero,
    Usd,
    UsdPerMillion,
    Word,
)


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown keys are errors; values do not change after loading (a reload makes a new tree)."""


class ServerConfig(_Strict, frozen=True):
    """``[server]``: where we listen, what a client may send, how long things may take."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    max_body_bytes: Positive = 8 * 1024 * 1024
    body_timeout_s: Seconds = 30.0
    idle_timeout_s: Seconds = 75.0
    stalled_client_s: Seconds = 30.0
    tls_cert: str | None = None
    tls_key: str | None = None
    http2: bool = False
    drain_announce_s: SecondsOrZero = 0.0
    drain_timeout_s: SecondsOrZero = 120.0
    keepalive_s: Seconds = 15.0
    commit_status_s: Seconds = 50.0
    resume_window_s: Seconds = 60.0
    resume_buffer_bytes: Positive = 1024 * 1024
    max_waiting_requests: Positive = 4096
    cors_origins: list[Origin] = field(default_factory=list)
    metrics: bool = True
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    watch_config: bool = True


class LedgerConfig(_Strict, frozen=True):
    """``[ledger]``: the file and how durable a commit is (``full`` survives a power cut, ``normal`` a crash).

    ``path``: a file's, or a Postgres database's URL (config/place.py), which must not be shown as it is.
    ``retain_holds_days``: closed requests older than that are summed up and removed; None keeps them all.
    """

    path: str = "streamrouter.db"
    durability: Literal["full", "normal"] = "full"
    lease_tokens: Positive = 256
    busy_timeout_s: Seconds = 5.0
    retain_holds_days: Annotated[int, Meta(ge=2, le=36_500)] | None = None


class IdempotencyConfig(_Strict, frozen=True):
    """``[idempotency]``: whether whole answers to requests with an Idempotency-Key are kept for 24 hours."""

    store_replies: bool = True


class DefaultsConfig(_Strict, frozen=True):
    """``[defaults]``: the caps of a new user; None means no cap."""

    input_per_request: Natural | None = None
    output_per_request: Natural | None = None
    daily_input: Natural | None = None
    daily_output: Natural | None = None
    requests_per_minute: Positive | None = None
    models: list[ModelId] | None = None
    unlimited: bool = False


class UpstreamConfig(_Strict, frozen=True):
    """``[upstreams.NAME]``: one OpenAI-compatible endpoint. ``base_url`` includes its ``/v1``, or is ``demo:``."""

    base_url: str = ""
    api_key: str = ""
    preset: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    ask_usage: bool | None = None
    connect_s: Seconds = 5.0
    first_byte_s: Seconds = 60.0
    idle_s: Seconds = 300.0
    stream_total_s: Seconds = 1800.0
    total_s: Seconds = 600.0
    usage_wait_s: Seconds = 5.0
    on_disconnect: Literal["abort", "drain"] = "abort"
    drain_s: Seconds = 30.0
    drain_most: Natural = 100
    charge_ambiguous_input: bool = True
    max_answer_bytes: Positive = 16 * 1024 * 1024
    max_event_bytes: Positive = 1024 * 1024
    cooldown_s: Seconds = 10.0
    cancel_path: CancelPath | None = None
    cancel_id: HeaderName = "x-request-id"
    demo_ttft_ms: Natural = 150
    demo_pace_ms: Natural = 20


class TargetConfig(_Strict, frozen=True):
    """One place a model is served from. Lower ``rank`` first; within a rank a share by ``weight``."""

    upstream: Name
    model: str | None = None
    rank: Natural = 0
    weight: Positive = 1


class PriceConfig(_Strict, frozen=True):
    """USD per million tokens, as decimal strings; ``cache_read`` defaults to ``input``."""

    input: UsdPerMillion = "0"
    output: UsdPerMillion = "0"
    cache_read: UsdPerMillion | None = None


class ModelConfig(_Strict, frozen=True):
    """``[models."ID"]``: a public model. ``targets`` empty: the first upstream, under ``upstream_model`` (or the id).

    ``exact``: the tokenizer is the model's own, so local counts are exact; else they are estimates with a margin.
    ``defaults``: fields that are sent upstream where the client leaves them out (a tuned temperature).
    """

    name: str | None = None
    owned_by: str = "streamrouter"
    upstream_model: str | None = None
    targets: list[TargetConfig] = field(default_factory=list)
    encoding: Literal["o200k_base", "cl100k_base"] = "o200k_base"
    exact: bool = False
    context_length: Positive = 128_000
    max_output_tokens: Positive = 16_384
    default_max_tokens: Positive = 4096
    streaming: bool = True
    image_tokens: Natural | None = None
    defaults: dict[FieldName, Any] = field(default_factory=dict)
    price: PriceConfig = PriceConfig()


class FieldConfig(_Strict, frozen=True):
    """One documented request field (wire/fields.Field). ``default`` is what is sent on where the client gives none,
    with ``beside`` only next to another field."""

    type: FieldType
    required: bool = False
    nullable: bool = True
    minimum: Bound | None = None
    maximum: Bound | None = None
    choices: list[Word] | None = None
    min_items: Natural | None = None
    max_items: Natural | None = None
    items: Literal["string", "number", "boolean", "array", "object"] | None = None
    default: Any = None
    beside: FieldName | None = None


class MaxTokensConfig(_Strict, frozen=True):
    """Output tokens: what a request without a limit gets (None: the model's own), and the most on this surface."""

    default: Positive | None = None
    ceiling: Positive | None = None


class ContentConfig(_Strict, frozen=True):
    """How much a request may say; characters are code points of text. None: no limit."""

    max_messages: Positive | None = None
    max_message_chars: Positive | None = None
    max_total_chars: Positive | None = None


class ModelNamesConfig(_Strict, frozen=True):
    """How clients name models. ``passed_on``: ids that end so go, as they are, to upstreams of that preset."""

    form: Literal["exact", "prefix", "owner/name"] = "exact"
    prefix: str = ""
    ignore_tag: bool = False
    passed_on: dict[Word, str] = field(default_factory=dict)


class PluginConfig(_Strict, frozen=True):
    """What ``plugins: [{"id": …}]`` becomes for some models (None: all), and which values it cannot stand beside."""

    id: Word
    models: list[ModelId] | None = None
    send: dict[FieldName, Any] = field(default_factory=dict)
    not_with: dict[Word, list[Word]] = field(default_factory=dict)


class ErrorsConfig(_Strict, frozen=True):
    """The body of a refusal, and its status by code or by our own status (``"404" = 400``) where it differs."""

    shape: Literal["openai", "detail"] = "openai"
    status: dict[Word, ErrorStatus] = field(default_factory=dict)


class SurfaceConfig(_Strict, frozen=True):
    """``[[surface]]``: a dialect and where it is mounted (docs/dialects.md). A key belongs to one surface."""

    name: Name = "streamrouter"
    base_path: BasePath = "/v1"
    host: HostName | None = None
    key_prefix: KeyPrefix = "sk-"
    auth: list[Literal["bearer", "x-api-key", "api-key"]] = field(
        default_factory=lambda: ["bearer", "x-api-key", "api-key"]
    )
    billing: Literal["tokens", "prepaid"] = "tokens"
    balance_status: Literal[402, 429] = 402
    concurrency: Positive | None = None
    topup_minimum: Usd = "0"
    topup_fee_percent: Percent = "0"
    topup_fee: Literal["on_top", "taken_out"] = "on_top"
    models: list[ModelId] | None = None
    model_names: ModelNamesConfig = ModelNamesConfig()
    streaming: Literal["relay", "reject", "single"] = "relay"
    unknown_fields: Literal["forward", "drop", "reject"] = "forward"
    openai_fields: bool = True
    fields: dict[FieldName, FieldConfig] = field(default_factory=dict)
    roles: list[Role] = field(default_factory=lambda: ["developer", "system", "user", "assistant", "tool", "function"])
    max_tokens: MaxTokensConfig = MaxTokensConfig()
    content: ContentConfig = ContentConfig()
    plugins: list[PluginConfig] = field(default_factory=list)
    attempt_timeout_s: Seconds | None = None
    answers: Literal["relayed", "completed"] = "relayed"
    finish_reasons: dict[Word, Word] = field(default_factory=dict)
    request_id: list[Literal["header", "body", "first_chunk", "errors"]] = field(
        default_factory=lambda: ["header", "body", "first_chunk", "errors"]
    )
    errors: ErrorsConfig = ErrorsConfig()


class ConsoleConfig(_Strict, frozen=True):
    """``[console]``: the admin API and its pages.

    ``trusted_proxies``: whose ``X-Forwarded-For`` is believed, for the delays after wrong passwords.
    """

    enabled: bool = True
    trusted_proxies: list[Network] = field(default_factory=list)


class LogConfig(_Strict, frozen=True):
    """``[log]``: ``auto`` is one coloured line per request on a terminal and JSON lines on a pipe.

    ``file`` None: standard error. A file is opened again on SIGHUP, so that it can be rotated.
    """

    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    file: str | None = None


class TracingConfig(_Strict, frozen=True):
    """``[tracing]``: one OpenTelemetry span per request; where it is sent is said by the standard OTEL_* variables."""

    enabled: bool = False


class Config(_Strict, frozen=True):
    """The whole file."""

    prices: str | None = None
    server: ServerConfig = ServerConfig()
    ledger: LedgerConfig = LedgerConfig()
    idempotency: IdempotencyConfig = IdempotencyConfig()
    log: LogConfig = LogConfig()
    console: ConsoleConfig = ConsoleConfig()
    tracing: TracingConfig = TracingConfig()
    defaults: DefaultsConfig = DefaultsConfig()
    upstreams: dict[Name, UpstreamConfig] = field(default_factory=dict)
    models: dict[ModelId, ModelConfig] = field(default_factory=dict)
    surface: list[SurfaceConfig] = field(default_factory=lambda: [SurfaceConfig()])
