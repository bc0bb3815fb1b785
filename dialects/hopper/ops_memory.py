"""Shared memory, mbarriers and the copy engine (TMA). Shared addresses are i32 byte offsets from the block's dynamic shared base."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import cast

from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import I1, I32, IntegerAttr, i32
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    base,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    prop_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.hopper.attributes import TensorMapType

MAX_TX_BYTES = 2**20 - 1
"""Largest transaction count of an mbarrier phase (PTX ISA, "Contents of the mbarrier object")."""


def constant_value(value: SSAValue) -> int | None:
    """The integer that `value` is known to be, or None."""
    if isinstance(value.owner, ConstantOp) and isinstance(value.owner.value, IntegerAttr):
        return cast(IntegerAttr, value.owner.value).value.data
    return None


def _check_barrier(op: IRDLOperation, barrier: SSAValue) -> None:
    offset = constant_value(barrier)
    if offset is not None and offset % 8:
        raise VerifyException(f"{op.name}: barrier at byte {offset}; mbarriers are 8 bytes, aligned to 8")


@irdl_op_definition
class MbarrierInitOp(IRDLOperation):
    """Make an mbarrier of 8 bytes at `barrier`: phase 0 runs, and completes when `count` arrivals and all expected bytes have come;
    then the next phase starts with the same count. One thread does it, then `hopper.fence_barrier_init` and `warp.barrier`."""

    name = "hopper.mbarrier_init"
    barrier = operand_def(I32)
    count = prop_def(IntegerAttr[I32])
    assembly_format = "$barrier `count` $count attr-dict"

    def __init__(self, barrier: SSAValue, count: int) -> None:
        super().__init__(operands=[barrier], properties={"count": IntegerAttr(count, i32)})

    def verify_(self) -> None:
        _check_barrier(self, self.barrier)
        if not 1 <= self.count.value.data < 2**20:
            raise VerifyException(f"{self.name}: count {self.count.value.data}; give 1 to {2**20 - 1} arrivals")


@irdl_op_definition
class FenceBarrierInitOp(IRDLOperation):
    """`fence.mbarrier_init.release.cluster`: makes this thread's mbarrier initialisations visible to the copy engine."""

    name = "hopper.fence_barrier_init"
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


def _check_bytes(op: _Expectation) -> None:
    """What is expected in one block on one barrier value is what the loads on it there bring."""
    _check_barrier(op, op.barrier)
    if not 0 < op.bytes.value.data <= MAX_TX_BYTES:
        raise VerifyException(f"{op.name}: {op.bytes.value.data} bytes; one phase counts 1 to {MAX_TX_BYTES}")
    users = [use.operation for use in op.barrier.uses if use.operation.parent is op.parent]
    loaded = sum(user.map_type.bytes for user in users if isinstance(user, TmaLoadOp | TmaLoadIm2colOp))
    expected = sum(user.bytes.value.data for user in users if isinstance(user, ExpectBytesOp | ExpectMoreBytesOp))
    if loaded and loaded != expected:
        raise VerifyException(f"{op.name}: expects {expected} bytes, but the loads on this barrier bring {loaded}")


class _Expectation(IRDLOperation, ABC):
    """What both ways to expect bytes on a barrier have in common."""

    barrier = operand_def(I32)
    bytes = prop_def(IntegerAttr[I32])
    assembly_format = "$barrier `,` $bytes attr-dict"

    def __init__(self, barrier: SSAValue, bytes: int) -> None:
        super().__init__(operands=[barrier], properties={"bytes": IntegerAttr(bytes, i32)})

    def verify_(self) -> None:
        _check_bytes(self)


@irdl_op_definition
class ExpectBytesOp(_Expectation):
    """`mbarrier.arrive.expect_tx`: the running phase of `barrier` also waits for `bytes` more bytes; then this thread arrives once.
    Where loads that signal the same barrier value stand in the same block, their bytes must add up to `bytes`."""

    name = "hopper.expect_bytes"


@irdl_op_definition
class ExpectMoreBytesOp(_Expectation):
    """`mbarrier.expect_tx`: the running phase of `barrier` also waits for `bytes` more bytes; nobody arrives (the phase cannot complete
    before its arrivals have come). Bytes and loads in the same block must agree as for `hopper.expect_bytes`."""

    name = "hopper.expect_more_bytes"


@irdl_op_definition
class ArriveOp(IRDLOperation):
    """`mbarrier.arrive`: every executing thread (every one with `pred` set) arrives once on the running phase, releasing its earlier
    accesses to threads that wait for it."""

    name = "hopper.arrive"
    barrier = operand_def(I32)
    pred = opt_operand_def(I1)
    assembly_format = "$barrier (`if` $pred^)? attr-dict"

    def __init__(self, barrier: SSAValue, pred: SSAValue | None = None) -> None:
        super().__init__(operands=[barrier, [] if pred is None else [pred]])

    def verify_(self) -> None:
        _check_barrier(self, self.barrier)


@irdl_op_definition
class WaitOp(IRDLOperation):
    """Wait (`mbarrier.try_wait.parity` in a loop) until the phase of parity `parity` (0 or 1) has completed: returns at once when the
    running phase has the other parity. On a fresh barrier parity 1 returns at once, parity 0 waits for phase 0. Acquires what the
    arrivals and the copy engine released."""

    name = "hopper.wait"
    barrier = operand_def(I32)
    parity = operand_def(I32)
    assembly_format = "$barrier `parity` $parity attr-dict"

    def __init__(self, barrier: SSAValue, parity: SSAValue) -> None:
        super().__init__(operands=[barrier, parity])

    def verify_(self) -> None:
        _check_barrier(self, self.barrier)


@irdl_op_definition
class ProxyFenceOp(IRDLOperation):
    """`fence.proxy.async.shared::cta`: this thread's earlier ordinary accesses to shared memory come before later ones by the copy
    engine and the tensor cores (after a barrier, for other threads too)."""

    name = "hopper.proxy_fence"
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class PrefetchTensorMapOp(IRDLOperation):
    """`prefetch.tensormap`: bring the descriptor near; no other effect."""

    name = "hopper.prefetch_tensor_map"
    map = operand_def(base(TensorMapType))
    assembly_format = "$map attr-dict `:` type($map)"

    def __init__(self, map: SSAValue) -> None:
        super().__init__(operands=[map])


def _check_load(op: TmaLoadOp | TmaLoadIm2colOp, kind: str) -> None:
    map_type, offset = op.map_type, constant_value(op.destination)
    _check_barrier(op, op.barrier)
    if map_type.kind.data != kind:
        raise VerifyException(f"{op.name}: the tensor map is {map_type.kind.data}; this load needs {kind}")
    if len(op.coordinates) != map_type.rank:
        raise VerifyException(f"{op.name}: {len(op.coordinates)} coordinates for a map of rank {map_type.rank}")
    if offset is not None and offset % map_type.alignment:
        where = f"swizzle {map_type.swizzle.data} needs shared offsets aligned to {map_type.alignment}"
        raise VerifyException(f"{op.name}: destination at byte {offset}; {where}")


@irdl_op_definition
class TmaLoadOp(IRDLOperation):
    """One thread tells the copy engine to bring the box of a tiled map at `coordinates` (i32 elements, innermost first, may be
    negative or past the end: zeros) to shared memory at `destination`; the engine then completes `map_type.bytes` bytes on
    `barrier`. Reads global memory and writes shared memory through the async proxy, at any moment until the barrier's phase
    completes."""

    name = "hopper.tma_load"
    map = operand_def(base(TensorMapType))
    coordinates = var_operand_def(I32)
    destination = operand_def(I32)
    barrier = operand_def(I32)
    assembly_format = "$map `[` $coordinates `]` `to` $destination `signal` $barrier attr-dict `:` type($map)"

    def __init__(
        self, map: SSAValue, coordinates: Sequence[SSAValue], destination: SSAValue, barrier: SSAValue
    ) -> None:
        super().__init__(operands=[map, coordinates, destination, barrier])

    @property
    def map_type(self) -> TensorMapType:
        """The descriptor's type."""
        return cast(TensorMapType, self.map.type)

    def verify_(self) -> None:
        _check_load(self, "tiled")


@irdl_op_definition
class TmaLoadIm2colOp(IRDLOperation):
    """As `hopper.tma_load` for an im2col map: coordinates (c, w, h, n) of the first pixel's upper left corner in the input (w and h
    may be negative: the padding), `offsets` (w, h) of the filter tap in input pixels, 0 .. 255. Row i of the box is output pixel i
    counted from the first: w moves by the map's stride, at the row's end h does, at the image's end n; past the last image, and
    where corner + offset lies outside the image, zeros."""

    name = "hopper.tma_load_im2col"
    map = operand_def(base(TensorMapType))
    coordinates = var_operand_def(I32)
    offsets = var_operand_def(I32)
    destination = operand_def(I32)
    barrier = operand_def(I32)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = "$map `[` $coordinates `]` `offsets` `[` $offsets `]` `to` $destination `signal` $barrier attr-dict `:` type($map)"

    def __init__(
        self,
        map: SSAValue,
        coordinates: Sequence[SSAValue],
        offsets: Sequence[SSAValue],
        destination: SSAValue,
        barrier: SSAValue,
    ) -> None:
        super().__init__(operands=[map, coordinates, offsets, destination, barrier])

    @property
    def map_type(self) -> TensorMapType:
        """The descriptor's type."""
        return cast(TensorMapType, self.map.type)

    def verify_(self) -> None:
        _check_load(self, "im2col")
        if len(self.offsets) != 2:
            raise VerifyException(f"{self.name}: {len(self.offsets)} offsets; give those of w and h")
