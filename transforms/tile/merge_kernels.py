"""`tile-merge-kernels`: kernels that are the same but for their name become one.

```mlir
tile.kernel @conv1(%x: ..) -> (%y: ..) config #tile.config<..> { body }
tile.kernel @conv2(%x: ..) -> (%y: ..) config #tile.config<..> { the same body }
%1 = tile.apply @conv1(%v1, %w1) : ..
%2 = tile.apply @conv2(%v2, %w2) : ..
```
becomes
```mlir
tile.kernel @conv1(%x: ..) -> (%y: ..) config #tile.config<..> { body }
%1 = tile.apply @conv1(%v1, %w1) : ..
%2 = tile.apply @conv1(%v2, %w2) : ..
```
Extents, strides, pads and taps are not in a kernel, so kernels of different layers merge. The applications keep their
source names; the kernel and its ops carry those of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, SymbolRefAttr

from stepwell.dialects import tile
from stepwell.passes import Meaning, StepwellPass, fuse_locations, names_of, remarks_of
from stepwell.passes.remarks import Remark

NAME = "tile-merge-kernels"
Kernel = tile.KernelOp | tile.LoopsKernel


@dataclass(frozen=True)
class MergeKernelsPass(StepwellPass):
    """Keep one of the structurally equal kernels and let all applications use it. Remarks: passed, which kernel stands
    for which; missed, a kernel with the same parameters, config and ops that differs in a constant or in how its ops
    are wired."""

    name = NAME
    level: ClassVar[str] = "tile"
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kept: dict[tuple[object, ...], list[Kernel]] = {}
        renamed: dict[str, str] = {}
        for kernel in [inner for inner in op.ops if isinstance(inner, Kernel)]:
            candidates = kept.setdefault(signature(kernel), [])
            first = next((other for other in candidates if equal_bodies(other, kernel)), None)
            if first is None:
                if candidates:
                    reason = f"@{kernel.sym_name.data} has the form of @{candidates[0].sym_name.data} but another body"
                    remarks_of(ctx).add(Remark("missed", NAME, names_of(kernel), reason))
                candidates.append(kernel)
                continue
            renamed[kernel.sym_name.data] = first.sym_name.data
            message = f"@{first.sym_name.data} stands for @{kernel.sym_name.data}"
            remarks_of(ctx).add(Remark("passed", NAME, names_of(kernel), message))
            fuse_names(first, kernel)
            kernel.detach()
            kernel.erase()
        for apply in [inner for inner in op.walk() if isinstance(inner, tile.ApplyOp)]:
            name = apply.kernel.string_value()
            if name in renamed:
                apply.kernel = SymbolRefAttr(renamed[name])


def signature(kernel: Kernel) -> tuple[object, ...]:
    """What equal kernels have in common, cheap to compare. Types are part of it: structural equivalence in xDSL looks at operands, properties
    and regions only."""
    ops = tuple((op.name, *op.result_types) for op in kernel.body.walk())
    own = {name: held for name, held in kernel.properties.items() if name != "sym_name"}
    return (kernel.name, tuple(sorted(own.items(), key=lambda entry: entry[0])), ops)


def equal_bodies(first: Kernel, second: Kernel) -> bool:
    """Whether two kernels are the same but for name and locations."""
    attributes = dict(first.attributes) == dict(second.attributes)
    return attributes and first.body.is_structurally_equivalent(second.body)


def fuse_names(kept: Kernel, merged: Kernel) -> None:
    """Give each op of `kept` the source names of its counterpart too."""
    for op, other in zip(kept.walk(), merged.walk(), strict=True):
        op.location = fuse_locations([op, other])


PASS = MergeKernelsPass
