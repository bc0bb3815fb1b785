"""`export_linalg`: a module of the linalg level as text with upstream ops only, one func.func per fusion, which
`mlir-opt` accepts."""

from __future__ import annotations

from io import StringIO

from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.printer import Printer

from stepwell.dialects import graph
from stepwell.passes import PassFailure
from stepwell.transforms.symbols import new_symbol

UPSTREAM = ("builtin", "func", "arith", "math", "linalg", "tensor")


def export_linalg(module: ModuleOp) -> str:
    """The text. Each fusion becomes `func.func @name(operands) -> (results)`; what stands between them (weights, views)
    is left out. PassFailure when a fusion's body holds an op of ours: run stepwell-convert-graph-to-linalg before."""
    taken: set[str] = set()
    functions = [export_fusion(op, taken) for op in module.walk() if isinstance(op, graph.FusionOp)]
    text = StringIO()
    Printer(text).print_op(ModuleOp(list[Operation](functions)))
    return text.getvalue() + "\n"


def export_fusion(fusion: graph.FusionOp, taken: set[str]) -> func.FuncOp:
    """One fusion as a function."""
    name = new_symbol(fusion.fusion_name.data, taken)
    types = [value.type for value in fusion.inputs], [result.type for result in fusion.outputs]
    block = Block(arg_types=types[0])
    mapping: dict[SSAValue, SSAValue] = dict(zip(fusion.body.block.args, block.args, strict=True))
    for op in fusion.body.block.ops:
        if isinstance(op, graph.YieldOp):
            block.add_op(func.ReturnOp(*(mapping[value] for value in op.values)))
            continue
        if op.name.partition(".")[0] not in UPSTREAM:
            raise PassFailure(
                f"{op.name} is not an upstream op",
                where=fusion.fusion_name.data,
                hint="run stepwell-convert-graph-to-linalg",
            )
        block.add_op(op.clone(value_mapper=mapping))
    return func.FuncOp(name, types, Region(block))
