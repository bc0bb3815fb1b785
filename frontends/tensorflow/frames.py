"""Which nodes make a V1 loop: its frame, its variables, what they start with and go on with."""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.tensorflow.node import Node, Port

Step = int | str
"""An iteration by its number; in a graph.loop "body", and "next" for the values that its body ends with."""
Tag = tuple[tuple[str, Step], ...]
"""Frames with iterations, from the outermost."""


class Frames:
    """The loops of a graph by the names of their frames."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self.nodes = nodes
        self.merges: dict[str, list[str]] = {}
        for node in nodes.values():
            if frame := self._frame(node):
                self.merges.setdefault(frame, []).append(node.name)

    def is_loop_merge(self, node: Node) -> bool:
        """Whether a Merge takes a value of the iteration before."""
        return any(self._op(port) == "NextIteration" for port in node.inputs)

    def is_variable(self, node: Node) -> bool:
        """Whether a Switch is a loop's: its condition is the loop's own."""
        return node.op == "Switch" and len(node.inputs) == 2 and self._op(node.inputs[1]) == "LoopCond"

    def sources(self, merge: Node) -> tuple[Port, Port]:
        """What a loop's Merge takes in the first iteration, and in those behind it."""
        following = [port for port in merge.inputs if self._op(port) == "NextIteration"]
        first = [port for port in merge.inputs if port not in following]
        if len(following) != 1 or len(first) != 1:
            raise Unsupported("it is no loop's: a loop merges an Enter and a NextIteration")
        return first[0], following[0]

    def left(self, exit: Node) -> tuple[Node, Node, str]:
        """The Switch and the Merge of the variable that an Exit gives, and their frame."""
        switch = self.nodes[exit.inputs[0][0]] if exit.inputs else exit
        if self.is_variable(switch):
            merge = self.nodes[switch.inputs[0][0]]
            if frame := self._frame(merge):
                return switch, merge, frame
        raise Unsupported("it leaves no loop: an Exit reads a Switch of a Merge by the loop's LoopCond")

    def is_constant(self, merge: Node) -> bool:
        """Whether each iteration hands the variable on as it is."""
        port = self.sources(merge)[1]
        seen = set[str]()
        while port[0] not in seen and self._op(port) in ("NextIteration", "Identity", "IdentityN", "Switch"):
            seen.add(port[0])
            node = self.nodes[port[0]]
            number = port[1] if node.op == "IdentityN" else 0
            if number >= len(node.inputs) or (node.op == "Switch" and not self.is_variable(node)):
                return False
            port = node.inputs[number]
        return port[0] == merge.name

    def _frame(self, merge: Node) -> str:
        if merge.op != "Merge" or not self.is_loop_merge(merge):
            return ""
        enters = [self.nodes[name] for name, _ in merge.inputs if self._op((name, 0)) == "Enter"]
        try:
            return enters[0].word("frame_name") if enters else ""
        except Unsupported as error:
            raise Unsupported(f"node {enters[0].name!r} (Enter): {error}") from None

    def _op(self, port: Port) -> str:
        return self.nodes[port[0]].op if port[0] in self.nodes else ""
