"""The epilogue of a contraction kernel on Hopper: register tiles become one fragment vector per warpgroup.

A rank-2 tile of the output's shape is the vector of the accumulator's layout; a rank-1 tile along the columns is held as a fragment whose rows are
equal, so that broadcasting it down the rows costs nothing; a rank-1 tile along the rows, or of one element, is repeated in the registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import BlockArgument, Operation, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.tile import RefType, TileType
from stepwell.passes import PassFailure, names_of
from stepwell.transforms.tile_to_gpu._tile_to_hopper_match import Contraction
from stepwell.transforms.tile_to_gpu._tile_to_hopper_roles import Roles
from stepwell.transforms.tile_to_gpu.launch import LaunchSite, common_access


class FragmentEpilogue:
    """Emits the ops after the product loop for one warpgroup; `sites` decide how wide memory accesses may be. With `early` the operands are
    loaded before the product, so that they arrive while it runs; they take registers meanwhile."""

    def __init__(self, c: Contraction, sites: Sequence[LaunchSite], *, early: bool) -> None:
        self.c, self.sites, self.early = c, sites, early
        self.layout = warp.FragmentAttr.wgmma(c.columns)

    def __call__(self, roles: Roles, row: SSAValue, column: SSAValue) -> Callable[[SSAValue], None]:
        """Loads, if early; the rest is emitted by what is returned. `row` is the warpgroup's first output row, `column` the tile's first."""
        emission = _Emission(self, roles, row, column, {})
        first = [op for op in self.c.epilogue if self.early and isinstance(op, tile.LoadOp)]
        self._emit(emission, first)

        def finish(product: SSAValue) -> None:
            emission.values[self.c.loop.carried[0]] = product
            self._emit(emission, [op for op in self.c.epilogue if op not in first])

        return finish

    def _emit(self, emission: _Emission, ops: Sequence[Operation]) -> None:
        for op in ops:
            emit = _EMITTERS.get(type(op))
            if emit is None:
                raise self.refuse(op, "has no place in an epilogue of sm_90a")
            with emission.roles.e.at(op.location):
                emit(emission, op)

    def refuse(self, op: Operation, reason: str) -> PassFailure:
        """A refusal that names the op."""
        where = f"@{self.c.kernel.sym_name.data}, {op.name} ({' + '.join(names_of(op))})"
        return PassFailure(f"{op.name} {reason}", where=where)


class _Emission:
    """One use of the epilogue: where it goes, and what tiles became."""

    def __init__(
        self,
        plan: FragmentEpilogue,
        roles: Roles,
        row: SSAValue,
        column: SSAValue,
        values: dict[SSAValue, SSAValue],
    ) -> None:
        self.plan, self.roles, self.row, self.column, self.values = plan, roles, row, column, values

    def ref(self, value: SSAValue) -> tuple[int, SSAValue, int]:
        """Position, pointer and access width of a ref."""
        assert isinstance(value, BlockArgument)
        access = common_access(self.plan.sites, value.index, self.plan.layout.width.data)
        return value.index, self.roles.p[f"p{value.index}"], access

    def bounds(self) -> tuple[SSAValue, SSAValue]:
        """Rows and columns of the output."""
        return self.roles.p["m"], self.roles.p["n"]

    def at_block(self, op: tile.LoadOp | tile.StoreOp, shape: Sequence[int]) -> bool:
        """Whether the access covers the block: all its rows and columns at its offsets."""
        offsets = self.plan.c.kernel.grid.body.block.args
        return (
            list(op.indices) == list(offsets) and op.get_dims() == (0, 1) and tuple(shape) == self.plan.c.config.block
        )


def _load(emission: _Emission, op: tile.LoadOp) -> None:
    kind, ref, roles, layout = op.result.type, op.source.type, emission.roles, emission.plan.layout
    assert isinstance(kind, TileType) and isinstance(ref, RefType)
    if float(op.fill.value.data) != 0.0:
        raise emission.plan.refuse(op, "fills with something else than 0")
    position, pointer, access = emission.ref(op.source)
    index = (emission.row, emission.column)
    if kind.rank == 2 and ref.rank == 2 and emission.at_block(op, kind.get_shape()):
        loaded: Any = warp.FragmentLoadOp(pointer, index, roles.p[f"ld{position}"], emission.bounds(), layout, access)
    elif _runs_along(emission, op, 1):
        loaded = warp.FragmentLoadRowOp(pointer, emission.column, emission.bounds()[1], layout, access)
    elif _runs_along(emission, op, 0):
        emission.values[op.result] = _rows(emission, op, pointer)
        return
    elif ref.rank == 1 and kind.get_shape() == (1,) and isinstance(op.indices[0].owner, arith.ConstantOp):
        emission.values[op.result] = _single(emission, op, pointer)
        return
    else:
        reads = "the block, a vector along its columns or rows, or one element"
        raise emission.plan.refuse(op, f"loads {kind} from {ref}: an epilogue reads {reads}")
    emission.values[op.result] = roles.e.insert(loaded).result


def _runs_along(emission: _Emission, op: tile.LoadOp, dim: int) -> bool:
    """Whether a load reads a vector along the rows (dim 0) or columns (dim 1) of the output."""
    offsets, block = emission.plan.c.kernel.grid.body.block.args, emission.plan.c.config.block
    assert isinstance(op.result.type, TileType)
    return len(op.indices) == 1 and op.indices[0] is offsets[dim] and op.result.type.get_shape() == (block[dim],)


def _rows(emission: _Emission, op: tile.LoadOp, pointer: SSAValue) -> SSAValue:
    """The elements of this thread's two rows, each in the registers of its row: two of four (PTX ISA, wgmma, layout of D)."""
    e, layout = emission.roles.e, emission.plan.layout
    numbers = e.insert(warp.FragmentIndexOp("rows", layout)).result
    rows = e.add(numbers, e.repeat(emission.row, numbers.type))
    mask = e.within(rows, emission.bounds()[0])
    held = e.insert(warp.GatherOp(pointer, rows, mask, e.constant(op.fill, op.fill.type, "fill"), 1)).result
    return e.shuffle(held, held, (register // 2 % 2 for register in range(layout.registers)))


def _single(emission: _Emission, op: tile.LoadOp, pointer: SSAValue) -> SSAValue:
    """One element in every register."""
    e, one = emission.roles.e, VectorType(i32, [1])
    fill = e.constant(op.fill, op.fill.type, "fill")
    held = e.insert(warp.GatherOp(pointer, e.repeat(e.i32(0), one), e.true(one), fill, 1)).result
    return e.repeat(e.first(held), VectorType(op.fill.type, [emission.plan.layout.registers]))


def _fill(emission: _Emission, op: tile.FillOp) -> None:
    assert isinstance(op.result.type, TileType)
    vector = VectorType(op.result.type.element_type, [emission.plan.layout.registers])
    emission.values[op.result] = emission.roles.e.splat(float(op.value.value.data), vector)


def _broadcast(emission: _Emission, op: tile.BroadcastOp) -> None:
    """What is loaded is a whole fragment already."""
    load = op.source.owner
    single = isinstance(op.source.type, TileType) and op.source.type.get_shape() == (1,)
    if not isinstance(load, tile.LoadOp) or not (single or _runs_along(emission, load, op.get_dims()[0])):
        raise emission.plan.refuse(op, f"repeats along dims {list(op.get_dims())} what is no vector along them")
    emission.values[op.result] = emission.values[op.source]


def _map(emission: _Emission, op: tile.MapOp) -> None:
    operands = [emission.values[value] for value in op.inputs]
    emission.values[op.result] = emission.roles.e.map(op, operands, emission.plan.layout.registers)


def _store(emission: _Emission, op: tile.StoreOp) -> None:
    assert isinstance(op.tile.type, TileType)
    if not emission.at_block(op, op.tile.type.get_shape()):
        raise emission.plan.refuse(op, f"stores {op.tile.type}: an epilogue writes the block of the output")
    position, pointer, access = emission.ref(op.target)
    index, stride = (emission.row, emission.column), emission.roles.p[f"ld{position}"]
    value, layout = emission.values[op.tile], emission.plan.layout
    emission.roles.e.insert(warp.FragmentStoreOp(value, pointer, index, stride, emission.bounds(), layout, access))


def operand_registers(c: Contraction) -> int:
    """Registers per thread that all epilogue operands take once they are f32: a fragment for a matrix, half of one for a row vector."""
    loads = [op.result.type for op in c.epilogue if isinstance(op, tile.LoadOp)]
    return sum(c.columns // 2 if isinstance(t, TileType) and t.rank == 2 else c.columns // 4 for t in loads)


def _constant(emission: _Emission, op: arith.ConstantOp) -> None:
    """An index that a load has looked at."""


_EMITTERS: Mapping[type[Operation], Callable[[_Emission, Any], None]] = {
    arith.ConstantOp: _constant,
    tile.LoadOp: _load,
    tile.FillOp: _fill,
    tile.BroadcastOp: _broadcast,
    tile.MapOp: _map,
    tile.StoreOp: _store,
}
