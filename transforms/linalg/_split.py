"""A fusion that no family of schedules takes whole is cut into several, each of which becomes a kernel of its own.

Ops are dealt out in order: each joins the part that makes what it reads where some family takes both together, and starts a new part elsewhere.
What stays without a family is computed by loops, alone. The parts are taken where they are estimated faster than loops over the whole fusion, and
always where a reduction reads another one: loops would compute the inner sum again for every step of the outer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.builder import Builder
from xdsl.dialects import tensor
from xdsl.dialects.builtin import TensorType
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import element_bytes
from stepwell.runtime.program import MAX_BYTES
from stepwell.transforms.linalg._body import Body
from stepwell.transforms.linalg._roles import reduction_loops
from stepwell.transforms.linalg._stages import stages_of
from stepwell.transforms.linalg.families.base import Setting
from stepwell.transforms.linalg.families.table import LAST, Answer, answer
from stepwell.transforms.tensors import shape_of

MOST_WORK = 64
"""Ops of a fusion that is cut: asking the families about each prefix takes time, and no pass makes larger ones without a family."""
ELEMENTS_LIMIT = 2**31
"""Elements of a tensor between two kernels: those of sm_90a index with 32 bits."""


@dataclass(frozen=True)
class Part:
    """Some ops of a fusion, the family that takes them and its estimate."""

    ops: tuple[Operation, ...]
    family: str
    estimate_ns: float

    @property
    def by_loops(self) -> bool:
        """Whether no family takes them."""
        return self.family == LAST.name


def parts_of(whole: Answer, setting: Setting) -> tuple[Part, ...]:
    """The parts that a fusion is cut into; none where it stays whole."""
    body = Body(whole.stages.fusion)
    if whole.chosen.family != LAST.name or not 1 < len(body.work) <= MOST_WORK or not _can_be_cut(body):
        return ()
    parts = _dealt(body, setting)
    if len(parts) < 2 or not _is_better(parts, whole, body):
        return ()
    return tuple(parts)


def _can_be_cut(body: Body) -> bool:
    """Whether every result is made by an op, and all tensors inside have elements, and as few as a kernel indexes."""
    made = {result for op in body.work for result in op.results}
    shapes = [
        (shape_of(value), element_bytes(value.type.element_type))
        for value in made
        if isinstance(value.type, TensorType)
    ]
    fits = all(0 < prod(shape) < ELEMENTS_LIMIT and prod(shape) * size <= MAX_BYTES for shape, size in shapes)
    return fits and len(shapes) == len(made) and all(body.makes(value) for value in body.results)


def _dealt(body: Body, setting: Setting) -> list[Part]:
    parts: list[Part] = []
    where: dict[Operation, int] = {}
    for op in body.work:
        last = max((where[source] for source in body.sources(op)), default=-1)
        joined = _joined(body, parts[last], op, setting) if last >= 0 else None
        if joined is not None:
            parts[last] = joined
            where[op] = last
            continue
        where[op] = len(parts)
        parts.append(_part(body, (op,), setting))
    return [_part(body, part.ops, setting) for part in parts]


def _joined(body: Body, part: Part, op: Operation, setting: Setting) -> Part | None:
    """A part with one op more; None where no family takes them together, or, of a part that loops compute, where loops would repeat work."""
    found = _part(body, (*part.ops, op), setting)
    if not found.by_loops:
        return found
    return found if part.by_loops and _is_epilogue(part.ops[-1], op) else None


def _is_epilogue(before: Operation, op: Operation) -> bool:
    """Whether loops compute `op` for an element from the same element of `before`."""
    if not isinstance(op, linalg.GenericOp) or reduction_loops(op) or len(before.results) != 1:
        return False
    return shape_of(op.results[0]) == shape_of(before.results[0])


def _part(body: Body, ops: Sequence[Operation], setting: Setting) -> Part:
    """What the families say of some ops, as a fusion whose other operands come from memory."""
    work = [result for op in body.work if op not in ops for result in op.results]
    placeholders = {value: tensor.EmptyOp((), value.type) for value in work if isinstance(value.type, TensorType)}
    fusion = body.fusion_of(ops, {value: op.results[0] for value, op in placeholders.items()}, "part")
    chosen = answer(stages_of(fusion), setting).chosen
    fusion.erase()
    return Part(tuple(ops), chosen.family, chosen.estimate_ns)


def _is_better(parts: Sequence[Part], whole: Answer, body: Body) -> bool:
    if any(_is_reduction(op) and _behind_reduction(body, op) for op in body.work):
        return True
    return sum(part.estimate_ns for part in parts) < whole.chosen.estimate_ns


def _is_reduction(op: Operation) -> bool:
    return isinstance(op, linalg.GenericOp) and bool(reduction_loops(op))


def _behind_reduction(body: Body, op: Operation) -> bool:
    """Whether a reduction of the same fusion is read by `op`, at once or through other ops."""
    waiting, seen = body.sources(op), set[Operation]()
    while waiting:
        source = waiting.pop()
        if _is_reduction(source):
            return True
        if source not in seen:
            seen.add(source)
            waiting += body.sources(source)
    return False


def split(fusion: graph.FusionOp, parts: Sequence[Part], names: Sequence[str]) -> list[graph.FusionOp]:
    """Replace a fusion by one for each part, in order."""
    body = Body(fusion)
    build = Builder(InsertPoint.before(fusion))
    values: dict[SSAValue, SSAValue] = {}
    made = []
    for part, name in zip(parts, names, strict=True):
        outputs = body.outputs(part.ops)
        one = build.insert(body.fusion_of(part.ops, values, name))
        values |= zip(outputs, one.outputs, strict=True)
        made.append(one)
    for result, value in zip(fusion.outputs, body.results, strict=True):
        values[value].name_hint = result.name_hint
        result.replace_all_uses_with(values[value])
    fusion.detach()
    fusion.erase()
    return made
