"""Models and modules from files: ONNX, MLIR text with its weights beside it, plans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.dialects.weights import WeightSource, WeightStore, keep_weights, open_weights, weights_of
from stepwell.frontends.doors import DOORS, Request, import_file, model_file
from stepwell.frontends.network import Network, import_network
from stepwell.frontends.shapes import parse_shape
from stepwell.ir.source import SourceMap, parse_text, verify_text
from stepwell.plugins import installed_plugins
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ModelError, UsageError
from stepwell.runtime.plan_file import read_plan

if TYPE_CHECKING:
    import onnx

    from stepwell.passes import StepwellContext

__all__ = [
    "FORMATS",
    "LoadedModule",
    "attach_weights",
    "decode",
    "keep_weights",
    "make_context",
    "parse_shape_options",
    "plan_module_text",
    "read_bytes",
    "read_mlir",
    "read_model",
    "read_network",
    "read_onnx",
    "weights_of",
]

FORMATS = (*DOORS, ".mlir", ".plan")


@dataclass
class LoadedModule:
    """A module with the context it lives in; `ctx.weights` holds its weights where they are known; `files` are those that were read."""

    module: ModuleOp
    ctx: StepwellContext
    files: tuple[str | Path, ...] = ()


def read_bytes(path: str | Path) -> bytes:
    """The file's bytes; a UsageError says why it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=str(path)) from None


def decode(data: bytes, name: str) -> str:
    """MLIR text from bytes; a ModelError where they are no text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"not MLIR text: byte {error.start} is not UTF-8", where=name) from None


def parse_shape_options(items: list[str]) -> dict[str, tuple[int, ...]]:
    """`name:1x2x3` (or `name=1x2x3`) items as tuples; UsageErrors for malformed ones."""
    return {name: parse_shape(name, text) for name, text in map(_split_shape, items)}


def _split_shape(item: str) -> tuple[str, str]:
    """Name and extents: names may hold colons and equals signs, so the last of them divides."""
    at = max(item.rfind("="), item.rfind(":"))
    if at < 0:
        raise UsageError(f"'{item}' is not a shape", hint="write name:1x3x224x224")
    return item[:at], item[at + 1 :]


def read_model(path: str | Path, request: Request | None = None) -> LoadedModule:
    """Read a model file by its ending: by a frontend, or as a module. Weights: those that `request` names, else the model's own, else the file
    that the module's `stepwell.weights` names, which lies beside it."""
    path, asked = model_file(Path(path)), request or Request()
    installed_plugins()
    if path.suffix not in FORMATS:
        raise UsageError(f"unknown kind of file '{path.suffix}'", where=str(path), hint=f"known: {', '.join(FORMATS)}")
    if path.suffix in DOORS:
        read_bytes(path)
        module, store = import_file(path, asked)
        return _imported(module, store, store, path)
    if asked.shapes or asked.outputs is not None:
        raise UsageError(
            "shapes and outputs are for models of other frameworks; this module has its own", where=str(path)
        )
    if path.suffix == ".plan":
        text, name = plan_module_text(path)
        loaded = read_mlir(text, SourceMap(name), path.parent, asked.weights)
    else:
        loaded = read_mlir(decode(read_bytes(path), str(path)), SourceMap(str(path)), path.parent, asked.weights)
    return replace(loaded, files=(path, *loaded.files))


def read_onnx(source: onnx.ModelProto | bytes, request: Request) -> LoadedModule:
    """Import an ONNX model in memory: bytes or a ModelProto."""
    from stepwell.frontends.onnx import import_onnx

    installed_plugins()
    module, store = import_onnx(source, shapes=request.shapes, outputs=request.outputs, events=request.events)
    return _imported(module, store, open_weights(request.weights) if request.weights else store)


def read_network(network: Network, request: Request) -> LoadedModule:
    """The module of a network that was built in Python; its inputs have their shapes."""
    if request.shapes:
        raise UsageError(
            "shapes are for models of other frameworks; the inputs of a Network have theirs", where="shapes"
        )
    module, store = import_network(network, outputs=request.outputs, events=request.events)
    return _imported(module, store, open_weights(request.weights) if request.weights else store)


def _imported(module: ModuleOp, own: WeightStore, chosen: WeightStore, *files: str | Path) -> LoadedModule:
    module.verify()
    return LoadedModule(module, make_context(chosen), (*files, *own.files, *chosen.files))


def read_mlir(text: str, source: SourceMap, folder: Path, weights: WeightSource | None = None) -> LoadedModule:
    """Parse and verify MLIR text; relative names of weight files are relative to `folder`."""
    ctx = make_context()
    module = parse_text(ctx, text, source)
    verify_text(module, source)
    attach_weights(ctx, module, folder, weights)
    return LoadedModule(module, ctx, ctx.weights.files if ctx.weights else ())


def attach_weights(ctx: StepwellContext, module: ModuleOp, folder: Path, weights: WeightSource | None) -> None:
    """Open the weights that the user or the module names; a module may name a file that is not there as long as no pass needs it."""
    named = module.attributes.get("stepwell.weights")
    if weights:
        ctx.weights = open_weights(weights)
    elif isinstance(named, StringAttr) and (folder / named.data).exists():
        ctx.weights = open_weights(folder / named.data)


def plan_module_text(path: Path, section: str | None = None) -> tuple[str, str]:
    """The module of a plan's section (the first, unless one is named), and a name for messages about it."""
    plan = read_plan(path)
    found = [s for s in plan.sections if section in (None, s.name, s.target, s.level)]
    if not found:
        names = ", ".join(s.name for s in plan.sections)
        raise UsageError(f"the plan has no section '{section}'", where=str(path), hint=f"sections: {names}")
    return found[0].module, f"{path}:{found[0].name}/module.mlir"
