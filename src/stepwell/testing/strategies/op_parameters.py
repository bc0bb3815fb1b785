"""`op_parameters(name)`: legal operand types and attributes for one op of the graph dialect, and modules that hold just that op."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from xdsl.dialects.builtin import TensorType, f16, f32, f64, i1, i8, i16, i32, i64
from xdsl.ir import Attribute, Block

from stepwell.dialects import graph
from stepwell.dialects.graph.ops_elementwise import binary_elements, unary_elements
from stepwell.passes import location_of
from stepwell.testing.strategies.network import GeneratedGraph, close_network
from stepwell.testing.strategies.op_control import CONTROL
from stepwell.testing.strategies.op_data import DATA
from stepwell.testing.strategies.op_models import MODELS
from stepwell.testing.strategies.op_numbers import NUMBERS
from stepwell.testing.strategies.parameters import OpParameters
from stepwell.testing.strategies.shapes import (
    Shape,
    broadcasts,
    image_shapes,
    permutations,
    reshapes,
    tensor_shapes,
    windows,
)

FLOATS = (f32, f16, f64)
INTEGERS = (i32, i64, i16, i8)


@st.composite
def _unary(draw: DrawFn) -> OpParameters:
    element = draw(st.sampled_from([*FLOATS, *INTEGERS]))
    kinds = [kind.value for kind in graph.UnaryKind if element in unary_elements(kind.value)]
    type = TensorType(element, draw(tensor_shapes()))
    return OpParameters(graph.UnaryOp, (type,), {"kind": draw(st.sampled_from(kinds))})


@st.composite
def _binary(draw: DrawFn) -> OpParameters:
    element = draw(st.sampled_from([*FLOATS, *INTEGERS]))
    missing = ("mod", "rem") if element in FLOATS else ("div", "mod", "rem")  # no structured form; no division by zero
    allowed = [kind.value for kind in graph.BinaryKind if element in binary_elements(kind.value)]
    kinds = [kind for kind in allowed if kind not in missing]
    type = TensorType(element, draw(tensor_shapes()))
    return OpParameters(graph.BinaryOp, (type, type), {"kind": draw(st.sampled_from(kinds))})


@st.composite
def _cast(draw: DrawFn) -> OpParameters:
    elements = st.sampled_from([*FLOATS, *INTEGERS, i1])
    type = TensorType(draw(elements), draw(tensor_shapes()))
    return OpParameters(graph.CastOp, (type,), {"element_type": draw(elements)})


@st.composite
def _broadcast(draw: DrawFn) -> OpParameters:
    result = draw(tensor_shapes())
    operand, dims = draw(broadcasts(result))
    return OpParameters(graph.BroadcastOp, (TensorType(f32, operand),), {"dims": dims, "shape": result})


@st.composite
def _reshape(draw: DrawFn) -> OpParameters:
    shape = draw(tensor_shapes())
    return OpParameters(graph.ReshapeOp, (TensorType(f32, shape),), {"shape": draw(reshapes(shape))})


@st.composite
def _transpose(draw: DrawFn) -> OpParameters:
    shape = draw(tensor_shapes())
    arguments = {"permutation": draw(permutations(len(shape)))}
    return OpParameters(graph.TransposeOp, (TensorType(f32, shape),), arguments)


@st.composite
def _matmul(draw: DrawFn) -> OpParameters:
    left = draw(tensor_shapes(2, 4))
    columns, transposed = draw(st.integers(1, 9)), draw(st.booleans())
    right = (columns, left[-1]) if transposed else (left[-1], columns)
    element, result = draw(_contraction_elements())
    arguments = {"transpose_b": transposed, "element_type": result}
    return OpParameters(graph.MatmulOp, (TensorType(element, left), TensorType(element, right)), arguments)


@st.composite
def _contraction_elements(draw: DrawFn) -> tuple[Attribute, Attribute]:
    """Element types of operands and result: the same, or the accumulator's."""
    element = draw(st.sampled_from([f32, f16]))
    return element, draw(st.sampled_from([f32, element]))


@st.composite
def conv_shapes(draw: DrawFn, input: Shape, last: bool, *, same: bool = False) -> tuple[Shape, dict[str, Any]]:
    """(filter shape, attributes) of a convolution that takes an input of this shape; `same` keeps its extents and its channels."""
    channels = input[-1] if last else input[1]
    window = draw(windows(input[1:-1] if last else input[2:], same=same))
    groups = draw(st.sampled_from([g for g in (1, 1, 2, 3, channels) if channels % g == 0]))
    filters = channels if same else groups * draw(st.integers(1, 6))
    inner = channels // groups
    filter = (filters, *window.kernel, inner) if last else (filters, inner, *window.kernel)
    layout = "channels_last" if last else "channels_first"
    attributes = {"strides": window.strides, "pads": window.pads, "dilations": window.dilations}
    return filter, {**attributes, "groups": groups, "layout": layout}


@st.composite
def _conv(draw: DrawFn) -> OpParameters:
    last = draw(st.booleans())
    input = draw(image_shapes(channels_last=last))
    filter, arguments = draw(conv_shapes(input, last))
    element, result = draw(_contraction_elements())
    types = (TensorType(element, input), TensorType(element, filter))
    return OpParameters(graph.ConvOp, types, {**arguments, "element_type": result})


@st.composite
def pool_arguments(draw: DrawFn, input: Shape, last: bool, kinds: Sequence[str] = ("max", "average")) -> dict[str, Any]:
    """The attributes of a pool that takes an input of this shape."""
    window = draw(windows(input[1:-1] if last else input[2:], half_padded=True))
    kind = draw(st.sampled_from(list(kinds)))
    return {
        "kind": kind,
        "kernel": window.kernel,
        "strides": window.strides,
        "pads": window.pads,
        "dilations": window.dilations,
        "ceil": draw(st.booleans()),
        "count_include_pad": kind == "average" and draw(st.booleans()),
        "layout": "channels_last" if last else "channels_first",
    }


@st.composite
def _pool(draw: DrawFn) -> OpParameters:
    last = draw(st.booleans())
    input = draw(image_shapes(channels_last=last))
    arguments = draw(pool_arguments(input, last))
    return OpParameters(graph.PoolOp, (TensorType(draw(st.sampled_from([f32, f16])), input),), arguments)


_PARAMETERS: dict[str, Callable[[], SearchStrategy[OpParameters]]] = {
    "graph.binary": _binary,
    "graph.broadcast": _broadcast,
    "graph.cast": _cast,
    "graph.conv": _conv,
    "graph.matmul": _matmul,
    "graph.pool": _pool,
    "graph.reshape": _reshape,
    "graph.transpose": _transpose,
    "graph.unary": _unary,
    **DATA,
    **NUMBERS,
    **MODELS,
    **CONTROL,
}

COVERED = frozenset(_PARAMETERS)
"""Ops that have a strategy: all of the dialect that compute or move something."""


def op_parameters(name: str | None = None) -> SearchStrategy[OpParameters]:
    """Legal operand types and attributes for the op of this name, or for any op."""
    if name is not None:
        return _PARAMETERS[name]()
    return st.sampled_from(sorted(COVERED)).flatmap(lambda chosen: _PARAMETERS[chosen]())


def op_modules(name: str | None = None, *, among: Collection[str] = COVERED) -> SearchStrategy[GeneratedGraph]:
    """Modules of one op whose operands are the network's inputs and whose results are its outputs: of the op of this name, or of any of
    `among`."""
    names = st.sampled_from(sorted(among)) if name is None else st.just(name)
    return names.flatmap(op_parameters).map(_module_of)


def _module_of(parameters: OpParameters) -> GeneratedGraph:
    block = Block(arg_types=parameters.operands)
    op = parameters.build(block.args)
    op.location = location_of([op.name.removeprefix("graph.")])
    block.add_op(op)
    return close_network(block, op.results)
