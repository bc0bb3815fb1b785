"""SavedModels as frozen graphs: a signature's inputs become placeholders, variables constants, calls the nodes of their functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError, Message

from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.files import parse_message, read_file
from stepwell.frontends.tensorflow.bundle import Bundle
from stepwell.frontends.tensorflow.schema import DTYPES, messages
from stepwell.runtime.errors import ModelError, UsageError

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
DEFAULT = "serving_default"
MOST_NODES = 1_000_000
"""Most nodes after functions are inlined."""
_OUTPUTS = {
    "indices": 1, "backprop": 1, "output_true": 1, "value_index": 1, "flow": 1, "lengths": 1, "batch_mean": 1,
    "batch_variance": 2, "cs": 1, "u": 1,
}  # fmt: skip
"""The number of a named output that is not its operator's first."""
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
    chosen = _signature(served[0], outputs, str(folder))
    try:
        graph, lost = _frozen(served[0].graph_def, chosen, folder / "variables")
    except (Unsupported, UnicodeDecodeError, DecodeError) as error:
        raise ModelError(str(error), where=str(folder)) from None
    asked = outputs or sorted(chosen.outputs)
    return Signature(
        graph,
        {info.name.partition(":")[0]: key for key, info in chosen.inputs.items()},
        {key: chosen.outputs[key].name for key in asked},
        lost,
    )


def _signature(graph: Message, outputs: Sequence[str] | None, where: str) -> Message:
    found = {key: value for key, value in graph.signature_def.items() if not key.startswith("__")}
    fitting = [key for key in sorted(found) if set(outputs or ()) <= set(found[key].outputs)]
    fitting.sort(key=lambda key: key != DEFAULT)
    if fitting and (outputs or DEFAULT in fitting or len(fitting) == 1):
        return found[fitting[0]]
    listed = "; ".join(
        f"{key}: {', '.join(sorted(found[key].inputs))} -> {', '.join(sorted(found[key].outputs))}"
        for key in sorted(found)
    )
    raise UsageError(
        f"no signature has these outputs, or several could be meant: {listed or 'there is none'}", where=where
    )


def _frozen(graph: Message, signature: Message, variables: Path) -> tuple[Message, dict[str, str]]:
    nodes, lost = _inlined(graph), dict[str, str]()
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


def _inlined(graph: Message) -> Message:
    """The graph with every call replaced: its arguments by Identities, its outputs by an IdentityN of its name."""
    functions = {function.signature.name: function for function in graph.library.function}
    result = messages()["GraphDef"]()
    pending: list[tuple[Message, tuple[str, ...]]] = [(node, ()) for node in reversed(graph.node)]
    while pending:
        node, callers = pending.pop()
        function = functions.get(node.attr["f"].func.name) if node.op in CALLS and "f" in node.attr else None
        if function is None:
            result.node.add().CopyFrom(node)
        else:
            name = function.signature.name
            if name in callers:
                raise Unsupported(f"function {name!r} calls itself")
            pending += [(inner, (*callers, name)) for inner in _body(node, function)]
        if len(result.node) + len(pending) > MOST_NODES:
            raise Unsupported(f"its functions have more than {MOST_NODES} nodes when they are inlined")
    return result


def _body(call: Message, function: Message) -> list[Message]:
    """The nodes that stand for a call, named under it."""
    make, arguments = messages()["NodeDef"], [argument.name for argument in function.signature.input_arg]
    given = [text for text in call.input if not text.startswith("^")]
    if len(given) != len(arguments):
        raise Unsupported(f"node {call.name!r} gives {len(given)} arguments, its function takes {len(arguments)}")
    nodes = [make(name=f"{call.name}/{a}", op="Identity", input=[g]) for a, g in zip(arguments, given, strict=True)]
    for inner in function.node_def:
        copy = make()
        copy.CopyFrom(inner)
        copy.name = f"{call.name}/{inner.name}"
        del copy.input[:]
        copy.input.extend(_renamed(call.name, text) for text in inner.input)
        nodes.append(copy)
    outputs = [_renamed(call.name, function.ret[a.name]) for a in function.signature.output_arg]
    nodes.append(make(name=call.name, op="IdentityN", input=outputs))
    return nodes


def _renamed(prefix: str, text: str) -> str:
    """`node:output:number` of a function as `node:number` of a graph."""
    if text.startswith("^"):
        return f"^{prefix}/{text[1:]}"
    name, *rest = text.split(":")
    number = int(rest[-1]) if rest and rest[-1].isdecimal() and len(rest[-1]) < 10 else 0
    return f"{prefix}/{name}:{number + (_OUTPUTS.get(rest[0], 0) if len(rest) > 1 else 0)}"
