"""tile-expand-math: accuracy of the expansions over all of f32, the same scalar ops as on the targets; refusals."""

import math

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import tile
from stepwell.dialects.evaluate import evaluate_block
from stepwell.passes import StepwellContext
from stepwell.source import SourceMap, parse_text
from stepwell.testing.check_pass import check_pass
from stepwell.transforms.tile.expand_math import PASS
from stepwell.universe import make_context

KERNEL = """
builtin.module attributes {{stepwell.level = "tile"}} {{
  tile.kernel @k(%x: !tile.ref<2x{type}, plain>) -> (%y: !tile.ref<2x{type}, plain>) config #tile.config<block = [4, 4], warps = 4> {{
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 4] {{
      %a = tile.load %x[%i, %j] : !tile.tile<4x4x{type}, regs>
      %o = tile.map (%p = %a) {{
        %r = {op} %p : {type} loc("node")
        tile.yield %r
      }} : !tile.tile<4x4x{type}, regs>
      tile.store %o, %y[%i, %j]
    }}
  }}
  func.func @main(%x: tensor<5x6x{type}>) -> tensor<5x6x{type}> {{
    %y = tile.apply @k(%x) : (tensor<5x6x{type}>) -> tensor<5x6x{type}>
    func.return %y : tensor<5x6x{type}>
  }}
}}
"""


def module_of(op: str, type: str = "f32") -> ModuleOp:
    text = KERNEL.format(op=op, type=type)
    return parse_text(make_context(), text, SourceMap("test"))


def expanded_body(op: str, type: str = "f32"):  # type: ignore[no-untyped-def]
    module = module_of(op, type)
    PASS().apply(StepwellContext(), module)
    module.verify()
    return next(inner for inner in module.walk() if isinstance(inner, tile.MapOp)).body.block


EVERY = np.arange(0, 2**31, 16411, dtype=np.uint32).view(np.float32)
FINITE = np.concatenate([EVERY[np.isfinite(EVERY)], -EVERY[np.isfinite(EVERY)]])


@pytest.mark.parametrize(
    ("op", "reference", "ulps"),
    [
        ("math.erf", np.frompyfunc(math.erf, 1, 1), 5),
        ("math.tanh", np.tanh, 5),
        ("math.exp", np.exp, 2),
    ],
)
def test_accuracy_over_all_of_f32(op: str, reference: object, ulps: float) -> None:
    near = np.linspace(-11, 11, 60001, dtype=np.float32)
    x = np.concatenate([FINITE, near])
    (value,) = evaluate_block(expanded_body(op), [x])
    with np.errstate(over="ignore", under="ignore"):
        exact = reference(x.astype(np.float64)).astype(np.float64)  # type: ignore[operator]
        rounded = exact.astype(np.float32)
    assert value.dtype == np.float32
    infinite = np.isinf(rounded)
    assert np.array_equal(value[infinite], rounded[infinite])
    unit = np.spacing(np.abs(rounded[~infinite])).astype(np.float64)
    error = np.abs(value[~infinite].astype(np.float64) - exact[~infinite]) / unit
    assert error.max() <= ulps, f"{error.max()} ulps at {x[~infinite][error.argmax()]!r}"


@pytest.mark.parametrize(
    ("op", "at_infinity", "at_minus_infinity"), [("math.erf", 1, -1), ("math.tanh", 1, -1), ("math.exp", np.inf, 0)]
)
def test_special_values(op: str, at_infinity: float, at_minus_infinity: float) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], np.float32)
    (value,) = evaluate_block(expanded_body(op), [x])
    assert value[0] == at_infinity and value[1] == at_minus_infinity and np.isnan(value[2])
    if op != "math.exp":
        assert value[3] == 0 and np.signbit(value[4]) and not np.signbit(value[3])


@pytest.mark.parametrize("op", ["math.erf", "math.tanh"])
def test_never_beyond_one(op: str) -> None:
    x = np.linspace(0, 20, 400001, dtype=np.float32)
    (value,) = evaluate_block(expanded_body(op), [x])
    assert value.max() == 1.0


@pytest.mark.parametrize("op", ["math.erf", "math.tanh", "math.exp"])
@pytest.mark.parametrize("type", ["f32", "f16"])
def test_keeps_what_every_pass_keeps(op: str, type: str) -> None:
    (report,) = check_pass("tile-expand-math", module_of(op, type))
    assert report.changed and "meaning: rounds" in report.properties


def test_f64_stays_with_a_remark() -> None:
    ctx = make_context()
    (report,) = check_pass("tile-expand-math", module_of("math.erf", "f64"), ctx)
    assert not report.changed
    (remark,) = report.remarks
    assert (
        remark.kind == "missed" and remark.message == "math.erf of f64 has no expansion" and remark.names == ("node",)
    )
