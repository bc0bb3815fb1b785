"""`tile-allocate-shared`: where the rings of a kernel and their barriers lie in shared memory.

```mlir
%ab = tile.ring slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>)
```
becomes
```mlir
%ab = tile.ring slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>) at 0 barriers 98304
```
Slots lie at the start, one ring after another, each where the widest swizzle of its tiles repeats; the barriers of all rings lie behind them, 8 bytes for
"full" and 8 for "empty" of every slot. Roles that write slots themselves meet at a named
barrier, one for each copy, and copies in turn have one more each: `barrier 1` and so on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64

from stepwell.dialects import tile
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.types.layouts import Swizzle
from stepwell.types.targets import SM_90A

NAME = "tile-allocate-shared"
BARRIER_BYTES = 8
NAMED_BARRIERS = 16
"""Of a block (PTX ISA, bar); number 0 is the whole block's."""
UNSWIZZLED_ALIGNMENT = 128
"""Of the destination of a copy without swizzle (PTX ISA, cp.async.bulk.tensor)."""


@dataclass(frozen=True)
class AllocateSharedPass(StepwellPass):
    """Give every ring and its barriers byte offsets, from `start` on. Refused: more than `limit` bytes (0: what a block of the target may have),
    with the number of slots that fit; tiles that do not fill whole repetitions of their swizzle."""

    start: int = 0
    limit: int = 0

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp) and _rings(kernel)]
        placed = [(kernel, self._places(kernel)) for kernel in kernels]
        for kernel in kernels:
            self._barriers(kernel)
        for kernel, (places, end) in placed:
            for ring, (at, barriers) in places.items():
                ring.at, ring.barriers = IntegerAttr(at, i64), IntegerAttr(barriers, i64)
            for role, number in self._barriers(kernel).items():
                role.barrier = IntegerAttr(number, i64)
            remarks_of(ctx).add(Remark("analysis", NAME, names_of(kernel), _report(places, end, self._most())))

    def _barriers(self, kernel: tile.KernelOp) -> dict[tile.RoleOp, int]:
        """The first named barrier of each role whose threads meet or whose copies take turns."""
        found, number = {}, 1
        for role in kernel.roles:
            if _writes(role) or role.order is not None:
                found[role] = number
                number += role.copy_count * (1 if role.order is None else 2)
        if number > NAMED_BARRIERS:
            reason = f"its roles take named barriers 1 to {number - 1}, there are 1 to {NAMED_BARRIERS - 1}"
            raise PassFailure(reason, where=f"@{kernel.sym_name.data}", hint="fewer copies of a role")
        return found

    def _most(self) -> int:
        return self.limit or SM_90A.shared_bytes

    def _places(self, kernel: tile.KernelOp) -> tuple[dict[tile.RingOp, tuple[int, int]], int]:
        """Where slots and barriers of each ring begin, and where all ends."""
        offsets, end = {}, self.start
        for ring in _rings(kernel):
            offsets[ring] = end = _aligned(end, _alignment(kernel, ring))
            end += ring.slot_count * ring.slot_bytes
        places = {}
        end = _aligned(end, BARRIER_BYTES)
        for ring, offset in offsets.items():
            places[ring] = (offset, end)
            end += 2 * BARRIER_BYTES * ring.slot_count
        if end > self._most():
            raise _too_much(kernel, end, self._most())
        return places, end


def _writes(role: tile.RoleOp) -> bool:
    """Whether a role's threads fill slots: all must have written before one goes on."""
    return any(isinstance(op, tile.AcquireOp) for op in role.walk())


def _rings(kernel: tile.KernelOp) -> list[tile.RingOp]:
    return [op for op in kernel.body.block.ops if isinstance(op, tile.RingOp)]


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _alignment(kernel: tile.KernelOp, ring: tile.RingOp) -> int:
    """Where slots may begin: every tile of a slot must lie on a repetition of its swizzle."""
    needed = [Swizzle(kind.swizzle).alignment if kind.swizzle else UNSWIZZLED_ALIGNMENT for kind in ring.element_types]
    for kind, alignment in zip(ring.element_types, needed, strict=True):
        size = kind.size_in_bytes
        if size % alignment:
            rows = alignment * kind.get_shape()[0] // size
            reason = f"a tile of {size} bytes with swizzle {kind.swizzle} leaves the next one off its {alignment} bytes"
            where = f"@{kernel.sym_name.data}, tile.ring"
            raise PassFailure(reason, where=where, hint=f"give it a multiple of {max(8, rows)} rows")
    return max(needed)


def _too_much(kernel: tile.KernelOp, end: int, limit: int) -> PassFailure:
    """A refusal with the nearest legal choice: fewer slots of the largest ring."""
    largest = max(_rings(kernel), key=lambda ring: ring.slot_count * ring.slot_bytes)
    slot = largest.slot_bytes + 2 * BARRIER_BYTES
    fits = largest.slot_count - -(-(end - limit) // slot)
    hint = f"{fits} slots of {largest.slot_bytes} bytes fit" if fits > 1 else "no two slots fit: take a smaller block"
    return PassFailure(f"{end} bytes of shared memory exceed {limit}", where=f"@{kernel.sym_name.data}", hint=hint)


def _report(places: Iterable[tile.RingOp], end: int, limit: int) -> str:
    shown = ", ".join(f"{ring.slot_count} slots of {ring.slot_bytes} bytes" for ring in places)
    return f"{end} of {limit} bytes of shared memory: {shown}"


PASS = AllocateSharedPass
