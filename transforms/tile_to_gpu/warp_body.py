"""The body of a kernel without matrix product: one function for each op.

A register tile is a vector in each thread, as long as the layout in the tile's type says (`fragments`); the kernel's threads are those of the layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.tile import Residence, SliceAttr, ThreadsAttr, TileType
from stepwell.passes import PassFailure, names_of
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.folds import (
    WARP,
    fold_between_warps,
    fold_in_thread,
    fold_in_warp,
    folded,
    lost_dim,
    shared_bytes,
)
from stepwell.transforms.tile_to_gpu.fragments import counted, fragment_of, length_of, spread, uneven_parts, vector_of
from stepwell.transforms.tile_to_gpu.relayouts import relaid, relayout_bytes
from stepwell.transforms.tile_to_gpu.warp_access import Accesses, is_window
from stepwell.transforms.tile_to_gpu.warp_refs import Parameters, Place, block_place
from stepwell.types.layouts import LayoutError


@dataclass
class WarpBody:
    """Emits one kernel. `values` are what register tiles have become, `numbers` what offsets have."""

    emit: GpuEmitter
    kernel: tile.KernelOp
    layout: ThreadsAttr
    parameters: Parameters
    values: dict[SSAValue, SSAValue] = field(default_factory=dict)
    numbers: dict[SSAValue, SSAValue] = field(default_factory=dict)
    shared: int = 0
    """Bytes of shared memory through which warps exchange values."""

    def write(self) -> None:
        """Start, wait for the predecessor, then one block of the output."""
        emit = self.emit
        emit.insert(warp.LaunchDependentsOp())
        emit.insert(warp.WaitPredecessorOp())
        if self.layout.threads == self.threads:
            self._write_block(None)
        elif any(isinstance(op, tile.ReduceOp | tile.RelayoutOp) for op in self.kernel.body.walk()):
            self._write_block(self._mine())  # lanes meet in whole warps: the others go along, and store nothing
        else:
            with emit.when(self._mine()):
                self._write_block(None)
        emit.insert(warp.ReturnOp())

    def _mine(self) -> SSAValue:
        """Whether this thread is one of the layout's."""
        emit = self.emit
        return emit.compare("ult", emit.insert(warp.ThreadIdOp()).result, emit.i32(self.layout.threads))

    @property
    def threads(self) -> int:
        """Threads of a block: whole warps."""
        return max(WARP, self.layout.threads)

    def _write_block(self, mine: SSAValue | None) -> None:
        """`mine`: whether this thread stores (None: all do)."""
        emit, grid = self.emit, self.kernel.grid.body.block
        place: Place = block_place(emit, self.parameters, self.kernel)
        self.numbers.update(zip(grid.args, place.offsets, strict=True))
        self.accesses = Accesses(emit, self.kernel, self.parameters, self.numbers, place, mine)
        self.accesses.begin()
        self.write_ops(grid)

    def write_ops(self, block: Block) -> None:
        """Each op by its function."""
        for op in block.ops:
            lower = _EMITTERS.get(type(op))
            if lower is None:
                raise self.refuse(op, "has no place in a kernel without matrix product")
            with self.emit.at(op.location):
                lower(self, op)

    def refuse(self, op: Operation, reason: str, hint: str = "") -> PassFailure:
        """A refusal that names the op."""
        return refusal(self.kernel, op, reason, hint)


def refusal(kernel: tile.KernelOp, op: Operation, reason: str, hint: str = "") -> PassFailure:
    """A refusal that names kernel and op."""
    where = f"@{kernel.sym_name.data}, {op.name} ({' + '.join(names_of(op))})"
    return PassFailure(f"{op.name} {reason}", where=where, hint=hint)


def threads_of(kernel: tile.KernelOp) -> ThreadsAttr:
    """The layout of a kernel's tiles of two dims; refused: tiles without one, layouts of several numbers of threads."""
    found: dict[ThreadsAttr, Operation] = {}
    for op, kind in _register_tiles(kernel):
        layout = kind.layout.parent if isinstance(kind.layout, SliceAttr) else kind.layout
        if not isinstance(layout, ThreadsAttr):
            held = f"has no layout: {kind}" if not kind.has_layout else f"lies in {layout}: {kind}"
            raise refusal(kernel, op, f"{held}; threads hold tiles in rows, #tile.threads", "run tile-assign-layouts")
        found.setdefault(layout, op)
    if len({layout.threads for layout in found}) > 1:
        listed = ", ".join(map(str, found))
        raise refusal(kernel, [*found.values()][-1], f"is held by another number of threads than others: {listed}")
    return next(iter(found), ThreadsAttr(1, 1, 1))


def _register_tiles(kernel: tile.KernelOp) -> Iterator[tuple[Operation, TileType]]:
    for op in kernel.body.walk():
        for value in op.results:
            if isinstance(value.type, TileType) and value.type.home is Residence.REGS:
                yield op, value.type


def _constant(body: WarpBody, op: arith.ConstantOp) -> None:
    """An index constant: the offset along a dim that no loop runs along."""
    body.numbers[op.result] = body.emit.i32(cast(IntegerAttr, op.value).value.data)


def _load(body: WarpBody, op: tile.LoadOp) -> None:
    body.values[op.result] = body.accesses.load(op)


def _store(body: WarpBody, op: tile.StoreOp) -> None:
    body.accesses.store(op, body.values[op.tile])


def _fill(body: WarpBody, op: tile.FillOp) -> None:
    assert isinstance(op.result.type, TileType)
    body.values[op.result] = body.emit.splat(op.value.value.data, vector_of(op.result.type))


def _broadcast(body: WarpBody, op: tile.BroadcastOp) -> None:
    made = spread(body.emit, body.values[op.source], op)
    if made is None:
        raise body.refuse(
            op, f"repeats {op.source.type} along dims {list(op.get_dims())}: it is no slice of the result"
        )
    body.values[op.result] = made


def _iota(body: WarpBody, op: tile.IotaOp) -> None:
    start = None if op.offset is None else body.numbers[op.offset]
    body.values[op.result] = counted(body.emit, op, start)


def _inside(body: WarpBody, op: tile.InsideOp) -> None:
    body.values[op.result] = body.accesses.inside(op)


def _reduce(body: WarpBody, op: tile.ReduceOp) -> None:
    """In the thread, then between lanes, then between warps."""
    emit, kind = body.emit, op.kind.data
    assert isinstance(op.source.type, TileType)
    fragment = fragment_of(op.source.type)
    assert fragment is not None
    value = fold_in_thread(emit, op, body.values[op.source])
    if op.partial is None:
        try:
            bits = fragment.fragment().exchanges(lost_dim(op))
        except LayoutError as error:
            raise body.refuse(op, f"folds {op.source.type} between threads: {error}") from error
        value = fold_in_warp(emit, kind, value, [bit for bit in bits if bit < WARP])
        apart = [bit for bit in bits if bit >= WARP]
        if apart:
            body.shared = max(body.shared, shared_bytes(value, body.threads))
            value = fold_between_warps(emit, kind, value, apart, body.threads)
    body.values[op.result] = value if op.init is None else folded(emit, kind, value, body.values[op.init])


def _relayout(body: WarpBody, op: tile.RelayoutOp) -> None:
    """Through shared memory, unless the layouts are the same."""
    source, result = op.source.type, op.result.type
    assert isinstance(source, TileType) and isinstance(result, TileType)
    value = body.values[op.source]
    if source.layout != result.layout:
        if source.rank != 2:
            raise body.refuse(op, f"brings {source} into {result.layout}: whole tiles change hands, not vectors")
        body.shared = max(body.shared, relayout_bytes(source))
        value = relaid(body.emit, value, source, result, body.threads)
    body.values[op.result] = value


def _map(body: WarpBody, op: tile.MapOp) -> None:
    assert isinstance(op.result.type, TileType)
    if uneven := uneven_parts(op):
        raise body.refuse(op, *uneven)
    vectors = [body.values[value] for value in op.inputs]
    body.values[op.result] = body.emit.map(op, vectors, length_of(op.result.type))


def _for(body: WarpBody, op: tile.ForOp) -> None:
    """Nested loops over the dims, the last fastest; carried tiles are their vectors."""
    if op.is_limited or op.first is not None:
        raise body.refuse(op, "runs over a part of its extent, or in reverse: loops here run over all of it")
    ref = cast(BlockArgument, op.over)
    for load in [inner for inner in op.body.walk() if isinstance(inner, tile.LoadOp) and is_window(inner)]:
        body.accesses.pixels(load)  # once, before the loop
    results = _nest(body, op, ref, 0, [body.values[value] for value in op.inits])
    body.values.update(zip(op.carried, results, strict=True))


def _nest(body: WarpBody, op: tile.ForOp, ref: BlockArgument, level: int, inits: list[SSAValue]) -> list[SSAValue]:
    emit = body.emit
    if level == len(op.get_dims()):
        body.values.update(zip(op.iter_args, inits, strict=True))
        body.write_ops(op.body.block)
        last = op.body.block.last_op
        assert isinstance(last, tile.YieldOp)
        return [body.values[value] for value in last.arguments]
    extent = body.parameters.extent(ref, op.get_dims()[level])
    carried = {f"c{position}": value for position, value in enumerate(inits)}
    with emit.loop((emit.i32(0), extent, emit.i32(op.get_steps()[level])), carried, f"d{op.get_dims()[level]}") as loop:
        body.numbers[op.offsets[level]] = loop.index
        results = _nest(body, op, ref, level + 1, list(loop.carried.values()))
        loop.next.update(zip(carried, results, strict=True))
    return list(loop.results.values())


def _yield(body: WarpBody, op: tile.YieldOp) -> None:
    """Read by the loop."""


_EMITTERS: Mapping[type[Operation], Callable[[WarpBody, Any], None]] = {
    arith.ConstantOp: _constant,
    tile.LoadOp: _load,
    tile.FillOp: _fill,
    tile.BroadcastOp: _broadcast,
    tile.IotaOp: _iota,
    tile.InsideOp: _inside,
    tile.ReduceOp: _reduce,
    tile.RelayoutOp: _relayout,
    tile.MapOp: _map,
    tile.StoreOp: _store,
    tile.ForOp: _for,
    tile.YieldOp: _yield,
}
