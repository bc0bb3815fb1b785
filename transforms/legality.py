"""What the lowering to a target can do, op by op: one table, asked before the first pass and by the reference pages.

`supported(op, target, precision)` says why an op of the graph level cannot be lowered, or None. Each kind of op has one function in `RULES`;
an op without one is not lowered yet, so a new op of the dialect is refused with its name until its lowering adds a line here. The rules promise:
no pass of the default pipelines refuses a network all of whose ops are supported (tests/transforms/test_legality.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, get_args

from xdsl.dialects.builtin import IntegerType, ModuleOp, TensorType, bf16, f16, f32, f64, i1
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import Elementwise, expand, has_expansion
from stepwell.dialects.graph.interpreter import main_function
from stepwell.dialects.graph.plugins import DEEPEST as DEEPEST_PLUGINS
from stepwell.dialects.graph.plugins import Expanding, Linking
from stepwell.dialects.numpy_types import FLOATS8, INTEGERS, numpy_dtype
from stepwell.dialects.weights import WeightStore
from stepwell.passes import names_of
from stepwell.runtime.errors import ModelError
from stepwell.runtime.program import MAX_BYTES
from stepwell.transforms.attention import why_no_kernel
from stepwell.transforms.graph._values import MOVEMENT, is_constant, live_ops, shape_of
from stepwell.transforms.graph_to_loops.counted import Counted, Ending, is_ended
from stepwell.transforms.graph_to_loops.table import WRITERS
from stepwell.transforms.kernel_to_llvm.arith import CONVERSIONS
from stepwell.transforms.pipelines import kept_whole
from stepwell.transforms.tile.expand_math import EXPANSIONS
from stepwell.types.targets import COMPILED, MACHINES

LOWERED: tuple[Attribute, ...] = (f16, bf16, f32, f64, i1, *INTEGERS, *FLOATS8)
"""Element types that kernels compute with and move, on every target."""
MOST_OPERANDS = 256
"""Tensors that one op reads: the parameters of a kernel take at most 4 KB."""
CUDA_FAMILY = "sm_90a"
SCORE_BYTES = 8
"""Of a score of attention, at most."""
CUDA_ELEMENTS_LIMIT = 2**31
"""Elements of a tensor that kernels of sm_90a index, with 32 bits."""


@dataclass(frozen=True)
class Refusal:
    """Why an op cannot be lowered, and what to do."""

    reason: str
    hint: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.hint}"


Rule = Callable[[Any, str, str], Refusal | None]
"""Op, family of the target, precision."""


def supported(op: Operation, target: str, precision: str = "model") -> Refusal | None:
    """Why the lowering for a family of targets (`cpu`, `sm_90a`) cannot take `op` at the graph level; None when it can."""
    rule = RULES.get(type(op))
    if rule is None:
        return Refusal(f"{op.name} is not lowered yet", "compute it outside of the network, or with other operators")
    return _tensors(op, target) or rule(op, target, precision)


def refusals(
    module: ModuleOp, target: str, precision: str = "model", weights: WeightStore | None = None
) -> Iterator[str]:
    """A line for each op that cannot be lowered: source nodes, op, types, reason, what to do. Dead ops and movement that folds into a
    weight's recipe cost nothing and are not asked about; ops of other dialects are for the passes that plugins bring."""
    yield from (f"{refused.told}: {refused.refusal}" for refused in refused_ops(module, target, precision, weights))
    yield from _bindings(module, target)


@dataclass(frozen=True)
class Refused:
    """An op that cannot be lowered: the source nodes that it comes from, itself in words, and why."""

    names: tuple[str, ...]
    told: str
    refusal: Refusal


def refused_ops(
    module: ModuleOp, target: str, precision: str = "model", weights: WeightStore | None = None
) -> Iterator[Refused]:
    """Each op that cannot be lowered; in place of a plugin's op those that it means, for which constants may be read from `weights`."""
    store = WeightStore() if weights is None else weights.restricted_to(weights)
    for op in live_ops(main_function(module).body.block):
        yield from _refused_in(op, target, precision, store, 0)


def is_taken(op: Operation, target: str, precision: str = "model") -> bool:
    """Whether the lowering to a family of targets takes an op and all that stands in it."""
    return not any(_refused_in(op, target, precision, WeightStore(), 0))


def _refused_in(op: Operation, target: str, precision: str, weights: WeightStore, depth: int) -> Iterator[Refused]:
    for inner in op.walk():
        if inner.name.partition(".")[0] != "graph" or _folds(inner):
            continue
        if isinstance(inner, graph.CustomOp) and not inner.why_not_expanded():
            yield from _refused_of_plugin(inner, target, precision, weights, depth)
        elif (refusal := supported(inner, target, precision)) is not None:
            yield Refused(names_of(inner), describe(inner), refusal)


def _refused_of_plugin(
    op: graph.CustomOp, target: str, precision: str, weights: WeightStore, depth: int
) -> list[Refused]:
    """What is refused of the ops that a plugin's op means; they are made, asked about and thrown away."""
    plugin, block = op.definition, Block()
    assert isinstance(plugin, Expanding)
    if depth == DEEPEST_PLUGINS:
        told = f"the plugin's ops hold ops of plugins, {DEEPEST_PLUGINS} levels deep"
        return [Refused(names_of(op), describe(op), Refusal(told, "mend the plugin's ops"))]
    try:
        plugin.expand(op, op.parameters.data, weights, block)
        made = list(block.ops)
        return [refused for inner in made for refused in _refused_in(inner, target, precision, weights, depth + 1)]
    except VerifyException as error:
        return [Refused(names_of(op), describe(op), Refusal(str(error), "mend the plugin's ops"))]
    finally:
        for inner in reversed(list(block.ops)):
            block.erase_op(inner)


def _bindings(module: ModuleOp, target: str) -> Iterator[str]:
    """What the network reads and returns, where no op of the network says it already."""
    main = main_function(module)
    last = main.body.block.last_op
    returned = [
        value for value in (last.operands if last is not None else ()) if not isinstance(value.owner, Operation)
    ]
    for value in dict.fromkeys([*(a for a in main.body.block.args if not a.uses.get_length()), *returned]):
        refusal = _tensor(value, target)
        if refusal is not None:
            yield f"{value.name_hint or 'an input'} : {value.type}: {refusal}"


def check_module(module: ModuleOp, target: str, precision: str = "model", weights: WeightStore | None = None) -> None:
    """A ModelError with everything that `refusals` finds."""
    reasons = list(refusals(module, target, precision, weights))
    if reasons:
        count = "one operation has" if len(reasons) == 1 else f"{len(reasons)} operations have"
        raise ModelError(f"{count} no lowering for {target}", where=_title(module), reasons=reasons)


def describe(op: Operation) -> str:
    """An op for a message: `conv1 (graph.conv : (tensor<..>, tensor<..>) -> tensor<..>)`."""
    operands = ", ".join(str(value.type) for value in op.operands)
    results = ", ".join(str(result.type) for result in op.results)
    kind = getattr(op, "kind", "")
    return f"{' + '.join(names_of(op)) or 'no source name'} ({op.name}{f' {kind}' if kind else ''} : ({operands}) -> {results})"


def _title(module: ModuleOp) -> str:
    return main_function(module).sym_name.data


def _folds(op: Operation) -> bool:
    return isinstance(op, MOVEMENT) and is_constant(op.result)


# --- rules for every op


def _tensors(op: Operation, target: str) -> Refusal | None:
    """Element types and extents of everything that the op reads and makes."""
    for value in (*op.operands, *op.results):
        if isinstance(op, Counted | Ending) and is_ended(value):
            continue
        if refusal := _tensor(value, target):
            return refusal
    return None


def _tensor(value: SSAValue, target: str) -> Refusal | None:
    type_ = value.type
    if not isinstance(type_, TensorType):
        return Refusal(f"a value of type {type_} is not lowered yet", "networks compute with tensors")
    if type_.element_type not in LOWERED:
        hint = f"cast to one of {', '.join(map(str, LOWERED))} outside of the network"
        return Refusal(f"elements of type {type_.element_type} are not lowered yet", hint)
    if not type_.has_static_shape():
        return Refusal(f"{type_} has an extent that is no number", "give shapes when importing the model")
    size = prod(type_.get_shape()) * numpy_dtype(type_).itemsize
    if size > MAX_BYTES:
        return Refusal(f"{type_} takes {size} bytes, a plan holds at most {MAX_BYTES}", "use a smaller batch")
    if target == CUDA_FAMILY and prod(type_.get_shape()) >= CUDA_ELEMENTS_LIMIT:
        return Refusal(f"{type_} has 2**31 elements or more", "kernels index with 32 bits: use a smaller batch")
    return None


# --- rules for kinds of ops


def _always(op: Operation, target: str, precision: str) -> Refusal | None:
    """Views, references and structure, and what loops take in every form."""
    return None


def _elementwise(op: Elementwise, target: str, precision: str) -> Refusal | None:
    """Every scalar op that the kind expands to has an instruction, or an expansion of its own."""
    if not has_expansion(op):
        return Refusal("this form of it has no scalar operations", "use another kind, rounding or element type")
    missing = next((name for name in _missing(op)), "")
    return (
        Refusal(f"{missing} has no instruction and no expansion", "write it with other operators") if missing else None
    )


def _plugin(op: graph.CustomOp, target: str, precision: str) -> Refusal | None:
    """The plugin says what the op means in ops, which `refused_ops` asks about, or in a program of the tile level."""
    if op.linking is not None:
        return _program(op, op.linking, target)
    reason = op.why_not_expanded()
    return Refusal(f'plugin "{op.plugin.data}" {reason}', "or leave it to the interpreter") if reason else None


def _attention(op: graph.AttentionOp, target: str, precision: str) -> Refusal | None:
    """Its pieces are lowered (graph-expand-attention): products, elementwise ops, a softmax, and selects where a mask is computed."""
    selected = op.lengths is not None or op.bias is not None
    needed = (graph.SoftmaxOp, *((graph.CompareOp, graph.SelectOp) if selected else ()))
    missing = next((kind.name for kind in needed if kind not in RULES), "")
    if missing:
        return Refusal(f"its {missing} is not lowered yet", "compute it outside of the network")
    reason = why_no_kernel(op, kept_whole(target, precision))
    shape = (*shape_of(op.q)[:3], shape_of(op.k)[2])
    most = min(CUDA_ELEMENTS_LIMIT if target == CUDA_FAMILY else MAX_BYTES, MAX_BYTES // SCORE_BYTES)
    if reason and all(isinstance(extent, int) for extent in shape) and prod(shape) >= most:
        return Refusal(
            f"it has {prod(shape)} scores, and is no kernel of its own: {reason}",
            "use fewer heads, queries or keys at once",
        )
    return None


def _concat(op: graph.ConcatOp, target: str, precision: str) -> Refusal | None:
    """As many operands as a kernel has parameters."""
    count = len(op.inputs)
    told = f"it joins {count} tensors, a kernel reads at most {MOST_OPERANDS}"
    return Refusal(told, "join some of them first") if count > MOST_OPERANDS else None


def _gather(op: graph.GatherOp, target: str, precision: str) -> Refusal | None:
    """There is something to pick from, wherever something is picked."""
    shapes = [value.type.get_shape() for value in (op.operand, op.result) if isinstance(value.type, TensorType)]
    empty = 0 in shapes[0] and 0 not in shapes[1]
    return Refusal("it picks elements of a tensor that has none", "leave it out of the network") if empty else None


def _program(op: graph.CustomOp, plugin: Linking, target: str) -> Refusal | None:
    machine = next(machine for machine in COMPILED if MACHINES[machine].family == target)
    try:
        plugin.program([value.type for value in op.inputs], op.parameters.data, machine)
    except VerifyException as error:
        return Refusal(f'plugin "{op.plugin.data}": {error}', "mend its tile program")
    return None


def _quantising(op: graph.QuantizeOp | graph.DequantizeOp, target: str, precision: str) -> Refusal | None:
    """Between floats and integers."""
    type = op.zero.type
    if isinstance(type, TensorType) and isinstance(type.element_type, IntegerType):
        return None
    return Refusal(f"zero points of type {type}", "quantise to integers, or cast")


def _lrn(op: graph.LrnOp, target: str, precision: str) -> Refusal | None:
    """What is raised to a power is never negative."""
    if op.k >= 0 and op.alpha >= 0:
        return None
    return Refusal(
        f"k {op.k} or alpha {op.alpha} is negative: roots of negative numbers", "write it with other operators"
    )


def _missing(op: Elementwise) -> Iterator[str]:
    elements = [value.type.element_type for value in op.operands if isinstance(value.type, TensorType)]
    ops, _ = expand(op, Block(arg_types=elements).args)
    for scalar in ops:
        if type(scalar) not in CONVERSIONS and type(scalar) not in EXPANSIONS:
            yield scalar.name


RULES: Mapping[type[Operation], Rule] = {
    graph.ArgReduceOp: _always,
    graph.AttentionOp: _attention,
    graph.BatchNormOp: _always,
    graph.BinaryOp: _elementwise,
    graph.BitcastOp: _always,
    graph.BroadcastOp: _always,
    graph.CastOp: _elementwise,
    graph.CompareOp: _elementwise,
    graph.ConcatOp: _concat,
    graph.ConstantOp: _always,
    graph.ConvOp: _always,
    graph.ConvTransposeOp: _always,
    **dict.fromkeys((*WRITERS, *get_args(Counted)), _always),
    graph.CustomOp: _plugin,
    graph.DequantizeOp: _quantising,
    graph.FusionOp: _always,
    graph.GatherOp: _gather,
    graph.IotaOp: _always,
    graph.LrnOp: _lrn,
    graph.MatmulOp: _always,
    graph.NormalizeOp: _always,
    graph.PadOp: _always,
    graph.PoolOp: _always,
    graph.QuantizeOp: _quantising,
    graph.ReduceOp: _always,
    graph.ReshapeOp: _always,
    graph.ResizeOp: _always,
    graph.ReverseOp: _always,
    graph.SampleOp: _always,
    graph.SelectOp: _always,
    graph.SliceOp: _always,
    graph.SoftmaxOp: _always,
    graph.TransposeOp: _always,
    graph.UnaryOp: _elementwise,
    graph.WeightOp: _always,
    graph.YieldOp: _always,
}
"""Op -> what the lowering of each target takes of it."""
