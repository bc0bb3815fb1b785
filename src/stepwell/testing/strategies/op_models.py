"""Legal parameters of sequence models, interpolation and ops of counted extent, for `op_parameters`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from xdsl.dialects.builtin import TensorType, f32, i1, i64
from xdsl.ir import Attribute, Operation

from stepwell.dialects import graph
from stepwell.dialects.graph.checks import ANY, NUMBERS
from stepwell.dialects.graph.extents import Extent, tensor_of
from stepwell.dialects.numpy_types import FLOATS
from stepwell.testing.strategies.op_data import dim_of, tensors
from stepwell.testing.strategies.parameters import OpParameters
from stepwell.testing.strategies.shapes import tensor_shapes, windows

floats = st.sampled_from(FLOATS)
few = st.integers(1, 4)
Type = TensorType[Attribute]


@st.composite
def _conv_transpose(draw: DrawFn) -> OpParameters:
    last, groups = draw(st.booleans()), draw(st.integers(1, 2))
    plane = draw(tensor_shapes(1, 2, 36))
    window = draw(windows(plane))
    rank = len(plane)
    n, c, k = draw(few), groups * draw(few), draw(few)
    spans = [
        (p - 1) * s + (t - 1) * d + 1
        for p, s, t, d in zip(plane, window.strides, window.kernel, window.dilations, strict=True)
    ]
    pads = [min(pad, spans[i % rank] // 2) for i, pad in enumerate(window.pads)]
    extents = [spans[i] - pads[i] - pads[rank + i] + draw(st.integers(0, 2)) for i in range(rank)]
    element = draw(floats)
    x = (n, *plane, c) if last else (n, c, *plane)
    f = (c, *window.kernel, k) if last else (c, k, *window.kernel)
    arguments = {"strides": window.strides, "pads": pads, "dilations": window.dilations, "extents": extents}
    layout = "channels_last" if last else "channels_first"
    types = (TensorType(element, x), TensorType(element, f))
    return OpParameters(graph.ConvTransposeOp, types, {**arguments, "groups": groups, "layout": layout})


@st.composite
def _resize(draw: DrawFn) -> OpParameters:
    lead, plane = draw(tensor_shapes(2, 2, 4)), draw(tensor_shapes(1, 2, 36))
    extents = draw(st.lists(st.integers(0, 9), min_size=len(plane), max_size=len(plane)))
    scales = [draw(st.sampled_from([0.5, 1.0, 1.7, 2.0])) for _ in plane]
    mode = draw(st.sampled_from(list(graph.ResizeMode))).value
    elements = st.sampled_from(NUMBERS) if mode == "nearest" else floats
    arguments = {
        "mode": mode,
        "extents": extents,
        "scales": scales,
        "coordinates": draw(st.sampled_from(list(graph.Coordinates))).value,
        "rounding": draw(st.sampled_from(list(graph.NearestRounding))).value,
        "exclude_outside": draw(st.booleans()),
        "antialias": draw(st.booleans()),
    }
    return OpParameters(graph.ResizeOp, (TensorType(draw(elements), (*lead, *plane)),), arguments)


@st.composite
def _sample(draw: DrawFn) -> OpParameters:
    lead, plane = draw(tensor_shapes(2, 2, 4)), draw(tensor_shapes(1, 3, 36))
    out = draw(tensor_shapes(len(plane), len(plane), 20))
    arguments = {
        "mode": draw(st.sampled_from(list(graph.ResizeMode))).value,
        "outside": draw(st.sampled_from(list(graph.Outside))).value,
        "align_corners": draw(st.booleans()),
    }
    grid = TensorType(f32, (lead[0], *out, len(plane)))
    return OpParameters(graph.SampleOp, (TensorType(draw(floats), (*lead, *plane)), grid), arguments)


@st.composite
def _roi_pool(draw: DrawFn) -> OpParameters:
    boxes = draw(st.integers(0, 3))
    types = (
        TensorType(draw(floats), draw(tensor_shapes(4, 4, 200))),
        TensorType(f32, (boxes, 4)),
        TensorType(i64, (boxes,)),
    )
    arguments = {
        "kind": draw(st.sampled_from(list(graph.RoiKind))).value,
        "extents": [draw(few), draw(few)],
        "scale": draw(st.sampled_from([0.5, 1.0])),
        "samples": draw(st.integers(0, 2)),
        "offset": draw(st.sampled_from([0.0, 0.5])),
    }
    return OpParameters(graph.RoiPoolOp, types, arguments)


@st.composite
def _recurrent(draw: DrawFn, kind: str) -> OpParameters:
    ops: dict[str, type[Operation]] = {"rnn": graph.RnnOp, "gru": graph.GruOp, "lstm": graph.LstmOp}
    gates, functions = {"rnn": (1, 1), "gru": (3, 2), "lstm": (4, 3)}[kind]
    steps, rows, hidden = draw(few), draw(few), draw(few)
    projected = kind == "lstm" and draw(st.booleans())
    width = draw(few) if projected else hidden
    element, wide = draw(floats), gates * hidden
    tensor = lambda *shape: TensorType(element, shape)
    types: list[Type] = [tensor(steps, rows, wide), tensor(wide, width), tensor(wide), tensor(rows, width)]
    if kind == "lstm":
        types.append(tensor(rows, hidden))
    names = draw(st.lists(st.sampled_from(list(graph.Activation)), min_size=functions, max_size=functions))
    arguments = {
        "activations": [name.value for name in names],
        "alphas": [0.5] * functions,
        "betas": [0.25] * functions,
        "clip": draw(st.sampled_from([0.0, 1.5])),
        "reverse": draw(st.booleans()),
    }
    if projected:
        types += [TensorType(i64, (rows,)), tensor(3 * hidden), tensor(width, hidden)]
    elif draw(st.booleans()):
        types.append(TensorType(i64, (rows,)))
    return OpParameters(ops[kind], tuple(types), arguments)


@st.composite
def _attention(draw: DrawFn) -> OpParameters:
    batch, groups, shared, queries, keys, depth, out = (draw(few) for _ in range(7))
    element = draw(floats)
    heads = groups * shared
    types = [
        TensorType(element, (batch, heads, queries, depth)),
        TensorType(element, (batch, groups, keys, depth)),
        TensorType(element, (batch, groups, keys, out)),
    ]
    if draw(st.booleans()):
        lead = [draw(st.sampled_from([1, extent])) for extent in (batch, heads, queries)]
        types.append(TensorType(draw(st.sampled_from([element, i1])), (*lead, keys)))
        if draw(st.booleans()):
            types.append(TensorType(i64, (batch,)))
    arguments = {
        "scale": 0.5,
        "softcap": draw(st.sampled_from([0.0, 2.0])),
        "causal": draw(st.booleans()),
        "offset": draw(st.integers(-1, 2)),
        "window": draw(st.integers(0, 2)),
        "ahead": draw(st.integers(-1, 2)),
        "from_end": draw(st.booleans()),
    }
    return OpParameters(graph.AttentionOp, tuple(types), arguments)


@st.composite
def _linear_attention(draw: DrawFn) -> OpParameters:
    batch, heads, steps, depth, out, shared = (draw(few) for _ in range(6))
    element = draw(floats)
    tensor = lambda last: TensorType(element, (batch, heads, steps, last))
    gated = draw(st.booleans())
    rule = draw(st.sampled_from(["gated", "gated_delta"] if gated else ["linear"]))
    queries = TensorType(element, (batch, heads * shared, steps, depth))
    types = [queries, tensor(depth), tensor(out), TensorType(element, (batch, heads, depth, out))]
    types += [tensor(draw(st.sampled_from([1, depth])))] if gated else []
    types += [tensor(1)] if rule == "gated_delta" else []
    return OpParameters(graph.LinearAttentionOp, tuple(types), {"rule": rule, "scale": 0.5})


def _rows(type: Type, dim: int) -> Type:
    """The type with a counted extent at `dim`."""
    shape = type.get_shape()
    return tensor_of(type.element_type, (*shape[:dim], Extent("rows", shape[dim]), *shape[dim + 1 :]))


@st.composite
def _on_a_dim(draw: DrawFn, name: str) -> OpParameters:
    type = draw(tensors(st.sampled_from(ANY), 1))
    dim = draw(dim_of(type))
    scalar = TensorType(type.element_type, [])
    match name:
        case "extent":
            return OpParameters(graph.ExtentOp, (draw(st.sampled_from([type, _rows(type, dim)])),), {"dim": dim})
        case "fill_tail":
            return OpParameters(graph.FillTailOp, (_rows(type, dim), scalar), {"dim": dim})
        case "prefix":
            return OpParameters(graph.PrefixOp, (type, TensorType(i64, [])), {"dim": dim, "symbol": "n"})
    mask = TensorType(i1, [type.get_shape()[dim]])
    return OpParameters(graph.CompactOp, (type, mask), {"dim": dim, "symbol": "kept"})


@st.composite
def _unique(draw: DrawFn) -> OpParameters:
    type = draw(tensors(st.sampled_from(NUMBERS), 1))
    dim = draw(st.one_of(st.none(), dim_of(type)))
    return OpParameters(graph.UniqueOp, (type,), {"dim": dim, "sorted": draw(st.booleans()), "symbol": "distinct"})


@st.composite
def _non_max_suppression(draw: DrawFn) -> OpParameters:
    batch, classes, boxes = draw(few), draw(few), draw(st.integers(0, 9))
    arguments = {
        "most": draw(st.integers(0, 5)),
        "iou": draw(st.sampled_from([0.0, 0.3, 1.0])),
        "score": draw(st.sampled_from([None, 0.0])),
        "center": draw(st.booleans()),
        "symbol": "kept",
    }
    types = (TensorType(f32, (batch, boxes, 4)), TensorType(f32, (batch, classes, boxes)))
    return OpParameters(graph.NonMaxSuppressionOp, types, arguments)


@st.composite
def _normalize_text(draw: DrawFn) -> OpParameters:
    shape = draw(st.sampled_from([(), (1,)])) + (draw(st.integers(0, 5)),)
    arguments = {
        "without": draw(st.lists(st.sampled_from(["", "a", "A", "stra\u00dfe"]), max_size=3)),
        "to": draw(st.sampled_from([None, "lower", "upper"])),
        "any_case": draw(st.booleans()),
        "symbol": "words",
    }
    return OpParameters(graph.NormalizeTextOp, (TensorType(graph.StringType(), shape),), arguments)


@st.composite
def _collective(draw: DrawFn) -> OpParameters:
    type = draw(tensors(floats, 1))
    kind = draw(st.sampled_from(list(graph.CollectiveKind))).value
    combine = "sum" if kind in ("all_reduce", "reduce_scatter") else None
    return OpParameters(graph.CollectiveOp, (type,), {"kind": kind, "group": [0], "combine": combine})


MODELS: Mapping[str, Callable[[], SearchStrategy[OpParameters]]] = {
    "graph.conv_transpose": _conv_transpose,
    "graph.resize": _resize,
    "graph.sample": _sample,
    "graph.roi_pool": _roi_pool,
    "graph.rnn": lambda: _recurrent("rnn"),
    "graph.gru": lambda: _recurrent("gru"),
    "graph.lstm": lambda: _recurrent("lstm"),
    "graph.attention": _attention,
    "graph.linear_attention": _linear_attention,
    "graph.extent": lambda: _on_a_dim("extent"),
    "graph.fill_tail": lambda: _on_a_dim("fill_tail"),
    "graph.prefix": lambda: _on_a_dim("prefix"),
    "graph.compact": lambda: _on_a_dim("compact"),
    "graph.unique": _unique,
    "graph.non_max_suppression": _non_max_suppression,
    "graph.normalize_text": _normalize_text,
    "graph.collective": _collective,
}
"""Op -> its parameters."""
