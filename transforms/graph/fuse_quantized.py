"""graph-fuse-quantized: a product of dequantised integers multiplies the integers, adds them in i32, and is scaled once.

```mlir
%a = graph.dequantize %q, %s, %zero dims [] block [] : (tensor<8x64xi8>, tensor<f32>, tensor<i8>) -> tensor<8x64xf32>
%b = graph.dequantize %w, %t, %zeros dims [1] block [1] : (tensor<64x16xi8>, tensor<16xf32>, tensor<16xi8>) -> tensor<64x16xf32>
%y = graph.matmul %a, %b : (tensor<8x64xf32>, tensor<64x16xf32>) -> tensor<8x16xf32>
```
becomes
```mlir
%p = graph.matmul %q, %w : (tensor<8x64xi8>, tensor<64x16xi8>) -> tensor<8x16xi32>
%r = graph.cast %p : tensor<8x16xi32> -> tensor<8x16xf32>
%u = graph.broadcast %s dims [] : tensor<f32> -> tensor<8x16xf32>
%v = graph.broadcast %t dims [1] : tensor<16xf32> -> tensor<8x16xf32>
%y = (%r * %u) * %v
```

The scale of the left factor is one number, that of the right one a number or one for each column of the result. A zero point of the left factor that is known
takes `zero * sum of the column` from the sums first, where nothing is padded; other zero points are 0. A product of integers that were cast to i32
loses the casts. The integers are added exactly; what was rounded in every product is rounded at the end, so results differ in the last bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from xdsl.dialects.builtin import IntegerType, bf16, f16, f32, i8, i32
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import tensor_of
from stepwell.dialects.numpy_types import Array, ui8
from stepwell.passes import Rewriter, rewrite
from stepwell.transforms.graph._values import in_fusion, is_dead, shape_of, users
from stepwell.transforms.tensors import element_of

NARROW = (i8, ui8)
MOST = (1 << 31) - 1
Contraction = graph.MatmulOp | graph.ConvOp


class Refused(Exception):
    """Why a product of dequantised integers stays one of floats."""


@dataclass(frozen=True)
class Factor:
    """What a factor stands for: (integers - zero) * scale; `dims` are those along which the scale varies."""

    integers: SSAValue
    scale: SSAValue
    zero: SSAValue
    dims: tuple[int, ...]


@rewrite("graph-fuse-quantized", level="graph", meaning="rounds", rtol=1e-2)
def fuse_quantized(op: Contraction | graph.QuantizeOp | graph.DequantizeOp, rewriter: Rewriter) -> None:
    """Multiply the integers behind dequantised factors; write what quantises 8-bit integers as elementwise ops, which join the kernel before
    them. See the file's head.

    Remarks: passed, missed with the reason: other scales or zero points, integers of two types, sums beyond i32."""
    if in_fusion(op):
        return
    if isinstance(op, graph.QuantizeOp | graph.DequantizeOp):
        _expand(op, rewriter)
        return
    if element_of(op.result) == i32 and _strip_casts(op, rewriter):
        return
    left, right = (_factor(value) for value in op.operands)
    if left is None or right is None:
        return
    try:
        _fuse(op, left, right, rewriter)
    except Refused as refused:
        rewriter.missed(f"the integers stay behind floats: {refused}")


def _expand(op: graph.QuantizeOp | graph.DequantizeOp, rewriter: Rewriter) -> None:
    """round_even(x / scale) + zero, cast, or (x - zero) * scale: exact where f32 holds the integers and their sums."""
    quantise = isinstance(op, graph.QuantizeOp)
    narrow = element_of(op.result) if quantise else element_of(op.operand)
    others = {element_of(value) for value in (op.scale, op.operand if quantise else op.result)}
    if narrow not in NARROW or others - {f16, bf16, f32} or any(size != 1 for size in op.block):
        return
    if not quantise and any(isinstance(user, Contraction) for user in users(op)):
        return

    def wide(value: SSAValue) -> SSAValue:
        return value if element_of(value) == f32 else _insert(rewriter, op, graph.CastOp(value, f32))

    def spread(value: SSAValue) -> SSAValue:
        return _insert(rewriter, op, graph.BroadcastOp(wide(value), dims=op.dims, shape=shape_of(op.result)))

    def binary(kind: str, a: SSAValue, b: SSAValue) -> SSAValue:
        return _insert(rewriter, op, graph.BinaryOp(a, b, kind=kind))

    x, scale, zero = wide(op.operand), spread(op.scale), spread(op.zero)
    if quantise:
        whole = _insert(rewriter, op, graph.UnaryOp(binary("div", x, scale), kind="round_even"))
        value = _insert(rewriter, op, graph.CastOp(binary("add", whole, zero), narrow))
    else:
        value = binary("mul", binary("sub", x, zero), scale)
        made = element_of(op.result)
        value = value if made == f32 else _insert(rewriter, op, graph.CastOp(value, made))
    value.name_hint = op.result.name_hint
    op.result.replace_all_uses_with(value)
    rewriter.erase(op)
    rewriter.passed("written as elementwise ops")


def _factor(value: SSAValue) -> Factor | None:
    owner = value.owner
    if not isinstance(owner, graph.DequantizeOp):
        return None
    return Factor(owner.operand, owner.scale, owner.zero, tuple(owner.dims))


def _fuse(op: Contraction, left: Factor, right: Factor, rewriter: Rewriter) -> None:
    element, other = element_of(left.integers), element_of(right.integers)
    if element not in NARROW or element != other:
        raise Refused(f"they are {element} and {other}, products take two of i8 or two of ui8")
    if left.dims:
        raise Refused("the left factor has several scales")
    column, axis = _columns(op)
    if right.dims not in ((), (column,)):
        raise Refused("the scales of the right factor do not run along the columns of the result")
    steps = prod(shape_of(right.integers)) // max(1, shape_of(op.result)[axis])
    bound = 255 * 255 if element == ui8 else 128 * 128
    if not isinstance(steps, int) or steps * bound > MOST:
        raise Refused(f"sums of {steps} products do not fit i32")
    if np.any(_known(right.zero, rewriter)):
        raise Refused("the right factor has a zero point that is not 0")
    zero = _known(left.zero, rewriter)
    if np.any(zero) and isinstance(op, graph.ConvOp) and any(op.pads):
        raise Refused("the left factor has a zero point that is not 0, and is padded")
    product = _product(op, left.integers, right.integers)
    rewriter.insert_before(op, product)
    total: SSAValue = product.results[0]
    if np.any(zero):
        sums = _column_sums(op, right.integers, rewriter) * int(zero.reshape(-1)[0])
        total = _along(op, graph.BinaryOp, total, rewriter.add_weight(sums.astype(np.int32), "zero").result, rewriter)
    real: SSAValue = _insert(rewriter, op, graph.CastOp(total, f32))
    for scale, dims in ((left.scale, ()), (right.scale, (axis,) if right.dims else ())):
        wide = scale if element_of(scale) == f32 else _insert(rewriter, op, graph.CastOp(scale, f32))
        repeated = _insert(rewriter, op, graph.BroadcastOp(wide, dims=dims, shape=shape_of(op.result)))
        real = _insert(rewriter, op, graph.BinaryOp(real, repeated, kind="mul"))
    made = element_of(op.result)
    if made != f32:
        real = _insert(rewriter, op, graph.CastOp(real, made))
    _replace(op, real, rewriter)
    rewriter.passed(f"multiplies {element}, adds in i32, and scales the sums")


def _columns(op: Contraction) -> tuple[int, int]:
    """The dim of the right factor that is the result's columns, and that of the result."""
    rank = len(shape_of(op.result))
    if isinstance(op, graph.ConvOp):
        return 0, rank - 1 if op.layout == "channels_last" else 1
    own = len(shape_of(op.b))
    return own - 2 if op.transpose_b else own - 1, rank - 1


def _known(zero: SSAValue, rewriter: Rewriter) -> Array:
    """The values of a zero point."""
    owner = zero.owner
    while isinstance(owner, graph.BroadcastOp | graph.ReshapeOp):
        owner = owner.operand.owner
    if isinstance(owner, graph.ConstantOp):
        return np.asarray(owner.array)
    if isinstance(owner, graph.WeightOp):
        return np.asarray(rewriter.read(owner))
    raise Refused("a zero point is computed")


def _column_sums(op: Contraction, weight: SSAValue, rewriter: Rewriter) -> Array:
    """The sums of the right factor's columns."""
    if not isinstance(weight.owner, graph.WeightOp) or len(shape_of(weight)) > 2 and isinstance(op, graph.MatmulOp):
        raise Refused("the left factor has a zero point that is not 0, and the right one is no matrix of weights")
    column, _ = _columns(op)
    values = np.asarray(rewriter.read(weight.owner)).astype(np.int64)
    return np.asarray(np.moveaxis(values, column, 0).reshape(values.shape[column], -1).sum(axis=1))


def _along(op: Contraction, kind: type[graph.BinaryOp], total: SSAValue, row: SSAValue, rewriter: Rewriter) -> SSAValue:
    """total - row, a row for all rows."""
    _, axis = _columns(op)
    repeated = _insert(rewriter, op, graph.BroadcastOp(row, dims=[axis], shape=shape_of(op.result)))
    return _insert(rewriter, op, kind(total, repeated, kind="sub"))


def _insert(rewriter: Rewriter, op: Operation, made: Operation) -> SSAValue:
    rewriter.insert_before(op, made)
    return made.results[0]


def _product(op: Contraction, left: SSAValue, right: SSAValue) -> Operation:
    """The same contraction of other factors, added in i32."""
    result = tensor_of(i32, shape_of(op.result))
    return type(op).create(
        operands=[left, right], result_types=[result], properties=dict(op.properties), attributes=dict(op.attributes)
    )


def _replace(op: Contraction, value: SSAValue, rewriter: Rewriter) -> None:
    factors = [operand.owner for operand in op.operands]
    made = value.owner
    assert isinstance(made, Operation)
    value.name_hint = op.result.name_hint
    op.result.replace_all_uses_with(value)
    rewriter.erase(op)
    for factor in dict.fromkeys(factors):
        if isinstance(factor, Operation) and is_dead(factor):
            rewriter.erase(factor)


def _strip_casts(op: Contraction, rewriter: Rewriter) -> bool:
    """A product in i32 of integers that were cast from one narrow type multiplies those."""
    narrow = [_before_cast(value, rewriter) for value in op.operands]
    types = {element_of(value) for value in narrow if value is not None}
    if None in narrow or len(types) != 1:
        return False
    product = _product(op, *(value for value in narrow if value is not None))
    rewriter.insert_before(op, product)
    _replace(op, product.results[0], rewriter)
    rewriter.passed(f"multiplies {next(iter(types))}, adds in i32")
    return True


def _before_cast(value: SSAValue, rewriter: Rewriter) -> SSAValue | None:
    """The narrow integers that a value is, with a zero point of 0 taken from them or not."""
    owner = value.owner
    if isinstance(owner, graph.BinaryOp) and owner.kind == "sub" and _is_zero(owner.rhs, rewriter):
        owner = owner.lhs.owner
    if not isinstance(owner, graph.CastOp) or element_of(owner.operand) not in NARROW:
        return None
    return owner.operand if isinstance(element_of(owner.operand), IntegerType) else None


def _is_zero(value: SSAValue, rewriter: Rewriter) -> bool:
    owner = value.owner
    while isinstance(owner, graph.CastOp | graph.BroadcastOp):
        owner = owner.operand.owner
    try:
        return not np.any(_known(owner.results[0], rewriter)) if isinstance(owner, Operation) else False
    except Refused:
        return False


PASS = fuse_quantized
