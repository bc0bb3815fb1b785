"""How each graph op becomes linalg: one function per op, from the op and its operands to the value, or the values, of its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.transforms.graph_to_linalg.contraction import convert_conv, convert_matmul
from stepwell.transforms.graph_to_linalg.elementwise import convert_bitcast, convert_elementwise
from stepwell.transforms.graph_to_linalg.interpolation import convert_resize, convert_sample
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder
from stepwell.transforms.graph_to_linalg.movement import (
    convert_broadcast,
    convert_concat,
    convert_constant,
    convert_gather,
    convert_iota,
    convert_pad,
    convert_reshape,
    convert_reverse,
    convert_slice,
    convert_transpose,
)
from stepwell.transforms.graph_to_linalg.normalisation import convert_batch_norm, convert_lrn
from stepwell.transforms.graph_to_linalg.quantisation import convert_dequantize, convert_quantize
from stepwell.transforms.graph_to_linalg.reduction import (
    convert_arg_reduce,
    convert_normalize,
    convert_reduce,
    convert_softmax,
)
from stepwell.transforms.graph_to_linalg.transposed import convert_conv_transpose
from stepwell.transforms.graph_to_linalg.window import convert_pool

Conversion = Callable[[Any, Sequence[SSAValue], LinalgBuilder], SSAValue | Sequence[SSAValue]]
CONVERSIONS: Mapping[type[Operation], Conversion] = {
    # contraction.py
    graph.ConvOp: convert_conv,
    graph.MatmulOp: convert_matmul,
    # transposed.py
    graph.ConvTransposeOp: convert_conv_transpose,
    # window.py
    graph.PoolOp: convert_pool,
    # elementwise.py
    graph.BinaryOp: convert_elementwise,
    graph.BitcastOp: convert_bitcast,
    graph.CastOp: convert_elementwise,
    graph.CompareOp: convert_elementwise,
    graph.SelectOp: convert_elementwise,
    graph.UnaryOp: convert_elementwise,
    # movement.py
    graph.BroadcastOp: convert_broadcast,
    graph.ConcatOp: convert_concat,
    graph.ConstantOp: convert_constant,
    graph.GatherOp: convert_gather,
    graph.IotaOp: convert_iota,
    graph.PadOp: convert_pad,
    graph.ReshapeOp: convert_reshape,
    graph.ReverseOp: convert_reverse,
    graph.SliceOp: convert_slice,
    graph.TransposeOp: convert_transpose,
    # interpolation.py
    graph.ResizeOp: convert_resize,
    graph.SampleOp: convert_sample,
    # normalisation.py
    graph.BatchNormOp: convert_batch_norm,
    graph.LrnOp: convert_lrn,
    # quantisation.py
    graph.DequantizeOp: convert_dequantize,
    graph.QuantizeOp: convert_quantize,
    # reduction.py
    graph.ArgReduceOp: convert_arg_reduce,
    graph.NormalizeOp: convert_normalize,
    graph.ReduceOp: convert_reduce,
    graph.SoftmaxOp: convert_softmax,
}
"""Which function converts which op. An op that is missing here has no structured form and a lowering of its own."""
