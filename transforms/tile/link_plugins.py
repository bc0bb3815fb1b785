"""tile-link-plugins: the op of a plugin that says its meaning as a program of the tile level becomes that program.

```mlir
%y = graph.custom "Bent" version "1" from "examples" (%x) {slope = 5.0e-01 : f64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
```
becomes, beside the kernel that the plugin's program holds,
```mlir
tile.kernel @bent(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [2, 32]> { .. }
%y = tile.apply @bent(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp, StringAttr, SymbolRefAttr
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import SymbolTable
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import graph, tile
from stepwell.dialects.graph.plugin_record import record_plugin
from stepwell.dialects.tile.kernel_rules import target_name_of
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.symbols import new_symbol, taken_symbols

NAME = "tile-link-plugins"


@dataclass(frozen=True)
class LinkPluginsPass(StepwellPass):
    """Put the programs of plugins into the module: their kernels under names of their own, what their `@main` does in the place of the op. The module's
    `stepwell.plugins` says which plugin with which parameters that was. Refused: a program that is none, has other types than the op, holds weights of
    its own, or whose kernels the target does not take. Remarks: passed, the kernels."""

    name = NAME
    level: ClassVar[str] = "tile"
    meaning: ClassVar[Meaning] = "rounds"
    rtol: ClassVar[float] = 1e-3

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = target_name_of(op) or ""
        found = [inner for inner in op.walk() if isinstance(inner, graph.CustomOp) and inner.linking is not None]
        programs = [(inner, _program(inner, target)) for inner in found]
        taken = taken_symbols(op)
        for inner, program in programs:
            kernels = _link(op, inner, program, taken)
            names = ", ".join(f"@{kernel}" for kernel in kernels)
            told = f'plugin "{inner.plugin.data}" became {names or "views alone"}'
            remarks_of(ctx).add(Remark("passed", NAME, names_of(inner), told))
            record_plugin(op, inner)
            inner.detach()
            inner.erase()


def _program(op: graph.CustomOp, target: str) -> ModuleOp:
    """The program for the target, its results of the op's types."""
    plugin = op.linking
    assert plugin is not None
    try:
        program = plugin.program([value.type for value in op.inputs], op.parameters.data, target)
    except VerifyException as error:
        raise PassFailure(str(error), op=op, hint="mend the plugin's tile program") from error
    last = _main(program).body.block.last_op
    made = [value.type for value in last.operands] if last is not None else []
    if made != [result.type for result in op.outputs]:
        told = f"its tile program gives ({', '.join(map(str, made))}), the op has other results"
        raise PassFailure(told, op=op, hint="mend the plugin's tile program")
    if any(isinstance(inner, graph.WeightOp) for inner in program.walk()):
        raise PassFailure("its tile program holds weights", op=op, hint="give them to the op as inputs")
    return program


def _main(program: ModuleOp) -> func.FuncOp:
    main = SymbolTable.lookup_symbol(program, "main")
    assert isinstance(main, func.FuncOp)
    return main


def _link(module: ModuleOp, op: graph.CustomOp, program: ModuleOp, taken: set[str]) -> list[str]:
    """Put one program into the module; the names of its kernels there."""
    main = _main(program)
    others = [inner for inner in program.body.block.ops if inner is not main]
    names = {_symbol(inner): new_symbol(_symbol(inner), taken) for inner in others}
    for inner in others:
        kernel = inner.clone()
        kernel.properties["sym_name"] = StringAttr(names[_symbol(inner)])
        inherit_location(kernel, op)
        try:
            Rewriter.insert_op(kernel, InsertPoint.at_start(module.body.block))
            kernel.verify()
        except VerifyException as error:
            told = f"its kernel @{_symbol(inner)} is not one of this target: {str(error).splitlines()[-1]}"
            raise PassFailure(told, op=op, hint="let the function that gives the program ask for `target`") from error
    values: dict[SSAValue, SSAValue] = dict(zip(main.body.block.args, op.inputs, strict=True))
    for inner in main.body.block.ops:
        if isinstance(inner, func.ReturnOp):
            for old, new in zip(op.outputs, inner.operands, strict=True):
                old.replace_all_uses_with(values[new])
            break
        made = inner.clone(value_mapper=values)
        if isinstance(made, tile.ApplyOp):
            made.kernel = SymbolRefAttr(names[made.kernel.string_value()])
        inherit_location(made, op)
        Rewriter.insert_op(made, InsertPoint.before(op))
    return list(names.values())


def _symbol(op: Operation) -> str:
    name = op.properties["sym_name"]
    assert isinstance(name, StringAttr)
    return name.data


PASS = LinkPluginsPass
