"""The page of a dialect: its ops with syntax, operands, results, attributes and an example, then its attributes and types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module

from xdsl.dialects.builtin import DenseArrayBase
from xdsl.ir import Attribute, Dialect, Operation, TypeAttribute
from xdsl.irdl import (
    AnyOf,
    BaseAttr,
    EqAttrConstraint,
    IRDLOperation,
    MessageConstraint,
    OpDef,
    OptionalDef,
    ParamAttrConstraint,
    RangeLengthConstraint,
    RangeOf,
    VarConstraint,
    VariadicDef,
)

from stepwell.dialects.tile.config import Config
from stepwell.plugins.universe import DIALECT_NAMES
from stepwell.reference.markdown import document, page, table, told

TRAITS = {
    "Pure": "no side effects",
    "IsTerminator": "terminator",
    "IsolatedFromAbove": "isolated from above",
    "ConstantLike": "constant",
    "SymbolOpInterface": "symbol",
    "MemoryReadEffect": "reads memory",
    "MemoryWriteEffect": "writes memory",
}
"""Traits that a reader wants to know of."""


def dialect_pages(examples: Mapping[str, str]) -> dict[str, str]:
    """File name -> page, for each of the project's dialects."""
    return {f"{name}.md": _page(import_module(f"stepwell.dialects.{name}"), examples) for name in DIALECT_NAMES}


def _page(module: object, examples: Mapping[str, str]) -> str:
    dialect = module.DIALECT  # type: ignore[attr-defined]
    assert isinstance(dialect, Dialect)
    ops = sorted(dialect.operations, key=lambda op: op.name)
    contents = ", ".join(f"[{_short(op.name)}](#{_anchor(op.name)})" for op in ops)
    attributes = sorted(dialect.attributes, key=lambda attribute: attribute.name)
    sections = [
        document(told(module.__doc__ or "", f"The `?{dialect.name}`? dialect")),
        f"Ops: {contents}",
        *(_op(op, examples) for op in ops),
    ]
    if attributes:
        sections += ["## Attributes and types", *map(_attribute, attributes)]
    return page(f"The {dialect.name} dialect", *sections)


def _short(name: str) -> str:
    return name.partition(".")[2]


def _anchor(heading: str) -> str:
    """What hosts make of a heading: letters, digits, - and _ stay."""
    return "".join(c for c in heading.lower() if c.isalnum() or c in "-_")


def _op(op: type[Operation], examples: Mapping[str, str]) -> str:
    assert issubclass(op, IRDLOperation)
    definition = op.get_irdl_definition()
    rows = [
        *_values("operand", definition.operands),
        *_values("result", definition.results),
        *_attributes(definition),
        *(("region", f"`{name}`", "") for name, _ in definition.regions),
    ]
    syntax = f"Syntax: `` {op.assembly_format} ``" if op.assembly_format else "Syntax: as in the example."
    example = examples.get(op.name)
    return "\n\n".join(
        part
        for part in (
            f"## {op.name}",
            document(op.__doc__ or ""),
            f"```mlir\n{example}\n```" if example else "",
            syntax,
            table(["", "name", "of"], rows),
            _traits(op),
        )
        if part
    )


def _traits(op: type[IRDLOperation]) -> str:
    names = {type(trait).__name__ for trait in op.traits.traits}
    said = [words for name, words in TRAITS.items() if name in names]
    return f"Traits: {', '.join(said)}." if said else ""


def _values(kind: str, definitions: Iterable[tuple[str, object]]) -> Iterable[tuple[str, str, str]]:
    for name, definition in definitions:
        yield kind + _many(definition), f"`{name}`", describe(definition.constr)  # type: ignore[attr-defined]


def _attributes(definition: OpDef) -> Iterable[tuple[str, str, str]]:
    for name, known in (*definition.properties.items(), *definition.attributes.items()):
        if name != "operandSegmentSizes":
            yield "attribute" + _many(known), f"`{name}`", describe(known.constr)


def _many(definition: object) -> str:
    if isinstance(definition, OptionalDef):
        return ", optional"
    return ", any number" if isinstance(definition, VariadicDef) else ""


def describe(constraint: object) -> str:
    """A constraint in the words of IR: the name of a type or attribute where it asks for one."""
    match constraint:
        case RangeLengthConstraint() | RangeOf():
            return describe(
                constraint.constraint if isinstance(constraint, RangeLengthConstraint) else constraint.constr
            )
        case MessageConstraint() | VarConstraint():
            return describe(constraint.constr if isinstance(constraint, MessageConstraint) else constraint.constraint)
        case AnyOf():
            return " or ".join(dict.fromkeys(map(describe, constraint.attr_constrs)))
        case EqAttrConstraint():
            return f"`{constraint.attr}`"
        case BaseAttr():
            return _name(constraint.attr)
        case ParamAttrConstraint():
            first = describe(constraint.param_constrs[0]) if constraint.param_constrs else "any"
            return _name(constraint.base_attr) + (f" of {first}" if constraint.base_attr is DenseArrayBase else "")
    return {"SymbolNameConstraint": "a name"}.get(type(constraint).__name__, "any")


def _name(attribute: type[Attribute]) -> str:
    name = getattr(attribute, "name", "")
    if not isinstance(name, str) or not name:
        return "any"
    name = name.removeprefix("builtin.")
    sign = "!" if issubclass(attribute, TypeAttribute) else "#"
    return f"`{sign}{name}`" if "." in name else f"`{name}`"


def _attribute(attribute: type[Attribute]) -> str:
    sign = "!" if issubclass(attribute, TypeAttribute) else "#"
    parts = [f"### {sign}{attribute.name}", document(attribute.__doc__ or "")]
    members = getattr(attribute, "enum_type", ())
    if members:
        parts.append("One of " + ", ".join(f"`{member.value}`" for member in members) + ".")
    if attribute.name == "tile.config":
        parts.append(document(Config.__doc__ or ""))
    return "\n\n".join(parts)
