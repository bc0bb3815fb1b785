"""What a fusion with reductions over one set of loops computes, seen as one kernel: reductions one after the other, elementwise work before,
between and behind them, several results with or without the reduced dims. Softmax, normalisation, sums, positions of extremes.

All generics of such a fusion run over one space of loops: dims of tensors that a map makes the same are one loop. A *full* value runs along
reduced loops too, a *row* value does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from xdsl.dialects import arith, tensor
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr

from stepwell.dialects import graph
from stepwell.dialects.linalg_interpreter import is_multiply_add
from stepwell.transforms.linalg._kinds import Access
from stepwell.transforms.linalg._maps import through_reshapes
from stepwell.transforms.linalg._roles import reduction_loops
from stepwell.transforms.linalg._structure import cut, merge_loops, refuse
from stepwell.transforms.linalg._windows import Loops, constant_number
from stepwell.transforms.tensors import shape_of

FOLDS: dict[type[Operation], str] = {
    arith.AddfOp: "add",
    arith.AddiOp: "add",
    arith.MulfOp: "mul",
    arith.MuliOp: "mul",
    arith.MaximumfOp: "max",
    arith.MaxSIOp: "max",
    arith.MinimumfOp: "min",
    arith.MinSIOp: "min",
    arith.AndIOp: "and",
    arith.OrIOp: "or",
}
"""Last scalar op of a reduction -> how partial results are folded."""


_Dim = tuple[SSAValue | Operation, int]
"""A dim of a value, or a loop of a generic."""


@dataclass(frozen=True)
class Rows:
    """One fusion as reductions along rows. `loops`: of each dim of a value (loops of one element are left out), `generic_loops`: of each loop of
    a generic (None for those); `extents`: per loop;
    `reduced`: the loops that reductions run over; `generics`: what is computed, in order; `leaves`: what is read; `results`: one value per
    result of the fusion; `groups`: all loops in the order of memory, cut where an access takes them apart."""

    fusion: graph.FusionOp
    loops: dict[SSAValue, Loops]
    generic_loops: dict[linalg.GenericOp, tuple[int | None, ...]]
    extents: tuple[int, ...]
    reduced: frozenset[int]
    generics: tuple[linalg.GenericOp, ...]
    leaves: dict[SSAValue, Access]
    results: tuple[SSAValue, ...]
    groups: tuple[Loops, ...]

    def extent(self, loops: Sequence[int]) -> int:
        """The product of the extents of some loops."""
        return prod(self.extents[loop] for loop in loops)

    def is_full(self, value: SSAValue) -> bool:
        """Whether a value runs along reduced loops."""
        return bool(self.reduced & set(self.loops[value]))

    def is_reduced(self, group: Loops) -> bool:
        """Whether a group is of reduced loops."""
        return bool(self.reduced & set(group))

    def depth(self, value: SSAValue) -> int:
        """How many reductions follow each other before the value is known."""
        if not isinstance(value.owner, linalg.GenericOp):
            return 0
        inputs = [self.depth(operand) for operand in value.owner.inputs]
        return max(inputs, default=0) + bool(reduction_loops(value.owner))


def fold_of(op: linalg.GenericOp) -> str:
    """How the partial results of a reduction are folded; a refusal where its body is no such fold."""
    last = op.body.block.last_op
    assert last is not None
    made, total = last.operands[0].owner, op.body.block.args[-1]
    if type(made) not in FOLDS or total not in made.operands or total.uses.get_length() != 1:  # type: ignore[union-attr]
        raise refuse(op, "the body of a reduction does not end in a fold of what it has so far and one more")
    return FOLDS[type(made)]  # type: ignore[index]


def rows_of(fusion: graph.FusionOp) -> Rows:
    """Analyse a fusion; PassFailure with the reason where it is no such kernel."""
    results = tuple(through_reshapes(value) for value in fusion.terminator.values)
    generics = tuple(_reachable(fusion, results))
    if not any(reduction_loops(op) for op in generics):
        raise refuse(fusion, "nothing is reduced")
    for op in generics:
        _check(op)
    space = _Space(generics)
    values = dict.fromkeys([*(value for op in generics for value in (*op.inputs, op.res[0])), *results])
    loops = {
        value: tuple(loop for loop in space.loops(value, len(shape_of(value))) if loop is not None) for value in values
    }
    of_generics = {op: space.loops(op, len(op.iterator_types)) for op in generics}
    found = [{of_generics[op][loop] for loop in reduction_loops(op)} - {None} for op in generics if reduction_loops(op)]
    reduced = frozenset(loop for loop in found[0] if loop is not None)
    if any(other != found[0] for other in found) or not reduced:
        raise refuse(fusion, "its reductions run over different dims, or over dims of one element alone")
    bases = {value: through_reshapes(value) for value in values}
    leaves = {v: Access(base, shape_of(v), loops[v]) for v, base in bases.items() if isinstance(base, BlockArgument)}
    rows = Rows(fusion, loops, of_generics, tuple(space.extents), reduced, generics, leaves, results, ())
    _check_values(rows)
    return replace(rows, groups=_groups(rows))


def _reachable(fusion: graph.FusionOp, results: Sequence[SSAValue]) -> Iterator[linalg.GenericOp]:
    """The generics that the results need, in order; other ops are fills, destinations and views of arguments."""
    needed = set(results)
    for op in reversed(list(fusion.body.block.ops)):
        if any(result in needed for result in op.results) and isinstance(op, linalg.GenericOp):
            needed |= {*op.inputs, *op.outputs}
    for op in fusion.body.block.ops:
        if isinstance(op, linalg.GenericOp) and any(result in needed for result in op.results):
            yield op


def _check(op: linalg.GenericOp) -> None:
    """Raise where a generic is none that rows are made of."""
    if len(op.outputs) != 1:
        raise refuse(op, "a generic with several results")
    if reduction_loops(op) and len(op.inputs) > 1 and is_multiply_add(op):
        raise refuse(op, "a product of two operands")
    for attr in op.indexing_maps:
        at = [expr.position for expr in attr.data.results if isinstance(expr, AffineDimExpr)]
        if len(at) != len(attr.data.results) or len(set(at)) != len(at):
            raise refuse(op, f"the map {attr.data} is no projection of the loops")
    for value in op.inputs:
        if isinstance(value.owner, tensor.EmptyOp | tensor.PadOp):
            raise refuse(op, "it slides a window")
        if not isinstance(through_reshapes(value), BlockArgument) and not isinstance(
            value.owner, linalg.GenericOp | linalg.FillOp
        ):
            raise refuse(op, "an operand is a reshape of what the fusion computes, or no structured op")
    if reduction_loops(op):
        fold_of(op)
        if not isinstance(op.outputs[0].owner, linalg.FillOp):
            raise refuse(op, "the reduction does not start from a linalg.fill")
        constant_number(op.outputs[0].owner.inputs[0])
    elif op.body.block.args[-1].uses.get_length():
        raise refuse(op, "an elementwise body reads its destination")


class _Space:
    """Which dims of which values are one loop of the fusion: sets that the maps of its generics join."""

    def __init__(self, generics: Sequence[linalg.GenericOp]) -> None:
        self.parent: dict[_Dim, _Dim] = {}
        self.extent: dict[_Dim, int] = {}
        self.numbers: dict[_Dim, int] = {}
        self.extents: list[int] = []
        for op in generics:
            for value, attr in zip([*op.inputs, op.res[0]], op.indexing_maps, strict=True):
                for dim, expr in enumerate(attr.data.results):
                    assert isinstance(expr, AffineDimExpr)
                    joined = self.find((op, expr.position))
                    self.parent[self.find((value, dim))] = joined
                    self.extent[joined] = shape_of(value)[dim]

    def find(self, key: _Dim) -> _Dim:
        """The set that a dim of a value, or a loop of a generic, is in."""
        while self.parent.setdefault(key, key) != key:
            key = self.parent[key]
        return key

    def loops(self, owner: SSAValue | Operation, count: int) -> tuple[int | None, ...]:
        """The number of each dim's loop; None for one of a single element."""
        return tuple(self._number((owner, dim)) for dim in range(count))

    def _number(self, key: _Dim) -> int | None:
        key = self.find(key)
        if self.extent.get(key, 1) == 1:
            return None
        if key not in self.numbers:
            self.numbers[key] = len(self.numbers)
            self.extents.append(self.extent[key])
        return self.numbers[key]


def _check_values(rows: Rows) -> None:
    """Raise where a value runs along some of the kept loops only though it was reduced or is a result, or along one loop twice."""
    kept = frozenset(range(len(rows.extents))) - rows.reduced
    for value, loops in rows.loops.items():
        if len(set(loops)) != len(loops):
            raise refuse(rows.fusion, "a value runs along one loop twice")
        computed = isinstance(value.owner, linalg.GenericOp) and reduction_loops(value.owner)
        if (computed or value in rows.results) and not kept <= set(loops):
            raise refuse(rows.fusion, "a result of a reduction, or of the kernel, lacks dims that are not reduced")
        if value in rows.results and rows.reduced & set(loops) and not rows.reduced <= set(loops):
            raise refuse(rows.fusion, "a result has some of the reduced dims only")
        if value in rows.results and value in rows.leaves:
            raise refuse(rows.fusion, "a result is an operand as it is")


def _groups(rows: Rows) -> tuple[Loops, ...]:
    """All loops in the order in which a full result, or else a full operand, lies in memory, cut into groups; kept and reduced loops apart, and
    alone those that a body counts."""
    count = len(rows.extents)
    values = [*(value for value in rows.results if len(rows.loops[value]) == count), *rows.leaves]
    order = next((rows.loops[value] for value in values if len(rows.loops[value]) == count), None)
    if order is None:
        raise refuse(rows.fusion, "no operand and no result runs along all loops")
    accesses = [*(access.loops for access in rows.leaves.values()), *(rows.loops[value] for value in rows.results)]
    apart = [
        tuple(loop for loop in order if loop in rows.reduced),
        tuple(loop for loop in order if loop not in rows.reduced),
    ]
    groups = merge_loops(order, [order, *accesses, *apart, *((loop,) for loop in _counted(rows))], keep_last=False)
    for access in rows.leaves.values():
        if cut(access.loops, groups) is None:
            raise refuse(rows.fusion, "an operand has its dims in another order than the kernel")
    if any(cut(rows.loops[value], groups) is None for value in rows.results):
        raise refuse(rows.fusion, "results have their dims in different orders")
    return groups


def _counted(rows: Rows) -> Iterator[int]:
    """The loops whose index a body reads."""
    for op in rows.generics:
        for inner in op.body.block.ops:
            if isinstance(inner, linalg.IndexOp):
                loop = rows.generic_loops[op][inner.dim.value.data]
                if loop is not None:
                    yield loop
