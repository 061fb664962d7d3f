"""What a start prints: where it listens, which upstreams it has, and a line to paste (that streams, where it may)."""

from __future__ import annotations

import json

from streamrouter import __version__
from streamrouter.config import place
from streamrouter.config.load import Loaded
from streamrouter.policy.money import usd_to_nano
from streamrouter.process.console import PAGE


def banner(
    loaded: Loaded,
    host: str,
    port: int,
    *,
    created: bool,
    account: str,
    secret: str | None,
    console: str | None = None,
) -> str:
    """The lines, ready to write. ``secret``: the first key, of ``account``, shown this once.

    ``console``: the page to begin at (process/console.py), None where there is no console.
    """
    config = loaded.config
    surface = config.surface[0]
    shown = f"[{host}]" if ":" in host else {"0.0.0.0": "127.0.0.1"}.get(host, host)
    base = f"{'https' if config.server.tls_cert else 'http'}://{shown}:{port}"
    upstreams = ", ".join(
        f"{name} ({'demo, built in' if upstream.base_url.startswith('demo:') else upstream.base_url})"
        for name, upstream in config.upstreams.items()
    )
    model = next(iter(surface.models or config.models), "demo")
    streams = surface.streaming == "relay" and (model not in config.models or config.models[model].streaming)
    body = json.dumps({"model": model, "stream": streams, "messages": [{"role": "user", "content": "Hello!"}]})
    key = secret or f"${_key_variable(surface.name)}"
    state = " (created)" if created else ""
    lines = [
        f"streamrouter {__version__}   ledger {place.shown(config.ledger.path)}{state}   config {loaded.source}",
        f"Upstreams  {upstreams or 'none'}",
        f"API        {base}{surface.base_path}",
        *(f"           {base}{other.base_path}   ({other.name})" for other in config.surface[1:]),
    ]
    if console is not None:
        first = f"   finish set-up once, within 30 min: {base}{console}" if "#" in console else ""
        lines.append(f"Console    {base}{PAGE}{first}")
    if secret is not None:
        lines.append(f"Key        {secret}   (shown this once; account {account})")
        if surface.billing == "prepaid" and not config.defaults.unlimited:
            least = surface.topup_minimum if usd_to_nano(surface.topup_minimum) else "10"
            lines.append(f"Balance    none yet: streamrouter topup {account} {least}")
    else:
        lines.append(f"Key        a new one: streamrouter key create {account}")
    lines += [
        f'Try        curl -N {base}{surface.base_path}/chat/completions -H "Authorization: Bearer {key}" '
        f"-H \"Content-Type: application/json\" -d '{body}'",
        "",
    ]
    return "".join(f"  {line}\n" if line else "\n" for line in lines)


def _key_variable(surface: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in surface.upper()) + "_API_KEY"
