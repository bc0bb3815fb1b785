"""From the bytes of a prototxt to a NetParameter, with every field that the schema does not know reported by its line.

Protobuf's own parser reads the text; unknown fields are looked for beside it, so that what a branch of Caffe added is not passed over in silence: where it says
how training reads its data it changes nothing, anywhere else it is a reason to refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from stepwell.frontends.caffe.schema import messages
from stepwell.frontends.files import decode_text, parse_text_message
from stepwell.runtime.errors import ModelError

DEEPEST = 64
"""Most levels of nesting; Caffe's own files have five."""
HARMLESS = frozenset(
    [
        "NetParameter",
        "LayerParameter",
        "V1LayerParameter",
        "V0LayerParameter",
        "DataParameter",
        "ImageDataParameter",
        "WindowDataParameter",
        "MemoryDataParameter",
        "HDF5DataParameter",
        "TransformationParameter",
        "ResizeParameter",
        "ParamSpec",
        "FillerParameter",
        "DummyDataParameter",
    ]
)
"""Messages whose unknown fields concern training, memory or data files, not what a trained network computes."""


LAYERS = frozenset(["LayerParameter", "V1LayerParameter"])
"""Messages of layers."""


@dataclass(frozen=True)
class UnknownField:
    """A field that Caffe's published definitions do not have; `layer`: the number of the layer that it stands in, -1 outside of all."""

    message: str
    name: str
    line: int
    layer: int = -1

    @property
    def harmless(self) -> bool:
        """True where it cannot change what the network computes; the parameters of a layer can."""
        return self.message in HARMLESS and not (self.message in LAYERS and self.name.endswith("_param"))


def parse_prototxt(data: bytes, where: str) -> tuple[Message, list[UnknownField]]:
    """The network and the fields that were skipped. ModelErrors: no text, no prototxt, nested too deeply, a solver or a label map."""
    text = decode_text(data, "a prototxt", where)
    kind = messages()["NetParameter"]
    unknown = list(_unknown_fields(text, kind.DESCRIPTOR, where))
    network = parse_text_message(kind, text, "a Caffe network", where)
    if not network.layer and not network.layers:
        raise ModelError(_no_layers(text, unknown), where=where, hint="give the prototxt that holds the layers")
    return network, unknown


def _no_layers(text: str, unknown: list[UnknownField]) -> str:
    names = {field.name for field in unknown}
    if names & {"base_lr", "net", "train_net", "max_iter", "snapshot_prefix"}:
        named = re.search(r'\b(?:net|train_net)\s*:\s*"([^"]*)"', text)
        return "this is a solver, not a network" + (f"; its network is {named.group(1)!r}" if named else "")
    if "item" in names:
        return "this is a label map, not a network"
    return "the file has no layers"


_WORD = re.compile(
    r'#[^\n]*|\s+|([A-Za-z_][\w.]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|[{}<>:;,\[\]]|[^\s{}<>:;,\[\]"\'#]+)|.'
)


def _unknown_fields(text: str, root: Descriptor, where: str) -> Iterator[UnknownField]:
    """Walk the braces; names in a message that is itself unknown are not looked at."""
    scopes: list[Descriptor | None] = [root]
    name, previous, in_list, line, at, layers = "", "", False, 1, 0, 0
    for found in _WORD.finditer(text):
        word = found.group(1)
        if word is None:
            continue
        line, at = line + text.count("\n", at, found.start()), found.start()
        scope = scopes[-1]
        if word in "{<":
            scopes.append(_message_of(scope, name))
            layers += len(scopes) == 2 and name in ("layer", "layers")
            if len(scopes) > DEEPEST:
                raise ModelError(f"line {line}: nested more than {DEEPEST} levels deep", where=where)
        elif word in "}>":
            if len(scopes) == 1:
                raise ModelError(f"line {line}: {word!r} closes nothing", where=where)
            scopes.pop()
        elif word in "[]":
            in_list = word == "["
        elif word.isidentifier() and previous != ":" and not in_list:
            name = word
            if scope is not None and word not in scope.fields_by_name and _is_field(text, found.end()):
                yield UnknownField(scope.name, word, line, layers - 1 if len(scopes) > 1 else -1)
        previous = word


def _is_field(text: str, end: int) -> bool:
    rest = text[end : end + 200].lstrip()
    return rest[:1] in (":", "{", "<")


def _message_of(scope: Descriptor | None, name: str) -> Descriptor | None:
    field: FieldDescriptor | None = scope.fields_by_name.get(name) if scope is not None else None
    return field.message_type if field is not None else None
