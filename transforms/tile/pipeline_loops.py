"""`tile-pipeline-loops`: what overlaps: products run while the next one's operands are awaited, an epilogue's operands come while products run.

```mlir
%z = tile.fill 0.0 : f32 -> ..
%acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> .. {
  ..
  %a, %b = tile.await %ab
  %d = tile.mma %a, %b, %c
  tile.release %ab
  tile.yield %d
}
%r = tile.load %res[%i, %j] : ..
%o = tile.map (%p = %acc, %q = %r) { .. }
```
becomes
```mlir
%r = tile.load %res[%i, %j] : ..
%z = tile.fill 0.0 : f32 -> ..
%acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> .. {
  ..
  %a, %b = tile.await %ab
  %d = tile.mma %a, %b, %c async
  tile.release %ab behind 1
  tile.yield %d
}
%product = tile.finish %acc
tile.release %ab
%o = tile.map (%p = %product, %q = %r) { .. }
```
With one product in flight the tensor cores have the next one waiting when it ends; a slot is then released one product later. What an epilogue reads is
loaded before the products when registers are left for it. Where they are not, and two blocks fit on a multiprocessor, the config gets `resident = 2`: one block's
epilogue overlaps with the other's products instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, UnitAttr, i64
from xdsl.ir import Operation

from stepwell.dialects import tile, warp
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile._registers import MAX_REGISTERS, budgets, operand_registers
from stepwell.transforms.tile_to_gpu.emitter import is_long

NAME = "tile-pipeline-loops"
MAX_IN_FLIGHT = 7
"""Groups of products that may be waited past (PTX ISA, wgmma.wait_group takes a small constant)."""
FEW_REGISTERS = 5
"""What a short epilogue takes beside accumulators and operands, where the loop's state is dead (128x64 with an f32 residual: 80 of 85 registers)."""
OTHER_REGISTERS = 56
"""For addresses, loop state and the temporaries of an epilogue."""
SHARED_PER_MULTIPROCESSOR = 228 * 1024
RESERVED_SHARED = 1024
"""What the system takes of a block's shared memory (CUDA C++ Programming Guide, compute capability 9.0)."""
BARRIER_BYTES = 16
"""Of one slot: full and empty."""


@dataclass(frozen=True)
class PipelineLoopsPass(StepwellPass):
    """Keep `in_flight` products running in every loop that awaits a ring, and place the epilogue's loads. Kernels without such loops, and those whose
    products are asynchronous already, stay. Refused: more products in flight than slots can be held. Remarks: passed, what overlaps and
    why; missed, an epilogue whose loads nothing hides."""

    in_flight: int = 1

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp)]
        found = [(kernel, loop) for kernel in kernels for loop in _awaiting_loops(kernel)]
        for kernel, loop in found:
            self._check(kernel, loop)
        for kernel, loop in found:
            for product in _products(loop):
                _overlap(loop, product, self.in_flight)
            flight = (
                f"{self.in_flight} product{'s' * (self.in_flight > 1)} in flight: a slot is released that much later"
            )
            remarks_of(ctx).add(Remark("passed", NAME, names_of(loop), flight))
            remarks_of(ctx).add(_place_loads(kernel, loop))

    def _check(self, kernel: tile.KernelOp, loop: tile.ForOp) -> None:
        slots = min(ring.slot_count for ring in _rings(loop))
        most = min(slots - 1, MAX_IN_FLIGHT)
        if not 1 <= self.in_flight <= most:
            given = f"in_flight={self.in_flight}: a ring of {slots} slots allows 1 to {most}, one slot must be free to be filled"
            hint = f"in_flight={max(1, min(self.in_flight, most))}" if most else "slots=2 for tile-assign-copies"
            raise PassFailure(given, where=f"@{kernel.sym_name.data} ({' + '.join(names_of(loop))})", hint=hint)


def _products(loop: tile.ForOp) -> list[tile.MmaOp]:
    return [op for op in loop.body.block.ops if isinstance(op, tile.MmaOp)]


def _awaiting_loops(kernel: tile.KernelOp) -> list[tile.ForOp]:
    """Loops whose products read a ring and end in their iteration, each summing in a tile that the loop carries."""
    loops = [op for op in kernel.walk() if isinstance(op, tile.ForOp)]
    return [loop for loop in loops if _products(loop) and all(_sums(loop, product) for product in _products(loop))]


def _sums(loop: tile.ForOp, product: tile.MmaOp) -> bool:
    last = loop.body.block.last_op
    yielded = isinstance(last, tile.YieldOp) and product.result in last.arguments
    ringed = isinstance(product.a.owner, tile.AwaitOp) and product.a.owner.parent is loop.body.block
    return product.is_async is None and ringed and yielded and product.c in loop.iter_args


def _rings(loop: tile.ForOp) -> list[tile.RingOp]:
    awaits = [op for op in loop.body.block.ops if isinstance(op, tile.AwaitOp)]
    return [op.ring.owner for op in awaits if isinstance(op.ring.owner, tile.RingOp)]


def _overlap(loop: tile.ForOp, product: tile.MmaOp, in_flight: int) -> None:
    """Make a product asynchronous; it is finished, and its last slots released, behind the loop."""
    product.is_async = UnitAttr()
    carried = next(after for inside, after in zip(loop.iter_args, loop.carried, strict=True) if inside is product.c)
    finish = tile.FinishOp(carried)
    inherit_location(finish, product)
    finish.result.name_hint = "product"
    carried.replace_uses_with_if(finish.result, lambda use: use.operation is not finish)
    made: list[Operation] = [finish]
    for release in [op for op in loop.body.block.ops if isinstance(op, tile.ReleaseOp) and not op.kept]:
        release.behind = IntegerAttr(in_flight, i64)
        rest = tile.ReleaseOp(release.ring)
        inherit_location(rest, release)
        made.append(rest)
    block = loop.parent_block()
    assert block is not None
    block.insert_ops_after(made, loop)


def _place_loads(kernel: tile.KernelOp, loop: tile.ForOp) -> Remark:
    """Decide how many blocks share a multiprocessor, and whether the epilogue's operands are loaded before the loop."""
    block = kernel.grid.body.block
    epilogue = list(block.ops)[list(block.ops).index(loop) + 1 :]
    loads = [op for op in epilogue if isinstance(op, tile.LoadOp)]
    rows, columns = kernel.grid.get_block()[-2:]
    resident, alone = _resident(kernel, epilogue)
    if resident > 1:
        kernel.config = tile.ConfigAttr(replace(kernel.config.data, resident=resident))
        return Remark(
            "passed",
            NAME,
            names_of(kernel),
            f"{resident} blocks on a multiprocessor: one's epilogue overlaps with the other's products",
        )
    given = budgets(rows, columns)
    most = given[1] if given else min(MAX_REGISTERS, warp.REGISTER_FILE // (32 * kernel.config.data.warps))
    held, wanted = columns // 2, operand_registers(loads, columns)
    sum_ = f"accumulators {held}, operands {wanted} and {OTHER_REGISTERS} beside them, of {most} registers"
    if held + wanted + OTHER_REGISTERS > most:
        return Remark(
            "missed",
            NAME,
            names_of(kernel),
            f"the epilogue's operands are loaded after the products: {sum_}; one block, for {alone}",
        )
    _move_before(loads, block.first_op)
    return Remark(
        "passed",
        NAME,
        names_of(kernel),
        f"the epilogue's operands are loaded before the products: {sum_}; one block, for {alone}",
    )


def _resident(kernel: tile.KernelOp, epilogue: Sequence[Operation]) -> tuple[int, str]:
    """Blocks on a multiprocessor: two where there is work for them and both fit; and why there is only one."""
    rows, columns = kernel.grid.get_block()[-2:]
    if tile.ONE_WAVE in kernel.attributes:
        return 1, "no launch has tiles for more"
    if budgets(rows, columns):
        return 1, "roles have register budgets"
    if any(isinstance(op, tile.MapOp) and is_long(op) for op in epilogue):
        return 1, "the epilogue has many temporaries"
    loads = [op for op in epilogue if isinstance(op, tile.LoadOp)]
    half = warp.REGISTER_FILE // (2 * 32 * kernel.config.data.warps)
    if columns // 2 + operand_registers(loads, columns) > half - FEW_REGISTERS:
        return 1, f"a thread of one of two has {half} registers"
    rings = [op for op in kernel.body.block.ops if isinstance(op, tile.RingOp)]
    shared = sum(ring.slot_count * (ring.slot_bytes + BARRIER_BYTES) for ring in rings)
    if 2 * (shared + RESERVED_SHARED) > SHARED_PER_MULTIPROCESSOR:
        return 1, f"two rings of {shared} bytes do not fit"
    return 2, ""


def _move_before(loads: Sequence[tile.LoadOp], place: Operation | None) -> None:
    """Loads, and the constants that they index with, before an op."""
    assert place is not None and place.parent is not None
    constants = [index.owner for load in loads for index in load.indices if isinstance(index.owner, arith.ConstantOp)]
    for op in (*dict.fromkeys(constants), *loads):
        op.detach()
        place.parent.insert_op_before(op, place)


PASS = PipelineLoopsPass
