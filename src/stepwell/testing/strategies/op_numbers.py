"""Legal parameters of normalisations, quantisation and transforms, for `op_parameters`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from xdsl.dialects.builtin import TensorType, f32, i64

from stepwell.dialects import graph
from stepwell.dialects.graph.ops_quantise import scale_shape
from stepwell.dialects.numpy_types import FLOATS, FLOATS8
from stepwell.testing.strategies.op_data import FLOAT_TENSORS, STORED, dim_of, some_dims, tensors
from stepwell.testing.strategies.parameters import OpParameters
from stepwell.testing.strategies.shapes import tensor_shapes, windows

floats = st.sampled_from(FLOATS)


@st.composite
def _softmax(draw: DrawFn) -> OpParameters:
    type = draw(FLOAT_TENSORS)
    dims = draw(some_dims(len(type.get_shape())))
    return OpParameters(graph.SoftmaxOp, (type,), {"dims": dims, "log": draw(st.booleans())})


@st.composite
def _normalize(draw: DrawFn) -> OpParameters:
    type = draw(FLOAT_TENSORS)
    arguments = {"dims": draw(some_dims(len(type.get_shape()))), "epsilon": 1e-3, "center": draw(st.booleans())}
    return OpParameters(graph.NormalizeOp, (type,), arguments)


@st.composite
def _batch_norm(draw: DrawFn) -> OpParameters:
    type = draw(tensors(floats, 1))
    dim = draw(dim_of(type))
    parameter = TensorType(draw(st.sampled_from([f32, type.element_type])), [type.get_shape()[dim]])
    return OpParameters(graph.BatchNormOp, (type, *[parameter] * 4), {"dim": dim, "epsilon": 1e-5})


@st.composite
def _lrn(draw: DrawFn) -> OpParameters:
    layout = draw(st.sampled_from(list(graph.Layout))).value
    return OpParameters(graph.LrnOp, (draw(tensors(floats, 2)),), {"size": draw(st.integers(1, 6)), "layout": layout})


@st.composite
def _quantising(draw: DrawFn, quantize: bool) -> OpParameters:
    float_type, quantised = draw(FLOAT_TENSORS), draw(st.sampled_from(STORED))
    shape = float_type.get_shape()
    dims = draw(some_dims(len(shape)))
    block = draw(st.lists(st.integers(1, 3), min_size=len(dims), max_size=len(dims)))
    scales = scale_shape(shape, dims, block)
    element = float_type.element_type
    parameters = (TensorType(element, scales), TensorType(quantised, scales))
    arguments = {"dims": dims, "block": block}
    if quantize:
        saturate = quantised in FLOATS8 and draw(st.booleans())
        return OpParameters(graph.QuantizeOp, (float_type, *parameters), {**arguments, "saturate": saturate})
    stored = TensorType(quantised, shape)
    return OpParameters(graph.DequantizeOp, (stored, *parameters), {**arguments, "element_type": draw(floats)})


@st.composite
def _random(draw: DrawFn) -> OpParameters:
    arguments = {"element_type": draw(floats), "shape": draw(tensor_shapes())}
    return OpParameters(graph.RandomOp, (TensorType(i64, [2]),), arguments)


@st.composite
def _dft(draw: DrawFn) -> OpParameters:
    inverse, onesided = draw(st.booleans()), draw(st.booleans())
    parts = 1 if onesided and not inverse else draw(st.sampled_from([1, 2]))
    shape = (*draw(tensor_shapes(1, 3, 64)), parts)
    arguments = {"dim": draw(st.integers(0, len(shape) - 2)), "length": draw(st.integers(1, 9))}
    return OpParameters(
        graph.DftOp, (TensorType(draw(floats), shape),), {**arguments, "inverse": inverse, "onesided": onesided}
    )


@st.composite
def _determinant(draw: DrawFn) -> OpParameters:
    lead, size = draw(tensor_shapes(0, 2, 16)), draw(st.integers(0, 4))
    return OpParameters(graph.DeterminantOp, (TensorType(draw(floats), (*lead, size, size)),))


@st.composite
def _arg_pool(draw: DrawFn) -> OpParameters:
    lead, plane = draw(tensor_shapes(2, 2, 8)), draw(tensor_shapes(1, 2, 64))
    window = draw(windows(plane, half_padded=True))
    taps = {"kernel": window.kernel, "strides": window.strides, "pads": window.pads, "dilations": window.dilations}
    return OpParameters(
        graph.ArgPoolOp, (TensorType(draw(floats), (*lead, *plane)),), {**taps, "ceil": draw(st.booleans())}
    )


NUMBERS: Mapping[str, Callable[[], SearchStrategy[OpParameters]]] = {
    "graph.softmax": _softmax,
    "graph.normalize": _normalize,
    "graph.batch_norm": _batch_norm,
    "graph.lrn": _lrn,
    "graph.quantize": lambda: _quantising(True),
    "graph.dequantize": lambda: _quantising(False),
    "graph.random": _random,
    "graph.dft": _dft,
    "graph.determinant": _determinant,
    "graph.arg_pool": _arg_pool,
}
"""Op -> its parameters."""
