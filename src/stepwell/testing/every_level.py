"""`every_level`: one op of the graph level or a few, executed at every level of both targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue

import stepwell
from stepwell.api.compile import compile_plan
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore, keep_weights
from stepwell.driver.execute import interpret
from stepwell.driver.run_ptx import run_plan
from stepwell.passes import location_of

LEVELS = ("tile", "kernel")
TARGETS = {"cpu": "x86-64-v3", "sm_90a": "sm_90a"}


def network_of(*ops: Operation) -> ModuleOp:
    """A network of the ops in this order, mostly one; values that none of them makes, from anywhere, become inputs, and results that none of them
    reads outputs."""
    made = {result for op in ops for result in op.results}
    given = list(dict.fromkeys(operand for op in ops for operand in op.operands if operand not in made))
    block = Block(arg_types=[value.type for value in given])
    values: dict[SSAValue, SSAValue] = dict(zip(given, block.args, strict=True))
    for op in ops:
        copy = op.clone(values)
        copy.location = location_of([op.name.removeprefix("graph.")])
        block.add_op(copy)
    read = {operand for op in ops for operand in op.operands}
    outputs = [values[result] for op in ops for result in op.results if result not in read]
    block.add_op(func.ReturnOp(*outputs))
    types = [value.type for value in block.args], [value.type for value in outputs]
    function = func.FuncOp("main", types, Region(block))
    module = keep_weights(ModuleOp([function]), WeightStore())
    module.verify()
    return module


def every_level(
    op: Operation | Sequence[Operation], *inputs: Array, levels: Sequence[str] = LEVELS
) -> Iterator[tuple[str, list[Array]]]:
    """The op's results (or those of a network of several, see `network_of`) at the graph level, then at `levels` of both targets (kernels of a CPU run as machine code, those of sm_90a on the
    simulator), then from the PTX interpreter; each with a name."""
    named = {f"input{position}": np.asarray(array) for position, array in enumerate(inputs)}
    module = network_of(*([op] if isinstance(op, Operation) else op))
    yield "graph", list(interpret(module, named).values())
    for family, target in TARGETS.items():
        for level in levels:
            lowered = stepwell.lower(module, to=level, target=target)
            yield f"{family}, {level}", list(interpret(lowered, named, weights=WeightStore()).values())
    plan = compile_plan(module, WeightStore(), target="sm_90a")
    yield "sm_90a, ptx", list(run_plan(plan, named).outputs.values())


def check_every_level(
    op: Operation | Sequence[Operation], *inputs: Array, rtol: float = 0.0, levels: Sequence[str] = LEVELS
) -> list[Array]:
    """The op's results at the graph level. AssertionError where another level gives others: other bits (a NaN is one whatever its bits), with `rtol`
    further away than that part of the largest value."""
    found = every_level(op, *inputs, levels=levels)
    _, wanted = next(found)
    for level, given in found:
        for position, (a, b) in enumerate(zip(given, wanted, strict=True)):
            name = op.name if isinstance(op, Operation) else ", ".join(each.name for each in op)
            title = f"{name}, result {position} at {level}"
            assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{title}: {a.dtype}{a.shape}, not {b.dtype}{b.shape}"
            assert _same(a, b, rtol), f"{title}: {a.tolist()}, not {b.tolist()}"
    return wanted


def _same(a: Array, b: Array, rtol: float) -> bool:
    if not rtol or a.dtype.kind in "biu":
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind not in "biu"))
    wide, exact = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(exact)
    scale = np.abs(exact[finite]).max(initial=0.0)
    same = np.array_equal(wide[~finite], exact[~finite], equal_nan=True)
    return bool(same and np.allclose(wide[finite], exact[finite], rtol=rtol, atol=rtol * scale))
