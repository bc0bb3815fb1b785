"""From a path, bytes or a ModelProto to a checked ModelProto: whatever is wrong with the file becomes a ModelError."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TypeAlias

import onnx
from google.protobuf.message import DecodeError
from onnx import checker, defs, external_data_helper, helper, inliner, shape_inference

from stepwell.runtime.errors import ModelError

ModelSource: TypeAlias = str | Path | bytes | onnx.ModelProto
OPSETS = (7, 28)
"""First and last version of ONNX's default operator set that is imported; 7 is the first with NumPy's broadcasting."""
IR_VERSIONS = (3, 14)
"""First and last version of the file format."""
DEFAULT_DOMAINS = ("", "ai.onnx")


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
        model, where, folder = _read(Path(source)), str(source), Path(source).parent
    _check_versions(model, where)
    files = _external_files(model, folder)
    _read_external_data(model, where, folder)
    if model.functions:
        model = _inline(model, where)
    return model, where, files


def _external_files(model: onnx.ModelProto, folder: Path | None) -> tuple[Path, ...]:
    if folder is None:
        return ()
    outside = [t for t in model.graph.initializer if external_data_helper.uses_external_data(t)]
    names = (entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location")
    return tuple(folder / name for name in dict.fromkeys(names))


def _read(path: Path) -> onnx.ModelProto:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model: {error.strerror or error}", where=str(path)) from None
    return _parse(data, str(path))


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelError("not an ONNX model: the bytes are no ModelProto, or are cut off", where=where) from None
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
    return next((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), None)


def _read_external_data(model: onnx.ModelProto, where: str, folder: Path | None) -> None:
    outside = [t.name for t in model.graph.initializer if external_data_helper.uses_external_data(t)]
    if not outside:
        return
    if folder is None:
        raise ModelError(
            f"{len(outside)} initialisers lie in other files, the first is {outside[0]!r}",
            where=where,
            hint="import the model by its path, or load it with onnx.load, which reads them",
        )
    try:
        external_data_helper.load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, checker.ValidationError) as error:
        raise ModelError(f"cannot read the external data: {first_line(error)}", where=where) from None


def _inline(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    try:
        return inliner.inline_local_functions(model, convert_version=True)
    except (RuntimeError, ValueError, checker.ValidationError) as error:
        raise ModelError(f"cannot inline the model's functions: {first_line(error)}", where=where) from None


def expand_functions(model: onnx.ModelProto, known: Collection[str]) -> onnx.ModelProto:
    """The model with operators that are not `known` replaced by the body that ONNX's specification gives them, where it gives one."""
    unknown = {node.op_type for node in model.graph.node if node.domain in DEFAULT_DOMAINS} - set(known)
    names = [("", name) for name in sorted(unknown) if _has_body(name, opset_of(model) or 0)]
    if not names:
        return model
    try:
        model = _with_types(_with_defaults(model, {name for _, name in names}))
        return inliner.inline_selected_functions(model, names, exclude=False, inline_schema_functions=True)
    except (RuntimeError, ValueError, checker.ValidationError):
        return model


def _with_defaults(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """The model with the default attributes of these operators written out: a body takes them from the node, and an absent one is absent in it too."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for node in whole.graph.node:
        if node.domain not in DEFAULT_DOMAINS or node.op_type not in names:
            continue
        given = {attribute.name for attribute in node.attribute}
        schema = defs.get_schema(node.op_type, opset_of(model) or 0)
        absent = (a.default_value for a in schema.attributes.values() if a.name not in given)
        node.attribute.extend(value for value in absent if value.name)
    return whole


def _with_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types of all tensors, initialisers included: bodies that depend on types are made from them."""
    if model.ByteSize() > 2**31 - 1:
        return model
    typed = shape_inference.infer_shapes(model)
    known = {entry.name for entry in (*typed.graph.input, *typed.graph.value_info)}
    for tensor in typed.graph.initializer:
        if tensor.name not in known:
            typed.graph.value_info.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return typed


def _has_body(name: str, opset: int) -> bool:
    try:
        schema = defs.get_schema(name, opset)
    except defs.SchemaError:
        return False
    return bool(getattr(schema, "has_function", False) or getattr(schema, "has_context_dependent_function", False))


def declared_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Tensor name -> the shape that the file gives it, where all its extents are numbers."""
    found = {}
    for entry in (*graph.value_info, *graph.output):
        tensor = entry.type.tensor_type
        extents = [dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value")]
        if tensor.HasField("shape") and len(extents) == len(tensor.shape.dim):
            found[entry.name] = tuple(extents)
    return found


def checker_complaint(model: onnx.ModelProto) -> str:
    """What ONNX's own checker says against the model, in one line; empty when it accepts it."""
    if model.ByteSize() > 2**31 - 1:
        return ""
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError, RuntimeError) as error:
        return first_line(error)
    return ""


def first_line(error: Exception) -> str:
    """The first line of an error's text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
