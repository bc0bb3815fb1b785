"""graph-expand-attention: attention that no kernel takes whole becomes a product, masks, a softmax and a product.

```mlir
%y = graph.attention %q, %k, %v scale 0.125 softcap 0.0 causal offset 0 window 0 ahead -1 : tensor<2x4x197x64xf32>, .. -> tensor<2x4x197x64xf32>
```
becomes
```mlir
%s = graph.matmul %q, %k transpose_b : (tensor<2x4x197x64xf32>, tensor<2x4x197x64xf32>) -> tensor<2x4x197x197xf32>
%x = graph.binary mul %s, %scale : ..
%m = graph.binary add %x, %mask : ..                       // 0 where a key is seen, -1e30 elsewhere
%p = graph.softmax %m dims [3] : ..
%y = graph.matmul %p, %v : ..
```

Query heads that read one head of K and V become rows of one product, so nothing is repeated. Scores of 16-bit floats are f32. Positions are known here, so
causal masks and windows are weights; lengths are compared with the keys' numbers. Which attention a kernel takes is said by `why_no_kernel`.
"""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import f32, f64, i1
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.passes import Rewriter, rewrite
from stepwell.transforms.attention import why_no_kernel
from stepwell.transforms.graph._values import in_fusion, shape_of
from stepwell.transforms.tensors import element_of

LOWEST = -1e30
"""Added where a key is hidden: exp of it is 0 beside any score, and a row that sees nothing has no NaN."""
KERNELS = ("none", "f16", "half")
"""Which attention stays whole: none, that of f16, or that of f32 too since it will be computed in f16."""


@rewrite("graph-expand-attention", level="graph", meaning="rounds", rtol=1e-2)
def expand_attention(op: graph.AttentionOp, rewriter: Rewriter, *, kernels: str = "none") -> None:
    """Replace attention by its pieces, but for what `kernels` says that a kernel takes whole: none, f16 (attention of f16), half (of f32
    too: it will be computed in f16). See the file's head.

    Remarks: passed, kept whole; missed with the reason where it was expanded."""
    if in_fusion(op):
        return
    reason = why_no_kernel(op, kernels)
    if not reason:
        rewriter.passed("one kernel: the scores stay in registers")
        return
    rewriter.missed(f"expanded into products and a softmax: {reason}")
    builder = _Pieces(op, rewriter)
    result = builder.build()
    rewriter.replace(op, builder.made, [result])


class _Pieces:
    """The ops that an attention means, in order."""

    def __init__(self, op: graph.AttentionOp, rewriter: Rewriter) -> None:
        self.op, self.rewriter = op, rewriter
        self.made: list[Operation] = []
        self.batch, self.heads, self.queries, self.depth = shape_of(op.q)
        _, self.groups, self.keys, _ = shape_of(op.k)
        self.shape = (self.batch, self.heads, self.queries, self.keys)
        self.wide: Attribute = f64 if element_of(op.q) == f64 else f32

    def build(self) -> SSAValue:
        """The value that takes the result's place."""
        op, element = self.op, element_of(self.op.q)
        rows = self.heads // max(1, self.groups) * self.queries
        q = self.reshaped(op.q, (self.batch, self.groups, rows, self.depth))
        scores = self.add(
            graph.MatmulOp(q, op.k, transpose_b=True, element_type=self.wide if element != self.wide else None)
        )
        x = self.scaled(self.reshaped(scores, self.shape), op.scale)
        if op.softcap:
            tanh = self.add(graph.UnaryOp(self.scaled(x, 1 / op.softcap), kind="tanh"))
            x = self.scaled(tanh, op.softcap)
        x, hidden = self.masked(x)
        shares = self.add(graph.SoftmaxOp(x, dims=[3]))
        shares = self.without(shares, hidden)
        if element != self.wide:
            shares = self.add(graph.CastOp(shares, element))
        shares = self.reshaped(shares, (self.batch, self.groups, rows, self.keys))
        return self.reshaped(self.add(graph.MatmulOp(shares, op.v)), shape_of(op.result))

    # --- masks

    def masked(self, x: SSAValue) -> tuple[SSAValue, list[SSAValue]]:
        """The scores with all masks, and conditions [B, H, S, T] on which a row may have been hidden altogether."""
        op, conditions = self.op, []
        seen = self.seen_by_place() if op.lengths is None else None
        computed = op.bias is not None and (element_of(op.bias) == i1 or not self.known_finite(op.bias))
        if seen is not None and not seen.all() and computed:
            conditions.append(self.spread(self.weight(seen, "seen"), (2, 3)))
        elif seen is not None and not seen.all():
            x = self.binary("add", x, self.spread(self.weight(np.where(seen, 0, LOWEST), "mask"), (2, 3)))
            rows: Array = seen.max(axis=1)
            if not rows.all():
                conditions.append(self.spread(self.weight(rows, "rows"), (2,)))
        if op.lengths is not None:
            conditions.append(self.seen_by_lengths(op.lengths))
        if op.bias is not None and element_of(op.bias) == i1:
            conditions.append(self.from_bias(op.bias))
        elif op.bias is not None:
            bias = self.from_bias(op.bias)
            x = self.binary(
                "add", x, self.add(graph.CastOp(bias, self.wide)) if element_of(bias) != self.wide else bias
            )
            floor = self.filled(LOWEST)
            if not self.known_finite(op.bias):
                conditions.append(self.add(graph.CompareOp(x, self.filled(-np.inf), kind="ne")))
            x = self.binary("max", x, floor)
        for condition in conditions:
            x = self.add(graph.SelectOp(condition, x, self.filled(LOWEST)))
        return x, conditions

    def without(self, shares: SSAValue, conditions: list[SSAValue]) -> SSAValue:
        """Shares that are 0 where a condition hides a key: a row that sees nothing gives zeros."""
        for condition in conditions:
            shares = self.add(graph.SelectOp(condition, shares, self.filled(0.0)))
        return shares

    def seen_by_place(self) -> Array:
        """Which keys each query may see by its position, [S, T]."""
        shift = self.op.offset + (self.keys - self.queries if self.op.from_end else 0)
        return self._window(np.arange(self.queries)[:, None] + shift, np.arange(self.keys)[None, :])

    def _window(self, place: Array, key: Array) -> Array:
        ahead = 0 if self.op.causal else self.op.ahead
        seen = np.ones(np.broadcast_shapes(place.shape, key.shape), bool)
        seen = seen & (key <= place + ahead) if ahead >= 0 else seen
        return seen & (key > place - self.op.window) if self.op.window else seen

    def seen_by_lengths(self, lengths: SSAValue) -> SSAValue:
        """Which keys exist and may be seen, [B, H, S, T]; positions count in the lengths' integers."""
        dtype = numpy_dtype(element_of(lengths))
        ends = self.spread(lengths, (0,))
        key = self.spread(self.weight(np.arange(self.keys, dtype=dtype), "keys"), (3,))
        seen = self.add(graph.CompareOp(key, ends, kind="lt"))
        ahead = 0 if self.op.causal else self.op.ahead
        if ahead < 0 and not self.op.window:
            return seen
        place = self.spread(
            self.weight(np.arange(self.queries, dtype=dtype) + dtype.type(self.op.offset), "places"), (2,)
        )
        if self.op.from_end:
            place = self.binary("add", place, self.binary("sub", ends, self.number(self.queries, dtype)))
        if ahead >= 0:
            last = self.binary("add", place, self.number(ahead, dtype))
            seen = self.binary("and", seen, self.add(graph.CompareOp(key, last, kind="le")))
        if self.op.window:
            first = self.binary("sub", place, self.number(self.op.window, dtype))
            seen = self.binary("and", seen, self.add(graph.CompareOp(key, first, kind="gt")))
        return seen

    def from_bias(self, bias: SSAValue) -> SSAValue:
        """The bias as [B, H, S, T]."""
        held = shape_of(bias)
        if held == self.shape:
            return bias
        dims = tuple(dim for dim in range(4) if held[dim] == self.shape[dim] and (held[dim] != 1 or dim == 3))
        return self.spread(self.reshaped(bias, tuple(held[dim] for dim in dims)), dims)

    def known_finite(self, bias: SSAValue) -> bool:
        """Whether the bias is a weight without infinities."""
        while isinstance(bias.owner, graph.ReshapeOp):
            bias = bias.owner.operand
        return isinstance(bias.owner, graph.WeightOp) and bool(np.isfinite(self.rewriter.read(bias)).all())

    # --- ops

    def add(self, op: Operation) -> SSAValue:
        self.made.append(op)
        return op.results[0]

    def binary(self, kind: str, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.add(graph.BinaryOp(a, b, kind=kind))

    def reshaped(self, value: SSAValue, shape: tuple[int, ...]) -> SSAValue:
        return value if shape_of(value) == shape else self.add(graph.ReshapeOp(value, shape))

    def scaled(self, x: SSAValue, factor: float) -> SSAValue:
        return x if factor == 1.0 else self.binary("mul", x, self.filled(factor))

    def weight(self, array: Array, name: str) -> SSAValue:
        kind = array.dtype if array.dtype.kind in "iub" else numpy_dtype(self.wide)
        return self.rewriter.add_weight(np.array(array, kind, order="C"), f"{name}.{np.dtype(kind)}").result

    def spread(self, value: SSAValue, dims: tuple[int, ...]) -> SSAValue:
        return self.add(graph.BroadcastOp(value, dims=dims, shape=self.shape))

    def filled(self, number: float) -> SSAValue:
        return self.spread(self.weight(np.array(number, numpy_dtype(self.wide)), "number"), ())

    def number(self, number: int, dtype: np.dtype) -> SSAValue:
        return self.spread(self.weight(np.array(number, dtype), "number"), ())


PASS = expand_attention
