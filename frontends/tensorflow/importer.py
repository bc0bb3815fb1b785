"""The importer of TensorFlow graphs: what the outputs hang on, inputs first, reasons collected and told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf.message import Message
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import element_type_of
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.builder import GraphBuilder, module_of
from stepwell.frontends.emitter import Unsupported, converting, not_imported, set_name_hint
from stepwell.frontends.events import ImportEvents, events_of
from stepwell.frontends.shapes import Shapes, check_names, parse_shape, too_large
from stepwell.frontends.tensorflow.control_flow import CONTROL, NodeUnsupported, Skipped, Unroller
from stepwell.frontends.tensorflow.converters import CONVERTERS, REFUSED
from stepwell.frontends.tensorflow.frames import Frames
from stepwell.frontends.tensorflow.functions import inlined
from stepwell.frontends.tensorflow.graph_file import read_graph
from stepwell.frontends.tensorflow.node import Node, Port, needs
from stepwell.frontends.tensorflow.ordered import candidates, nodes_by_name, ordered, port_of
from stepwell.frontends.tensorflow.plugins import convert_plugin, plugin_of
from stepwell.frontends.tensorflow.regions import settle
from stepwell.frontends.tensorflow.saved_model import VARIABLES, read_saved_model
from stepwell.frontends.tensorflow.tensor import dtype_of, shape_of_proto
from stepwell.frontends.tensorflow.tensor_array import Item, tensor
from stepwell.frontends.tensorflow.tensor_list import OPERATORS as ARRAYS
from stepwell.ir.locations import location_of
from stepwell.runtime.errors import ModelError, UsageError

INPUTS = ("Placeholder", "PlaceholderV2", "IteratorGetNext")
"""Operators that are inputs of the network."""


def import_tensorflow(
    source: str | Path | bytes,
    *,
    shapes: Shapes | None = None,
    outputs: Sequence[str] | None = None,
    events: ImportEvents | None = None,
    name: str = "",
) -> tuple[ModuleOp, WeightStore]:
    """The graph-level module of a frozen GraphDef, and its weights.

    `source`: a `.pb` or `.pbtxt` path, a SavedModel's folder, or binary bytes; `outputs`: tensors by name (`node` or `node:1`), without which a graph is refused with the candidates;
    `shapes`: of inputs whose placeholder does not say them, or where another is wanted. Raises ModelError with every reason at once, UsageError for a name that is none."""
    where = name or (str(source) if not isinstance(source, bytes) else "the graph")
    told = events_of(events, "TensorFlow", where)
    if not isinstance(source, bytes) and Path(source).is_dir():
        signature = read_saved_model(Path(source), outputs)
        importer = _Importer(signature.graph, where, shapes or {}, told, signature.inputs, signature.lost)
        importer.run(list(signature.outputs), list(signature.outputs.values()))
    else:
        importer = _Importer(_whole(read_graph(source, where), outputs or (), where), where, shapes or {}, told, {}, {})
        importer.run(outputs, outputs)
    return importer.module, importer.weights


def _whole(graph: Message, outputs: Sequence[str], where: str) -> Message:
    """The graph without functions."""
    try:
        return inlined(graph, outputs)
    except Unsupported as error:
        raise ModelError(str(error), where=where) from None


class _Importer:
    """One import: `run` fills the block and the list of reasons, and wraps the block up where there is none."""

    def __init__(
        self,
        graph: Message,
        where: str,
        shapes: Shapes,
        events: ImportEvents,
        labels: Mapping[str, str],
        lost: Mapping[str, str],
    ) -> None:
        nodes = {label: name for name, label in labels.items()}
        self.where, self.events, self.labels, self.lost = where, events, labels, lost
        self.shapes = {nodes.get(name, name): shape for name, shape in shapes.items()}
        self.reasons: list[str] = []
        self.nodes = nodes_by_name(graph.node, self.reasons)
        self.weights = WeightStore(origin=where)
        self.block = Block()
        self.build = GraphBuilder(self.block, self.weights)
        self.values: dict[Port, SSAValue] = {}
        self.failed: set[str] = set()
        self.inputs: list[str] = []
        self.module = ModuleOp([])

    def run(self, names: Sequence[str] | None, outputs: Sequence[str] | None) -> None:
        """Convert all nodes that the outputs, called `names`, hang on; those behind a failed one are only checked for their operator."""
        ports = self._outputs(outputs)
        order = ordered(self.nodes, [name for name, _ in ports], self.reasons)
        self._refuse()
        self._check_shapes([node.name for node in order])
        if any(node.op in CONTROL or node.op in ARRAYS for node in order):
            self._unroll(order, ports)
        else:
            for node in order:
                self._node(node)
        self._refuse()
        self._finish(list(names or ()), ports)

    def _refuse(self) -> None:
        if self.reasons:
            raise not_imported("graph", self.reasons, self.where)

    def _outputs(self, outputs: Sequence[str] | None) -> list[Port]:
        found = candidates(self.nodes)
        first = next(iter(found), "NAME")
        if not outputs:
            raise ModelError(
                f"a graph does not say what its outputs are: candidates are {', '.join(found[:24]) or 'none'}",
                where=self.where,
                hint=f'name them: --outputs {first} or outputs=["{first}"]',
            )
        ports = [port_of(output) for output in outputs]
        for output, (name, _) in zip(outputs, ports, strict=True):
            if name not in self.nodes:
                raise UsageError(
                    f"{output!r} is no tensor of the graph",
                    where="outputs",
                    hint=f"candidates: {', '.join(found[:24])}",
                )
        return ports

    def _check_shapes(self, names: Sequence[str]) -> None:
        known = [name for name in names if self.nodes[name].op in (*INPUTS, "PlaceholderWithDefault")]
        check_names(self.shapes, known, "the graph")

    def _node(self, node: Node) -> None:
        blocked = any(name in self.failed for name, _ in node.inputs)
        try:
            with converting():
                results = self._converted(node, blocked)
        except (Unsupported, VerifyException) as error:
            self.reasons.append(f"node {node.name!r} ({node.op}): {error}")
            blocked = True
        if blocked:
            self.failed.add(node.name)
            return
        for number, value in enumerate(results):
            self.values[node.name, number] = value
        if results and results[0].name_hint is None:
            set_name_hint(results[0], node.name)
        if not self._is_input(node):
            self._tell(node, [(_tensor(*port), self.values[port]) for port in node.inputs], results)

    def _converted(self, node: Node, blocked: bool) -> list[SSAValue]:
        if self._is_input(node):
            return [self._input(node)]
        if node.op not in CONVERTERS and plugin_of(node) is None:
            raise Unsupported(self._why(node))
        if blocked:
            return []
        missing = [port for port in node.inputs if port not in self.values]
        if missing:
            raise Unsupported(f"input {_tensor(*missing[0])!r} is no output of its node")
        self.build.node_name = node.name
        return self._results(node, [self.values[port] for port in node.inputs])

    def _results(self, node: Node, values: Sequence[SSAValue]) -> list[SSAValue]:
        convert = CONVERTERS.get(node.op)
        return convert_plugin(self.build, node, values) if convert is None else convert(self.build, node, values)

    def _unroll(self, order: Sequence[Node], ports: Sequence[Port]) -> None:
        """Follow the values through branches and loops; what is supported and what the inputs are is known before."""
        for node in order:
            if self._is_input(node):
                self._node(node)
            elif not any(node.op in table for table in (CONVERTERS, CONTROL, ARRAYS)) and plugin_of(node) is None:
                self.reasons.append(f"node {node.name!r} ({node.op}): {self._why(node)}")
        self._refuse()
        try:
            frames = Frames({node.name: node for node in order})
        except Unsupported as error:
            self.reasons.append(str(error))
            return
        unroller = Unroller(frames, self.build, self._followed)
        failures = dict[str, NodeUnsupported]()
        for port in ports:
            try:
                self.values[port] = tensor(unroller.port(port))
            except Skipped:
                continue
            except NodeUnsupported as error:
                failures[error.node.name] = error
            except Unsupported as error:
                self.reasons.append(f"output {_tensor(*port)!r}: {error}")
        for name, failure in (unroller.failures | failures).items():
            self.reasons.append(f"node {name!r} ({failure.node.op}): {failure}")

    def _followed(self, node: Node, items: Sequence[Item]) -> Sequence[Item]:
        if self._is_input(node):
            return [self.values[node.name, 0]]
        self.build.node_name = node.name
        if node.op in ARRAYS:
            needs(items, *ARRAYS[node.op][0])
            return ARRAYS[node.op][1](self.build, node, items)
        if node.op in ("Identity", "IdentityN"):
            return items
        tensors = [tensor(item) for item in items]
        results = self._results(node, tensors)
        named = [(_tensor(*port), value) for port, value in zip(node.inputs, tensors, strict=False)]
        self._tell(node, named, results)
        return results

    def _tell(self, node: Node, inputs: Sequence[tuple[str, SSAValue]], results: Sequence[SSAValue]) -> None:
        """The events of a node that was converted."""
        self.events.node(node.name, node.op)
        self.events.inputs(node.name, node.op, inputs)
        if node.op == "Const":
            self.events.initializer(node.name)
        self.events.outputs(node.name, node.op, [(_tensor(node.name, n), v) for n, v in enumerate(results)])

    def _why(self, node: Node) -> str:
        if node.op in VARIABLES:
            return self.lost.get(
                node.name, "a variable has no value here: freeze the graph, or give the SavedModel's folder"
            )
        return REFUSED.get(node.op, "this operator is not supported")

    def _is_input(self, node: Node) -> bool:
        return node.op in INPUTS or (node.op == "PlaceholderWithDefault" and node.name in self.shapes)

    def _input(self, node: Node) -> SSAValue:
        type = self._input_type(node)
        argument = self.block.insert_arg(type, len(self.block.args))
        argument.location = location_of([node.name])
        label = self.labels.get(node.name, node.name)
        set_name_hint(argument, label)
        self.inputs.append(label)
        self.events.network_input(label, argument)
        return argument

    def _input_type(self, node: Node) -> TensorType[Attribute]:
        one = node.op == "IteratorGetNext"
        types = list(node.message("output_types").list.type) if one else [node.message("dtype").type]
        shapes = list(node.message("output_shapes").list.shape) if one else [node.proto.attr["shape"].shape]
        if len(types) != 1:
            raise Unsupported(f"an iterator with {len(types)} tensors is no input: give a graph with placeholders")
        element = element_type_of(dtype_of(types[0]))
        stated = shape_of_proto(shapes[0]) if shapes and (one or node.has("shape")) else None
        shape = parse_shape(node.name, self.shapes[node.name]) if node.name in self.shapes else stated
        if shape is None or any(extent < 0 for extent in shape):
            said = "unknown" if shape is None else "x".join("?" if e < 0 else str(e) for e in shape)
            raise Unsupported(
                f'its shape is {said}: give one, --shape {node.name}:1x224x224x3 or shapes={{"{node.name}": "1x224x224x3"}}'
            )
        if reason := too_large(shape):
            raise Unsupported(f"it has {reason}")
        return TensorType(element, list(shape))

    def _finish(self, names: Sequence[str], ports: Sequence[Port]) -> None:
        missing = [name for name, port in zip(names, ports, strict=True) if port not in self.values]
        if missing:
            raise UsageError(f"{missing[0]!r} is no tensor of the graph: its node has fewer outputs", where="outputs")
        results = self.build.finish([self.values[port] for port in ports])
        for name, value in zip(names, results, strict=True):
            self.events.output(name, value)
        self.module = module_of(self.block, self.inputs, results, names)
        settle(self.block)


def _tensor(name: str, number: int) -> str:
    return f"{name}:{number}" if number else name
