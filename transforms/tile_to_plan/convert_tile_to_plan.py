"""stepwell-convert-tile-to-plan: whole tensors become memory with lifetimes, applications of kernels become launches.

Before:
    func.func @main(%x: tensor<8x4xf32> {stepwell.name = "x"}) -> (tensor<8x2xf32> {stepwell.name = "y"}) {
      %w = graph.weight #graph.weight<...> : tensor<4x1x4xf32>
      %h = tile.apply @fc1(%x3, %w) : (tensor<8x1x4xf32>, tensor<4x1x4xf32>) -> tensor<8x4xf32>
      ...
      func.return %y : tensor<8x2xf32>
    }
After:
    plan.program @main {
      %x = plan.binding "x" input : !plan.buffer<8x4xf32>
      %y = plan.binding "y" output : !plan.buffer<8x2xf32>
      %w = plan.constant #graph.weight<...> : !plan.buffer<4x1x4xf32>
      %h = plan.slice live [0, 1] : !plan.buffer<8x4xf32>
      plan.launch @fc1(%x3, %w) outs(%h) : ...
      plan.launch @fc2(%h, ...) outs(%y) : ...
    }
A result of the network is written into its binding by the kernel that makes it; what no kernel makes (an input, a
constant, a tensor that is returned twice) is copied at the end. Reshapes are views. A slice lives from the step that
writes it to the last step that reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import arith, func
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    DictionaryAttr,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import graph, plan, tile
from stepwell.ir.ssa_names import ssa_hint
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, location_of, names_of, remarks_of
from stepwell.passes.remarks import Remark

NAME = "stepwell-convert-tile-to-plan"


@dataclass(frozen=True)
class ConvertTileToPlanPass(StepwellPass):
    """Outline the host function into a `plan.program`: bindings, constants, slices with lifetimes, views, windows,
    launches."""

    name = NAME
    level: ClassVar[str] = "tile"
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        functions = [f for f in op.ops if isinstance(f, func.FuncOp) and not f.is_declaration]
        if not functions and any(isinstance(f, plan.ProgramOp) for f in op.ops):
            return
        if len(functions) != 1:
            titles = ", ".join(f"@{f.sym_name.data}" for f in functions) or "none"
            raise PassFailure(f"a module at the tile level has one host function, here: {titles}", where=self.name)
        outline = _Outline(functions[0])
        program = outline.run()
        Rewriter.insert_op(program, InsertPoint.before(functions[0]))
        functions[0].detach()
        functions[0].erase()
        op.attributes["stepwell.level"] = StringAttr("plan")
        launches = sum(isinstance(step, plan.LaunchOp) for _, step in program.steps())
        copies = sum(isinstance(step, plan.CopyOp) for _, step in program.steps())
        message = f"{launches} launches, {copies} copies, {len(outline.last_use)} slices"
        remarks_of(ctx).add(Remark("analysis", self.name, (), message))


def _binding_names(attributes: ArrayAttr[DictionaryAttr] | None, count: int, fallback: Sequence[str]) -> list[str]:
    names = list(fallback)
    for index in range(0 if attributes is None else count):
        named = attributes.data[index].data.get("stepwell.name") if attributes is not None else None
        if isinstance(named, StringAttr):
            names[index] = named.data
    return names


def _buffer_of(type: Attribute, where: str) -> plan.BufferType:
    if not isinstance(type, TensorType) or not type.has_static_shape():
        raise PassFailure(f"{type} has no static size: the plan needs every extent", where=where)
    return plan.BufferType.of(type.get_shape(), type.element_type)


@dataclass
class _Outline:
    """One walk over the host function: first where results go, then one plan op per host op, then lifetimes."""

    function: func.FuncOp
    ops: list[Operation] = field(default_factory=list)
    memory: dict[SSAValue, SSAValue] = field(default_factory=dict)
    target: dict[SSAValue, SSAValue] = field(default_factory=dict)
    """Kernel result -> the output binding that it is written into."""
    last_use: dict[plan.SliceOp, list[int]] = field(default_factory=dict)
    step: int = 0

    def run(self) -> plan.ProgramOp:
        """The program; the function is left as it was."""
        returned = self._bindings()
        for op in self.function.body.block.ops:
            if not isinstance(op, func.ReturnOp):
                self._convert(op)
        for value, binding in returned:
            if self.target.get(_made_by(value)) is not binding:
                self._copy(value, binding)
        for slice_op, (first, last) in self.last_use.items():
            slice_op.properties["live"] = plan.SliceOp(slice_op.type, (first, last)).live
        program = plan.ProgramOp(self.function.sym_name.data, list(self.ops))
        inherit_location(program, self.function)
        return program

    def _emit(self, new: Operation, source: Operation) -> SSAValue:
        new.location = source.location
        new.results[0].name_hint = source.results[0].name_hint
        self.ops.append(new)
        return new.results[0]

    def _bindings(self) -> list[tuple[SSAValue, SSAValue]]:
        """Make the bindings; returns (returned value, its output binding) and notes which kernel results go straight
        there."""
        block = self.function.body.block
        defaults = [f"input{index}" for index in range(len(block.args))]
        for arg, name in zip(block.args, _binding_names(self.function.arg_attrs, len(block.args), defaults)):
            self.memory[arg] = self._binding(name, plan.Direction.INPUT, arg.type)
        last = block.last_op
        assert isinstance(last, func.ReturnOp)
        defaults = [f"output{index}" for index in range(len(last.arguments))]
        names = _binding_names(self.function.res_attrs, len(last.arguments), defaults)
        returned = []
        for value, name in zip(last.arguments, names):
            binding = self._binding(name, plan.Direction.OUTPUT, value.type)
            returned.append((value, binding))
            made = _made_by(value)
            if isinstance(made.owner, tile.ApplyOp):
                self.target.setdefault(made, binding)
        return returned

    def _binding(self, name: str, direction: plan.Direction, type: Attribute) -> SSAValue:
        binding = plan.BindingOp(name, direction, _buffer_of(type, name))
        binding.location = location_of([name])
        binding.buffer.name_hint = ssa_hint(name)
        self.ops.append(binding)
        return binding.buffer

    def _convert(self, op: Operation) -> None:
        match op:
            case tile.ApplyOp():
                self._launch(op)
            case graph.WeightOp():
                self._constant(op, op.ref)
            case arith.ConstantOp() if isinstance(op.value, DenseIntOrFPElementsAttr):
                self._constant(op, op.value)
            case graph.ReshapeOp():
                pass  # a view, made where it is used
            case tile.WindowOp():
                self._window(op)
            case _:
                raise PassFailure(
                    f"{op.name} has no place in a plan: at the tile level every computation is a tile.apply",
                    where=_where(op),
                    hint="run the passes of the linalg and tile stages first (stepwell-opt --to tile)",
                )

    def _constant(self, op: Operation, value: Attribute) -> None:
        result = op.results[0]
        self.memory[result] = self._emit(plan.ConstantOp(value, _buffer_of(result.type, _where(op))), op)

    def _window(self, op: tile.WindowOp) -> None:
        kernel, strides, pads, dilations = op.geometry()
        made = plan.WindowOp(self._memory_of(op.source), kernel, strides, pads, dilations, op.fill)
        self.memory[op.result] = self._emit(made, op)

    def _view(self, source: SSAValue, buffer: plan.BufferType, op: Operation) -> SSAValue:
        return source if source.type == buffer else self._emit(plan.ViewOp(source, buffer), op)

    def _memory_of(self, value: SSAValue) -> SSAValue:
        """The buffer or window that holds `value`; a chain of reshapes is one view, made at the first use."""
        if value not in self.memory and isinstance(value.owner, graph.ReshapeOp):
            buffer = _buffer_of(value.type, _where(value.owner))
            self.memory[value] = self._view(self.memory[_made_by(value)], buffer, value.owner)
        return self.memory[value]

    def _launch(self, op: tile.ApplyOp) -> None:
        args = [self._memory_of(value) for value in op.inputs]
        outs = []
        for result in op.outputs:
            buffer = _buffer_of(result.type, _where(op))
            if result in self.target:
                self.memory[result] = self._view(self.target[result], buffer, op)
            else:
                made = plan.SliceOp(buffer, (self.step, self.step))
                self.last_use[made] = [self.step, self.step]
                self.memory[result] = self._emit(made, op)
            outs.append(self.memory[result])
        launch = plan.LaunchOp(op.kernel, args, outs)
        launch.location = op.location
        self._add_step(launch, args)

    def _copy(self, value: SSAValue, binding: SSAValue) -> None:
        source = self.memory[_made_by(value)]
        copy = plan.CopyOp(source, binding)
        copy.location = binding.owner.location if isinstance(binding.owner, Operation) else self.function.location
        self._add_step(copy, [source])

    def _add_step(self, op: Operation, read: Sequence[SSAValue]) -> None:
        for value in read:
            root = plan.root_of(value)
            if isinstance(root, plan.SliceOp):
                self.last_use[root][1] = self.step
        self.ops.append(op)
        self.step += 1


def _made_by(value: SSAValue) -> SSAValue:
    """The value whose bytes `value` shows, through reshapes."""
    while isinstance(value.owner, graph.ReshapeOp):
        value = value.owner.operand
    return value


def _where(op: Operation) -> str:
    return " + ".join(names_of(op)) or op.name


PASS = ConvertTileToPlanPass
