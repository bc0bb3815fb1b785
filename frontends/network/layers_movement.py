"""Layers that move data: concatenation, slice, shuffle, gather, padding."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.network.build import NetworkBuilder
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor, axis_in


def _wanted_shape(before: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """A reshape's extents: 0 copies the extent at its place, one -1 takes what is left."""
    if any(extent == 0 and d >= len(before) for d, extent in enumerate(wanted)):
        raise Unsupported(f"reshape {list(wanted)} copies an extent that {list(before)} does not have")
    shape = [before[d] if extent == 0 else int(extent) for d, extent in enumerate(wanted)]
    known = prod(extent for extent in shape if extent != -1)
    if shape.count(-1) > 1 or any(extent < -1 for extent in shape):
        raise Unsupported(f"reshape {list(wanted)}: one extent may be -1, the others are given, or 0 for the input's")
    if -1 in shape:
        if not known or prod(before) % known:
            raise Unsupported(
                f"{prod(before)} elements do not fill reshape {list(wanted)}: -1 would be no whole number"
            )
        shape[shape.index(-1)] = prod(before) // known
    return shape


def _trimmed(build: NetworkBuilder, value: SSAValue, low: Sequence[int], high: Sequence[int]) -> SSAValue:
    """Without what negative pads take away."""
    for dim, (below, above) in enumerate(zip(low, high, strict=True)):
        begin, end = max(0, -below), shape_of(value)[dim] - max(0, -above)
        if begin > end:
            raise Unsupported(
                f"padding takes {begin} and {max(0, -above)} of {shape_of(value)[dim]} elements of dim {dim}"
            )
        value = build.cut(value, dim, begin, end)
    return value


class MovementLayers(NetworkCore):
    """Shapes and axes include the batch."""

    def add_concatenation(self, inputs: Sequence[Tensor], axis: int = 1, *, name: str = "") -> Tensor:
        """The inputs one behind the other along an axis, the channels unless another is given; all other extents agree."""
        with self._layer("concatenation", name, *inputs) as build:
            if not inputs:
                raise Unsupported("there is nothing to concatenate: give at least one tensor")
            dim = axis_in(axis, len(inputs[0].shape))
            return self._result(build.emit(graph.ConcatOp([tensor.value for tensor in inputs], dim=dim)))

    def add_slice(
        self,
        input: Tensor,
        start: Sequence[int],
        shape: Sequence[int],
        stride: Sequence[int] | None = None,
        *,
        name: str = "",
    ) -> Tensor:
        """The elements start + i * stride of every dim, `shape` of them; strides are positive, and all that is read lies inside."""
        with self._layer("slice", name, input) as build:
            op = graph.SliceOp(input.value, begins=list(start), extents=list(shape), strides=stride and list(stride))
            return self._result(build.emit(op))

    def add_shuffle(
        self,
        input: Tensor,
        *,
        first_transpose: Sequence[int] | None = None,
        reshape: Sequence[int] | None = None,
        second_transpose: Sequence[int] | None = None,
        name: str = "",
    ) -> Tensor:
        """Transpose, reshape and transpose again, each where it is given: dim i of a transposed tensor is dim permutation[i] of it before; a reshape's 0
        copies the extent at its place, and one -1 takes what is left."""
        with self._layer("shuffle", name, input) as build:
            x = input.value
            if first_transpose is not None:
                x = build.transpose(x, self._permutation(first_transpose, x))
            if reshape is not None:
                x = build.reshape(x, _wanted_shape(shape_of(x), reshape))
            if second_transpose is not None:
                x = build.transpose(x, self._permutation(second_transpose, x))
            return self._result(x)

    def _permutation(self, given: Sequence[int], x: SSAValue) -> list[int]:
        if sorted(given) != list(range(len(shape_of(x)))):
            raise Unsupported(f"{list(given)} is no permutation of the {len(shape_of(x))} dims of {list(shape_of(x))}")
        return list(given)

    def add_gather(self, input: Tensor, indices: Tensor, axis: int = 0, *, name: str = "") -> Tensor:
        """Elements of an axis by index: the result has the indices' shape in place of that axis. Indices are not negative; those that the network computes
        are clamped into the axis, constant ones outside are refused."""
        with self._layer("gather", name, input, indices) as build:
            dim, shape = axis_in(axis, len(input.shape)), input.shape
            known = build.array(indices.value)
            if known is not None and known.size and not 0 <= known.min() <= known.max() < shape[dim]:
                raise Unsupported(
                    f"indices lie in [{known.min()}, {known.max()}], axis {dim} has {shape[dim]} elements"
                )
            column = build.reshape(indices.value, [*indices.shape, 1])
            found = build.emit(graph.GatherOp(input.value, column, dims=[dim]))
            rank, total = len(indices.shape), len(shape_of(found))
            order = [*range(rank, rank + dim), *range(rank), *range(rank + dim, total)]
            return self._result(build.transpose(found, order))

    def add_padding(
        self, input: Tensor, before: Sequence[int], after: Sequence[int], *, value: float = 0.0, name: str = ""
    ) -> Tensor:
        """`value` around the last dims, as many as are given; a negative number takes elements away."""
        with self._layer("padding", name, input) as build:
            rank, count = len(input.shape), len(before)
            if count != len(after) or count > rank:
                raise Unsupported(
                    f"{list(before)} and {list(after)}: give as many numbers before as after, at most {rank}"
                )
            low, high = [*[0] * (rank - count), *before], [*[0] * (rank - count), *after]
            x = _trimmed(build, input.value, low, high)
            around = build.number(value, build.zeros(x, []))
            wide = [[max(0, side) for side in sides] for sides in (low, high)]
            return self._result(build.emit(graph.PadOp(x, around, low=wide[0], high=wide[1])))
