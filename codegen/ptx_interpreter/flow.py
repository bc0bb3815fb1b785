"""The order in which threads that went different ways are run, so that they meet again as early as they can.

Basic blocks are ordered topologically, the blocks of a loop side by side: its header first, everything behind the loop later. Running the threads that are
furthest back makes those that left a loop early, or took the short side of a branch, wait where the ways join.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stepwell.codegen.ptx_interpreter.syntax import Instruction, Target

Graph = Mapping[int, Sequence[int]]
BRANCHES = ("bra", "bra.uni")
EXITS = ("ret", "exit")


def leaders(instructions: Sequence[Instruction]) -> list[int]:
    """The first instructions of basic blocks."""
    found = {0}
    for index, instruction in enumerate(instructions):
        found |= {operand.index for operand in instruction.operands if isinstance(operand, Target)}
        if instruction.name in (*BRANCHES, *EXITS):
            found.add(index + 1)
    return sorted(index for index in found if index < len(instructions))


def order(instructions: Sequence[Instruction]) -> list[int]:
    """For each instruction the rank of its basic block; smaller runs first."""
    first = leaders(instructions)
    graph = {begin: _successors(instructions, begin, end) for begin, end in _spans(first, len(instructions))}
    rank = {begin: number for number, begin in enumerate(_arrange(set(first), 0, graph))}
    result = []
    for begin, end in _spans(first, len(instructions)):
        result += [rank[begin]] * (end - begin)
    return result


def _spans(first: Sequence[int], count: int) -> list[tuple[int, int]]:
    return list(zip(first, [*first[1:], count], strict=True))


def _successors(instructions: Sequence[Instruction], begin: int, end: int) -> list[int]:
    last = instructions[end - 1]
    following = [end] if end < len(instructions) else []
    if last.name in BRANCHES:
        targets = [operand.index for operand in last.operands if isinstance(operand, Target)]
        return targets if last.guard is None else targets + following
    return [] if last.name in EXITS and last.guard is None else following


def _arrange(nodes: set[int], entry: int, graph: Graph) -> list[int]:
    """`nodes` so that every loop is one run of them; edges back to `entry` are left out."""
    inner = {node: [s for s in graph[node] if s in nodes and s != entry] for node in nodes}
    arranged: list[int] = []
    for component in _components(inner):
        if len(component) == 1:
            arranged += component
            continue
        start = _header(component, nodes, graph, entry)
        arranged += _arrange(set(component), start, graph)
    return arranged


def _header(component: Sequence[int], nodes: Iterable[int], graph: Graph, entry: int) -> int:
    """Where a loop is entered: the first of its blocks that others lead to."""
    inside = set(component)
    entered = [s for node in nodes if node not in inside for s in graph[node] if s in inside]
    return min(entered or [entry if entry in inside else min(component)])


def _components(graph: Graph) -> list[list[int]]:
    """Strongly connected components in topological order (Tarjan, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    found: list[list[int]] = []
    for root in graph:
        work = [(root, iter(graph[root]))] if root not in index else []
        if work:
            index[root] = low[root] = len(index)
            stack.append(root)
        while work:
            node, successors = work[-1]
            child = next(successors, None)
            if child is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    at = stack.index(node)
                    found.append(stack[at:])
                    del stack[at:]
            elif child not in index:
                index[child] = low[child] = len(index)
                stack.append(child)
                work.append((child, iter(graph[child])))
            elif child in stack:
                low[node] = min(low[node], index[child])
    return found[::-1]
