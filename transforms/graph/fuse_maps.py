"""graph-fuse-maps: elementwise ops that follow each other are one kernel.

```mlir
%1 = graph.binary mul %x, %s : ..
%2 = graph.binary add %1, %b : ..
%3 = graph.unary relu %2 : ..
```
becomes
```mlir
%3 = graph.fusion "mul" (%0 = %x : .., %1 = %s : .., %2 = %b : ..) -> (tensor<8x4x4x64xf32>) {
  (the three ops)
  graph.yield %3 : tensor<8x4x4x64xf32>
}
```
Only what no product or reduction has taken along. A chain goes on while its value is used by elementwise ops alone that make one value together; a pass over memory for each op
becomes one for all. Nothing is rounded differently.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation

from stepwell.dialects import graph
from stepwell.passes import Rewriter, names_of, rewrite
from stepwell.transforms.graph._chains import MOST, Choice, function_of
from stepwell.transforms.graph._outline import outline
from stepwell.transforms.graph._values import in_fusion, is_dead


@rewrite("graph-fuse-maps", level="graph", meaning="exact")
def fuse_maps(op: Choice, rewriter: Rewriter, *, no_fuse: tuple[str, ...] = ()) -> None:
    """Make a fusion of elementwise ops that follow each other. See the file's head.

    `no_fuse` lists source names that stay alone. Remarks: passed with what was fused; missed where operands that are repeated along different
    dims end the chain."""
    if in_fusion(op) or is_dead(op) or set(names_of(op)) & set(no_fuse):
        return
    chain: list[Operation] = [op]

    def may_take(user: Operation, inside: Sequence[Operation]) -> bool:
        if set(names_of(user)) & set(no_fuse):
            return False
        if len(dims := _repeated([*chain, *inside, user])) > 1:
            listed = ", others along ".join(str(list(each)) for each in sorted(dims))
            rewriter.missed(
                f"{_kind(user)} stays out: some operands vary along dims {listed}: a kernel has tiles for one of them"
            )
            return False
        return True

    while len(chain) < MOST and (taken := function_of(chain[-1], may_take)):
        chain += taken
    if len(chain) == 1:
        return
    rewriter.passed(f"fused {', '.join(map(_kind, chain))}: one kernel in place of {len(chain)}")
    outline(chain, rewriter, op)


def _repeated(ops: Sequence[Operation]) -> set[tuple[int, ...]]:
    """Along which dims the operands run that are repeated along others: where they differ, no few dims of a tile serve them all."""
    feeders = [operand.owner for op in ops for operand in op.operands]
    return {tuple(feeder.dims) for feeder in feeders if isinstance(feeder, graph.BroadcastOp) and feeder.dims}


def _kind(op: Operation) -> str:
    return str(op.kind) if isinstance(op, graph.UnaryOp | graph.BinaryOp) else op.name.removeprefix("graph.")


PASS = fuse_maps
