"""stepwell-convert-hopper-roles-to-scf: roles and elected regions become branches on the thread number (meaning: exact).

    hopper.role "producer" warpgroups 1 from 0 registers 40 {        %wg = thread_id >> 7
      hopper.elect { A }                                             scf.if %wg == 0 { hopper.set_max_registers "dec" 40
    }                                                         ->       scf.if %thread_id == 0 { A }
    hopper.role "consumer" warpgroups 2 from 1 registers 232 {       } else { hopper.set_max_registers "inc" 232
      B                                                                B
    }                                                                }

Roles that stand next to each other become one chain of if and else: the register budget of a role takes effect only when each role is one branch
(ptxas, note C7508). It runs after everything that wants to see roles, before `stepwell-convert-scf-to-cf`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i32
from xdsl.ir import Block, Operation, Region, SSAValue

from stepwell.dialects import hopper, warp
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark

NAME = "stepwell-convert-hopper-roles-to-scf"


@dataclass(frozen=True)
class ConvertHopperRolesToScf(StepwellPass):
    """Turn every hopper.role, hopper.elect and hopper.warpgroup_id into scf.if and arithmetic on warp.thread_id."""

    name = NAME
    level: ClassVar[str] = "kernel"
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [k for k in op.ops if isinstance(k, warp.KernelOp)]
        chains = [(kernel, _chains(kernel)) for kernel in kernels]
        for kernel, found in chains:
            _check_budgets(kernel, found)
        for kernel, found in chains:
            for number in [o for o in kernel.walk() if isinstance(o, hopper.WarpgroupIdOp)]:
                _replace_warpgroup_id(number)
            for elect in [o for o in kernel.walk() if isinstance(o, hopper.ElectOp)]:
                _replace_elect(elect)
            for chain in found:
                labels = ", ".join(role.label.data for role in chain)
                remarks_of(ctx).add(Remark("analysis", NAME, names_of(kernel), f"roles as branches: {labels}"))
                _replace_roles(kernel, chain)


def _check_budgets(kernel: warp.KernelOp, chains: list[list[hopper.RoleOp]]) -> None:
    """Register budgets need all roles in one chain; ptxas ignores them otherwise."""
    if len(chains) > 1 and any(role.registers is not None for chain in chains for role in chain):
        between = chains[0][-1].next_op
        reason = f"@{kernel.sym_name.data}: {between.name if between else 'an op'} stands between roles that have register budgets"
        raise PassFailure(
            reason, where=" + ".join(names_of(kernel)), hint="move it before the roles or into one of them"
        )


def _first_warpgroup(op: Operation) -> int:
    """The first warpgroup of the role around `op`; 0 outside roles."""
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, hopper.RoleOp):
        parent = parent.parent_op()
    return 0 if parent is None else parent.span.start


class _Ops:
    """A few ops in a row."""

    def __init__(self) -> None:
        self.made: list[Operation] = []

    def add(self, op: Operation) -> SSAValue:
        self.made.append(op)
        return op.results[0]

    def number(self, value: int) -> SSAValue:
        return self.add(arith.ConstantOp(IntegerAttr(value, i32)))

    def warpgroup(self) -> SSAValue:
        return self.add(arith.ShRUIOp(self.add(warp.ThreadIdOp()), self.number(7)))

    def before(self, anchor: Operation) -> None:
        block = anchor.parent_block()
        assert block is not None
        for op in self.made:
            inherit_location(op, anchor)
            block.insert_op_before(op, anchor)


def _replace_warpgroup_id(op: hopper.WarpgroupIdOp) -> None:
    ops, first = _Ops(), _first_warpgroup(op)
    group = ops.warpgroup()
    if first:
        group = ops.add(arith.SubiOp(group, ops.number(first)))
    ops.before(op)
    op.result.replace_all_uses_with(group)
    op.detach()
    op.erase()


def _body_of(op: hopper.RoleOp | hopper.ElectOp) -> Block:
    """The region's block, taken out and ended by scf.yield."""
    body = op.body.block
    op.body.detach_block(body)
    body.add_op(scf.YieldOp())
    return body


def _replace_elect(op: hopper.ElectOp) -> None:
    ops = _Ops()
    thread = ops.add(warp.ThreadIdOp())
    first = ops.number(hopper.WARPGROUP * _first_warpgroup(op))
    elected = ops.add(arith.CmpiOp(thread, first, "eq"))
    ops.made.append(scf.IfOp(elected, [], Region(_body_of(op)), Region()))
    ops.before(op)
    op.detach()
    op.erase()


def _chains(kernel: warp.KernelOp) -> list[list[hopper.RoleOp]]:
    """Roles that stand next to each other, together."""
    chains: list[list[hopper.RoleOp]] = []
    for op in kernel.body.ops:
        if not isinstance(op, hopper.RoleOp):
            continue
        if chains and chains[-1][-1].next_op is op:
            chains[-1].append(op)
        else:
            chains.append([op])
    return chains


def _replace_roles(kernel: warp.KernelOp, chain: list[hopper.RoleOp]) -> None:
    """One chain of if and else; the last role needs no condition when the chain covers the block."""
    covered = sum(len(role.span) for role in chain) * hopper.WARPGROUP == kernel.threads.value.data
    entry_budget = warp.REGISTER_FILE // (kernel.threads.value.data * _min_blocks(kernel)) // 8 * 8
    otherwise: list[Operation] = []
    for role in reversed(chain):
        body = _body_of(role)
        if role.registers is not None:
            budget = role.registers.value.data
            setting = hopper.SetMaxRegistersOp("dec" if budget < entry_budget else "inc", budget)
            inherit_location(setting, role)
            first = body.first_op
            assert first is not None
            body.insert_op_before(setting, first)
        if not otherwise and covered and len(chain) > 1:
            otherwise = list(body.ops)
            for op in otherwise:
                op.detach()
            continue
        otherwise = [*_branch(role, body, otherwise), scf.YieldOp()]
    last = chain[-1]
    block = last.parent_block()
    assert block is not None
    for op in otherwise[:-1]:
        block.insert_op_before(op, last)
    for role in chain:
        role.detach()
        role.erase()


def _min_blocks(kernel: warp.KernelOp) -> int:
    return 1 if kernel.min_blocks is None else kernel.min_blocks.value.data


def _branch(role: hopper.RoleOp, body: Block, otherwise: list[Operation]) -> list[Operation]:
    """The role as scf.if, with the ops of the next roles as its else."""
    ops = _Ops()
    offset = ops.add(arith.SubiOp(ops.warpgroup(), ops.number(role.span.start)))
    mine = ops.add(arith.CmpiOp(offset, ops.number(len(role.span)), "ult"))
    other = Region(Block(otherwise)) if otherwise else Region()
    ops.made.append(scf.IfOp(mine, [], Region(body), other))
    for op in ops.made:
        inherit_location(op, role)
    return ops.made


PASS = ConvertHopperRolesToScf
