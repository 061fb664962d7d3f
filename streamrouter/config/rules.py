"""What a configuration must make sense of beyond the types of its values: names that exist, addresses, duplicates."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from streamrouter.config import place
from streamrouter.config.check import did_you_mean
from streamrouter.config.expand import Report
from streamrouter.config.locate import Path
from streamrouter.config.presets import PRESETS
from streamrouter.config.schema import Config, ModelConfig, ServerConfig, UpstreamConfig
from streamrouter.config.surfaces import check_surfaces
from streamrouter.tls import fault_of

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_KEY = re.compile(r"[\x21-\x7e]*")
# Ours to set: each of them would break the framing of a request or send it somewhere else.
_OUR_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect"}


def check_meaning(config: Config, report: Report) -> None:
    """Report what cannot work in ``config``, whose upstreams are resolved (config/presets.py)."""
    _check_tls(config.server, report)
    _check_proxies(config.console.trusted_proxies, report)
    if fault := place.fault_of(config.ledger.path):
        report(("ledger", "path"), fault)
    for name, upstream in config.upstreams.items():
        _check_upstream(("upstreams", name), upstream, report)
    if config.models and not config.upstreams:
        report(("upstreams",), "there is none to serve the models; add [upstreams.NAME] with its base_url")
    for model_id, model in config.models.items():
        _check_model(("models", model_id), model, config.upstreams, report)
    check_surfaces(config, report)


def warnings_of(config: Config) -> list[str]:
    """What works, but probably not as it was meant."""
    found = []
    if not config.models:
        found.append("no [models] are configured: every request is refused with model_not_found")
    for name, upstream in config.upstreams.items():
        preset = PRESETS.get(upstream.preset or "")
        if preset is not None and preset.key_variable and not upstream.api_key:
            found.append(f"upstreams.{name}: no key; set api_key, or {preset.key_variable} in the environment")
    return found


def _check_tls(server: ServerConfig, report: Report) -> None:
    if server.tls_cert and server.tls_key:
        fault = fault_of(server.tls_cert, server.tls_key)
        if fault is not None:
            report(("server", fault[0]), fault[1])
    elif server.tls_cert or server.tls_key:
        missing, given = ("tls_key", "tls_cert") if server.tls_cert else ("tls_cert", "tls_key")
        report(("server", missing), f"{given} is of no use without it; set {missing}")
    elif server.http2:
        report(("server", "http2"), "HTTP/2 is spoken over TLS only; set tls_cert and tls_key, or leave it off")


def _check_proxies(networks: list[str], report: Report) -> None:
    for number, text in enumerate(networks):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            report(("console", "trusted_proxies", number), f'"{text}" is no address and no network of addresses')


def _check_upstream(path: Path, upstream: UpstreamConfig, report: Report) -> None:
    if upstream.preset is not None and upstream.preset not in PRESETS:
        report((*path, "preset"), f"unknown preset; {did_you_mean(upstream.preset, PRESETS)}")
    elif not upstream.base_url:
        example = "https://RESOURCE.openai.azure.com/openai/v1" if upstream.preset else "https://api.openai.com/v1"
        report((*path, "base_url"), f'set base_url, such as "{example}", or "demo:"')
    elif fault := _address_fault(upstream.base_url):
        report((*path, "base_url"), fault)
    if not _KEY.fullmatch(upstream.api_key):
        report((*path, "api_key"), "holds a character that a key cannot have (a space, a line end, or not ASCII)")
    for name, value in upstream.headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OUR_HEADERS:
            report((*path, "headers", name), "not a header that can be set here")
        elif not _HEADER_VALUE.fullmatch(value):
            report((*path, "headers", name), "holds a character that a header cannot carry")


def _address_fault(base_url: str) -> str:
    """What is wrong with an address ("" if nothing). The address itself may hold a password: it is not repeated."""
    if base_url == "demo:":
        return ""
    expected = 'expected an address that begins with http:// or https://, or "demo:"'
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port  # .port raises for what is no port
    except ValueError:
        return f"{expected}; this one cannot be read"
    if parts.scheme not in ("http", "https"):
        return expected
    if not host or re.search(r"[\s\x00-\x1f\x7f]", base_url):
        return f"{expected}; this one has no host" if not host else f"{expected}; this one has a space in it"
    if parts.username is not None or parts.query or parts.fragment:
        return "an address has no user, query or fragment; keys belong in api_key or headers"
    return ""


def _check_model(path: Path, model: ModelConfig, upstreams: dict[str, UpstreamConfig], report: Report) -> None:
    for number, target in enumerate(model.targets):
        if target.upstream not in upstreams:
            meant = did_you_mean(target.upstream, upstreams)
            report((*path, "targets", number, "upstream"), f"there is no [upstreams.{target.upstream}]; {meant}")
    if model.default_max_tokens > model.max_output_tokens:
        report(
            (*path, "default_max_tokens"),
            f"{model.default_max_tokens} is above max_output_tokens, which is {model.max_output_tokens}; lower it",
        )
