"""From the body of a fusion to its stages: each op in order, with the loops that its dims share with those of others.

First every loop of an op and every dim of a value has a label; reading a value unites the labels of its dims with those of the loops. A fusion's
argument may be read along different loops, so each reading has labels of its own; they are united afterwards where nothing forbids it. Then
classes of labels are numbered, the loops of the first reduction (else the first result's dims) in front, and stages are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import TensorType
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.ir.affine import AffineMap

from stepwell.dialects import graph
from stepwell.dialects.linalg_interpreter import loop_extents
from stepwell.transforms.linalg._labels import Labels
from stepwell.transforms.linalg._maps import (
    is_copy,
    is_data,
    plain_loops,
    tensors_read,
    through_reshapes,
    uses_positions,
)
from stepwell.transforms.linalg._roles import contraction_roles, reduction_loops
from stepwell.transforms.linalg._windows import Loops, Number, Unclear, WindowShape, constant_number, window_of
from stepwell.transforms.tensors import shape_of

SILENT = (arith.ConstantOp, tensor.EmptyOp, tensor.PadOp, linalg.FillOp, graph.YieldOp)
"""Ops that are no steps: what they are is asked where they are read."""


@dataclass(eq=False)
class Step:
    """One op that computes: what it reads, the labels of its loops (by number) and why it has no kind of its own."""

    op: Operation
    reads: list[Read] = field(default_factory=list)
    loops: Loops = ()
    init: Number | None = None
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Read:
    """A value as it is read. `source`: an argument of the fusion, in `shape` and with these labels of its dims; a number; or a step, whose
    result's dims have these labels. `dims`: labels of what is read, more than `labels` where the source is repeated. `window`: the view
    through which it is read, whose dims `labels` are then (of a step: `dims` are its own)."""

    source: BlockArgument | Number | Step
    labels: Loops
    dims: Loops
    shape: tuple[int, ...] = ()
    window: WindowShape | None = None


class Labelling:
    """The steps of a fusion's body and the classes of their labels."""

    def __init__(self, fusion: graph.FusionOp) -> None:
        self.labels = Labels()
        self.steps: list[Step] = []
        self.loads: list[Read] = []
        self._known: dict[SSAValue, Read] = {}
        for op in fusion.body.block.ops:
            if isinstance(op, linalg.GenericOp):
                self._generic(op)
            elif not isinstance(op, (*SILENT, tensor.ExpandShapeOp, tensor.CollapseShapeOp)):
                self._opaque(op, f"{op.name} has no form in stages of a kernel")
        self.results = [self.read(through_reshapes(value)) for value in fusion.terminator.values]
        self._unite_uses()

    # --- values

    def read(self, value: SSAValue) -> Read:
        """One reading of a value."""
        if value in self._known:
            return self._known[value]
        base = through_reshapes(value)
        if isinstance(base, BlockArgument):
            return self._load(base, value)
        if isinstance(base.owner, linalg.FillOp):
            return self._fill(base.owner, value)
        if base is not value:
            self._known[value] = self._reshaped(self.read(base), base, value)
        elif isinstance(base.owner, SILENT):
            self._opaque(base.owner, f"{base.owner.name} stands alone: a kernel pads windows and holds single numbers")
        return self._known[value]

    def _load(self, base: BlockArgument, value: SSAValue) -> Read:
        labels = self.labels.new(shape_of(value))
        self.loads.append(Read(base, labels, labels, shape_of(value)))
        return self.loads[-1]

    def _fill(self, op: linalg.FillOp, value: SSAValue) -> Read:
        try:
            return Read(constant_number(op.inputs[0]), (), self.labels.new(shape_of(value)))
        except Unclear as unclear:
            self._opaque(op, unclear.message, unclear.hint)
            return self.read(value)

    def _reshaped(self, read: Read, base: SSAValue, value: SSAValue) -> Read:
        """A reshape that only adds and drops dims of extent 1; anything else is an op without a kind."""
        long = [label for label, extent in zip(read.dims, shape_of(base), strict=True) if extent != 1]
        if [e for e in shape_of(base) if e != 1] != [e for e in shape_of(value) if e != 1]:
            assert isinstance(value.owner, Operation)
            self._opaque(value.owner, "a computed value is reshaped inside of the fusion")
            return self._known[value]
        dims = tuple(long.pop(0) if extent != 1 else self.labels.new((1,))[0] for extent in shape_of(value))
        return Read(read.source, read.labels, dims, read.shape, read.window)

    # --- ops

    def _opaque(self, op: Operation, reason: str, hint: str = "") -> None:
        """An op without a kind: its results have labels of their own."""
        step = Step(op, reason=reason, hint=hint)
        step.reads = [self.read(value) for value in tensors_read(op)]
        self.steps.append(step)
        for result in op.results:
            labels = self.labels.new(shape_of(result)) if isinstance(result.type, TensorType) else ()
            self._known[result] = Read(step, labels, labels)

    def _generic(self, op: linalg.GenericOp) -> None:
        try:
            read = self._read_generic(op)
        except Unclear as unclear:
            return self._opaque(op, unclear.message, unclear.hint)
        self._known[op.results[0]] = read
        return None

    def _read_generic(self, op: linalg.GenericOp) -> Read:
        """The reading of a generic's result; the step is entered unless it only repeats or reorders."""
        *maps, to = (attr.data for attr in op.indexing_maps)
        if len(op.outputs) != 1:
            raise Unclear("an op with several results has no kernel")
        out = plain_loops(to)
        if out is None:
            raise Unclear(f"the map {to} of the result is no permutation of loops")
        if uses_positions(op) and (reduction_loops(op) or _extracts(op)):
            raise Unclear("the body needs the position of its element")
        _refuse_groups(op)
        init = _initial(op) if reduction_loops(op) else None
        loops = self.labels.new(loop_extents(op), apart=True)
        inputs = [(value, map) for value, map in zip(op.inputs, maps, strict=True) if is_data(value)]
        reads = [self._operand(op, value, map, loops) for value, map in inputs]
        dims = tuple(loops[loop] for loop in out)
        if is_copy(op) and reads and reads[0].window is None:
            return Read(reads[0].source, reads[0].labels, dims, reads[0].shape)
        self.steps.append(Step(op, reads, loops, init))
        return Read(self.steps[-1], dims, dims)

    def _operand(self, op: linalg.GenericOp, value: SSAValue, map: AffineMap, loops: Loops) -> Read:
        pad = value.owner if isinstance(value.owner, tensor.PadOp) else None
        plain = plain_loops(map)
        if plain is not None and pad is None:
            read = self.read(value)
            if not self.labels.unite(read.dims, [loops[loop] for loop in plain]):
                raise Unclear("a value is read along two sets of loops")
            return read
        numbers, window = window_of(op, map, pad)
        source = pad.source if pad is not None else value
        if source in self._known and not isinstance(self._known[source].source, Step):
            raise Unclear("a window slides over a tensor that is repeated or reordered in the same fusion")
        read, labels = self.read(source), tuple(loops[number] for number in numbers)
        self.labels.unite((read.dims[0], read.dims[-1]), (labels[0], labels[-1]))
        if read in self.loads:
            self.loads.remove(read)
        return Read(read.source, labels, read.dims, read.shape, window)

    # --- readings of one argument

    def _unite_uses(self) -> None:
        """Unite the dims of results of one shape, and those of two readings of one argument, wherever no loops of one op meet."""
        for first, second in combinations(self.results, 2):
            if self._extents(first) == self._extents(second):
                self.labels.unite(first.dims, second.dims)
        for first, second in combinations(self.loads, 2):
            if first.source is second.source and first.shape == second.shape:
                self.labels.unite(first.labels, second.labels)

    def _extents(self, read: Read) -> list[int]:
        return [self.labels.extents[label] for label in read.dims]

    def result_labels(self, step: Step) -> Loops:
        """The labels of the dims of a step's first result."""
        return self._known[step.op.results[0]].dims

    def numbering(self) -> tuple[Callable[[Sequence[int]], Loops], tuple[int, ...]]:
        """The number of each label's class, and the extent of each number."""
        order = dict.fromkeys(self.labels.find(label) for label in self._all())
        numbers = {label: number for number, label in enumerate(order)}
        extents = tuple(self.labels.extents[label] for label in order)
        return lambda labels: tuple(numbers[self.labels.find(label)] for label in labels), extents

    def _all(self) -> Iterator[int]:
        """Labels in the order of their numbers: of the first reduction, of the results, then all others."""
        first = next((step for step in self.steps if step.init is not None), None)
        yield from first.loops if first is not None else ()
        for result in self.results:
            yield from result.dims
        yield from range(len(self.labels.extents))


def _extracts(op: linalg.GenericOp) -> bool:
    return any(isinstance(inner, tensor.ExtractOp) for inner in op.body.block.ops)


def _refuse_groups(op: linalg.GenericOp) -> None:
    roles = contraction_roles(op) if reduction_loops(op) else None
    if roles is not None and roles.batch and roles.window and (roles.n or roles.k):
        raise Unclear("a grouped convolution has no kernel: only groups of one channel (depthwise) have")


def _initial(op: linalg.GenericOp) -> Number:
    fill = op.outputs[0].owner
    if not isinstance(fill, linalg.FillOp):
        raise Unclear("the reduction does not start from a linalg.fill")
    return constant_number(fill.inputs[0])
