"""Functions put in place: calls become the nodes of their functions, and TensorFlow 2's If, Case and While the Switches, Merges and loops of V1, as TensorFlow itself
lowers them, so that one follower of control flow serves both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.message import Message

from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.tensorflow.schema import messages

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
BRANCHES = ("If", "StatelessIf")
CASES = ("Case", "StatelessCase")
LOOPS = ("While", "StatelessWhile")
FUNCTIONAL = (*CALLS, *BRANCHES, *CASES, *LOOPS)
MOST_NODES = 100_000
"""Most nodes after functions are put in place."""
_BOOL = 10
_INT32 = 3
_STATISTICS = ("y", "batch_mean", "batch_variance", *(f"reserve_space_{number}" for number in (1, 2, 3)))
_CELL = ("i", "cs", "f", "o", "ci", "co", "h")
_UNIQUE = ("y", "idx", "count")
_OUTPUTS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _STATISTICS),
    **dict.fromkeys(("BlockLSTM", "BlockLSTMV2", "LSTMBlockCell"), _CELL),
    **dict.fromkeys(("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2"), _UNIQUE),
    **dict.fromkeys(("SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"), ("loss", "backprop")),
    **dict.fromkeys(("TopK", "TopKV2"), ("values", "indices")),
    "GRUBlockCell": ("r", "u", "c", "h"),
    "ListDiff": ("out", "idx"),
    "LogMatrixDeterminant": ("sign", "log_abs_determinant"),
    "Lu": ("lu", "p"),
    "Merge": ("output", "value_index"),
    "NonMaxSuppressionV4": ("selected_indices", "valid_outputs"),
    "NonMaxSuppressionV5": ("selected_indices", "selected_scores", "valid_outputs"),
    "RaggedRange": ("rt_nested_splits", "rt_dense_values"),
    "Switch": ("output_false", "output_true"),
    "TensorArrayConcatV3": ("value", "lengths"),
    "TensorArrayV3": ("handle", "flow"),
    "TensorListPopBack": ("output_handle", "tensor"),
}
"""The outputs of operators that have more than one: in a function they are called by these names."""


def inlined(graph: Message, outputs: Sequence[str]) -> Message:
    """The part of a graph that tensors hang on, without functions: a call's arguments are Identities, its outputs an IdentityN of its name. Node names that are made
    here have a `|`, which no name of TensorFlow's has."""
    functions = {function.signature.name: function for function in graph.library.function if function.signature.name}
    if not any(node.op in FUNCTIONAL or node.op in functions for node in graph.node):
        return graph
    result = messages()["GraphDef"]()
    needed = _needed(graph, outputs)
    pending: list[tuple[Message, tuple[str, ...]]] = [
        (node, ()) for node in reversed(graph.node) if node.name in needed
    ]
    while pending:
        node, callers = pending.pop()
        made = list(_in_place(node, functions))
        for _, name in made:
            if name in callers:
                raise Unsupported(f"function {name!r} calls itself")
        if not made:
            result.node.add().CopyFrom(node)
        pending += [(inner, (*callers, name) if name else callers) for inner, name in reversed(made)]
        if len(result.node) + len(pending) > MOST_NODES:
            raise Unsupported(
                f"node {node.name!r} ({node.op}): the functions have more than {MOST_NODES} nodes when they are put in place"
            )
    return result


def _needed(graph: Message, outputs: Sequence[str]) -> set[str]:
    """The names of the nodes that outputs hang on; all where one of the outputs is not there."""
    inputs = {node.name: [_node_of(text) for text in node.input] for node in graph.node}
    pending = [_node_of(output) for output in outputs]
    if any(name not in inputs for name in pending):
        return set(inputs)
    found = set[str]()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += inputs.get(name, ())
    return found


def _node_of(text: str) -> str:
    return text.removeprefix("^").partition(":")[0]


def _in_place(node: Message, functions: Mapping[str, Message]) -> Iterator[tuple[Message, str]]:
    """The nodes that stand for one, each with the function that it is of; nothing for a node that stays."""
    if node.op in CALLS and node.attr["f"].func.name in functions:
        yield from _called(node, functions[node.attr["f"].func.name])
    elif node.op in functions:
        yield from _called(node, functions[node.op])
    elif node.op in BRANCHES:
        yield from _branch(node, functions)
    elif node.op in CASES:
        yield from _case(node, functions)
    elif node.op in LOOPS:
        yield from _loop(node, functions)


def _function(node: Message, functions: Mapping[str, Message], attribute: str) -> Message:
    name = node.attr[attribute].func.name if attribute in node.attr else ""
    if name not in functions:
        raise Unsupported(f"node {node.name!r} ({node.op}): its {attribute} {name!r} is no function of the graph")
    return functions[name]


def _node(name: str, op: str, inputs: Sequence[str]) -> Message:
    node = messages()["NodeDef"](name=name, op=op)
    node.input.extend(inputs)
    return node


def _split(node: Message) -> tuple[list[str], list[str]]:
    """Data inputs and control inputs."""
    return [text for text in node.input if not text.startswith("^")], [
        text for text in node.input if text.startswith("^")
    ]


def _called(call: Message, function: Message, given: Sequence[str] | None = None) -> Iterator[tuple[Message, str]]:
    """The nodes of a call, named under it. What has no input is ordered behind what the call is ordered behind: it runs in the same branch."""
    values, behind = _split(call)
    values = values if given is None else list(given)
    arguments = [argument.name for argument in function.signature.input_arg]
    if len(values) != len(arguments):
        raise Unsupported(f"node {call.name!r} gives {len(values)} arguments, its function takes {len(arguments)}")
    name = function.signature.name
    for argument, value in zip(arguments, values, strict=True):
        yield _node(f"{call.name}/{argument}", "Identity", [value]), name
    operators = {inner.name: inner.op for inner in function.node_def}
    for inner in function.node_def:
        copy = messages()["NodeDef"]()
        copy.CopyFrom(inner)
        copy.name = f"{call.name}/{inner.name}"
        del copy.input[:]
        copy.input.extend(_renamed(call.name, text, operators) for text in inner.input)
        if not _split(copy)[0]:
            copy.input.extend(behind)
        yield copy, name
    outputs = [_renamed(call.name, function.ret[output.name], operators) for output in function.signature.output_arg]
    yield _node(call.name, "IdentityN", [*outputs, *(() if outputs else behind)]), name


def _renamed(prefix: str, text: str, operators: Mapping[str, str]) -> str:
    """`node:output:number` of a function as `node:number` of a graph."""
    if text.startswith("^"):
        return f"^{prefix}/{text[1:]}"
    name, *rest = text.split(":")
    number = int(rest[-1]) if rest and rest[-1].isdecimal() and len(rest[-1]) < 10 else 0
    named = _OUTPUTS.get(operators.get(name, ""), ())
    first = named.index(rest[0]) if len(rest) > 1 and rest[0] in named else 0
    return f"{prefix}/{name}:{number + first}"


def _call(name: str, behind: Sequence[str]) -> Message:
    return _node(name, "PartitionedCall", [f"^{text}" for text in behind])


def _condition(node: Message, name: str, value: str) -> Iterator[tuple[Message, str]]:
    """A bool: where the condition has another type, whether it is not 0."""
    cast = _node(name, "Cast", [value])
    cast.attr["DstT"].type = _BOOL
    if "Tcond" in node.attr and node.attr["Tcond"].type != _BOOL:
        yield cast, ""
    else:
        yield _node(name, "Identity", [value]), ""


def _branch(node: Message, functions: Mapping[str, Message]) -> Iterator[tuple[Message, str]]:
    """If: a condition, then the arguments of both branches."""
    values, _ = _split(node)
    if not values:
        raise Unsupported(f"node {node.name!r} ({node.op}): it has no condition")
    sides = [_function(node, functions, f"{side}_branch") for side in ("else", "then")]
    yield from _condition(node, f"{node.name}|condition", values[0])
    yield from _chosen(node.name, f"{node.name}|condition", values[1:], sides)


def _chosen(
    name: str, condition: str, values: Sequence[str], sides: Sequence[Message]
) -> Iterator[tuple[Message, str]]:
    """The outputs of one of two functions, the second where a condition holds."""
    count = len(sides[0].signature.output_arg)
    if len(sides[1].signature.output_arg) != count:
        raise Unsupported(f"node {name!r}: its branches give {count} and {len(sides[1].signature.output_arg)} values")
    yield from _switched(name, condition, len(values), values)
    for number, side in enumerate(sides):
        given = [f"{name}|switch_{k}:{number}" for k in range(len(values))]
        yield from _called(_call(f"{name}|branch_{number}", [f"{name}|taken_{number}"]), side, given)
    yield from _merged(name, [f"{name}|branch_0", f"{name}|branch_1"], count)


def _switched(name: str, condition: str, count: int, values: Sequence[str]) -> Iterator[tuple[Message, str]]:
    for number in range(count):
        yield _node(f"{name}|switch_{number}", "Switch", [values[number], condition]), ""
    yield _node(f"{name}|choice", "Switch", [condition, condition]), ""
    for number in (0, 1):
        yield _node(f"{name}|taken_{number}", "Identity", [f"{name}|choice:{number}"]), ""


def _merged(name: str, sides: Sequence[str], count: int) -> Iterator[tuple[Message, str]]:
    for number in range(count):
        yield _node(f"{name}|merge_{number}", "Merge", [f"{side}:{number}" for side in sides]), ""
    yield _node(name, "IdentityN", [f"{name}|merge_{number}" for number in range(count)]), ""


def _case(node: Message, functions: Mapping[str, Message]) -> Iterator[tuple[Message, str]]:
    """Case: the number of a branch (the last one's for any other), then the arguments of all. Each branch but the last is one side of an If, whose other side has
    those behind it."""
    values, behind = _split(node)
    names = [entry.name for entry in node.attr["branches"].list.func] if "branches" in node.attr else []
    if not values or not names or any(name not in functions for name in names):
        raise Unsupported(f"node {node.name!r} ({node.op}): its branches {names} are no functions of the graph")
    counts = {len(functions[name].signature.output_arg) for name in names}
    if len(counts) != 1:
        raise Unsupported(f"node {node.name!r} ({node.op}): its branches give {sorted(counts)} values")
    index, *given = values
    prefix, stage = node.name, 0
    for stage, name in enumerate(names[:-1]):
        inner = f"{prefix}|other"
        yield _number(f"{prefix}|number", stage, behind), ""
        yield _node(f"{prefix}|condition", "Equal", [index, f"{prefix}|number"]), ""
        yield from _switched(prefix, f"{prefix}|condition", len(given) + 1, [*given, index])
        arguments = [f"{prefix}|switch_{k}:1" for k in range(len(given))]
        yield from _called(_call(f"{prefix}|branch", [f"{prefix}|taken_1"]), functions[name], arguments)
        yield from _merged(prefix, [inner, f"{prefix}|branch"], next(iter(counts)))
        behind, index = [f"^{prefix}|taken_0"], f"{prefix}|switch_{len(given)}"
        given = [f"{prefix}|switch_{k}" for k in range(len(given))]
        prefix = inner
    last = _node(prefix, "PartitionedCall", behind)
    yield from _called(last, functions[names[-1]], given)


def _number(name: str, value: int, behind: Sequence[str]) -> Message:
    node = _node(name, "Const", behind)
    tensor = node.attr["value"].tensor
    tensor.dtype = _INT32
    tensor.int_val.append(value)
    return node


def _loop(node: Message, functions: Mapping[str, Message]) -> Iterator[tuple[Message, str]]:
    """While: the variables; a condition of them, and a body from them to the next ones."""
    values, _ = _split(node)
    going, body = (_function(node, functions, attribute) for attribute in ("cond", "body"))
    name, count = node.name, len(values)
    if len(going.signature.output_arg) != 1 or len(body.signature.output_arg) != count:
        raise Unsupported(f"node {name!r} ({node.op}): its body and condition do not fit its {count} variables")
    for number, value in enumerate(values):
        enter = _node(f"{name}|enter_{number}", "Enter", [value])
        enter.attr["frame_name"].s = name.encode()
        yield enter, ""
        yield _node(f"{name}|merge_{number}", "Merge", [f"{name}|enter_{number}", f"{name}|next_{number}"]), ""
        yield _node(f"{name}|switch_{number}", "Switch", [f"{name}|merge_{number}", f"{name}|going"]), ""
        yield _node(f"{name}|next_{number}", "NextIteration", [f"{name}|body:{number}"]), ""
        yield _node(f"{name}|exit_{number}", "Exit", [f"{name}|switch_{number}"]), ""
    yield from _called(_call(f"{name}|cond", []), going, [f"{name}|merge_{number}" for number in range(count)])
    yield _node(f"{name}|going", "LoopCond", [f"{name}|cond"]), ""
    yield from _called(_call(f"{name}|body", []), body, [f"{name}|switch_{number}:1" for number in range(count)])
    yield _node(name, "IdentityN", [f"{name}|exit_{number}" for number in range(count)]), ""
