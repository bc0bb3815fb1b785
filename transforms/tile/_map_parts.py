"""In how many parts a thread takes the elements of a map: a long body's temporaries would not fit beside each other for all elements at once."""

from __future__ import annotations

from stepwell.dialects import tile
from stepwell.dialects.tile import TileType
from stepwell.transforms.tile_to_gpu.fragments import length_of

LONG_BODY = 8
"""Ops of a map's body up to which all elements go through it side by side."""
PART = 16
"""Elements that go through a long body together."""


def is_long(op: tile.MapOp) -> bool:
    """Whether a map's body has many temporaries."""
    return len(op.body.block.ops) > LONG_BODY


def parts_of(op: tile.MapOp) -> int:
    """Halves of halves while each has as many elements as go together, for a long body; 1 for a short one."""
    assert isinstance(op.result.type, TileType)
    length, count = length_of(op.result.type), 1
    while is_long(op) and length % (2 * count) == 0 and length // count >= 2 * PART:
        count *= 2
    return count
