"""The parameters of a plugin: keyword-only arguments of its shape function, as Python values and as attributes of a module."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, FloatAttr, IntegerAttr, StringAttr, f64, i1, i64
from xdsl.ir import Attribute

from stepwell.frontends.emitter import Unsupported
from stepwell.runtime.errors import UsageError

KINDS: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
"""What a parameter may be, or a tuple of it."""
_ANNOTATION = re.compile(r"(?:(?:\w+\.)*(?P<many>tuple|list|Sequence)\[)?(?P<kind>int|float|bool|str)\b")


@dataclass(frozen=True)
class Parameter:
    """One parameter: its kind, whether it is a tuple of these, and its default (None: it must be given)."""

    name: str
    kind: type
    many: bool
    default: Any = None

    def value(self, given: object) -> Any:
        """What was given as the parameter's kind; Unsupported where it is another: an integer is a float too, a number is no bool."""
        if isinstance(given, np.ndarray):
            given = given.tolist()
        if not self.many:
            return self._element(given)
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise Unsupported(f"parameter {self.name!r} is {given!r}: it is a list of {self.kind.__name__}")
        return tuple(self._element(item) for item in given)

    def _element(self, given: object) -> Any:
        if isinstance(given, np.generic):
            given = given.item()
        if isinstance(given, bytes):
            given = given.decode("utf-8", "replace")
        if self.kind is bool and type(given) is int and given in (0, 1):
            return bool(given)
        if self.kind is float and type(given) is int:
            return float(given)
        if type(given) is not self.kind:
            raise Unsupported(f"parameter {self.name!r} is {given!r}: it must be of type {self.kind.__name__}")
        if self.kind is int and not -(2**63) <= int(given) < 2**63:  # type: ignore[call-overload]
            raise Unsupported(f"parameter {self.name!r} is {given!r}: integers have 64 bits")
        return given


def declared_parameters(function: Callable[..., Any]) -> dict[str, Parameter]:
    """The keyword-only arguments of `function` by name; a UsageError for one that is annotated as what a module cannot hold."""
    found = {}
    for name, argument in inspect.signature(function).parameters.items():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            found[name] = _declared(function, name, argument)
    return found


def _declared(function: Callable[..., Any], name: str, argument: inspect.Parameter) -> Parameter:
    said = argument.annotation
    text = said if isinstance(said, str) else said.__name__ if said in KINDS.values() else str(said)
    match = _ANNOTATION.match(text)
    if match is None:
        raise UsageError(
            f"parameter {name!r} is annotated {text!r}",
            where=function.__qualname__,
            hint=f"a parameter is one of {', '.join(KINDS)}, or tuple[..., ...] of one",
        )
    made = Parameter(name, KINDS[match["kind"]], bool(match["many"]))
    if argument.default is inspect.Parameter.empty:
        return made
    try:
        return Parameter(name, made.kind, made.many, made.value(argument.default))
    except Unsupported as error:
        raise UsageError(f"the default of {error}", where=function.__qualname__) from None


def complete(declared: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters with values of their kinds: those given, and defaults; Unsupported for unknown, missing and wrong ones."""
    unknown = [name for name in given if name not in declared]
    if unknown:
        known = ", ".join(declared) or "none"
        raise Unsupported(f"there is no parameter {unknown[0]!r}: the plugin's are {known}")
    missing = [name for name, parameter in declared.items() if parameter.default is None and name not in given]
    if missing:
        raise Unsupported(f"parameter {missing[0]!r} is missing")
    return {name: p.value(given[name]) if name in given else p.default for name, p in declared.items()}


def to_attribute(name: str, value: Any) -> Attribute:
    """A parameter as it stands in the module: i1, i64, f64, a string, or an array of these."""
    if isinstance(value, Attribute):
        return value
    if isinstance(value, bool):
        return IntegerAttr(int(value), i1)
    if isinstance(value, int):
        return IntegerAttr(value, i64)
    if isinstance(value, float):
        return FloatAttr(value, f64)
    if isinstance(value, str):
        return StringAttr(value)
    if isinstance(value, list | tuple):
        return ArrayAttr([to_attribute(name, item) for item in value])
    raise Unsupported(f"parameter {name!r} is a {type(value).__name__}: give a number, a text, or a list of them")


def from_attribute(name: str, attribute: Attribute) -> Any:
    """The Python value of a parameter in a module; Unsupported for an attribute that is none."""
    match attribute:
        case IntegerAttr(type=type_) if type_ == i1:
            return bool(attribute.value.data)
        case IntegerAttr() | FloatAttr():
            return attribute.value.data
        case StringAttr():
            return attribute.data
        case ArrayAttr():
            return tuple(from_attribute(name, item) for item in attribute.data)
    raise Unsupported(f"parameter {name!r} is {attribute}: it must be a number, a text, or a list of them")
