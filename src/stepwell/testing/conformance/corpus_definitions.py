"""Definitions of Caffe networks that others wrote: each imports, and up to 20 GFLOP runs with weights that are made up, beside OpenCV's reader."""

from __future__ import annotations

from fnmatch import fnmatch
from functools import partial
from math import prod
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import argument_names, interpret, main_function
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.caffe import import_caffe
from stepwell.frontends.caffe.prototxt import parse_prototxt
from stepwell.frontends.caffe.prune import Pruned, needed_for, prune
from stepwell.frontends.caffe.upgrade import upgraded_layers
from stepwell.frontends.doors import bind_weights
from stepwell.frontends.events import ImportEvents
from stepwell.testing import corpora
from stepwell.testing.caffe_files import blobs_of
from stepwell.testing.calibrated import calibrated_weights, images
from stepwell.testing.conformance.case import Check, Outcome
from stepwell.testing.conformance.run import Make
from stepwell.testing.corpora import relative_difference
from stepwell.testing.opencv_caffe import missing, opencv_outputs

TOLERANCE = 5e-4
"""Of the largest element of the reference: half of what is allowed. ResNet-101 has 2e-4, without a fused operation on either side."""
MOST = 20e9
"""Floating-point operations of a network that is run; larger ones are imported."""
SHAPES = (
    ("*siamese*train*", (1, 2, 28, 28)),
    ("*mnist*", (1, 1, 28, 28)),
    ("*cifar10*", (1, 3, 32, 32)),
    ("*hdf5*", (1, 4)),
    ("*inception_v3*", (1, 3, 299, 299)),
    ("*SSD_300x300*", (1, 3, 300, 300)),
    ("*SFD*", (1, 3, 640, 640)),
    ("*", (1, 3, 224, 224)),
)
"""Inputs of networks that say only where their data lies: the extents that they were trained with."""
OUTPUTS = (("*detectnet*", ("coverage", "bboxes")),)
"""What is asked of networks whose last layer is Python code."""


def caffe_definitions() -> dict[str, Make]:
    """Path below the corpus, with ':' for '/' -> check."""
    if absent():
        return {}
    folder = corpora.corpora() / "caffe_definitions"
    paths = {str(path.relative_to(folder)).replace("/", ":"): path for path in sorted(folder.rglob("*.prototxt"))}
    return {name: partial(Check, name, partial(check_definition, path)) for name, path in paths.items()}


def absent() -> str:
    """Why the suite cannot be run here."""
    return corpora.absent() or missing()


def check_definition(path: Path) -> Outcome:
    """It imports, every shape is inferred, and what it computes is what OpenCV computes. A file that is no network is refused as what it is."""
    parts, shapes, module, own = import_definition(path)
    if operations(module) > MOST:
        return Outcome("right")
    names = argument_names(main_function(module))
    weights = calibrated_weights(module, own, {name: images(shapes[name]) for name in names})
    store = bind_weights(module, WeightStore(weights), own)
    inputs = {name: images(shapes[name], seed=2) for name in names}
    results = interpret(module, inputs, store)
    wanted = opencv_outputs(parts.layers, blobs_of(parts.layers, weights), inputs, list(results))
    for (name, result), reference in zip(results.items(), wanted, strict=True):
        same = reference.reshape(result.shape) if reference.size == result.size else reference
        if found := relative_difference(result, same, TOLERANCE):
            return Outcome("wrong", f"{name}: {found}")
    return Outcome("right")


def import_definition(
    path: Path, events: ImportEvents | None = None
) -> tuple[Pruned, dict[str, tuple[int, ...]], ModuleOp, WeightStore]:
    """Its inference part, the shapes of its inputs, its module, and the weights that the import made itself."""
    outputs = next((list(tops) for pattern, tops in OUTPUTS if fnmatch(str(path), pattern)), None)
    parts = _parts(path, outputs)
    shapes = {entry.name: _shape(path, entry.shape, len(parts.inputs)) for entry in parts.inputs}
    module, own = import_caffe(path, shapes=shapes, outputs=outputs, events=events)
    module.verify()
    return parts, shapes, module, own


def _parts(path: Path, outputs: list[str] | None) -> Pruned:
    network, _ = parse_prototxt(path.read_bytes(), str(path))
    parts = prune(network, upgraded_layers(network, str(path)))
    return needed_for(outputs, parts) if outputs else parts


def _shape(path: Path, declared: tuple[int, ...], inputs: int) -> tuple[int, ...]:
    """The file's own, or what it leaves out; of a batch one image."""
    shape = declared or next(shape for pattern, shape in SHAPES if fnmatch(str(path), pattern))
    return (1, *shape[1:]) if len(shape) == 4 and inputs == 1 else shape


def operations(module: ModuleOp) -> int:
    """Floating-point operations of the products of a graph-level module."""
    return sum(_operations(op) for op in module.walk())


def _operations(op: Operation) -> int:
    if isinstance(op, graph.ConvOp | graph.ConvTransposeOp):
        positions = _extents(op.results[0] if isinstance(op, graph.ConvOp) else op.operands[0])
        return 2 * prod(positions) * prod(_extents(op.operands[1])[1:])
    if isinstance(op, graph.MatmulOp):
        return 2 * prod(_extents(op.results[0])) * _extents(op.operands[0])[-1]
    return 0


def _extents(value: SSAValue) -> tuple[int, ...]:
    return tuple(int(extent) for extent in graph.checks.tensor(value, "the operand").shape)
