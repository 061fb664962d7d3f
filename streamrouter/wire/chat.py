"""A chat completion request: bytes to ``Call``, and ``Call`` to the bytes that go upstream.

What a client sent is decoded once, to find out that it is valid JSON in valid UTF-8 in which every key stands once;
then only the few members that are ours to read are kept as values. All others stay the bytes they came in.

The upstream is given our numbers, never the client's: model, limit, ``n``, ``stream`` and whether it reports usage are
written by ``forward_body``, whatever the members say. Where a request goes comes from the configuration alone: fields
that would steer a proxy behind us (``STEERING``) end here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal, NoReturn

import msgspec
from msgspec import Raw, Struct

from streamrouter.errors import Refusal
from streamrouter.wire.fields import (
    INTEGER_BOUND,
    MOST_FAULTS,
    OPENAI_FIELDS,
    Fault,
    Field,
    FieldTable,
    InvalidFields,
    Loc,
    Unknown,
    check,
    defaults,
    missing,
    type_of,
    wrong_type,
    wrong_value,
)
from streamrouter.wire.strict import refuse_bombs, refuse_repeats, refuse_twins

OPENAI_ROLES: Final = frozenset({"developer", "system", "user", "assistant", "tool", "function"})

# Top-level fields by which gateways and their libraries let a caller choose address, credentials or another model
# (CVE-2024-6587 and its kin; OpenRouter's and LiteLLM's fallbacks). Dropped, wherever unknown fields are not refused.
STEERING: Final = frozenset(
    {
        *("api_base", "api_key", "api_type", "api_version", "azure_ad_token", "azure_endpoint", "base_url"),
        *("aws_access_key_id", "aws_bedrock_runtime_endpoint", "aws_region_name", "aws_secret_access_key"),
        *("aws_session_token", "vertex_credentials", "vertex_location", "vertex_project"),
        *("context_window_fallbacks", "custom_llm_provider", "fallbacks", "model_list", "models", "route"),
        *("extra_body", "extra_headers", "extra_query", "headers", "http_client", "organization", "proxies", "proxy"),
        *("litellm_call_id", "litellm_credential_name", "litellm_metadata", "litellm_params", "mock_response"),
        *("request_id", "user_config"),
    }
)

# Never sent as the client wrote them. best_of is no field of chat completions, but some upstreams would bill it.
_REWRITTEN: Final = ("max_tokens", "max_completion_tokens", "best_of", "stream_options")

# Roles whose message may lack a content: an assistant that called tools said nothing.
_SILENT_ROLES: Final = frozenset({"assistant", "function"})

_tree = msgspec.json.Decoder().decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_messages = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_options = msgspec.json.Decoder(dict[str, Raw] | None).decode
_encode = msgspec.json.Encoder().encode

LimitField = Literal["max_tokens", "max_completion_tokens"]


class Call(Struct, kw_only=True):
    """One request, decoded. ``members`` are the top level as sent, without ``STEERING``, with the surface's defaults.

    ``max_tokens`` is the smaller of the client's two limits, None if it gave none. ``size`` is the body's, in bytes.
    """

    id: str
    model: str
    stream: bool
    include_usage: bool
    n: int
    max_tokens: int | None
    members: dict[str, Raw]
    messages: list[dict[str, Raw]]
    size: int


def decode_call(
    body: bytes,
    call_id: str,
    table: Mapping[str, Field] = OPENAI_FIELDS,
    unknown: Unknown = "forward",
    roles: frozenset[str] = OPENAI_ROLES,
) -> Call:
    """The request in ``body``, checked against a surface's documented fields and roles.

    Raises ``Refusal`` with ``invalid_json`` for what is not one JSON object, and ``InvalidFields`` with every fault of
    the fields and messages (``missing_required_parameter``, ``invalid_type``, ``invalid_value``).
    """
    refuse_bombs(body)
    table = FieldTable.of(table)
    tree, members = _decode(body)
    refuse_twins(tree, OPENAI_FIELDS, _REWRITTEN, STEERING, table)
    faults = check(tree, table, unknown)
    if not any(fault.loc[0] == "messages" for fault in faults):
        faults += _check_messages(tree.get("messages"), roles)
    if faults:
        raise InvalidFields(faults)
    _keep(tree, members, table, unknown)
    return _call(call_id, tree, members, len(body))


def forward_body(
    call: Call,
    *,
    model: str,
    limit: int,
    limit_field: LimitField,
    ask_usage: bool,
    stream: bool,
    extra: Mapping[str, Raw] | None = None,
) -> bytes:
    """The body that goes upstream: the client's members with our model, limit (tokens), ``n``, ``stream`` and usage.

    ``extra`` are members from the configuration; they replace the client's, and never ours.
    """
    out: dict[str, Any] = {**call.members, **(extra or {})}
    for name in _REWRITTEN:
        out.pop(name, None)
    out["model"] = model
    out[limit_field] = limit
    out["stream"] = stream
    if "n" in out:
        out["n"] = call.n
    if stream and (options := _stream_options(call.members.get("stream_options"), ask_usage)):
        out["stream_options"] = options
    return _encode(out)


def _decode(body: bytes) -> tuple[dict[str, Any], dict[str, Raw]]:
    """``body`` as values and as the bytes of its members; what is not one JSON object without repeats is refused."""
    try:
        tree = _tree(body)
        if type(tree) is not dict:
            raise Refusal("invalid_json", "The request body must be a JSON object.")
        refuse_repeats(body, tree)
        return tree, _members(body)
    except msgspec.ValidationError:
        _refuse_number(body)
    except msgspec.DecodeError as error:
        raise Refusal("invalid_json", f"The request body is not valid JSON: {_reason(error)}.") from None
    except UnicodeDecodeError:
        raise Refusal("invalid_json", "The request body is not valid UTF-8.") from None
    except RecursionError:
        raise Refusal("invalid_json", "The request body is nested too deeply.") from None


def _reason(error: msgspec.DecodeError) -> str:
    return str(error).removeprefix("JSON is malformed: ").replace("Input data was truncated", "it ends too early")


def _refuse_number(body: bytes) -> NoReturn:
    """Valid JSON with a number that no reader can hold (``1e400``); its top-level field is named, if there is one."""
    param = None
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        for name, raw in _members(body).items():
            param = name[:64]
            _tree(raw)  # raises at the one that is at fault
    raise Refusal("invalid_value", "The request body has a number that is out of range.", param=param) from None


def _keep(tree: dict[str, Any], members: dict[str, Raw], table: Mapping[str, Field], unknown: Unknown) -> None:
    """Takes out of the top level what steers and what is dropped, and puts in what is sent by default."""
    gone = STEERING.intersection(tree)
    if unknown == "drop":
        gone |= tree.keys() - table.keys() - {"model", "messages"}
    for name in gone:
        del tree[name], members[name]
    for name, value in defaults(tree, table).items():
        tree[name] = value
        members[name] = Raw(_encode(value))


def _call(call_id: str, tree: dict[str, Any], members: dict[str, Raw], size: int) -> Call:
    """Reads the members that are ours. They are checked here whatever the surface's table says of them, or does not."""
    limits = [limit for name in ("max_completion_tokens", "max_tokens") if (limit := _natural(tree, name))]
    choices = _natural(tree, "n") or 1
    if (_natural(tree, "best_of") or 1) > choices:
        raise InvalidFields([wrong_value(("best_of",), f"expected a value <= n, which is {choices}.")])
    model, messages = tree.get("model"), members.get("messages")
    if type(model) is not str:
        raise InvalidFields(
            [wrong_type(("model",), "string", type_of(model)) if "model" in tree else missing(("model",))]
        )
    if messages is None:
        raise InvalidFields([missing(("messages",))])
    return Call(
        id=call_id,
        model=model,
        stream=_flag(tree.get("stream"), ("stream",)),
        include_usage=_include_usage(tree.get("stream_options")),
        n=choices,
        max_tokens=min(limits, default=None),
        members=members,
        messages=_messages(messages),
        size=size,
    )


def _natural(tree: Mapping[str, Any], name: str) -> int | None:
    """A count of at least one; None if it is absent or null."""
    value = tree.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise InvalidFields([wrong_type((name,), "integer", type_of(value))])
    if not 1 <= value < INTEGER_BOUND:
        raise InvalidFields([wrong_value((name,), "expected a value >= 1 that fits 64 bits.")])
    return value


def _flag(value: Any, loc: Loc) -> bool:
    if value is None or type(value) is bool:
        return bool(value)
    raise InvalidFields([wrong_type(loc, "boolean", type_of(value))])


def _include_usage(options: Any) -> bool:
    if options is None:
        return False
    if type(options) is not dict:
        raise InvalidFields([wrong_type(("stream_options",), "object", type_of(options))])
    return _flag(options.get("include_usage"), ("stream_options", "include_usage"))


def _stream_options(raw: Raw | None, ask_usage: bool) -> dict[str, Any]:
    """The client's own options; whether usage is reported is for us to say, and nothing if the upstream cannot."""
    options: dict[str, Any] = (_options(raw) if raw is not None else None) or {}
    options.pop("include_usage", None)
    if ask_usage:
        options["include_usage"] = True
    return options


def _check_messages(messages: Any, roles: frozenset[str]) -> list[Fault]:
    """Every fault of the messages, by their decoded values. Absent messages are no fault here."""
    faults: list[Fault] = []
    if type(messages) is not list:
        return faults if messages is None else [wrong_type(("messages",), "array", type_of(messages))]
    for index, message in enumerate(messages):
        if len(faults) >= MOST_FAULTS:
            break
        if type(message) is dict:
            _check_message(message, ("messages", index), roles, faults)
        else:
            faults.append(wrong_type(("messages", index), "object", type_of(message)))
    return faults


def _check_message(message: dict[str, Any], loc: Loc, roles: frozenset[str], faults: list[Fault]) -> None:
    role, content = message.get("role"), message.get("content")
    if type(role) is not str:
        faults.append(
            wrong_type((*loc, "role"), "string", type_of(role)) if "role" in message else missing((*loc, "role"))
        )
    elif role not in roles:
        faults.append(wrong_value((*loc, "role"), f"expected one of {', '.join(sorted(roles))}.", "literal_error"))
    if type(content) is list:
        _check_parts(content, (*loc, "content"), faults)
    elif content is None:
        if role not in _SILENT_ROLES:
            faults.append(_no_content(message, (*loc, "content")))
    elif type(content) is not str:
        faults.append(wrong_type((*loc, "content"), ("string", "array"), type_of(content)))
    if len(message) > 2:
        _check_rest(message, loc, faults)


def _no_content(message: dict[str, Any], loc: Loc) -> Fault:
    return wrong_type(loc, ("string", "array"), "null") if "content" in message else missing(loc)


def _check_parts(parts: list[Any], loc: Loc, faults: list[Fault]) -> None:
    if not parts:
        faults.append(wrong_value(loc, "expected at least 1 part, but got 0.", "too_short"))
    for index, part in enumerate(parts):
        if len(faults) >= MOST_FAULTS:
            break
        if type(part) is not dict:
            faults.append(wrong_type((*loc, index), "object", type_of(part)))
        elif "type" not in part:
            faults.append(missing((*loc, index, "type")))
        elif type(part["type"]) is not str:
            faults.append(wrong_type((*loc, index, "type"), "string", type_of(part["type"])))
        elif part["type"] == "text":
            _check_text(part, (*loc, index, "text"), faults)


def _check_text(members: dict[str, Any], loc: Loc, faults: list[Fault], *, required: bool = True) -> None:
    name = str(loc[-1])
    value = members.get(name)
    if value is None and not required:
        return
    if type(value) is not str:
        faults.append(wrong_type(loc, "string", type_of(value)) if name in members else missing(loc))


def _check_rest(message: dict[str, Any], loc: Loc, faults: list[Fault]) -> None:
    for name in ("name", "tool_call_id", "refusal"):
        _check_text(message, (*loc, name), faults, required=False)
    calls = message.get("tool_calls")
    if type(calls) is list:
        for index, call in enumerate(calls):
            if len(faults) >= MOST_FAULTS:
                break
            if type(call) is not dict:
                faults.append(wrong_type((*loc, "tool_calls", index), "object", type_of(call)))
            else:
                _check_function(call.get("function"), (*loc, "tool_calls", index, "function"), faults)
    elif calls is not None:
        faults.append(wrong_type((*loc, "tool_calls"), "array", type_of(calls)))
    _check_function(message.get("function_call"), (*loc, "function_call"), faults)


def _check_function(function: Any, loc: Loc, faults: list[Fault]) -> None:
    """A call that the assistant made earlier; absent is fine (a custom tool has none)."""
    if type(function) is dict:
        _check_text(function, (*loc, "name"), faults)
        _check_text(function, (*loc, "arguments"), faults, required=False)
    elif function is not None:
        faults.append(wrong_type(loc, "object", type_of(function)))
