"""tile-expand-math: accuracy of the expansions over all of f32, the same scalar ops as on the targets; refusals."""

import math
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import tile
from stepwell.dialects.evaluate import evaluate_block
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import StepwellContext
from stepwell.plugins.universe import make_context
from stepwell.testing.check_pass import check_pass
from stepwell.transforms.tile.expand_math import PASS

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
        ("math.log", np.log, 3),
    ],
)
def test_accuracy_over_all_of_f32(op: str, reference: object, ulps: float) -> None:
    near = np.linspace(-11, 11, 60001, dtype=np.float32)
    x = np.concatenate([FINITE, near])
    x = x[x >= 0] if op == "math.log" else x
    (value,) = evaluate_block(expanded_body(op), [x])
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
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


WIDE = np.random.default_rng(0).integers(0, 2**63, 400).view(np.float64)
LONG = np.concatenate([
    np.linspace(-6.5, 6.5, 401), np.linspace(-0.6, 0.6, 201), np.geomspace(1e-9, 745, 200), -np.geomspace(1e-9, 745, 200),
    WIDE[np.isfinite(WIDE)], np.geomspace(5e-324, 1e-300, 50), np.linspace(0.7, 1.42, 200),
])  # fmt: skip


@pytest.mark.parametrize(
    ("op", "reference", "ulps"),
    [
        ("math.erf", np.frompyfunc(math.erf, 1, 1), 4),
        ("math.tanh", np.tanh, 4),
        ("math.exp", np.exp, 3),
        ("math.log", np.log, 3),
    ],
)
def test_accuracy_in_f64(op: str, reference: object, ulps: float) -> None:
    """The reference may be off by a unit itself."""
    x = LONG[LONG >= 0] if op == "math.log" else LONG
    with np.errstate(all="ignore"):
        (value,) = evaluate_block(expanded_body(op, "f64"), [x])
        exact = reference(x).astype(np.float64)  # type: ignore[operator]
    infinite = np.isinf(exact)
    assert np.array_equal(value[infinite], exact[infinite])
    error = np.abs(value[~infinite] - exact[~infinite]) / np.spacing(np.abs(exact[~infinite]))
    assert error.max() <= ulps, f"{error.max()} ulps at {x[~infinite][error.argmax()]!r}"


@pytest.mark.parametrize("type", ["f32", "f64"])
def test_logarithm_of_what_has_none(type: str) -> None:
    dtype: Any = {"f32": np.float32, "f64": np.float64}[type]
    least = np.finfo(dtype).smallest_subnormal
    x = np.array([np.inf, np.nan, -np.inf, -1, -least, 0.0, -0.0, least, 1.0], dtype)
    (value,) = evaluate_block(expanded_body("math.log", type), [x])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(value, np.log(x.astype(np.float64)), rtol=1e-7)


def test_f64_to_f16_rounds_once() -> None:
    """Values beside the middle of two f16 numbers, which a way through f32 alone would put on it."""
    halves = np.arange(0, 0x7C00, 7, dtype=np.uint16).view(np.float16).astype(np.float64)
    above = np.arange(1, 0x7C01, 7, dtype=np.uint16).view(np.float16).astype(np.float64)
    middle = (halves + np.where(np.isinf(above), 65536, above)) / 2
    special = [0.0, np.inf, np.nan, 1e300, 1e-300, 65504, 65519.999999999, 65520, 2.0**-25, np.nextafter(2.0**-25, 1)]
    x = np.concatenate([halves, middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf), special])
    x = np.concatenate([x, -x])
    text = KERNEL.format(op="math.absf", type="f64")
    text = text.replace("%r = math.absf %p : f64", "%r = arith.truncf %p : f64 to f16").replace(
        "-> (%y: !tile.ref<2xf64", "-> (%y: !tile.ref<2xf16"
    )
    text = text.replace("}} : !tile.tile<4x4xf64", "}} : !tile.tile<4x4xf16").replace(
        "} : !tile.tile<4x4xf64", "} : !tile.tile<4x4xf16"
    )
    text = text.replace("-> tensor<5x6xf64>", "-> tensor<5x6xf16>").replace(
        "return %y : tensor<5x6xf64>", "return %y : tensor<5x6xf16>"
    )
    module = parse_text(make_context(), text, SourceMap("test"))
    PASS().apply(StepwellContext(), module)
    module.verify()
    body = next(inner for inner in module.walk() if isinstance(inner, tile.MapOp)).body.block
    with np.errstate(all="ignore"):
        (value,) = evaluate_block(body, [x])
        expected = x.astype(np.float16)
    assert value.tobytes()[:2] == expected.tobytes()[:2]
    np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("op", ["math.erf", "math.tanh", "math.exp", "math.log"])
@pytest.mark.parametrize("type", ["f32", "f16", "f64"])
def test_keeps_what_every_pass_keeps(op: str, type: str) -> None:
    (report,) = check_pass("tile-expand-math", module_of(op, type))
    assert report.changed and "meaning: rounds" in report.properties
