"""Model files as bytes, text and protobuf messages; what is wrong with them is said with the byte, the line or the field."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from stepwell.runtime.errors import ModelError

M = TypeVar("M", bound=Message)
DEEPEST = 100
"""Most levels of messages in each other: protobuf's own limit."""
_SIZES = {1: 8, 5: 4}
"""Bytes of a value by the wire type of its tag, where they are fixed."""


def read_file(path: Path, what: str) -> bytes:
    """The bytes of a file; a ModelError says why it cannot be read. `what`: `the model`, `the weights`."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot read {what}: {reason}", where=str(path)) from None


def decode_text(data: bytes, what: str, where: str) -> str:
    """UTF-8 text; a ModelError names the first byte that is none. `what`: `a prototxt`."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"not {what}: byte {error.start} is not UTF-8", where=where) from None


def parse_message(kind: type[M], data: bytes, what: str, where: str) -> M:
    """A message from its binary form, with text in all of its strings. ModelErrors name the byte at which the fields do not go on, or the field whose text is
    not UTF-8: protobuf itself gives such a string as bytes. `what`: `an ONNX model`."""
    try:
        message = kind.FromString(data)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        at = _damage(memoryview(data), kind.DESCRIPTOR, 0)
        place = len(data) if at is None else at
        raise ModelError(
            f"not {what}: at byte {place} of {len(data)} it is damaged, cut off or nested too deeply", where=where
        ) from None
    for path in _damaged_strings(message, ""):
        raise ModelError(f"not {what}: {path} is not UTF-8", where=where)
    return message


# --- text


def parse_text_message(kind: type[M], text: str, what: str, where: str) -> M:
    """A message from its text form; fields that its definition does not have are passed over. A ModelError names the line at which the text does not go on. Deep
    nesting is to be refused before."""
    message, error = _parsed(kind, text)
    if error is None:
        return message
    said = (str(error).splitlines() or [""])[0][:200]
    line = error.GetLine() if isinstance(error, text_format.ParseError) else None
    raise ModelError(f"not {what}: line {line or _first_line(kind, text, said)}: {said}", where=where)


def _parsed(kind: type[M], text: str) -> tuple[M, Exception | None]:
    message = kind()
    try:
        text_format.Parse(text, message, allow_unknown_field=True)
    except (text_format.ParseError, ValueError, RecursionError) as error:
        return message, error
    return message, None


def _first_line(kind: type[M], text: str, said: str) -> int:
    """The first line with which the error comes: of what protobuf skips it does not tell the line."""
    lines = text.split("\n")
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        _, error = _parsed(kind, "\n".join(lines[:middle]))
        low, high = (low, middle) if str(error).startswith(said) else (middle + 1, high)
    return low


# --- where a message does not go on


def _damage(data: memoryview, kind: Descriptor | None, base: int, depth: int = 0) -> int | None:
    """The offset of the first field that does not end in `data`, or None. `base`: the offset of `data` in the file."""
    at = 0
    while at < len(data):
        begun = at
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if at < 0 or not 0 < number < 1 << 29 or wire not in (0, 1, 2, 5) or depth > DEEPEST:
            return base + begun
        size, at = (_SIZES[wire], at) if wire in _SIZES else _varint(data, at)
        if at < 0 or (wire and size > len(data) - at):
            return base + begun
        if wire == 0:
            continue
        field = kind.fields_by_number.get(number) if kind is not None else None
        if wire == 2 and field is not None and field.message_type is not None:
            inner = _damage(data[at : at + size], field.message_type, base + at, depth + 1)
            if inner is not None:
                return inner
        at += size
    return None


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number and where it ends; -1 where it does not."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return 0, -1
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    return 0, -1


# --- strings


def _damaged_strings(message: Any, path: str) -> Iterator[str]:
    """Fields below `message` that should be text and are not, as `graph.node[3].name`. A key of a map that is none fails as soon as the map is read."""
    for name, is_repeated in _textual(message.DESCRIPTOR):
        if not is_repeated and not message.HasField(name):
            continue
        place = f"{path}.{name}" if path else name
        try:
            held = getattr(message, name)
            values = [(held, place)] if not is_repeated else _numbered(held, place, message.DESCRIPTOR, name)
        except UnicodeDecodeError:
            yield place
            continue
        for value, inner in values:
            if isinstance(value, Message):
                yield from _damaged_strings(value, inner)
            elif not isinstance(value, str):
                yield inner


def _numbered(held: Any, place: str, kind: Descriptor, name: str) -> list[tuple[Any, str]]:
    """The elements of a repeated field with their places; of a map its values where they are messages or text, and all its keys are read."""
    if not hasattr(held, "values"):
        return [(value, f"{place}[{number}]") for number, value in enumerate(held)]
    entries = [(held[key], f"{place}[{key!r}]") for key in list(held)]
    value = kind.fields_by_name[name].message_type.fields_by_name["value"]
    return entries if value.type in (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING) else []


@cache
def _textual(kind: Descriptor) -> tuple[tuple[str, bool], ...]:
    """Name, and whether it is repeated, of the fields that are strings or may hold some."""
    return tuple(
        (field.name, field.is_repeated)
        for field in kind.fields
        if field.type == FieldDescriptor.TYPE_STRING
        or (field.message_type is not None and _has_text(field.message_type, frozenset()))
    )


def _has_text(kind: Descriptor, above: frozenset[str]) -> bool:
    if kind.full_name in above:
        return False
    below = above | {kind.full_name}
    return any(
        field.type == FieldDescriptor.TYPE_STRING
        or (field.message_type is not None and _has_text(field.message_type, below))
        for field in kind.fields
    )
