"""V1 control flow whose conditions are known while importing: branches are chosen and loops are unrolled by following the values.

A value lives in an iteration of a frame (`Tag`), as in TensorFlow's executor: Enter takes it into iteration 0, NextIteration to the next one, Exit out
of the last. Where a condition is computed from the network's inputs, the graph is refused. Switch makes the output that is not chosen dead, and what reads
a dead value is dead, until a Merge takes the input that lives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stepwell.frontends.emitter import Unsupported, converting
from stepwell.frontends.tensorflow.node import Node, Port
from stepwell.frontends.tensorflow.ordered import pivots
from stepwell.frontends.tensorflow.tensor_array import Item

Tag = tuple[tuple[str, int], ...]
"""Frames with iteration numbers, from the outermost."""
Key = tuple[str, Tag]
Results = list[Item | None]
"""A node's outputs; None is a dead one."""

CONTROL = ("Enter", "Exit", "LoopCond", "Merge", "NextIteration", "Switch")
"""Operators that this module takes."""
MOST_ITERATIONS = 1024
MOST_STEPS = 400_000
"""Most nodes that are evaluated in all iterations together."""


class NodeUnsupported(Unsupported):
    """Unsupported, with the node."""

    def __init__(self, node: Node, text: str) -> None:
        super().__init__(text)
        self.node = node


class Unroller:
    """Evaluates nodes on demand. `convert` makes ops of a node without control flow; `condition` gives a value's truth, None where it is not known."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        convert: Callable[[Node, Sequence[Item]], Sequence[Item]],
        condition: Callable[[Item], bool | None],
    ) -> None:
        self.nodes, self._convert, self._condition = nodes, convert, condition
        self.values: dict[Key, Results] = {}
        self._constants: dict[str, Results] = {}
        self._reached: dict[tuple[str, Tag], int] = {}
        self._merges: dict[str, list[str]] = {}
        for node in nodes.values():
            if node.op == "Merge" and (frame := self._frame(node)):
                self._merges.setdefault(frame, []).append(node.name)

    def port(self, port: Port) -> Item:
        """The value of a port outside of all loops; Unsupported where it is dead or there is none."""
        stack: list[Key] = [(port[0], ())]
        steps = 0
        while stack:
            key = stack[-1]
            steps += 1
            if steps > MOST_STEPS:
                raise NodeUnsupported(self.nodes[port[0]], f"its loops take more than {MOST_STEPS} steps to unroll")
            if key in self.values:
                stack.pop()
                continue
            missing = self._try(key)
            stack.extend(missing)
        value = self._at(self.nodes[port[0]], port, ())
        if value is None:
            raise NodeUnsupported(self.nodes[port[0]], "it is in a branch that is not taken")
        return value

    def _try(self, key: Key) -> list[Key]:
        node = self.nodes[key[0]]
        try:
            with converting():
                return self._step(node, key[1])
        except NodeUnsupported:
            raise
        except Unsupported as error:
            raise NodeUnsupported(node, str(error)) from None

    def _step(self, node: Node, tag: Tag) -> list[Key]:
        """Evaluate a node, or say which values it waits for."""
        match node.op:
            case "Enter":
                return self._forward(node, tag, node.inputs[0], self._outer(tag))
            case "Exit":
                return self._exit(node, tag)
            case "Merge":
                return self._merge(node, tag)
        behind = [(name, 0) for name in pivots(self.nodes, node)]
        missing = self._missing([*node.inputs, *behind], tag)
        if missing:
            return missing
        inputs = [self._at(node, port, tag) for port in node.inputs]
        if any(self._at(node, port, tag) is None for port in behind):
            inputs.append(None)
        self.values[node.name, tag] = self._results(node, inputs)
        return []

    def _results(self, node: Node, inputs: Sequence[Item | None]) -> Results:
        if node.op == "Switch":
            return self._switch(node, inputs)
        live = [item for item in inputs if item is not None]
        if len(live) < len(inputs):
            return []
        if node.op in CONTROL:
            return [live[0]] if live else []
        if node.op != "Const":
            return list(self._convert(node, live))
        if node.name not in self._constants:
            self._constants[node.name] = list(self._convert(node, live))
        return self._constants[node.name]

    def _switch(self, node: Node, inputs: Sequence[Item | None]) -> Results:
        data, predicate = inputs[0], inputs[1]
        if self.nodes[node.inputs[1][0]].op == "LoopCond":
            return [data, data]
        if data is None or predicate is None:
            return [None, None]
        return [None, data] if self._known(node, predicate) else [data, None]

    def _known(self, node: Node, predicate: Item) -> bool:
        truth = self._condition(predicate)
        if truth is None:
            raise NodeUnsupported(
                node,
                "its condition is computed from the network's inputs: only conditions that are known while importing are taken",
            )
        return truth

    def _merge(self, node: Node, tag: Tag) -> list[Key]:
        nexts = [port for port in node.inputs if self.nodes[port[0]].op == "NextIteration"]
        if nexts:
            others = [port for port in node.inputs if port not in nexts]
            if not tag or len(nexts) != 1 or len(others) != 1:
                raise Unsupported("it is no loop's: a loop merges an Enter and a NextIteration")
            frame, iteration = tag[-1]
            if iteration == 0:
                return self._forward(node, tag, others[0], tag)
            return self._forward(node, tag, nexts[0], (*tag[:-1], (frame, iteration - 1)))
        missing = self._missing(node.inputs, tag)
        if missing:
            return missing
        inputs = [self._at(node, port, tag) for port in node.inputs]
        self.values[node.name, tag] = [next((item for item in inputs if item is not None), None)]
        return []

    def _exit(self, node: Node, tag: Tag) -> list[Key]:
        """Go through the iterations until the condition is false."""
        switch = self.nodes[node.inputs[0][0]]
        merge = self.nodes[switch.inputs[0][0]] if switch.op == "Switch" and len(switch.inputs) == 2 else switch
        frame = self._frame(merge)
        if not frame or self.nodes[switch.inputs[1][0]].op != "LoopCond":
            raise Unsupported("it leaves no loop: an Exit reads a Switch of a Merge by the loop's LoopCond")
        for iteration in range(self._reached.get((frame, tag), 0), MOST_ITERATIONS + 1):
            inner = (*tag, (frame, iteration))
            self._reached[frame, tag] = iteration
            missing = self._missing([(switch.inputs[1][0], 0)], inner)
            if missing:
                return missing
            truth = self._at(switch, switch.inputs[1], inner)
            if truth is None or not self._known(switch, truth):
                return self._forward(node, tag, (merge.name, 0), inner)
            following = (*tag, (frame, iteration + 1))
            missing = self._missing([(name, 0) for name in self._merges[frame]], following)
            if missing:
                return missing
        raise Unsupported(f"its loop takes more than {MOST_ITERATIONS} iterations")

    def _frame(self, merge: Node) -> str:
        """The frame whose variable a Merge is; nothing for the Merge of a branch."""
        if merge.op != "Merge" or not any(self._op(port) == "NextIteration" for port in merge.inputs):
            return ""
        enters = [self.nodes[name] for name, _ in merge.inputs if self._op((name, 0)) == "Enter"]
        return enters[0].word("frame_name") if enters else ""

    def _op(self, port: Port) -> str:
        return self.nodes[port[0]].op if port[0] in self.nodes else ""

    def _outer(self, tag: Tag) -> Tag:
        if not tag:
            raise Unsupported("it enters a loop that nothing leaves")
        return tag[:-1]

    def _forward(self, node: Node, tag: Tag, port: Port, source: Tag) -> list[Key]:
        missing = self._missing([port], source)
        if not missing:
            self.values[node.name, tag] = [self._at(node, port, source)]
        return missing

    def _missing(self, ports: Sequence[Port], tag: Tag) -> list[Key]:
        return [(name, tag) for name, _ in ports if (name, tag) not in self.values]

    def _at(self, node: Node, port: Port, tag: Tag) -> Item | None:
        results = self.values[port[0], tag]
        if results and port[1] >= len(results):
            raise NodeUnsupported(node, f"{port[0]!r} has no output {port[1]}")
        return results[port[1]] if results else None
