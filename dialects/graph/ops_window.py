"""Pooling: a window moves over the spatial dims and its elements are reduced to one."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks, shapes
from stepwell.dialects.graph.base import GraphOp, Value, flag, flag_def, ints, ints_def, word
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.kinds import Layout, LayoutAttr, PoolKind, PoolKindAttr
from stepwell.dialects.numpy_types import FLOATS


class Pooling(GraphOp):
    """What pools share: the window and where the channels are."""

    input = operand_def(TensorType)
    kernel_attr = ints_def("kernel")
    strides_attr = ints_def("strides")
    pads_attr = ints_def("pads")
    dilations_attr = ints_def("dilations")
    ceil_attr = flag_def("ceil")
    layout_attr = prop_def(LayoutAttr, prop_name="layout")
    kernel, strides, pads, dilations = ints("kernel"), ints("strides"), ints("pads"), ints("dilations")
    ceil, layout = flag("ceil"), word("layout")

    def pooled(self, elements: Sequence[Attribute]) -> Tensor:
        """The type of the pooled values."""
        x = checks.tensor(self.input, "the input", elements)
        last = self.layout == "channels_last"
        shape = shapes.pool_shape(x.shape, self.kernel, self.strides, self.pads, self.dilations, last, self.ceil)
        return Tensor(x.element, shape)


@irdl_op_definition
class PoolOp(Pooling):
    """Maximum, average or sum of each window of the spatial dims.

    `graph.pool max %x kernel [4, 4] strides [4, 4] pads [0, 0, 0, 0] dilations [1, 1] channels_last : tensor -> tensor`.
    Padding never wins a maximum (it counts as the lowest value; a NaN in the window wins). An average or sum adds the window in
    row-major order in the element type, 16-bit floats in f32 and rounded once; an average divides by the number of elements inside the input, or with `count_include_pad`
    inside the padded input. `ceil` rounds extents up (`shapes.window_extent`)."""

    name = "graph.pool"

    kind_attr = prop_def(PoolKindAttr, prop_name="kind")
    count_include_pad_attr = flag_def("count_include_pad")
    result = result_def(TensorType)
    kind, count_include_pad = word("kind"), flag("count_include_pad")

    assembly_format = (
        "$kind $input `kernel` $kernel `strides` $strides `pads` $pads `dilations` $dilations (`ceil` $ceil^)? "
        "(`count_include_pad` $count_include_pad^)? $layout attr-dict `:` type($input) `->` type($result)"
    )

    def __init__(
        self,
        input: Value,
        *,
        kind: str,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int] | None = None,
        ceil: bool = False,
        count_include_pad: bool = False,
        layout: str = "channels_first",
    ) -> None:
        window = window_properties(kernel, strides, pads, dilations, ceil, layout)
        self.construct(
            [input], {"kind": PoolKindAttr(PoolKind(kind)), **window, "count_include_pad": count_include_pad}
        )

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.input, "the input", checks.NUMBERS)
        if self.kind == "average" and x.element not in FLOATS:
            raise VerifyException(f"an average needs float elements, not {x.element}: cast the input first")
        if self.count_include_pad and self.kind != "average":
            raise VerifyException(
                f"count_include_pad says what an average divides by: remove it from a {self.kind} pool"
            )
        return [self.pooled(checks.NUMBERS).type]


@irdl_op_definition
class ArgPoolOp(Pooling):
    """Maximum of each window, and where it is: `%values, %positions = graph.arg_pool %x kernel [2, 2] strides [2, 2] pads [0, 0, 0, 0] dilations
    [1, 1] channels_first : (tensor<1x3x8x8xf32>) -> (tensor<1x3x4x4xf32>, tensor<1x3x4x4xi64>)`.

    As `graph.pool max`; a position is the row-major index of the winner among the spatial positions of its own plane (one image, one channel).
    The first of equals wins, and the first NaN."""

    name = "graph.arg_pool"

    values = result_def(TensorType)
    positions = result_def(TensorType)

    assembly_format = (
        "$input `kernel` $kernel `strides` $strides `pads` $pads `dilations` $dilations (`ceil` $ceil^)? $layout "
        "attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        input: Value,
        *,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int] | None = None,
        ceil: bool = False,
        layout: str = "channels_first",
    ) -> None:
        self.construct([input], window_properties(kernel, strides, pads, dilations, ceil, layout), results=2)

    def infer(self) -> Sequence[Attribute]:
        values = self.pooled(checks.NUMBERS)
        return [values.type, Tensor(i64, values.shape).type]


def window_properties(
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int] | None,
    ceil: bool,
    layout: str,
) -> dict[str, object]:
    """The attributes of a window."""
    taps = [1] * len(kernel) if dilations is None else dilations
    place = {"ceil": ceil, "layout": LayoutAttr(Layout(layout))}
    return {"kernel": kernel, "strides": strides, "pads": pads, "dilations": taps, **place}
