"""Launches become records; refusals leave the module alone; the lowering stays small."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue
from xdsl.parser import Parser

from stepwell.dialects import plan, tile
from stepwell.passes import PassFailure, names_of
from stepwell.plugins.universe import make_context
from stepwell.testing.cpu_kernels import map_text, pool_text, product_text
from stepwell.transforms.tile.split_rows import SplitRowsPass
from stepwell.transforms.tile_to_cpu import accesses, body, convert_tile_to_cpu, emitter, loops, ops, place
from stepwell.transforms.tile_to_cpu.convert_tile_to_cpu import ConvertTileToCPU

# --- refusals


def refusal(text: str) -> str:
    ctx = make_context()
    module = Parser(ctx, text).parse_module()
    SplitRowsPass().apply(ctx, module)
    before = str(module)
    with pytest.raises(PassFailure) as caught:
        ConvertTileToCPU().apply(ctx, module)
    assert str(module) == before
    return str(caught.value)


def test_refuses_steps_of_the_reduction() -> None:
    text = (
        product_text("x86-64-v4")
        .replace("step [1, 1]", "step [1, 2]")
        .replace("6x1xf32", "6x2xf32")
        .replace("64x1xf32", "64x2xf32")
    )
    assert "CPU loops go one by one" in refusal(text.replace("mma = fma", "k = 2, mma = fma"))


def test_refuses_foreign_panels() -> None:
    assert "panels of 32 in a block of 64 columns" in refusal(
        product_text("x86-64-v4").replace("packed<64>", "packed<32>")
    )


def test_refuses_loads_from_elsewhere() -> None:
    """A transposed load names its dims; one whose columns are at the row's offset is not one."""
    text = map_text("x86-64-v4", 16, 16).replace("tile.load %x[%i, %j] :", "tile.load %x[%j, %i] :")
    assert "the columns are at the column offset of the grid" in refusal(text)
    text = pool_text("x86-64-v4").replace("%x[%i, %t, %j] dims = [0, 2]", "%x[%i, %j, %t] dims = [0, 1]")
    assert "the columns of a window are its channels" in refusal(text)


@pytest.mark.parametrize("block", ["[1, 4, 16]", "[2, 4, 16]"])
def test_refuses_windows_and_blocks_in_three_dims(block: str) -> None:
    text = pool_text("x86-64-v4").replace("[4, 16]", block).replace("ref<2xf32", "ref<3xf32")
    text = text.replace("(%i, %j)", "(%b, %i, %j)").replace("%y[%i, %j]", "%y[%b, %i, %j] dims = [1, 2]")
    assert "an output of rank 3 that is neither elementwise work nor a transpose" in refusal(text)


# --- launches

PROGRAM = """
plan.program @main arena 27648 constants 18432 {{
  %x = plan.binding "x" input : !plan.buffer<1x6x6x16xf32>
  %y = plan.binding "y" output : !plan.buffer<36x64xf32>
  %w = plan.constant dense<0.0> : tensor<1x9x16x{columns}xf32> at 0 : !plan.buffer<1x9x16x{columns}xf32>
  %b = plan.constant dense<0.0> : tensor<64xf32> at 65536 : !plan.buffer<64xf32>
  %r = plan.slice at 0 live [0, 1] : !plan.buffer<36x64xf32>
  %win = plan.window %x kernel [3, 3] strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] fill 0.0 : f32 : !plan.buffer<1x6x6x16xf32> -> !plan.window<36x9x16xf32>
  plan.launch @fill (%b) outs (%r) : (!plan.buffer<64xf32>) outs (!plan.buffer<36x64xf32>)
  plan.launch @product (%win, %w, %b, %r) outs (%y) : (!plan.window<36x9x16xf32>, !plan.buffer<1x9x16x{columns}xf32>, !plan.buffer<64xf32>, !plan.buffer<36x64xf32>) outs (!plan.buffer<36x64xf32>) loc("conv1")
}}
"""
FILL = """
tile.kernel @fill(%b: !tile.ref<1xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [8, 16]> {
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [8, 16] {
    %v = tile.load %b[%j] : !tile.tile<16xf32, regs>
    %o = tile.broadcast %v dims [1] : !tile.tile<8x16xf32, regs>
    tile.store %o, %y[%i, %j]
  }
}
"""


def test_launches_become_records() -> None:
    """Slots in the order of the refs: pointer or table, extents, strides; then the size of a group of row tiles."""
    ctx = make_context()
    program = PROGRAM.format(columns=64).replace("constants 18432", "constants 65792")
    text = product_text("x86-64-v4").removesuffix("}") + FILL + program + "}"
    module = Parser(ctx, text).parse_module()
    module.verify()
    SplitRowsPass().apply(ctx, module)
    module.verify()
    ConvertTileToCPU().apply(ctx, module)
    module.verify()
    program_op = next(op for op in module.body.block.ops if isinstance(op, plan.ProgramOp))
    fill, product = [op for _, op in program_op.steps() if isinstance(op, plan.LaunchOp)]
    assert [describe(v) for v in product.args] == [
        "table", 36, 9, 16, "buffer", 64, 9, 16, "buffer", 64, "buffer", 36, 64, 64, "buffer", 36, 64, 64, 768 * 1024 // (6 * 9 * 16 * 4),
    ]  # fmt: skip
    assert product.tiles is not None and plan.number_of(product.tiles) == 6
    assert list(product.reads.get_values()) == [0, 4, 8, 10] and list(product.writes.get_values()) == [14]  # type: ignore[union-attr]
    assert names_of(product) == ("conv1",) and not product.outs
    assert [describe(v) for v in fill.args] == ["buffer", 64, "buffer", 36, 64, 64, 1]
    assert fill.tiles is not None and plan.number_of(fill.tiles) == 5 * 4
    assert not any(isinstance(op, tile.KernelOp) for op in module.walk())


def describe(value: SSAValue) -> str | int:
    if value.type == i64:
        return plan.number_of(value)
    return value.type.name.removeprefix("plan.")


def test_narrow_storage_is_remarked() -> None:
    ctx = make_context()
    module = Parser(ctx, product_text("x86-64-v4", element="f16")).parse_module()
    SplitRowsPass().apply(ctx, module)
    ConvertTileToCPU().apply(ctx, module)
    missed = ctx.remarks.matching("tile-to-cpu", ("missed",))
    assert len(missed) == 1 and "5 operands are stored as f16" in str(missed[0]) and "precision=fp32" in missed[0].hint


def test_the_lowering_stays_small() -> None:
    """1150 lines in all (the emitter serves loops too), no function over 60."""
    files = [Path(inspect.getfile(m)) for m in (emitter, place, loops, accesses, ops, body, convert_tile_to_cpu)]
    trees = [ast.parse(file.read_text()) for file in files]
    assert sum(len(file.read_text().splitlines()) for file in files) <= 1150
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert max((node.end_lineno or 0) - node.lineno for node in functions) < 60
