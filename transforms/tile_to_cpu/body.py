"""One tile.kernel as a function over a range of its tiles: the walk over tiles, and each tile once for whole blocks and once for those at an edge."""

from __future__ import annotations

from xdsl.dialects import arith, func
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import tile
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.emitter import CpuEmitter, kernel_function
from stepwell.transforms.tile_to_cpu.ops import lower_ops
from stepwell.transforms.tile_to_cpu.place import Place, column_mask, kernel_refs
from stepwell.transforms.tile_to_cpu.whole_body import walk_whole
from stepwell.types.targets import Target


def is_product(op: Operation) -> bool:
    """A loop that holds a matrix product: its accumulators stay in registers."""
    return isinstance(op, tile.ForOp) and any(isinstance(inner, tile.MmaOp) for inner in op.walk())


def build_function(kernel: tile.KernelOp, target: Target) -> func.FuncOp:
    """The function of `kernel`: (record, first tile, last tile)."""
    if kernel.config.data.takes_whole:
        return kernel_function(kernel, target, lambda emit, first, last: walk_whole(emit, kernel, first, last))
    return kernel_function(kernel, target, lambda emit, first, last: _KernelBody(emit, kernel).walk_tiles(first, last))


class _KernelBody:
    """Emits one kernel."""

    def __init__(self, emit: CpuEmitter, kernel: tile.KernelOp) -> None:
        self.emit, self.kernel, self.grid = emit, kernel, kernel.grid
        block = self.grid.get_block()
        windows = [ref for ref in kernel.inputs if ref.type.access.kind == "window"]  # type: ignore[attr-defined]
        if len(block) > 2 and (windows or kernel.config.data.mma != "none" or {*block[:-2]} != {1}):
            reason = "that is neither elementwise work nor a transpose, or a block of several leading indices"
            raise error_at(kernel, f"an output of rank {len(block)} {reason}", "CPU kernels have rows and columns")
        self.row_dim = len(block) - 2
        self.rows, self.columns = (1, *block)[-2:]
        self.refs, self.group_slot = kernel_refs(emit, kernel)

    # --- the walk over tiles

    def walk_tiles(self, first: SSAValue, last: SSAValue) -> None:
        """Tiles are numbered by groups of row tiles, in a group by weight panel, in a panel by row: consecutive tiles share the panel, and the
        rows of a group stay in the cache for the next one."""
        emit, output = self.emit, self.refs[self.grid.output]
        zero, one = emit.integer(0), emit.integer(1)
        *leading, rows = output.extents[:-1] or [one]
        row_tiles = emit.ceil_div(rows, self.rows)
        for extent in leading:
            row_tiles = emit.mul(row_tiles, extent)
        column_tiles = emit.ceil_div(output.extents[-1], self.columns)
        group = emit.slot(self.group_slot)
        whole = emit.mul(group, column_tiles)
        begin = emit.mul(emit.binary(arith.DivUIOp, first, whole), group)
        end = emit.minimum(emit.add(begin, group), row_tiles)
        rest = emit.binary(arith.RemUIOp, first, whole)
        size = emit.binary(arith.MaxUIOp, emit.binary(arith.SubiOp, end, begin), one)
        column = emit.binary(arith.DivUIOp, rest, size)
        row = emit.add(begin, emit.binary(arith.RemUIOp, rest, size))

        def body(_: SSAValue, state: list[SSAValue]) -> list[SSAValue]:
            row, column, begin, end = state
            self._tile(row, column)
            next_row, next_column = emit.add(row, one), emit.add(column, one)
            panel_done = emit.compare("eq", next_row, end)
            group_done = emit.insert(arith.AndIOp(panel_done, emit.compare("eq", next_column, column_tiles))).result
            next_end = emit.minimum(emit.add(end, group), row_tiles)
            new_begin = emit.select(group_done, end, begin)
            return [
                emit.select(panel_done, new_begin, next_row),
                emit.select(group_done, zero, emit.select(panel_done, next_column, column)),
                new_begin,
                emit.select(group_done, next_end, end),
            ]

        emit.loop(first, last, [row, column, begin, end], body)

    # --- one tile

    def _offsets(self, row_tile: SSAValue, column_tile: SSAValue) -> list[SSAValue]:
        """Where a tile begins: the number of its row tile is split into leading indices and rows, the rows fastest."""
        emit, extents = self.emit, self.refs[self.grid.output].extents
        offsets = [emit.mul(column_tile, emit.integer(self.columns))]
        for dim in reversed(range(self.row_dim + 1)):
            rows, index = dim == self.row_dim, row_tile
            if dim > 0:
                count = emit.ceil_div(extents[dim], self.rows) if rows else extents[dim]
                index, row_tile = (emit.binary(op, row_tile, count) for op in (arith.RemUIOp, arith.DivUIOp))
            offsets.insert(0, emit.mul(index, emit.integer(self.rows)) if rows else index)
        return offsets

    def _tile(self, row_tile: SSAValue, column_tile: SSAValue) -> None:
        """Products first, for a whole block always: rows that do not exist repeat the last, columns are padded in the panel. Then the rest, as the config says: once
        for whole blocks and once for those at an edge, or with masks for all."""
        emit, offsets = self.emit, self._offsets(row_tile, column_tile)
        row, column = offsets[-2] if len(offsets) > 1 else None, offsets[-1]
        indices: dict[SSAValue, SSAValue] = dict(zip(self.grid.body.block.args, offsets, strict=True))
        for name, value in indices.items():
            value.name_hint = name.name_hint
        ops = list(self.grid.body.block.ops)
        extents = self.refs[self.grid.output].extents
        first = 1 + max((number for number, op in enumerate(ops) if is_product(op)), default=-1)
        numbers = (emit.integer(1), emit.integer(0))
        place = Place(emit, self.refs, row_tile, column_tile, self.rows, self.columns, column, *numbers, indices)
        lower_ops(ops[:first], place)
        valid_columns = emit.binary(arith.SubiOp, extents[-1], column)
        if row is not None:
            place.valid_rows = emit.minimum(emit.binary(arith.SubiOp, extents[-2], row), emit.integer(self.rows))

        def edge() -> None:
            lower_ops(ops[first:], place.inner(mask=column_mask(emit, valid_columns, self.columns)))

        if self.kernel.config.data.edges == "masked":
            edge()
            return
        full = emit.compare("ule", emit.integer(self.columns), valid_columns)
        if any(isinstance(op, tile.ForRowsOp) and op.unrolled is not None for op in ops):
            all_rows = emit.compare("eq", place.valid_rows, emit.integer(self.rows))
            full = emit.insert(arith.AndIOp(full, all_rows)).result
        emit.branch(full, lambda: lower_ops(ops[first:], place.inner()), edge)
