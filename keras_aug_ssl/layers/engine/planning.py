"""Which layers run together, and in which order: decided from the layers alone, before any image is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Run(NamedTuple):
    """Layers executed in one go: their family, and their places in the user's order."""

    family: Any
    indices: list[int]


def runs(layers: Sequence[Any]) -> list[Run]:
    """Groups neighbours that fuse, after moving mirrors to where they fuse.

    The user's order is kept with one exception, which is exact: a layer that only mirrors commutes with layers that
    change every pixel by itself, so it may pass them to join the geometric run on their other side.
    """
    result: list[Run] = []
    for index in _order(layers):
        layer = layers[index]
        if result and all(layers[i].fuses_with(layer) for i in result[-1].indices):
            result[-1].indices.append(index)
        else:
            result.append(Run(type(layer), [index]))
    return result


def _order(layers: Sequence[Any]) -> list[int]:
    order = list(range(len(layers)))
    for mirror in [i for i in order if layers[i].mirrors]:
        for step in (1, -1):
            place = order.index(mirror) + step
            while 0 <= place < len(order) and layers[order[place]].pointwise:
                place += step
            if 0 <= place < len(order) and layers[order[place]].fuses_with(layers[mirror]):
                partner = order[place]
                order.remove(mirror)
                order.insert(order.index(partner) + (step < 0), mirror)
                break
    return order
