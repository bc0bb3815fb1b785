"""Roles of the loops of a linalg.generic, inferred from its maps: GEMM, batched GEMM and implicit-GEMM convolution
differ in nothing else.

A loop is *batch* when both factors and the result mention it, *m* when the left factor and the result do, *n* when the
right factor and the result do, *k* when both factors do and the result does not. A *window* loop is a reduction whose
coordinate is added to that of an m loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.linalg import ops as linalg
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap

from stepwell.dialects.linalg_interpreter import linear_coefficients


@dataclass(frozen=True)
class Roles:
    """Loops by role, each in loop order."""

    batch: tuple[int, ...] = ()
    m: tuple[int, ...] = ()
    n: tuple[int, ...] = ()
    k: tuple[int, ...] = ()
    window: tuple[int, ...] = ()


@dataclass(frozen=True)
class Slide:
    """One windowed coordinate: output loop * stride + tap loop * dilation."""

    output: int
    tap: int
    stride: int
    dilation: int


def slide_of(expr: AffineExpr, loops: int, reductions: Sequence[int]) -> Slide | None:
    """The window that a coordinate slides, or None for a single loop or anything else."""
    if isinstance(expr, AffineDimExpr):
        return None
    factors, base = linear_coefficients(expr, loops)
    used = [loop for loop, factor in enumerate(factors) if factor]
    taps = [loop for loop in used if loop in reductions]
    outputs = [loop for loop in used if loop not in reductions]
    if base or len(taps) != 1 or len(outputs) != 1:
        return None
    return Slide(outputs[0], taps[0], factors[outputs[0]], factors[taps[0]])


def reduction_loops(op: linalg.GenericOp) -> tuple[int, ...]:
    """The loops that are reductions."""
    return tuple(loop for loop, kind in enumerate(op.iterator_types) if kind.data.value == "reduction")


def _mentioned(map: AffineMap) -> set[int]:
    return {loop for expr in map.results for loop in expr.used_dims()}


def contraction_roles(op: linalg.GenericOp) -> Roles | None:
    """Roles of the loops of a generic with two inputs; None when a loop has no role (a sum over one factor only, for
    instance)."""
    if len(op.inputs) != 2 or len(op.outputs) != 1:
        return None
    a, b, out = (attr.data for attr in op.indexing_maps)
    loops, reductions = a.num_dims, reduction_loops(op)
    slides = [slide_of(expr, loops, reductions) for expr in a.results]
    window = {slide.tap for slide in slides if slide is not None}
    in_a, in_b, in_out = _mentioned(a), _mentioned(b), _mentioned(out)
    found: dict[str, list[int]] = {"batch": [], "m": [], "n": [], "k": [], "window": []}
    for loop in range(loops):
        where = (loop in in_a, loop in in_b, loop in in_out)
        role = "window" if loop in window else _ROLE.get(where)
        if role is None:
            return None
        found[role].append(loop)
    return Roles(**{role: tuple(loops) for role, loops in found.items()})


_ROLE = {
    (True, True, True): "batch",
    (True, False, True): "m",
    (False, True, True): "n",
    (True, True, False): "k",
}
