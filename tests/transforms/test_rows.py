"""Kernels that fold rows: softmax, normalisation, reductions and positions of extremes, at every level and on the CPU, against the graph level."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute

import stepwell
from stepwell.dialects import tile
from stepwell.dialects.graph.interpreter import main_function
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.dialects.weights import WeightStore
from stepwell.driver.execute import interpret
from stepwell.driver.run_ptx import run_plan
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.testing.ptx import ptx_plan
from stepwell.testing.strategies import GeneratedGraph, row_networks
from stepwell.transforms.tensors import element_of

TOLERANCES = {"bfloat16": 4e-2, "float16": 6e-3, "float32": 3e-5, "float64": 1e-11}
"""Of functions of floats, relative and absolute; integers are equal."""


def network(op: str, operand: str, results: list[str]) -> ModuleOp:
    """One op on the input `x`, whose results are `y0`, `y1`, .."""
    names = ", ".join(f"%y{n}" for n in range(len(results)))
    outs = ", ".join(f'tensor<{type}> {{stepwell.name = "y{n}"}}' for n, type in enumerate(results))
    types = ", ".join(f"tensor<{type}>" for type in results)
    signature = f"(tensor<{operand}>) -> ({types})" if len(results) > 1 else f"tensor<{operand}> -> {types}"
    text = f"""
    builtin.module attributes {{stepwell.level = "graph"}} {{
      func.func @main(%x: tensor<{operand}> {{stepwell.name = "x"}}) -> ({outs}) {{
        {names} = {op} : {signature}
        func.return {names} : {types}
      }}
    }}"""
    return parse_text(make_context(), text, SourceMap("test"))


def assert_same(given: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert given.keys() == wanted.keys()
    for name, exact in wanted.items():
        tolerance = TOLERANCES.get(str(exact.dtype), 0)
        np.testing.assert_allclose(
            given[name].astype(np.float64), exact.astype(np.float64), rtol=tolerance, atol=tolerance, err_msg=name
        )


def kernels_of(module: ModuleOp, target: str) -> list[tile.KernelOp | tile.LoopsOp]:
    made = stepwell.lower(module.clone(), to="tile", target=target)
    return [op for op in made.walk() if isinstance(op, tile.KernelOp | tile.LoopsOp)]


def on_the_cpu(case: GeneratedGraph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(stepwell.compile(case.module.clone(), target="cpu").run(inputs))


def on_ptx(case: GeneratedGraph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(run_plan(ptx_plan(case.module.clone()), inputs).outputs)


@pytest.mark.parametrize("road", [on_the_cpu, on_ptx])
def test_networks_of_rows(road: Callable[[GeneratedGraph, dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    """Any element type, any dims, elementwise work before and behind: the values are those of the graph level."""

    @settings(max_examples=max(5, settings().max_examples // 10), suppress_health_check=list(HealthCheck))
    @given(row_networks())
    def check(case: GeneratedGraph) -> None:
        inputs = dict(case.inputs())
        wanted = interpret(case.module, inputs)
        found = road(case, inputs)
        assert_same({name: array.reshape(wanted[name].shape) for name, array in found.items()}, wanted)

    check()


def test_a_number_for_all_rows_is_held_as_one() -> None:
    """The mean of rows divides by a constant: beside a sum that is one number it is one, too."""
    text = """
    builtin.module attributes {stepwell.level = "graph"} {
      func.func @main(%x: tensor<3x9xf32> {stepwell.name = "x"}) -> (tensor<3xf32> {stepwell.name = "y0"}) {
        %0 = graph.reduce sum %x dims [1] : tensor<3x9xf32> -> tensor<3xf32>
        %1 = graph.constant 9.0 : tensor<f32>
        %2 = graph.broadcast %1 dims [] : tensor<f32> -> tensor<3xf32>
        %3 = graph.binary div %0, %2 : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
        func.return %3 : tensor<3xf32>
      }
    }"""
    module = parse_text(make_context(), text, SourceMap("test"))
    (kernel,) = kernels_of(module, "x86-64-v4")
    assert isinstance(kernel, tile.KernelOp)
    x = np.arange(27, dtype=np.float32).reshape(3, 9)
    assert_same(stepwell.compile(module, target="cpu").run({"x": x}), {"y0": x.mean(1)})


FORMS = {
    "rows": ("graph.softmax %x dims [1]", "3x{w}xf32", ["3x{w}xf32"]),
    "logarithm": ("graph.softmax %x dims [1] log", "3x{w}xf16", ["3x{w}xf16"]),
    "a middle dim": ("graph.softmax %x dims [1]", "2x{w}x5xf32", ["2x{w}x5xf32"]),
    "two dims apart": ("graph.softmax %x dims [0, 2]", "2x{w}x5xf64", ["2x{w}x5xf64"]),
    "all dims": ("graph.reduce sum %x dims [0, 1]", "2x{w}xf32", ["f32"]),
    "the first dim": ("graph.reduce max %x dims [0]", "{w}x3xf16", ["3xf16"]),
    "integers": ("graph.reduce product %x dims [1]", "3x{w}xi16", ["3xi16"]),
    "truths": ("graph.reduce and %x dims [1]", "3x{w}xi1", ["3xi1"]),
    "normalisation": (
        "graph.normalize %x dims [1] epsilon 1.0e-05 center",
        "3x{w}xf32",
        ["3x{w}xf32", "3xf32", "3xf32"],
    ),
    "root mean square": ("graph.normalize %x dims [1] epsilon 1.0e-05", "3x{w}xf16", ["3x{w}xf16", "3xf32", "3xf32"]),
    "a position": ("graph.arg_reduce max %x dim 1 last", "3x{w}xf32", ["3xi64"]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("width", [33, *(pytest.param(width, marks=pytest.mark.slow) for width in (2, 31, 1000))])
def test_one_kernel_of_rows(form: str, width: int) -> None:
    """Right at every level, and one kernel of tiles on the CPU whose work grows with its elements."""
    op, operand, results = FORMS[form]
    module = network(op, operand.format(w=width), [result.format(w=width) for result in results])
    (kernel,) = kernels_of(module, "x86-64-v4")
    assert isinstance(kernel, tile.KernelOp)
    assert kernel.config.data.takes_whole
    shape, kind = operand.format(w=width).rsplit("x", 1)
    rng = np.random.default_rng(width)
    values = rng.integers(-1, 2, [int(n) for n in shape.split("x")]) if kind[0] == "i" else rng.standard_normal([int(n) for n in shape.split("x")])  # fmt: skip
    dtype = {"f16": np.float16, "f32": np.float32, "f64": np.float64, "i16": np.int16, "i1": np.bool_}[kind]
    inputs: dict[str, np.ndarray] = {"x": values.astype(dtype)}
    wanted = interpret(module, inputs)
    for level in ("linalg", "tile"):
        assert_same(interpret(stepwell.lower(module.clone(), to=level, target="x86-64-v4"), inputs), wanted)
    assert_same(stepwell.compile(module, target="cpu").run(inputs), wanted)


GPU_FORMS = ["rows", "logarithm", "a middle dim", "two dims apart in f32", "all dims", "the first dim", "normalisation", "root mean square"]  # fmt: skip
FORMS_32 = {**FORMS, "two dims apart in f32": ("graph.softmax %x dims [0, 2]", "2x{w}x5xf32", ["2x{w}x5xf32"])}


def gpu_case(form: str, width: int) -> tuple[ModuleOp, dict[str, np.ndarray]]:
    op, operand, results = FORMS_32[form]
    shape, kind = operand.format(w=width).rsplit("x", 1)
    module = network(op, operand.format(w=width), [result.format(w=width) for result in results])
    x = np.random.default_rng(width).standard_normal([int(n) for n in shape.split("x")])
    return module, {"x": x.astype({"f16": np.float16, "f32": np.float32}[kind])}


@pytest.mark.parametrize("form", GPU_FORMS)
@pytest.mark.parametrize("width", [33, *(pytest.param(width, marks=pytest.mark.slow) for width in (2, 31, 1000, 5000))])
def test_one_kernel_on_sm_90a(form: str, width: int) -> None:
    """One kernel of tiles, right in the simulator and as PTX; long rows pass by in chunks."""
    module, inputs = gpu_case(form, width)
    wanted = interpret(module, inputs)
    made = stepwell.lower(module.clone(), to="kernel", target="sm_90a")
    (kernel,) = kernels_of(module, "sm_90a")
    assert isinstance(kernel, tile.KernelOp)
    for found in (simulate_program(made, inputs, WeightStore()).outputs, run_plan(ptx_plan(made), inputs).outputs):
        assert_same({name: array.reshape(wanted[name].shape) for name, array in found.items()}, wanted)


LAYER_NORM = """
builtin.module attributes {{stepwell.level = "graph"}} {{
  func.func @main(%x: tensor<64x{w}x{e}> {{stepwell.name = "x"}}, %g: tensor<{w}x{e}> {{stepwell.name = "g"}}, %b: tensor<{w}x{e}> {{stepwell.name = "b"}}) -> (tensor<64x{w}x{e}> {{stepwell.name = "y"}}) {{
    %0, %m, %d = graph.normalize %x dims [1] epsilon 1.0e-05 center : (tensor<64x{w}x{e}>) -> (tensor<64x{w}x{e}>, tensor<64xf32>, tensor<64xf32>)
    %1 = graph.broadcast %g dims [1] : tensor<{w}x{e}> -> tensor<64x{w}x{e}>
    %2 = graph.binary mul %0, %1 : (tensor<64x{w}x{e}>, tensor<64x{w}x{e}>) -> tensor<64x{w}x{e}>
    %3 = graph.broadcast %b dims [1] : tensor<{w}x{e}> -> tensor<64x{w}x{e}>
    %4 = graph.binary add %2, %3 : (tensor<64x{w}x{e}>, tensor<64x{w}x{e}>) -> tensor<64x{w}x{e}>
    func.return %4 : tensor<64x{w}x{e}>
  }}
}}"""


@pytest.mark.parametrize("element", ["f16", "bf16", "f32"])
@pytest.mark.parametrize("width", [8, 768, 1024, 4096, 8192, 16384, 100000])
def test_a_layer_norm_of_any_width_is_one_kernel(width: int, element: str) -> None:
    """Scale and bias are vectors as long as a row: registers hold them, or the row passes by in chunks."""
    text = LAYER_NORM.format(w=width, e=element)
    for precision in ("model", "fp16"):
        module = parse_text(make_context(), text, SourceMap("test"))
        made = stepwell.lower(module, to="tile", target="sm_90a", precision=precision)
        (kernel,) = [op for op in made.walk() if isinstance(op, tile.KernelOp | tile.LoopsKernel)]
        assert isinstance(kernel, tile.KernelOp)


@pytest.mark.parametrize("kernel, strides, extents", [("7, 7", "1, 1", "1x1"), ("3, 3", "2, 2", "3x3")])
@pytest.mark.parametrize("element", ["f16", "bf16"])
def test_average_pools_of_16_bits_are_kernels_of_tiles(element: str, kernel: str, strides: str, extents: str) -> None:
    """Whole numbers are added in f32: where f16 and bf16 would lose some on the way, nothing is lost but in the last rounding."""
    text = f"""
    builtin.module attributes {{stepwell.level = "graph"}} {{
      func.func @main(%x: tensor<2x7x7x24x{element}> {{stepwell.name = "x"}}) -> (tensor<2x{extents}x24x{element}> {{stepwell.name = "y"}}) {{
        %y = graph.pool average %x kernel [{kernel}] strides [{strides}] pads [0, 0, 0, 0] dilations [1, 1] channels_last : tensor<2x7x7x24x{element}> -> tensor<2x{extents}x24x{element}>
        func.return %y : tensor<2x{extents}x24x{element}>
      }}
    }}"""
    module = parse_text(make_context(), text, SourceMap("test"))
    x = np.random.default_rng(0).integers(100, 257, (2, 7, 7, 24)).astype(numpy_dtype(module_element(module)))
    wanted = interpret(module, {"x": x})
    (kernel_op,) = kernels_of(module, "sm_90a")
    assert isinstance(kernel_op, tile.KernelOp)
    for found in (
        stepwell.compile(module.clone(), target="cpu").run({"x": x}),
        run_plan(ptx_plan(module), {"x": x}).outputs,
    ):
        np.testing.assert_array_equal(found["y"].reshape(wanted["y"].shape), wanted["y"])


def module_element(module: ModuleOp) -> Attribute:
    """The element type of the network's first input."""
    return element_of(main_function(module).body.block.args[0])


@pytest.mark.parametrize("last", ["", " last"])
def test_positions_are_found_by_a_kernel_of_rows(last: str) -> None:
    """On sm_90a too, whose tiles hold no i64: the extreme and where it is in one kernel, then a conversion. NaN and equals as the graph level says."""
    module = network(f"graph.arg_reduce max %x dim 1{last}", "3x37xf32", ["3xi64"])
    rows, widened = kernels_of(module, "sm_90a")
    assert isinstance(rows, tile.KernelOp) and rows.config.data.takes_whole and isinstance(widened, tile.LoopsKernel)
    x = np.random.default_rng(0).integers(-2, 3, (3, 37)).astype(np.float32)
    x[1, 5] = x[1, 9] = np.nan
    wanted = interpret(module, {"x": x})
    found = run_plan(ptx_plan(module.clone()), {"x": x}).outputs
    assert_same({"y0": found["y0"].reshape(3)}, wanted)
    assert_same(stepwell.compile(module, target="cpu").run({"x": x}), wanted)
