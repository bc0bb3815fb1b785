"""SavedModels as frozen graphs: a signature's inputs become placeholders, variables constants, calls the nodes of their functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError, Message

from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.files import parse_message, read_file
from stepwell.frontends.tensorflow.bundle import Bundle
from stepwell.frontends.tensorflow.functions import inlined
from stepwell.frontends.tensorflow.schema import DTYPES, messages
from stepwell.runtime.errors import ModelError, UsageError

VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
DEFAULT = "serving_default"
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Signature:
    """A frozen graph, and which tensors of it are called what: inputs by node, outputs in order. `lost`: variables without a value, and why."""

    graph: Message
    inputs: dict[str, str]
    outputs: dict[str, str]
    lost: dict[str, str]


def read_saved_model(folder: Path, outputs: Sequence[str] | None) -> Signature:
    """The signature that has the outputs asked for, `serving_default` where none are. ModelError where the folder holds no model, UsageError with all signatures where
    no signature fits."""
    path = folder / "saved_model.pb"
    model = parse_message(messages()["SavedModel"], read_file(path, "the model"), "a SavedModel", str(path))
    served = [graph for graph in model.meta_graphs if "serve" in graph.meta_info_def.tags] or list(model.meta_graphs)
    if not served:
        raise ModelError("the model has no graph", where=str(path))
    signature, asked = _chosen(served[0], outputs, str(folder))
    infos = {key: signature.outputs[key] for key in asked}
    try:
        graph, lost = _frozen(served[0].graph_def, signature, list(infos.values()), folder / "variables")
    except (Unsupported, UnicodeDecodeError, DecodeError) as error:
        raise ModelError(str(error), where=str(folder)) from None
    return Signature(
        graph,
        {info.name.partition(":")[0]: key for key, info in signature.inputs.items()},
        {key: info.name for key, info in infos.items()},
        lost,
    )


def _chosen(graph: Message, outputs: Sequence[str] | None, where: str) -> tuple[Message, list[str]]:
    """A signature and its outputs that are asked for: by their names, as SIGNATURE:OUTPUT, or all of a signature by its name alone."""
    found = {key: value for key, value in graph.signature_def.items() if not key.startswith("__")}
    fitting = {}
    for key in sorted(found, key=lambda key: (key != DEFAULT, key)):
        names = [name.removeprefix(f"{key}:") for name in outputs or ()]
        if names == [key] and key not in found[key].outputs:
            names = []
        if set(names) <= set(found[key].outputs) and (names or not outputs or outputs == [key]):
            fitting[key] = names or sorted(found[key].outputs)
    if fitting and (outputs or DEFAULT in fitting or len(fitting) == 1):
        key = next(iter(fitting))
        return found[key], fitting[key]
    listed = "; ".join(
        f"{key}: {', '.join(sorted(found[key].inputs))} -> {', '.join(sorted(found[key].outputs))}"
        for key in sorted(found)
    )
    raise UsageError(
        f"no signature has these outputs, or several could be meant: {listed or 'there is none'}",
        where=where,
        hint="name one: --outputs SIGNATURE, or --outputs SIGNATURE:OUTPUT",
    )


def _frozen(
    graph: Message, signature: Message, outputs: Sequence[Message], variables: Path
) -> tuple[Message, dict[str, str]]:
    nodes, lost = inlined(graph, [info.name for info in outputs]), dict[str, str]()
    bundle: Bundle | None = None
    cut = {info.name.partition(":")[0]: info for info in signature.inputs.values()}
    for node in nodes.node:
        if node.name in cut:
            _placeholder(node, cut[node.name])
        elif node.op in VARIABLES and "dtype" in node.attr and node.attr["dtype"].type in DTYPES:
            bundle = bundle or Bundle(variables)
            _constant(node, bundle, lost)
        elif node.op == "ReadVariableOp":
            node.op = "Identity"
    return nodes, lost


def _placeholder(node: Message, info: Message) -> None:
    if not info.name.endswith(":0"):
        raise Unsupported(f"the signature's input {info.name!r} is not a node's first output")
    node.op = "Placeholder"
    del node.input[:]
    node.attr["dtype"].type = info.dtype
    node.attr["shape"].shape.CopyFrom(info.tensor_shape)


def _constant(node: Message, bundle: Bundle, lost: dict[str, str]) -> None:
    """A variable's value in its place; one that the checkpoint lacks stays, and is refused where it is needed."""
    name = node.attr["shared_name"].s.decode("utf-8", "replace") if "shared_name" in node.attr else ""
    try:
        array = bundle.array(name or node.name)
    except Unsupported as error:
        lost[node.name] = str(error)
        return
    node.op = "Const"
    del node.input[:]
    tensor = node.attr["value"].tensor
    tensor.dtype, tensor.tensor_content = _NUMBERS[array.dtype], array.tobytes()
    for extent in array.shape:
        tensor.tensor_shape.dim.add(size=extent)
