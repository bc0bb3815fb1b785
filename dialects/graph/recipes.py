"""Recipe steps: what is done to a stored array before it is used. Each step has a type rule and an evaluation, both pure.

| step      | arguments            | result                                                                      |
|-----------|----------------------|-----------------------------------------------------------------------------|
| transpose | permutation          | result dim i is operand dim permutation[i]                                  |
| reshape   | shape                | the same elements in row-major order                                        |
| slice     | axis, begin, end     | elements begin to end-1 of the axis                                         |
| pad       | axis, to             | zeros at the end of the axis, up to the extent `to`                         |
| cast      | element type         | every element converted, rounded to nearest even                            |
| panels    | P                    | [N, ..., K] to [N/P, ..., K, P]: P rows side by side, K-major, for CPU tiles |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import shapes
from stepwell.dialects.numpy_types import Array, element_type_named, numpy_dtype

Argument = int | str
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """How one kind of step works: `infer(shape, element, arguments) -> (shape, element)` checks, `apply(array, arguments)` computes."""

    infer: Callable[[Shape, str, Sequence[Argument]], tuple[Shape, str]]
    apply: Callable[[Array, Sequence[Argument]], Array]


def _ints(kind: str, arguments: Sequence[Argument], count: int | None = None) -> Shape:
    values = tuple(value for value in arguments if isinstance(value, int))
    if len(values) != len(arguments) or (count is not None and len(values) != count):
        wanted = "integers" if count is None else f"{count} integer{'s' if count > 1 else ''}"
        raise VerifyException(f'step "{kind}" takes {wanted}, not {list(arguments)}')
    return values


def _axis(kind: str, axis: int, shape: Shape) -> int:
    if not 0 <= axis < len(shape):
        raise VerifyException(f'step "{kind}": axis {axis} must lie in [0, {len(shape)})')
    return axis


def _infer_transpose(shape: Shape, element: str, arguments: Sequence[Argument]) -> tuple[Shape, str]:
    return shapes.transpose_shape(shape, _ints("transpose", arguments)), element


def _infer_reshape(shape: Shape, element: str, arguments: Sequence[Argument]) -> tuple[Shape, str]:
    result = _ints("reshape", arguments)
    shapes.reshape_check(shape, result)
    return result, element


def _infer_slice(shape: Shape, element: str, arguments: Sequence[Argument]) -> tuple[Shape, str]:
    axis, begin, end = _ints("slice", arguments, 3)
    _axis("slice", axis, shape)
    if not 0 <= begin <= end <= shape[axis]:
        raise VerifyException(f'step "slice": [{begin}, {end}) must lie in the extent {shape[axis]} of axis {axis}')
    return (*shape[:axis], end - begin, *shape[axis + 1 :]), element


def _infer_pad(shape: Shape, element: str, arguments: Sequence[Argument]) -> tuple[Shape, str]:
    axis, to = _ints("pad", arguments, 2)
    if to < shape[_axis("pad", axis, shape)]:
        raise VerifyException(
            f'step "pad": {to} is below the extent {shape[axis]} of axis {axis}: pad to at least that'
        )
    return (*shape[:axis], to, *shape[axis + 1 :]), element


def _infer_cast(shape: Shape, element: str, arguments: Sequence[Argument]) -> tuple[Shape, str]:
    if len(arguments) != 1 or not isinstance(arguments[0], str):
        raise VerifyException(f'step "cast" takes one element type, not {list(arguments)}')
    try:
        element_type_named(arguments[0])
    except ValueError as error:
        raise VerifyException(f'step "cast": {error}') from None
    return shape, arguments[0]


def _infer_panels(shape: Shape, element: str, arguments: Sequence[Argument]) -> tuple[Shape, str]:
    (panel,) = _ints("panels", arguments, 1)
    if len(shape) < 2 or panel < 1 or shape[0] % panel:
        raise VerifyException(f'step "panels": {panel} must divide the first extent of {list(shape)}: pad it first')
    return (shape[0] // panel, *shape[1:], panel), element


def _apply_slice(array: Array, arguments: Sequence[Argument]) -> Array:
    axis, begin, end = _ints("slice", arguments, 3)
    return array[(slice(None),) * axis + (slice(begin, end),)]


def _apply_pad(array: Array, arguments: Sequence[Argument]) -> Array:
    axis, to = _ints("pad", arguments, 2)
    widths = [(0, to - extent if dim == axis else 0) for dim, extent in enumerate(array.shape)]
    return np.pad(array, widths)


def _apply_cast(array: Array, arguments: Sequence[Argument]) -> Array:
    with np.errstate(over="ignore"):
        return array.astype(numpy_dtype(element_type_named(str(arguments[0]))))


def _apply_panels(array: Array, arguments: Sequence[Argument]) -> Array:
    (panel,) = _ints("panels", arguments, 1)
    split = array.reshape(array.shape[0] // panel, panel, *array.shape[1:])
    return np.moveaxis(split, 1, -1)


STEPS: dict[str, Step] = {
    "transpose": Step(_infer_transpose, lambda array, perm: array.transpose(_ints("transpose", perm))),
    "reshape": Step(_infer_reshape, lambda array, shape: array.reshape(_ints("reshape", shape))),
    "slice": Step(_infer_slice, _apply_slice),
    "pad": Step(_infer_pad, _apply_pad),
    "cast": Step(_infer_cast, _apply_cast),
    "panels": Step(_infer_panels, _apply_panels),
}
"""Every kind of step."""


def step_named(kind: str) -> Step:
    """The step of that kind; VerifyException with the known kinds otherwise."""
    if kind not in STEPS:
        raise VerifyException(f'unknown recipe step "{kind}": known are {", ".join(STEPS)}')
    return STEPS[kind]
