"""Changed fields of a protobuf message, an ONNX model for instance: the file stays a protobuf, what it says does not stay a network."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from stepwell.testing.hostile.data import mutated_bytes

INTEGERS = (0, 1, -1, 2, 3, 7, 63, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.5, 1e-45, 3e38, float("inf"), float("nan"))
NAMES = (
    "",
    "x",
    "é",
    "12",
    "a\nb",
    '"',
    "\0",
    "/",
    "y" * 200,
    "Add",
    "Conv",
    "Relu",
    "Reshape",
    "Gather",
    "Concat",
    "If",
    "ai.onnx.ml",
    "com.microsoft",
)

Place = tuple[Any, Any]


def mutated_model(model: Any, random: Random, changes: int | None = None) -> Any:
    """A copy of the message `model` with one to three fields changed, anywhere in it."""
    made = type(model)()
    made.CopyFrom(model)
    for _ in range(changes or random.randint(1, 3)):
        places = list(_places(made))
        if places:
            _change(*random.choice(places), random)
    return made


def mutated_serialized(kind: Any, data: bytes, random: Random) -> bytes:
    """The bytes of a message of that class with changed fields; changed bytes where they are none."""
    try:
        return bytes(mutated_model(kind.FromString(data), random).SerializeToString())
    except (DecodeError, UnicodeError, ValueError):
        return mutated_bytes(data, random)


def _places(message: Any) -> Iterator[Place]:
    """Every (message, set field) below `message`; large raw data counts as one."""
    for field, value in message.ListFields():
        yield message, field
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        for part in _parts(field, value):
            yield from _places(part)


def _parts(field: Any, value: Any) -> list[Any]:
    """The messages that a field of messages holds."""
    if _is_map(field):
        of_messages = field.message_type.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE
        return [value[key] for key in sorted(value, key=str)] if of_messages else []
    return list(value) if hasattr(value, "extend") else [value]


def _is_map(field: Any) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def _repeated(message: Any, field: Any) -> bool:
    return hasattr(getattr(message, field.name), "extend")


def _change(message: Any, field: Any, random: Random) -> None:
    if random.random() < 0.12:
        message.ClearField(field.name)
    elif _is_map(field):
        _change_map(getattr(message, field.name), random)
    elif not _repeated(message, field):
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            setattr(message, field.name, _odd(field, getattr(message, field.name), random))
    else:
        _change_list(getattr(message, field.name), field, random)


def _change_map(entries: Any, random: Random) -> None:
    """Lose an entry, or give one the value of another."""
    keys = sorted(entries, key=str)
    key, other = random.choice(keys), random.choice(keys)
    if key == other or not hasattr(entries[key], "CopyFrom"):
        del entries[key]
    else:
        entries[key].CopyFrom(entries[other])


def _change_list(values: Any, field: Any, random: Random) -> None:
    at = random.randrange(len(values)) if len(values) else 0
    match random.randrange(4):
        case 0 if len(values):
            del values[at]
        case 1 if len(values) < 1000:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                values.add().CopyFrom(values[at])
            else:
                values.append(_odd(field, values[at] if len(values) else None, random))
        case 2 if len(values) > 1:
            other = random.randrange(len(values))
            kept = [type(value)() if field.type == FieldDescriptor.TYPE_MESSAGE else value for value in values]
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                for copy, value in zip(kept, values, strict=True):
                    copy.CopyFrom(value)
            kept[at], kept[other] = kept[other], kept[at]
            del values[:]
            values.extend(kept)
        case _ if len(values) and field.type != FieldDescriptor.TYPE_MESSAGE:
            values[at] = _odd(field, values[at], random)


def _odd(field: Any, value: Any, random: Random) -> Any:
    """Another value of the field's type, near the one that it has or odd."""
    kind = field.type
    if kind == FieldDescriptor.TYPE_STRING:
        return random.choice((*NAMES, str(value or "")[:-1], str(value or "") + "x"))
    if kind == FieldDescriptor.TYPE_BYTES:
        data = bytes(value or b"")
        return random.choice((b"", data[:-1], data + b"\xff", b"\xff\xfe", random.randbytes(min(64, len(data) or 8))))
    if kind in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return random.choice(FLOATS)
    if kind == FieldDescriptor.TYPE_ENUM:
        return random.choice([entry.number for entry in field.enum_type.values])
    number = int(value or 0)
    chosen = random.choice((*INTEGERS, number + 1, number - 1, -number, 2 * number))
    low, high = _range(kind)
    return min(max(chosen, low), high)


def _range(kind: int) -> tuple[int, int]:
    if kind in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SFIXED32):
        return -(2**31), 2**31 - 1
    if kind in (FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64):
        return 0, 2**64 - 1
    if kind in (FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_FIXED32):
        return 0, 2**32 - 1
    return -(2**63), 2**63 - 1
