"""graph-set-precision: what lies between fusions becomes f16 (or bf16), contractions multiply f16 and add in f32, elementwise ops stay f32.

```mlir
%y = graph.fusion "fc" (%a = %x : tensor<8x64xf32>, %b = %w : tensor<10x64xf32>, %c = %bias : tensor<10xf32>) -> (tensor<8x10xf32>) {
  %1 = graph.matmul %a, %b transpose_b : (tensor<8x64xf32>, tensor<10x64xf32>) -> tensor<8x10xf32>
  ..
```
becomes
```mlir
%w16 = graph.weight #graph.weight<"w", .., [#graph.step<"cast", ["f16"]>]> : tensor<10x64xf16>
%y = graph.fusion "fc" (%a = %x : tensor<8x64xf16>, %b = %w16 : tensor<10x64xf16>, %c = %bias : tensor<10xf32>) -> (tensor<8x10xf16>) {
  %1 = graph.matmul %a, %b transpose_b : (tensor<8x64xf16>, tensor<10x64xf16>) -> tensor<8x10xf32>
  ..
  %r = graph.cast %9 : tensor<8x10xf32> -> tensor<8x10xf16>
```

The network's inputs and outputs keep their type: kernels that can convert what they read do so (attention, and products of an input by a weight on sm_90a), any other
contraction that reads an input directly stays f32; a value that is an output and used inside leaves its fusion in both types. Biases stay f32: they are read once per tile. Movement and maximum pools work in f16, exactly;
average pools add in f32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp, bf16, f16, f32
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import tensor_of
from stepwell.dialects.graph.interpreter import main_function
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Kind, Remark
from stepwell.transforms.graph._outline import Feeding
from stepwell.transforms.graph._precision import Contraction, is_half, operand_types, packs, wanted_types
from stepwell.transforms.graph._values import is_dead, live_ops, shape_of
from stepwell.transforms.graph.fuse_single import Computing
from stepwell.transforms.graph_to_loops.table import ops_of_loops
from stepwell.transforms.tensors import element_of

HALVES: Mapping[str, Attribute] = {"f16": f16, "bf16": bf16}
BFLOAT_RTOL = 8e-2
Versions = dict[SSAValue, dict[Attribute, SSAValue]]
"""A value of the old module: its stand-ins in the new one, by element type."""


@dataclass(frozen=True)
class SetPrecisionPass(StepwellPass):
    """Compute in half precision with f32 sums. See the file's head for the IR before and after.

    `type` is f16 or bf16, `keep` lists patterns (`head/*`) of source names whose fusions stay f32. Needs every computing op in a fusion
    (graph-fuse-single), refuses otherwise. Remarks: passed per fusion, analysis where one stays f32."""

    name = "graph-set-precision"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "rounds"
    rtol: ClassVar[float] = 1e-2

    type: str = "f16"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """bf16 keeps 8 bits of a number where f16 keeps 11."""
        if self.type == "bf16":
            object.__setattr__(self, "rtol", BFLOAT_RTOL)

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Find what every value is needed as, then rebuild weights, views and fusions in order."""
        half = HALVES.get(self.type)
        if half is None:
            hint = f"{' and '.join(HALVES)} are supported"
            raise PassFailure(f"cannot compute in {self.type!r}", where=self.name, hint=hint)
        main = main_function(op)
        body = main.body.block
        for inner in live_ops(body):
            if isinstance(inner, Computing | Feeding):
                raise PassFailure(f"{inner.name} is in no fusion", op=inner, hint="run graph-fuse-single first")
        kept: dict[Operation, bool] = {f: self._keeps(f) for f in body.ops if isinstance(f, graph.FusionOp)}
        wanted = wanted_types(body, kept, half)
        versions: Versions = {argument: {element_of(argument): argument} for argument in body.args}
        remarks = remarks_of(ctx)
        for inner in list(body.ops):
            _rebuild(inner, versions, wanted, None if kept.get(inner, True) else half)
            if isinstance(inner, graph.FusionOp):
                kind, message = _remark(inner, None if kept[inner] else half)
                remarks.add(Remark(kind, self.name, names_of(inner), message))
        for old in reversed(list(body.ops)):
            if old.results and is_dead(old):
                Rewriter.erase_op(old)

    def _keeps(self, fusion: graph.FusionOp) -> bool:
        """Whether a fusion stays as it is: it is named, or its op stands alone for plain loops."""
        named = any(fnmatch(name, pattern) for name in names_of(fusion) for pattern in self.keep)
        return named or bool(ops_of_loops(fusion))


def _remark(fusion: graph.FusionOp, half: Attribute | None) -> tuple[Kind, str]:
    if half is None:
        why = "it is written as plain loops" if ops_of_loops(fusion) else "the option keep names it"
        return "analysis", f"stays f32: {why}"
    roots = [op for op in fusion.body.block.ops if isinstance(op, Contraction)]
    if not roots:
        return "passed", f"reads and writes {half}"
    if any(packs(op, half) for op in roots):
        return "passed", f"multiplies {half}, adds in f32; its kernel converts the network's input"
    if all(is_half(op, operand_types(fusion, half), half) for op in roots):
        return "passed", f"multiplies {half}, adds in f32"
    return "analysis", "multiplies f32: it reads an input of the network, which keeps its type"


def _rebuild(
    op: Operation, versions: Versions, wanted: dict[SSAValue, list[Attribute]], half: Attribute | None
) -> None:
    """Put the new form of `op` before it and note which values it makes in which types; `half` is None where it stays as it is."""
    match op:
        case graph.WeightOp():
            own = element_of(op.result)
            versions[op.result] = {own: op.result}
            for element in wanted.get(op.result, []):
                if element != own:
                    cast = graph.WeightOp(op.ref.then(graph.StepAttr("cast", [str(element)])))
                    versions[op.result][element] = _insert(cast, op, op.result)
        case graph.ReshapeOp():
            made = versions.setdefault(op.result, {})
            for element in wanted.get(op.result, [element_of(op.result)]):
                view = graph.ReshapeOp(versions[op.operand][element], shape_of(op.result))
                made[element] = _insert(view, op, op.result)
        case graph.FusionOp():
            _rebuild_fusion(op, versions, wanted, half)
        case func.ReturnOp():
            for position, operand in enumerate(op.operands):
                op.operands[position] = versions[operand][element_of(operand)]
        case _:
            for result in op.results:
                versions[result] = {element_of(result): result}


def _insert(new: Operation, old: Operation, hint: SSAValue) -> SSAValue:
    new.location = old.location
    new.results[0].name_hint = hint.name_hint
    Rewriter.insert_op(new, InsertPoint.before(old))
    return new.results[0]


def _rebuild_fusion(
    op: graph.FusionOp, versions: Versions, wanted: dict[SSAValue, list[Attribute]], half: Attribute | None
) -> None:
    args = op.body.block.args
    own: dict[SSAValue, Attribute] = {argument: element_of(argument) for argument in args}
    types = own if half is None else operand_types(op, half)
    inputs = [versions[operand][types[argument]] for argument, operand in zip(args, op.inputs, strict=True)]
    body = _Body([value.type for value in inputs])
    for argument, copy in zip(args, body.block.args, strict=True):
        copy.name_hint, copy.location = argument.name_hint, argument.location
        body.values[argument] = copy
    for inner in op.body.block.ops:
        if not isinstance(inner, graph.YieldOp):
            body.values.update(zip(inner.results, _rebuild_op(inner, body, types, half), strict=True))
    yielded: list[SSAValue] = []
    keys: list[tuple[SSAValue, Attribute]] = []
    for result, value in zip(op.outputs, op.terminator.values, strict=True):
        for element in wanted.get(result) or [element_of(result)]:
            yielded.append(body.cast(value, element, op.terminator))
            keys.append((result, element))
    terminator = graph.YieldOp(*yielded)
    terminator.location = op.terminator.location
    body.block.add_op(terminator)
    new = graph.FusionOp(op.fusion_name.data, inputs, [v.type for v in yielded], Region(body.block), op.config)
    new.attributes.update(op.attributes)
    new.location = op.location
    Rewriter.insert_op(new, InsertPoint.before(op))
    for (old, element), output in zip(keys, new.outputs, strict=True):
        output.name_hint = old.name_hint
        versions.setdefault(old, {})[element] = output


class _Body:
    """A fusion's new body: old values to new ones, and the casts made so far."""

    def __init__(self, types: list[Attribute]) -> None:
        self.block = Block(arg_types=types)
        self.values: dict[SSAValue, SSAValue] = {}
        self._casts: dict[tuple[SSAValue, Attribute], SSAValue] = {}

    def cast(self, old: SSAValue, element: Attribute, user: Operation) -> SSAValue:
        """The new form of `old` in an element type, by a cast where that is needed."""
        value = self.values[old]
        if element_of(value) == element:
            return value
        if (value, element) not in self._casts:
            (self._casts[value, element],) = self.add(graph.CastOp(value, element), user)
        return self._casts[value, element]

    def add(self, op: Operation, source: Operation) -> Sequence[SSAValue]:
        """Append `op` with the location of `source`."""
        op.location = source.location
        self.block.add_op(op)
        return op.results


def _rebuild_op(
    op: Operation, body: _Body, types: dict[SSAValue, Attribute], half: Attribute | None
) -> Sequence[SSAValue]:
    """One op of a body in the types that its operands now have, or with operands cast to what it works in: the new results."""
    moved = _moved_operands(op)
    held = {element_of(body.values[operand]) for operand in moved}
    follows = len(held) == 1
    narrow = half if half is not None and _multiplies(op, types, half) else None
    operands = []
    for operand in op.operands:
        if narrow is not None and element_of(operand) == f32:
            operands.append(body.cast(operand, narrow, op))
        elif follows and operand in moved:
            operands.append(body.values[operand])
        else:
            operands.append(body.cast(operand, element_of(operand), op))
    results = [tensor_of(element_of(old), shape_of(old)) for old in op.results]
    if narrow is not None and isinstance(op, graph.AttentionOp):
        results = [tensor_of(narrow, shape_of(op.result))]
    if follows:
        results[0] = tensor_of(held.pop(), shape_of(op.results[0]))
    new = type(op).create(
        operands=operands, result_types=results, properties=dict(op.properties), attributes=dict(op.attributes)
    )
    for made, old in zip(new.results, op.results, strict=True):
        made.name_hint = old.name_hint
    return body.add(new, op)


def _multiplies(op: Operation, types: dict[SSAValue, Attribute], half: Attribute) -> bool:
    """Whether an op multiplies in half precision: contractions of what is half already, attention always, since its kernel converts what it reads."""
    if isinstance(op, graph.AttentionOp):
        return element_of(op.q) == f32
    return isinstance(op, Contraction) and (is_half(op, types, half) or packs(op, half))


def _moved_operands(op: Operation) -> Sequence[SSAValue]:
    """The operands whose elements are those of the first result, moved, chosen, or added up in f32 and rounded once."""
    match op:
        case graph.ReshapeOp() | graph.TransposeOp() | graph.BroadcastOp() | graph.SliceOp() | graph.ReverseOp():
            return op.operands
        case graph.ConcatOp():
            return op.operands
        case graph.GatherOp():
            return op.operands[:1]
        case graph.SelectOp():
            return op.operands[1:]
        case graph.PoolOp():
            return op.operands
    return ()


PASS = SetPrecisionPass
