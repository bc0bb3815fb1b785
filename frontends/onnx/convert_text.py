"""Converters: TfIdfVectorizer over integers, StringNormalizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

import numpy as np
from xdsl.dialects.builtin import f32, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node, held


def string_normalizer(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """StringNormalizer: words without the stop words, in one case. Its locale decides nothing: case is that of Unicode."""
    node.ignore("locale")
    to = {"NONE": None, "LOWER": "lower", "UPPER": "upper"}
    action = node.text("case_change_action", "NONE")
    if action not in to:
        raise Unsupported(f"case_change_action {action!r} is none of {', '.join(to)}")
    words = [_decoded(entry) for entry in node.value("stopwords")] if node.has("stopwords") else []
    any_case = not node.integer("is_case_sensitive", 0)
    x = build.value(node, 0)
    return build.counted(
        graph.NormalizeTextOp(x, without=words, to=to[action], any_case=any_case, symbol=build.symbol())
    )


def _decoded(word: bytes | str) -> str:
    try:
        return word if isinstance(word, str) else word.decode()
    except UnicodeDecodeError:
        raise Unsupported(f"the stop word {word!r} is no text in UTF-8") from None


def tf_idf_vectorizer(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """TfIdfVectorizer: how often each n-gram of the pool stands in a row, with up to `max_skip_count` elements between its parts; weighed."""
    if node.has("pool_strings"):
        raise Unsupported("strings have no device type: number the words before the network")
    x = build.value(node, 0)
    shape = shape_of(x)
    rows = build.reshape(build.cast(x, i64), [1, *shape]) if len(shape) == 1 else build.cast(x, i64)
    least, most, skips = (node.integer(name, 1) for name in ("min_gram_length", "max_gram_length", "max_skip_count"))
    mode, indexes = node.text("mode", "TF"), node.integers("ngram_indexes", ())
    grams = _pool(node.integers("pool_int64s", ()), node.integers("ngram_counts", ()))
    if (
        mode not in ("TF", "IDF", "TFIDF")
        or len(grams) != len(indexes)
        or min(indexes, default=-1) < 0
        or len(shape_of(rows)) != 2
    ):
        raise Unsupported(
            f"mode {mode!r}, {len(grams)} n-grams, {len(indexes)} ngram_indexes for an operand {list(shape)}"
        )
    hits = [build.zeros(build.cast(rows, f32), [shape_of(rows)[0], 0])]
    order: list[int] = []
    for length in range(least, most + 1):
        members = [k for k, gram in enumerate(grams) if len(gram) == length]
        if members:
            wanted = np.array([grams[k] for k in members], np.int64)
            gaps = range(1, 2 if length == 1 else skips + 2)
            hits.append(reduce(partial(build.binary, "add"), [_hits(build, rows, wanted, gap) for gap in gaps]))
            order += members
    weights = list(node.value("weights")) if node.has("weights") else [1.0] * len(grams)
    if len(weights) != len(grams):
        raise Unsupported(f"{len(weights)} weights for {len(grams)} n-grams")
    found = build.joined(hits, 1)
    if mode == "IDF":
        found = build.binary("min", found, build.number(1, found))
    held(len(order) * (max(indexes) + 1), "a table of n-grams and columns")
    factors = np.zeros((len(order), max(indexes) + 1), np.float32)
    factors[np.arange(len(order)), [indexes[k] for k in order]] = 1
    if mode != "TF":
        factors = factors * np.array([weights[k] for k in order], np.float32)[:, None]
    made = build.emit(graph.MatmulOp(found, build.literal(factors)))
    return [build.reshape(made, shape_of(made)[1:]) if len(shape) == 1 else made]


def _pool(values: Sequence[int], starts: Sequence[int]) -> list[tuple[int, ...]]:
    """The n-grams in order: those of one element first, beginning where `starts` says."""
    found = []
    for length, begin in enumerate(starts, 1):
        end = starts[length] if length < len(starts) else len(values)
        if not 0 <= begin <= end <= len(values) or (end - begin) % length:
            raise Unsupported(f"ngram_counts {list(starts)} do not divide a pool of {len(values)}")
        found += [tuple(values[k : k + length]) for k in range(begin, end, length)]
    if len(set(found)) < len(found):
        raise Unsupported("an n-gram stands twice in the pool")
    return found


def _hits(build: GraphBuilder, rows: SSAValue, wanted: Array, gap: int) -> SSAValue:
    """How often each of some n-grams of one length stands in each row, its parts `gap` apart."""
    batch, width = shape_of(rows)
    count, length = wanted.shape
    starts = max(0, width - (length - 1) * gap)
    shape = [batch, starts, count]
    held(batch * starts * count, "comparisons with n-grams")
    if not starts:
        return build.zeros(build.cast(rows, f32), [batch, count])
    same = []
    for part in range(length):
        cut = build.cut(rows, 1, part * gap, part * gap + starts)
        here = build.emit(graph.BroadcastOp(cut, dims=[0, 1], shape=shape))
        there = build.emit(graph.BroadcastOp(build.literal(wanted[:, part]), dims=[2], shape=shape))
        same.append(build.emit(graph.CompareOp(here, there, kind="eq")))
    every = reduce(partial(build.binary, "and"), same)
    return build.emit(graph.ReduceOp(build.cast(every, f32), kind="sum", dims=[1]))
