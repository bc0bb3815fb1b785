"""TensorFlow's StridedSlice: Python's slices, with masks that say which parts are there."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Node, Values, needs


@dataclass
class _Cut:
    """What a specification comes to: a range of each dim, which dims run backwards, and the shape at the end."""

    begins: list[int] = field(default_factory=list)
    extents: list[int] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)
    backwards: list[int] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)

    def add(self, extent: int, chosen: slice, kept: bool = True) -> None:
        """The next dim of the operand: the elements that `chosen` picks."""
        picked = range(extent)[chosen]
        low = min(picked[0], picked[-1]) if picked else 0
        if picked and picked.step < 0:
            self.backwards.append(len(self.begins))
        self.begins.append(low)
        self.extents.append(len(picked))
        self.strides.append(abs(picked.step) if len(picked) > 1 else 1)
        if kept:
            self.shape.append(len(picked))


def strided_slice(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """StridedSlice with begin, end, ellipsis, new axis and shrink axis masks."""
    needs(inputs, 4)
    x = inputs[0]
    begin, end, steps = (build.integers(value, "a bound") for value in inputs[1:])
    if not len(begin) == len(end) == len(steps) or 0 in steps:
        raise Unsupported(f"begin {list(begin)}, end {list(end)} and strides {list(steps)} do not fit each other")
    found = _cut(node, shape_of(x), list(zip(begin, end, steps, strict=True)))
    if (found.begins, found.extents) != ([0] * len(shape_of(x)), list(shape_of(x))):
        x = build.emit(graph.SliceOp(x, begins=found.begins, extents=found.extents, strides=found.strides))
    if found.backwards:
        x = build.emit(graph.ReverseOp(x, dims=found.backwards))
    return [build.reshape(x, found.shape)]


def _cut(node: Node, extents: tuple[int, ...], bounds: list[tuple[int, int, int]]) -> _Cut:
    masks = {name: node.integer(f"{name}_mask", 0) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}

    def marked(name: str, bit: int) -> bool:
        return bool(masks[name] >> bit & 1)

    ellipsis = [n for n in range(len(bounds)) if marked("ellipsis", n)]
    used = sum(1 for n in range(len(bounds)) if n not in ellipsis and not marked("new_axis", n))
    if len(ellipsis) > 1 or used > len(extents):
        raise Unsupported(f"{used} bounds do not fit rank {len(extents)}")
    found, free = _Cut(), len(extents) - used
    for n, (begin, end, step) in enumerate(bounds):
        dim = len(found.begins)
        if n in ellipsis:
            for extent in extents[dim : dim + free]:
                found.add(extent, slice(None))
        elif marked("new_axis", n):
            found.shape.append(1)
        elif marked("shrink_axis", n):
            if not -extents[dim] <= begin < extents[dim]:
                raise Unsupported(f"index {begin} is outside of extent {extents[dim]}")
            at = begin % extents[dim]
            found.add(extents[dim], slice(at, at + 1), kept=False)
        else:
            start = None if marked("begin", n) else begin
            found.add(extents[dim], slice(start, None if marked("end", n) else end, step))
    for extent in extents[len(found.begins) :]:
        found.add(extent, slice(None))
    return found
