"""Products on Hopper: operands are descriptors of ring slots, the accumulator stays in flight until `tile.finish`."""

from __future__ import annotations

from xdsl.dialects.builtin import VectorType
from xdsl.ir import SSAValue

from stepwell.dialects import hopper, tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import TileType
from stepwell.transforms.tile_to_gpu.hopper_lowering import MOST_PENDING, WARPGROUP_ROWS, Lowering, fragment_of
from stepwell.types.elements import K_BYTES, element, operands_of

TRANSPOSED_BYTES = 2
"""Of elements whose operand may lie as [K, N] (PTX ISA, wgmma.mma_async: transposition is for .f16 and .bf16)."""


def group_bytes(kind: TileType) -> int:
    """Bytes between the rows of A that neighbouring warpgroups multiply."""
    return WARPGROUP_ROWS * kind.swizzle


def begin(lowering: Lowering, value: SSAValue) -> SSAValue:
    """Hand an accumulator over to the tensor cores."""
    return lowering.emit.insert(hopper.WgmmaBeginOp(value)).result


def _begun(lowering: Lowering, value: SSAValue, held: SSAValue) -> SSAValue:
    """An accumulator that begins with this product: zeros are not written anywhere before."""
    owner = value.owner
    if isinstance(owner, tile.FillOp) and str(owner.value.value.data) in ("0", "0.0"):
        assert isinstance(held.type, VectorType)
        return lowering.emit.insert(hopper.WgmmaZeroOp(hopper.PendingType(held.type))).result
    return begin(lowering, held)


def lower_mma(lowering: Lowering, op: tile.MmaOp) -> None:
    """Issue the products of one k-tile. Only asynchronous ones reach this level: tile-pipeline-loops has said where they are waited for."""
    if op.is_async is None:
        raise lowering.refuse(op, "is not async: wgmma is, and something must wait for it", "run tile-pipeline-loops")
    kind, right = op.a.type, op.b.type
    assert isinstance(kind, TileType) and isinstance(right, TileType) and isinstance(op.c.type, TileType)
    fragment_of(lowering, op, op.c.type)
    way = element(str(kind.element_type)).product("wgmma")
    if way is None:
        raise lowering.refuse(op, f"multiplies {kind.element_type}: operands are {', '.join(operands_of('wgmma'))}")
    if op.transpose_b is not None and element_bytes(kind.element_type) != TRANSPOSED_BYTES:
        raise lowering.refuse(op, f"takes b as [K, N] of {kind.element_type}: wgmma transposes 16-bit elements")
    emit, role = lowering.emit, lowering.current
    count = kind.get_shape()[1] * element_bytes(kind.element_type) // K_BYTES
    held = lowering.values[op.c]
    accumulator = held if isinstance(held.type, hopper.PendingType) else _begun(lowering, op.c, held)
    turned = op.transpose_b is not None
    held_a = isinstance(kind.layout, tile.WgmmaAAttr)
    a = lowering.values[op.a] if held_a else _descriptor(lowering, op.a, role.operand_rows[group_bytes(kind)])
    b = _descriptor(lowering, op.b, None, leading=_panel_bytes(right) if turned else 0)
    steps = _transposed_steps(right, count) if turned else _steps(right, count)
    made: hopper.WgmmaOp | hopper.WgmmaRegistersOp
    if held_a:
        made = hopper.WgmmaRegistersOp(accumulator, a, b, way.operand, count, transpose_b=turned, steps_b=steps)
    else:
        along = _steps(kind, count)
        made = hopper.WgmmaOp(accumulator, a, b, way.operand, count, transpose_b=turned, steps_a=along, steps_b=steps)
    lowering.values[op.result] = emit.insert(made).result
    role.in_flight = op.result
    role.issued.append(op.result)


def _panel_bytes(kind: TileType) -> int:
    """Bytes between the panels of a tile that is wider than its swizzle."""
    return kind.get_shape()[0] * kind.swizzle


def _steps(kind: TileType, count: int) -> list[int] | None:
    """Where each of `count` instructions begins in a K-major tile; None where its rows are one swizzle, along which they follow each other."""
    swizzle = kind.swizzle
    if count * K_BYTES <= swizzle:
        return None
    return [K_BYTES * n // swizzle * _panel_bytes(kind) + K_BYTES * n % swizzle for n in range(count)]


def _transposed_steps(kind: TileType, count: int) -> list[int]:
    """The same in a tile [K, N]: rows of k lie one swizzle apart."""
    rows = K_BYTES // element_bytes(kind.element_type)
    return [rows * kind.swizzle * n for n in range(count)]


def _descriptor(lowering: Lowering, value: SSAValue, rows: SSAValue | None, leading: int = 0) -> SSAValue:
    """The descriptor of an element of the slot at hand, from this warpgroup's first row on."""
    emit, place = lowering.emit, lowering.current.places[value]
    address = lowering.values[value]
    if place:
        address = emit.add(address, emit.i32(place))
    if rows is not None:
        address = emit.add(address, rows)
    assert isinstance(value.type, TileType)
    return emit.insert(hopper.DescriptorOp(address, value.type.swizzle, leading)).result


def lower_finish(lowering: Lowering, op: tile.FinishOp) -> None:
    """Wait for a product in flight, and not for those that began after it; then its accumulator is a value."""
    role, held = lowering.current, op.accumulator
    later = len(role.issued) - role.issued.index(held) - 1 if held in role.issued else 0
    waiting = hopper.WgmmaWaitOp(lowering.values[held], min(later, MOST_PENDING), ends=True)
    product = lowering.emit.insert(waiting).result
    product.name_hint = "product"
    lowering.values[op.result] = product
    if not later:
        role.in_flight = None
