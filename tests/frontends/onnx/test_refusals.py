"""What cannot be imported: every reason at once, with node, operator and inputs; bytes of any kind end in a ModelError."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from stepwell.frontends.onnx import import_onnx
from stepwell.runtime.errors import ModelError

MakeModel = Callable[..., onnx.ModelProto]
DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits" / "digits.onnx"
X = np.ones((2, 3), np.float32)
IMAGE = np.ones((1, 2, 5, 5), np.float32)
node = helper.make_node


def reasons(model: onnx.ModelProto) -> tuple[str, ...]:
    with pytest.raises(ModelError) as caught:
        import_onnx(model)
    assert caught.value.exit_code == 3
    return caught.value.reasons


def test_all_reasons_at_once(make_model: MakeModel) -> None:
    nodes = [
        node("ImageDecoder", ["x"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="depends on the first"),
        node("Gelu", ["x"], ["c"], name="second", approximate="magic"),
        node("ImageDecoder", ["c"], ["d"], name="third"),
        node("Add", ["x", "w"], ["e"], name="fourth"),
    ]
    model = make_model(nodes, {"x": X}, ["b", "d", "e"], {"w": np.ones((2, 2), np.float32)}, infer=False)
    assert reasons(model) == (
        "node 'first' (ImageDecoder, inputs 'x'): this operator is not supported",
        "node 'second' (Gelu, inputs 'x'): approximate 'magic' is unknown: none and tanh are supported",
        "node 'third' (ImageDecoder, inputs 'c'): this operator is not supported",
        "node 'fourth' (Add, inputs 'x', 'w'): shapes [2, 3] and [2, 2] do not broadcast",
    )
    with pytest.raises(
        ModelError, match="net: the model cannot be imported, 4 reasons\n  hint: supported operators: Abs, Acos, "
    ):
        import_onnx(model)


CASES: list[tuple[onnx.NodeProto, dict[str, Any], dict[str, Any], str]] = [
    (node("Relu", ["x"], ["y"], extra=1), {"x": X}, {}, "attribute 'extra' is not supported for this operator"),
    (node("Relu", ["x"], ["y"], domain="com.example"), {"x": X}, {}, "operators of domain 'com.example' are not supported"),
    (node("Relu", ["missing"], ["y"]), {"x": X}, {}, "input 'missing' is not computed by an earlier node"),
    (node("Relu", ["x"], ["x"]), {"x": X}, {}, "output 'x' is already the name of another tensor"),
    (node("MaxPool", ["x"], ["y"], kernel_shape=[2]), {"x": IMAGE}, {}, "kernel_shape, strides or dilations do not have 2 values"),
    (node("MaxPool", ["x"], ["y"], kernel_shape=[9, 9]), {"x": IMAGE}, {}, "graph.pool: a window of 9 (kernel 9, dilation 1) does not fit"),
    (node("Conv", ["x", "w"], ["y"], kernel_shape=[2, 2]), {"x": IMAGE}, {"w": np.ones((4, 2, 3, 3), np.float32)},
     "kernel_shape [2, 2] differs from the filter [4, 2, 3, 3]"),
    (node("Conv", ["x", "w"], ["y"]), {"x": IMAGE}, {"w": np.ones((4, 3, 3, 3), np.float32)},
     "graph.conv: the filter has 3 channels per group, the input has 2 in 1 groups: the filter needs 2"),
    (node("Conv", ["x", "w"], ["y"], auto_pad="BEST"), {"x": IMAGE}, {"w": np.ones((4, 2, 3, 3), np.float32)}, "auto_pad 'BEST' is unknown"),
    (node("MatMul", ["x", "w"], ["y"]), {"x": np.ones((3, 2, 3), np.float32)}, {"w": np.ones((2, 3, 4), np.float32)}, "do not broadcast"),
    (node("MatMul", ["x", "w"], ["y"]), {"x": X}, {"w": np.ones((4, 4), np.float32)}, "graph.matmul: the left operand's last extent 3"),
    (node("Reshape", ["x", "s"], ["y"]), {"x": X, "s": np.ones(2, np.int64)}, {}, "shape (input 1, 's') must be a constant"),
    (node("Reshape", ["x", "s"], ["y"]), {"x": X}, {"s": np.array([4, -1])}, "[2, 3] cannot be reshaped to [4, -1]"),
    (node("Reshape", ["x", "s"], ["y"]), {"x": X}, {"s": np.array([-1, -1])}, "at most one extent may be -1"),
    (node("Pad", ["x", "s"], ["y"], mode="edge"), {"x": X}, {"s": np.array([2**40, 0, 0, 0])}, "mode 'edge' makes dim 0"),
    (node("Squeeze", ["x", "s"], ["y"]), {"x": X}, {"s": np.array([1])}, "axes [1] of [2, 3] do not all have extent 1"),
    (node("Flatten", ["x"], ["y"], axis=3), {"x": X}, {}, "axis 3 is outside [0, 2]"),
    (node("Transpose", ["x"], ["y"], perm=[0, 0]), {"x": X}, {}, "graph.transpose: permutation [0, 0] must hold each of 0 to 1 once"),
    (node("Cast", ["x"], ["y"], to=TensorProto.COMPLEX64), {"x": X}, {}, "conversion to COMPLEX64 is not supported"),
    (node("Cast", ["x"], ["y"]), {"x": X}, {}, "attribute 'to' is missing"),
    (node("Dropout", ["x", "r", "t"], ["y"]), {"x": X}, {"r": np.float32(0.5), "t": np.array(True)}, "give the node a seed"),
    (node("Gemm", ["x", "w"], ["y"], alpha=0.5), {"x": X.astype(np.int32)}, {"w": X.T.astype(np.int32)}, "alpha is 0.5 and the operands are of i32: a whole number is needed"),
    (node("Gemm", ["x", "w"], ["y"], alpha=[1.0]), {"x": X}, {"w": X.T}, "attribute 'alpha' is [1.0]: it must be of type float"),
    (node("Add", ["x", "w"], ["y"]), {"x": X}, {"w": X.astype(np.int32)}, "operands have element types f32 and i32"),
    (node("Add", ["x", "w"], ["y"]), {"x": X}, {"w": X.astype(np.complex64)}, "'w': arrays of complex64 have no element type"),
    (node("Exp", ["x"], ["y"]), {"x": X.astype(np.int32)}, {}, "graph.unary: exp needs float elements, not i32"),
    (node("ConstantOfShape", ["s"], ["y"]), {"x": X}, {"s": np.array([-1, 2])}, "is no shape"),
    (node("Constant", [], ["y"], value_string="text"), {"x": X}, {}, "attribute value_string is not supported"),
]  # fmt: skip


@pytest.mark.parametrize(
    "made, inputs, weights, message", CASES, ids=[f"{n}-{c[0].op_type}" for n, c in enumerate(CASES)]
)
def test_one_node(
    make_model: MakeModel, made: onnx.NodeProto, inputs: dict[str, Any], weights: dict[str, Any], message: str
) -> None:
    stored = {name: np.asarray(array) for name, array in weights.items()}
    (reason,) = reasons(make_model([made], inputs, weights=stored, infer=False))
    assert reason.startswith(f"node '{made.output[0]}' ({made.op_type}, ") and message in reason


def test_graph_level_reasons(make_model: MakeModel) -> None:
    nothing = make_model([], {"x": X}, ["y"], infer=False)
    assert reasons(nothing) == ("output 'y' is computed by no node",)
    silent = make_model([node("Relu", ["x"], ["y"])], {"x": X}, [], infer=False)
    assert reasons(silent) == ("the graph has no output: mark one",)
    complex_ = make_model([], {"x": np.zeros(2, np.complex64)}, [], infer=False)
    assert "elements of type COMPLEX64, which no op supports" in reasons(complex_)[0]
    sequence = make_model([node("Relu", ["x"], ["y"])], {"x": X}, infer=False)
    sequence.graph.input[0].type.CopyFrom(helper.make_tensor_sequence_value_info("x", 1, [2]).type)
    assert reasons(sequence) == ("input 'x' is no tensor",)
    twice = make_model([node("Relu", ["x"], ["y"])], {"x": X}, infer=False)
    twice.graph.input.append(twice.graph.input[0])
    assert reasons(twice) == ("two inputs are called 'x'",)
    sparse = make_model([node("Relu", ["x"], ["y"])], {"x": X}, infer=False)
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    sparse.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0])), [4])
    )
    assert reasons(sparse) == ("initialiser 's' is sparse: store it densely",)


def test_versions(make_model: MakeModel) -> None:
    relu = [node("Relu", ["x"], ["y"])]
    with pytest.raises(
        ModelError, match="net: operator set 0 is outside 1 to 28\n  hint: convert it with onnx.version_converter"
    ):
        import_onnx(make_model(relu, {"x": X}, opset=0, infer=False))
    with pytest.raises(ModelError, match="IR version 99 is outside 1 to 14"):
        import_onnx(make_model(relu, {"x": X}, ir_version=99))
    other = make_model(relu, {"x": X})
    other.opset_import[0].domain = "com.example"
    with pytest.raises(ModelError, match="the model imports no version of ONNX's default operator set"):
        import_onnx(other)


def test_the_checker_has_the_last_word(make_model: MakeModel) -> None:
    model = make_model([node("Relu", ["x"], ["y"])], {"x": X})
    model.graph.output[0].type.tensor_type.ClearField("elem_type")
    with pytest.raises(ModelError, match="net: not a valid ONNX model: "):
        import_onnx(model)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "not an ONNX model: it holds no graph"),
        (b"hello, world", "not an ONNX model: at byte 2 of 12 it is damaged, cut off or nested too deeply"),
        (
            DIGITS.read_bytes()[:5000],
            "not an ONNX model: at byte 28 of 5000 it is damaged, cut off or nested too deeply",
        ),
    ],
)
def test_bytes_that_are_no_model(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        import_onnx(path)
    assert caught.value.where == str(path) and caught.value.exit_code == 3


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing.onnx: cannot read the model: No such file or directory"):
        import_onnx(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="cannot read the model: Is a directory"):
        import_onnx(tmp_path)


SMALL = helper.make_model(
    helper.make_graph(
        [node("Gemm", ["x", "w"], ["h"], transB=1), node("Relu", ["h"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", 1, [2, 3])],
        [helper.make_tensor_value_info("y", 1, [2, 4])],
        [numpy_helper.from_array(np.ones((4, 3), np.float32), "w")],
    )
).SerializeToString()


@given(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=12), st.booleans())
def test_hostile_bytes_end_in_a_module_or_a_model_error(position: int, noise: bytes, insert: bool) -> None:
    data = SMALL[:position] + noise + SMALL[position if insert else position + len(noise) :]
    try:
        module, _ = import_onnx(data)
    except ModelError:
        return
    module.verify()
