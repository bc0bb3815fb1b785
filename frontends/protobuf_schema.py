"""Message classes from a subset of the Protocol Buffers language, without generated code and without `protoc`.

The formats that other frameworks write are described in this project by the messages and fields that importers read, with the numbers of
the published definitions; fields that are not named stay unknown and are skipped. Understood: `message`, `enum` (nested too), `optional`,
`required`, `repeated`, `map<key, value>`, `[default = x]` and `[packed = true]`, `//` comments. Everything is proto2: a field says whether it was set.

>>> classes = compile_schema('''
... enum Phase { TRAIN = 0; TEST = 1; }
... message Layer { optional string name = 1; repeated int64 dim = 3 [packed = true]; optional Phase phase = 4 [default = TEST]; }
... ''', "doctest")
>>> layer = classes["Layer"](name="conv", dim=[1, 3])
>>> classes["Layer"].FromString(layer.SerializeToString()).dim
[1, 3]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import Message

_SCALARS = {
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "fixed64": FieldDescriptorProto.TYPE_FIXED64,
    "fixed32": FieldDescriptorProto.TYPE_FIXED32,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
}
_LABELS = {
    "optional": FieldDescriptorProto.LABEL_OPTIONAL,
    "required": FieldDescriptorProto.LABEL_OPTIONAL,  # importers say themselves what is missing, with the node's name
    "repeated": FieldDescriptorProto.LABEL_REPEATED,
}
_TOKEN = re.compile(r'//[^\n]*|\s+|("[^"]*"|[A-Za-z_][\w.]*|-?[\d.][\w.+-]*|[{}=;\[\]<>,])')


def compile_schema(text: str, package: str) -> Mapping[str, type[Message]]:
    """The classes of the top-level messages of `text` by name. ValueError where the text is not of the subset, or a type is unknown."""
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    tokens = _Tokens(text)
    while not tokens.done:
        match tokens.take():
            case "message":
                _message(tokens, file.message_type.add())
            case "enum":
                _enum(tokens, file.enum_type.add())
            case word:
                raise ValueError(f"line {tokens.line}: {word!r} is neither message nor enum")
    _resolve_types(file)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindFileByName(file.name)
    return {
        name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.message_types_by_name.items()
    }


class _Tokens:
    """The words of a schema, with the line of the one that comes next."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_split(text))
        self._position = 0

    @property
    def done(self) -> bool:
        return self._position == len(self._tokens)

    @property
    def line(self) -> int:
        return self._tokens[max(0, min(self._position, len(self._tokens)) - 1)][0]

    def take(self, *expected: str) -> str:
        """The next token; ValueError at the end, or where it is none of `expected`."""
        if self.done:
            raise ValueError(f"line {self.line}: the schema ends in the middle of a definition")
        token = self._tokens[self._position][1]
        self._position += 1
        if expected and token not in expected:
            raise ValueError(f"line {self.line}: {token!r} stands where {' or '.join(expected)} must")
        return token

    def next_is(self, token: str) -> bool:
        """True, and past it, when the next token is `token`."""
        if self.done or self._tokens[self._position][1] != token:
            return False
        self._position += 1
        return True


def _split(text: str) -> Iterator[tuple[int, str]]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        line = text.count("\n", 0, position) + 1
        if found is None:
            raise ValueError(f"line {line}: {text[position]!r} is not understood")
        if found.group(1):
            yield line, found.group(1)
        position = found.end()


def _message(tokens: _Tokens, message: DescriptorProto) -> None:
    message.name = tokens.take()
    tokens.take("{")
    while not tokens.next_is("}"):
        match tokens.take("message", "enum", "map", *_LABELS):
            case "message":
                _message(tokens, message.nested_type.add())
            case "enum":
                _enum(tokens, message.enum_type.add())
            case "map":
                _map(tokens, message)
            case label:
                field = message.field.add(label=_LABELS[label], type_name=tokens.take())
                _name_and_number(tokens, field)


def _enum(tokens: _Tokens, enum: EnumDescriptorProto) -> None:
    enum.name = tokens.take()
    tokens.take("{")
    while not tokens.next_is("}"):
        value = enum.value.add(name=tokens.take())
        tokens.take("=")
        value.number = int(tokens.take())
        tokens.take(";")
    numbers = [value.number for value in enum.value]
    enum.options.allow_alias = len(set(numbers)) != len(numbers)
    if not enum.options.allow_alias:
        enum.ClearField("options")


def _map(tokens: _Tokens, message: DescriptorProto) -> None:
    """A map is a repeated message of keys and values that is marked as one."""
    tokens.take("<")
    key = tokens.take()
    tokens.take(",")
    value = tokens.take()
    tokens.take(">")
    field = message.field.add(label=FieldDescriptorProto.LABEL_REPEATED)
    _name_and_number(tokens, field)
    entry = message.nested_type.add(name="".join(p.capitalize() for p in field.name.split("_")) + "Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=FieldDescriptorProto.LABEL_OPTIONAL, type_name=key)
    entry.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL, type_name=value)
    field.type_name = entry.name


def _name_and_number(tokens: _Tokens, field: FieldDescriptorProto) -> None:
    field.name = tokens.take()
    tokens.take("=")
    field.number = int(tokens.take())
    while tokens.next_is("[") or tokens.next_is(","):
        option = tokens.take("default", "packed")
        tokens.take("=")
        value = tokens.take()
        if option == "default":
            field.default_value = value.strip('"')
        else:
            field.options.packed = value == "true"
        tokens.next_is("]")
    tokens.take(";")


def _resolve_types(file: FileDescriptorProto) -> None:
    """Turn the names of types into scalar codes and full names, looked up from the innermost scope outwards."""
    messages, enums = set[str](), {f".{file.package}.{enum.name}" for enum in file.enum_type}

    def declare(message: DescriptorProto, scope: str) -> None:
        name = f"{scope}.{message.name}"
        messages.add(name)
        enums.update(f"{name}.{enum.name}" for enum in message.enum_type)
        for nested in message.nested_type:
            declare(nested, name)

    def resolve(message: DescriptorProto, scope: str) -> None:
        name = f"{scope}.{message.name}"
        for field in message.field:
            _resolve_field(field, name, messages, enums)
        for nested in message.nested_type:
            resolve(nested, name)

    for message in file.message_type:
        declare(message, f".{file.package}")
    for message in file.message_type:
        resolve(message, f".{file.package}")


def _resolve_field(field: FieldDescriptorProto, scope: str, messages: set[str], enums: set[str]) -> None:
    word = field.type_name
    if word in _SCALARS:
        field.ClearField("type_name")
        field.type = _SCALARS[word]
        return
    while scope:
        name = f"{scope}.{word}"
        if name in messages or name in enums:
            field.type_name = name
            field.type = FieldDescriptorProto.TYPE_ENUM if name in enums else FieldDescriptorProto.TYPE_MESSAGE
            return
        scope = scope.rpartition(".")[0]
    raise ValueError(f"field {field.name!r} has the unknown type {word!r}")
