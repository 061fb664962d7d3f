"""What a surface and its dialect must make sense of: places and names that are one's own, fields, codes, models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streamrouter.config.check import did_you_mean
from streamrouter.config.expand import Report
from streamrouter.config.locate import Path
from streamrouter.config.presets import PRESETS
from streamrouter.config.schema import Config, FieldConfig, SurfaceConfig
from streamrouter.errors import RULES
from streamrouter.wire.chat import STEERING
from streamrouter.wire.dialect import field_of
from streamrouter.wire.fields import Field, check

# Written by us into every forwarded request, so that no default can stand there.
_OURS = {"model", "messages", "stream", "stream_options", "n", "best_of", "max_tokens", "max_completion_tokens"}
_STATUSES = {str(rule.status) for rule in RULES.values()}
_TAKEN = ("/admin/", "/console/", "/openapi.json/")  # the console's places (web/console/mount.py)
_PARTS = {"model": "string", "messages": "array"}  # what the rest of us relies on


def check_surfaces(config: Config, report: Report) -> None:
    """Report what cannot work in the surfaces of ``config``, and in the defaults of its models."""
    for model_id, model in config.models.items():
        _check_sent(("models", model_id, "defaults"), model.defaults, report)
    if not config.surface:
        report(("surface",), "there is none; leave it out for the one at /v1")
    names: set[str] = set()
    places: set[tuple[str | None, str]] = set()
    for number, surface in enumerate(config.surface):
        place = (surface.host.lower() if surface.host else None, surface.base_path)
        if surface.name in names:
            report(("surface", number, "name"), f'a second surface is named "{surface.name}"; each needs its own name')
        if place in places:
            where = f"{surface.base_path} of {place[0] or 'every host'}"
            report(("surface", number, "base_path"), f"a second surface is at {where}; each needs its own place")
        if config.console.enabled and f"{surface.base_path}/".startswith(_TAKEN):
            report(("surface", number, "base_path"), "the console is there; choose another place, or switch it off")
        names.add(surface.name)
        places.add(place)
        _check_dialect(("surface", number), surface, config, report)


def _check_dialect(path: Path, surface: SurfaceConfig, config: Config, report: Report) -> None:
    for name, field in surface.fields.items():
        _check_field((*path, "fields", name), name, field, surface, report)
    _check_models((*path, "models"), surface.models or (), config, report)
    _check_names((*path, "model_names"), surface, report)
    most = surface.max_tokens
    if most.default is not None and most.ceiling is not None and most.default > most.ceiling:
        report((*path, "max_tokens", "default"), f"{most.default} is above the ceiling, {most.ceiling}; lower it")
    for number, plugin in enumerate(surface.plugins):
        _check_models((*path, "plugins", number, "models"), plugin.models or (), config, report)
        _check_sent((*path, "plugins", number, "send"), plugin.send, report)
    for name in surface.errors.status:
        if name not in RULES and name not in _STATUSES:
            report((*path, "errors", "status", name), f"no code and no status of ours; {did_you_mean(name, RULES)}")
    if surface.finish_reasons and surface.streaming == "relay":
        what = 'only whole answers are rewritten; set streaming to "reject" or "single"'
        report((*path, "finish_reasons"), what)
    if not surface.roles:
        report((*path, "roles"), "no message could be sent; name at least one role")


def _check_models(path: Path, models: Iterable[str], config: Config, report: Report) -> None:
    for number, model in enumerate(models):
        if model not in config.models:
            known = did_you_mean(model, config.models)
            report((*path, number), f'there is no [models."{model}"]; {known}')


def _check_names(path: Path, surface: SurfaceConfig, report: Report) -> None:
    names = surface.model_names
    if (names.prefix or names.ignore_tag) and names.form != "prefix":
        report((*path, "form"), 'prefix and ignore_tag are for form = "prefix"')
    for ending, preset in names.passed_on.items():
        if preset not in PRESETS:
            report((*path, "passed_on", ending), f"unknown preset; {did_you_mean(preset, PRESETS)}")


def _check_sent(path: Path, sent: dict[str, Any], report: Report) -> None:
    for name in sent:
        if name in _OURS or name in STEERING:
            report((*path, name), "this field is streamrouter's own to write, or ends here; leave it out")


def _check_field(path: Path, name: str, config: FieldConfig, surface: SurfaceConfig, report: Report) -> None:
    field = field_of(config)
    expected = _PARTS.get(name)
    if expected is not None and (config.type != expected or not config.required):
        report(path, f'{name} is always type = "{expected}", required = true')
    if field.minimum is not None and field.maximum is not None and field.minimum > field.maximum:
        report((*path, "minimum"), f"{field.minimum} is above maximum, which is {field.maximum}")
    if field.beside is not None and field.beside not in surface.fields and not surface.openai_fields:
        report((*path, "beside"), f"there is no such field; {did_you_mean(field.beside, surface.fields)}")
    if config.default is None:
        return
    if name in _OURS:
        report((*path, "default"), "streamrouter writes this field itself; max_tokens has its default in [max_tokens]")
    for fault in check({name: config.default}, {name: _alone(field)}):
        report((*path, "default"), fault.message)


def _alone(field: Field) -> Field:
    """The field without what it needs beside it: a default is checked by itself."""
    return field if field.beside is None else Field(type=field.type, minimum=field.minimum, maximum=field.maximum)
