"""Products on Hopper: operands are descriptors of ring slots, the accumulator stays in flight until `tile.finish`."""

from __future__ import annotations

from xdsl.ir import SSAValue

from stepwell.dialects import hopper, tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import TileType
from stepwell.transforms.tile_to_gpu.hopper_lowering import WARPGROUP_ROWS, Lowering, fragment_of
from stepwell.transforms.tile_to_gpu.hopper_parameters import swizzle_of
from stepwell.types.elements import K_BYTES, element, operands_of


def group_bytes(kind: TileType) -> int:
    """Bytes between the rows of A that neighbouring warpgroups multiply."""
    return WARPGROUP_ROWS * kind.get_shape()[1] * element_bytes(kind.element_type)


def begin(lowering: Lowering, value: SSAValue) -> SSAValue:
    """Hand an accumulator over to the tensor cores."""
    return lowering.emit.insert(hopper.WgmmaBeginOp(value)).result


def lower_mma(lowering: Lowering, op: tile.MmaOp) -> None:
    """Issue the products of one k-tile. Only asynchronous ones reach this level: tile-pipeline-loops has said where they are waited for."""
    if op.is_async is None:
        raise lowering.refuse(op, "is not async: wgmma is, and something must wait for it", "run tile-pipeline-loops")
    if op.transpose_b is not None:
        reason = "takes b as [K, N]: products read b along k"
        raise lowering.refuse(op, reason, "load b as [N, K], without transpose_b")
    kind = op.a.type
    assert isinstance(kind, TileType) and isinstance(op.c.type, TileType)
    fragment_of(lowering, op, op.c.type)
    way = element(str(kind.element_type)).product("wgmma")
    if way is None:
        raise lowering.refuse(op, f"multiplies {kind.element_type}: operands are {', '.join(operands_of('wgmma'))}")
    emit, role = lowering.emit, lowering.current
    a_rows = role.operand_rows[group_bytes(kind)]
    a, b = (_descriptor(lowering, value, rows) for value, rows in ((op.a, a_rows), (op.b, None)))
    instructions = kind.get_shape()[1] * element_bytes(kind.element_type) // K_BYTES
    lowering.values[op.result] = emit.insert(
        hopper.WgmmaOp(lowering.values[op.c], a, b, way.operand, instructions)
    ).result
    role.in_flight = op.result


def _descriptor(lowering: Lowering, value: SSAValue, rows: SSAValue | None) -> SSAValue:
    """The descriptor of an element of the slot at hand, from this warpgroup's first row on."""
    emit, place = lowering.emit, lowering.current.places[value]
    address = lowering.values[value]
    if place:
        address = emit.add(address, emit.i32(place))
    if rows is not None:
        address = emit.add(address, rows)
    assert isinstance(value.type, TileType)
    return emit.insert(hopper.DescriptorOp(address, swizzle_of(value.type))).result


def lower_finish(lowering: Lowering, op: tile.FinishOp) -> None:
    """Wait for a product in flight; then its accumulator is a value."""
    product = lowering.emit.insert(hopper.WgmmaWaitOp(lowering.values[op.accumulator], 0)).result
    product.name_hint = "product"
    lowering.values[op.result] = product
    lowering.current.in_flight = None
