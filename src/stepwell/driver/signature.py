"""What a module takes and gives: names, shapes and element types of the network's inputs and outputs, at every level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr, TensorType
from xdsl.ir import Attribute
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph.extents import Extent, shape_of
from stepwell.dialects.numpy_types import is_float_dtype, numpy_dtype
from stepwell.dialects.plan import BindingOp, ProgramOp
from stepwell.runtime.errors import ModelError, UsageError

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Port:
    """One input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def __str__(self) -> str:
        return f"{self.name}: {'x'.join(map(str, self.shape))}x{self.dtype}"

    def takes(self, array: Array) -> bool:
        """Whether the array has this element type and shape; a symbolic extent takes any number within its bounds."""
        if array.dtype != self.dtype or array.ndim != len(self.shape):
            return False
        return all(
            extent.low * extent.factor <= actual <= int(extent) if isinstance(extent, Extent) else actual == extent
            for actual, extent in zip(array.shape, self.shape, strict=True)
        )


@dataclass(frozen=True)
class Signature:
    """All inputs and outputs in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def check(self, inputs: dict[str, Array]) -> None:
        """A UsageError lists every input that is missing, unknown, or of another shape or element type."""
        wanted = {port.name: port for port in self.inputs}
        reasons = [f"input '{name}' is missing" for name in wanted if name not in inputs]
        reasons += [f"there is no input '{name}'" for name in inputs if name not in wanted]
        for name, array in inputs.items():
            port = wanted.get(name)
            if port and not port.takes(array):
                got = Port(name, array.shape, array.dtype)
                reasons.append(f"input {got} should be {port}")
        if reasons:
            raise UsageError("; ".join(reasons), hint=f"inputs: {', '.join(map(str, self.inputs))}")

    def random_inputs(self, seed: int = 0) -> dict[str, Array]:
        """Inputs by a seed: normally distributed floats, integers in [-8, 8), numerals as text; symbolic extents at their bounds."""
        generator = np.random.default_rng(seed)
        return {port.name: _random(generator, port) for port in self.inputs}


def _random(generator: np.random.Generator, port: Port) -> Array:
    shape = [int(extent) for extent in port.shape]
    if is_float_dtype(port.dtype):
        return generator.standard_normal(shape).astype(port.dtype)
    if port.dtype.kind == "O":
        return generator.integers(0, 8, shape).astype(str).astype(object)
    return generator.integers(-8 if port.dtype.kind == "i" else 0, 8, shape).astype(port.dtype)


def signature_of(module: ModuleOp) -> Signature:
    """The signature of the module's program: of `plan.program`, else of `func.func @main`, else of its only function."""
    program = next((op for op in module.ops if isinstance(op, ProgramOp)), None)
    if program is not None:
        return _of_program(program)
    main = _main(module)
    if main is None:
        raise ModelError("the module has no network: neither plan.program nor func.func @main")
    kind = main.function_type
    return Signature(
        tuple(_ports(kind.inputs, main.arg_attrs, "input")), tuple(_ports(kind.outputs, main.res_attrs, "output"))
    )


def _main(module: ModuleOp) -> func.FuncOp | None:
    functions = {op.sym_name.data: op for op in module.ops if isinstance(op, func.FuncOp)}
    return functions.get("main") or (next(iter(functions.values())) if len(functions) == 1 else None)


def check_bindings(module: ModuleOp) -> None:
    """A ModelError for each name that two inputs or outputs of the network have: a plan binds memory by name."""
    main = _main(module)
    if main is None:
        return
    kind = main.function_type
    ports = [*_ports(kind.inputs, main.arg_attrs, "input"), *_ports(kind.outputs, main.res_attrs, "output")]
    repeated = [name for name, count in Counter(port.name for port in ports).items() if count > 1]
    if repeated:
        raise ModelError(
            "inputs and outputs are bound by name, and names are taken twice",
            hint="give each input and output a name (stepwell.name) of its own",
            reasons=[f"two inputs or outputs are called {name!r}" for name in repeated],
        )


def _of_program(program: ProgramOp) -> Signature:
    bindings = [op for op in program.block.ops if isinstance(op, BindingOp)]
    ports = [(op.is_input, _port(op.binding_name.data, op.type.get_shape(), op.type.element_type)) for op in bindings]
    return Signature(tuple(p for is_input, p in ports if is_input), tuple(p for is_input, p in ports if not is_input))


def _ports(types: Iterable[Attribute], attributes: ArrayAttr[DictionaryAttr] | None, prefix: str) -> Iterable[Port]:
    for position, kind in enumerate(types):
        if not isinstance(kind, TensorType):
            raise ModelError(f"{prefix} {position} of the network is no tensor but {kind}")
        named = attributes.data[position].data.get("stepwell.name") if attributes else None
        name = named.data if isinstance(named, StringAttr) else f"{prefix}{position}"
        try:
            shape = shape_of(kind)
        except VerifyException as error:
            raise ModelError(f"{prefix} {position} of the network: {error}") from None
        yield _port(name, shape, kind.element_type)


def _port(name: str, shape: Iterable[int], element: Attribute) -> Port:
    return Port(name, tuple(shape), numpy_dtype(element))
