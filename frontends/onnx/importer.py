"""The importer: an ONNX graph, node by node in file order, to one `func.func @main` of graph ops.

Everything that stands in the way is collected first and told at once. A node after an unsupported one is still checked for its operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph.extents import Extent
from stepwell.dialects.numpy_types import Array, element_type_of
from stepwell.dialects.strings import string
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.builder import module_of
from stepwell.frontends.emitter import MISFITS, Unsupported, misfit, not_imported
from stepwell.frontends.events import ImportEvents, events_of
from stepwell.frontends.onnx.builder import GraphBuilder, Item, set_name_hint, shape_of, tensor_type
from stepwell.frontends.onnx.convert_movement import constant_of
from stepwell.frontends.onnx.converters import CONVERTERS, converter_of
from stepwell.frontends.onnx.declared import declared_shapes
from stepwell.frontends.onnx.fold import evaluated
from stepwell.frontends.onnx.function_bodies import body_of, has_body
from stepwell.frontends.onnx.model_file import (
    DEFAULT_DOMAINS,
    ModelSource,
    checker_complaint,
    first_line,
    load_model,
    opset_of,
)
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.plugins import convert_plugin, plugin_of
from stepwell.frontends.plugins.definition import Plugin
from stepwell.frontends.shapes import Shapes, check_names, parse_shape, too_large
from stepwell.ir.locations import location_of
from stepwell.runtime.errors import ModelError

UNKNOWN = "this operator is not supported"
SUPPORTED_HINT = f"supported operators: {', '.join(sorted([*CONVERTERS, 'Constant']))}"
SHAPE_ARITHMETIC = (
    "Abs Add And Cast Ceil Concat Div Equal Floor Gather Greater Identity Less Max Min Mod "
    "Mul Neg Not Or ReduceMax ReduceMin ReduceProd Reshape Shape Size Slice Sqrt Squeeze Sub Transpose Unsqueeze Where"
)
FOLDABLE = frozenset(SHAPE_ARITHMETIC.split(" "))
"""Operators that are computed at import when all inputs are small constants: the arithmetic on shapes that exporters write. None of them
makes a result much larger than its inputs, or a random one."""
MOST_NESTED = 32
"""How deep bodies of branches, loops and operators may lie in each other."""
MOST_STEPS = 30_000
"""Most nodes of bodies that are converted, each as often as its loop is unrolled."""
REPORTED = "its body cannot be converted"
FOLD_LIMIT = 1024
"""Most elements of all constant inputs of a node that is computed at import."""


def import_onnx(
    source: ModelSource,
    *,
    shapes: Shapes | None = None,
    outputs: Sequence[str] | None = None,
    events: ImportEvents | None = None,
    name: str = "",
) -> tuple[ModuleOp, WeightStore]:
    """Import a path, bytes or a ModelProto: the graph-level module and the weights that it refers to.

    `shapes` gives inputs with symbolic dims their shape, `{"image": "128x1x8x8"}`; `outputs` are tensors by name in place of the model's own; `events` collects what happens; `name` says where bytes came from. Raises ModelError with every reason at once, or
    UsageError when `shapes` names what is no input."""
    model, where, files = load_model(source, name)
    complaint = checker_complaint(model)
    try:
        importer = _Importer(model, shapes or {}, outputs, events_of(events, "ONNX", where))
        importer.run()
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
        if complaint:
            raise ModelError(f"not a valid ONNX model: {complaint}", where=where) from None
        raise ModelError(f"the model cannot be read: {first_line(error)}", where=where) from error
    if importer.reasons:
        hint = SUPPORTED_HINT if any(UNKNOWN in reason for reason in importer.reasons) else ""
        raise not_imported("model", importer.reasons, where, hint)
    unknown_to_checker = any(node.proto.domain in DEFAULT_DOMAINS for node in importer.plugins)
    if complaint and not unknown_to_checker:
        raise ModelError(f"not a valid ONNX model: {complaint}", where=where)
    importer.weights.files = files
    return importer.module(), importer.weights


def _element(code: int) -> Attribute:
    """The element type of an ONNX code; KeyError or TypeError where there is none."""
    return string if code == onnx.TensorProto.STRING else element_type_of(helper.tensor_dtype_to_np_dtype(code))


class _Importer:
    """One import: `run` fills the block and the list of reasons, `module` wraps the block up."""

    def __init__(
        self, model: onnx.ModelProto, shapes: Shapes, outputs: Sequence[str] | None, events: ImportEvents
    ) -> None:
        self.model, self.graph, self.events = model, model.graph, events
        self.outputs = [entry.name for entry in self.graph.output] if outputs is None else list(outputs)
        self.opset = opset_of(model) or 0
        self.reasons: list[str] = []
        self.steps = 0
        self.weights = WeightStore(origin=model.graph.name or "the model")
        constants = {t.name: self._stored(t) for t in self.graph.initializer}
        self.inputs = [entry for entry in self.graph.input if entry.name not in constants]
        types = [self._input_type(entry, shapes) for entry in self.inputs]
        self.block = Block(arg_types=types)
        self.build = GraphBuilder(self.block, self.weights, constants)
        self.build.declared.update(declared_shapes(self.graph))
        self.build.convert_nodes, self.build.reasons = self._convert_nodes, self.reasons
        self.opsets = {entry.domain if entry.domain != "ai.onnx" else "": entry.version for entry in model.opset_import}
        self.opsets.setdefault("", self.opset)
        self.depth = 0
        self.plugins: dict[Node, Plugin] = {}
        self._check_names(shapes)
        for entry, argument in zip(self.inputs, self.block.args, strict=True):
            set_name_hint(argument, entry.name)
            argument.location = location_of([entry.name])
            self.build.values[entry.name] = argument
            events.network_input(entry.name, argument)
        for stored in constants:
            events.initializer(stored)

    def _stored(self, tensor: onnx.TensorProto) -> Array:
        """An initialiser's array; an empty one stands in where a reason was found."""
        try:
            return numpy_helper.to_array(tensor)
        except (KeyError, TypeError, ValueError) as error:
            self.reasons.append(f"initialiser {tensor.name!r} cannot be read: {first_line(error)}")
            return np.empty(0, np.float32)

    def _check_names(self, shapes: Shapes) -> None:
        names = [entry.name for entry in self.inputs]
        check_names(shapes, names, "the model")
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.reasons.append(f"two inputs are called {name!r}")
        for sparse in self.graph.sparse_initializer:
            self.reasons.append(f"initialiser {sparse.values.name!r} is sparse: store it densely")

    def _input_type(self, entry: onnx.ValueInfoProto, shapes: Shapes) -> TensorType[Attribute]:
        """The type of a network input; a scalar stands in where a reason was found."""
        stand_in = TensorType[Attribute](element_type_of(np.dtype(np.float32)), [])
        if entry.type.WhichOneof("value") != "tensor_type":
            self.reasons.append(f"input {entry.name!r} is no tensor")
            return stand_in
        tensor = entry.type.tensor_type
        try:
            element = _element(tensor.elem_type)
        except (TypeError, KeyError):
            code = onnx.TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type in _CODES else tensor.elem_type
            self.reasons.append(f"input {entry.name!r} has elements of type {code}, which no op supports")
            return stand_in
        declared = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
        text = "x".join(map(str, declared))
        example = "x".join(str(d) if isinstance(d, int) else "1" for d in declared) or "1x3x224x224"
        if entry.name in shapes:
            given = parse_shape(entry.name, shapes[entry.name])
            fits = len(given) == len(declared) and all(
                d in (g, "?") or isinstance(d, str) for g, d in zip(given, declared)
            )
            if tensor.HasField("shape") and not fits:
                self.reasons.append(f"input {entry.name!r} has shape {text}, shapes gives {'x'.join(map(str, given))}")
                return stand_in
            return TensorType(element, given)
        if not tensor.HasField("shape") or any(isinstance(d, str) for d in declared):
            self.reasons.append(
                f'input {entry.name!r} has no fixed shape ({text or "unknown rank"}): give it one, --shape {entry.name}:{example} or shapes={{"{entry.name}": "{example}"}}'
            )
            return stand_in
        extents = [int(d) for d in declared]
        if reason := too_large(extents):
            self.reasons.append(f"input {entry.name!r} has {reason}")
            return stand_in
        return TensorType(element, extents)

    def run(self) -> None:
        """Convert all nodes, collecting reasons; nodes that hang on a failed one are only checked for their operator."""
        if self.reasons:
            self.build.names.failed.update(entry.name for entry in self.inputs)
        try:
            self._convert_nodes(self.graph.node)
        except Unsupported as error:
            self.reasons.append(str(error))
        if not self.reasons:
            self._check_outputs()

    def _convert_nodes(self, protos: Iterable[onnx.NodeProto]) -> None:
        """Convert the nodes of a graph or a body in file order."""
        if self.depth > MOST_NESTED:
            raise Unsupported(f"bodies lie in each other more than {MOST_NESTED} deep")
        self.depth += 1
        outer = self.build.node_name
        try:
            for proto in protos:
                self._convert_one(proto)
        finally:
            self.depth -= 1
            self.build.node_name = outer

    def _convert_one(self, proto: onnx.NodeProto) -> None:
        self.steps += self.depth > 1
        if self.steps > MOST_STEPS:
            raise Unsupported(f"more than {MOST_STEPS} nodes of bodies, those of unrolled loops as often as they run")
        node = Node(proto, self.opsets.get("", 0))
        reason = self._defects(node)
        failed = self.build.names.failed
        blocked = any(name in failed for name in node.inputs)
        if not reason and not blocked:
            reason = self._convert(node)
        if reason and reason != REPORTED:
            self.reasons.append(f"node {node}: {reason}")
        if reason or blocked:
            failed.update(node.outputs)

    def _defects(self, node: Node) -> str:
        """What is wrong with a node whatever its inputs are."""
        reason = self._stranger(node)
        if reason:
            return reason
        names = self.build.names
        missing = [name for name in node.inputs if name and name not in names.failed and not names.known(name)]
        if missing:
            return f"input {missing[0]!r} is not computed by an earlier node"
        repeated = [name for name in node.outputs if name and (names.own(name) or name in names.failed)]
        if repeated:
            return f"output {repeated[0]!r} is already the name of another tensor"
        return ""

    def _stranger(self, node: Node) -> str:
        """Why no converter, no plugin and no body of the specification takes the node; empty when one does."""
        foreign = node.proto.domain not in DEFAULT_DOMAINS
        if self._is_converted(node) or (not foreign and node.op_type == "Constant") or self._foldable(node):
            return ""
        try:
            found = plugin_of(node)
        except Unsupported as error:
            return str(error)
        if found is None and has_body(node.proto, self.opsets):
            return ""
        if found is None:
            return f"operators of domain {node.proto.domain!r} are not supported" if foreign else UNKNOWN
        self.plugins[node] = found
        return ""

    def _convert(self, node: Node) -> str:
        """Convert one node; the reason when that fails, REPORTED where it is among the reasons already."""
        self.build.node_name = node.name
        self.events.node(node.name, node.op_type)
        before = len(self.reasons)
        try:
            if node in self.plugins:
                self._define(node, convert_plugin(self.plugins[node], node, self.build))
            elif node.op_type == "Constant":
                self.build.constants[node.outputs[0]] = constant_of(node)
            elif node.op_type == "Identity" and node.inputs[0] in self.build.constants:
                self.build.constants[node.outputs[0]] = self.build.constants[node.inputs[0]]
            elif self._foldable(node):
                self._fold(node)
                return ""
            elif convert := converter_of(node.proto.domain, node.op_type):
                self._define(node, convert(node, self.build))
            else:
                self._inline(node)
                return ""
        except (Unsupported, VerifyException) as error:
            return REPORTED if len(self.reasons) > before else str(error)
        except MISFITS as error:
            return misfit(error)
        unread = node.unread()
        return f"attribute {unread[0]!r} is not supported for this operator" if unread else ""

    def _define(self, node: Node, results: Sequence[Item]) -> None:
        """The node's outputs are these items from now on."""
        made = [(name, item) for name, item in zip(node.outputs, results, strict=False) if name]
        for name, item in made:
            self.build.names.bind(name, item)
            if isinstance(item, SSAValue) and item.name_hint is None:
                set_name_hint(item, name)
        named = [(name, self.build.values[name]) for name in node.inputs if name in self.build.values]
        self.events.inputs(node.name, node.op_type, named)
        values = [(name, item) for name, item in made if isinstance(item, SSAValue)]
        self.events.outputs(node.name, node.op_type, values)

    def _inline(self, node: Node) -> None:
        """Convert the body that the specification gives a node's operator; all that it makes is named after the node."""
        names = self.build.names
        body = body_of(node.proto, self.opsets, [self._type_of(name) for name in node.inputs])
        if body is None:
            raise Unsupported(UNKNOWN)
        opsets, self.opsets = self.opsets, {**self.opsets, **{e.domain: e.version for e in body.opset_import}}
        try:
            with self.build.scope() as inner:
                for formal, name in zip(body.input, node.inputs, strict=False):
                    if name in names.constants:
                        inner.constants[formal] = names.constants[name]
                    elif name:
                        inner.values[formal] = self.build.value_named(name)
                wanted = [pair for pair in zip(body.output, node.outputs, strict=False) if pair[1]]
                inner.declared.update({f: names.declared[name] for f, name in wanted if name in names.declared})
                self._convert_nodes(_renamed(body.node, node.name))
                for formal, name in wanted:
                    if not inner.known(formal):
                        raise Unsupported(f"its body gives no {formal!r}")
                    names.bind(name, inner.item(formal))
        finally:
            self.opsets = opsets

    def _type_of(self, name: str) -> TensorType[Attribute] | None:
        if not name:
            return None
        if name in self.build.constants:
            array = self.build.constants[name]
            return TensorType(element_type_of(array.dtype), array.shape)
        return tensor_type(self.build.value_named(name))

    def _is_converted(self, node: Node) -> bool:
        return converter_of(node.proto.domain, node.op_type) is not None

    def _foldable(self, node: Node) -> bool:
        """True for Shape of a known value, and for arithmetic on small constants."""
        if node.proto.domain not in DEFAULT_DOMAINS:
            return False
        if node.op_type == "Shape" and len(node.inputs) == 1:
            return node.inputs[0] in self.build.constants or self._has_fixed_shape(node.inputs[0])
        if node.op_type not in FOLDABLE or not node.inputs:
            return False
        arrays = [self.build.constants.get(name) for name in node.inputs if name]
        return all(a is not None for a in arrays) and sum(a.size for a in arrays if a is not None) <= FOLD_LIMIT

    def _has_fixed_shape(self, name: str) -> bool:
        values = self.build.values
        return name in values and not any(isinstance(extent, Extent) for extent in shape_of(values[name]))

    def _fold(self, node: Node) -> None:
        """Compute a node now."""
        constants = self.build.constants
        if node.op_type == "Shape" and node.inputs[0] not in constants:
            shape = shape_of(self.build.values[node.inputs[0]])
            constants[node.outputs[0]] = np.asarray(
                shape[node.integer("start", 0) : node.integer("end", len(shape))], np.int64
            )
            return
        constants.update(evaluated(node, constants, self.opsets[""], self.model.ir_version))

    def _check_outputs(self) -> None:
        if not self.outputs:
            self.reasons.append("the graph has no output: mark one")
        inputs = {entry.name for entry in self.inputs}
        for name in self.outputs:
            if not self.build.known(name):
                self.reasons.append(f"output {name!r} is computed by no node")
            elif name in self.build.names.sequences:
                self.reasons.append(
                    f"output {name!r} is a sequence: give its tensors, or join them with ConcatFromSequence"
                )
            elif name in inputs:
                self.reasons.append(f"output {name!r} is an input of the model: name it through an Identity node")
            else:
                self._check_value(name)

    def _check_value(self, name: str) -> None:
        self.build.node_name = name
        try:
            self.build.value_named(name)
        except Unsupported as error:
            self.reasons.append(f"output {name!r}: {error}")

    def module(self) -> ModuleOp:
        """The module: one argument per input, one result per output (also where one is listed twice), names as attributes."""
        names = list(dict.fromkeys(self.outputs))
        results = [self.build.value_named(name) for name in names]
        for name, value in zip(names, results, strict=True):
            self.events.output(name, value)
        inputs = [entry.name for entry in self.inputs]
        return module_of(self.block, inputs, results, names, self.graph.name)


def _renamed(nodes: Iterable[onnx.NodeProto], name: str) -> Iterator[onnx.NodeProto]:
    """The nodes of a body, called after the node that it stands for."""
    for node in nodes:
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.name = name
        yield made


_CODES = frozenset(onnx.TensorProto.DataType.values())
