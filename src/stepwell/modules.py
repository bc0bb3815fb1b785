"""Models and modules from files: ONNX, MLIR text with its weights beside it, plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.runtime.errors import ModelError, UsageError
from stepwell.source import SourceMap, parse_text, verify_text
from stepwell.universe import make_context

if TYPE_CHECKING:
    from stepwell.frontends.weights import WeightStore
    from stepwell.passes import StepwellContext

FORMATS = (".onnx", ".mlir", ".plan")


@dataclass
class LoadedModule:
    """A module with the context it lives in; `ctx.weights` holds its weights where they are known."""

    module: ModuleOp
    ctx: StepwellContext


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


def parse_shapes(items: Mapping[str, str] | list[str]) -> dict[str, tuple[int, ...]]:
    """`name:1x2x3` items, or a mapping of names to such shapes, as tuples; UsageErrors for malformed ones."""
    pairs = items.items() if isinstance(items, Mapping) else [_split_shape(item) for item in items]
    return {name: _extents(name, text) for name, text in pairs}


def _split_shape(item: str) -> tuple[str, str]:
    name, sign, text = item.rpartition("=" if "=" in item else ":")
    if not sign or not name:
        raise UsageError(f"'{item}' is not a shape", hint="write name:1x3x224x224")
    return name, text


def _extents(name: str, text: str) -> tuple[int, ...]:
    parts = text.split("x") if text else []
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"'{text}' is not a shape", where=name, hint="write extents like 1x3x224x224, each at least 1")
    return tuple(int(part) for part in parts)


def load_weights(name: str) -> WeightStore:
    """The store for `FILE.safetensors` or `random:SEED`."""
    from stepwell.frontends.weights import open_weights

    return open_weights(name)


def read_model(
    path: str | Path, *, weights: str | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> LoadedModule:
    """Read a model file by its ending. Weights: those named by `weights`, else the model's own, else the file that the module's
    `stepwell.weights` names, which lies beside it."""
    path = Path(path)
    data = read_bytes(path)
    if path.suffix == ".onnx":
        return _from_onnx(data, path, weights, shapes or {})
    if path.suffix == ".plan":
        return _from_plan(path, weights)
    if path.suffix == ".mlir":
        return read_mlir(decode(data, str(path)), SourceMap(str(path)), path.parent, weights)
    raise UsageError(f"unknown kind of file '{path.suffix}'", where=str(path), hint=f"known: {', '.join(FORMATS)}")


def read_mlir(text: str, source: SourceMap, folder: Path, weights: str | None = None) -> LoadedModule:
    """Parse and verify MLIR text; relative names of weight files are relative to `folder`."""
    ctx = make_context()
    module = parse_text(ctx, text, source)
    verify_text(module, source)
    attach_weights(ctx, module, folder, weights)
    return LoadedModule(module, ctx)


def attach_weights(ctx: StepwellContext, module: ModuleOp, folder: Path, weights: str | None) -> None:
    """Open the weights that the user or the module names; a module may name a file that is not there as long as no pass needs it."""
    named = module.attributes.get("stepwell.weights")
    if weights:
        ctx.weights = load_weights(weights)
    elif isinstance(named, StringAttr) and (folder / named.data).exists():
        ctx.weights = load_weights(str(folder / named.data))


def _from_onnx(data: bytes, path: Path, weights: str | None, shapes: Mapping[str, tuple[int, ...]]) -> LoadedModule:
    from stepwell.frontends.onnx import import_onnx

    module, store = import_onnx(data, shapes=shapes, name=str(path))
    module.verify()
    return LoadedModule(module, make_context(load_weights(weights) if weights else store))


def _from_plan(path: Path, weights: str | None) -> LoadedModule:
    from stepwell.runtime.plan_file import PlanFile

    with PlanFile.open(path) as plan:
        name = plan.sections[0]
        text = plan.read_text(f"{name}/module.mlir")
    return read_mlir(text, SourceMap(f"{path}:{name}/module.mlir"), path.parent, weights)
