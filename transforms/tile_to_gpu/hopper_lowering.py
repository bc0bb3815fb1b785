"""What the functions that lower one op each share: the kernel in the making, where rings lie, how far the role in hand has come in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.tile import TileType
from stepwell.passes import PassFailure, names_of
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.hopper_parameters import Signature

BARRIER_BYTES = 8
WARPGROUP_ROWS = 64
"""Rows of one warpgroup's accumulator: M of wgmma."""
MOST_PENDING = 7
"""Groups of products that may be left running (PTX ISA, wgmma.wait_group takes a small constant)."""
WARPGROUP_WARPS = 4
"""Each warp of a reading role arrives once on "slot is empty"."""


@dataclass(frozen=True)
class Ring:
    """A ring in shared memory: slot s holds its elements one after another at `offset` + s * `stage`; the barriers "slot is full" of all slots
    stand at `full`, those of "slot is empty" behind them, at `empty`; `readers` warps release each slot."""

    op: tile.RingOp
    slots: int
    bytes: tuple[int, ...]
    offset: int
    full: int
    readers: int
    writers: int = 0
    """Threads that publish a slot, each of which arrives on "slot is full"; 0 where the copy engine fills it."""

    @property
    def stage(self) -> int:
        """Bytes of one slot."""
        return sum(self.bytes)

    @property
    def empty(self) -> int:
        """Where the barriers "slot is empty" begin."""
        return self.full + BARRIER_BYTES * self.slots

    def place(self, element: int) -> int:
        """Where an element lies in slot 0."""
        return self.offset + sum(self.bytes[:element])


@dataclass
class Cursor:
    """How far a role has come in a ring: the slot that it takes next, the parity that it waits for there, and, where the first fetches were
    issued ahead, how many it has come to."""

    slot: SSAValue
    parity: SSAValue
    issued: SSAValue | None = None
    taken: bool = False
    """Whether the op in hand stands behind a fetch into this slot, or a wait for it."""

    def carried(self) -> list[tuple[str, SSAValue]]:
        """What a loop carries, with names."""
        issued = [] if self.issued is None else [("issued", self.issued)]
        return [("slot", self.slot), ("parity", self.parity), *issued]


@dataclass
class Role:
    """The role in hand. In roles of whole warpgroups `leader` says whether this thread arrives for its warp, `group_row` is the first row of the
    warpgroup in a block of rows, `operand_rows` how many bytes of an operand lie before them (by bytes of 64 rows), `row` the first output row."""

    op: tile.RoleOp
    copy: SSAValue | None = None
    """Which of the role's copies this thread plays, where it has several."""
    elected: SSAValue | None = None
    """Whether this thread acts for its copy alone."""
    leader: SSAValue | None = None
    group_row: SSAValue | None = None
    operand_rows: dict[int, SSAValue] = field(default_factory=dict)
    row: SSAValue | None = None
    first: SSAValue | None = None
    """The number of the block's first tile."""
    ahead: dict[SSAValue, SSAValue] = field(default_factory=dict)
    """Ring -> how many slots were fetched ahead."""
    hoisted: bool = False
    """Whether the op in hand stands in a loop of first iterations."""
    iteration: SSAValue | None = None
    """The number of the iteration of the innermost loop."""
    cursors: dict[SSAValue, Cursor] = field(default_factory=dict)
    places: dict[SSAValue, int] = field(default_factory=dict)
    """Tile in a ring -> where it lies in slot 0."""
    in_flight: SSAValue | None = None
    """The product that was issued last and not waited for."""
    issued: list[SSAValue] = field(default_factory=list)
    """The products of the block in hand, in order."""
    corners: dict[SSAValue, tuple[SSAValue, SSAValue, SSAValue]] = field(default_factory=dict)
    """First output pixel -> its input pixel (w, h, n)."""
    taps: dict[SSAValue, tuple[SSAValue, SSAValue]] = field(default_factory=dict)
    """Number of a filter tap -> its offsets (w, h) in input pixels."""


@dataclass
class Lowering:
    """One kernel on its way to hopper ops. `values` are what tiles, refs and index values have become: fragments, accumulators in flight,
    addresses of ring slots, i32 offsets."""

    kernel: tile.KernelOp
    signature: Signature
    emit: GpuEmitter
    parameters: Mapping[str, SSAValue]
    rings: dict[SSAValue, Ring]
    table: Mapping[type[Operation], Callable[[Lowering, Any], None]]
    values: dict[SSAValue, SSAValue] = field(default_factory=dict)
    role: Role | None = None

    def block(self, block: Block) -> Sequence[SSAValue]:
        """Lower the ops of a block, each by its function; what the block yields."""
        for op in block.ops:
            if isinstance(op, tile.YieldOp):
                return op.arguments
            lower = self.table.get(type(op))
            if lower is None:
                raise self.refuse(op, "has no place in a kernel of sm_90a")
            with self.emit.at(op.location):
                lower(self, op)
        return ()

    @property
    def current(self) -> Role:
        """The role in hand."""
        assert self.role is not None
        return self.role

    def pointer(self, ref: SSAValue) -> SSAValue:
        """The pointer of a ref."""
        assert isinstance(ref, BlockArgument)
        return self.parameters[f"p{ref.index}"]

    def pitch(self, ref: SSAValue) -> SSAValue:
        """Elements between the rows of a ref."""
        assert isinstance(ref, BlockArgument)
        return self.parameters[f"ld{ref.index}"]

    def extent(self, ref: SSAValue, dim: int) -> SSAValue:
        """The extent of a ref that a mask asks for."""
        assert isinstance(ref, BlockArgument)
        return self.parameters[f"n{ref.index}_{dim}"]

    def bounds(self) -> tuple[SSAValue, SSAValue]:
        """Rows and columns of the output."""
        return self.parameters["m"], self.parameters["n"]

    def moved(self, value: SSAValue, by: int) -> SSAValue:
        """A number of i32 further by a constant."""
        return self.emit.add(value, self.emit.i32(by)) if by else value

    def refuse(self, op: Operation, reason: str, hint: str = "") -> PassFailure:
        """A refusal that names kernel and op."""
        names = " + ".join(names_of(op))
        where = f"@{self.kernel.sym_name.data}, {op.name}" + (f" ({names})" if names else "")
        return PassFailure(f"{op.name} {reason}", where=where, hint=hint)


def fragment_of(lowering: Lowering, op: Operation, kind: TileType) -> warp.FragmentAttr:
    """How one warpgroup holds a tile in registers: as wgmma holds its accumulators."""
    shape = kind.get_shape()
    warpgroups = lowering.current.op.warpgroups.value.data
    if len(shape) != 2 or shape[0] != WARPGROUP_ROWS * warpgroups:
        given = f"makes {kind} in a role of {warpgroups} warpgroups"
        raise lowering.refuse(
            op, f"{given}: each of them holds exactly {WARPGROUP_ROWS} rows", "set warpgroups accordingly"
        )
    return warp.FragmentAttr.wgmma(shape[1])
