"""NumPy interpreter of the linalg level: linalg.generic over its whole iteration space at once, tensor ops, fusions and
host functions.

An operand of a generic is read through a strided view that has one axis per loop (stride 0 where its map does not
mention the loop), so a padded, strided, dilated window costs no copy. Parallel loops run as array operations;
reductions run in row-major order, one step of all parallel points at a time, in the IR's types. A sum of products of
two inputs is one matrix product (BLAS) in the accumulator's type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from xdsl.dialects import arith, func, tensor
from xdsl.dialects.builtin import ModuleOp, TensorType, UnrealizedConversionCastOp
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Block, Operation, SSAValue
from xdsl.ir.affine import AffineBinaryOpExpr, AffineConstantExpr, AffineDimExpr, AffineExpr, AffineMap
from xdsl.traits import IsTerminator, SymbolTable

from stepwell.dialects import graph
from stepwell.dialects.evaluate import UnsupportedOp, evaluate, evaluate_block, literal
from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.runtime.errors import UsageError

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore


def linear_coefficients(expr: AffineExpr, loops: int) -> tuple[list[int], int]:
    """The factor of each loop and the constant of an affine expression without division; UsageError for others."""
    match expr:
        case AffineDimExpr():
            return [int(loop == expr.position) for loop in range(loops)], 0
        case AffineConstantExpr():
            return [0] * loops, expr.value
        case AffineBinaryOpExpr():
            (a, base_a), (b, base_b) = linear_coefficients(expr.lhs, loops), linear_coefficients(expr.rhs, loops)
            if expr.kind.name == "Add":
                return [x + y for x, y in zip(a, b, strict=True)], base_a + base_b
            if expr.kind.name == "Mul" and not any(b):
                return [x * base_b for x in a], base_a * base_b
            if expr.kind.name == "Mul" and not any(a):
                return [x * base_a for x in b], base_a * base_b
    raise UsageError(
        f"the map expression {expr} is not linear in the loops: windows and projections are", where="linalg"
    )


def loop_extents(op: linalg.GenericOp) -> tuple[int, ...]:
    """The extent of each loop: that of a tensor dim whose map expression is the loop alone."""
    extents: dict[int, int] = {}
    for attr, value in zip(op.indexing_maps, op.operands, strict=True):
        shape = value.type.get_shape() if isinstance(value.type, TensorType) else ()
        for expr, extent in zip(attr.data.results, shape, strict=True):
            if isinstance(expr, AffineDimExpr):
                extents[expr.position] = extent
    missing = [loop for loop in range(len(op.iterator_types)) if loop not in extents]
    if missing:
        raise UsageError(
            f"no operand gives the extent of loop {missing[0]}: add a shape-only window operand", where=op.name
        )
    return tuple(extents[loop] for loop in range(len(op.iterator_types)))


def loop_view(array: Array, map: AffineMap, extents: Sequence[int]) -> Array:
    """`array` seen from the iteration space: one axis per loop. Raises UsageError when the map leaves the array."""
    strides, offset = [0] * len(extents), 0
    for expr, extent, stride in zip(map.results, array.shape, array.strides, strict=True):
        factors, base = linear_coefficients(expr, len(extents))
        reach = base + sum(f * (n - 1) for f, n in zip(factors, extents, strict=True) if f > 0)
        least = base + sum(f * (n - 1) for f, n in zip(factors, extents, strict=True) if f < 0)
        if all(extents) and (least < 0 or reach >= extent):
            told = f"{least} to {reach} of {extent}"
            raise UsageError(f"the map {map} leaves an operand of shape {array.shape}: it reaches {told}")
        strides = [s + f * stride for s, f in zip(strides, factors, strict=True)]
        offset += base * stride
    view = array[tuple(slice(base, None) for base in _bases(map))] if offset else array
    return as_strided(view, tuple(extents), strides, writeable=False)


def _bases(map: AffineMap) -> list[int]:
    return [linear_coefficients(expr, map.num_dims)[1] for expr in map.results]


def is_multiply_add(op: linalg.GenericOp) -> bool:
    """Whether the body is out + a * b, the factors possibly widened first."""
    block = op.body.block
    last = block.last_op
    if len(op.inputs) != 2 or len(op.outputs) != 1 or last is None:
        return False
    a, b, total = block.args
    added = last.operands[0].owner
    if not isinstance(added, arith.AddfOp | arith.AddiOp) or total not in added.operands:
        return False
    other = added.operands[1] if added.operands[0] is total else added.operands[0]
    if not isinstance(other.owner, arith.MulfOp | arith.MuliOp):
        return False
    factors = [_through_widening(factor) for factor in other.owner.operands]
    return factors in ([a, b], [b, a])


def _through_widening(value: SSAValue) -> SSAValue:
    """The argument that is widened as its type says: an unsigned one by extui, any other by extsi or extf."""
    if isinstance(value.owner, arith.ExtUIOp):
        cast = value.owner.operands[0].owner
        return cast.operands[0] if isinstance(cast, UnrealizedConversionCastOp) else value
    return value.owner.operands[0] if isinstance(value.owner, arith.ExtFOp | arith.ExtSIOp) else value


def run_generic(
    op: linalg.GenericOp, operands: Sequence[Array], outside: Mapping[SSAValue, Array]
) -> tuple[Array, ...]:
    """The results of a linalg.generic on tensors. `outside` holds the values that its body may read by tensor.extract."""
    extents = loop_extents(op)
    maps = [attr.data for attr in op.indexing_maps]
    views = [loop_view(array, map, extents) for array, map in zip(operands, maps, strict=True)]
    reductions = [loop for loop, kind in enumerate(op.iterator_types) if kind.data.value == "reduction"]
    count = len(op.inputs)
    if reductions and is_multiply_add(op):
        return (_contract(op, views, operands[2], maps, reductions),)
    starts = [_without(v, reductions) for v in views[count:]]
    read = {v: outside[v] for inner in op.body.block.ops for v in inner.operands if v in outside}
    totals = _reduce(op, views[:count], starts, reductions, extents, read)
    return tuple(_arrange(total, maps[count + i], reductions, extents) for i, total in enumerate(totals))


def _without(view: Array, loops: Sequence[int]) -> Array:
    """The view at index 0 of the given loops."""
    return view[tuple(0 if axis in loops else slice(None) for axis in range(view.ndim))]


def _reduce(
    op: linalg.GenericOp,
    inputs: Sequence[Array],
    totals: Sequence[Array],
    reductions: Sequence[int],
    extents: Sequence[int],
    outside: Mapping[SSAValue, Array],
) -> list[Array]:
    """Run the body once per point of the reduction loops, over all parallel points."""
    if not all(extents):
        return list(totals)
    parallel = [loop for loop in range(len(extents)) if loop not in reductions]
    for point in product(*(range(extents[loop]) for loop in reductions)):
        at = dict(zip(reductions, point, strict=True))
        index = tuple(at.get(loop, slice(None)) for loop in range(len(extents)))

        def evaluate_op(inner: Operation, values: Sequence[Array], at: dict[int, int] = at) -> tuple[Array, ...]:
            if isinstance(inner, tensor.ExtractOp):
                return (_extract(values[0], values[1:]),)
            if not isinstance(inner, linalg.IndexOp):
                return evaluate(inner, values)
            loop = inner.dim.value.data
            if loop in at:
                return (np.asarray(at[loop], np.int64),)
            axis = parallel.index(loop)
            return (np.arange(extents[loop]).reshape([-1 if a == axis else 1 for a in range(len(parallel))]),)

        arguments = [*(view[index] for view in inputs), *totals]
        totals = evaluate_block(op.body.block, arguments, outside, evaluate_op)
    shape = [extents[loop] for loop in parallel]
    return [np.broadcast_to(total, shape) for total in totals]


def _extract(source: Array, positions: Sequence[Array]) -> Array:
    """The elements of `source` at positions that broadcast; UsageError where one lies outside."""
    for position, extent in zip(positions, source.shape, strict=True):
        if np.any((position < 0) | (position >= extent)):
            raise UsageError(f"tensor.extract reads outside of a tensor of shape {list(source.shape)}")
    return np.asarray(source[tuple(positions)])


def _arrange(values: Array, map: AffineMap, reductions: Sequence[int], extents: Sequence[int]) -> Array:
    """Values over the parallel loops, in loop order, as the output's dims."""
    parallel = [loop for loop in range(len(extents)) if loop not in reductions]
    order = []
    for expr in map.results:
        if not isinstance(expr, AffineDimExpr):
            raise UsageError(f"the output map {map} is not a permutation of the parallel loops", where="linalg.generic")
        order.append(parallel.index(expr.position))
    if len(order) != len(parallel):
        raise UsageError(f"the output map {map} leaves out a parallel loop", where="linalg.generic")
    return np.array(np.transpose(values, order), order="C")


def _contract(
    op: linalg.GenericOp, views: Sequence[Array], init: Array, maps: Sequence[AffineMap], reductions: Sequence[int]
) -> Array:
    """out + sum of a * b in the output's type, by einsum over the loops that each operand mentions."""
    total = numpy_dtype(op.outputs[0].type)
    terms: list[Any] = []
    for view, map in zip(views[:2], maps, strict=False):
        used = sorted(map.used_dims())
        terms += [_squeeze(view, used).astype(total), used]
    out = [expr.position for expr in maps[2].results if isinstance(expr, AffineDimExpr)]
    summed = np.einsum(*terms, out, optimize=total.kind == "f")
    return np.asarray(init + summed, dtype=total)


def _squeeze(view: Array, used: Sequence[int]) -> Array:
    return view[tuple(slice(None) if axis in used else 0 for axis in range(view.ndim))]


def _pad(op: tensor.PadOp, operands: Sequence[Array]) -> tuple[Array, ...]:
    yielded = op.region.block.last_op
    assert yielded is not None
    number = literal(yielded.operands[0])
    if number is None or op.low or op.high:
        raise UnsupportedOp(op, "only static pads with one constant are evaluated")
    value = np.asarray(number.value.data).astype(operands[0].dtype)
    widths = list(zip(op.static_low.get_values(), op.static_high.get_values(), strict=True))
    return (np.pad(operands[0], widths, constant_values=value.item()),)


def _reshaped(op: tensor.ExpandShapeOp | tensor.CollapseShapeOp, operands: Sequence[Array]) -> tuple[Array, ...]:
    return (operands[0].reshape(op.result.type.get_shape()),)


def _empty(op: tensor.EmptyOp, operands: Sequence[Array]) -> tuple[Array, ...]:
    """Undefined values: NaN or the lowest integer, so that a use of them shows."""
    dtype: Any = numpy_dtype(op.tensor.type)
    poison: Any = np.nan if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind == "i" else False
    return (np.full(op.tensor.type.get_shape(), poison, dtype),)


def _slice(op: tensor.ExtractSliceOp, operands: Sequence[Array]) -> tuple[Array, ...]:
    static = (op.static_offsets, op.static_sizes, op.static_strides)
    if op.offsets or op.sizes or op.strides:
        raise UnsupportedOp(op, "only static offsets, sizes and strides are evaluated")
    parts = zip(*(attr.get_values() for attr in static), strict=True)
    taken = operands[0][tuple(slice(begin, begin + extent * step, step) for begin, extent, step in parts)]
    if taken.shape != op.result.type.get_shape():
        raise UsageError(f"the slice leaves an operand of shape {list(operands[0].shape)}", where=op.name)
    return (taken,)


_RUN: Mapping[type[Operation], Callable[[Any, Sequence[Array]], tuple[Array, ...]]] = {
    linalg.FillOp: lambda op, operands: (np.full_like(operands[1], operands[0].item()),),
    tensor.EmptyOp: _empty,
    tensor.PadOp: _pad,
    tensor.ExtractSliceOp: _slice,
    tensor.ConcatOp: lambda op, operands: (np.concatenate(operands, axis=op.dim.value.data),),
    tensor.ExpandShapeOp: _reshaped,
    tensor.CollapseShapeOp: _reshaped,
    graph.ReshapeOp: lambda op, operands: (operands[0].reshape(op.result.type.get_shape()),),
    graph.FusionOp: lambda op, operands: run_block(op.body.block, operands),
    graph.CustomOp: lambda op, operands: tuple(run_graph_op(op, operands)),
}


def run_op(op: Operation, operands: Sequence[Array]) -> tuple[Array, ...]:
    """The results of one op of the linalg level that needs no weights."""
    run = _RUN.get(type(op))
    if run is not None:
        return run(op, operands)
    return run_graph_op(op, operands) if op.name.startswith("graph.") else evaluate(op, operands)


def run_block(block: Block, arguments: Sequence[Array], weights: WeightStore | None = None) -> tuple[Array, ...]:
    """Run a block of tensor ops and return what its terminator takes."""
    env: dict[SSAValue, Array] = dict(zip(block.args, arguments, strict=True))
    for op in block.ops:
        operands = [env[value] for value in op.operands]
        if op.has_trait(IsTerminator):
            return tuple(operands)
        if isinstance(op, graph.WeightOp):
            if weights is None:
                raise UsageError(
                    "weights are needed to run this module", where=op.ref.source.data, hint="--weights FILE | random:0"
                )
            env[op.result] = weights.evaluate(op.ref)
            continue
        made = run_generic(op, operands, env) if isinstance(op, linalg.GenericOp) else run_op(op, operands)
        env.update(zip(op.results, made, strict=True))
    raise UsageError("the block does not end in a terminator")


def run_function(
    module: ModuleOp, arguments: Sequence[Array], weights: WeightStore | None = None, name: str = "main"
) -> tuple[Array, ...]:
    """Run a host function of the linalg level on arrays."""
    main = SymbolTable.lookup_symbol(module, name)
    if not isinstance(main, func.FuncOp):
        raise UsageError(f"the module has no function @{name}")
    return run_block(main.body.block, arguments, weights)
