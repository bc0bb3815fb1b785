"""The importer of Caffe networks: layer by layer in file order, tops by name (a layer may overwrite its bottom), reasons collected and told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf.message import Message
from xdsl.dialects.builtin import ModuleOp, TensorType, f32
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.builder import module_of
from stepwell.frontends.caffe.convert_proposal import foreign_code
from stepwell.frontends.caffe.converters import LAYERS, MANY, Kind
from stepwell.frontends.caffe.layer import CaffeBuilder
from stepwell.frontends.caffe.plugins import convert_plugin, plugin_of
from stepwell.frontends.caffe.prototxt import UnknownField, parse_prototxt
from stepwell.frontends.caffe.prune import NetworkInput, Pruned, needed_for, prune
from stepwell.frontends.caffe.upgrade import upgraded_layers
from stepwell.frontends.caffe.weights_file import read_caffemodel
from stepwell.frontends.emitter import Unsupported, converting, not_imported, set_name_hint, shape_of
from stepwell.frontends.events import ImportEvents, events_of, weights_after
from stepwell.frontends.files import read_file
from stepwell.frontends.shapes import Shapes, check_names, parse_shape, too_large
from stepwell.ir.locations import location_of
from stepwell.runtime.errors import UsageError

PLUGIN = Kind(convert_plugin, bottoms=(0, MANY))


def import_caffe(
    source: str | Path | bytes,
    *,
    caffemodel: str | Path | None = None,
    blobs: Mapping[str, Sequence[Array]] | None = None,
    shapes: Shapes | None = None,
    outputs: Sequence[str] | None = None,
    events: ImportEvents | None = None,
    name: str = "",
) -> tuple[ModuleOp, WeightStore]:
    """The graph-level module of a prototxt, and its weights.

    `source`: a path, or the text's bytes; `caffemodel`: the trained weights, matched by layer name (`blobs` gives them as arrays); without them the module refers to weights
    by name and type. `shapes`: of inputs, where the file does not say them or another is wanted; `outputs`: tops, and only the layers that they hang
    on are converted; without them all that no layer reads. Raises ModelError with
    every reason at once, UsageError for a name that is no input or top."""
    where = name or (str(source) if not isinstance(source, bytes) else "the network")
    network, unknown = parse_prototxt(
        source if isinstance(source, bytes) else read_file(Path(source), "the network"), where
    )
    layers = upgraded_layers(network, where)
    held = read_caffemodel(caffemodel) if caffemodel is not None else blobs
    pruned = prune(network, layers)
    if outputs is not None:
        _check_outputs(outputs, pruned)
        pruned = needed_for(outputs, pruned)
    importer = _Importer(network, pruned, held, shapes or {}, events_of(events, "Caffe", where))
    importer.run(outputs)
    if reasons := importer.reasons + _unread_fields(unknown, layers, pruned):
        raise not_imported("network", reasons, where)
    return importer.module, importer.weights


def _unread_fields(unknown: Sequence[UnknownField], layers: Sequence[Message], pruned: Pruned) -> list[str]:
    """Fields that no definition has, outside of layers or in one that is run."""
    run = {id(layer) for layer in pruned.layers}
    left_out = {number for number, layer in enumerate(layers) if id(layer) not in run}
    told = [field for field in unknown if not field.harmless and field.layer not in left_out]
    return [f"line {field.line}: {field.message} has no field {field.name!r}" for field in told]


def _kind_of(layer: Message) -> Kind | None:
    """How a layer is converted: as what Caffe calls so, or as a plugin's op; None for what is neither. Unsupported where several plugins have that name."""
    known = LAYERS.get(layer.type)
    return known if known or plugin_of(layer) is None else PLUGIN


def _check_outputs(outputs: Sequence[str], pruned: Pruned) -> None:
    tops = list(dict.fromkeys(top for layer in pruned.layers for top in layer.top))
    known = {*tops, *(entry.name for entry in pruned.inputs)}
    for name in outputs:
        if name not in known:
            raise UsageError(
                f"{name!r} is no top of the network", where="outputs", hint=f"tops: {', '.join(tops[-12:])}"
            )


class _Importer:
    """One import: `run` fills the block and the list of reasons, and wraps the block up where there is none."""

    def __init__(
        self,
        network: Message,
        pruned: Pruned,
        blobs: Mapping[str, Sequence[Array]] | None,
        shapes: Shapes,
        events: ImportEvents,
    ) -> None:
        self.network, self.pruned, self.events = network, pruned, events
        self.reasons: list[str] = []
        self.failed: set[str] = set()
        self.weights = WeightStore(origin=network.name or "the network")
        self._check_shapes(shapes)
        types = [self._input_type(entry, shapes) for entry in pruned.inputs]
        self.block = Block(arg_types=types)
        self.build = CaffeBuilder(self.block, self.weights, blobs)
        self.values: dict[str, SSAValue] = {}
        self.module = ModuleOp([])
        for entry, argument in zip(pruned.inputs, self.block.args, strict=True):
            set_name_hint(argument, entry.name)
            argument.location = location_of([entry.name])
            self.values[entry.name] = argument
            events.network_input(entry.name, argument)

    def _check_shapes(self, shapes: Shapes) -> None:
        names = [entry.name for entry in self.pruned.inputs]
        check_names(shapes, names, "the network")
        twice = sorted({name for name in names if names.count(name) > 1})
        self.reasons += [f"two inputs are called {name!r}" for name in twice]
        self.failed.update(twice)

    def _input_type(self, entry: NetworkInput, shapes: Shapes) -> TensorType[Attribute]:
        shape = parse_shape(entry.name, shapes[entry.name]) if entry.name in shapes else entry.shape
        if not shape:
            self.reasons.append(
                f'input {entry.name!r} has no shape: give it one, --shape {entry.name}:1x3x224x224 or shapes={{"{entry.name}": "1x3x224x224"}}'
            )
        elif reason := too_large(shape):
            self.reasons.append(f"input {entry.name!r} has {reason}")
        else:
            return TensorType(f32, list(shape))
        self.failed.add(entry.name)
        return TensorType(f32, [])

    def run(self, outputs: Sequence[str] | None) -> None:
        """Convert all layers; those that hang on a failed one are only checked for their type."""
        for layer in self.pruned.layers:
            reason = self._defects(layer)
            blocked = any(name in self.failed for name in layer.bottom)
            if not reason and not blocked:
                reason = self._convert(layer)
            if reason:
                self.reasons.append(f"layer {layer.name!r} ({layer.type}): {reason}")
            if reason or blocked:
                self.failed.update(layer.top)
        if not self.reasons:
            self._finish(outputs)

    def _defects(self, layer: Message) -> str:
        try:
            kind = _kind_of(layer)
        except Unsupported as error:
            return str(error)
        if kind is None:
            return "this layer is not supported" if layer.type else "the layer has no type"
        if layer.type == "Python" and (reason := foreign_code(layer)):
            return reason
        least, most = kind.bottoms
        if not least <= len(layer.bottom) <= most:
            wanted = f"{least} or more" if most > least + 1 else " or ".join(map(str, range(least, most + 1)))
            return f"it has {len(layer.bottom)} bottoms, {wanted} are needed"
        missing = [name for name in layer.bottom if name not in self.values and name not in self.failed]
        return f"bottom {missing[0]!r} is made by no earlier layer" if missing else ""

    def _convert(self, layer: Message) -> str:
        name = self.build.node_name = layer.name or layer.type
        self.build.layer_number += 1
        bottoms = [(bottom, self.values[bottom]) for bottom in layer.bottom]
        self.events.node(name, layer.type)
        self.events.inputs(name, layer.type, bottoms)
        before, kind = self.block.last_op, _kind_of(layer)
        assert kind is not None
        for (bottom, value), rank in zip(bottoms, kind.ranks, strict=False):
            if len(shape_of(value)) < rank:
                return f"bottom {bottom!r} has shape {list(shape_of(value))}: {rank} dims are needed"
        try:
            with converting():
                results = kind.convert(self.build, layer, [value for _, value in bottoms])
        except (Unsupported, VerifyException) as error:
            return str(error)
        tops = list(layer.top)
        if len(results) < len(tops):
            return f"it has {len(tops)} tops, {len(results)} can be computed"
        for top, value in zip(tops, results, strict=False):
            self.values[top] = value
            if value.name_hint is None:
                set_name_hint(value, top)
        for weight in weights_after(self.block, before):
            self.events.initializer(weight)
        self.events.outputs(name, layer.type, list(zip(tops, results, strict=False)))
        return ""

    def _finish(self, outputs: Sequence[str] | None) -> None:
        names = list(outputs) if outputs is not None else self._unread_tops()
        if not names:
            self.reasons.append("the network has no output")
            return
        results = self.build.finish([self.values[name] for name in names])
        for name, value in zip(names, results, strict=True):
            self.events.output(name, value)
        inputs = [entry.name for entry in self.pruned.inputs]
        self.module = module_of(self.block, inputs, results, names, self.network.name)

    def _unread_tops(self) -> list[str]:
        """Tops that no later layer reads, in the order in which they are made for the last time."""
        open_tops: dict[str, None] = {}
        for layer in self.pruned.layers:
            for bottom in layer.bottom:
                open_tops.pop(bottom, None)
            for top in layer.top:
                open_tops.pop(top, None)
                open_tops[top] = None
        return list(open_tops)
