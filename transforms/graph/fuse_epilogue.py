"""graph-fuse-epilogue: a convolution or product takes the elementwise ops behind it along (TensorRT's vertical fusion).

```mlir
%1 = graph.conv %x, %w strides [1, 1] .. channels_last : ..
%2 = graph.broadcast %b dims [3] : tensor<64xf32> -> tensor<8x4x4x64xf32>
%3 = graph.binary add %1, %2 : ..
%4 = graph.binary add %3, %residual : ..
%5 = graph.unary relu %4 : ..
```
becomes
```mlir
%5 = graph.fusion "conv" (%0 = %x : .., %1 = %w : .., %2 = %b : tensor<64xf32>, %3 = %residual : ..) -> (tensor<8x4x4x64xf32>) {
  (the five ops)
  graph.yield %5 : tensor<8x4x4x64xf32>
}
```

Ops that make one value of the chain's last together, however often they read it (`x * sigmoid(x)`), go in together. The chain ends where a value is
used elsewhere too, is a network output, or meets an op that is not elementwise or whose operand or result would
take the product out of its tiles. Nothing is rounded differently:
the ops are the same, only their results stay in registers.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import func
from xdsl.dialects.builtin import f16, f32
from xdsl.ir import Operation

from stepwell.dialects import graph
from stepwell.passes import Rewriter, names_of, rewrite
from stepwell.transforms.graph._chains import Epilogue, function_of
from stepwell.transforms.graph._outline import Feeding, outline
from stepwell.transforms.graph._values import in_fusion, is_dead, shape_of, users
from stepwell.transforms.tensors import element_of

TILES = (f16, f32)
"""Element types of products that kernels compute in tiles."""


@rewrite("graph-fuse-epilogue", level="graph", meaning="exact")
def fuse_epilogue(
    op: graph.ConvOp | graph.MatmulOp, rewriter: Rewriter, *, residual: bool = True, no_fuse: tuple[str, ...] = ()
) -> None:
    """Make a fusion of a convolution or product and the elementwise ops behind it. See the file's head.

    `residual` allows a second computed operand (a residual) in the chain, `no_fuse` lists source names that no chain takes. Remarks:
    passed with what was fused, missed with why the chain ended where an op follows that might have been fused."""
    if in_fusion(op):
        return
    chain: list[Operation] = [op]
    while True:
        following, reason, hint = _next(chain, residual, no_fuse)
        taken = [following] if following is not None else _function(chain, residual, no_fuse)
        if not taken:
            break
        chain += taken
    if is_dead(chain[-1]):
        return
    if len(chain) > 1:
        rewriter.passed(f"fused {_describe(chain)}: one kernel in place of {len(chain)}")
    if reason:
        rewriter.missed(reason, hint)
    outline(chain, rewriter, op)


def _next(chain: list[Operation], residual: bool, no_fuse: tuple[str, ...]) -> tuple[Epilogue | None, str, str]:
    """The op that the chain can take next, or None with the reason and a hint; no reason where nothing was lost."""
    last = chain[-1]
    behind = users(last)
    if len(behind) != 1:
        elementwise = any(isinstance(user, Epilogue) for user in behind)
        where = " and ".join(_name(user) for user in behind)
        return None, f"{_name(last)} is used by {where}: its value is stored" if elementwise else "", ""
    (user,) = behind
    if isinstance(user, func.ReturnOp) or not isinstance(user, Epilogue):
        return None, "", ""
    if set(names_of(user)) & set(no_fuse):
        return None, f"{_name(user)} is excluded", "remove it from the option no-fuse"
    if reason := _breaks_tiles(chain[0], user, chain):
        return (
            None,
            f"{_name(user)} {reason}",
            "the product keeps its tiles, and matrix instructions where there are any",
        )
    if isinstance(user, graph.BinaryOp) and not residual and _computed_operand(user, chain):
        return None, f"{_name(user)} has a computed second operand", "set the option residual to true"
    return user, "", ""


def _function(chain: list[Operation], residual: bool, no_fuse: tuple[str, ...]) -> list[Operation]:
    """The elementwise ops behind the chain that only together give one value in the product's tiles."""

    def may_take(op: Operation, inside: Sequence[Operation]) -> bool:
        held = [*chain, *inside]
        excluded = set(names_of(op)) & set(no_fuse)
        unwanted = isinstance(op, graph.BinaryOp) and not residual and _computed_operand(op, held)
        return not (excluded or unwanted or _operand_breaks_tiles(chain[0], op, held))

    return function_of(chain[-1], may_take, lambda op, inside: not _breaks_tiles(chain[0], op, [*chain, *inside]))


def _breaks_tiles(root: Operation, user: Operation, inside: list[Operation]) -> str:
    """Why a kernel of the root's tiles cannot hold `user` as well; empty where it can: what is written has elements of a product in tiles."""
    if not _has_tiles(root):
        return ""
    if element_of(user.results[0]) not in TILES:
        return f"makes elements of type {element_of(user.results[0])}"
    return _operand_breaks_tiles(root, user, inside)


def _has_tiles(root: Operation) -> bool:
    batched = isinstance(root, graph.MatmulOp) and len(shape_of(root.b)) > 2
    return not batched and element_of(root.results[0]) in TILES


def _operand_breaks_tiles(root: Operation, user: Operation, inside: list[Operation]) -> str:
    """Why an operand of `user` cannot be read in the root's tiles, which are rows and columns: it runs along all of the rows or none, and has
    elements of a tile unless it is computed inside."""
    if not _has_tiles(root):
        return ""
    assert isinstance(root, graph.ConvOp | graph.MatmulOp)
    rank = len(shape_of(root.result))
    column = 1 if isinstance(root, graph.ConvOp) and root.layout == "channels_first" else rank - 1
    rows = {dim for dim in range(rank) if dim != column and shape_of(root.result)[dim] > 1}
    for operand in user.operands:
        if operand.owner in inside or isinstance(operand.owner, graph.ConstantOp):
            continue
        if element_of(operand) not in TILES:
            return f"has an operand of type {element_of(operand)}"
        along = rows & set(operand.owner.dims) if isinstance(operand.owner, graph.BroadcastOp) else rows
        if along and along != rows:
            return "has an operand that runs along some of the product's rows only"
    return ""


def _computed_operand(op: graph.BinaryOp, chain: list[Operation]) -> bool:
    """True when an operand is neither of the chain nor a broadcast or constant."""
    return any(not isinstance(o.owner, Feeding) and o.owner not in chain for o in op.operands)


def _describe(chain: list[Operation]) -> str:
    return ", ".join(_kind(op) for op in chain[1:]) + f" into {_kind(chain[0])}"


def _kind(op: Operation) -> str:
    match op:
        case graph.UnaryOp():
            return op.kind
        case graph.BinaryOp():
            broadcast = any(isinstance(o.owner, graph.BroadcastOp) for o in op.operands)
            return f"{'bias' if broadcast else 'residual'} {op.kind}"
    return op.name.removeprefix("graph.")


def _name(op: Operation) -> str:
    """How a remark calls an op: its source names, or what it is."""
    return " + ".join(names_of(op)) or ("the network's output" if isinstance(op, func.ReturnOp) else op.name)


PASS = fuse_epilogue
