"""Graphs made by hand against NumPy: values, outputs, layouts, shape arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tests.frontends.tensorflow.graph_defs import NUMBERS, GraphDef

import stepwell
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.events import ImportEvents
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.frontends.tensorflow.schema import DTYPES, messages
from stepwell.frontends.tensorflow.tensor import array_of

RNG = np.random.default_rng(7)


def _normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def test_layers_binary_and_text(tmp_path: Path) -> None:
    """A dense layer with a bias: both forms give NumPy's numbers; the control input of a node that is not there is ignored."""
    x, w, b = _normal(2, 5), _normal(5, 3), _normal(3)
    made = GraphDef()
    made.placeholder("x", [-1, 5])
    made.const("w", w)
    made.const("b", b)
    made.node("product", "MatMul", "x", "w", transpose_a=False, transpose_b=False)
    made.node("sum", "BiasAdd", "product", "b", "^nothing")
    made.node("y", "Relu", "sum")
    text = tmp_path / "graph.pbtxt"
    text.write_text(text_format.MessageToString(made.proto))
    for path in (made.save(tmp_path), text):
        module = stepwell.import_model(path, outputs=["y"], shapes={"x": "2x5"})
        results = stepwell.interpret(module, {"x": x})
        assert np.allclose(results["y"], np.maximum(x @ w + b, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_pad_the_end_more(tmp_path: Path, first: bool, stride: int) -> None:
    """SAME with an even kernel, in both layouts: the odd row of zeros is at the end."""
    x, f = _normal(1, 5, 4, 3), _normal(2, 2, 3, 6)
    made = GraphDef()
    given = x.transpose(0, 3, 1, 2) if first else x
    made.placeholder("x", list(given.shape))
    made.const("f", f)
    strides = [1, 1, stride, stride] if first else [1, stride, stride, 1]
    layout = "NCHW" if first else "NHWC"
    made.node("y", "Conv2D", "x", "f", strides=strides, padding="SAME", data_format=layout)
    got = stepwell.interpret(stepwell.import_model(made.save(tmp_path), outputs=["y"]), {"x": given})["y"]
    padded = np.pad(x, ((0, 0), (0, 1 if stride == 1 or 5 % 2 else 0), (0, 1 if stride == 1 else 0), (0, 0)))
    rows, columns = -(-5 // stride), -(-4 // stride)
    wanted = np.empty((1, rows, columns, 6), np.float32)
    for i in range(rows):
        for j in range(columns):
            window = padded[0, i * stride : i * stride + 2, j * stride : j * stride + 2]
            wanted[0, i, j] = np.einsum("hwc,hwck->k", window, f)
    got = np.asarray(got.transpose(0, 2, 3, 1) if first else got, np.float32)
    assert np.allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_second_outputs_and_shape_arithmetic(tmp_path: Path) -> None:
    """`split:1` is the second part; the shape of a reshape is computed from a shape."""
    x = _normal(4, 6)
    made = GraphDef()
    made.placeholder("x", [4, 6])
    made.const("axis", np.int32(1))
    made.node("split", "Split", "axis", "x", num_split=2)
    made.node("shape", "Shape", "split:1")
    made.const("begin", np.array([1], np.int32))
    made.const("end", np.array([2], np.int32))
    made.const("step", np.array([1], np.int32))
    made.node("columns", "StridedSlice", "shape", "begin", "end", "step", shrink_axis_mask=1)
    made.const("minus", np.int32(-1))
    made.node("wanted", "Pack", "columns", "minus", axis=0)
    made.node("y", "Reshape", "split:1", "wanted")
    module = stepwell.import_model(made.save(tmp_path), outputs=["y", "split:1"])
    results = stepwell.interpret(module, {"x": x})
    np.testing.assert_array_equal(results["y"], x[:, 3:].reshape(3, 4))
    np.testing.assert_array_equal(results["split:1"], x[:, 3:])


@pytest.mark.parametrize(
    ("bounds", "masks", "wanted"),
    [
        (([1, 0], [3, 2], [1, 1]), {}, np.s_[1:3, 0:2]),
        (([-1], [0], [-2]), {"end_mask": 1}, np.s_[::-2]),
        (([0, 0, 1], [0, 0, 2], [1, 1, 1]), {"ellipsis_mask": 1, "new_axis_mask": 2}, np.s_[..., None, 1:2]),
        (([2, -3], [0, 9], [1, 2]), {"shrink_axis_mask": 1}, np.s_[2, -3:9:2]),
        (([9], [9], [1]), {}, np.s_[9:9]),
    ],
)
def test_strided_slices(tmp_path: Path, bounds: tuple[list[int], ...], masks: dict[str, int], wanted: Any) -> None:
    x = _normal(5, 4, 3)
    made = GraphDef()
    made.placeholder("x", [5, 4, 3])
    names = [made.const(n, np.array(v, np.int32)) for n, v in zip(("begin", "end", "step"), bounds, strict=True)]
    made.node("y", "StridedSlice", "x", *names, **masks)
    got = stepwell.interpret(stepwell.import_model(made.save(tmp_path), outputs=["y"]), {"x": x})["y"]
    np.testing.assert_array_equal(got, x[wanted])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3)])
def test_the_last_value_repeats(dtype: type, shape: tuple[int, ...]) -> None:
    """Values of one element for a larger shape, none for zeros, and all of them as bytes."""
    fields = {
        "float16": "half_val",
        "float32": "float_val",
        "float64": "double_val",
        "int64": "int64_val",
        "bool": "bool_val",
    }
    tensor = messages()["TensorProto"](dtype=NUMBERS[np.dtype(dtype).name])
    for extent in shape:
        tensor.tensor_shape.dim.add(size=extent)
    np.testing.assert_array_equal(array_of(tensor), np.zeros(shape, dtype))
    content: Any = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    held = messages()["TensorProto"]()
    held.CopyFrom(tensor)
    held.tensor_content = content.tobytes()
    assert array_of(held).dtype == content.dtype
    np.testing.assert_array_equal(array_of(held), content)
    one = int(np.float16(1).view(np.uint16)) if dtype is np.float16 else 1
    getattr(tensor, fields.get(np.dtype(dtype).name, "int_val")).append(one)
    if 0 in shape:
        with pytest.raises(Unsupported, match="1 values for 0 elements"):
            array_of(tensor)
        return
    np.testing.assert_array_equal(array_of(tensor), np.ones(shape, dtype))


def test_every_element_type_has_a_number() -> None:
    assert DTYPES[1] == np.float32
    assert DTYPES[9] == np.int64
    assert DTYPES[19] == np.float16
    assert 7 not in DTYPES, "strings"


def test_events(tmp_path: Path) -> None:
    """All nine kinds, for a graph with an input, a constant and a node."""
    made = GraphDef()
    made.placeholder("x", [2])
    made.const("c", np.float32(2))
    made.node("y", "Mul", "x", "c")
    events = ImportEvents("TensorFlow")
    import_tensorflow(made.save(tmp_path), outputs=["y"], events=events)
    assert {record.kind for record in events.records} == {
        *("network-input", "tensor", "initializer", "node", "search", "inputs", "layer", "outputs", "output"),
    }
