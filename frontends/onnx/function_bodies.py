"""The bodies that ONNX's specification gives operators: for a node whose inputs have known types, a function of simpler nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx
from onnx import defs, helper
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute

from stepwell.dialects.graph.extents import Extent, shape_of
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.frontends.emitter import Unsupported


def has_body(node: onnx.NodeProto, opsets: Mapping[str, int]) -> bool:
    """True where the specification gives the node's operator a body."""
    schema = _schema(node, opsets)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]


def body_of(
    node: onnx.NodeProto, opsets: Mapping[str, int], types: Sequence[TensorType[Attribute] | None]
) -> onnx.FunctionProto | None:
    """The body for a node whose inputs have these types (None: left out), its attributes and their defaults put in; None where there is none."""
    schema = _schema(node, opsets)
    if schema is None:
        return None
    whole = onnx.NodeProto()
    whole.CopyFrom(node)
    given = {attribute.name for attribute in node.attribute}
    absent = (entry.default_value for entry in schema.attributes.values() if entry.name not in given)
    whole.attribute.extend(value for value in absent if value.name)
    version = opsets[_domain(node)]
    function = onnx.FunctionProto()
    if schema.has_function:  # type: ignore[attr-defined]
        found = _newest(schema.function_opset_versions, version)  # type: ignore[attr-defined]
        function.ParseFromString(schema.get_function_with_opset_version(found))  # type: ignore[attr-defined]
    elif schema.has_context_dependent_function:  # type: ignore[attr-defined]
        found = _newest(schema.context_dependent_function_opset_versions, version)  # type: ignore[attr-defined]
        data = [_type_proto(type).SerializeToString() for type in types]
        try:
            made = schema.get_context_dependent_function_with_opset_version(found, whole.SerializeToString(), data)  # type: ignore[attr-defined]
        except RuntimeError as error:
            raise Unsupported(f"its body cannot be made: {str(error).splitlines()[0]}") from None
        function.ParseFromString(made)
    if not function.node:
        return None
    _put_in(function.node, {attribute.name: attribute for attribute in whole.attribute})
    return function


def _domain(node: onnx.NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _schema(node: onnx.NodeProto, opsets: Mapping[str, int]) -> defs.OpSchema | None:
    version = opsets.get(_domain(node))
    try:
        return None if version is None else defs.get_schema(node.op_type, version, _domain(node))
    except defs.SchemaError:
        return None


def _newest(versions: Iterable[int], opset: int) -> int:
    """The last of the versions for which there is a body that is not newer than the model's operator set; the first where all are newer."""
    known = sorted(versions)
    return max((version for version in known if version <= opset), default=known[0])


def _type_proto(type: TensorType[Attribute] | None) -> onnx.TypeProto:
    if type is None:
        return onnx.TypeProto()
    code = helper.np_dtype_to_tensor_dtype(numpy_dtype(type.element_type))
    shape = [None if isinstance(extent, Extent) else extent for extent in shape_of(type)]
    return helper.make_tensor_type_proto(code, shape)


def _put_in(nodes: Iterable[onnx.NodeProto], attributes: Mapping[str, onnx.AttributeProto]) -> None:
    """Replace references to the function's attributes by their values; what refers to one that is not given goes."""
    for node in nodes:
        found = []
        for attribute in node.attribute:
            if attribute.ref_attr_name and attribute.ref_attr_name not in attributes:
                continue
            made = onnx.AttributeProto()
            made.CopyFrom(attributes[attribute.ref_attr_name] if attribute.ref_attr_name else attribute)
            made.name = attribute.name
            if not attribute.ref_attr_name and made.HasField("g"):
                _put_in(made.g.node, attributes)
            found.append(made)
        del node.attribute[:]
        node.attribute.extend(found)
