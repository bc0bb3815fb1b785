"""Every graph pass over modules that hold every op of the dialect, all of them used: what a pass does not know it leaves alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects import func
from xdsl.dialects.builtin import FunctionType, ModuleOp

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.driver.signature import Array, signature_of
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import PassFailure
from stepwell.plugins.universe import make_context, pass_modules
from stepwell.transforms.pipelines import GRAPH

FOLDER = Path(__file__).resolve().parents[2] / "dialects" / "graph"
FILES = ("roundtrip", "roundtrip_models")
PASSES = sorted(name for name in pass_modules() if name.startswith("graph-"))
PASSES += [",".join(GRAPH), "graph-fuse-single,graph-set-precision"]


def live(file: str) -> ModuleOp:
    """The module of a file with every result an output; plugins that are not there and groups of several ranks left out."""
    module = parse_text(make_context(), (FOLDER / f"{file}.mlir").read_text(encoding="utf-8"), SourceMap(file))
    main = next(op for op in module.ops if isinstance(op, func.FuncOp))
    block = main.body.block
    for op in [op for op in block.ops if isinstance(op, graph.CustomOp | graph.CollectiveOp)]:
        op.detach()
        op.erase()
    values = [result for op in block.ops for result in op.results]
    assert block.last_op is not None
    block.last_op.detach()
    block.add_op(func.ReturnOp(*values))
    main.function_type = FunctionType.from_lists([a.type for a in block.args], [value.type for value in values])
    module.verify()
    return module


@cache
def expected(file: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs by a seed, and what the module makes of them."""
    module = live(file)
    inputs = signature_of(module).random_inputs(1)
    return inputs, interpret(module, inputs)


def test_every_op_is_met() -> None:
    held = {op.name for file in FILES for op in live(file).walk()}
    left_out = {"graph.custom", "graph.collective", "graph.weight", "graph.fusion", "graph.conv"}
    assert {op.name for op in graph.GRAPH.operations} - held <= left_out | {
        "graph.broadcast",
        "graph.reshape",
        "graph.transpose",
    }


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("file", FILES)
def test_passes_leave_unknown_ops_alone(file: str, name: str) -> None:
    module = live(file)
    before, weights = {op.name for op in module.walk()}, WeightStore()
    try:
        for pass_ in passes_of(name):
            pass_.apply(make_context(weights), module)
    except PassFailure:
        assert {op.name for op in module.walk()} == before
        return
    module.verify()
    inputs, outputs = expected(file)
    rtol = 2e-2 if "precision" in name else 1e-5
    for key, array in interpret(module, inputs, weights).items():
        wanted = outputs[key]
        assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype)
        if array.dtype == object:
            assert array.tolist() == wanted.tolist()
            continue
        near = max(rtol, 5e-3 if array.dtype == np.float16 else 0.0)  # attention in pieces rounds between them
        np.testing.assert_allclose(
            array.astype(np.float64), wanted.astype(np.float64), rtol=near, atol=near, err_msg=key
        )
