"""Stepwell: an inference compiler that can be read. `import stepwell` loads neither xdsl, onnx nor llvmlite (attributes are lazy)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from stepwell.bench_report import bench
    from stepwell.compare_report import compare
    from stepwell.compiler import compile, compile_plan, import_model, interpret, lower
    from stepwell.frontends.network import Network
    from stepwell.pipeline_value import Pipeline, pipeline
    from stepwell.runtime.engine import Engine, load
    from stepwell.universe import UNIVERSE

_LAZY = {
    "UNIVERSE": "stepwell.universe",
    "Engine": "stepwell.runtime.engine",
    "Network": "stepwell.frontends.network",
    "Pipeline": "stepwell.pipeline_value",
    "bench": "stepwell.bench_report",
    "compare": "stepwell.compare_report",
    "compile": "stepwell.compiler",
    "compile_plan": "stepwell.compiler",
    "import_model": "stepwell.compiler",
    "interpret": "stepwell.compiler",
    "load": "stepwell.runtime.engine",
    "lower": "stepwell.compiler",
    "pipeline": "stepwell.pipeline_value",
}
__all__ = [
    "UNIVERSE",
    "Engine",
    "Network",
    "Pipeline",
    "bench",
    "compare",
    "compile",
    "compile_plan",
    "import_model",
    "interpret",
    "load",
    "lower",
    "pipeline",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'stepwell' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
