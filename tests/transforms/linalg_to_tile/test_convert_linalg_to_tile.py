"""linalg to tile: generated networks on every target, random legal schedules, the digits network, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import graph, tile
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.driver.execute import interpret
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import PassFailure
from stepwell.passes.target import resolve, write_target
from stepwell.plugins.universe import make_context
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import GeneratedGraph, graphs, tile_configs
from stepwell.transforms.pipelines import GRAPH
from stepwell.types.targets import COMPILED

SLOW = [HealthCheck.too_slow]
PASS = "stepwell-convert-linalg-to-tile"
LINALG = ["stepwell-convert-graph-to-linalg", "linalg-choose-config"]
TILE = [PASS, "tile-expand-math", "tile-merge-kernels"]
DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits" / "digits.onnx"


def lowered(module: ModuleOp, specs: list[str], target: str, weights: WeightStore | None = None) -> ModuleOp:
    result = module.clone()
    write_target(result, resolve(target))
    for spec in specs:
        for pass_ in passes_of(spec):
            pass_.apply(make_context(weights), result)
            result.verify()
    return result


def assert_same_integers(case: GeneratedGraph, after: ModuleOp) -> None:
    expected = interpret(case.module, case.inputs(), weights=case.weights)
    for name, array in interpret(after, case.inputs(), weights=case.weights).items():
        assert np.array_equal(array, expected[name].reshape(array.shape)), name


@given(graphs(integers=True), st.sampled_from(COMPILED))
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
def test_networks_of_integers_bit_for_bit(case: GeneratedGraph, target: str) -> None:
    try:
        after = lowered(case.module, [*GRAPH, *LINALG, *TILE], target, case.weights)
    except PassFailure as refusal:
        assert str(refusal).strip(), "a refusal has a reason"
        return
    assert_same_integers(case, after)


@given(
    graphs(4, integers=True, steps=("conv", "matmul", "unary", "pool"), shape=(2, 8, 5, 6)), st.sampled_from(COMPILED)
)
@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
def test_wide_channels_bit_for_bit(case: GeneratedGraph, target: str) -> None:
    try:
        after = lowered(case.module, [*GRAPH, *LINALG, *TILE], target, case.weights)
    except PassFailure:
        return
    assert_same_integers(case, after)


@given(graphs(3), st.sampled_from(COMPILED))
@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
def test_the_pass_keeps_what_every_pass_keeps(case: GeneratedGraph, target: str) -> None:
    try:
        before = lowered(case.module, [*GRAPH, *LINALG], target, case.weights)
    except PassFailure:
        return
    check_pass(PASS, before, case.context())


CONV = """
builtin.module attributes {{stepwell.level = "graph"}} {{
  func.func @main(%x: tensor<2x7x6x{c}x{e}>, %r: tensor<2x4x5x{n}x{e}>) -> tensor<2x4x5x{n}x{e}> {{
    %w = graph.weight {w} : tensor<{n}x3x2x{c}x{e}>
    %b = graph.weight {b} : tensor<{n}xf32>
    %y = graph.fusion "conv" (%0 = %x : tensor<2x7x6x{c}x{e}>, %1 = %w : tensor<{n}x3x2x{c}x{e}>, %2 = %b : tensor<{n}xf32>, %3 = %r : tensor<2x4x5x{n}x{e}>) -> (tensor<2x4x5x{n}x{e}>) {{
      %4 = graph.conv %0, %1 strides [2, 1] pads [1, 0, 2, 1] dilations [1, 2] channels_last : (tensor<2x7x6x{c}x{e}>, tensor<{n}x3x2x{c}x{e}>) -> tensor<2x4x5x{n}xf32>
      %5 = graph.broadcast %2 dims [3] : tensor<{n}xf32> -> tensor<2x4x5x{n}xf32>
      %6 = graph.binary add %4, %5 : (tensor<2x4x5x{n}xf32>, tensor<2x4x5x{n}xf32>) -> tensor<2x4x5x{n}xf32>
      %7 = graph.cast %3 : tensor<2x4x5x{n}x{e}> -> tensor<2x4x5x{n}xf32>
      %8 = graph.binary add %7, %6 : (tensor<2x4x5x{n}xf32>, tensor<2x4x5x{n}xf32>) -> tensor<2x4x5x{n}xf32>
      %9 = graph.unary relu %8 : tensor<2x4x5x{n}xf32> -> tensor<2x4x5x{n}xf32>
      %10 = graph.cast %9 : tensor<2x4x5x{n}xf32> -> tensor<2x4x5x{n}x{e}>
      graph.yield %10 : tensor<2x4x5x{n}x{e}>
    }}
    func.return %y : tensor<2x4x5x{n}x{e}>
  }}
}}
"""  # fmt: skip


def conv_case(channels: int, filters: int, element: str) -> GeneratedGraph:
    """A strided, dilated convolution with uneven pads, bias, residual and activation, in small integers."""
    rng = np.random.default_rng(channels * filters)
    dtype = np.float16 if element == "f16" else np.float32
    weights = WeightStore()
    w = weights.add("w", rng.integers(-1, 2, (filters, 3, 2, channels)).astype(dtype))
    b = weights.add("b", rng.integers(-2, 3, filters).astype(np.float32))
    text = CONV.format(c=channels, n=filters, e=element, w=w, b=b)
    return GeneratedGraph(parse_text(make_context(), text, SourceMap("test")), weights, integers=True)


@st.composite
def scheduled(draw: st.DrawFn) -> tuple[GeneratedGraph, str, tile.Config]:
    """A convolution, a target and a config that is legal there."""
    target = draw(st.sampled_from(COMPILED))
    element = draw(st.sampled_from(["f32", "f16"] if target == "sm_90a" else ["f32"]))
    channels, filters = draw(st.sampled_from([8, 12, 16, 24])), draw(st.integers(1, 40))
    product = draw(st.booleans()) if channels % 8 == 0 or element == "f32" else False
    size = 2 if element == "f16" else 4
    config = draw(tile_configs(target, product=product, element_size=size, window=True, residuals=1))
    return conv_case(channels, filters, element), target, config


@given(scheduled())
@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
def test_every_legal_schedule_computes_the_same(choice: tuple[GeneratedGraph, str, tile.Config]) -> None:
    case, target, config = choice
    module = case.module.clone()
    for op in module.walk():
        if isinstance(op, graph.FusionOp):
            op.config = tile.ConfigAttr(config)
    after = lowered(module, [*LINALG, *TILE], target, case.weights)
    (kernel,) = [op for op in after.walk() if isinstance(op, tile.KernelOp)]
    assert kernel.config.data == config
    assert_same_integers(case, after)


@pytest.mark.parametrize("target", COMPILED)
@pytest.mark.parametrize(("precision", "bound"), [("model", 1e-5), ("fp16", 1e-2)])
def test_digits(target: str, precision: str, bound: float) -> None:
    from stepwell.api.compile import import_model, interpret, lower

    module = import_model(DIGITS, shapes={"image": (5, 1, 8, 8)})
    images = {"image": np.load(DIGITS.parent / "heldout.npz")["images"][:5]}
    (expected,) = interpret(module, images).values()
    after = lower(module, "tile", target=target, precision=precision)
    kernels = [op for op in after.walk() if isinstance(op, tile.KernelOp)]
    assert 5 <= len(kernels) <= 6
    (found,) = interpret(after, images).values()
    assert np.abs(np.subtract(found, expected)).max() <= bound * np.abs(expected).max()
    assert np.array_equal(found.argmax(1), expected.argmax(1))


def test_depthwise_per_image_scale_and_transpose() -> None:
    weights = WeightStore()
    rng = np.random.default_rng(0)
    w = weights.add("w", rng.integers(-2, 3, (6, 3, 3, 1)).astype(np.float32))
    text = f"""
    builtin.module attributes {{stepwell.level = "graph"}} {{
      func.func @main(%x: tensor<2x5x4x6xf32>, %s: tensor<2x6xf32>) -> tensor<2x6x5x4xf32> {{
        %w = graph.weight {w} : tensor<6x3x3x1xf32>
        %y = graph.fusion "depthwise" (%a = %x : tensor<2x5x4x6xf32>, %b = %w : tensor<6x3x3x1xf32>) -> (tensor<2x5x4x6xf32>) {{
          %0 = graph.conv %a, %b strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] groups 6 channels_last : (tensor<2x5x4x6xf32>, tensor<6x3x3x1xf32>) -> tensor<2x5x4x6xf32>
          graph.yield %0 : tensor<2x5x4x6xf32>
        }}
        %z = graph.fusion "scale" (%a = %y : tensor<2x5x4x6xf32>, %b = %s : tensor<2x6xf32>) -> (tensor<2x5x4x6xf32>) {{
          %0 = graph.broadcast %b dims [0, 3] : tensor<2x6xf32> -> tensor<2x5x4x6xf32>
          %1 = graph.binary mul %a, %0 : (tensor<2x5x4x6xf32>, tensor<2x5x4x6xf32>) -> tensor<2x5x4x6xf32>
          graph.yield %1 : tensor<2x5x4x6xf32>
        }}
        %t = graph.fusion "transpose" (%a = %z : tensor<2x5x4x6xf32>) -> (tensor<2x6x5x4xf32>) {{
          %0 = graph.transpose %a [0, 3, 1, 2] : tensor<2x5x4x6xf32> -> tensor<2x6x5x4xf32>
          graph.yield %0 : tensor<2x6x5x4xf32>
        }}
        func.return %t : tensor<2x6x5x4xf32>
      }}
    }}"""  # fmt: skip
    case = GeneratedGraph(parse_text(make_context(), text, SourceMap("test")), weights, integers=True)
    for target in COMPILED:
        assert_same_integers(case, lowered(case.module, [*LINALG, *TILE], target, weights))


@pytest.mark.parametrize(
    ("config", "target", "reason"),
    [
        ("block = [6, 64], mma = fma", "sm_90a", "mma = fma is the vector instruction of the CPU"),
        ("block = [8], copy = pointer_table, mma = fma", "x86-64-v4", "has 1 extents, the kernel writes 2 dims"),
        ("block = [6, 64], mma = fma", "x86-64-v4", "copy = direct: this kernel's operands are read with copy = pointer_table"),
        ("block = [8, 64], copy = pointer_table, mma = fma", "x86-64-v4", "register tiles take 37 vector registers"),
    ],
)  # fmt: skip
def test_illegal_overrides(config: str, target: str, reason: str) -> None:
    case = conv_case(8, 8, "f32")
    module = case.module.clone()
    (attr,) = [
        parse_text(
            make_context(), f'"builtin.module"() ({{}}) {{c = #tile.config<{config}>}} : () -> ()', SourceMap("c")
        )
    ]
    for op in module.walk():
        if isinstance(op, graph.FusionOp):
            op.config = attr.attributes["c"]
    with pytest.raises(PassFailure, match=reason.replace("[", r"\[")):
        lowered(module, [*LINALG, PASS], target, case.weights)


def test_refuses_a_fusion_without_config() -> None:
    case = conv_case(8, 8, "f32")
    with pytest.raises(PassFailure, match="the fusion has no #tile.config\n  hint: run linalg-choose-config before"):
        lowered(case.module, ["stepwell-convert-graph-to-linalg", PASS], "sm_90a")
