"""Kernels that are wrong on purpose, at the tile level, for sm_90a and for the CPU: caught by bits that differ, by the simulator, by guard bands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, ModuleOp, i1, i64
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.codegen.objects import compile_module
from stepwell.dialects import hopper, tile, warp
from stepwell.dialects.hopper.simulator import Fault
from stepwell.dialects.tile.interpreter import run_kernel
from stepwell.driver.execute import interpret
from stepwell.driver.meaning import assert_same_results
from stepwell.plugins.universe import make_context
from stepwell.runtime.elf import Image
from stepwell.runtime.errors import ComparisonError
from stepwell.testing.cpu_kernels import product_text
from stepwell.testing.native import Native, panels
from stepwell.testing.strategies import GeneratedGraph
from stepwell.transforms.kernel_to_llvm.convert_kernel_to_llvm import ConvertKernelToLLVM
from stepwell.transforms.kernel_to_llvm.convert_scf_to_cf import ConvertScfToCf
from stepwell.transforms.tile.split_rows import SplitRowsPass
from stepwell.transforms.tile_to_cpu.convert_tile_to_cpu import ConvertTileToCPU
from stepwell.types.targets import CPU_LEVELS, supports

Lowered = Callable[[str, str], ModuleOp]
Damage = Callable[[ModuleOp], None]


def each(module: ModuleOp, kind: type[Operation]) -> list[Operation]:
    """All ops of a class."""
    found = [op for op in module.walk() if isinstance(op, kind)]
    assert found, f"there is no {kind.name} to damage"
    return found


def remove(op: Operation) -> None:
    """Take an op away; its first operand stands in for its result."""
    for result in op.results:
        result.replace_all_uses_with(op.operands[0])
    op.detach()
    op.erase()


# --- wrong epilogues and loops, at any level that has these ops


def drops_the_activation(module: ModuleOp) -> None:
    """The epilogue ends before its relu."""
    for op in each(module, arith.MaximumfOp):
        remove(op)


def subtracts_the_bias(module: ModuleOp) -> None:
    """acc - bias."""
    for op in each(module, arith.AddfOp):
        Rewriter.replace_op(op, arith.SubfOp(op.operands[0], op.operands[1]))


def forgets_the_last_addend(module: ModuleOp) -> None:
    """The residual's addition is gone; kernels without a residual lose their bias."""
    for op in each(module, arith.AddfOp):
        if not any(isinstance(use.operation, arith.AddfOp) for use in op.results[0].uses):
            remove(op)


def skips_every_second_step(module: ModuleOp) -> None:
    """The reduction takes steps twice as long as its loads."""
    for op in each(module, tile.ForOp):
        assert isinstance(op, tile.ForOp)
        *others, last = op.get_steps()
        op.properties["steps"] = DenseArrayBase.from_list(i64, [*others, 2 * last])


def reads_the_residual_of_the_first_rows(module: ModuleOp) -> None:
    """Tiles of all rows take the residual of another tile: the column offset stands for the row offset."""
    for op in each(module, tile.LoadOp):
        if len(op.operands) == 3 and isinstance(op.parent_op(), tile.ForTilesOp):
            op.operands[1] = op.operands[2]


WRONG_TILES: list[Damage] = [
    drops_the_activation,
    subtracts_the_bias,
    forgets_the_last_addend,
    skips_every_second_step,
    reads_the_residual_of_the_first_rows,
]


@pytest.mark.parametrize("target", ["x86-64-v3", "sm_90a"])
@pytest.mark.parametrize("wrong", WRONG_TILES, ids=lambda f: f.__name__)
def test_wrong_tile_kernels_give_other_bits(
    wrong: Damage, target: str, network: GeneratedGraph, lowered: Lowered
) -> None:
    module = lowered("tile", target)
    expected = interpret(network.module, network.inputs(), weights=network.weights)
    assert_same_results(expected, interpret(module, network.inputs(), weights=network.weights))
    wrong(module)
    with pytest.raises(ComparisonError, match="elements differ"):
        assert_same_results(expected, interpret(module, network.inputs(), weights=network.weights))


# --- sm_90a: the simulator


def drops_the_full_wait(module: ModuleOp) -> None:
    """The consumers multiply what may not have arrived: the producer's waits (for empty slots, beside its loads) stay."""
    for op in each(module, hopper.WaitOp):
        beside = list(op.parent.ops) if op.parent is not None else []
        if not any(isinstance(other, hopper.TmaLoadOp) for other in beside):
            remove_effect(op)


def touches_its_input_before_the_predecessor_is_done(module: ModuleOp) -> None:
    """No griddepcontrol.wait: the kernel overlaps the one that makes its input."""
    for op in each(module, warp.WaitPredecessorOp):
        remove_effect(op)


def stores_rows_that_do_not_exist(module: ModuleOp) -> None:
    """The last tile is stored without its bound."""
    for op in each(module, warp.FragmentStoreOp):
        huge = arith.ConstantOp(IntegerAttr(1 << 20, 32))
        Rewriter.insert_op(huge, InsertPoint.before(op))
        op.operands[5] = huge.result


def remove_effect(op: Operation) -> None:
    """Take away an op without results."""
    op.detach()
    op.erase()


@pytest.mark.parametrize(
    "wrong, kind",
    [
        (drops_the_full_wait, r"race|uninitialised read"),
        (touches_its_input_before_the_predecessor_is_done, "touched before predecessor wait"),
        (stores_rows_that_do_not_exist, "out of bounds"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_simulator_says_what_is_wrong(wrong: Damage, kind: str, network: GeneratedGraph, lowered: Lowered) -> None:
    module = lowered("kernel", "sm_90a")
    wrong(module)
    with pytest.raises(Fault, match=kind):
        interpret(module, network.inputs(), weights=network.weights)


@pytest.mark.parametrize(
    "wrong", [None, drops_the_activation, subtracts_the_bias], ids=lambda wrong: getattr(wrong, "__name__", "right")
)
def test_wrong_epilogues_on_the_simulator(wrong: Damage | None, network: GeneratedGraph, lowered: Lowered) -> None:
    module = lowered("kernel", "sm_90a")
    expected = interpret(network.module, network.inputs(), weights=network.weights)
    if wrong is None:
        assert_same_results(expected, interpret(module, network.inputs(), weights=network.weights))
        return
    wrong(module)
    with pytest.raises(ComparisonError, match="elements differ"):
        assert_same_results(expected, interpret(module, network.inputs(), weights=network.weights))


# --- CPU: machine code between guard bands

LEVEL = "x86-64-v3"
M, N, K = 70, 20, 9


def stores_whole_tiles_at_the_edge(module: ModuleOp) -> None:
    """Every tile takes the way of full tiles: rows and columns beyond the output are written."""
    for op in each(module, scf.IfOp):
        if op.operands[0].owner.name == arith.AndIOp.name:  # type: ignore[union-attr]
            always = arith.ConstantOp(IntegerAttr(1, i1))
            Rewriter.insert_op(always, InsertPoint.before(op))
            op.operands[0] = always.result


def native(damage: Damage | None) -> Native:
    """A product with bias, residual and relu as machine code, damaged behind its lowering from tile."""
    ctx = make_context()
    original = Parser(ctx, product_text(LEVEL, access="plain")).parse_module()
    kernel = next(op for op in original.body.block.ops if isinstance(op, tile.KernelOp))
    module = original.clone()
    SplitRowsPass().apply(ctx, module)
    ConvertTileToCPU().apply(ctx, module)
    if damage is not None:
        damage(module)
    for step in (ConvertScfToCf(), ConvertKernelToLLVM()):
        step.apply(ctx, module)
    data = compile_module(module, CPU_LEVELS[LEVEL]).data
    return Native(kernel, Image(data), data)


@pytest.mark.skipif(not supports(CPU_LEVELS[LEVEL]), reason=f"this CPU is below {LEVEL}")
@pytest.mark.parametrize(
    "wrong",
    [None, drops_the_activation, subtracts_the_bias, stores_whole_tiles_at_the_edge],
    ids=lambda wrong: getattr(wrong, "__name__", "right"),
)
def test_wrong_machine_code_is_caught(wrong: Damage | None) -> None:
    """Another result, or a guard band that was touched."""
    rng = np.random.default_rng(0)
    shapes = [(M, 1, K), (N, 1, K), (N,), (M, N)]
    x, w, b, r = (rng.integers(-3, 4, shape).astype(np.float32) for shape in shapes)
    inputs = [x, panels(w, CPU_LEVELS[LEVEL].block[1]), b, r]
    kernel = native(wrong)
    (expected,) = run_kernel(kernel.kernel, inputs, [(M, N)])
    if wrong is None:
        np.testing.assert_array_equal(kernel.run(inputs, [(M, N)])[0], expected)
        return
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(kernel.run(inputs, [(M, N)])[0], expected)
