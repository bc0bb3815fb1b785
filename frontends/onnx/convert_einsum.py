"""Converter: Einsum, as products of pairs from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node

Labelled = tuple[SSAValue, str]
"""A value and a letter for each of its dims, none twice."""
DOTS = "..."


def einsum(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Einsum: diagonals are gathered, dims that only one operand has are summed, then pairs are batched products."""
    values = [build.value(node, k) for k in range(len(node.inputs))]
    terms, result = _letters(node.text("equation", ""), [len(shape_of(value)) for value in values])
    operands = [_diagonal(build, value, term) for value, term in zip(values, terms, strict=True)]
    found = operands[0]
    for place, operand in enumerate(operands[1:], 1):
        later = "".join(term for _, term in operands[place + 1 :]) + result
        found = _product(build, found, operand, later)
    found = _summed(build, found, result)
    return [build.transpose(found[0], [found[1].index(letter) for letter in result])]


def _letters(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """A letter for each dim of each operand and of the result; the dims of an ellipsis get capital letters of their own."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise Unsupported(f"equation {equation!r} has {len(terms)} terms, and {len(ranks)} inputs are given")
    spans = [rank - len(term.replace(DOTS, "")) if DOTS in term else 0 for term, rank in zip(terms, ranks, strict=True)]
    free = [chr(code) for code in range(0x100, 0x100 + max([0, *spans]))]
    wide = [term.replace(DOTS, "".join(free[len(free) - span :])) for term, span in zip(terms, spans, strict=True)]
    plain = "".join(term.replace(DOTS, "") for term in terms)
    if not arrow:
        right = DOTS * bool(free) + "".join(sorted(letter for letter in set(plain) if plain.count(letter) == 1))
    result = right.replace(DOTS, "".join(free))
    bad = min(spans, default=0) < 0 or any(len(w) != rank for w, rank in zip(wide, ranks, strict=True))
    odd = [letter for letter in plain + right.replace(DOTS, "") if not (letter.isascii() and letter.isalpha())]
    if bad or odd or len(set(result)) < len(result) or not set(result) <= set("".join(wide)):
        raise Unsupported(f"equation {equation!r} does not fit inputs of ranks {list(ranks)}")
    return wide, result


def _diagonal(build: GraphBuilder, value: SSAValue, term: str) -> Labelled:
    """Dims of one letter become one: the elements where their positions are equal."""
    for letter in sorted(set(term)):
        while term.count(letter) > 1:
            first, second = term.index(letter), term.rindex(letter)
            shape = shape_of(value)
            if shape[first] != shape[second]:
                raise Unsupported(
                    f"dims {first} and {second} of {list(shape)} have one letter, {letter!r}, and must be equal"
                )
            rest = [d for d in range(len(shape)) if d not in (first, second)]
            moved = build.transpose(value, [first, second, *rest])
            places = np.repeat(np.arange(shape[first], dtype=np.int64)[:, None], 2, axis=1)
            value = build.emit(graph.GatherOp(moved, build.weight(build.part("diagonal"), places), dims=[0, 1]))
            term = letter + "".join(term[d] for d in rest)
    return value, term


def _summed(build: GraphBuilder, operand: Labelled, kept: str) -> Labelled:
    """Without the dims whose letters are not kept."""
    value, term = operand
    dims = [d for d, letter in enumerate(term) if letter not in kept]
    if not dims:
        return operand
    return build.emit(graph.ReduceOp(value, kind="sum", dims=dims)), "".join(x for x in term if x in kept)


def _product(build: GraphBuilder, a: Labelled, b: Labelled, later: str) -> Labelled:
    """The product of two: letters that both have are batches where they are needed later, and summed where not."""
    a, b = _summed(build, a, b[1] + later), _summed(build, b, a[1] + later)
    (left, m), (right, n) = a, b
    extents = _extents(a, b)
    batch = [letter for letter in m if letter in n and letter in later]
    inner = [letter for letter in m if letter in n and letter not in later]
    rows, columns = [x for x in m if x not in n], [x for x in n if x not in m]
    if build.element(left) != build.element(right):
        raise Unsupported(f"operands have element types {build.element(left)} and {build.element(right)}")

    def placed(value: SSAValue, term: str, letters: list[str], shape: list[int]) -> SSAValue:
        turned = build.transpose(value, [term.index(letter) for letter in letters])
        stretched = build.broadcast(
            turned,
            [
                extents[letter] if letter in m and letter in n else shape_of(turned)[k]
                for k, letter in enumerate(letters)
            ],
        )
        return build.reshape(stretched, shape)

    sizes = [prod(extents[letter] for letter in group) for group in (batch, rows, inner, columns)]
    x = placed(left, m, [*batch, *rows, *inner], [sizes[0], sizes[1], sizes[2]])
    y = placed(right, n, [*batch, *inner, *columns], [sizes[0], sizes[2], sizes[3]])
    if batch:
        made = build.emit(graph.MatmulOp(x, y))
    else:
        made = build.emit(graph.MatmulOp(build.reshape(x, sizes[1:3]), build.reshape(y, sizes[2:])))
    order = [*batch, *rows, *columns]
    return build.reshape(made, [extents[letter] for letter in order]), "".join(order)


def _extents(a: Labelled, b: Labelled) -> dict[str, int]:
    """The extent of each letter; where it is 1 in one operand, the other's."""
    found: dict[str, int] = {}
    for value, term in (a, b):
        for letter, extent in zip(term, shape_of(value), strict=True):
            known = found.get(letter, 1)
            if known not in (1, extent) and extent != 1:
                raise Unsupported(f"letter {letter!r} has extents {known} and {extent}: they must be equal")
            found[letter] = max(known, extent) if 0 not in (known, extent) else 0
    return found
