"""In which order a model's targets are tried: by rank, within a rank a share by weight, cooling ones last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Rankable(Protocol):
    """What routing needs to know of a target."""

    @property
    def rank(self) -> int: ...
    @property
    def weight(self) -> int: ...


T = TypeVar("T", bound=Rankable)


def order(targets: Sequence[T], cooling: Callable[[T], bool], random: Callable[[], float]) -> list[T]:
    """Every target once. ``random`` gives floats in [0, 1): a weighted draw without replacement per rank."""
    if len(targets) == 1:
        return list(targets)
    drawn = [(cooling(target), target.rank, -(random() ** (1 / target.weight)), i) for i, target in enumerate(targets)]
    return [targets[entry[3]] for entry in sorted(drawn)]
