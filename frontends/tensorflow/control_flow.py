"""V1 control flow, recovered by following the values: a branch whose condition is known is chosen, any other becomes a graph.if; a short loop whose
conditions are known is unrolled, any other becomes a graph.loop (`loops.py`).

A value lives in an iteration of a frame (`Tag`), as in TensorFlow's executor: Enter takes it into iteration 0, NextIteration to the next one, Exit out
of the last. Switch makes the output that is not chosen dead, and what reads a dead value is dead, until a Merge takes the input that lives. By an unknown
condition both outputs live under a guard (`liveness.py`); what hangs on them is pure, so it stands before the graph.if, until `regions.py` moves it in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, converting
from stepwell.frontends.tensorflow.frames import Frames, Tag
from stepwell.frontends.tensorflow.liveness import Guards, Live, joined, together
from stepwell.frontends.tensorflow.loops import Loop, begin, finish, values_of_next
from stepwell.frontends.tensorflow.node import Node, Port
from stepwell.frontends.tensorflow.ordered import pivots
from stepwell.frontends.tensorflow.regions import erase
from stepwell.frontends.tensorflow.tensor_array import Item, tensor

Key = tuple[str, Tag]
Results = list[Live | None]
"""A node's outputs; None is a dead one."""

_FAILED: Results = []
"""Of a node that has a reason, or hangs on one that has."""
CONTROL = ("Enter", "Exit", "LoopCond", "Merge", "NextIteration", "Switch")
"""Operators that this module takes."""
UNROLLED = 32
"""A loop of at most so many iterations is unrolled."""
MOST_ITERATIONS = 256
"""A loop that no graph.loop expresses is unrolled up to so many."""
DEEPEST = 16
"""Most loops in each other."""
MOST_NODES = 20_000
"""Most nodes that are converted in all iterations together."""


class NodeUnsupported(Unsupported):
    """Unsupported, with the node."""

    def __init__(self, node: Node, text: str) -> None:
        super().__init__(text)
        self.node = node


class Skipped(NodeUnsupported):
    """What a node hangs on had its reason already."""


class TooLong(NodeUnsupported):
    """Nothing more is followed."""


class Unroller:
    """Evaluates nodes on demand. `convert` makes ops of a node without control flow, where `build` stands."""

    def __init__(
        self, frames: Frames, build: GraphBuilder, convert: Callable[[Node, Sequence[Item]], Sequence[Item]]
    ) -> None:
        self.frames, self.nodes, self.build, self._convert = frames, frames.nodes, build, convert
        self.values: dict[Key, Results] = {}
        self.failures: dict[str, NodeUnsupported] = {}
        self._constants: dict[str, Sequence[Item]] = {}
        self._reached: dict[tuple[str, Tag], int] = {}
        self._loops: dict[tuple[str, Tag], Loop] = {}
        self._only_unrolled: set[tuple[str, Tag]] = set()
        self._converted = 0
        self._blocks: dict[Tag, Block] = {(): build.block}

    def port(self, port: Port) -> Item:
        """The value of a port outside of all loops; Unsupported where it is dead or there is none."""
        stack: list[Key] = [(port[0], ())]
        waiting = set[Key]()
        while stack:
            key = stack[-1]
            if key in self.values:
                waiting.discard(stack.pop())
                continue
            try:
                missing = self._try(key)
            except NodeUnsupported as error:
                loop = self._abandoned(key[1])
                if loop is None:
                    self._fail(key, error)
                    continue
                stack = [entry for entry in stack if entry[1][: len(loop.inner)] not in (loop.inner, loop.next)]
                waiting &= set(stack)
                continue
            if missing:
                waiting.add(key)
            knots = [other for other in missing if other in waiting]
            for other in knots:
                self._fail(other, NodeUnsupported(self.nodes[other[0]], f"it waits for itself, through {key[0]!r}"))
            stack.extend(missing)
        value = self._at(self.nodes[port[0]], port, ())
        if value is None or value.guards:
            when = "that is not taken" if value is None else "that the network's inputs may not take"
            raise NodeUnsupported(self.nodes[port[0]], f"it is in a branch {when}")
        return value.item

    def _fail(self, key: Key, error: NodeUnsupported) -> None:
        """Go on without a node: each that fails is told once, what hangs on it is not."""
        if isinstance(error, TooLong):
            raise error
        self.values[key] = _FAILED
        if not isinstance(error, Skipped):
            self.failures.setdefault(error.node.name, error)

    def _try(self, key: Key) -> list[Key]:
        node = self.nodes[key[0]]
        self.build.node_name = node.name
        with self.build.into(self._block(key[1])):
            try:
                with converting():
                    return self._step(node, key[1])
            except NodeUnsupported:
                raise
            except (Unsupported, VerifyException) as error:
                raise NodeUnsupported(node, str(error)) from None

    def _block(self, tag: Tag) -> Block:
        """Where the ops of an iteration stand: in the body of the innermost graph.loop around it."""
        while tag not in self._blocks:
            tag = tag[:-1]
        return self._blocks[tag]

    def _step(self, node: Node, tag: Tag) -> list[Key]:
        """Evaluate a node, or say which values it waits for."""
        match node.op:
            case "Enter":
                return self._forward(node, tag, node.inputs[0], _outer(tag))
            case "Exit":
                return self._exit(node, tag)
            case "Merge":
                return self._merge(node, tag)
        behind = [(name, 0) for name in pivots(self.nodes, node)]
        wanted = [*node.inputs, *behind]
        if self.frames.is_variable(node):
            wanted = wanted[:1]
        missing = self._missing(wanted, tag)
        if missing:
            return missing
        inputs = [live for port in wanted if (live := self._at(node, port, tag)) is not None]
        guards = together(inputs)
        if len(inputs) < len(wanted) or guards is None:
            self.values[node.name, tag] = []
        else:
            self.values[node.name, tag] = self._results(node, inputs[: len(node.inputs)], guards)
        return []

    def _results(self, node: Node, inputs: Sequence[Live], when: Guards) -> Results:
        if node.op == "Switch":
            return self._switch(node, inputs)
        if node.op in CONTROL:
            return [Live(live.item, when) for live in inputs[:1]]
        if node.op != "Const":
            self._count(node)
            return [Live(item, when) for item in self._convert(node, [live.item for live in inputs])]
        if node.name not in self._constants:
            with self.build.into(self._blocks[()]):
                self._constants[node.name] = self._convert(node, [])
        return [Live(item, when) for item in self._constants[node.name]]

    def _count(self, node: Node) -> None:
        self._converted += 1
        if self._converted > MOST_NODES:
            raise TooLong(node, f"the unrolled loops have more than {MOST_NODES} nodes: it is one of them")

    def _switch(self, node: Node, inputs: Sequence[Live]) -> Results:
        if self.frames.is_variable(node):
            return [inputs[0], inputs[0]]
        if len(inputs) != 2:
            raise Unsupported(f"it has {len(inputs)} inputs, 2 are needed")
        condition = tensor(inputs[1].item)
        guards = together(inputs)
        assert guards is not None
        data = Live(inputs[0].item, guards)
        truth = self._truth(condition)
        if truth is None:
            return [data.only(condition, False), data.only(condition, True)]
        return [None, data] if truth else [data, None]

    def _truth(self, condition: SSAValue) -> bool | None:
        array = self.build.array(condition)
        return None if array is None else bool(array.reshape(-1)[0])

    def _merge(self, node: Node, tag: Tag) -> list[Key]:
        if self.frames.is_loop_merge(node):
            return self._loop_merge(node, tag)
        missing = self._missing(node.inputs, tag)
        if missing:
            return missing
        lives = [live for port in node.inputs if (live := self._at(node, port, tag)) is not None]
        if len(lives) > 2:
            raise Unsupported(f"it merges {len(lives)} values that may be there: at most two are taken")
        self.values[node.name, tag] = [joined(self.build, *lives)] if len(lives) == 2 else [*lives]
        return []

    def _loop_merge(self, node: Node, tag: Tag) -> list[Key]:
        start, following = self.frames.sources(node)
        if not tag:
            raise Unsupported("it is no loop's: a loop merges an Enter and a NextIteration")
        frame, iteration = tag[-1]
        if iteration == 0:
            return self._forward(node, tag, start, tag)
        if not isinstance(iteration, int):
            raise Unsupported("it is no variable of the loop that it is in")
        return self._forward(node, tag, following, (*tag[:-1], (frame, iteration - 1)))

    def _exit(self, node: Node, tag: Tag) -> list[Key]:
        """The loop's variable behind its last iteration."""
        switch, merge, frame = self.frames.left(node)
        if any(frame == outer for outer, _ in tag):
            raise Unsupported(f"its loop {frame!r} begins with what it leaves itself")
        if len(tag) >= DEEPEST:
            raise Unsupported(f"more than {DEEPEST} loops are in each other")
        loop = self._loops.get((frame, tag)) or self._counted(node, switch, frame, tag)
        if isinstance(loop, list):
            return loop
        if isinstance(loop, int):
            return self._forward(node, tag, (merge.name, 0), (*tag, (frame, loop)))
        if loop.results is None:
            try:
                missing = self._structure(loop)
            except Unsupported:
                if loop.count is None:
                    raise
                self._abandon(loop)
                return []
            if missing:
                return missing
        assert loop.results is not None
        self.values[node.name, tag] = [loop.results[merge.name]]
        return []

    def _counted(self, node: Node, switch: Node, frame: str, tag: Tag) -> int | Loop | list[Key]:
        """How often a loop runs that is unrolled, the graph.loop of any other, or what has to be known for that."""
        condition = switch.inputs[1]
        for iteration in range(self._reached.get((frame, tag), 0), MOST_ITERATIONS + 1):
            inner = (*tag, (frame, iteration))
            self._reached[frame, tag] = iteration
            missing = self._missing([condition], inner)
            if missing:
                return missing
            going = self._at(switch, condition, inner)
            truth = self._truth(tensor(going.item)) if going is not None else False
            if truth is None:
                return self._loop(frame, tag, iteration, condition, None)
            if not truth and (iteration <= UNROLLED or (frame, tag) in self._only_unrolled):
                return iteration
            if not truth:
                return self._loop(frame, tag, 0, condition, iteration)
        return self._loop(frame, tag, 0, condition, None)

    def _loop(self, frame: str, tag: Tag, start: int, condition: Port, count: int | None) -> Loop:
        if (frame, tag) in self._only_unrolled:
            raise Unsupported(f"its loop takes more than {MOST_ITERATIONS} iterations")
        loop = Loop(frame, tag, start, condition, count)
        self._loops[frame, tag] = loop
        return loop

    def _structure(self, loop: Loop) -> list[Key]:
        """Make the graph.loop, step by step: what it starts with, its body, the values of the next iteration and whether to go on."""
        merges = [(name, 0) for name in self.frames.merges[loop.frame]]
        first = loop.at(loop.start)
        missing = self._missing(merges, first)
        if missing:
            return missing
        if loop.block is None:
            given = {name: self._at(self.nodes[name], (name, 0), first) for name, _ in merges}
            begin(self.build, loop, given, self.frames)
            assert loop.block is not None
            self._blocks[loop.inner] = self._blocks[loop.next] = loop.block
            self.values.update({(name, loop.inner): [live] for name, live in loop.arguments.items()})
        following = {name: self.frames.sources(self.nodes[name])[1] for name in loop.carried}
        missing = self._missing(list(following.values()), loop.inner)
        if missing:
            return missing
        found = {name: self._at(self.nodes[name], port, loop.inner) for name, port in following.items()}
        self.values.update(
            {(name, loop.next): [live] for name, live in values_of_next(self.build, loop, found).items()}
        )
        if loop.count is None:
            missing = self._missing([loop.condition], loop.next)
            if missing:
                return missing
        conditions = (
            [self._at(self.nodes[loop.condition[0]], loop.condition, at) for at in (first, loop.next)]
            if loop.count is None
            else []
        )
        finish(self.build, loop, conditions)
        return []

    def _abandoned(self, tag: Tag) -> Loop | None:
        """The innermost graph.loop under way around a node that no graph.loop takes, given up, if its iterations are known: they are unrolled instead."""
        for depth in range(len(tag), 0, -1):
            loop = self._loops.get((tag[depth - 1][0], tag[: depth - 1]))
            if loop is not None and loop.count is not None and tag[depth - 1] in (loop.inner[-1], loop.next[-1]):
                self._abandon(loop)
                return loop
        return None

    def _abandon(self, loop: Loop) -> None:
        """Unroll a loop after all."""
        if loop.block is not None:
            erase(loop.block)
        self._only_unrolled.add((loop.frame, loop.outer))
        self._forget(loop)
        del self._loops[loop.frame, loop.outer]

    def _forget(self, loop: Loop) -> None:
        """All that was evaluated in the body of a graph.loop."""
        within, depth = (loop.inner, loop.next), len(loop.inner)
        self.values = {key: results for key, results in self.values.items() if key[1][:depth] not in within}
        self._blocks = {tag: block for tag, block in self._blocks.items() if tag[:depth] not in within}
        self._loops = {key: other for key, other in self._loops.items() if key[1][:depth] not in within}
        self._reached = {key: count for key, count in self._reached.items() if key[1][:depth] not in within}

    def _forward(self, node: Node, tag: Tag, port: Port, source: Tag) -> list[Key]:
        missing = self._missing([port], source)
        if not missing:
            self.values[node.name, tag] = [self._at(node, port, source)]
        return missing

    def _missing(self, ports: Sequence[Port], tag: Tag) -> list[Key]:
        return [(name, tag) for name, _ in ports if (name, tag) not in self.values]

    def _at(self, node: Node, port: Port, tag: Tag) -> Live | None:
        results = self.values[port[0], tag]
        if results is _FAILED:
            raise Skipped(node, f"{port[0]!r} is not there")
        if results and port[1] >= len(results):
            raise NodeUnsupported(node, f"{port[0]!r} has no output {port[1]}")
        return results[port[1]] if results else None


def _outer(tag: Tag) -> Tag:
    if not tag:
        raise Unsupported("it enters a loop that nothing leaves")
    return tag[:-1]
