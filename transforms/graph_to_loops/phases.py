"""A graph op as one kernel of loops after the other: what a writer asks for, and how it is put into a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, TensorType, UnknownLoc
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import graph, tile
from stepwell.passes import inherit_location
from stepwell.transforms.graph_to_linalg.signless import make_loops_signless
from stepwell.transforms.graph_to_loops.writer import LoopWriter


@dataclass(frozen=True)
class Temporary:
    """A result of an earlier phase."""

    phase: int
    position: int
    type: TensorType


@dataclass(frozen=True)
class Given:
    """An operand of the fusion, by its position: what stands there when the kernels are applied."""

    position: int
    type: TensorType


@dataclass(frozen=True)
class Table:
    """Numbers that are known: a constant beside the kernels."""

    values: tuple[float, ...]
    type: TensorType


Operand = Given | Temporary | Table
"""What a phase reads."""
Write = Callable[[LoopWriter, Sequence[SSAValue], Sequence[SSAValue], SSAValue], None]
"""Writes the body of a kernel: with what, inputs, outputs, the number of the run."""


@dataclass(frozen=True)
class Phase:
    """A kernel and what it reads."""

    kernel: tile.ParallelOp
    inputs: tuple[Operand, ...]


@dataclass
class Phases:
    """The kernels of one fusion that holds one op. `operands` are the op's, `results` what stands for its results once a writer has run."""

    fusion: graph.FusionOp
    op: Operation
    config: tile.ConfigAttr
    name: str
    phases: list[Phase] = field(default_factory=list)
    results: Sequence[Operand] = ()

    work: str = "loops over whole operands"

    @property
    def kernels(self) -> list[tile.ParallelOp]:
        """In the order in which they run."""
        return [phase.kernel for phase in self.phases]

    @property
    def operands(self) -> list[Operand]:
        """The operands of the fusion that the op's operands stand for."""
        return [self.given(value) for value in self.op.operands]

    def given(self, value: SSAValue) -> Given:
        """The operand of the fusion that an argument of its body stands for."""
        assert isinstance(value, BlockArgument)
        return Given(value.index, _tensor(value))

    def kernel(
        self, inputs: Sequence[Operand], outputs: Sequence[TensorType], count: int, write: Write
    ) -> list[Operand]:
        """A kernel that runs `count` times; its results."""
        types = [operand.type for operand in inputs]
        kernel = tile.ParallelOp(self.name, types, outputs, count, self.config)
        write(LoopWriter(kernel), kernel.inputs, kernel.outputs, kernel.index)
        make_loops_signless(kernel.body.block)
        for inner in kernel.walk():
            if isinstance(inner.location, UnknownLoc):
                inherit_location(inner, self.op)
        self.phases.append(Phase(kernel, tuple(inputs)))
        return [Temporary(len(self.phases) - 1, position, type_) for position, type_ in enumerate(outputs)]

    def apply(self) -> None:
        """Replace the uses of the fusion's results by the applications of its kernels."""
        build = Builder(InsertPoint.before(self.fusion))
        made: list[tile.ApplyOp] = []

        def value(operand: Operand) -> SSAValue:
            if isinstance(operand, Given):
                return self.fusion.inputs[operand.position]
            if isinstance(operand, Table):
                return build.insert(_constant(operand, self.fusion)).result
            return made[operand.phase].outputs[operand.position]

        for phase in self.phases:
            inputs = [value(operand) for operand in phase.inputs]
            types = list(phase.kernel.function_type.outputs)
            apply = tile.ApplyOp(phase.kernel.sym_name.data, inputs, types)
            inherit_location(apply, self.fusion)
            made.append(build.insert(apply))
        results = dict(zip(self.op.results, self.results, strict=True))
        for output, yielded in zip(self.fusion.outputs, self.fusion.terminator.values, strict=True):
            output.replace_all_uses_with(value(results[yielded]))  # type: ignore[index]


def _constant(table: Table, fusion: graph.FusionOp) -> arith.ConstantOp:
    dense: Any = DenseIntOrFPElementsAttr.from_list(cast(Any, table.type), table.values)
    constant = arith.ConstantOp(dense)
    inherit_location(constant, fusion)
    return constant


def _tensor(value: SSAValue) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
