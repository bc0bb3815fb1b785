"""The graph passes: what the kit checks for every pass, on generated networks; the whole pipeline on the digits network; recipes kept equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.onnx import import_onnx
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import StepwellContext, names_of
from stepwell.plugins.universe import make_context
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import GeneratedGraph, graphs
from stepwell.testing.strategies.graphs import STEPS
from stepwell.transforms.graph.assign_layout import PASS as AssignLayout
from stepwell.transforms.graph.fold_weight_transforms import PASS as FoldWeightTransforms
from stepwell.transforms.graph.fuse_epilogue import PASS as FuseEpilogue
from stepwell.transforms.graph.fuse_single import PASS as FuseSingle
from stepwell.transforms.graph.set_precision import PASS as SetPrecision

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits" / "digits.onnx"
PASSES = [
    "graph-assign-layout",
    "graph-cancel-transposes",
    "graph-fold-weight-transforms",
    "graph-fuse-epilogue",
    "graph-fuse-single",
    "graph-remove-dead",
]


@pytest.mark.parametrize("name", PASSES)
@given(case=graphs(8, steps=(*STEPS, "cast")))
@settings(max_examples=10)
def test_on_generated_networks(name: str, case: GeneratedGraph) -> None:
    check_pass(name, case.module, case.context())


@given(case=graphs(8, shape=(2, 3, 6, 5)))
@settings(max_examples=10)
def test_set_precision_on_generated_networks(case: GeneratedGraph) -> None:
    context = case.context()
    for made in (AssignLayout(), FoldWeightTransforms(), FuseEpilogue(), FuseSingle()):
        made.apply(context, case.module)
    check_pass("graph-set-precision", case.module, context)


@given(case=graphs(8, integers=True))
@settings(max_examples=15)
def test_whole_numbers_keep_their_bits(case: GeneratedGraph) -> None:
    """Where no sum is rounded, reordered sums give the same bits, in half precision too."""
    arrays = whole_inputs(case.module)
    before = interpret(case.module, arrays, case.weights)
    for made in (AssignLayout(), FoldWeightTransforms(), FuseEpilogue(), FuseSingle(), SetPrecision()):
        made.apply(case.context(), case.module)
    case.module.verify()
    after = interpret(case.module, arrays, case.weights)
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name])


def whole_inputs(module: ModuleOp) -> dict[str, np.ndarray]:
    from stepwell.dialects.graph.interpreter import argument_names, main_function

    main = main_function(module)
    rng = np.random.default_rng(0)
    shapes = [argument.type.get_shape() for argument in main.body.block.args]  # type: ignore[attr-defined]
    return {n: rng.integers(-2, 3, s).astype(np.float32) for n, s in zip(argument_names(main), shapes, strict=True)}


# --- the digits network


def digits() -> tuple[ModuleOp, WeightStore, StepwellContext]:
    module, weights = import_onnx(DIGITS, shapes={"image": "128x1x8x8"})
    context = StepwellContext()
    for made in (AssignLayout(), FoldWeightTransforms(), FuseEpilogue(), FuseSingle()):
        made.apply(context, module)
    module.verify()
    return module, weights, context


def test_digits_becomes_six_fusions() -> None:
    module, _, _ = digits()
    fusions = [op for op in module.walk() if isinstance(op, graph.FusionOp)]
    assert [f.fusion_name.data for f in fusions] == [
        "stem_conv",
        "block_conv1",
        "block_conv2",
        "pool",
        "head_hidden",
        "head_logits",
    ]
    assert not [op for op in module.walk() if isinstance(op, graph.TransposeOp)]
    outside = [op.name for op in module.walk() if op.parent_op() is fusions[0].parent_op()]
    assert set(outside) == {"graph.fusion", "graph.weight", "graph.reshape", "func.return"}
    assert all(op.transpose_b for op in module.walk() if isinstance(op, graph.MatmulOp))


def test_digits_residual_is_an_operand_of_its_fusion() -> None:
    module, _, context = digits()
    by_name = {op.fusion_name.data: op for op in module.walk() if isinstance(op, graph.FusionOp)}
    assert by_name["block_conv2"].inputs[-1] is by_name["stem_conv"].outputs[0]
    assert names_of(by_name["block_conv2"]) == ("block/conv2", "block/add", "block/relu2")
    passed = [str(r) for r in context.remarks.matching("graph-fuse-epilogue", ("passed",))]
    assert any(
        "block/conv2: fused bias add, residual add, relu into conv: one kernel in place of 4" in r for r in passed
    )


def test_digits_flatten_moves_into_the_weight() -> None:
    module, weights, _ = digits()
    refs = {op.ref.source.data: op.ref for op in module.walk() if isinstance(op, graph.WeightOp)}
    assert [step.kind.data for step in refs["hidden.weight"].steps] == ["transpose", "reshape", "transpose", "reshape"]
    stored = weights.array("hidden.weight")
    expected = stored.T.reshape(64, 64, 2, 2).transpose(0, 2, 3, 1).reshape(64, 256)
    np.testing.assert_array_equal(weights.evaluate(refs["hidden.weight"]), expected)


def test_digits_results_stay() -> None:
    image = np.random.default_rng(1).random((128, 1, 8, 8), np.float32)
    imported, weights = import_onnx(DIGITS, shapes={"image": "128x1x8x8"})
    oracle = interpret(imported, {"image": image}, weights, float64=True)["logits"]
    module, _, context = digits()
    got = interpret(module, {"image": image}, weights)["logits"]
    np.testing.assert_allclose(got, oracle, rtol=0, atol=1e-5 * np.abs(oracle).max())
    again = interpret(module, {"image": image}, weights, float64=True)["logits"]
    np.testing.assert_allclose(again, oracle, rtol=0, atol=1e-12 * np.abs(oracle).max())
    SetPrecision().apply(context, module)
    module.verify()
    half = interpret(module, {"image": image}, weights)["logits"]
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, oracle, rtol=0, atol=SetPrecision.rtol * np.abs(oracle).max())


def test_every_op_keeps_a_source_name() -> None:
    module, _, context = digits()
    SetPrecision().apply(context, module)
    assert [op.name for op in module.walk() if not names_of(op)] == []


def test_names_of_fusions_are_unique_identifiers() -> None:
    from onnx import helper

    x, y = (helper.make_tensor_value_info(name, 1, [2, 4]) for name in "xy")
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="main"),
        helper.make_node("Tanh", ["a"], ["b"], name="1/act"),
        helper.make_node("Tanh", ["b"], ["y"], name="1/act"),
    ]
    module, _ = import_onnx(helper.make_model(helper.make_graph(nodes, "g", [x], [y])))
    FuseSingle().apply(StepwellContext(), module)
    names = [op.fusion_name.data for op in module.walk() if isinstance(op, graph.FusionOp)]
    assert names == ["main_1", "f_1_act", "f_1_act_1"]


PRODUCT = """
builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%%x: tensor<2x3x4x5xf32> {stepwell.name = "x"}, %%w: tensor<2x20xf32> {stepwell.name = "w"})
      -> (tensor<6x2xf32> {stepwell.name = "y"}) {
    %%t = graph.transpose %%x %s : tensor<2x3x4x5xf32> -> tensor<%sxf32> loc("t")
    %%f = graph.reshape %%t : tensor<%sxf32> -> tensor<6x20xf32> loc("f")
    %%v = graph.weight #graph.weight<"v", "%s", tensor<2x20xf32>, []> : tensor<2x20xf32> loc("v")
    %%y = graph.matmul %%f, %%v transpose_b : (tensor<6x20xf32>, tensor<2x20xf32>) -> tensor<6x2xf32> loc("y")
    func.return %%y : tensor<6x2xf32> loc("y")
  }
}
"""


@pytest.mark.parametrize(
    "order, shape, folds", [([0, 1, 3, 2], "2x3x5x4", True), ([1, 0, 3, 2], "3x2x5x4", False), ([1, 0, 2, 3], "3x2x4x5", False)]
)  # fmt: skip
def test_a_flattened_transpose_folds_only_where_leading_dims_stay(order: list[int], shape: str, folds: bool) -> None:
    """Rows of the product that would come in another order cannot be mended in its weight."""
    weight = np.random.default_rng(0).integers(-2, 3, (2, 20)).astype(np.float32)
    store = WeightStore()
    sha = store.add("v", weight).sha256.data
    context = make_context(store)
    text = PRODUCT % (order, shape, shape, sha)
    module = parse_text(context, text, SourceMap("product"))
    (report,) = check_pass("graph-cancel-transposes", module, context)
    assert report.changed == folds
