"""Invariants of a whole plan.program: memory (overlap, lifetimes, totals), order of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, Operation
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.plan.effects import MemoryOp, effects_of
from stepwell.dialects.plan.ops_launch import CopyOp, LaunchOp
from stepwell.dialects.plan.ops_memory import BindingOp, ConstantOp, SliceOp
from stepwell.dialects.plan.verify_launch import verify_launch_arguments


class Program(Protocol):
    """What is asked of a `plan.program`: its op is made after what its verifier calls."""

    @property
    def block(self) -> Block: ...
    @property
    def arena(self) -> IntegerAttr | None: ...
    @property
    def constants(self) -> IntegerAttr | None: ...
    def steps(self) -> Iterator[tuple[int, LaunchOp | CopyOp]]: ...


def verify_program(program: Program) -> None:
    """Check everything that one program promises; raises VerifyException with what is wrong and what to do."""
    _verify_contents(program)
    _verify_bindings(program)
    _verify_effects(program)
    _verify_slices(program)
    _verify_constants(program)
    for _, step in program.steps():
        if isinstance(step, LaunchOp):
            verify_launch_arguments(step)


def _verify_contents(program: Program) -> None:
    copied = False
    for op in program.block.ops:
        if not op.name.startswith("plan.") and op.name != "arith.constant":
            raise VerifyException(f"plan.program: {op.name} has no place here: plan ops and arith.constant only")
        if copied and isinstance(op, LaunchOp):
            raise VerifyException(f"plan.launch @{op.kernel_name}: stands after a plan.copy: copies come last")
        copied = copied or isinstance(op, CopyOp)


def _verify_bindings(program: Program) -> None:
    names: set[str] = set()
    for op in program.block.ops:
        if not isinstance(op, BindingOp):
            continue
        if op.binding_name.data in names:
            raise VerifyException(f'plan.binding: two bindings are called "{op.binding_name.data}"')
        names.add(op.binding_name.data)


def _verify_effects(program: Program) -> None:
    """Reads follow writes, lifetimes cover uses, nothing is read and written by one step, every output is written."""
    written: set[Operation] = {
        op for op in program.block.ops if isinstance(op, ConstantOp) or (isinstance(op, BindingOp) and op.is_input)
    }
    read_only = frozenset(written)
    for number, step in program.steps():
        reads, writes = effects_of(step)
        title = f"step {number} ({_step_name(step)})"
        for root in writes:
            if root in read_only:
                raise VerifyException(f"{title}: writes {_memory_name(root)}, which is read-only")
            if root in reads:
                raise VerifyException(f"{title}: reads and writes {_memory_name(root)}: use two slices")
        for root in reads:
            if root not in written:
                raise VerifyException(f"{title}: reads {_memory_name(root)} before any step has written it")
        for root in (*reads, *writes):
            if isinstance(root, SliceOp) and not root.lifetime[0] <= number <= root.lifetime[1]:
                raise VerifyException(
                    f"{title}: uses a slice that is live [{root.lifetime[0]}, {root.lifetime[1]}]: widen it"
                )
        written.update(writes)
    for op in program.block.ops:
        if isinstance(op, BindingOp) and op not in written:
            raise VerifyException(f'plan.binding: no step writes the output "{op.binding_name.data}"')


def _step_name(step: LaunchOp | CopyOp) -> str:
    return f"@{step.kernel_name}" if isinstance(step, LaunchOp) else "plan.copy"


def _memory_name(root: MemoryOp) -> str:
    if isinstance(root, BindingOp):
        return f'the {root.direction.data} "{root.binding_name.data}"'
    return "a constant" if isinstance(root, ConstantOp) else f"a slice live [{root.lifetime[0]}, {root.lifetime[1]}]"


def _verify_slices(program: Program) -> None:
    slices = [op for op in program.block.ops if isinstance(op, SliceOp)]
    placed = _placed(slices, program.arena is not None, "plan.slice", "arena")
    if program.arena is not None:
        _verify_total(placed, program.arena.value.data, "arena")
    _verify_disjoint(placed, lambda a, b: _live_together(a, b))


def _verify_constants(program: Program) -> None:
    constants = [op for op in program.block.ops if isinstance(op, ConstantOp)]
    placed = _placed(constants, program.constants is not None, "plan.constant", "constants")
    if program.constants is not None:
        _verify_total(placed, program.constants.value.data, "constants")
    _verify_disjoint(placed, lambda a, b: not _same_constant(a, b))


Placed = tuple[int, int, SliceOp | ConstantOp]


def _placed(ops: Iterable[SliceOp | ConstantOp], total: bool, name: str, clause: str) -> list[Placed]:
    listed = list(ops)
    placed = [(op.at.value.data, op.at.value.data + op.type.size_in_bytes(), op) for op in listed if op.at is not None]
    if total and len(placed) != len(listed):
        raise VerifyException(f"{name}: has no offset in a program with `{clause}`: run plan-assign-offsets")
    if listed and len(placed) == len(listed) and not total:
        raise VerifyException(f"plan.program: offsets are assigned but `{clause}` is missing")
    return sorted(placed, key=lambda entry: entry[:2])


def _verify_total(placed: list[Placed], total: int, clause: str) -> None:
    needed = max((end for _, end, _ in placed), default=0)
    if needed > total:
        raise VerifyException(f"plan.program: {clause} {total} is too small: {needed} bytes are used")


def _verify_disjoint(placed: list[Placed], conflict: Callable[[Operation, Operation], bool]) -> None:
    """Sweep over offsets: only neighbours that reach into each other are compared."""
    active: list[Placed] = []
    for begin, end, op in placed:
        active = [entry for entry in active if entry[1] > begin]
        for other_begin, other_end, other in active:
            if end > begin and conflict(op, other):
                raise VerifyException(
                    f"{op.name}: bytes [{begin}, {end}) overlap [{other_begin}, {other_end}) of another {op.name}"
                    + (" that is live at the same time" if isinstance(op, SliceOp) else "")
                )
        active.append((begin, end, op))


def _live_together(a: Operation, b: Operation) -> bool:
    assert isinstance(a, SliceOp) and isinstance(b, SliceOp)
    return a.lifetime[0] <= b.lifetime[1] and b.lifetime[0] <= a.lifetime[1]


def _same_constant(a: Operation, b: Operation) -> bool:
    assert isinstance(a, ConstantOp) and isinstance(b, ConstantOp)
    return a.at == b.at and a.type.size_in_bytes() == b.type.size_in_bytes()
