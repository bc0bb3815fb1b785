"""graph-fuse-attention: a product, its softmax and the product with the values become one graph.attention.

```mlir
%kt = graph.transpose %k [0, 1, 3, 2] : tensor<2x4x197x64xf32> -> tensor<2x4x64x197xf32>
%s = graph.matmul %q, %kt : (tensor<2x4x197x64xf32>, tensor<2x4x64x197xf32>) -> tensor<2x4x197x197xf32>
%c = graph.broadcast %eighth dims [] : tensor<f32> -> tensor<2x4x197x197xf32>
%x = graph.binary mul %s, %c : ..
%p = graph.softmax %x dims [3] : ..
%y = graph.matmul %p, %v : (tensor<2x4x197x197xf32>, tensor<2x4x197x64xf32>) -> tensor<2x4x197x64xf32>
```
becomes
```mlir
%y = graph.attention %q, %k, %v scale 0.125 softcap 0.0 offset 0 window 0 ahead -1 : tensor<2x4x197x64xf32>, .. -> tensor<2x4x197x64xf32>
```

Scales are taken wherever they stand (on Q, on K, on the scores; mul or div by constants), masks where they are added or select the scores; one that is a causal
mask in the weights becomes the property `causal`. Heads of K and V that are repeated for groups of query heads are read once. The scores are never stored:
so nobody else may read them. A row that a select with -inf hides altogether gives zeros in place of NaN.
"""

from __future__ import annotations

import numpy as np
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.passes import PassFailure, Rewriter, fuse_locations, rewrite
from stepwell.transforms.graph._attention import (
    NoAttention,
    Scores,
    offset_of_mask,
    repeated_heads,
    unscaled,
)
from stepwell.transforms.graph._values import in_fusion, producer, shape_of, users
from stepwell.transforms.tensors import element_of

RANK = 4


@rewrite("graph-fuse-attention", level="graph", meaning="rounds", rtol=1e-2)
def fuse_attention(op: graph.MatmulOp, rewriter: Rewriter) -> None:
    """Replace a product of a softmax of a product. See the file's head.

    Remarks: passed with scale, masks and heads; missed with the reason where a softmax between two products is no attention."""
    shares = _softmax_behind(op.a)
    if in_fusion(op) or shares is None:
        return
    try:
        _Match(op, shares, rewriter).replace()
    except NoAttention as reason:
        rewriter.missed(
            f"no attention: {reason}",
            hint="the scores are stored, and read again by the softmax and the second product",
        )


def _softmax_behind(value: SSAValue) -> graph.SoftmaxOp | None:
    """The softmax that a product reads, through a cast."""
    cast = producer(value, graph.CastOp)
    return producer(cast.operand if cast is not None else value, graph.SoftmaxOp)


class _Match:
    """One attention: what was found, and the ops that take its place."""

    def __init__(self, op: graph.MatmulOp, shares: graph.SoftmaxOp, rewriter: Rewriter) -> None:
        self.op, self.shares, self.rewriter = op, shares, rewriter
        self.made: list[Operation] = []

    def replace(self) -> None:
        """Find all parts, then put the attention in the product's place; NoAttention with the reason where a part is missing."""
        op, rank = self.op, len(shape_of(self.op.a))
        if self.shares.log or self.shares.dims != (rank - 1,):
            raise NoAttention(f"the softmax runs along dims {list(self.shares.dims)}, not along the keys")
        if rank > RANK or len(shape_of(op.b)) != rank:
            raise NoAttention(f"{len(shape_of(op.a))} and {len(shape_of(op.b))} dims are not batches of heads")
        scores = Scores(self.rewriter.read)
        scores.passed += _between(op.a, self.shares)
        for inner in scores.passed:
            if len(list(inner.results[0].uses)) != 1:
                raise NoAttention(f"{inner.name} between the products is used by others too: its value is stored")
        product = scores.find(self.shares.operand)
        if len(shape_of(product.b)) != rank:
            raise NoAttention("the right factor of the scores serves all heads")
        q, k, scale = self._factors(product)
        values = op.b if not op.transpose_b else self._add(graph.TransposeOp(op.b, _last_swapped(rank)))
        q, k, values = (self._ranked(value) for value in (q, k, repeated_or(values)))
        if not element_of(q) == element_of(k) == element_of(values) == element_of(op.result):
            raise NoAttention(
                f"Q, K, V and the result are {element_of(q)}, {element_of(k)}, {element_of(values)} and {element_of(op.result)}"
            )
        k, values = self._same_heads(k, values)
        self._emit(q, k, values, scores, scale * scores.factor, [*scores.passed, product])

    def _add(self, op: Operation) -> SSAValue:
        self.made.append(op)
        return op.results[0]

    def _factors(self, product: graph.MatmulOp) -> tuple[SSAValue, SSAValue, float]:
        """Q [.., S, D], K [.., T, D] and the scale on them."""
        rank = len(shape_of(product.a))
        same = tuple(range(rank))
        q, on_q, order_q = unscaled(product.a, self.rewriter.read)
        k, on_k, order_k = unscaled(product.b, self.rewriter.read)
        if not product.transpose_b:
            order_k = tuple(order_k[dim] for dim in _last_swapped(rank))
        q = q if order_q == same else self._add(graph.TransposeOp(q, order_q))
        k = k if order_k == same else self._add(graph.TransposeOp(k, order_k))
        return q, repeated_or(k), on_q * on_k

    def _ranked(self, value: SSAValue) -> SSAValue:
        """As [B, H, rows, columns]."""
        shape = shape_of(value)
        if len(shape) == RANK:
            return value
        return self._add(graph.ReshapeOp(value, [1] * (RANK - len(shape)) + list(shape)))

    def _same_heads(self, k: SSAValue, values: SSAValue) -> tuple[SSAValue, SSAValue]:
        """K and V with as many heads each."""
        if shape_of(k)[:3] != shape_of(values)[:3]:
            raise NoAttention(f"K has the heads {list(shape_of(k)[:2])}, V {list(shape_of(values)[:2])}")
        return k, values

    def _emit(
        self, q: SSAValue, k: SSAValue, values: SSAValue, scores: Scores, scale: float, passed: list[Operation]
    ) -> None:
        softcap = scores.softcap
        scale = scale * softcap if softcap else scale
        bias, causal, offset = self._masks(scores, (*shape_of(q)[:3], shape_of(k)[2]))
        attention = graph.AttentionOp(q, k, values, bias, scale=scale, softcap=softcap, causal=causal, offset=offset)
        attention.location = fuse_locations([*reversed(passed), self.op])
        attention.result.name_hint = self.op.result.name_hint
        self.made.append(attention)
        if shape_of(attention.result) != shape_of(self.op.result):
            self.made.append(graph.ReshapeOp(attention.result, shape_of(self.op.result)))
        self.rewriter.replace(self.op, self.made)
        _erase_dead([self.shares, *passed], self.rewriter)
        heads, groups = shape_of(q)[1], shape_of(k)[1]
        shared = f", {heads // groups} query heads read one" if groups and heads != groups else ""
        masks = ", causal" * causal + ", a mask" * (bias is not None) + f", softcap {softcap:g}" * bool(softcap)
        self.rewriter.passed(f"one attention of scale {scale:g}{masks}{shared}: the scores are not stored")

    def _masks(self, scores: Scores, shape: tuple[int, ...]) -> tuple[SSAValue | None, bool, int]:
        """The bias [B or 1, H or 1, S or 1, T], and a causal mask with its offset."""
        condition = scores.seen if scores.seen is not None else scores.unseen
        causal, offset, bias = False, 0, None
        for value, is_condition in ((scores.bias, False), (condition, True)):
            if value is None:
                continue
            found = self._causal(value, is_condition, scores)
            if found is not None and not causal:
                causal, offset = True, found
                continue
            if bias is not None:
                raise NoAttention("one mask is added to the scores and another one selects them")
            bias = self._narrow(value, shape)
            bias = self._from_condition(bias, scores) if is_condition else bias
        return bias, causal, offset

    def _causal(self, value: SSAValue, is_condition: bool, scores: Scores) -> int | None:
        """The offset of a causal mask among the weights."""
        queries, keys = shape_of(value)[-2:]
        repeat = producer(value, graph.BroadcastOp)
        source = value if repeat is None else repeat.operand
        last = repeat is None or repeat.dims[-2:] == (len(shape_of(value)) - 2, len(shape_of(value)) - 1)
        array = self._constant(source)
        if array is None or not last or array.size != queries * keys:
            return None
        array = array.reshape(queries, keys)
        inverted = is_condition and scores.unseen is not None
        return offset_of_mask(~array.astype(bool) if inverted else array, condition=is_condition)

    def _constant(self, value: SSAValue) -> Array | None:
        """The values of a weight behind reshapes, as the value holds them."""
        shape = shape_of(value)
        while isinstance(value.owner, graph.ReshapeOp):
            value = value.owner.operand
        if not isinstance(value.owner, graph.WeightOp):
            return None
        try:
            return self.rewriter.read(value).reshape(shape)
        except PassFailure:
            return None

    def _narrow(self, value: SSAValue, shape: tuple[int, ...]) -> SSAValue:
        """A mask as [B or 1, H or 1, S or 1, T]: its repeats along leading dims are left out."""
        repeat = producer(value, graph.BroadcastOp)
        full = (1,) * (RANK - len(shape_of(value))) + shape_of(value)
        if repeat is not None and shape_of(repeat.operand) and len(full) - 1 in _ranked_dims(repeat):
            held = _ranked_dims(repeat)
            return self._add(
                graph.ReshapeOp(repeat.operand, [extent if dim in held else 1 for dim, extent in enumerate(full)])
            )
        if full != shape:
            raise NoAttention(f"its mask has shape {list(shape_of(value))}, the scores are {list(shape)}")
        return self._ranked(value)

    def _from_condition(self, condition: SSAValue, scores: Scores) -> SSAValue:
        """Where a condition hides keys by -inf it masks; a finite number is added to the scores instead, so that a row without a key sees them all alike."""
        inverted, known = scores.seen is None, self._constant(condition)
        if known is not None:
            seen = ~known.astype(bool) if inverted else known.astype(bool)
            array = seen if np.isneginf(scores.hidden) else np.where(seen, 0, scores.hidden)
            dtype = np.bool_ if np.isneginf(scores.hidden) else numpy_dtype(element_of(self.op.a))
            return self.rewriter.add_weight(array.astype(dtype), "mask").result
        if np.isneginf(scores.hidden):
            return self._add(graph.UnaryOp(condition, kind="not")) if inverted else condition
        shape, element = shape_of(condition), element_of(self.op.a)
        zero, hidden = (self._add(_splat(number, shape, element)) for number in (0.0, scores.hidden))
        return self._add(graph.SelectOp(condition, *((hidden, zero) if inverted else (zero, hidden))))


def _splat(number: float, shape: tuple[int, ...], element: Attribute) -> Operation:
    return graph.ConstantOp(np.full(shape, number, numpy_dtype(element)))


def repeated_or(value: SSAValue) -> SSAValue:
    """K or V without repeated heads."""
    return repeated_heads(value) if len(shape_of(value)) == RANK else value


def _last_swapped(rank: int) -> tuple[int, ...]:
    return (*range(rank - 2), rank - 1, rank - 2)


def _between(value: SSAValue, shares: graph.SoftmaxOp) -> list[Operation]:
    """The softmax and the cast behind it."""
    owner = value.owner
    return [shares] if owner is shares else [shares, owner] if isinstance(owner, Operation) else [shares]


def _ranked_dims(repeat: graph.BroadcastOp) -> set[int]:
    """The dims that a broadcast's operand has, counted in four dims."""
    missing = RANK - len(shape_of(repeat.result))
    return {dim + missing for dim in repeat.dims}


def _erase_dead(ops: list[Operation], rewriter: Rewriter) -> None:
    """Erase what only the attention's pieces used, and what only that used."""
    waiting = list(ops)
    while waiting:
        op = waiting.pop(0)
        if op.parent is None or users(op) or not op.results:
            continue
        feeders = [operand.owner for operand in op.operands if isinstance(operand.owner, Operation)]
        rewriter.erase(op)
        waiting += [feeder for feeder in dict.fromkeys(feeders) if not isinstance(feeder, graph.WeightOp)]


PASS = fuse_attention
