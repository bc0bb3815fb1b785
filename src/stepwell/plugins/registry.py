"""What the project itself brings to xDSL's tools: dialects, passes found by file name, and targets. Nothing is imported until it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.resources import files

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import Universe
from xdsl.utils.target import Target

DIALECT_NAMES = ("graph", "tile", "plan", "warp", "hopper", "llvm_extra")
PASS_FOLDERS = (
    "graph",
    "graph_to_linalg",
    "linalg",
    "linalg_to_tile",
    "tile",
    "tile_to_plan",
    "plan",
    "tile_to_cpu",
    "tile_to_gpu",
    "kernel_to_llvm",
)
"""Down the ladder: a level's own passes, then the lowering from it."""
TARGET_CLASSES = {
    "stepwell-linalg-export": "LinalgExportTarget",
    "stepwell-llvm": "LLVMTextTarget",
    "stepwell-ptx": "PTXTarget",
    "stepwell-asm": "AssemblyTarget",
}


def _dialect_factory(name: str) -> Callable[[], Dialect]:
    return lambda: import_module(f"stepwell.dialects.{name}").DIALECT


def _pass_factory(module: str) -> Callable[[], type[ModulePass]]:
    return lambda: import_module(module).PASS


def _target_factory(class_name: str) -> Callable[[], type[Target]]:
    return lambda: getattr(import_module("stepwell.plugins.translations"), class_name)


def pass_modules() -> dict[str, str]:
    """Pass name -> module, by the rule of `stepwell.transforms`."""
    found: dict[str, str] = {}
    for folder in PASS_FOLDERS:
        lowering = "_to_" in folder
        prefix = "stepwell" if lowering else folder
        for entry in sorted(files(f"stepwell.transforms.{folder}").iterdir(), key=lambda e: e.name):
            stem, _, ending = entry.name.rpartition(".")
            if ending != "py" or stem.startswith("_") or (lowering and not stem.startswith("convert_")):
                continue
            found[f"{prefix}-{stem.replace('_', '-')}"] = f"stepwell.transforms.{folder}.{stem}"
    return found


UNIVERSE = Universe(
    all_dialects={name: _dialect_factory(name) for name in DIALECT_NAMES},
    all_passes={name: _pass_factory(module) for name, module in pass_modules().items()},
    all_targets={name: _target_factory(class_name) for name, class_name in TARGET_CLASSES.items()},
)
