"""The estimate that decides how many tiles a thread takes at once."""

from __future__ import annotations

import pytest
from xdsl.parser import Parser

from stepwell.dialects import tile
from stepwell.plugins.universe import make_context
from stepwell.testing.cpu_kernels import map_text, pool_text, product_text
from stepwell.transforms.tile_to_cpu.cost import PIECE_NS, Extents, grain_of, tile_cost


def kernel_of(text: str) -> tile.KernelOp:
    """The kernel of a module."""
    module = Parser(make_context(), text).parse_module()
    return next(op for op in module.body.block.ops if isinstance(op, tile.KernelOp))


def cost_and_grain(text: str, source: tuple[int, ...]) -> tuple[float, int]:
    """For a first operand of these extents."""
    kernel = kernel_of(text)
    extents: Extents = {kernel.inputs[0]: source}
    return tile_cost(kernel, extents), grain_of(kernel, extents)


def test_a_product_costs_its_multiplications() -> None:
    """A 6x64 block over 9 taps of 64 channels is 221,184 products: 3 to 6 us measured, and worth a thread's while; over 8 channels a few together are."""
    cost, grain = cost_and_grain(product_text("x86-64-v4"), (512, 9, 64))
    assert 221184 / 80 < cost < 221184 / 30 and grain == 1
    small, several = cost_and_grain(product_text("x86-64-v4"), (512, 1, 8))
    assert small < cost / 8 and several > 5


@pytest.mark.parametrize("text", [pool_text("x86-64-v4"), map_text("x86-64-v4")])
def test_a_grain_is_worth_its_time(text: str) -> None:
    """Rows of elementwise work are cheap: many tiles make one piece, and no more than that."""
    cost, grain = cost_and_grain(text, (64, 9, 16))
    assert grain > 2 and PIECE_NS <= cost * grain < PIECE_NS + cost
