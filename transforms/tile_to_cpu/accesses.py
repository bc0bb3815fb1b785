"""Loads and stores of a CPU kernel: rows of vectors, elements that are repeated along a row, and the operands of products."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, llvm
from xdsl.dialects.builtin import IntegerType, UnrealizedConversionCastOp, VectorType, f32, i32
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.type import get_element_type_or_self

from stepwell.dialects import tile
from stepwell.dialects.numpy_types import UNSIGNED, element_bytes, signless
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.emitter import chunk_width
from stepwell.transforms.tile_to_cpu.place import Chunks, Place


def tile_shape(value: SSAValue) -> tuple[int, int]:
    """Rows and columns of a register tile; one of one dim is a row."""
    assert isinstance(value.type, tile.TileType)
    return (1, *value.type.get_shape())[-2:]  # type: ignore[return-value]


def is_one(value: SSAValue) -> bool:
    """Whether a tile is one number for a whole row: it is held as a scalar."""
    return isinstance(value.type, tile.TileType) and value.type.get_shape() == (1,)


def element_of(value: SSAValue) -> Attribute:
    assert isinstance(value.type, tile.TileType)
    return value.type.element_type


def chunk_type(value: SSAValue) -> VectorType:
    """What a row of the tile is cut into."""
    return VectorType(element_of(value), [chunk_width(tile_shape(value)[1])])


def lower_load(op: tile.LoadOp, at: Place) -> None:
    home = op.result.type.home
    if home is tile.Residence.PACKED:
        at.tiles[op.result] = [_panel_row(op, at)]
    elif home is tile.Residence.IN_PLACE:
        at.tiles[op.result] = [[_operand(op, at, base)] for base in at.bases[op]]
    elif at.indices.get(op.indices[op.get_dims()[-1]]) is at.column:
        at.tiles[op.result] = [_row(op, at)]
    else:
        at.tiles[op.result] = [[_scalar(op, at)]]


def _row(op: tile.LoadOp, at: Place) -> Chunks:
    """A row from memory; masked columns are the fill."""
    ref, dims = at.refs[op.source], op.get_dims()
    if tile_shape(op.result)[0] != 1:
        raise error_at(op, "a tile of several rows is loaded outside of tile.for_rows", "run tile-split-rows")
    dense = dims[-1] == ref.type.rank - 1
    if not dense and ref.type.access.kind != "plain":
        raise error_at(op, "the columns of a window are its channels")
    of = chunk_type(op.result)
    start = at.emit.address(at.base(op), at.column, of.element_type) if dense else _gathered(op, at)
    masks: Sequence[SSAValue | None] = at.mask or [None] * (tile_shape(op.result)[1] // of.get_shape()[0])
    chunks = []
    for mask, address in zip(masks, chunk_addresses(at, start, op.result), strict=True):
        if mask is None:
            chunks.append(at.emit.load(address, of, element_bytes(of.element_type)))
        else:
            chunks.append(at.emit.masked_load(address, mask, op.fill, of, element_bytes(of.element_type)))
    return chunks


def _gathered(op: tile.LoadOp, at: Place) -> SSAValue:
    """A row whose columns lie apart (a transpose): its elements that exist, brought together one by one in a line of memory."""
    emit, ref, dim = at.emit, at.refs[op.source], op.get_dims()[-1]
    element, size = ref.type.element_type, element_bytes(ref.type.element_type)
    start, line = at.address(ref, op.indices), emit.scratch(at.columns, element, op)
    rest = emit.binary(arith.SubiOp, ref.extents[dim], at.column)

    def move(column: SSAValue, _: Chunks) -> Chunks:
        source = emit.address(start, emit.mul(column, ref.strides[dim]), element)
        emit.store(emit.load(source, element, size), emit.address(line, column, element), size)
        return []

    emit.loop(emit.integer(0), emit.minimum(rest, emit.integer(at.columns)), [], move)
    return line


def _scalar(op: tile.LoadOp, at: Place) -> SSAValue:
    """One element for the whole row."""
    ref, last = at.refs[op.source], at.index(op.indices[-1])
    if op.result.type.get_shape() != (1,):
        raise error_at(op, "the columns are at the column offset of the grid, and one element is repeated along them")
    address = at.emit.address(at.base(op), last, ref.type.element_type)
    return at.emit.load(address, ref.type.element_type, element_bytes(ref.type.element_type))


def _panel_row(op: tile.LoadOp, at: Place) -> Chunks:
    """A row of the panel of B."""
    emit, (base,) = at.emit, at.bases[op]
    element, width = element_of(op.result), chunk_width(at.columns)
    start = emit.address(base, emit.mul(at.index(op.indices[-1]), emit.integer(at.columns)), element)
    of, alignment = VectorType(element, [width]), min(64, width * element_bytes(element))
    addresses = [emit.address(start, c, element) if c else start for c in range(0, at.columns, width)]
    return [_widened(emit.load(address, of, alignment), at) for address in addresses]


def _operand(op: tile.LoadOp, at: Place, base: SSAValue) -> SSAValue:
    """One element of a row of A."""
    element = element_of(op.result)
    if op.result.type.get_shape()[1] != 1:
        raise error_at(op, "takes one element of the reduction at a time on the CPU", "k = 1 in the config")
    address = at.emit.address(base, at.index(op.indices[-1]), element)
    return _widened(at.emit.load(address, element, element_bytes(element)), at)


def _widened(value: SSAValue, at: Place) -> SSAValue:
    """As f32, exact for 16-bit floats, or integers as i32."""
    whole = isinstance(get_element_type_or_self(value.type), IntegerType)
    wide = i32 if whole else f32
    of = VectorType(wide, value.type.get_shape()) if isinstance(value.type, VectorType) else wide
    if value.type == of:
        return value
    if not whole:
        return at.emit.insert(arith.ExtFOp(value, of)).result
    element = get_element_type_or_self(value.type)
    if element not in UNSIGNED:
        return at.emit.insert(llvm.SExtOp(value, of)).res
    same = (
        VectorType(signless(element), value.type.get_shape())
        if isinstance(value.type, VectorType)
        else signless(element)
    )
    bits = at.emit.insert(UnrealizedConversionCastOp.get([value], [same])).results[0]
    return at.emit.insert(llvm.ZExtOp(bits, of)).res


def lower_store(op: tile.StoreOp, at: Place) -> None:
    ref = at.refs[op.target]
    (row,) = at.tiles[op.tile]
    masks: Sequence[SSAValue | None] = at.mask or [None] * len(row)
    addresses = chunk_addresses(at, at.address(ref, op.indices), op.tile)
    for chunk, address, mask in zip(row, addresses, masks, strict=True):
        at.emit.store(chunk, address, element_bytes(ref.type.element_type), mask)


def chunk_addresses(at: Place, start: SSAValue, value: SSAValue) -> list[SSAValue]:
    """Where the chunks of a row of the tile begin."""
    columns, element = tile_shape(value)[1], element_of(value)
    return [at.emit.address(start, c, element) if c else start for c in range(0, columns, chunk_width(columns))]
