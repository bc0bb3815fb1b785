"""Layers of order and position: scans, reversal, scatter, one-hot, sampling at points, regions, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import i64

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor, axes_in, axis_in, element_named, one_of

COMBINES = {"NONE": "none", "ADD": "add", "MUL": "mul", "MAX": "max", "MIN": "min"}
OUTSIDE = {"FILL": "zeros", "CLAMP": "border", "REFLECT": "reflect"}
MODES = {"NEAREST": "nearest", "LINEAR": "linear", "CUBIC": "cubic"}
POOLED = {"AVERAGE": "align_average", "MAX": "align_max"}


class OrderLayers(NetworkCore):
    """Axes include the batch."""

    def add_cumulative(
        self, input: Tensor, kind: str, axis: int, *, exclusive: bool = False, reverse: bool = False, name: str = ""
    ) -> Tensor:
        """SUM, PROD, MAX or MIN of all elements up to each one of an axis; `exclusive` leaves the element itself out, `reverse` begins at the end."""
        with self._layer("cumulative", name, input) as build:
            kinds = {"SUM": "sum", "PROD": "product", "MAX": "max", "MIN": "min"}
            word, dim = one_of("kind", kind, tuple(kinds)), axis_in(axis, len(input.shape))
            op = graph.CumulativeOp(input.value, kind=kinds[word], dim=dim, exclusive=exclusive, reverse=reverse)
            return self._result(build.emit(op))

    def add_reverse(self, input: Tensor, axes: int | Sequence[int], *, name: str = "") -> Tensor:
        """The elements of each of these axes from the last to the first."""
        with self._layer("reverse", name, input) as build:
            dims = axes_in(axes, len(input.shape))
            return self._result(build.emit(graph.ReverseOp(input.value, dims=list(dims))))

    def add_scatter(
        self, data: Tensor, indices: Tensor, updates: Tensor, *, combine: str = "NONE", name: str = ""
    ) -> Tensor:
        """`data` with `updates` put at positions: the last dim of `indices` [.., n] names an index in each of the first n dims, `updates` are [.., the other dims]. With
        NONE the last of several updates stays; ADD, MUL, MAX and MIN combine with what is there. An index outside drops its update."""
        with self._layer("scatter", name, data, indices, updates) as build:
            word = one_of("combine", combine, tuple(COMBINES))
            if not indices.shape or not 1 <= indices.shape[-1] <= len(data.shape):
                raise Unsupported(f"indices {list(indices.shape)} name no dims of {list(data.shape)}")
            op = graph.ScatterOp(
                data.value,
                indices.value,
                updates.value,
                dims=list(range(indices.shape[-1])),
                combine=COMBINES[word],
            )
            return self._result(build.emit(op))

    def add_one_hot(
        self,
        indices: Tensor,
        depth: int,
        *,
        axis: int = -1,
        on: float = 1.0,
        off: float = 0.0,
        dtype: Any = "f32",
        name: str = "",
    ) -> Tensor:
        """`on` at each index of a new axis of `depth`, `off` elsewhere; an index outside gives `off` only."""
        with self._layer("one_hot", name, indices) as build:
            rank, element = len(indices.shape) + 1, element_named(dtype)
            dim = axis_in(axis, rank)
            if depth < 0:
                raise Unsupported(f"depth {depth} is negative")
            shape = [*indices.shape[:dim], depth, *indices.shape[dim:]]
            kept = [d for d in range(rank) if d != dim]
            held = build.emit(graph.BroadcastOp(build.cast(indices.value, i64), dims=kept, shape=shape))
            hit = build.compare("eq", held, build.emit(graph.IotaOp(i64, shape, dim=dim)))
            chosen, other = (build.number_of(value, element, hit) for value in (on, off))
            return self._result(build.select(hit, chosen, other))

    def add_grid_sample(
        self,
        input: Tensor,
        grid: Tensor,
        *,
        mode: str = "LINEAR",
        outside: str = "FILL",
        align_corners: bool = False,
        name: str = "",
    ) -> Tensor:
        """Values of [N, C, *] at the points of a grid [N, *, d], whose coordinates run from -1 to 1 over the input, the last dim's first; FILL takes zeros outside, CLAMP the border,
        REFLECT the mirror image."""
        with self._layer("grid_sample", name, input, grid) as build:
            kind, edge = one_of("mode", mode, tuple(MODES)), one_of("outside", outside, tuple(OUTSIDE))
            op = graph.SampleOp(
                input.value, grid.value, mode=MODES[kind], outside=OUTSIDE[edge], align_corners=align_corners
            )
            return self._result(build.emit(op))

    def add_roi_align(
        self,
        input: Tensor,
        boxes: Tensor,
        batch: Tensor,
        extents: Sequence[int],
        *,
        scale: float = 1.0,
        samples: int = 0,
        kind: str = "AVERAGE",
        name: str = "",
    ) -> Tensor:
        """A pooled patch [R, C, height, width] of each box (x1, y1, x2, y2 times `scale`) of [N, C, H, W]; `batch` [R] says whose, `samples` how many points a cell has
        a side (0: as many as its extents)."""
        with self._layer("roi_align", name, input, boxes, batch) as build:
            word = one_of("kind", kind, tuple(POOLED))
            op = graph.RoiPoolOp(
                input.value,
                boxes.value,
                build.cast(batch.value, i64),
                kind=POOLED[word],
                extents=list(extents),
                scale=scale,
                samples=samples,
                offset=0.5,
            )
            return self._result(build.emit(op))

    def add_nms(
        self,
        boxes: Tensor,
        scores: Tensor,
        max_output_boxes_per_class: int,
        *,
        iou_threshold: float = 0.5,
        score_threshold: float | None = None,
        center: bool = False,
        name: str = "",
    ) -> Tensor:
        """Rows (image, class, box) of the boxes [N, B, 4] that overlap no better one of their class, by scores [N, classes, B]; as many as there are (a counted extent). Corners
        y1, x1, y2, x2, with `center` x, y, width, height."""
        with self._layer("nms", name, boxes, scores) as build:
            op = graph.NonMaxSuppressionOp(
                boxes.value,
                scores.value,
                most=max_output_boxes_per_class,
                iou=iou_threshold,
                score=score_threshold,
                center=center,
                symbol=f"{build.node_name}.rows",
            )
            return self._result(build.emit(op))
