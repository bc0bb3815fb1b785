"""Launch arguments against the parameters of the kernel that they go to."""

from __future__ import annotations

from xdsl.dialects.builtin import IndexType, IntegerAttr, IntegerType
from xdsl.ir import Attribute, Operation
from xdsl.traits import SymbolTable
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.plan.alignment import row_alignment
from stepwell.dialects.plan.attributes import BufferType, TableType, TensorMapType, WindowType
from stepwell.dialects.plan.ops_launch import LaunchOp, TensorMapOp
from stepwell.dialects.tile.attributes import RefType
from stepwell.dialects.tile.ops_loops import LoopsKernel


def parameter_kind(parameter: Attribute) -> str:
    """The kind of launch argument that a kernel parameter of this type takes: window, buffer (a tensor too), tensor_map, table, a
    global pointer (buffer or table), a pointer of the llvm level (any memory: a tensor map is passed by address), or
    value."""
    match parameter.name:
        case "tile.ref":
            return "window" if "window" in str(parameter) else "buffer"
        case "tensor":
            return "buffer"
        case "hopper.tensor_map" | "plan.tensor_map":
            return "tensor_map"
        case "plan.table":
            return "table"
        case "warp.global" | "ptr_xdsl.ptr":
            return "global pointer"
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
    "global pointer": {"buffer", "table"},
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
    if isinstance(kernel, LoopsKernel):
        return [*kernel.function_type.inputs, *kernel.function_type.outputs]
    return [argument.type for argument in kernel.regions[0].blocks[0].args]


def verify_launch_arguments(launch: LaunchOp) -> None:
    """The kernel exists beside the program and takes as many arguments as the launch has, of these kinds; a
    `warp.kernel` is launched with the threads and shared memory that it was made for, and its tensor maps are those
    that it relies on."""
    module: Operation = launch
    while (parent := module.parent_op()) is not None:
        module = parent
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
        if expected == "value" and parameter != operand.type:
            raise VerifyException(f"{title}: argument {index} is an {operand.type}, the kernel takes an {parameter}")
        promised = parameter.access.align if isinstance(parameter, RefType) else 0
        if promised > row_alignment(operand):
            raise VerifyException(
                f"{title}: the rows of argument {index} are aligned to {row_alignment(operand)} bytes, the kernel relies on {promised}"
            )
        if isinstance(operand.owner, TensorMapOp) and parameter.name == "hopper.tensor_map":
            _verify_tensor_map(f"{title}: argument {index}", parameter, operand.owner)
    if kernel.name == "warp.kernel":
        _verify_resources(title, launch, kernel)


def _verify_resources(title: str, launch: LaunchOp, kernel: Operation) -> None:
    """Threads and dynamic shared memory are the kernel's own."""
    threads, shared = (_number(kernel.properties.get(key)) for key in ("threads", "shared"))
    block = () if launch.block is None else tuple(map(int, launch.block.get_values()))
    if block != (threads, 1, 1):
        raise VerifyException(f"{title}: block {list(block)}, the kernel is made for {threads} threads")
    if _number(launch.shared) != shared:
        raise VerifyException(f"{title}: shared {_number(launch.shared)}, the kernel uses {shared} bytes")


def _number(attribute: Attribute | None) -> int:
    return attribute.value.data if isinstance(attribute, IntegerAttr) else 0


def _verify_tensor_map(title: str, parameter: Attribute, op: TensorMapOp) -> None:
    """Kind, box (the kernel says it innermost first) and swizzle agree."""
    box = [int(extent) for extent in reversed(op.box.get_values())]
    expected = (parameter.kind.data, list(parameter.extents), parameter.swizzle.data)  # type: ignore[attr-defined]
    given = (op.kind.data.value, box, op.swizzle_bytes)
    if expected != given:
        raise VerifyException(
            f"{title}: the map is {given} (kind, box innermost first, swizzle), the kernel relies on {expected}"
        )
