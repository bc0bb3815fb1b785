"""The interpreter of the graph level: NumPy, one function per op in a table per family, in the IR's own element types.

With `float64=True` every float is float64, casts between floats do nothing and elementwise kinds are evaluated by formula: the
high-precision oracle that rounding passes and kernels are compared with. Later levels run the ops that remain in their modules
through `run_graph_op`, and whole modules through `interpret` with a `run_op` of their own.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects.evaluate import UnsupportedOp
from stepwell.dialects.graph import (
    checks,
    interpreter_contraction,
    interpreter_counted,
    interpreter_elementwise,
    interpreter_movement,
    interpreter_recurrent,
    interpreter_reduction,
    interpreter_resize,
    interpreter_text,
    interpreter_transform,
)
from stepwell.dialects.graph.extents import Extent
from stepwell.dialects.graph.interpretation import Exchange, Results, RunOp, Settings, Table, Weights
from stepwell.dialects.graph.interpreter_elementwise import ORACLE
from stepwell.dialects.graph.ops_control import IfOp, LoopOp
from stepwell.dialects.graph.ops_fusion import FusionOp, YieldOp
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.op_interfaces import run_by_trait
from stepwell.dialects.strings import as_text, string
from stepwell.runtime.errors import ModelError, UsageError

__all__ = [
    "ORACLE",
    "RunOp",
    "Settings",
    "Weights",
    "argument_names",
    "interpret",
    "main_function",
    "result_names",
    "run_graph_op",
]


Values = MutableMapping[SSAValue, Array]
"""The arrays of values that ops see."""


def run_graph_op(
    op: Operation, operands: Sequence[Array], weights: Weights | None = None, *, float64: bool = False
) -> Results:
    """The results of one graph op (not a terminator). UnsupportedOp for other ops, ModelError for a weight without a store."""
    settings = Settings(weights, float64)
    for value, array in zip(op.operands, operands, strict=True):
        settings.bind(value, array)
    return _run(op, operands, settings)


def interpret(
    module: ModuleOp,
    inputs: Mapping[str, Array],
    weights: Weights | None = None,
    *,
    float64: bool = False,
    run_op: RunOp | None = None,
    exchange: Exchange | None = None,
) -> dict[str, Array]:
    """Run `func.func @main`: arrays by input name to arrays by output name (the `stepwell.name` attributes). `exchange` runs collectives of
    several ranks (`ranks.interpret_ranks`).

    UsageError when an input is missing, unknown or of another shape or type."""
    main = main_function(module)
    settings = Settings(weights, float64, run_op, exchange)
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
    type = checks.tensor(argument, f"input {name!r}", (*checks.ANY, string))
    if name not in inputs:
        raise UsageError(f"input {name!r} is missing", where="inputs", hint=f"it is a {type.type}")
    array = _given(inputs[name], type.element)
    if array.ndim != type.rank or any(
        actual != extent
        for actual, extent in zip(array.shape, type.shape, strict=True)
        if not isinstance(extent, Extent)
    ):
        raise UsageError(f"the array has shape {list(array.shape)}, the network takes {list(type.shape)}", where=name)
    if array.dtype != numpy_dtype(type.element) and array.dtype != settings.dtype(argument.type):
        raise UsageError(f"the array holds {array.dtype}, the network takes {numpy_dtype(type.element)}", where=name)
    settings.bind(argument, array)
    return array.astype(settings.dtype(argument.type), copy=False)


def _given(value: object, element: Attribute) -> Array:
    array = np.asarray(value)
    words = as_text(array) if element == string else None
    return array if words is None else words


def _run_block(block: Block, arguments: Sequence[Array], settings: Settings, outer: Values | None = None) -> Results:
    own: dict[SSAValue, Array] = dict(zip(block.args, arguments, strict=True))
    values: Values = own if outer is None else ChainMap(own, outer)
    dying = _last_uses(block) if outer is None else {}
    for op in block.ops:
        operands = [values[operand] for operand in op.operands]
        if isinstance(op, func.ReturnOp | YieldOp):
            return tuple(operands)
        results = settings.run_op(op, operands) if settings.run_op is not None else None
        made = _run(op, operands, settings, values) if results is None else results
        for result, array in zip(op.results, made, strict=True):
            settings.bind(result, array)
            own[result] = array
        for value in dying.get(op, ()):
            del own[value]
    raise ModelError("a body ends without a terminator", hint="end it in func.return or graph.yield")


def _last_uses(block: Block) -> dict[Operation, list[SSAValue]]:
    """For each op of a block the values that nothing reads after it, in its regions neither: their arrays can go."""
    seen: set[SSAValue] = set()
    dying: dict[Operation, list[SSAValue]] = {}
    for op in reversed(list(block.ops)):
        read = dict.fromkeys(
            operand for inner in op.walk() for operand in inner.operands if _block_of(operand) is block
        )
        dying[op] = [value for value in (*read, *op.results) if value not in seen]
        seen.update(dying[op])
    return dying


def _block_of(value: SSAValue) -> Block | None:
    """The block that a value belongs to."""
    return value.owner if isinstance(value.owner, Block) else value.owner.parent_block()


def _run(op: Operation, operands: Sequence[Array], settings: Settings, outer: Values | None = None) -> Results:
    """One op; `outer` are the values that its regions see."""
    if isinstance(op, IfOp):
        region = op.then_region if operands[0] else op.else_region
        return _run_block(region.block, (), settings.inside(), outer)
    if isinstance(op, LoopOp):
        return _loop(op, operands, settings, outer)
    run = TABLE.get(type(op))
    if run is None:
        results = run_by_trait(op, operands, float64=settings.float64)
        if results is None:
            raise UnsupportedOp(op, "the graph interpreter does not know this op")
        return results
    with np.errstate(all="ignore"):
        return tuple(np.asarray(array) for array in run(op, operands, settings))


def _loop(op: LoopOp, operands: Sequence[Array], settings: Settings, outer: Values | None) -> Results:
    leading = iter(operands)
    trips = int(next(leading)) if op.trip is not None else None
    going = bool(next(leading)) if op.condition is not None else True
    carried = tuple(leading)
    limit = op.bound if trips is None and not op.leading else trips
    slices: list[Results] = []
    while going and (limit is None or len(slices) < limit):
        if op.bound is not None and len(slices) == op.bound:
            raise ModelError(f"the loop goes on after {op.bound} iterations", where=op.name, hint="raise its bound")
        iteration = np.asarray(len(slices), np.int64)
        made = _run_block(op.body.block, (iteration, *carried), settings.inside(), outer)
        going = bool(made[0]) if op.leading else True
        carried = made[op.leading : op.leading + len(carried)]
        slices.append(made[op.leading + len(carried) :])
    return (*carried, *(_stacked(op, slices, place, settings) for place in range(len(op.results) - len(carried))))


def _stacked(op: LoopOp, slices: Sequence[Results], place: int, settings: Settings) -> Array:
    type = op.results[len(op.carried) + place].type
    if slices:
        return np.stack([results[place] for results in slices])
    shape = checks.tensor(type, "a stacked result").shape[1:]
    return np.zeros((0, *map(int, shape)), settings.dtype(type))


def _fusion(op: FusionOp, operands: Sequence[Array], settings: Settings) -> Results:
    return _run_block(op.body.block, operands, settings)


TABLE: Table = {
    FusionOp: _fusion,
    **interpreter_elementwise.TABLE,
    **interpreter_movement.TABLE,
    **interpreter_contraction.TABLE,
    **interpreter_reduction.TABLE,
    **interpreter_transform.TABLE,
    **interpreter_resize.TABLE,
    **interpreter_recurrent.TABLE,
    **interpreter_counted.TABLE,
    **interpreter_text.TABLE,
}
"""Which function runs which op."""
