"""graph-fuse-rows: a reduction, softmax or normalisation takes the elementwise ops before and behind it along.

```mlir
%1 = graph.binary mul %x, %scale : ..
%2 = graph.binary add %1, %mask : ..
%3 = graph.softmax %2 dims [3] : ..
%4 = graph.cast %3 : ..
```
becomes
```mlir
%4 = graph.fusion "softmax" (%0 = %x : .., %1 = %scale : .., %2 = %mask : ..) -> (tensor<2x4x8x8xf16>) {
  (the four ops)
  graph.yield %4 : tensor<2x4x8x8xf16>
}
```

What stands before is computed as often as the rows are read, so that only cheap ops go along with what reads them several times; what stands
behind is taken while each value has one user. Nothing is rounded differently: the ops are the same."""

from __future__ import annotations

from xdsl.dialects import func
from xdsl.ir import Operation

from stepwell.dialects import graph
from stepwell.passes import Rewriter, names_of, rewrite
from stepwell.transforms.graph._outline import outline
from stepwell.transforms.graph._values import in_fusion, is_dead, shape_of, users
from stepwell.transforms.graph.fuse_single import Reducing

Elementwise = graph.UnaryOp | graph.BinaryOp | graph.CastOp | graph.CompareOp | graph.SelectOp
CHEAP = ("relu", "neg", "abs", "not", "add", "sub", "mul", "max", "min", "and", "or", "xor")
"""Kinds that cost no more than the load that they spare."""
LONGEST = 16
"""Ops on each side."""


@rewrite("graph-fuse-rows", level="graph", meaning="exact")
def fuse_rows(op: Reducing, rewriter: Rewriter, *, no_fuse: tuple[str, ...] = ()) -> None:
    """Make a fusion of an op that folds rows and the elementwise ops around it. See the file's head.

    `no_fuse` lists source names that no fusion takes. Remarks: passed with what was fused, missed with why what follows was not taken."""
    if in_fusion(op) or is_dead(op):
        return
    before = _before(op, no_fuse)
    behind, reason = _behind(op, no_fuse)
    if before or behind:
        kinds = [", ".join(map(_kind, ops)) for ops in (before, behind)]
        told = [f"{kinds[0]} before"] * bool(before) + [f"{kinds[1]} behind"] * bool(behind)
        rewriter.passed(
            f"fused {' and '.join(told)} into {_kind(op)}: one kernel in place of {len(before) + 1 + len(behind)}"
        )
    if reason:
        rewriter.missed(reason)
    outline([*before, op, *behind], rewriter, op)


def _before(root: Reducing, no_fuse: tuple[str, ...]) -> list[Operation]:
    """The elementwise ops whose results nothing but the root needs, in program order."""
    taken: list[Operation] = []
    waiting = [root.operand]
    while waiting and len(taken) < LONGEST:
        made = waiting.pop().owner
        if not isinstance(made, Elementwise) or in_fusion(made) or made in taken or _excluded(made, no_fuse):
            continue
        needed = all(user is root or user in taken for user in users(made))
        once = isinstance(root, graph.ReduceOp)
        if needed and (once or _is_cheap(made)) and shape_of(made.results[0]) == shape_of(root.operand):
            taken.append(made)
            waiting += made.operands
    order = {op: position for position, op in enumerate(_block_ops(root))}
    return sorted(taken, key=order.__getitem__)


def _block_ops(op: Operation) -> list[Operation]:
    block = op.parent_block()
    return list(block.ops) if block is not None else []


def _behind(root: Reducing, no_fuse: tuple[str, ...]) -> tuple[list[Operation], str]:
    """The elementwise ops that follow, each the only user of the one before it; and why the next one is not taken, where something is lost."""
    taken: list[Operation] = []
    last: Operation = root
    while len(taken) < LONGEST:
        after = users(last)
        results = [result for result in last.results if result.uses.get_length()]
        if len(after) != 1 or len(results) != 1:
            elementwise = [user for user in after if isinstance(user, Elementwise)]
            return taken, f"{_name(last)} is used by several: its value is stored" if elementwise else ""
        user, shape = after[0], shape_of(results[0])
        if isinstance(user, func.ReturnOp) or not isinstance(user, Elementwise) or in_fusion(user):
            return taken, ""
        if _excluded(user, no_fuse):
            return taken, f"{_name(user)} is excluded"
        if shape_of(user.results[0]) != shape:
            return taken, ""
        taken.append(user)
        last = user
    return taken, ""


def _is_cheap(op: Operation) -> bool:
    return isinstance(op, graph.CastOp | graph.SelectOp | graph.CompareOp) or getattr(op, "kind", "") in CHEAP


def _excluded(op: Operation, no_fuse: tuple[str, ...]) -> bool:
    return bool(set(names_of(op)) & set(no_fuse))


def _kind(op: Operation) -> str:
    return str(op.kind) if isinstance(op, graph.UnaryOp | graph.BinaryOp) else op.name.removeprefix("graph.")


def _name(op: Operation) -> str:
    """How a remark calls an op."""
    return " + ".join(names_of(op)) or op.name


PASS = fuse_rows
