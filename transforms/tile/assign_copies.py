"""`tile-assign-copies`: how each tile moves, and what holds it: the operands of products come through rings of shared memory.

```mlir
%acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> .. {
  %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x64xf16, ring>
  %b = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x64xf16, ring>
  %d = tile.mma %a, %b, %c
  tile.yield %d
}
```
becomes
```mlir
%ab = tile.ring slots 4 (128x64xf16, 64x64xf16)
..
%acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> .. {
  tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
  tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
  %a, %b = tile.await %ab
  %d = tile.mma %a, %b, %c
  tile.release %ab
  tile.yield %d
}
```
The copy engine brings both operands: rows of a window by im2col, whose zeros outside are the padding, everything else by a tiled map. Operands of a tf32 product are rounded
on the way. Operands that are loaded at different places have a ring each; a right factor that is computed (converted, say) is packed: written into a slot
between `tile.acquire` and `tile.publish`, by a role of its own later. A left factor that is computed stays in registers. Tiles that are loaded into registers for anything else, and
kernels without products on the tensor cores, stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.tile import RefType, TileType
from stepwell.dialects.tile.config import RING_ALIGNMENT
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile._operand_rings import bring_operands, is_streamed, rounded_to, stands_apart, via_of
from stepwell.types.targets import SM_90A

NAME = "tile-assign-copies"


@dataclass(frozen=True)
class AssignCopiesPass(StepwellPass):
    """Give every product of tiles that a loop loads into shared memory a ring of `slots` slots (0: the config's stages), and fetch into it. Kernels
    without such loads and those that have rings stay. Refused: a ring that shared memory does not hold, operands that the copy engine cannot
    bring. Remarks: passed, how each operand comes and why."""

    slots: int = 0

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "rounds"
    rtol: ClassVar[float] = (
        4e-3  # f32 operands of a product are rounded to tf32: 2 * 2**-11 for a product, through several layers
    )

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp) and kernel.config.data.uses_wgmma]
        products = [(kernel, product) for kernel in kernels for product in _loaded_products(kernel)]
        found = [(kernel, product) for kernel, product in products if not stands_apart(product)]
        chosen = [(kernel, product, self._slots(kernel, product)) for kernel, product in found]
        for kernel, product, slots in chosen:
            remarks_of(ctx).add(Remark("passed", NAME, names_of(kernel), _through_ring(kernel, product, slots)))
        apart = [one for one in products if one not in found]
        for kernel, product in apart:
            for value in (product.a, product.b):
                if isinstance(value.owner, tile.LoadOp):
                    _check_load(kernel, product, value.owner)
            self._check_room(kernel, product)
        for kernel, product in apart:
            said = bring_operands(kernel, product, self.slots or kernel.config.data.stages)
            if said:
                remarks_of(ctx).add(Remark("passed", NAME, names_of(kernel), said))

    def _check_room(self, kernel: tile.KernelOp, product: tile.MmaOp) -> None:
        """Refuse slots of all operands that shared memory does not hold."""
        products = [op for op in kernel.walk() if isinstance(op, tile.MmaOp)]
        operands = dict.fromkeys(value for op in products for value in (op.a, op.b))
        kept = [op.a for op in products if _is_open(op.a) and not is_streamed(op.a, op)]
        kinds = [value.type for value in operands if value not in kept]
        slots = self.slots or kernel.config.data.stages
        slot = sum(kind.size_in_bytes for kind in kinds if isinstance(kind, TileType))
        most = (SM_90A.shared_bytes - RING_ALIGNMENT) // slot
        if not 1 <= slots <= most:
            hint = f"slots={max(1, min(slots, most))}" if most else "take a smaller block"
            raise _refuse(kernel, product, f"slots={slots} of {slot} bytes: shared memory holds 1 to {most}", hint)

    def _slots(self, kernel: tile.KernelOp, product: tile.MmaOp) -> int:
        """How many slots the product's ring gets; refuses what cannot be fetched or does not fit."""
        for value in (product.a, product.b):
            assert isinstance(value.owner, tile.LoadOp)
            _check_load(kernel, product, value.owner)
        stage = sum(value.type.size_in_bytes for value in (product.a, product.b) if isinstance(value.type, TileType))
        slots = self.slots or kernel.config.data.stages
        most = (SM_90A.shared_bytes - RING_ALIGNMENT) // stage
        if slots < 1 or slots > most:
            given = f"slots={slots} of {stage} bytes: shared memory holds 1 to {most}"
            raise _refuse(
                kernel, product, given, f"slots={max(1, min(slots, most))}" if most else "take a smaller block"
            )
        return slots


def _check_load(kernel: tile.KernelOp, product: tile.MmaOp, load: tile.LoadOp) -> None:
    """Refuse what the copy engine does not bring."""
    if float(load.fill.value.data) != 0.0:
        reason = f"an operand is filled with {load.fill.value.data} outside: the copy engine fills with zeros only"
        raise _refuse(kernel, product, reason)
    if load.get_dims()[-1] != len(load.indices) - 1 or list(load.get_dims()) != sorted(load.get_dims()):
        reason = f"an operand runs along dims {list(load.get_dims())}: the copy engine keeps dims in order, the last one within rows"
        raise _refuse(kernel, product, reason)


def _refuse(kernel: tile.KernelOp, product: tile.MmaOp, reason: str, hint: str = "") -> PassFailure:
    names = " + ".join(names_of(product))
    return PassFailure(reason, where=f"@{kernel.sym_name.data}, tile.mma" + (f" ({names})" if names else ""), hint=hint)


def _loaded_products(kernel: tile.KernelOp) -> list[tile.MmaOp]:
    """Products with an operand that a load brings into shared memory, or that is computed in registers."""
    products = [op for op in kernel.walk() if isinstance(op, tile.MmaOp)]
    return [op for op in products if any(_into_ring(value.owner) or _is_open(value) for value in (op.a, op.b))]


def _is_open(value: SSAValue) -> bool:
    """Whether an operand is computed in registers, without a layout that products read."""
    kind = value.type
    return isinstance(kind, TileType) and kind.home is tile.Residence.REGS and not kind.has_layout


def _into_ring(op: Operation | Block) -> bool:
    return (
        isinstance(op, tile.LoadOp)
        and isinstance(op.result.type, TileType)
        and op.result.type.home is tile.Residence.RING
    )


def _through_ring(kernel: tile.KernelOp, product: tile.MmaOp, slots: int) -> str:
    """Replace the loads of a product's operands; what was decided."""
    loads = [value.owner for value in (product.a, product.b)]
    ring = tile.RingOp(slots, [value.type for value in (product.a, product.b) if isinstance(value.type, TileType)])
    ring.ring.name_hint = "ab"
    first = kernel.body.block.first_op
    block = product.parent_block()
    assert first is not None and block is not None
    kernel.body.block.insert_op_before(ring, first)
    as_type = rounded_to(ring.element_types[0])
    said: list[str] = []
    await_ = tile.AwaitOp(ring.ring)
    for number, load in reversed(
        list(enumerate(loads))
    ):  # B may be a constant: it comes first, so that it can go ahead of the predecessor's end
        assert isinstance(load, tile.LoadOp) and isinstance(load.source.type, RefType)
        via = via_of(kernel, load)
        fetch = tile.FetchOp(load.source, load.indices, ring.ring, number, via, dims=load.get_dims(), as_type=as_type)
        inherit_location(fetch, load)
        block.insert_op_before(fetch, product)
        rounded = " as tf32" if as_type else ""
        said.insert(
            0,
            f"#{number} via {via}{rounded} ({'its rows are pixels of a window' if via == 'tma_im2col' else 'its rows lie at equal distances'})",
        )
    block.insert_op_before(await_, product)
    release = tile.ReleaseOp(ring.ring)
    block.insert_op_after(release, product)
    for op, source in ((ring, product), (await_, product), (release, product)):
        inherit_location(op, source)
    for load, made in zip(loads, await_.results, strict=True):
        assert isinstance(load, tile.LoadOp)
        made.name_hint = load.result.name_hint
        load.result.replace_all_uses_with(made)
        load.detach()
        load.erase()
    why = "the config's stages" if slots == kernel.config.data.stages else "as asked for"
    return f"a ring of {slots} slots ({why}) of {ring.slot_bytes} bytes; {', '.join(said)}"


PASS = AssignCopiesPass
