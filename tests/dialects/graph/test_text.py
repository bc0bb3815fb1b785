"""Text: its type, and the op that normalises words."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, f32
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.dialects.strings import as_text, string


def words(*entries: str) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    return np.array([*entries, None], object)[:-1]


@pytest.mark.parametrize(
    "given, without, to, any_case, left",
    [
        (["Monday", "MONDAY", "b"], ["monday"], None, False, ["Monday", "MONDAY", "b"]),
        (["Monday", "MONDAY", "b"], ["monday"], "upper", True, ["B"]),
        (["Monday"], ["Monday"], "upper", False, [""]),
        ([], [], None, False, [""]),
        (["ÄÖ", "straße"], ["STRASSE"], "lower", True, ["äö"]),
    ],
)
def test_words(given: list[str], without: list[str], to: str | None, any_case: bool, left: list[str]) -> None:
    for shape in ((len(given),), (1, len(given))):
        operand = create_ssa_value(TensorType(string, shape))
        op = graph.NormalizeTextOp(operand, without=without, to=to, any_case=any_case, symbol="n")
        op.verify()
        (made,) = run_graph_op(op, [words(*given).reshape(shape)])
        assert made.tolist() == (left if len(shape) == 1 else [left]) and made.dtype == object


@pytest.mark.parametrize(
    "element, shape, to, reason",
    [
        (f32, (4,), None, "the operand needs !graph.string elements, not f32"),
        (string, (2, 3), None, r"words lie in \[C\] or \[1, C\]"),
        (string, (), None, r"words lie in \[C\] or \[1, C\]"),
        (string, (4,), "title", '"title" is no case: lower or upper'),
    ],
)
def test_refused(element: graph.StringType, shape: tuple[int, ...], to: str | None, reason: str) -> None:
    with pytest.raises(VerifyException, match=reason):
        graph.NormalizeTextOp(create_ssa_value(TensorType(element, shape)), without=[], to=to, symbol="n")


def test_no_other_op_takes_text() -> None:
    text = create_ssa_value(TensorType(string, [4]))
    with pytest.raises(VerifyException, match="elements must be one of"):
        graph.ReshapeOp(text, shape=[2, 2])


def test_arrays_of_text() -> None:
    assert as_text(np.array([b"a", b"\xc3\xa4"])).tolist() == ["a", "ä"]  # type: ignore[union-attr]
    assert as_text(np.array([["a"], ["bc"]])).tolist() == [["a"], ["bc"]]  # type: ignore[union-attr]
    assert (
        as_text(np.array([b"\xff"])) is None
        and as_text(np.array([1, "a"], object)) is None
        and as_text(np.zeros(2)) is None
    )
