"""Meanings below the graph level: a `tile` program, which `tile-link-plugins` puts into a network's module and the tile level's interpreter executes, and PTX, executed
thread by thread by the PTX interpreter; no pipeline links PTX into a plan yet, and `compile` says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import prod

import numpy as np
from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Dialect
from xdsl.traits import SymbolTable

from stepwell.codegen.ptx_interpreter import parse, run_entry
from stepwell.dialects.graph import checks
from stepwell.dialects.hopper.simulator.faults import Fault
from stepwell.dialects.hopper.simulator.memory import GlobalBuffer
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.tile.interpreter import run_function
from stepwell.frontends.emitter import Unsupported
from stepwell.ir.source import SourceMap, parse_text, verify_text
from stepwell.runtime.errors import ModelError

Extents = tuple[int, int, int]
DIALECTS = {
    **{name: f"xdsl.dialects.{name}" for name in ("arith", "math", "func", "tensor", "linalg")},
    **{name: f"stepwell.dialects.{name}" for name in ("graph", "tile")},
    "builtin": "xdsl.dialects.builtin",
}
"""What a tile program may hold, and where it is defined."""


@dataclass(frozen=True)
class PtxKernel:
    """One kernel: its parameters are the addresses of the inputs, then those of the results; `shared` is its dynamic shared memory in bytes. As
    every kernel of a plan it waits for its predecessor (griddepcontrol.wait) before it reads."""

    text: str
    entry: str
    grid: Extents
    block: Extents
    shared: int = 0


def parse_program(text: object, operands: Sequence[Attribute], where: str) -> ModuleOp:
    """A module of the tile level whose `func.func @main` takes these types; ModelErrors name line and column of a text that is none."""
    if not isinstance(text, str):
        raise Unsupported(f"{where} gives {type(text).__name__}: give the text of a module of the tile level")
    ctx, source = Context(), SourceMap(where)
    for name, module in DIALECTS.items():
        ctx.register_dialect(name, _dialect(name, module))
    program = parse_text(ctx, text, source)
    verify_text(program, source)
    main = SymbolTable.lookup_symbol(program, "main")
    if not isinstance(main, func.FuncOp):
        raise Unsupported(f"{where} has no func.func @main")
    taken = [argument.type for argument in main.body.block.args]
    if taken != list(operands):
        given, wanted = (", ".join(map(str, types)) for types in (operands, taken))
        raise Unsupported(f"@main of {where} takes ({wanted}), the op has ({given})")
    return program


def run_tile_program(program: ModuleOp, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """What `func.func @main` of a module of the tile level gives."""
    return run_function(program, arrays)


def _dialect(name: str, module: str) -> Callable[[], Dialect]:
    def load() -> Dialect:
        found = import_module(module)
        held = getattr(found, "DIALECT", None) or getattr(found, name.capitalize())
        assert isinstance(held, Dialect)
        return held

    return load


def run_ptx_kernel(kernel: object, arrays: Sequence[Array], types: Sequence[Attribute], where: str) -> list[Array]:
    """The results that a kernel writes; a ModelError with what hardware would not do, or what it left unwritten."""
    if not isinstance(kernel, PtxKernel):
        raise Unsupported(f"{where} gives {type(kernel).__name__}: give a PtxKernel")
    specs = [checks.tensor(type, f"result {place}") for place, type in enumerate(types)]
    inputs = [GlobalBuffer.of_array(f"input{place}", array) for place, array in enumerate(arrays)]
    outputs = [
        GlobalBuffer.poisoned(f"result{place}", prod(map(int, spec.shape)), numpy_dtype(spec.element))
        for place, spec in enumerate(specs)
    ]
    try:
        run_entry(
            parse(kernel.text),
            kernel.entry,
            [*inputs, *outputs],
            kernel.grid,
            block=kernel.block,
            shared=kernel.shared,
            source=where,
        )
    except Fault as fault:
        raise ModelError(str(fault), where=where) from fault
    for buffer in outputs:
        if not buffer.written().all():
            raise ModelError(f"the kernel leaves elements of {buffer.name} unwritten", where=where)
    return [
        np.array(buffer.values()).reshape([int(extent) for extent in spec.shape])
        for buffer, spec in zip(outputs, specs, strict=True)
    ]
