"""Invariants of a whole plan.program: memory (overlap, lifetimes, totals), order, launch arguments against kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xdsl.dialects.builtin import IndexType, IntegerType
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.traits import SymbolTable
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.plan.attributes import BufferType, TableType, TensorMapType, WindowType
from stepwell.dialects.plan.ops_launch import CopyOp, LaunchOp, PointerTableOp, ProgramOp, TensorMapOp
from stepwell.dialects.plan.ops_memory import BindingOp, ConstantOp, SliceOp, ViewOp, WindowOp

MemoryOp = BindingOp | ConstantOp | SliceOp
_DERIVED = (ViewOp, WindowOp, TensorMapOp, PointerTableOp)


def root_of(value: SSAValue) -> MemoryOp:
    """The binding, constant or slice whose bytes a value reaches, through views, windows, tensor maps and tables."""
    owner = value.owner
    while isinstance(owner, _DERIVED):
        owner = owner.source.owner
    if not isinstance(owner, (BindingOp, ConstantOp, SliceOp)):
        raise VerifyException("plan.program: memory comes from plan.binding, plan.constant or plan.slice only")
    return owner


def effects_of(step: LaunchOp | CopyOp) -> tuple[list[MemoryOp], list[MemoryOp]]:
    """What a step reads and what it writes, each root once, in operand order."""
    if isinstance(step, CopyOp):
        return [root_of(step.source)], [root_of(step.target)]
    reads = dict.fromkeys(root_of(value) for value in step.read_values())
    writes = dict.fromkeys(root_of(value) for value in step.written_values())
    return list(reads), list(writes)


def verify_program(program: ProgramOp) -> None:
    """Check everything that one program promises; raises VerifyException with what is wrong and what to do."""
    _verify_contents(program)
    _verify_bindings(program)
    _verify_effects(program)
    _verify_slices(program)
    _verify_constants(program)
    for _, step in program.steps():
        if isinstance(step, LaunchOp):
            verify_launch_arguments(step)


def _verify_contents(program: ProgramOp) -> None:
    copied = False
    for op in program.block.ops:
        if not op.name.startswith("plan.") and op.name != "arith.constant":
            raise VerifyException(f"plan.program: {op.name} has no place here: plan ops and arith.constant only")
        if copied and isinstance(op, LaunchOp):
            raise VerifyException(f"plan.launch @{op.kernel_name}: stands after a plan.copy: copies come last")
        copied = copied or isinstance(op, CopyOp)


def _verify_bindings(program: ProgramOp) -> None:
    names: set[str] = set()
    for op in program.block.ops:
        if not isinstance(op, BindingOp):
            continue
        if op.binding_name.data in names:
            raise VerifyException(f'plan.binding: two bindings are called "{op.binding_name.data}"')
        names.add(op.binding_name.data)


def _verify_effects(program: ProgramOp) -> None:
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


def _verify_slices(program: ProgramOp) -> None:
    slices = [op for op in program.block.ops if isinstance(op, SliceOp)]
    placed = _placed(slices, program.arena is not None, "plan.slice", "arena")
    if program.arena is not None:
        _verify_total(placed, program.arena.value.data, "arena")
    _verify_disjoint(placed, lambda a, b: _live_together(a, b))


def _verify_constants(program: ProgramOp) -> None:
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


# --- launch arguments against the kernel's parameters


def parameter_kind(parameter: Attribute) -> str:
    """The kind of launch argument that a kernel parameter of this type takes: window, buffer, memory (a pointer: buffer
    or table), tensor_map, or value."""
    match parameter.name:
        case "tile.ref":
            return "window" if "window" in str(parameter) else "buffer"
        case "hopper.tensor_map" | "plan.tensor_map":
            return "tensor_map"
        case "plan.table":
            return "table"
        case "warp.global" | "ptr_xdsl.ptr":
            return "memory"
        case "llvm.ptr":
            return "pointer"
    return "value"


def argument_kind(argument: Attribute) -> str:
    """The kind of a launch operand."""
    for kind, title in (
        (BufferType, "buffer"),
        (WindowType, "window"),
        (TensorMapType, "tensor_map"),
        (TableType, "table"),
    ):
        if isinstance(argument, kind):
            return title
    if isinstance(argument, (IntegerType, IndexType)) or str(argument) in ("f32", "f64"):
        return "value"
    return str(argument)


_ACCEPTS = {
    "window": {"window", "buffer"},
    "buffer": {"buffer"},
    "memory": {"buffer", "table"},
    "pointer": {"buffer", "table", "tensor_map"},
    "table": {"table"},
    "tensor_map": {"tensor_map"},
    "value": {"value"},
}


def kernel_parameters(kernel: Operation) -> list[Attribute] | None:
    """The parameter types that a launch must match, or None where the operands are packed into a record (CPU
    kernels)."""
    if "stepwell.kernel" in kernel.attributes or not kernel.regions or not kernel.regions[0].blocks:
        return None
    return [argument.type for argument in kernel.regions[0].blocks[0].args]


def verify_launch_arguments(launch: LaunchOp) -> None:
    """The kernel exists beside the program and takes as many arguments as the launch has, of these kinds."""
    module = launch
    while module.parent_op() is not None:
        module = module.parent_op()  # type: ignore[assignment]
    if not module.has_trait(SymbolTable):
        return
    title = f"plan.launch @{launch.kernel_name}"
    kernel = SymbolTable.lookup_symbol(module, launch.kernel)
    if kernel is None:
        raise VerifyException(f"{title}: no kernel of this name stands beside the program")
    parameters = kernel_parameters(kernel)
    if parameters is None:
        return
    operands = [*launch.args, *launch.outs]
    if len(parameters) != len(operands):
        raise VerifyException(f"{title}: {len(operands)} arguments for a kernel with {len(parameters)} parameters")
    for index, (parameter, operand) in enumerate(zip(parameters, operands, strict=True)):
        expected, given = parameter_kind(parameter), argument_kind(operand.type)
        if given not in _ACCEPTS[expected]:
            raise VerifyException(
                f"{title}: argument {index} is a {given} ({operand.type}), the kernel takes a {expected}"
            )
