"""The models that are served, made from the configuration: names, targets, limits, prices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw, Struct

from streamrouter.config.schema import Config, ModelConfig
from streamrouter.errors import Refusal
from streamrouter.policy.encodings import EncodingName
from streamrouter.policy.money import Price, price_to_pico

_encode = msgspec.json.Encoder().encode


class Target(Struct, frozen=True):
    """One place a model is served from: an upstream's name and the model's name there."""

    upstream: str
    model: str
    rank: int = 0
    weight: int = 1


class Model(Struct, frozen=True, kw_only=True):
    """A public model. Prices in pico-USD per token, sizes in tokens; ``defaults`` are members sent upstream."""

    id: str
    name: str
    owned_by: str
    targets: tuple[Target, ...]
    encoding: EncodingName
    exact: bool
    context_length: int
    max_output_tokens: int
    default_max_tokens: int
    streaming: bool
    image_tokens: int | None
    defaults: Mapping[str, Raw]
    price: Price
    price_text: tuple[str, str, str]  # USD per million: input, output, cache_read, as configured
    shown: str  # its name in answers


class Catalog:
    """Looks models up by their exact public id, under a key's and its account's allow-lists."""

    def __init__(self, config: Config) -> None:
        default = next(iter(config.upstreams), "")
        self.models = {name: model_of(name, model, default) for name, model in config.models.items()}

    def resolve(self, name: str, *allowed: list[str] | None) -> Model:
        """The model of that id. Refusal ``model_not_found`` (404) or ``model_not_allowed`` (403).

        ``allowed``: allow-lists that must all contain it (None allows every model). Names match byte for byte: a twin
        in another script is an unknown model.
        """
        model = self.models.get(name)
        if model is None:
            raise Refusal("model_not_found", self._unknown(name, allowed), param="model")
        if not permitted(name, allowed):
            names = ", ".join(sorted(m.id for m in self.visible(allowed))) or "none"
            raise Refusal(
                "model_not_allowed",
                f"This key may not use the model {name!r}. It may use: {names}. Ask the admin to enable it.",
                param="model",
            )
        return model

    def visible(self, allowed: Iterable[list[str] | None]) -> list[Model]:
        """The models that a key may use, in configured order."""
        lists = tuple(allowed)
        return [model for name, model in self.models.items() if permitted(name, lists)]

    def _unknown(self, name: str, allowed: Iterable[list[str] | None]) -> str:
        shown = name if name.isascii() and name.isprintable() and len(name) <= 100 else ascii(name[:60])
        near = difflib.get_close_matches(name[:200], [m.id for m in self.visible(allowed)], n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"The model {shown!r} does not exist here.{hint} GET /v1/models lists what this key may use."


def permitted(name: str, allowed: Iterable[list[str] | None]) -> bool:
    """True if every allow-list is absent or holds ``name``."""
    return all(names is None or name in names for names in allowed)


def model_of(name: str, config: ModelConfig, default_upstream: str) -> Model:
    """The model of one ``[models.ID]``."""
    own = config.upstream_model or name
    targets = tuple(Target(t.upstream, t.model or own, t.rank, t.weight) for t in config.targets)
    price = config.price
    cache_read = price.cache_read if price.cache_read is not None else price.input
    return Model(
        id=name,
        name=config.name or name,
        owned_by=config.owned_by,
        targets=targets or ((Target(default_upstream, own),) if default_upstream else ()),
        encoding=config.encoding,
        exact=config.exact,
        context_length=config.context_length,
        max_output_tokens=config.max_output_tokens,
        default_max_tokens=config.default_max_tokens,
        streaming=config.streaming,
        image_tokens=config.image_tokens,
        defaults={field: Raw(_encode(value)) for field, value in config.defaults.items()},
        price=Price(price_to_pico(price.input), price_to_pico(price.output), price_to_pico(cache_read)),
        price_text=(price.input, price.output, cache_read),
        shown=name,
    )


def model_object(model: Model, created: int) -> Mapping[str, object]:
    """One entry of ``GET /v1/models``: OpenAI's shape, and what LibreChat and Chatbox read beside it."""
    return {
        "id": model.id,
        "object": "model",
        "created": created,
        "owned_by": model.owned_by,
        "name": model.name,
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "pricing": dict(zip(("input", "output", "cache_read"), model.price_text, strict=True)),
    }
