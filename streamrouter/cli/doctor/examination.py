"""The order in which the doctor looks at things, and what each look needs."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

from streamrouter.admin.verbs import AdminError
from streamrouter.cli.doctor import database, files, machine, network
from streamrouter.cli.doctor.finding import Finding, ok, problem, warning
from streamrouter.cli.options import Options
from streamrouter.cli.probing import Probe, probe_all
from streamrouter.cli.reach import load_config
from streamrouter.config.load import BUILT_IN, Loaded, load
from streamrouter.config.place import is_database
from streamrouter.config.schema import Config
from streamrouter.control import ControlFault, NotServing, call
from streamrouter.errors import ConfigError
from streamrouter.ledger.schema import APPLICATION_ID
from streamrouter.policy.encodings import SPECS

_DATA = Path(BUILT_IN).parent.parent / "data"


def examine(options: Options, url: str | None, offline: bool) -> list[Finding]:
    """Everything but Python. A configuration with faults is one of the findings; the rest is looked at all the same."""
    found = [machine.sqlite_here()]
    loaded, faults = _configuration(options)
    found += faults
    config = loaded.config
    ours, serving = _server(config)
    found += serving
    found += _files(config, None if loaded.source == "built in" else loaded.source)
    found.append(machine.descriptors(_open_files()))
    if config.server.port and not faults_of(faults):
        found.append(machine.port(config.server.host, config.server.port, ours))
    probes = [] if offline else asyncio.run(probe_all(config))
    skews = [(probe.upstream, probe.skew_s) for probe in probes if probe.skew_s is not None]
    found += network.upstreams(probes)
    found += _around(config, probes)
    if url is not None:
        found += [named] if (named := network.names("proxy", url)) else []
        seen, skew_s = network.in_front(url)
        found += seen
        skews += [] if skew_s is None else [(url, skew_s)]
    found += _clock(skews)
    return found


def faults_of(found: list[Finding]) -> list[Finding]:
    """Those that are problems."""
    return [finding for finding in found if finding.state == "problem"]


def _configuration(options: Options) -> tuple[Loaded, list[Finding]]:
    """The configuration, and what is to be said of it; the package's own stands in for one that has faults."""
    try:
        loaded = load_config(options)
    except ConfigError as error:
        remedy = "correct the line; `streamrouter check` tells what the configuration would do"
        found = [problem("configuration", line, remedy) for line in str(error).splitlines()]
        return load(str(BUILT_IN), {}, options.overrides()), found
    warnings = [warning("configuration", line, "see `streamrouter check`") for line in loaded.warnings]
    return loaded, warnings or [ok("configuration", loaded.source)]


def _server(config: Config) -> tuple[bool, list[Finding]]:
    """Whether a server has this ledger, and whether it is well."""
    try:
        status = call(config.ledger.path, "status", {})
    except NotServing:
        here = " on this machine" if is_database(config.ledger.path) else ""
        return False, [Finding("server", "skipped", f"none runs on this ledger{here}")]
    except (ControlFault, AdminError) as error:
        remedy = "look at its log; ask as the user that it runs as, or as root"
        return True, [problem("server", str(error), remedy)]
    if status["health"]:
        where = "the database" if is_database(config.ledger.path) else "the disk"
        return True, [problem("server", f"pid {status['pid']}: {status['health']}", f"look at {where} and at its log")]
    return True, [ok("server", f"runs as pid {status['pid']}")]


def _files(config: Config, source: str | None) -> list[Finding]:
    path = config.ledger.path
    hashes: dict[str, str] = {name: spec.sha256 for name, spec in SPECS.items()}
    if is_database(path):
        return [*database.look(path), *files.readable(source), files.tokenizers(_DATA, hashes)]
    mounts = files.MOUNTS.read_text(errors="replace") if files.MOUNTS.exists() else None
    return [
        files.ledger_file(path, APPLICATION_ID),
        files.file_system(path, mounts),
        *files.permissions(path, source, os.geteuid()),
        files.space(path),
        files.tokenizers(_DATA, hashes),
    ]


def _open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return -1 if soft == resource.RLIM_INFINITY else soft


def _around(config: Config, probes: list[Probe]) -> list[Finding]:
    """What is odd about the upstreams' addresses."""
    found = []
    asked = {probe.upstream for probe in probes}
    for name, upstream in config.upstreams.items():
        if upstream.base_url.startswith("demo:"):
            continue
        check = f"upstream {name}"
        looped = network.loops(check, upstream.base_url, config.server.host, config.server.port)
        named = network.names(check, upstream.base_url) if name in asked else None
        found += [finding for finding in (looped, named) if finding is not None]
    return found


def _clock(skews: list[tuple[str, float]]) -> list[Finding]:
    """By the source that differs least: one that is wrong itself must not make ours look so."""
    if not skews:
        return [Finding("clock", "skipped", "neither an upstream nor a proxy (--url) told the time")]
    source, skew_s = min(skews, key=lambda skew: abs(skew[1]))
    return [machine.clock(skew_s, source)]
