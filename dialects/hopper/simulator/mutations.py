"""Seeded faults: small damages to a kernel's synchronisation and indexing that a test of a kernel, or of the simulator, must notice.

Each mutation names the sites where it applies; `mutants` gives one damaged copy per site (or one for all sites, where a single site may be redundant).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import numpy as np
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, IntegerAttr, IntegerType, VectorType, i32
from xdsl.ir import Operation
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import hopper, plan, warp
from stepwell.dialects.hopper.simulator.faults import Fault
from stepwell.dialects.hopper.simulator.launch import Argument, check_complete, simulate_kernel
from stepwell.dialects.hopper.simulator.memory import Array, GlobalBuffer

_LOADS = (hopper.TmaLoadOp, hopper.TmaLoadIm2colOp)
_EXPECTS = (hopper.ExpectBytesOp, hopper.ExpectMoreBytesOp)


@dataclass(frozen=True)
class Mutation:
    """A damage: which ops it applies to, what it does to one, and whether all sites are damaged together."""

    name: str
    applies: Callable[[Operation], bool]
    damage: Callable[[Operation], None]
    together: bool = False


@dataclass(frozen=True)
class Mutant:
    """A damaged copy of a kernel, and what catching it said (empty: it survived)."""

    name: str
    kernel: warp.KernelOp
    caught: str = ""


def _fills_slots(op: Operation) -> bool:
    return op.parent is not None and any(isinstance(other, _LOADS) for other in op.parent.ops)


def _is_empty_wait(op: Operation) -> bool:
    return isinstance(op, hopper.WaitOp) and _fills_slots(op)


def _is_full_wait(op: Operation) -> bool:
    return isinstance(op, hopper.WaitOp) and not _fills_slots(op)


def _flip_parity(op: Operation) -> None:
    assert isinstance(op, hopper.WaitOp)
    one = arith.ConstantOp(IntegerAttr(1, i32))
    flipped = arith.XOrIOp(op.parity, one)
    Rewriter.insert_op([one, flipped], InsertPoint.before(op))
    op.operands[1] = flipped.result


def _expect(change: int) -> Callable[[Operation], None]:
    def damage(op: Operation) -> None:
        assert isinstance(op, _EXPECTS)
        op.properties["bytes"] = IntegerAttr(op.bytes.value.data + change, i32)

    return damage


def _is_early_release(op: Operation) -> bool:
    """An arrive after a product in the same block: it can move in front of it."""
    if not isinstance(op, hopper.ArriveOp) or op.parent is None:
        return False
    ops = list(op.parent.ops)
    return any(isinstance(other, hopper.WgmmaWaitOp) for other in ops[: ops.index(op)])


def _release_early(op: Operation) -> None:
    """The arrive goes right behind the first product of its block, and the values that it needs with it."""
    assert op.parent is not None
    first = next(other for other in op.parent.ops if isinstance(other, hopper.WgmmaWaitOp))
    for needed in _needed_after(op, first):
        needed.detach()
        Rewriter.insert_op(needed, InsertPoint.before(first))


def _needed_after(op: Operation, first: Operation) -> list[Operation]:
    """`op` and the ops that compute its operands and stand between `first` and it, in order."""
    needed: list[Operation] = [op]
    block_ops = list(op.parent.ops) if op.parent else []
    between = block_ops[block_ops.index(first) : block_ops.index(op)]
    for candidate in reversed(between):
        if any(operand.owner is candidate for user in needed for operand in user.operands):
            needed.insert(0, candidate)
    return needed


def _is_running_wait(op: Operation) -> bool:
    return isinstance(op, hopper.WgmmaWaitOp) and isinstance(op.result.type, hopper.PendingType)


def _is_last_wait(op: Operation) -> bool:
    return isinstance(op, hopper.WgmmaWaitOp) and not _is_running_wait(op)


def _wait_less(pending: int) -> Callable[[Operation], None]:
    def damage(op: Operation) -> None:
        op.properties["pending"] = IntegerAttr(pending, i32)

    return damage


def _other_swizzle(op: Operation) -> None:
    assert isinstance(op, hopper.DescriptorOp)
    op.properties["swizzle"] = IntegerAttr(64 if op.swizzle.value.data == 128 else 128, i32)


def _count_more(op: Operation) -> None:
    assert isinstance(op, hopper.MbarrierInitOp)
    op.properties["count"] = IntegerAttr(op.count.value.data + 1, i32)


def _first_block(op: Operation) -> None:
    Rewriter.replace_op(op, arith.ConstantOp(IntegerAttr(0, i32)))


def _drop_bound(position: int) -> Callable[[Operation], None]:
    """The bound at operand `position` of a store becomes very large."""

    def damage(op: Operation) -> None:
        huge = arith.ConstantOp(IntegerAttr(1 << 20, i32))
        Rewriter.insert_op(huge, InsertPoint.before(op))
        op.operands[position] = huge.result

    return damage


def _change(position: int, change: int) -> Callable[[Operation], None]:
    """`change` is added to the integer (or to all of the vector of integers) at operand `position`."""

    def damage(op: Operation) -> None:
        value = op.operands[position]
        attribute = (
            DenseIntOrFPElementsAttr.from_list(cast(VectorType[IntegerType], value.type), [change])
            if isinstance(value.type, VectorType)
            else IntegerAttr(change, cast(IntegerType, value.type))
        )
        constant = arith.ConstantOp(attribute)
        changed = arith.AddiOp(value, constant)
        Rewriter.insert_op([constant, changed], InsertPoint.before(op))
        op.operands[position] = changed.result

    return damage


def _drop_mask(op: Operation) -> None:
    assert isinstance(op, warp.GatherOp)
    always = arith.ConstantOp(DenseIntOrFPElementsAttr.from_list(cast(VectorType[IntegerType], op.mask.type), [1]))
    Rewriter.insert_op(always, InsertPoint.before(op))
    op.operands[2] = always.result


def _erase(op: Operation) -> None:
    op.detach()
    op.erase()


def _is(*kinds: type[Operation]) -> Callable[[Operation], bool]:
    return lambda op: isinstance(op, kinds)


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("drop empty wait", _is_empty_wait, _erase),
    Mutation("drop full wait", _is_full_wait, _erase),
    Mutation("flip parity", _is(hopper.WaitOp), _flip_parity),
    Mutation("expect too few bytes", _is(*_EXPECTS), _expect(-1024)),
    Mutation("expect too many bytes", _is(*_EXPECTS), _expect(1024)),
    Mutation("release slot early", _is_early_release, _release_early),
    Mutation("drop running product wait", _is_running_wait, _wait_less(7)),
    Mutation("drop last product wait", _is_last_wait, _wait_less(7)),
    Mutation("lose arrives", _is(hopper.ArriveOp), _erase, together=True),
    Mutation("count one arrival more", _is(hopper.MbarrierInitOp), _count_more),
    Mutation("drop barrier init fence", _is(hopper.FenceBarrierInitOp), _erase, together=True),
    Mutation("drop proxy fence", _is(hopper.ProxyFenceOp), _erase, together=True),
    Mutation("drop block barrier", _is(warp.BarrierOp), _erase, together=True),
    Mutation("swap swizzle", _is(hopper.DescriptorOp), _other_swizzle),
    Mutation("drop predecessor wait", _is(warp.WaitPredecessorOp), _erase, together=True),
    Mutation("every block does the first tile", _is(warp.BlockIdOp), _first_block, together=True),
    Mutation("skip the last step", _is(scf.ForOp), _change(1, -1)),
    Mutation("store a row further", _is(warp.FragmentStoreOp), _change(2, 1)),
    Mutation("gather an element further", _is(warp.GatherOp), _change(1, 1)),
    Mutation("store past the last row", _is(warp.FragmentStoreOp), _drop_bound(5)),
    Mutation("store past the last column", _is(warp.FragmentStoreOp), _drop_bound(6)),
    Mutation("drop gather mask", _is(warp.GatherOp), _drop_mask),
)
"""All damages; a kernel is touched by those that find a site in it."""


def mutants(kernel: warp.KernelOp, mutations: Sequence[Mutation] = MUTATIONS) -> Iterator[Mutant]:
    """Damaged copies of `kernel`. They need not verify: the simulator must notice without that."""
    for mutation in mutations:
        count = sum(mutation.applies(op) for op in kernel.walk())
        groups = [range(count)] if mutation.together and count else [range(i, i + 1) for i in range(count)]
        for group in groups:
            copy = kernel.clone()
            sites = [op for op in copy.walk() if mutation.applies(op)]
            for i in group:
                mutation.damage(sites[i])
            suffix = f" {group[0]}" if len(groups) > 1 else ""
            yield Mutant(mutation.name + suffix, copy)


def judge(kernel: warp.KernelOp, run: Callable[[warp.KernelOp], Sequence[Array]]) -> list[Mutant]:
    """All mutants with what caught them: the fault's kind, or `wrong result` where `run` gives other arrays than for `kernel` itself."""
    expected = [np.array(array) for array in run(kernel)]
    judged = []
    for mutant in mutants(kernel):
        try:
            results = run(mutant.kernel)
            caught = "" if all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True)) else "wrong result"
        except Fault as fault:
            caught = fault.kind
        judged.append(Mutant(mutant.name, mutant.kernel, caught))
    return judged


def judge_launch(
    launch: plan.LaunchOp, kernel: warp.KernelOp, arguments: Sequence[Argument], seed: int = 0
) -> list[Mutant]:
    """`judge` on one launch of a program, on copies of its arguments; what it writes must be complete. A kernel that asks for the size
    of its grid (a persistent one) runs with its grid, and with one block that does all tiles."""
    grid = launch.blocks
    persistent = any(isinstance(op, warp.GridDimOp) for op in kernel.walk())
    written = [launch.args.index(value) for value in launch.written_values()]

    def run(damaged: warp.KernelOp) -> list[Array]:
        results = []
        for blocks in sorted({grid, 1} if persistent else {grid}):
            mine = deepcopy(list(arguments))
            outputs = [held for held in (mine[i] for i in written) if isinstance(held, GlobalBuffer)]
            check_complete(simulate_kernel(damaged, mine, blocks, seed=seed), outputs)
            results += [output.values() for output in outputs]
        return results

    return judge(kernel, run)
