"""The part of a network that is run: layers of the test phase, data layers as inputs, without losses and measures.

Rules are Caffe's (`FilterNet`, `StateMeetsRule`). A network whose rules name the stage `deploy` (NVIDIA DIGITS writes all its phases into one file) is filtered for that stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

DATA_LAYERS = frozenset(
    ["Data", "ImageData", "HDF5Data", "WindowData", "MemoryData", "AnnotatedData", "VideoData", "DummyData", "Input"]
)
LOSSES = {"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
"""Losses that hold the last layer of the trained network: what they compute of their first bottom."""
DROPPED = frozenset(
    [
        "Accuracy",
        "ContrastiveLoss",
        "DetectionEvaluate",
        "EuclideanLoss",
        "HDF5Output",
        "HingeLoss",
        "InfogainLoss",
        "L1Loss",
        "MultiBoxLoss",
        "MultinomialLogisticLoss",
        "Silence",
        "SmoothL1Loss",
        "SmoothL1LossOHEM",
        "SoftmaxWithLossOHEM",
    ]
)
"""Layers that only training or measuring needs."""
TEST = 1


@dataclass(frozen=True)
class NetworkInput:
    """An input: its tensor's name and its shape, empty where the file does not say it."""

    name: str
    shape: tuple[int, ...] = ()


@dataclass
class Pruned:
    """What is run: inputs, layers in order, and the names of layers that were taken out."""

    inputs: list[NetworkInput] = field(default_factory=list)
    layers: list[Message] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def prune(network: Message, layers: Sequence[Message]) -> Pruned:
    """The inference part of `layers` (all of the network, in today's syntax). A tensor that only data layers of other phases make is an input too."""
    pruned = Pruned(inputs=_declared_inputs(network))
    stages = _stages(network, layers)
    skipped: list[NetworkInput] = []
    for layer in layers:
        if not _included(layer, network.state.level, stages) and layer.type in DATA_LAYERS:
            skipped += _inputs_of(layer)
        elif not _included(layer, network.state.level, stages):
            pruned.dropped.append(layer.name)
        elif layer.type in DATA_LAYERS and not layer.bottom:
            pruned.inputs += _inputs_of(layer)
        elif layer.type in LOSSES:
            pruned.layers.append(_last_layer(layer))
        elif layer.type in DROPPED or (layer.type == "Python" and any(layer.loss_weight)):
            pruned.dropped.append(layer.name)
        else:
            pruned.layers.append(layer)
    read = {bottom for layer in pruned.layers for bottom in layer.bottom}
    named = {entry.name for entry in _declared_inputs(network)}
    made = {entry.name for entry in pruned.inputs} | {top for layer in pruned.layers for top in layer.top}
    pruned.inputs += {entry.name: entry for entry in skipped if entry.name not in made}.values()
    first = pruned.inputs[:1]
    pruned.inputs = [entry for entry in pruned.inputs if entry.name in read or entry.name in named or entry in first]
    return pruned


def needed_for(outputs: Sequence[str], pruned: Pruned) -> Pruned:
    """What these tensors hang on: the last layer that makes each, and so on up. Inputs that have a shape stay in any case."""
    needed, layers = set(outputs), list[Message]()
    for layer in reversed(pruned.layers):
        if needed.isdisjoint(layer.top):
            continue
        layers.append(layer)
        needed = (needed - set(layer.top)) | set(layer.bottom)
    inputs = [entry for entry in pruned.inputs if entry.name in needed or entry.shape]
    return Pruned(inputs, layers[::-1], pruned.dropped)


def _declared_inputs(network: Message) -> list[NetworkInput]:
    """`input:` with `input_shape` or `input_dim` (four for each)."""
    dims = list(network.input_dim)
    shapes = [tuple(shape.dim) for shape in network.input_shape] or [
        tuple(dims[4 * i : 4 * i + 4]) for i in range(len(network.input))
    ]
    shapes += [()] * (len(network.input) - len(shapes))
    return [NetworkInput(name, shape) for name, shape in zip(network.input, shapes, strict=False)]


def _stages(network: Message, layers: Sequence[Message]) -> frozenset[str]:
    named = {
        stage
        for layer in layers
        for rule in (*layer.include, *layer.exclude)
        for stage in (*rule.stage, *rule.not_stage)
    }
    return frozenset(network.state.stage) or (frozenset(["deploy"]) & named)


def _included(layer: Message, level: int, stages: frozenset[str]) -> bool:
    if layer.HasField("phase") and layer.phase != TEST:
        return False
    if layer.include:
        return any(_meets(rule, level, stages) for rule in layer.include)
    return not any(_meets(rule, level, stages) for rule in layer.exclude)


def _meets(rule: Message, level: int, stages: frozenset[str]) -> bool:
    if rule.HasField("phase") and rule.phase != TEST:
        return False
    if rule.HasField("min_level") and level < rule.min_level or rule.HasField("max_level") and level > rule.max_level:
        return False
    return stages.issuperset(rule.stage) and not stages.intersection(rule.not_stage)


def _inputs_of(layer: Message) -> list[NetworkInput]:
    """A data layer's tops. Only Input, DummyData and MemoryData say whole shapes; of the others' images the channels are unknown."""
    shapes = _shapes_of(layer)
    shapes += [shapes[0] if shapes and layer.type in ("Input", "DummyData") else ()] * (len(layer.top) - len(shapes))
    return [NetworkInput(top, shape) for top, shape in zip(layer.top, shapes, strict=False)]


def _shapes_of(layer: Message) -> list[tuple[int, ...]]:
    if layer.type == "Input":
        return [tuple(shape.dim) for shape in layer.input_param.shape]
    if layer.type == "DummyData":
        old = layer.dummy_data_param
        legacy = [tuple(dims) for dims in zip(old.num, old.channels, old.height, old.width, strict=False)]
        return [tuple(shape.dim) for shape in old.shape] or legacy
    if layer.type == "MemoryData":
        memory = layer.memory_data_param
        return [(memory.batch_size, memory.channels, memory.height, memory.width)]
    return []


def _last_layer(loss: Message) -> Message:
    """The layer that a loss holds, on the first bottom, under the loss's name."""
    last = type(loss)(name=loss.name, type=LOSSES[loss.type], bottom=loss.bottom[:1], top=loss.top[:1] or [loss.name])
    if loss.HasField("softmax_param"):
        last.softmax_param.CopyFrom(loss.softmax_param)
    return last
