"""The models of one surface, under the names that its clients use for them (``models`` and ``model_names``).

A name is looked up as it is first. Then, by the surface's form: without its prefix and its tag, or as the version of a
configured ``owner/name``. Last, ids with a configured ending are passed on to the upstreams that know what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from streamrouter.config.presets import is_of
from streamrouter.config.schema import Config, ModelConfig, SurfaceConfig
from streamrouter.policy.catalog import Catalog, Model, Target, model_of

_PASSED_ON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def namings(config: Config, catalog: Catalog | None = None) -> dict[str, Catalog]:
    """The catalogs of the surfaces that do not simply serve all models by their ids, made of those in ``catalog``."""
    plain = SurfaceConfig().model_names
    models = (catalog or Catalog(config)).models
    return {
        surface.name: Naming(config, surface, models)
        for surface in config.surface
        if surface.models is not None or surface.model_names != plain
    }


class Naming(Catalog):
    """A catalog that knows a surface's names. Allow-lists hold model ids, whatever a request calls them."""

    def __init__(self, config: Config, surface: SurfaceConfig, models: Mapping[str, Model]) -> None:
        wanted = models if surface.models is None else surface.models
        self.models = {name: models[name] for name in wanted if name in models}
        self._names = surface.model_names
        self._passed_on = {
            ending: [name for name, upstream in config.upstreams.items() if is_of(upstream, preset)]
            for ending, preset in self._names.passed_on.items()
        }

    def resolve(self, name: str, *allowed: list[str] | None) -> Model:
        if name in self.models:
            return super().resolve(name, *allowed)
        if self._names.form == "prefix":
            return super().resolve(self._slug(name), *allowed)
        base, _, version = name.partition(":")
        if self._names.form == "owner/name" and base in self.models and _VERSION.fullmatch(version):
            return _version_of(super().resolve(base, *allowed), name, version)
        return self._passed(name) or super().resolve(name, *allowed)

    def _slug(self, name: str) -> str:
        if self._names.ignore_tag:
            name = name.partition(":")[0]
        return name.removeprefix(self._names.prefix)

    def _passed(self, name: str) -> Model | None:
        """A model that is not configured, by its own name upstream: at no price, with a model's default limits."""
        upstreams = next((found for ending, found in self._passed_on.items() if name.endswith(ending)), [])
        if not upstreams or _PASSED_ON.fullmatch(name) is None:
            return None
        targets = tuple(Target(upstream, name, rank) for rank, upstream in enumerate(upstreams))
        return msgspec.structs.replace(model_of(name, ModelConfig(), ""), targets=targets)


def _version_of(model: Model, name: str, version: str) -> Model:
    """The same model; upstream it is asked for with its version, and answers carry the name that was asked for."""
    targets = tuple(msgspec.structs.replace(t, model=f"{t.model}:{version}") for t in model.targets)
    return msgspec.structs.replace(model, targets=targets, shown=name)
