"""From files, environment and command line to one ``Config``: precedence flag > environment > file.

A file that is wrong gives one ``ConfigError`` with every fault in it, a line each: ``file:line: path: what; what to
do``. No file at all gives the configuration in the package, and the providers whose keys the environment holds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import msgspec
from msgspec import Struct, inspect

from streamrouter.config.check import check
from streamrouter.config.expand import Given, expand_tree, read_secret
from streamrouter.config.locate import Locator, Path, dotted
from streamrouter.config.presets import PRESETS, offered_upstreams, resolve_upstream
from streamrouter.config.rules import check_meaning, warnings_of
from streamrouter.config.schema import Config, ModelConfig, PriceConfig
from streamrouter.errors import ConfigError

BUILT_IN = FilePath(__file__).parent.parent / "configs" / "streamrouter.toml"
DEFAULT_FILE = "streamrouter.toml"
COMMAND_LINE = "command line"
# Environment variables that say what the file says too.
VARIABLES = {
    "STREAMROUTER_HOST": "server.host",
    "STREAMROUTER_PORT": "server.port",
    "STREAMROUTER_LEDGER": "ledger.path",
}
_LEDGER: Path = ("ledger", "path")
_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)")


class Loaded(Struct, frozen=True, kw_only=True):
    """What was loaded. ``source``: the file, or ``built in``. ``env_providers``: the upstreams that the environment's
    keys made (only where there is no file)."""

    config: Config
    source: str
    warnings: list[str]
    env_providers: list[str]


class _Faults:
    """Every fault by its path (the first one at a path is the one that explains the others), and where it is from."""

    def __init__(self, source: str, text: str) -> None:
        self.by_path: dict[Path, str] = {}
        self.origins: dict[Path, str] = {}
        self.tree: Any = {}
        self._source = source
        self._text = text

    def add(self, path: Path, what: str) -> None:
        self.by_path.setdefault(path, what)

    def add_meaning(self, path: Path, what: str) -> None:
        """A fault of meaning. Where nobody wrote the value, and its table has a fault, that one is the cause."""
        if _written(self.tree, path) or path[:-1] not in {fault[:-1] for fault in self.by_path}:
            self.add(path, what)

    def replaced(self, path: Path, origin: str) -> None:
        """The file's value at ``path`` does not count any more, nor does its fault."""
        self.by_path.pop(path, None)
        self.origins[path] = origin

    def raise_any(self) -> None:
        if not self.by_path:
            return
        locator = Locator(self._text)
        ordered = sorted((locator.line(path), number, path) for number, path in enumerate(self.by_path))
        lines = [f"{self._place(path, line)}: {dotted(path)}: {self.by_path[path]}" for line, _, path in ordered]
        raise ConfigError("\n".join(lines))

    def _place(self, path: Path, line: int) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return f"{self._source}:{line}"


def load(path: str | None, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> Loaded:
    """From ``path``, ``$STREAMROUTER_CONFIG``, ``./streamrouter.toml`` or the package: the first one there is.

    ``overrides`` are the command line's, by dotted path (``{"server.port": 9}``; None means not given). Raises
    ConfigError. In the result every upstream is resolved (config/presets.py).
    """
    found = _choose(path, environ)
    file = FilePath(found) if found else BUILT_IN
    source = found or "built in"
    text = _read(file, source)
    faults = _Faults(source, text)
    tree = expand_tree(_parse(text, source), environ, faults.add)
    _read_secrets(tree, file.parent, faults)
    _price_models(tree, file.parent)
    _override(tree, environ, overrides, faults)
    faults.tree = tree
    offered = {} if found else offered_upstreams(environ)
    for name in offered:
        faults.origins["upstreams", name] = PRESETS[name].key_variable
    plain = check(tree, inspect.type_info(Config), faults.add)
    config = _convert(_without_faults(plain), faults)
    upstreams = {name: resolve_upstream(upstream, environ) for name, upstream in config.upstreams.items()}
    config = msgspec.structs.replace(config, upstreams=upstreams | offered)
    check_meaning(config, faults.add_meaning)
    faults.raise_any()
    return Loaded(config=config, source=source, warnings=warnings_of(config), env_providers=list(offered))


def _written(tree: Any, path: Path) -> bool:
    for step in path:
        if not (step in tree if isinstance(tree, dict) else isinstance(tree, list)):
            return False
        tree = tree[step]
    return True


def _choose(path: str | None, environ: Mapping[str, str]) -> str | None:
    if path or environ.get("STREAMROUTER_CONFIG"):
        return path or environ["STREAMROUTER_CONFIG"]
    return DEFAULT_FILE if FilePath(DEFAULT_FILE).is_file() else None


def _read(file: FilePath, source: str) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}; name another with --config") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: is not UTF-8 text (byte {error.start})") from None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _LINE.search(str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        raise ConfigError(f"{source}:{line}: not TOML: {_LINE.sub('', str(error))}") from None
    except RecursionError:
        raise ConfigError(f"{source}: not usable: nested too deeply") from None


def _read_secrets(tree: dict[str, Any], folder: FilePath, faults: _Faults) -> None:
    """``upstreams.*.api_key`` and ``ledger.path`` (a URL has a password) may say ``file:…``: a file of its own."""
    upstreams = tree.get("upstreams")
    tables = {("upstreams", name): table for name, table in upstreams.items()} if isinstance(upstreams, dict) else {}
    keys = [(path, table, "api_key") for path, table in tables.items()]
    for path, table, key in [*keys, (_LEDGER[:-1], tree.get("ledger"), "path")]:
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = read_secret(table[key], folder, partial(faults.add, (*path, key)))


def _price_models(tree: dict[str, Any], folder: FilePath) -> None:
    """``prices = "FILE"`` (relative to the configuration): a price for every model that has none of its own."""
    named, models = tree.get("prices"), tree.get("models")
    if not isinstance(named, str) or not isinstance(models, dict):
        return
    without = {name: model for name, model in models.items() if isinstance(model, dict) and "price" not in model}
    listed = _parse(_read(folder / named, named), named) if without else {}
    for model_id, model in without.items():
        found = listed.get(model_id, listed.get(str(model.get("upstream_model"))))
        if not isinstance(found, dict):
            raise ConfigError(f"{named}: has no price of {model_id}; add one, or give the model a price of its own")
        model["price"] = {name: found[name] for name in PriceConfig.__struct_fields__ if name in found}


def _override(tree: dict[str, Any], environ: Mapping[str, str], overrides: Mapping[str, Any], faults: _Faults) -> None:
    """Put the environment's and then the command line's values over the file's."""
    for variable, key in VARIABLES.items():
        if environ.get(variable):
            _put(tree, key, Given(environ[variable], f"${{{variable}}}"), variable, faults)
    for key, value in overrides.items():
        if value is not None:
            _put(tree, key, value, COMMAND_LINE, faults)


def _put(tree: dict[str, Any], key: str, value: Any, origin: str, faults: _Faults) -> None:
    *tables, last = path = tuple(key.split("."))
    faults.replaced(path, origin)
    if path == _LEDGER and isinstance(value, str):
        value = read_secret(value, FilePath(), partial(faults.add, path))
    for step in tables:
        below = tree.setdefault(step, {})
        if not isinstance(below, dict):  # the file has something else there, which is a fault of its own
            return
        tree = below
    tree[last] = value


def _without_faults(value: Any) -> Any:
    """What ``check`` left, without the None that stands where a fault was: defaults stand in, so that the rest can
    be checked as well."""
    if isinstance(value, dict):
        return {key: _without_faults(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_faults(item) for item in value if item is not None]
    return value


def _convert(plain: Any, faults: _Faults) -> Config:
    """The Struct. What cannot be one after all has been reported (a required key that is missing)."""
    for model in plain.get("models", {}).values():
        ceiling = model.get("max_output_tokens", ModelConfig().max_output_tokens)
        model.setdefault("default_max_tokens", min(ModelConfig().default_max_tokens, ceiling))
    try:
        return msgspec.convert(plain, Config)
    except msgspec.ValidationError as error:
        faults.raise_any()
        raise ConfigError(f"not a configuration: {error}") from None
