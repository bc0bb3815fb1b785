"""A network of which a target takes only a part: what it takes is compiled, segment by segment, the rest is interpreted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from stepwell.api.compile import compile as compile_module
from stepwell.api.compile import import_model, interpret
from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import argument_names, main_function, result_names
from stepwell.dialects.weights import WeightSource, WeightStore, keep_weights, weights_of
from stepwell.frontends.builder import module_of
from stepwell.frontends.shapes import Shapes
from stepwell.ir.locations import names_of
from stepwell.passes.levels import level_of
from stepwell.passes.target import resolve
from stepwell.runtime.engine import Engine
from stepwell.runtime.errors import InternalError, UsageError
from stepwell.transforms.legality import is_taken

Array = np.ndarray
HELD = (graph.WeightOp, graph.ConstantOp)
"""Ops that every segment which needs them has for itself."""


@dataclass(frozen=True)
class Segment:
    """Ops that run together: `engine` where they are compiled, else they are interpreted; `names` are the source nodes, inputs and outputs are named by their values."""

    module: ModuleOp
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    names: tuple[str, ...]
    engine: Engine | None

    def run(self, values: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs by name."""
        given = {name: values[name] for name in self.inputs}
        return interpret(self.module, given) if self.engine is None else self.engine.run(given)


@dataclass(frozen=True)
class PartialEngine:
    """What `compile_partial` gives; `segments` run in order."""

    segments: tuple[Segment, ...]
    inputs: tuple[str, ...]
    outputs: Mapping[str, str]
    """Output -> the value that it is."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name, for inputs by name."""
        missing = [name for name in self.inputs if name not in inputs]
        unknown = [name for name in inputs if name not in self.inputs]
        if missing or unknown:
            said = f"input {missing[0]!r} is missing" if missing else f"there is no input {unknown[0]!r}"
            raise UsageError(said, where="inputs", hint=f"inputs: {', '.join(self.inputs)}")
        values = {name: np.asarray(array) for name, array in inputs.items()}
        for segment in self.segments:
            values.update(segment.run(values))
        return {name: values[value] for name, value in self.outputs.items()}

    def __str__(self) -> str:
        kinds = [
            f"{'interpreted' if s.engine is None else 'compiled'}: {len(s.names)} nodes ({', '.join(s.names[:4])})"
            for s in self.segments
        ]
        return "\n".join(kinds)


def compile_partial(
    model: object,
    weights: WeightSource | None = None,
    outputs: Sequence[str] | None = None,
    *,
    target: str = "auto",
    shapes: Shapes | None = None,
    smallest: int = 1,
) -> PartialEngine:
    """Compile what the lowering to `target` takes, where at least `smallest` ops stand together, and interpret the rest: the same results as interpreting all of it.
    `model`, `weights`, `outputs` and `shapes` are those of `compile`."""
    if smallest < 1:
        raise UsageError(f"segments of {smallest} ops are none", where="smallest", hint="give 1 or more")
    module = model if isinstance(model, ModuleOp) else import_model(model, weights, outputs, shapes)  # type: ignore[arg-type]
    if level_of(module) != "graph":
        raise UsageError("a module below the graph level is compiled whole", where="compile_partial")
    return _Partition(module, target, smallest).engine()


class _Partition:
    """One network on its way into segments. Values are named by number."""

    def __init__(self, module: ModuleOp, target: str, smallest: int) -> None:
        self.main, self.store = main_function(module), weights_of(module)
        self.target, self.family, self.smallest = target, resolve(target).family, smallest
        self.names = argument_names(self.main)
        block = self.main.body.block
        self.called: dict[SSAValue, str] = dict(zip(block.args, self.names, strict=True))
        ops = [op for op in block.ops if not isinstance(op, (*HELD, func.ReturnOp))]
        for op in ops:
            self.called.update({result: f"value{len(self.called) + k}" for k, result in enumerate(op.results)})
        self.ops = ops
        self.returned = list(block.last_op.operands) if block.last_op is not None else []

    def engine(self) -> PartialEngine:
        """Compile the segments."""
        made = tuple(self._segment(ops, taken) for ops, taken in self._groups())
        given = dict(zip(result_names(self.main), self.returned, strict=True))
        held = [value for value in given.values() if isinstance(value.owner, HELD)]
        if held:
            raise UsageError(
                "an output of the network is a constant", where="compile_partial", hint="compute it outside"
            )
        return PartialEngine(made, tuple(self.names), {name: self.called[value] for name, value in given.items()})

    def _groups(self) -> Iterator[tuple[list[Operation], bool]]:
        """Ops of one kind for as long as one of that kind is ready; then the other kind."""
        left, done, kind = list(self.ops), set[Operation](), True
        taken = {op: is_taken(op, self.family) for op in left}
        while left:
            group: list[Operation] = []
            for op in left:
                if taken[op] == kind and all(_is_there(value, done) for value in _needs(op)):
                    group.append(op)
                    done.add(op)
            left = [op for op in left if op not in done]
            if not group and not any(all(_is_there(value, done) for value in _needs(op)) for op in left):
                raise InternalError(f"{len(left)} ops wait for each other", where="compile_partial")
            if group:
                yield group, kind and len(group) >= self.smallest
            kind = not kind

    def _segment(self, ops: Sequence[Operation], taken: bool) -> Segment:
        inside = {result for op in ops for result in op.results}
        read = dict.fromkeys(value for op in ops for value in _needs(op))
        outer = [value for value in read if value not in inside and not isinstance(value.owner, HELD)]
        kept = [v for v in inside if v in self.returned or any(not _within(use.operation, ops) for use in v.uses)]
        kept.sort(key=lambda value: self.called[value])
        block = Block(arg_types=[value.type for value in outer])
        values: dict[SSAValue, SSAValue] = dict(zip(outer, block.args, strict=True))
        held = dict.fromkeys(value.owner for value in read if isinstance(value.owner, HELD))
        block.add_ops(op.clone(values) for op in (*held, *ops) if isinstance(op, Operation))
        inputs, outputs = ([self.called[value] for value in side] for side in (outer, kept))
        module = keep_weights(module_of(block, inputs, [values[v] for v in kept], outputs), self.store or WeightStore())
        engine = compile_module(module, target=self.target) if taken else None
        names = tuple(dict.fromkeys(name for op in ops for name in names_of(op)))
        return Segment(module, tuple(inputs), tuple(outputs), names, engine)


def _needs(op: Operation) -> list[SSAValue]:
    """What an op reads, in its regions too, that does not stand in them."""
    inner = {result for nested in op.walk() for result in nested.results}
    inner |= {
        argument
        for nested in op.walk()
        for region in nested.regions
        for block in region.blocks
        for argument in block.args
    }
    return list(dict.fromkeys(value for nested in op.walk() for value in nested.operands if value not in inner))


def _is_there(value: SSAValue, done: set[Operation]) -> bool:
    return not isinstance(value.owner, Operation) or isinstance(value.owner, HELD) or value.owner in done


def _within(op: Operation | None, ops: Sequence[Operation]) -> bool:
    while op is not None:
        if op in ops:
            return True
        op = op.parent_op()
    return False
