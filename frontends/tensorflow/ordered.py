"""The nodes of a graph in an order in which inputs come first; what is not a graph at all is said here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.message import Message

from stepwell.frontends.tensorflow.node import Node, Port

SILENT = ("Const", "NoOp", "Assert", "Placeholder", "PlaceholderWithDefault", "SaveV2", "RestoreV2", "Print")
"""Operators that are no outputs of a network although nothing may read them."""


def port_of(text: str) -> Port:
    """Name and output number of `name`, `name:1`, or in a function's body `name:output:1`."""
    name, *rest = text.split(":")
    return name, int(rest[-1][:10]) if rest and rest[-1].isdecimal() else 0


def nodes_by_name(protos: Iterable[Message], reasons: list[str]) -> dict[str, Node]:
    """The nodes; nodes without a name or with a second one's add reasons."""
    nodes: dict[str, Node] = {}
    for position, proto in enumerate(protos):
        if not proto.name:
            reasons.append(f"node {position} ({proto.op or 'no operator'}) has no name")
        elif proto.name in nodes:
            reasons.append(f"two nodes are called {proto.name!r}")
        else:
            nodes[proto.name] = Node(proto, tuple(port_of(text) for text in proto.input if not text.startswith("^")))
    return nodes


def candidates(nodes: Mapping[str, Node]) -> list[str]:
    """Nodes that no other reads, in file order: what the outputs may be."""
    read = {name for node in nodes.values() for name, _ in node.inputs}
    return [name for name, node in nodes.items() if name not in read and node.op not in SILENT]


def ordered(nodes: Mapping[str, Node], outputs: Sequence[str], reasons: list[str]) -> list[Node]:
    """The nodes that `outputs` hang on, each after its inputs; a missing input or a cycle adds a reason, but for the cycle of a loop, from
    NextIteration to Merge. Nodes that nobody needs are left out."""
    done: set[str] = set()
    open_names: set[str] = set()
    order: list[Node] = []
    roots = list(outputs)
    for output in roots:
        stack = [output]
        while stack:
            name = stack[-1]
            if name in done:
                stack.pop()
                continue
            backward = _backward(nodes, nodes[name])
            roots += [*backward, *pivots(nodes, nodes[name])]
            wanted = [source for source, _ in nodes[name].inputs if source not in done and source not in backward]
            if name in open_names or not wanted:
                _close(nodes[name], wanted, reasons)
                open_names.discard(name)
                done.add(name)
                order.append(nodes[name])
                continue
            open_names.add(name)
            stack.extend(_known(nodes, name, wanted, open_names, reasons))
    return order


def pivots(nodes: Mapping[str, Node], node: Node) -> list[str]:
    """What says whether a node without inputs is in a branch that is taken: the Identity of a Switch that it is ordered behind."""
    if node.inputs:
        return []
    names = [text[1:] for text in node.proto.input if text.startswith("^")]
    return [name for name in names if _is_pivot(nodes, name)]


def _is_pivot(nodes: Mapping[str, Node], name: str) -> bool:
    switch = _source(nodes, nodes.get(name), "Identity", 0)
    predicate = _source(nodes, switch, "Switch", 1)
    return predicate is not None and predicate.op != "LoopCond"


def _source(nodes: Mapping[str, Node], node: Node | None, op: str, number: int) -> Node | None:
    """The node that an input of an `op` comes from; None where this is none, or lacks it."""
    if node is None or node.op != op or len(node.inputs) <= number:
        return None
    return nodes.get(node.inputs[number][0])


def _backward(nodes: Mapping[str, Node], node: Node) -> list[str]:
    """The inputs of a Merge that come from the iteration before."""
    sources = [source for source, _ in node.inputs if source in nodes] if node.op == "Merge" else []
    return [source for source in sources if nodes[source].op == "NextIteration"]


def _known(
    nodes: Mapping[str, Node], name: str, wanted: Sequence[str], open_names: set[str], reasons: list[str]
) -> list[str]:
    """What of `wanted` is there and not on the way already."""
    found = []
    for source in wanted:
        if source not in nodes:
            reasons.append(f"node {name!r} ({nodes[name].op}): input {source!r} is not in the graph")
        elif source in open_names:
            reasons.append(f"node {name!r} ({nodes[name].op}): it is part of a cycle through {source!r}")
        else:
            found.append(source)
    return found[::-1]


def _close(node: Node, wanted: Sequence[str], reasons: list[str]) -> None:
    """A node that is closed although something is missing had its reason already."""
    assert not wanted or reasons, f"{node.name} misses {wanted}"
