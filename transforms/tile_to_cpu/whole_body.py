"""A kernel whose blocks take dims whole as a function over a range of its tiles: one row at a time, its loops from where it begins."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from stepwell.dialects import tile
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.emitter import CpuEmitter
from stepwell.transforms.tile_to_cpu.ops import lower_ops
from stepwell.transforms.tile_to_cpu.place import Place, column_mask, kernel_refs


def walk_whole(emit: CpuEmitter, kernel: tile.KernelOp, first: SSAValue, last: SSAValue) -> None:
    """Every tile from `first` below `last`: the number of one is split into its offsets, the last dim fastest."""
    refs, _ = kernel_refs(emit, kernel)
    grid, block = kernel.grid, kernel.grid.get_block()
    if any(extent > 1 for extent in block[:-1]):
        raise error_at(kernel, f"a block {list(block)} of several rows", "CPU kernels fold one row after the other")
    extents = refs[grid.output].extents
    one, zero = emit.integer(1), emit.integer(0)
    counts = [
        one if not step else emit.ceil_div(extent, step) if step > 1 else extent
        for extent, step in zip(extents, block, strict=True)
    ]

    def body(number: SSAValue, _: list[SSAValue]) -> list[SSAValue]:
        offsets: list[SSAValue] = []
        for dim in reversed(range(len(block))):
            index = zero if not block[dim] else emit.binary(arith.RemUIOp, number, counts[dim]) if dim else number
            number = emit.binary(arith.DivUIOp, number, counts[dim]) if dim and block[dim] else number
            offsets.insert(0, emit.mul(index, emit.integer(block[dim])) if block[dim] > 1 else index)
        indices: dict[SSAValue, SSAValue] = dict(zip(grid.body.block.args, offsets, strict=True))
        columns = block[-1] or 1
        place = Place(emit, refs, zero, zero, 1, columns, offsets[-1], one, zero, indices)
        ops = list(grid.body.block.ops)
        if not block[-1]:
            lower_ops(ops, place.inner(column=zero))
            return []
        valid = emit.binary(arith.SubiOp, extents[-1], offsets[-1])

        def edge() -> None:
            lower_ops(ops, place.inner(mask=column_mask(emit, valid, columns)))

        if kernel.config.data.edges == "masked":
            edge()
            return []
        full = emit.compare("ule", emit.integer(columns), valid)
        emit.branch(full, lambda: lower_ops(ops, place.inner()), edge)
        return []

    emit.loop(first, last, [], body)
