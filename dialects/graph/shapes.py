"""Shape functions of the graph dialect: pure, on tuples of ints, raising VerifyException that says what to change.

Output extent of a window: floor((in + begin + end - ((kernel - 1) * dilation + 1)) / stride) + 1, ONNX's `Conv` and `MaxPool`. With
`ceil`, the division rounds up, less a last window that would begin in the end padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from xdsl.utils.exceptions import VerifyException

Shape = tuple[int, ...]
"""Extents; `extents.Extent` where one is a symbol."""


def window_extent(
    extent: int, kernel: int, stride: int, begin: int, end: int, dilation: int = 1, ceil: bool = False
) -> int:
    """Number of positions of one window dimension over `extent` elements padded by `begin` and `end`."""
    span = (kernel - 1) * dilation + 1
    free = extent + begin + end - span
    if free < 0:
        raise VerifyException(
            f"a window of {span} (kernel {kernel}, dilation {dilation}) does not fit into {extent} elements padded by "
            f"{begin} and {end}: use a smaller kernel or more padding"
        )
    count = (-(-free // stride) if ceil else free // stride) + 1
    if ceil and (count - 1) * stride >= extent + begin:
        count -= 1
    return count


def window_shape(
    spatial: Shape, kernel: Shape, strides: Shape, pads: Shape, dilations: Shape, ceil: bool = False
) -> Shape:
    """Spatial result extents of a convolution or pool; `pads` lists all begins, then all ends."""
    rank = len(spatial)
    if rank == 0:
        raise VerifyException("a window needs at least one spatial dimension: the input must have rank 3 or more")
    for what, values, count, least in (
        ("kernel", kernel, rank, 1),
        ("strides", strides, rank, 1),
        ("dilations", dilations, rank, 1),
        ("pads", pads, 2 * rank, 0),
    ):
        if len(values) != count:
            raise VerifyException(
                f"{what} has {len(values)} values for {rank} spatial dimensions: give {count}"
                + (", all begins and then all ends" if what == "pads" else "")
            )
        if any(value < least for value in values):
            raise VerifyException(f"{what} {list(values)} has a value below {least}: use values of at least {least}")
    return tuple(
        window_extent(spatial[d], kernel[d], strides[d], pads[d], pads[rank + d], dilations[d], ceil)
        for d in range(rank)
    )


def conv_shape(
    input: Shape, filter: Shape, strides: Shape, pads: Shape, dilations: Shape, groups: int, channels_last: bool
) -> Shape:
    """Result of a convolution: input [N,C,*] and filter [K,C/g,*], or channels last [N,*,C] and [K,*,C/g]."""
    if len(input) < 3 or len(filter) != len(input):
        raise VerifyException(
            f"input of rank {len(input)} and filter of rank {len(filter)}: both need the same rank, 3 or more"
        )
    channels, taps = (-1, slice(1, -1)) if channels_last else (1, slice(2, None))
    if groups < 1 or input[channels] % groups or filter[0] % groups:
        raise VerifyException(
            f"groups {groups} must be at least 1 and divide {input[channels]} input and {filter[0]} output channels"
        )
    if filter[channels] != input[channels] // groups:
        raise VerifyException(
            f"the filter has {filter[channels]} channels per group, the input has {input[channels]} in {groups} groups: "
            f"the filter needs {input[channels] // groups}"
        )
    out = window_shape(input[taps], filter[taps], strides, pads, dilations)
    return (input[0], *out, filter[0]) if channels_last else (input[0], filter[0], *out)


def pool_shape(
    input: Shape, kernel: Shape, strides: Shape, pads: Shape, dilations: Shape, channels_last: bool, ceil: bool
) -> Shape:
    """Result of a pool over [N,C,*], or channels last [N,*,C]."""
    if len(input) < 3:
        raise VerifyException(f"input of rank {len(input)}: a pool needs rank 3 or more, batch and channels included")
    spatial = input[1:-1] if channels_last else input[2:]
    rank = len(spatial)
    out = window_shape(spatial, kernel, strides, pads, dilations, ceil)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if any(pads[d] >= spans[d] or pads[rank + d] >= spans[d] for d in range(rank)):
        raise VerifyException(
            f"pads {list(pads)} are as large as the window {spans}: a window would hold padding only; use smaller pads"
        )
    return (input[0], *out, input[-1]) if channels_last else (*input[:2], *out)


def matmul_shape(a: Shape, b: Shape, transpose_b: bool) -> Shape:
    """Result [B.., M, N] of [B.., M, K] times [K, N] or [B.., K, N]; the last two turned with `transpose_b`."""
    if len(a) < 2 or len(b) not in (2, len(a)):
        raise VerifyException(
            f"ranks {len(a)} and {len(b)}: the left operand needs rank 2 or more, the right one rank 2 or the same; reshape them first"
        )
    k, n = (b[-1], b[-2]) if transpose_b else b[-2:]
    if a[-1] != k:
        form = "[N, K]" if transpose_b else "[K, N]"
        raise VerifyException(
            f"the left operand's last extent {a[-1]} differs from K = {k} of the right operand {form}: they must agree"
        )
    if len(b) > 2 and a[:-2] != b[:-2]:
        raise VerifyException(
            f"the batch extents {list(a[:-2])} and {list(b[:-2])} differ: broadcast one of them first"
        )
    return (*a[:-1], n)


def broadcast_check(operand: Shape, dims: Shape, result: Shape) -> None:
    """Check that `operand` maps onto the dims `dims` of `result`: one per operand dim, increasing, of equal extent."""
    if len(dims) != len(operand):
        raise VerifyException(f"dims has {len(dims)} values for an operand of rank {len(operand)}: give {len(operand)}")
    if any(d < 0 or d >= len(result) for d in dims) or any(a >= b for a, b in pairwise(dims)):
        raise VerifyException(f"dims {list(dims)} must increase and lie in [0, {len(result)})")
    for position, dim in enumerate(dims):
        if operand[position] != result[dim]:
            raise VerifyException(
                f"operand dim {position} of extent {operand[position]} is mapped to result dim {dim} of extent {result[dim]}: "
                "they must be equal; reshape extents of 1 away first"
            )


def transpose_shape(operand: Shape, permutation: Shape) -> Shape:
    """Result of a transpose: result dim i is operand dim permutation[i]."""
    if sorted(permutation) != list(range(len(operand))):
        raise VerifyException(
            f"permutation {list(permutation)} must hold each of 0 to {len(operand) - 1} once"
            if operand
            else f"permutation {list(permutation)} must be empty for a scalar"
        )
    return tuple(operand[dim] for dim in permutation)


def reshape_check(operand: Shape, result: Shape) -> None:
    """Check that a reshape keeps the number of elements."""
    if prod(operand) != prod(result):
        raise VerifyException(
            f"{list(operand)} has {prod(operand)} elements, {list(result)} has {prod(result)}: a reshape keeps their number"
        )


def compose_permutations(first: Sequence[int], second: Sequence[int]) -> Shape:
    """The permutation of `first` followed by `second`."""
    return tuple(first[dim] for dim in second)


def inverse_permutation(permutation: Sequence[int]) -> Shape:
    """The permutation that undoes `permutation`."""
    return tuple(sorted(range(len(permutation)), key=lambda dim: permutation[dim]))
