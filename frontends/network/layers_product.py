"""Layers with products, statistics and order: fully connected, matrix product, softmax, normalisations, reduce, top k."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.network.build import NetworkBuilder
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor, Weights, axes_in, axis_in, one_of

REDUCE = {"SUM": "sum", "PROD": "product", "MAX": "max", "MIN": "min", "AVG": "sum"}
"""Kinds of add_reduce, and the graph ops' kinds they become."""


def _batched(build: NetworkBuilder, a: SSAValue, b: SSAValue) -> list[SSAValue]:
    """The operands of a product with one batch shape; a right operand of rank 2 serves every batch."""
    if len(shape_of(b)) == 2:
        return [a, b]
    try:
        batch = np.broadcast_shapes(shape_of(a)[:-2], shape_of(b)[:-2])
    except ValueError:
        raise Unsupported(f"batches {list(shape_of(a)[:-2])} and {list(shape_of(b)[:-2])} do not broadcast") from None
    return [build.broadcast(value, (*batch, *shape_of(value)[-2:])) for value in (a, b)]


def _swapped(build: NetworkBuilder, value: SSAValue) -> SSAValue:
    rank = len(shape_of(value))
    return build.transpose(value, [*range(rank - 2), rank - 1, rank - 2])


class ProductLayers(NetworkCore):
    """Axes may be negative: they then count from the end. The batch is axis 0."""

    def add_fully_connected(
        self,
        input: Tensor,
        outputs: int,
        weights: Weights,
        bias: Weights | None = None,
        *,
        axis: int = 1,
        name: str = "",
    ) -> Tensor:
        """All dims from `axis` on are one row, and the result has `outputs` in their place: weights [outputs, elements of a row], bias [outputs]."""
        with self._layer("fully_connected", name, input, also=(weights, bias)) as build:
            at = axis_in(axis, len(input.shape))
            lead, row = input.shape[:at], prod(input.shape[at:])
            if outputs < 1:
                raise Unsupported(f"outputs is {outputs}: it must be positive")
            matrix = build.parameter("weights", weights, input.value, [outputs, row])
            rows = build.reshape(input.value, [prod(lead), row])
            product = build.emit(graph.MatmulOp(rows, matrix, transpose_b=True))
            return self._result(build.reshape(build.biased(product, bias, 1), [*lead, outputs]))

    def add_matrix_multiply(
        self, a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False, name: str = ""
    ) -> Tensor:
        """The matrix product over the last two dims, the dims before them broadcast; a tensor of rank 1 is a row on the left and a column on the right, and
        the result lacks that dim."""
        with self._layer("matrix_multiply", name, a, b) as build:
            left, right = a.value, b.value
            if not a.shape or not b.shape:
                raise Unsupported("a scalar has no matrix product: use add_elementwise PROD")
            if (transpose_a and len(a.shape) == 1) or (transpose_b and len(b.shape) == 1):
                raise Unsupported("a tensor of rank 1 cannot be transposed")
            left = build.reshape(left, [1, *a.shape]) if len(a.shape) == 1 else left
            right = build.reshape(right, [*b.shape, 1]) if len(b.shape) == 1 else right
            left = _swapped(build, left) if transpose_a else left
            product = build.emit(graph.MatmulOp(*_batched(build, left, right), transpose_b=transpose_b))
            rows = [] if len(a.shape) == 1 else [shape_of(product)[-2]]
            columns = [] if len(b.shape) == 1 else [shape_of(product)[-1]]
            return self._result(build.reshape(product, [*shape_of(product)[:-2], *rows, *columns]))

    def add_softmax(self, input: Tensor, axes: int | Sequence[int] = 1, *, name: str = "") -> Tensor:
        """exp(x) / sum of exp over the axes together, less the maximum before; the channels unless other axes are given."""
        with self._layer("softmax", name, input) as build:
            return self._result(build.emit(graph.SoftmaxOp(input.value, dims=axes_in(axes, len(input.shape)))))

    def add_normalization(
        self,
        input: Tensor,
        scale: Weights | None,
        bias: Weights | None,
        axes: int | Sequence[int],
        *,
        epsilon: float = 1e-5,
        name: str = "",
    ) -> Tensor:
        """(x - mean) / sqrt(variance + epsilon) over the axes together, times `scale` and plus `bias`, which broadcast to the input."""
        with self._layer("normalization", name, input, also=(scale, bias)) as build:
            dims = axes_in(axes, len(input.shape))
            x: SSAValue = build.emit(graph.NormalizeOp(input.value, dims=dims, epsilon=epsilon))
            for kind, what, given in (("mul", "scale", scale), ("add", "bias", bias)):
                if given is not None:
                    factor = build.broadcast(build.parameter(what, given, x), input.shape)
                    x = build.binary(kind, x, factor)
            return self._result(x)

    def add_batch_normalization(
        self,
        input: Tensor,
        scale: Weights,
        bias: Weights,
        mean: Weights,
        variance: Weights,
        *,
        epsilon: float = 1e-5,
        name: str = "",
    ) -> Tensor:
        """scale * (x - mean) / sqrt(variance + epsilon) + bias, each [C] for the channels, which are axis 1."""
        with self._layer("batch_normalization", name, input, also=(scale, bias, mean, variance)) as build:
            channels = [input.shape[axis_in(1, len(input.shape))]]
            given = {"scale": scale, "bias": bias, "mean": mean, "variance": variance}
            values = [build.parameter(what, array, input.value, channels) for what, array in given.items()]
            op = graph.BatchNormOp(input.value, *values, dim=1, epsilon=epsilon)
            return self._result(build.emit(op))

    def add_reduce(
        self, input: Tensor, kind: str, axes: int | Sequence[int], *, keep_dims: bool = False, name: str = ""
    ) -> Tensor:
        """SUM PROD MAX MIN AVG over the axes, which vanish, or with `keep_dims` have extent 1."""
        with self._layer("reduce", name, input) as build:
            word, dims = one_of("kind", kind, tuple(REDUCE)), axes_in(axes, len(input.shape))
            value = build.emit(graph.ReduceOp(input.value, kind=REDUCE[word], dims=dims))
            if word == "AVG":
                elements = prod(input.shape[d] for d in dims)
                value = build.floating(value, "an average")
                if not elements:
                    raise Unsupported("an average of nothing has no value")
                value = build.binary("div", value, build.number(elements, value))
            kept = [1 if d in dims else extent for d, extent in enumerate(input.shape)]
            return self._result(build.reshape(value, kept) if keep_dims else value)

    def add_top_k(self, input: Tensor, kind: str, k: int, axis: int, *, name: str = "") -> tuple[Tensor, Tensor]:
        """The k largest (MAX) or smallest (MIN) along an axis, sorted, and their positions (i64); of equals the lower position first."""
        with self._layer("top_k", name, input) as build:
            largest = one_of("kind", kind, ("MAX", "MIN")) == "MAX"
            op = graph.TopKOp(input.value, dim=axis_in(axis, len(input.shape)), k=k, largest=largest)
            values, positions = build.emit_all(op)
            first, second = self._results({"values": values, "positions": positions})
            return first, second
