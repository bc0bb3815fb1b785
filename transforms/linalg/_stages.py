"""What families of schedules are asked about: a fusion as a graph of stages, and as one root with an epilogue where it has that form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import BlockArgument

from stepwell.dialects import graph
from stepwell.dialects.linalg_interpreter import is_multiply_add
from stepwell.passes import PassFailure
from stepwell.transforms.linalg._analysis import Labelling, Read, Step
from stepwell.transforms.linalg._kinds import (
    Access,
    Constant,
    Contract,
    Load,
    Map,
    Opaque,
    Reduce,
    Stage,
    Store,
    WindowRead,
    inputs_of,
)
from stepwell.transforms.linalg._maps import uses_positions
from stepwell.transforms.linalg._roles import Roles, contraction_roles, reduction_loops
from stepwell.transforms.linalg._structure import Structure, single_root
from stepwell.transforms.linalg._windows import Loops, renumbered


@dataclass(frozen=True)
class Stages:
    """One fusion. `order`: its stages, each behind those that it reads; `stores`: one for each result; `extents`: of the loops, by number.
    `structure`: one root and the elementwise work behind it, where it has that form; else `refusal` says why not, with a `hint`."""

    fusion: graph.FusionOp
    order: tuple[Stage, ...]
    stores: tuple[Store, ...]
    extents: tuple[int, ...]
    structure: Structure | None = None
    refusal: str = ""
    hint: str = ""

    @property
    def single(self) -> Structure:
        """The structure; a PassFailure where there is none."""
        if self.structure is None:
            raise PassFailure(self.refusal, hint=self.hint)
        return self.structure


def stages_of(fusion: graph.FusionOp) -> Stages:
    """Analyse a fusion."""
    stages = _Maker(fusion).run()
    try:
        return replace(stages, structure=single_root(fusion, stages.order, stages.stores, stages.extents))
    except PassFailure as failure:
        return replace(stages, refusal=failure.message, hint=failure.hint)


def structure_of(fusion: graph.FusionOp) -> Structure:
    """The one root of a fusion; PassFailure with the reason when it is not one kernel of that form."""
    stages = _Maker(fusion).run()
    return single_root(fusion, stages.order, stages.stores, stages.extents)


class _Maker:
    """Makes the stages of labelled steps."""

    def __init__(self, fusion: graph.FusionOp) -> None:
        self.fusion = fusion
        self.labelling = Labelling(fusion)
        self.numbers, self.extents = self.labelling.numbering()
        self.made: dict[Step, Stage] = {}
        self.loads: dict[Access, Load] = {}

    def run(self) -> Stages:
        for step in self.labelling.steps:
            self.made[step] = self._make(step)
        stores = []
        for position, read in enumerate(self.labelling.results):
            dims = self.numbers(read.dims)
            shape = tuple(self.extents[loop] for loop in dims)
            stores.append(Store(self.stage(read, ()), dims, shape, position))
        order: dict[Stage, None] = {}
        for store in stores:
            _enter(store.value, order)
        return Stages(self.fusion, tuple(order), tuple(stores), self.extents)

    def stage(self, read: Read, loops: Loops) -> Stage:
        """The stage that is read; `loops`: labels of the reader's loops."""
        if isinstance(read.source, Step):
            return self.made[read.source]
        if not isinstance(read.source, BlockArgument):
            return Constant(read.source)
        window = renumbered(read.window, self._loops(loops))
        access = Access(read.source, read.shape, self.numbers(read.labels), window)
        return self.loads.setdefault(access, Load(access))

    def _loops(self, labels: Loops) -> Callable[[Sequence[int]], Loops]:
        """From the loops of an op to those of the fusion."""
        return lambda loops: self.numbers([labels[loop] for loop in loops])

    def _make(self, step: Step) -> Stage:
        inputs = tuple(self.stage(read, step.loops) for read in step.reads)
        out = self.numbers(self.labelling.result_labels(step))
        if step.reason or not isinstance(step.op, linalg.GenericOp):
            return Opaque(step.op, inputs, out, step.reason, step.hint)
        if step.init is None:
            return Map(step.op, inputs, out, uses_positions(step.op))
        kind = Contract if is_multiply_add(step.op) and len(inputs) == 2 else Reduce
        number = self._loops(step.loops)
        windows = tuple(self._window_read(read, step) for read in step.reads)
        roles = contraction_roles(step.op) if len(inputs) == 2 else None
        named = roles and _renumbered(roles, number)
        return kind(step.op, inputs, out, number(reduction_loops(step.op)), step.init, windows, named)

    def _window_read(self, read: Read, step: Step) -> WindowRead | None:
        window = renumbered(read.window, self._loops(step.loops))
        if window is None or not isinstance(read.source, Step):
            return None
        return WindowRead(self.numbers(read.labels), window)


def _renumbered(roles: Roles, number: Callable[[Sequence[int]], Loops]) -> Roles:
    return Roles(number(roles.batch), number(roles.m), number(roles.n), number(roles.k), number(roles.window))


def _enter(stage: Stage, order: dict[Stage, None]) -> None:
    """Enter a stage behind all that it reads."""
    waiting: list[tuple[Stage, bool]] = [(stage, False)]
    while waiting:
        current, complete = waiting.pop()
        if current in order:
            continue
        if complete:
            order[current] = None
            continue
        waiting.append((current, True))
        waiting += [(inner, False) for inner in reversed(inputs_of(current))]
