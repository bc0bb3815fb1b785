"""Stepwell: an inference compiler that can be read. `import stepwell` loads neither xdsl, onnx nor llvmlite (attributes are lazy)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepwell.version import __version__

if TYPE_CHECKING:
    from stepwell.api.bench import bench
    from stepwell.api.candidates import candidates
    from stepwell.api.compare import compare
    from stepwell.api.compile import compile, compile_plan, import_model, interpret, lower
    from stepwell.api.partial import compile_partial
    from stepwell.driver.pipeline import Pipeline, pipeline
    from stepwell.frontends.network import Network
    from stepwell.frontends.plugins import plugin
    from stepwell.plugins.universe import UNIVERSE
    from stepwell.runtime.engine import Engine, load

_LAZY = {
    "UNIVERSE": "stepwell.plugins.universe",
    "Engine": "stepwell.runtime.engine",
    "Network": "stepwell.frontends.network",
    "Pipeline": "stepwell.driver.pipeline",
    "bench": "stepwell.api.bench",
    "candidates": "stepwell.api.candidates",
    "compare": "stepwell.api.compare",
    "compile": "stepwell.api.compile",
    "compile_partial": "stepwell.api.partial",
    "compile_plan": "stepwell.api.compile",
    "import_model": "stepwell.api.compile",
    "interpret": "stepwell.api.compile",
    "load": "stepwell.runtime.engine",
    "lower": "stepwell.api.compile",
    "pipeline": "stepwell.driver.pipeline",
    "plugin": "stepwell.frontends.plugins",
}
__all__ = [
    "UNIVERSE",
    "Engine",
    "Network",
    "Pipeline",
    "__version__",
    "bench",
    "candidates",
    "compare",
    "compile",
    "compile_partial",
    "compile_plan",
    "import_model",
    "interpret",
    "load",
    "lower",
    "pipeline",
    "plugin",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'stepwell' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
