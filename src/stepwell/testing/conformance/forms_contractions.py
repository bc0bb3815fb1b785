"""Forms of MatMul, Gemm, Conv and the pools: widths stand at the contracted, the row and the column extent in turn; every attribute once."""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.testing.conformance.case import NodeSpec
from stepwell.testing.conformance.forms import Data, Form


def _matmul(name: str, left: str, right: str, weight: bool = True) -> Form:
    """Shapes are letters and digits: r rows, w width."""

    def make(data: Data, rows: int, width: int) -> NodeSpec:
        a, b = data.of(*_shape(left, rows, width)), data.of(*_shape(right, rows, width))
        return NodeSpec([a], [b]) if weight else NodeSpec([a, b])

    return Form(name, make)


def _shape(text: str, rows: int, width: int) -> tuple[int, ...]:
    return tuple({"r": rows, "w": width}.get(extent) or int(extent) for extent in text.split())


MATMUL = (
    _matmul("columns by width", "r 5", "5 w"),
    _matmul("depth by width", "r w", "w 5"),
    _matmul("rows by width", "w 5", "5 r"),
    _matmul("both inputs", "r w", "w 5", weight=False),
    _matmul("vector by matrix", "5", "5 w"),
    _matmul("matrix by vector", "w 5", "5"),
    _matmul("vectors", "w", "w", weight=False),
    _matmul("batch on the left", "2 r w", "w 5"),
    _matmul("batches", "2 r w", "2 w 5"),
    _matmul("rank 4 on the left", "2 3 r w", "w 5"),
    Form("no rows", lambda data, r, w: NodeSpec([data.of(0, 5)], [data.of(5, 4)]), fixed=True),
    Form("no depth", lambda data, r, w: NodeSpec([data.of(3, 0)], [data.of(0, 4)]), fixed=True),
)


def _gemm(name: str, addend: str = "", a: str = "r 5", b: str = "5 w", **attributes: object) -> Form:
    def make(data: Data, rows: int, width: int) -> NodeSpec:
        weights = [data.of(*_shape(b, rows, width))]
        if addend:
            weights.append(data.of(*_shape(addend.removeprefix("scalar"), rows, width)))
        return NodeSpec([data.of(*_shape(a, rows, width))], weights, attributes)

    return Form(name, make)


GEMM = (
    _gemm("no addend"),
    _gemm("row addend", "w"),
    _gemm("scalar addend", "scalar"),
    _gemm("one element", "1"),
    _gemm("column addend", "r 1"),
    _gemm("matrix addend", "r w"),
    _gemm("alpha", alpha=0.5),
    _gemm("alpha and beta", "w", alpha=0.5, beta=2.0),
    _gemm("beta 0", "w", beta=0.0),
    _gemm("transA", "w", a="5 r", transA=1),
    _gemm("transB", "w", b="w 5", transB=1),
    _gemm("both transposed", a="5 r", b="w 5", transA=1, transB=1),
    Form("inputs", lambda data, r, w: NodeSpec([data.of(r, 5), data.of(5, w), data.of(w)])),
)


def _conv(name: str, image: str, filter: str, bias: str = "", weight: bool = True, **attributes: object) -> Form:
    def make(data: Data, rows: int, width: int) -> NodeSpec:
        x, w = data.of(*_shape(image, rows, width)), data.of(*_shape(filter, rows, width))
        more = [data.of(*_shape(bias, rows, width))] if bias else []
        given = {**attributes, "group": width} if attributes.get("group") == "w" else attributes
        return NodeSpec([x], [w, *more], given) if weight else NodeSpec([x, w, *more], attributes=given)

    return Form(name, make)


CONV = (
    _conv("filters by width", "r 3 5 4", "w 3 3 3"),
    _conv("channels by width", "r w 5 4", "3 w 3 3"),
    _conv("pixels by width", "r 3 3 w", "5 3 1 1"),
    _conv("one filter", "r w 4 4", "1 w 1 1"),
    _conv("bias", "r 3 5 4", "w 3 3 3", "w"),
    _conv("one filter with bias", "r w 4 4", "1 w 1 1", "1"),
    _conv("filter is an input", "r 3 5 4", "w 3 3 3", "w", weight=False),
    _conv("pads", "r 3 5 4", "w 3 3 3", pads=[1, 0, 2, 1]),
    _conv("strides", "r 3 7 6", "w 3 3 3", strides=[2, 3]),
    _conv("dilations", "r 3 9 8", "w 3 3 3", dilations=[2, 3], kernel_shape=[3, 3]),
    _conv("group", "r 4 5 4", "6 2 3 3", group=2),
    _conv("depthwise", "r w 5 4", "w 1 3 3", group="w"),
    _conv("SAME_UPPER", "r 3 8 7", "w 3 4 3", auto_pad="SAME_UPPER", strides=[1, 2]),
    _conv("SAME_LOWER", "r 3 8 7", "w 3 4 3", auto_pad="SAME_LOWER", strides=[1, 2]),
    _conv("VALID", "r 3 8 7", "w 3 3 2", auto_pad="VALID", strides=[2, 2]),
    _conv("1-D", "r 3 9", "w 3 3", "w", pads=[1, 1]),
    _conv("1-D, group", "r 4 9", "4 1 3", group=4),
    _conv("3-D", "r 2 4 5 4", "w 2 2 3 2"),
    _conv("2-D, kernel 1 x 7", "r 3 5 9", "w 3 1 7", pads=[0, 3, 0, 3]),
)


def _pool(name: str, image: str, kernel: list[int], **attributes: object) -> Form:
    return Form(
        name, lambda data, r, w: NodeSpec([data.of(*_shape(image, r, w))], attributes={"kernel_shape": kernel, **attributes})
    )  # fmt: skip


def _pools(*more: Form) -> tuple[Form, ...]:
    """What both pools share."""
    return (
        _pool("channels by width", "r w 5 4", [2, 3]),
        _pool("pixels by width", "r 3 3 w", [2, 1]),
        _pool("strides", "r w 7 6", [3, 2], strides=[2, 2]),
        _pool("pads", "r w 5 4", [3, 3], pads=[1, 1, 1, 1]),
        _pool("uneven pads", "r w 7 6", [3, 2], strides=[2, 2], pads=[1, 0, 2, 1]),
        _pool("dilations", "r w 8 7", [3, 2], dilations=[2, 3]),
        _pool("ceil_mode", "r w 8 7", [3, 3], strides=[2, 2], ceil_mode=1),
        _pool("ceil_mode with pads", "r w 7 7", [3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        _pool("SAME_UPPER", "r w 7 6", [4, 2], auto_pad="SAME_UPPER"),
        _pool("SAME_LOWER", "r w 7 6", [4, 2], auto_pad="SAME_LOWER"),
        _pool("VALID", "r w 8 7", [3, 2], auto_pad="VALID", strides=[2, 2]),
        _pool("1-D", "r w 9", [3], strides=[2]),
        _pool("3-D", "r w 4 5 4", [2, 3, 2]),
        *more,
    )


def _global(*shape: str) -> tuple[Form, ...]:
    def form(name: str, image: str) -> Form:
        return Form(name, lambda data, r, w: NodeSpec([data.of(*_shape(image, r, w))]))

    return (form("2-D", "r w 5 3"), form("1-D", "r w 5"), form("3-D", "r w 3 2 3"), form("one pixel", "r w 1 1"))


CONTRACTIONS: Mapping[str, tuple[Form, ...]] = {
    "MatMul": MATMUL,
    "Gemm": GEMM,
    "Conv": CONV,
    "MaxPool": _pools(_pool("storage_order", "r w 5 4", [2, 3], storage_order=1)),
    "AveragePool": _pools(
        _pool("count_include_pad", "r w 5 4", [3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        _pool("count_include_pad with ceil_mode", "r w 7 7", [3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1),
    ),
    "GlobalAveragePool": _global(),
    "GlobalMaxPool": _global(),
}  # fmt: skip
