"""The kinds of stages that a fusion is made of, one dataclass each. Loops are numbered over the whole fusion: two dims have the same loop where
they run together in one kernel, and a stage is read by that loop wherever it is used, so broadcasts and transposes are no stages."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, BlockArgument, Operation

from stepwell.transforms.linalg._roles import Roles
from stepwell.transforms.linalg._windows import Loops, Number, WindowShape
from stepwell.transforms.tensors import element_of


@dataclass(frozen=True)
class Access:
    """A tensor that the kernel reads: a fusion argument, reshaped to `shape`. `loops`: what its dims run along; with a
    window, those of the view [images, pixels | taps | channels]. `converted`: what its elements are made before a root multiplies them."""

    value: BlockArgument
    shape: tuple[int, ...]
    loops: Loops
    window: WindowShape | None = None
    converted: Attribute | None = None


@dataclass(frozen=True)
class Load:
    """An argument of the fusion is read."""

    access: Access

    @property
    def loops(self) -> Loops:
        """What its dims run along."""
        return self.access.loops

    @property
    def element(self) -> Attribute:
        """The type of an element."""
        return element_of(self.access.value)


@dataclass(frozen=True)
class Constant:
    """One number everywhere."""

    value: Number

    @property
    def loops(self) -> Loops:
        """None: it is the same everywhere."""
        return ()

    @property
    def element(self) -> Attribute:
        """The type of an element."""
        return self.value.type


@dataclass(frozen=True, eq=False)
class Computed:
    """What an op of the body computes. `loops`: what the dims of its result run along; `inputs`: one stage for each input that holds data."""

    op: linalg.GenericOp
    inputs: tuple[Stage, ...]
    loops: Loops

    @property
    def element(self) -> Attribute:
        """The type of an element."""
        return element_of(self.op.results[0])


@dataclass(frozen=True, eq=False)
class Map(Computed):
    """The body of an elementwise generic on other stages. `indexed`: it asks for its position."""

    indexed: bool = False


@dataclass(frozen=True, eq=False)
class Reduce(Computed):
    """The body of a generic, over `reductions` in row-major order, starting from `init`. `windows`: for each input the window that it is read
    through (a Load says its own). `roles`: of its loops, where it has two factors."""

    reductions: Loops
    init: Number
    windows: tuple[WindowRead | None, ...] = ()
    roles: Roles | None = None


@dataclass(frozen=True, eq=False)
class Contract(Reduce):
    """A sum of products of two factors."""


@dataclass(frozen=True)
class WindowRead:
    """How a computed stage is read through a window: loops of the view [images, pixels | taps | channels], and its geometry."""

    loops: Loops
    window: WindowShape


@dataclass(frozen=True, eq=False)
class Opaque:
    """An op that has no other kind, with the reason and a hint; `loops`: what the dims of its result run along."""

    op: Operation
    inputs: tuple[Stage, ...]
    loops: Loops
    reason: str
    hint: str = ""

    @property
    def element(self) -> Attribute:
        """The type of an element of its first result."""
        return element_of(self.op.results[0])


@dataclass(frozen=True, eq=False)
class Store:
    """A result of the fusion: the stage that is written, by these loops, in this shape before the result's own reshapes."""

    value: Stage
    loops: Loops
    shape: tuple[int, ...]
    result: int


Stage = Load | Constant | Map | Reduce | Contract | Opaque


def inputs_of(stage: Stage) -> tuple[Stage, ...]:
    """The stages that a stage reads."""
    return () if isinstance(stage, Load | Constant) else stage.inputs
