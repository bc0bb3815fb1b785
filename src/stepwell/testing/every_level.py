"""`every_level`: one op of the graph level, executed at every level of both targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region

import stepwell
from stepwell.api.compile import compile_plan
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore, keep_weights
from stepwell.driver.execute import interpret
from stepwell.driver.run_ptx import run_plan
from stepwell.passes import location_of

LEVELS = ("tile", "kernel")
TARGETS = {"cpu": "x86-64-v3", "sm_90a": "sm_90a"}


def network_of(op: Operation) -> ModuleOp:
    """A network of the op alone; its operands, from anywhere, say the types."""
    types = [operand.type for operand in op.operands]
    block = Block(arg_types=types)
    copy = op.clone(dict(zip(op.operands, block.args, strict=True)))
    copy.location = location_of([op.name.removeprefix("graph.")])
    block.add_ops([copy, func.ReturnOp(*copy.results)])
    function = func.FuncOp("main", (types, [result.type for result in op.results]), Region(block))
    module = keep_weights(ModuleOp([function]), WeightStore())
    module.verify()
    return module


def every_level(op: Operation, *inputs: Array, levels: Sequence[str] = LEVELS) -> Iterator[tuple[str, list[Array]]]:
    """The op's results at the graph level, then at `levels` of both targets (kernels of a CPU run as machine code, those of sm_90a on the
    simulator), then from the PTX interpreter; each with a name."""
    named = {f"input{position}": np.asarray(array) for position, array in enumerate(inputs)}
    module = network_of(op)
    yield "graph", list(interpret(module, named).values())
    for family, target in TARGETS.items():
        for level in levels:
            lowered = stepwell.lower(module, to=level, target=target)
            yield f"{family}, {level}", list(interpret(lowered, named, weights=WeightStore()).values())
    plan = compile_plan(module, WeightStore(), target="sm_90a")
    yield "sm_90a, ptx", list(run_plan(plan, named).outputs.values())


def check_every_level(op: Operation, *inputs: Array, rtol: float = 0.0, levels: Sequence[str] = LEVELS) -> list[Array]:
    """The op's results at the graph level. AssertionError where another level gives others: other bits (a NaN is one whatever its bits), with `rtol`
    further away than that part of the largest value."""
    found = every_level(op, *inputs, levels=levels)
    _, wanted = next(found)
    for level, given in found:
        for position, (a, b) in enumerate(zip(given, wanted, strict=True)):
            title = f"{op.name}, result {position} at {level}"
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
