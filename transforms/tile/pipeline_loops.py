"""`tile-pipeline-loops`: what overlaps across iterations: products run while the next one's operands are awaited.

```mlir
%z = tile.fill 0.0 : f32 -> ..
%acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> .. {
  ..
  %a, %b = tile.await %ab
  %d = tile.mma %a, %b, %c
  tile.release %ab
  tile.yield %d
}
%o = tile.map (%p = %acc) { .. }
```
becomes
```mlir
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
%o = tile.map (%p = %product) { .. }
```
With one product in flight the tensor cores have the next one waiting when it ends; a slot is then released one product later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, UnitAttr, i64
from xdsl.ir import Operation

from stepwell.dialects import tile
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark

NAME = "tile-pipeline-loops"
MAX_IN_FLIGHT = 7
"""Groups of products that may be waited past (PTX ISA, wgmma.wait_group takes a small constant)."""


@dataclass(frozen=True)
class PipelineLoopsPass(StepwellPass):
    """Keep `in_flight` products running in every loop that awaits a ring. Kernels without such loops, and those whose
    products are asynchronous already, stay. Refused: more products in flight than slots can be held. Remarks: passed, what overlaps and
    why."""

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
        for _, loop in found:
            for product in _products(loop):
                _overlap(loop, product, self.in_flight)
            flight = (
                f"{self.in_flight} product{'s' * (self.in_flight > 1)} in flight: a slot is released that much later"
            )
            remarks_of(ctx).add(Remark("passed", NAME, names_of(loop), flight))
        for kernel in kernels:
            if _finish_at_once(kernel):
                told = "products whose results are looked at in their iteration are waited for at once: nothing overlaps with them"
                remarks_of(ctx).add(Remark("missed", NAME, names_of(kernel), told))

    def _check(self, kernel: tile.KernelOp, loop: tile.ForOp) -> None:
        slots = min(ring.slot_count for ring in _rings(loop))
        most = min(slots - 1, MAX_IN_FLIGHT)
        if not 1 <= self.in_flight <= most:
            given = f"in_flight={self.in_flight}: a ring of {slots} slots allows 1 to {most}, one slot must be free to be filled"
            hint = f"in_flight={max(1, min(self.in_flight, most))}" if most else "slots=2 for tile-assign-copies"
            raise PassFailure(given, where=f"@{kernel.sym_name.data} ({' + '.join(names_of(loop))})", hint=hint)


def _finish_at_once(kernel: tile.KernelOp) -> bool:
    """Wait for every product that is not in flight yet, where it stands; whether there was one."""
    rings = any(isinstance(op, tile.RingOp) for op in kernel.body.block.ops)
    found = [op for op in kernel.walk() if isinstance(op, tile.MmaOp) and op.is_async is None] if rings else []
    for product in found:
        product.is_async = UnitAttr()
        finish = tile.FinishOp(product.result)
        inherit_location(finish, product)
        finish.result.name_hint = product.result.name_hint
        for use in [use for use in product.result.uses if use.operation is not finish]:
            use.operation.operands[use.index] = finish.result
        block = product.parent_block()
        assert block is not None
        block.insert_op_after(finish, product)
    return bool(found)


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


PASS = PipelineLoopsPass
