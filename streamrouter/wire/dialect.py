"""A surface's dialect: what its configuration says of requests, answers and refusals, compiled once at start. Pure.

Nothing here knows an API by name: a dialect is data (``[[surface]]``, see docs/dialects.md), and one that says nothing
is OpenAI's. A request passes twice: ``decode`` (its fields), then, once the model is known, ``fit`` (how much it says,
plugins, the model's defaults).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from streamrouter.config.schema import ContentConfig, FieldConfig, PluginConfig, SurfaceConfig
from streamrouter.errors import Refusal
from streamrouter.wire.answer import with_our_names
from streamrouter.wire.chat import Call, decode_call
from streamrouter.wire.fields import OPENAI_FIELDS, Field, FieldTable
from streamrouter.wire.refusals import Style, statuses_of

NO_CEILING: Final = 2**53 - 1
_OWNER_NAME: Final = r"[^/:\s]+/[^/:\s]+(:[^/:\s]+)?"
_NULL: Final = b"null"

_content = msgspec.json.Decoder(str | list[dict[str, Any]] | None).decode
_value = msgspec.json.decode
_encode = msgspec.json.Encoder().encode


class Plugin(Struct, frozen=True):
    """One plugin: ``send`` replaces it upstream (arrays are appended to the client's), ``not_with`` refuses values."""

    id: str
    models: frozenset[str] | None
    send: Mapping[str, Any]
    not_with: Mapping[tuple[str, ...], frozenset[str]]


class Dialect:
    """One surface's. ``fits``: there is something for ``fit`` to do (beyond a model's own defaults)."""

    def __init__(self, surface: SurfaceConfig) -> None:
        self.style = style_of(surface)
        self.table = field_table(surface)
        self.default_max_tokens = surface.max_tokens.default
        self.ceiling = surface.max_tokens.ceiling or NO_CEILING
        self.attempt_timeout_s = surface.attempt_timeout_s
        self.id_in_header = "header" in surface.request_id
        self.id_in_first_chunk = "first_chunk" in surface.request_id
        self.completes = surface.answers == "completed"
        self._id_in_body = "body" in surface.request_id
        self._streaming = surface.streaming
        self._unknown = surface.unknown_fields
        self._roles = frozenset(surface.roles)
        self._content = surface.content if surface.content != ContentConfig() else None
        self._plugins = [_plugin(plugin) for plugin in surface.plugins]
        self._finish_reasons = surface.finish_reasons
        self.fits = self._content is not None or bool(self._plugins)

    def decode(self, body: bytes, call_id: str) -> Call:
        """The request in ``body`` by this surface's fields and roles. Raises Refusal (InvalidFields has all faults)."""
        call = decode_call(body, call_id, self.table, self._unknown, self._roles)
        if call.stream and self._streaming != "relay":
            if self._streaming == "reject":
                raise Refusal("invalid_value", "Streaming is not supported here. Send stream: false.", param="stream")
            call.stream = False
        return call

    def fit(self, call: Call, model: str, defaults: Mapping[str, Raw]) -> None:
        """Refuse what is too much for this surface, translate plugins, add the ``defaults`` of the model (its id)."""
        if self._content is not None:
            _check_content(call.messages, self._content)
        if self._plugins:
            self._translate(call, model)
        for name, raw in defaults.items():
            if bytes(call.members.get(name, _NULL)) == _NULL:
                call.members[name] = raw

    def _translate(self, call: Call, model: str) -> None:
        """Plugins that this model has another word for become that; what remains is passed on as it is."""
        asked = _value(call.members.get("plugins", _NULL))
        if not isinstance(asked, list):
            return
        kept = []
        for entry in asked:
            plugin = self._plugin_of(entry, model)
            if plugin is not None:
                _refuse_beside(plugin, call, model)
                _send(plugin.send, call.members)
            if plugin is None or not plugin.send:
                kept.append(entry)
        if kept:
            call.members["plugins"] = Raw(_encode(kept))
        else:
            del call.members["plugins"]

    def _plugin_of(self, entry: Any, model: str) -> Plugin | None:
        name = entry.get("id") if isinstance(entry, dict) else None
        return next((p for p in self._plugins if p.id == name and (p.models is None or model in p.models)), None)

    def answer(self, body: bytes, model: str, call_id: str, missing: Mapping[str, Raw], usage: Raw | None) -> bytes:
        """A whole answer as it leaves. ``missing`` and ``usage``: see ``with_our_names``."""
        return with_our_names(
            body,
            model,
            call_id if self._id_in_body else None,
            finish_reasons=self._finish_reasons,
            missing=missing,
            usage=usage,
        )


def identity_of(call_id: str, created: int) -> dict[str, Raw]:
    """What a ``completed`` answer gets of us where the upstream gave none. ``created``: Unix seconds."""
    return {
        "id": Raw(_encode(f"chatcmpl-{call_id}")),
        "object": Raw(b'"chat.completion"'),
        "created": Raw(b"%d" % created),
    }


def style_of(surface: SurfaceConfig) -> Style:
    """How the surface words its refusals."""
    statuses = {"insufficient_balance": surface.balance_status} if surface.balance_status != 402 else {}
    return Style(
        shape=surface.errors.shape,
        statuses=statuses | statuses_of(surface.errors.status),
        id_in_body="errors" in surface.request_id,
        id_in_header="header" in surface.request_id,
    )


def field_table(surface: SurfaceConfig) -> FieldTable:
    """The surface's documented fields: OpenAI's (unless it says no) under its own."""
    own = {name: field_of(field) for name, field in surface.fields.items()}
    if surface.openai_fields and not own and surface.model_names.form != "owner/name":
        return OPENAI_FIELDS
    base = OPENAI_FIELDS if surface.openai_fields else {name: OPENAI_FIELDS[name] for name in ("model", "messages")}
    table = {**base, **own}
    if surface.model_names.form == "owner/name":
        form = "the form model_owner/model_name or model_owner/model_name:version_number"
        table["model"] = Field(type="string", required=True, pattern=_OWNER_NAME, form=form)
    return FieldTable(table)


def field_of(field: FieldConfig) -> Field:
    """One configured field. Bounds that are whole numbers are shown as such."""
    kinds = tuple(field.type.split(" or "))
    return Field(
        type=kinds[0] if len(kinds) == 1 else kinds,  # type: ignore[arg-type]  # the configuration's pattern knows no others
        required=field.required,
        nullable=field.nullable,
        minimum=_plain(field.minimum),
        maximum=_plain(field.maximum),
        choices=None if field.choices is None else tuple(field.choices),
        min_items=field.min_items,
        max_items=field.max_items,
        items=field.items,
        default=field.default,
        beside=field.beside,
    )


def _plain(bound: float | None) -> float | None:
    return int(bound) if bound is not None and bound == int(bound) else bound


def _plugin(config: PluginConfig) -> Plugin:
    not_with = {tuple(path.split(".")): frozenset(values) for path, values in config.not_with.items()}
    return Plugin(config.id, None if config.models is None else frozenset(config.models), config.send, not_with)


def _refuse_beside(plugin: Plugin, call: Call, model: str) -> None:
    for path, values in plugin.not_with.items():
        value = _value(call.members.get(path[0], _NULL))
        for step in path[1:]:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, str) and value in values:
            where = ".".join(path)
            message = f"{model} cannot use the plugin {plugin.id!r} together with {where} = {value!r}. Leave one out."
            raise Refusal("invalid_value", message, param=where)


def _send(members: Mapping[str, Any], out: dict[str, Raw]) -> None:
    for name, value in members.items():
        there = _value(out.get(name, _NULL))
        both = [*there, *value] if isinstance(value, list) and isinstance(there, list) else value
        out[name] = Raw(_encode(both))


def _check_content(messages: list[dict[str, Raw]], most: ContentConfig) -> None:
    """Refuses what is too many or too long. A character is a code point of text; pictures and audio have none."""
    if most.max_messages is not None and len(messages) > most.max_messages:
        raise _too_much(f"{len(messages)} messages", f"{most.max_messages} messages", "messages")
    total = 0
    for number, message in enumerate(messages):
        size = _characters(message.get("content"))
        if most.max_message_chars is not None and size > most.max_message_chars:
            where = f"messages[{number}].content"
            raise _too_much(f"{size} characters", f"{most.max_message_chars} in one message", where)
        total += size
    if most.max_total_chars is not None and total > most.max_total_chars:
        raise _too_much(f"{total} characters", f"{most.max_total_chars} in all messages", "messages")


def _characters(content: Raw | None) -> int:
    found = _content(content) if content is not None else None
    if isinstance(found, list):
        return sum(len(part["text"]) for part in found if isinstance(part.get("text"), str))
    return len(found or "")


def _too_much(got: str, most: str, param: str) -> Refusal:
    return Refusal("invalid_value", f"This request has {got}; at most {most} may be sent. Send less.", param=param)
