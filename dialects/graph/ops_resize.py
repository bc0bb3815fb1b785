"""Interpolation: resize, sample at given coordinates, pooled regions."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import (
    GraphOp,
    Value,
    flag,
    flag_def,
    float_def,
    floats_attr,
    floats_def,
    int_def,
    ints,
    ints_def,
    number,
    word,
)
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.kinds import (
    Coordinates,
    CoordinatesAttr,
    Layout,
    LayoutAttr,
    NearestRounding,
    NearestRoundingAttr,
    Outside,
    OutsideAttr,
    ResizeMode,
    ResizeModeAttr,
    RoiKind,
    RoiKindAttr,
)
from stepwell.dialects.numpy_types import FLOATS


@irdl_op_definition
class ResizeOp(GraphOp):
    """Other spatial extents by separable interpolation: `graph.resize linear %x extents [8, 8] scales [2.0, 2.0] half_pixel floor cubic -0.75
    channels_first : tensor<1x3x4x4xf32> -> tensor<1x3x8x8xf32>`.

    Where output position i lies in the input, x, is the coordinate rule's (ONNX Resize): half_pixel (i + 0.5) / scale - 0.5;
    half_pixel_symmetric the same about the centre; pytorch_half_pixel 0 where the result has one position; align_corners i (in - 1) / (in * scale - 1);
    asymmetric i / scale; tf_half_pixel_for_nn (i + 0.5) / scale. `scales` are what the rule divides by, one for each spatial dim (they may
    differ from out / in). Modes: nearest takes the neighbour that `rounding` names (round_prefer_floor round_prefer_ceil floor ceil); linear weighs
    two, cubic four neighbours (Keys' kernel, its coefficient `cubic`). Neighbours outside are the border's elements, with `exclude_outside` their
    weight is 0 and the others are scaled up. `antialias` widens the kernel by 1 / scale where scale < 1. Integers: nearest only."""

    name = "graph.resize"

    mode_attr = prop_def(ResizeModeAttr, prop_name="mode")
    operand = operand_def(TensorType)
    extents_attr = ints_def("extents")
    scales_attr = floats_def("scales")
    coordinates_attr = prop_def(CoordinatesAttr, prop_name="coordinates")
    rounding_attr = prop_def(NearestRoundingAttr, prop_name="rounding")
    cubic_attr = float_def("cubic")
    exclude_outside_attr = flag_def("exclude_outside")
    antialias_attr = flag_def("antialias")
    layout_attr = prop_def(LayoutAttr, prop_name="layout")
    result = result_def(TensorType)
    mode, coordinates, rounding, layout = word("mode"), word("coordinates"), word("rounding"), word("layout")
    extents, scales, cubic = ints("extents"), ints("scales"), number("cubic")
    exclude_outside, antialias = flag("exclude_outside"), flag("antialias")

    assembly_format = (
        "$mode $operand `extents` $extents `scales` $scales $coordinates $rounding `cubic` $cubic "
        "(`exclude_outside` $exclude_outside^)? (`antialias` $antialias^)? $layout attr-dict `:` "
        "type($operand) `->` type($result)"
    )

    def __init__(
        self,
        operand: Value,
        *,
        mode: str,
        extents: Sequence[int],
        scales: Sequence[float],
        coordinates: str = "half_pixel",
        rounding: str = "round_prefer_floor",
        cubic: float = -0.75,
        exclude_outside: bool = False,
        antialias: bool = False,
        layout: str = "channels_first",
    ) -> None:
        kinds = {
            "mode": ResizeModeAttr(ResizeMode(mode)),
            "coordinates": CoordinatesAttr(Coordinates(coordinates)),
            "rounding": NearestRoundingAttr(NearestRounding(rounding)),
            "layout": LayoutAttr(Layout(layout)),
        }
        numbers = {"extents": extents, "scales": floats_attr(scales), "cubic": float(cubic)}
        self.construct([operand], {**kinds, **numbers, "exclude_outside": exclude_outside, "antialias": antialias})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", checks.NUMBERS if self.mode == "nearest" else FLOATS)
        if x.rank < 3:
            raise VerifyException(f"the operand has rank {x.rank}: it needs 3 or more, batch and channels included")
        checks.count(self.extents, x.rank - 2, "extents", 0)
        checks.count(self.scales, x.rank - 2, "scales")
        spatial = x.shape[1:-1] if self.layout == "channels_last" else x.shape[2:]
        for before, after, scale in zip(spatial, self.extents, self.scales, strict=True):
            if not scale > 0 or (before == 0 and after > 0):
                raise VerifyException(
                    f"extent {before} by {scale} to {after}: scales are positive, and nothing cannot become something"
                )
        last = self.layout == "channels_last"
        return [
            Tensor(x.element, (x.shape[0], *self.extents, x.shape[-1]) if last else (*x.shape[:2], *self.extents)).type
        ]


@irdl_op_definition
class SampleOp(GraphOp):
    """Interpolation at given coordinates: `graph.sample linear zeros %x, %grid : (tensor<1x3x8x8xf32>, tensor<1x4x5x2xf32>) -> tensor<1x3x4x5xf32>`.

    Input [N,C,*] of d spatial dims, grid [N,*',d]: for each position of the result its coordinates in the input, the last spatial dim's first, from
    -1 to 1: these are the borders of the first and last element, with `align_corners` their centres. Modes nearest (halves to even),
    linear, cubic (coefficient -0.75). Outside of the input there are zeros, the border's elements, or its reflection (ONNX GridSample)."""

    name = "graph.sample"

    mode_attr = prop_def(ResizeModeAttr, prop_name="mode")
    outside_attr = prop_def(OutsideAttr, prop_name="outside")
    operand = operand_def(TensorType)
    grid = operand_def(TensorType)
    align_corners_attr = flag_def("align_corners")
    result = result_def(TensorType)
    mode, outside, align_corners = word("mode"), word("outside"), flag("align_corners")

    assembly_format = (
        "$mode $outside $operand `,` $grid (`align_corners` $align_corners^)? attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self, operand: Value, grid: Value, *, mode: str = "linear", outside: str = "zeros", align_corners: bool = False
    ) -> None:
        kinds = {"mode": ResizeModeAttr(ResizeMode(mode)), "outside": OutsideAttr(Outside(outside))}
        self.construct([operand, grid], {**kinds, "align_corners": align_corners})

    def infer(self) -> Sequence[Attribute]:
        x, grid = checks.tensor(self.operand, "the operand", FLOATS), checks.tensor(self.grid, "the grid", FLOATS)
        if x.rank < 3 or grid.rank != x.rank or grid.shape[-1] != x.rank - 2 or grid.shape[0] != x.shape[0]:
            raise VerifyException(
                f"operand {list(x.shape)} and grid {list(grid.shape)}: the operand is [N,C,*] with d spatial dims, the grid "
                "[N,*,d] with as many"
            )
        return [Tensor(x.element, (*x.shape[:2], *grid.shape[1:-1])).type]


@irdl_op_definition
class RoiPoolOp(GraphOp):
    """One pooled patch for each box: `graph.roi_pool align_average %x, %boxes, %batch extents [7, 7] scale 0.0625 samples 2 offset 0.5 :
    (tensor<1x8x14x14xf32>, tensor<5x4xf32>, tensor<5xi64>) -> tensor<5x8x7x7xf32>`.

    Boxes are x1, y1, x2, y2 in coordinates of which the operand has `scale` to one; the batch index says in which image a box lies. The align kinds
    (ONNX RoiAlign) shift coordinates down by `offset`, divide the box into `extents` bins, interpolate `samples` by `samples` points in each
    (0: the ceiling of the bin's size, at most 4096) and take their average or maximum; without an offset a box is at least 1 high and wide. `max` (Caffe
    ROIPooling, ONNX MaxRoiPool) rounds the scaled corners, takes the maximum of the whole cells of a bin, 0 of an empty one. A box
    that is not finite gives NaN."""

    name = "graph.roi_pool"

    kind_attr = prop_def(RoiKindAttr, prop_name="kind")
    operand = operand_def(TensorType)
    boxes = operand_def(TensorType)
    batch = operand_def(TensorType)
    extents_attr = ints_def("extents")
    scale_attr = float_def("scale")
    samples_attr = int_def("samples")
    offset_attr = float_def("offset")
    result = result_def(TensorType)
    kind, extents = word("kind"), ints("extents")
    scale, samples, offset = number("scale"), number("samples"), number("offset")

    assembly_format = (
        "$kind $operand `,` $boxes `,` $batch `extents` $extents `scale` $scale `samples` $samples `offset` $offset "
        "attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        operand: Value,
        boxes: Value,
        batch: Value,
        *,
        kind: str,
        extents: Sequence[int],
        scale: float = 1.0,
        samples: int = 0,
        offset: float = 0.0,
    ) -> None:
        numbers = {"extents": extents, "scale": float(scale), "samples": samples, "offset": float(offset)}
        self.construct([operand, boxes, batch], {"kind": RoiKindAttr(RoiKind(kind)), **numbers})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", FLOATS, 4)
        boxes = checks.tensor(self.boxes, "the boxes", FLOATS, 2)
        checks.shaped(self.batch, "the batch indices", (i64,), boxes.shape[:1])
        checks.count(self.extents, 2, "extents", 1)
        if boxes.shape[1] != 4 or self.samples < 0:
            raise VerifyException(
                f"boxes of {boxes.shape[1]} numbers, {self.samples} samples: boxes have 4, samples are 0 or more"
            )
        return [Tensor(x.element, (boxes.shape[0], x.shape[1], *self.extents)).type]
