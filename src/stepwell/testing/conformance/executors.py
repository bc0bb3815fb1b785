"""What a case is run on. An executor takes a model and gives a function of its inputs, or None where it only builds code that another machine runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from stepwell.api.compile import compile_plan
from stepwell.dialects.numpy_types import Array

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Executor = Callable[[onnx.ModelProto], Run | None]


def native(level: str) -> Executor:
    """Compile for a level of x86-64 and run it here, on one thread."""

    def build(model: onnx.ModelProto) -> Run:
        from stepwell.runtime.engine import Engine

        engine = Engine(compile_plan(model, target=level), "cpu", threads=1)
        return lambda feeds: engine.run(dict(feeds))

    return build


def assembled(model: onnx.ModelProto) -> None:
    """Lower to PTX for sm_90a and assemble it where ptxas is found."""
    compile_plan(model, target="sm_90a")


def graph_interpreter(model: onnx.ModelProto) -> Run:
    """Import it and interpret the graph level."""
    from stepwell.api.compile import import_model, interpret

    module = import_model(model)
    return lambda feeds: interpret(module, feeds)


EXECUTORS: Mapping[str, Executor] = {
    "x86-64-v4": native("x86-64-v4"),
    "x86-64-v3": native("x86-64-v3"),
    "sm_90a": assembled,
    "graph": graph_interpreter,
}
"""Executors by the name that records and the command use."""

FLUSHING = frozenset({"x86-64-v4", "x86-64-v3"})
"""Executors for whose arithmetic denormals of f32 and f64 are zeros, as `docs/design/cpu-kernels.md` says; what only moves or tests bits sees them."""

VECTOR_BYTES: Mapping[str, int] = {"x86-64-v4": 64, "x86-64-v3": 32, "sm_90a": 16, "graph": 16}
"""Bytes of a vector: what the widths of the operator sweep stand beside."""


def missing(executor: str) -> str:
    """Why this machine cannot run an executor; empty when it can."""
    from stepwell.types.targets import CPU_LEVELS, supports

    if executor in CPU_LEVELS and not supports(CPU_LEVELS[executor]):
        return f"this machine does not run {executor}"
    return ""
