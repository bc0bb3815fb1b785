"""Shapes as users write them: `128x1x8x8`, or a sequence of integers.

>>> parse_shape("image", "128x1x8x8")
(128, 1, 8, 8)
>>> parse_shape("scale", "")
()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import TypeAlias

from stepwell.runtime.errors import UsageError

ShapeSpec: TypeAlias = str | Sequence[int]
Shapes: TypeAlias = Mapping[str, ShapeSpec]
"""Shapes by the name of a network input."""
LARGEST = 2**31 - 1
"""Largest extent of an input."""
MOST = 1 << 40
"""Most elements of a tensor: so many bytes no machine has."""
MOST_MADE = 1 << 26
"""Most elements of a constant that a few numbers of a file ask for: they may not fill all memory."""


def check_names(given: Iterable[str], inputs: Sequence[str], what: str) -> None:
    """UsageError for the first of `given` that is none of the `inputs` of `what`: the model, the network, the graph."""
    unknown = [name for name in given if name not in inputs]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no input of {what}", where="shapes", hint=f"inputs: {list(inputs)}")


def too_large(shape: Sequence[int], largest: int = LARGEST) -> str:
    """What is wrong with the extents of a tensor; empty when they may be. Extents that are 0 make no others smaller."""
    if all(0 <= extent <= largest for extent in shape) and prod(max(1, extent) for extent in shape) <= MOST:
        return ""
    return f"shape {list(map(int, shape))}: extents are 0 to {largest}, at most {MOST} elements together"


def parse_shape(name: str, spec: ShapeSpec) -> tuple[int, ...]:
    """The extents that `spec` says for input `name`; UsageError with an example when it is no shape."""
    parts: Sequence[int | str] = [part for part in spec.split("x") if spec] if isinstance(spec, str) else spec
    try:
        extents = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        extents = (-1,)
    if any(extent < 1 for extent in extents):
        raise UsageError(
            f"{spec!r} is no shape", where=name, hint=f'write for example shapes={{"{name}": "1x3x224x224"}}'
        )
    return extents
