"""Which importer reads a model file: by its ending. Every frontend is entered here, with the same words: weights, outputs, shapes, events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from stepwell.dialects import graph
from stepwell.dialects.graph.attributes import NO_HASH, WeightAttr
from stepwell.dialects.weights import RandomWeightStore, WeightSource, WeightStore, open_weights
from stepwell.frontends.events import ImportEvents
from stepwell.frontends.shapes import Shapes
from stepwell.runtime.errors import ModelError


@dataclass(frozen=True)
class Request:
    """What a user asks of an import: `weights` where the model does not hold them, `outputs` by name in place of the model's own, `shapes` of inputs;
    `events` collects what happens."""

    weights: WeightSource | None = None
    outputs: Sequence[str] | None = None
    shapes: Shapes | None = None
    events: ImportEvents | None = None


SAVED_MODEL = "saved_model.pb"
"""The file that makes a folder a SavedModel."""
Imported = tuple[ModuleOp, WeightStore]


def _onnx(path: Path, request: Request) -> Imported:
    from stepwell.frontends.onnx import import_onnx

    module, store = import_onnx(path, shapes=request.shapes, outputs=request.outputs, events=request.events)
    return module, _chosen(request, store)


def _caffe(path: Path, request: Request) -> Imported:
    from stepwell.frontends.caffe import import_caffe

    named = request.weights
    caffemodel = named if isinstance(named, str | Path) and str(named).endswith(".caffemodel") else None
    module, store = import_caffe(
        path, caffemodel=caffemodel, shapes=request.shapes, outputs=request.outputs, events=request.events
    )
    if named is None or caffemodel is not None:
        return module, store
    return module, bind_weights(module, open_weights(named), store)


def _tensorflow(path: Path, request: Request) -> Imported:
    from stepwell.frontends.tensorflow import import_tensorflow

    source = path.parent if path.name == SAVED_MODEL else path
    module, store = import_tensorflow(source, shapes=request.shapes, outputs=request.outputs, events=request.events)
    return module, _chosen(request, store)


def _chosen(request: Request, own: WeightStore) -> WeightStore:
    """The weights that a user gives in place of the model's own; the files of these count as read, too."""
    if not request.weights:
        return own
    chosen = open_weights(request.weights)
    if chosen is not request.weights:
        chosen.files = (*chosen.files, *own.files)
    return chosen


DOORS: dict[str, Callable[[Path, Request], Imported]] = {
    ".onnx": _onnx,
    ".prototxt": _caffe,
    ".pb": _tensorflow,
    ".pbtxt": _tensorflow,
}
"""Importers by the ending of the file."""


def import_file(path: Path, request: Request) -> Imported:
    """The graph-level module of a model file whose ending is one of DOORS, and its weights."""
    return DOORS[path.suffix](path, request)


def model_file(path: Path) -> Path:
    """The file that a path means: of a SavedModel's folder the model in it, else the path itself."""
    held = path / SAVED_MODEL
    return held if held.is_file() else path


def bind_weights(module: ModuleOp, given: WeightStore, own: WeightStore) -> WeightStore:
    """Weights for references that name none yet: made up by a random store, else found in `given` by name. `own` has what the import made itself.
    ModelError with all names that are missing."""
    if isinstance(given, RandomWeightStore):
        return given
    open_references = [op for op in module.walk() if _names_no_values(op)]
    missing = sorted({op.ref.source.data for op in open_references if op.ref.source.data not in given})  # type: ignore[attr-defined]
    if missing:
        raise ModelError(
            f"{len(missing)} weights are not in {given.origin}: {', '.join(missing[:8])}",
            hint="they are named <layer>.<number of the blob>",
        )
    for op in open_references:
        assert isinstance(op, graph.WeightOp)
        op.properties["ref"] = _same_type(given.reference(op.ref.source.data), op)
    used = {op.ref.source.data for op in module.walk() if isinstance(op, graph.WeightOp)}
    return WeightStore(
        {name: (own if name in own else given).array(name) for name in sorted(used)}, origin=given.origin
    )


def _names_no_values(op: Operation) -> bool:
    return isinstance(op, graph.WeightOp) and op.ref.sha256.data == NO_HASH


def _same_type(found: WeightAttr, op: graph.WeightOp) -> WeightAttr:
    if found.type != op.ref.type:
        raise ModelError(f"the weight is a {found.type}, the network needs a {op.ref.type}", where=found.source.data)
    return found
