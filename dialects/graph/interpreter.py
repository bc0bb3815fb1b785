"""The interpreter of the graph level: NumPy, one function per op, in the IR's own element types.

With `float64=True` every float is float64, casts between floats do nothing and elementwise kinds are evaluated by formula: the
high-precision oracle that rounding passes and kernels are compared with. Later levels run the ops that remain in their modules
through `run_graph_op`, and whole modules through `interpret` with a `run_op` of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import pi, sqrt
from typing import Protocol

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr, TensorType, f64
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import numerics
from stepwell.dialects.evaluate import UnsupportedOp, evaluate_block
from stepwell.dialects.graph import elementwise, windows
from stepwell.dialects.graph.attributes import WeightAttr
from stepwell.dialects.graph.checks import static_tensor
from stepwell.dialects.graph.ops_contraction import ConvOp, MatmulOp
from stepwell.dialects.graph.ops_elementwise import BinaryOp, CastOp, UnaryOp
from stepwell.dialects.graph.ops_fusion import FusionOp, YieldOp
from stepwell.dialects.graph.ops_movement import BroadcastOp, ReshapeOp, TransposeOp, WeightOp
from stepwell.dialects.graph.ops_window import PoolOp
from stepwell.dialects.numpy_types import Array, is_float, numpy_dtype
from stepwell.runtime.errors import ModelError, UsageError

Results = tuple[Array, ...]


class Weights(Protocol):
    """What the interpreter needs of a WeightStore."""

    def evaluate(self, ref: WeightAttr) -> Array:
        """The array after all steps of its recipe."""
        ...


RunOp = Callable[[Operation, Sequence[Array]], Results | None]
"""Runs an op of another dialect, or returns None to leave it to the graph interpreter."""


@dataclass(frozen=True)
class Settings:
    """How to run: where weights come from, whether floats are float64, and who runs ops of other dialects."""

    weights: Weights | None = None
    float64: bool = False
    run_op: RunOp | None = None

    def dtype(self, type: Attribute) -> np.dtype[np.generic]:
        """The dtype that values of this tensor type have."""
        element = type.element_type if isinstance(type, TensorType) else type
        return np.dtype(np.float64) if self.float64 and is_float(element) else numpy_dtype(element)


def run_graph_op(
    op: Operation, operands: Sequence[Array], weights: Weights | None = None, *, float64: bool = False
) -> Results:
    """The results of one graph op (not a terminator). UnsupportedOp for other ops, ModelError for a weight without a store."""
    return _run(op, operands, Settings(weights, float64))


def interpret(
    module: ModuleOp,
    inputs: Mapping[str, Array],
    weights: Weights | None = None,
    *,
    float64: bool = False,
    run_op: RunOp | None = None,
) -> dict[str, Array]:
    """Run `func.func @main`: arrays by input name to arrays by output name (the `stepwell.name` attributes).

    UsageError when an input is missing, unknown or of another shape or type."""
    main = main_function(module)
    settings = Settings(weights, float64, run_op)
    names = argument_names(main)
    unknown = [name for name in inputs if name not in names]
    if unknown:
        raise UsageError(f"there is no input {unknown[0]!r}", where="inputs", hint=f"the inputs are {', '.join(names)}")
    arguments = [
        _checked(name, argument, inputs, settings) for name, argument in zip(names, main.body.block.args, strict=True)
    ]
    return dict(zip(result_names(main), _run_block(main.body.block, arguments, settings), strict=True))


def main_function(module: ModuleOp) -> func.FuncOp:
    """The function that is the network; ModelError without one."""
    for op in module.body.block.ops:
        if isinstance(op, func.FuncOp) and op.sym_name.data == "main":
            return op
    raise ModelError("the module has no function @main", hint="a network is a func.func @main on tensors")


def argument_names(main: func.FuncOp) -> list[str]:
    """The names of the network's inputs, in order."""
    return _names(main.arg_attrs, len(main.function_type.inputs), "input")


def result_names(main: func.FuncOp) -> list[str]:
    """The names of the network's outputs, in order."""
    return _names(main.res_attrs, len(main.function_type.outputs), "output")


def _names(attributes: ArrayAttr[DictionaryAttr] | None, count: int, what: str) -> list[str]:
    names = []
    for position in range(count):
        name = attributes.data[position].data.get("stepwell.name") if attributes is not None else None
        names.append(name.data if isinstance(name, StringAttr) else f"{what}{position}")
    return names


def _checked(name: str, argument: SSAValue, inputs: Mapping[str, Array], settings: Settings) -> Array:
    type = static_tensor(argument, f"input {name!r}")
    if name not in inputs:
        raise UsageError(f"input {name!r} is missing", where="inputs", hint=f"it is a {type}")
    array = np.asarray(inputs[name])
    if array.shape != type.get_shape():
        raise UsageError(
            f"the array has shape {list(array.shape)}, the network takes {list(type.get_shape())}", where=name
        )
    if array.dtype != numpy_dtype(type) and array.dtype != settings.dtype(type):
        raise UsageError(f"the array holds {array.dtype}, the network takes {numpy_dtype(type)}", where=name)
    return array.astype(settings.dtype(type), copy=False)


def _run_block(block: Block, arguments: Sequence[Array], settings: Settings) -> Results:
    values: dict[SSAValue, Array] = dict(zip(block.args, arguments, strict=True))
    for op in block.ops:
        operands = [values[operand] for operand in op.operands]
        if isinstance(op, func.ReturnOp | YieldOp):
            return tuple(operands)
        results = settings.run_op(op, operands) if settings.run_op is not None else None
        values.update(zip(op.results, _run(op, operands, settings) if results is None else results, strict=True))
    raise ModelError("a body ends without a terminator", hint="end it in func.return or graph.yield")


def _run(op: Operation, operands: Sequence[Array], settings: Settings) -> Results:
    with np.errstate(all="ignore"):
        match op:
            case WeightOp():
                return (_weight(op, settings),)
            case ConvOp():
                return (_conv(op, operands[0], operands[1], settings),)
            case MatmulOp():
                return (_matmul(op, operands[0], operands[1], settings),)
            case PoolOp():
                return (_pool(op, operands[0]),)
            case UnaryOp() | BinaryOp() | CastOp():
                return (_elementwise(op, operands, settings),)
            case BroadcastOp():
                return (_broadcast(op, operands[0]),)
            case ReshapeOp():
                return (operands[0].reshape(static_tensor(op.result, "the result").get_shape()),)
            case TransposeOp():
                return (operands[0].transpose(op.permutation).copy(),)
            case FusionOp():
                return _run_block(op.body.block, operands, settings)
    raise UnsupportedOp(op, "the graph interpreter does not know this op")


def _weight(op: WeightOp, settings: Settings) -> Array:
    if settings.weights is None:
        raise ModelError(
            "the value of a weight is needed and none was given",
            where=op.ref.source.data,
            hint="give the weights: --weights FILE.safetensors or --weights random:0",
        )
    array = settings.weights.evaluate(op.ref)
    return array.astype(settings.dtype(op.result.type), copy=False)


def _accumulator(result: Attribute, settings: Settings) -> np.dtype[np.generic]:
    """The dtype that a contraction multiplies and adds in: float32 for f16, otherwise the result's."""
    dtype = settings.dtype(result)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _conv(op: ConvOp, x: Array, filter: Array, settings: Settings) -> Array:
    dtype = _accumulator(op.result.type, settings)
    shape = static_tensor(op.result, "the result").get_shape()
    last = op.layout == "channels_last"
    rank = len(op.strides)
    if not last:
        x, filter = np.moveaxis(x, 1, -1), np.moveaxis(filter, 1, -1)
    out = shape[1:-1] if last else shape[2:]
    result = windows.convolve(
        x.astype(dtype), filter.astype(dtype), op.strides, op.pads[:rank], op.dilations, op.groups, out
    )
    placed = result if last else np.moveaxis(result, -1, 1)
    return np.ascontiguousarray(placed).astype(settings.dtype(op.result.type), copy=False)


def _matmul(op: MatmulOp, a: Array, b: Array, settings: Settings) -> Array:
    dtype = _accumulator(op.result.type, settings)
    right = b.T if op.transpose_b else b
    product: Array = a.astype(dtype) @ right.astype(dtype)
    return product.astype(settings.dtype(op.result.type), copy=False)


def _pool(op: PoolOp, x: Array) -> Array:
    shape = static_tensor(op.result, "the result").get_shape()
    last = op.layout == "channels_last"
    moved = x if last else np.moveaxis(x, 1, -1)
    out = shape[1:-1] if last else shape[2:]
    if op.kind == "max":
        result = windows.pool_max(moved, op.kernel, op.strides, op.pads[: len(out)], op.dilations, out)
    else:
        result = windows.pool_average(moved, op.kernel, op.strides, op.pads, op.dilations, out, op.count_include_pad)
    return result if last else np.ascontiguousarray(np.moveaxis(result, -1, 1))


def _broadcast(op: BroadcastOp, operand: Array) -> Array:
    shape = static_tensor(op.result, "the result").get_shape()
    aligned = [1] * len(shape)
    for position, dim in enumerate(op.dims):
        aligned[dim] = operand.shape[position]
    return np.broadcast_to(operand.reshape(aligned), shape)


ORACLE: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "neg": np.negative,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + numerics.erf(x / sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": numerics.erf,
}
"""Unary kinds by formula, for the float64 oracle."""


def _elementwise(op: UnaryOp | BinaryOp | CastOp, operands: Sequence[Array], settings: Settings) -> Array:
    if settings.float64 and isinstance(op, UnaryOp) and operands[0].dtype == np.float64:
        return np.asarray(ORACLE[op.kind](operands[0]))
    if settings.float64 and isinstance(op, CastOp) and settings.dtype(op.result.type) == operands[0].dtype:
        return operands[0]
    block = Block(arg_types=[_element(value.type, settings) for value in op.operands])
    if isinstance(op, CastOp):
        ops, result = elementwise.expand_cast(block.args[0], _element(op.result.type, settings))
    else:
        ops, result = elementwise.expand(op, block.args)
    block.add_ops([*ops, YieldOp(result)])
    return evaluate_block(block, operands)[0]


def _element(type: Attribute, settings: Settings) -> Attribute:
    assert isinstance(type, TensorType)
    return f64 if settings.float64 and is_float(type.element_type) else type.element_type
