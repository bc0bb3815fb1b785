"""Windows: an operand whose coordinates slide, found in the map of a generic and in the padding before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects import tensor
from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from stepwell.dialects.evaluate import literal
from stepwell.passes import PassFailure
from stepwell.transforms.linalg._roles import Slide, reduction_loops, slide_of

Loops = tuple[int, ...]
Number = FloatAttr | IntegerAttr


class Unclear(PassFailure):
    """An op of the body has no kind of stage, for this reason; the hint says what would give it one."""


@dataclass(frozen=True)
class WindowShape:
    """The geometry of a windowed access: slides in the order of the spatial dims, pads (begins, then ends), the
    padding's value."""

    slides: tuple[Slide, ...]
    pads: tuple[int, ...]
    fill: Number | None

    @property
    def trivial(self) -> bool:
        """Unit strides without padding (a 1x1 kernel with them is a plain matrix)."""
        return not any(self.pads) and all(slide.stride == 1 for slide in self.slides)


def constant_number(value: SSAValue) -> Number:
    """The number that a scalar is."""
    number = literal(value)
    if number is None:
        raise Unclear("a fill or pad with a computed value has no kernel")
    return number


def window_of(op: linalg.GenericOp, map: AffineMap, pad: tensor.PadOp | None) -> tuple[Loops, WindowShape]:
    """The loops of the view [images, pixels | taps | channels] and its geometry."""
    rank, reductions = len(map.results), reduction_loops(op)
    slides = [slide_of(expr, map.num_dims, reductions) for expr in map.results]
    spatial = [dim for dim, slide in enumerate(slides) if slide is not None]
    others = [expr.position for expr in map.results if isinstance(expr, AffineDimExpr)]
    if spatial != list(range(1, rank - 1)) or len(others) != 2:
        raise Unclear(
            f"the map {map} is not a window over [N, spatial.., C]", hint="run graph-assign-layout for channels last"
        )
    low = tuple(pad.static_low.get_values()) if pad is not None else (0,) * rank
    high = tuple(pad.static_high.get_values()) if pad is not None else (0,) * rank
    if any((low[0], high[0], low[-1], high[-1])):
        raise Unclear("images or channels are padded: only spatial dims of a window are")
    found = tuple(slide for slide in slides if slide is not None)
    fill = None
    if pad is not None and pad.region.block.last_op is not None:
        fill = constant_number(pad.region.block.last_op.operands[0])
    loops = (others[0], *(s.output for s in found), *(s.tap for s in found), others[1])
    return loops, WindowShape(found, (*low[1:-1], *high[1:-1]), fill)


def renumbered(window: WindowShape | None, number: Callable[[Sequence[int]], Loops]) -> WindowShape | None:
    """A window whose slides have other numbers of loops."""
    if window is None:
        return None
    slides = (replace(slide, output=number([slide.output])[0], tap=number([slide.tap])[0]) for slide in window.slides)
    return replace(window, slides=tuple(slides))
