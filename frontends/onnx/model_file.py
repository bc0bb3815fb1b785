"""From a path, bytes or a ModelProto to a checked ModelProto: whatever is wrong with the file becomes a ModelError."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

import onnx
from onnx import checker, inliner

from stepwell.frontends.files import parse_message, read_file
from stepwell.frontends.onnx.external_data import read_external_data
from stepwell.runtime.errors import ModelError

ModelSource: TypeAlias = str | Path | bytes | onnx.ModelProto
OPSETS = (1, 28)
"""First and last version of ONNX's default operator set that is imported."""
IR_VERSIONS = (1, 14)
"""First and last version of the file format."""
DEFAULT_DOMAINS = ("", "ai.onnx")


_CONTEXT = re.compile(r"Bad node spec for node\. Name: (.*) OpType: (.*)")
"""How the checker says which node it speaks of."""


def load_model(source: ModelSource, name: str = "") -> tuple[onnx.ModelProto, str, tuple[Path, ...]]:
    """The model with external data read and local functions inlined, where it came from (for messages), and the files of its external data.

    `name` is the path that bytes were read from; external data is looked for beside it."""
    if isinstance(source, onnx.ModelProto):
        model, where, folder = onnx.ModelProto(), name or source.graph.name or "model", None
        model.CopyFrom(source)
    elif isinstance(source, bytes):
        where, folder = name or "model", Path(name).parent if name else None
        model = _parse(source, where)
    else:
        where, folder = str(source), Path(source).parent
        model = _parse(read_file(Path(source), "the model"), where)
    _check_versions(model, where)
    files = read_external_data(model, where, folder)
    if model.functions:
        model = _inline(model, where)
    return model, where, files


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    model = parse_message(onnx.ModelProto, data, "an ONNX model", where)
    if not model.HasField("graph"):
        raise ModelError("not an ONNX model: it holds no graph", where=where)
    return model


def _check_versions(model: onnx.ModelProto, where: str) -> None:
    first, last = IR_VERSIONS
    if not first <= model.ir_version <= last:
        raise ModelError(
            f"IR version {model.ir_version} is outside {first} to {last}",
            where=where,
            hint="export the model again with a current version of its framework",
        )
    opset = opset_of(model)
    if opset is None:
        raise ModelError("the model imports no version of ONNX's default operator set", where=where)
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ModelError(
            f"operator set {opset} is outside {OPSETS[0]} to {OPSETS[1]}",
            where=where,
            hint="convert it with onnx.version_converter.convert_version(model, 20)",
        )


def opset_of(model: onnx.ModelProto) -> int | None:
    """The version of the default operator set that the model imports."""
    if model.ir_version < 3 and not model.opset_import:
        return 1
    return next((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), None)


def _inline(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    try:
        return inliner.inline_local_functions(model, convert_version=True)
    except (RuntimeError, ValueError, checker.ValidationError) as error:
        raise ModelError(f"cannot inline the model's functions: {first_line(error)}", where=where) from None


def _without_formalities(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as the checker wants it where ONNX Runtime is lenient: initialisers that are no inputs also before IR version 4, and outputs without
    a shape. Initialisers have no elements, which are looked at when they are read."""
    checked = onnx.ModelProto(ir_version=max(4, model.ir_version), opset_import=model.opset_import)
    if not checked.opset_import:
        checked.opset_import.add(version=1)
    graph = checked.graph
    graph.name = model.graph.name or "graph"
    graph.doc_string = model.graph.doc_string
    graph.node.extend(_without_numbers(node) for node in model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(entry for entry in model.graph.value_info if entry.HasField("type"))
    graph.initializer.extend(onnx.TensorProto(name=t.name, data_type=1, dims=[0]) for t in model.graph.initializer)
    for entry in graph.output:
        kind = entry.type.WhichOneof("value")
        if kind in (None, "tensor_type") and not entry.type.tensor_type.HasField("shape"):
            tensor = entry.type.tensor_type
            tensor.shape.SetInParent()
            tensor.elem_type = tensor.elem_type or onnx.TensorProto.FLOAT
    checked.functions.extend(model.functions)
    return checked


def _without_numbers(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node itself, or of a Constant one that holds no numbers: the checker takes its model as bytes, and reads them again."""
    if node.op_type != "Constant" or not (len(node.attribute) == 1 and node.attribute[0].HasField("t")):
        return node
    given = node.attribute[0]
    value = onnx.TensorProto(data_type=given.t.data_type, dims=[0])
    attribute = onnx.AttributeProto(name=given.name, type=given.type, t=value)
    return onnx.NodeProto(
        name=node.name,
        op_type=node.op_type,
        domain=node.domain,
        input=node.input,
        output=node.output,
        attribute=[attribute],
    )


def checker_complaint(model: onnx.ModelProto) -> str:
    """What ONNX's own checker says against the model, in one line; empty when it accepts it."""
    nameless = next((number for number, tensor in enumerate(model.graph.initializer) if not tensor.name), None)
    if nameless is not None:
        return f"initialiser {nameless} of the graph, '', has no name"
    try:
        checker.check_model(_without_formalities(model))
    except (checker.ValidationError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split("==> Context:")[0].split())
        return f"{said} ({found[1]!r}, {found[2]})" if (found := _CONTEXT.search(str(error))) else said
    return ""


def first_line(error: Exception) -> str:
    """The first line of an error's text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
