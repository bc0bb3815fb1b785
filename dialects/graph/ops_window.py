"""Pooling: a window moves over the spatial dims and its elements are reduced to one."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DenseArrayBase, TensorType, UnitAttr, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks, shapes
from stepwell.dialects.graph.attributes import Layout, LayoutAttr, PoolKind, PoolKindAttr, dims_attr
from stepwell.dialects.numpy_types import is_float


@irdl_op_definition
class PoolOp(IRDLOperation):
    """Maximum or average of each window of the spatial dims.

    `graph.pool max %x kernel [4, 4] strides [4, 4] pads [0, 0, 0, 0] dilations [1, 1] channels_last : tensor -> tensor`.
    Padding never wins a maximum (it counts as the lowest value; a NaN in the window wins). An average sums the window in
    row-major order in the element type and divides by the number of elements inside the input, or with `count_include_pad`
    inside the padded input. `ceil` rounds extents up (`shapes.window_extent`)."""

    name = "graph.pool"

    kind_attr = prop_def(PoolKindAttr, prop_name="kind")
    input = operand_def(TensorType)
    kernel_attr = prop_def(DenseArrayBase.constr(i64), prop_name="kernel")
    strides_attr = prop_def(DenseArrayBase.constr(i64), prop_name="strides")
    pads_attr = prop_def(DenseArrayBase.constr(i64), prop_name="pads")
    dilations_attr = prop_def(DenseArrayBase.constr(i64), prop_name="dilations")
    ceil_attr = opt_prop_def(UnitAttr, prop_name="ceil")
    count_include_pad_attr = opt_prop_def(UnitAttr, prop_name="count_include_pad")
    layout_attr = prop_def(LayoutAttr, prop_name="layout")
    result = result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = (
        "$kind $input `kernel` $kernel `strides` $strides `pads` $pads `dilations` $dilations (`ceil` $ceil^)? "
        "(`count_include_pad` $count_include_pad^)? $layout attr-dict `:` type($input) `->` type($result)"
    )

    def __init__(
        self,
        input: SSAValue | Operation,
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
        x = SSAValue.get(input)
        taps = [1] * len(kernel) if dilations is None else dilations
        inferred = infer_pool(x, kind, tuple(kernel), tuple(strides), tuple(pads), tuple(taps), ceil, layout)
        super().__init__(
            operands=[x],
            properties={
                "kind": PoolKindAttr(PoolKind(kind)),
                "kernel": dims_attr(kernel),
                "strides": dims_attr(strides),
                "pads": dims_attr(pads),
                "dilations": dims_attr(taps),
                "ceil": UnitAttr() if ceil else None,
                "count_include_pad": UnitAttr() if count_include_pad else None,
                "layout": LayoutAttr(Layout(layout)),
            },
            result_types=[inferred],
        )

    @property
    def kind(self) -> str:
        """max or average."""
        return self.kind_attr.data.value

    @property
    def kernel(self) -> tuple[int, ...]:
        """Window extents, one per spatial dim."""
        return self.kernel_attr.get_values()

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between windows, one per spatial dim."""
        return self.strides_attr.get_values()

    @property
    def pads(self) -> tuple[int, ...]:
        """Padding before each spatial dim, then after each."""
        return self.pads_attr.get_values()

    @property
    def dilations(self) -> tuple[int, ...]:
        """Distance of the taps, one per spatial dim."""
        return self.dilations_attr.get_values()

    @property
    def ceil(self) -> bool:
        """True when extents are rounded up."""
        return self.ceil_attr is not None

    @property
    def count_include_pad(self) -> bool:
        """True when an average divides by padded positions too."""
        return self.count_include_pad_attr is not None

    @property
    def layout(self) -> str:
        """channels_first or channels_last."""
        return self.layout_attr.data.value

    def verify_(self) -> None:
        with checks.named(self.name):
            inferred = infer_pool(
                self.input, self.kind, self.kernel, self.strides, self.pads, self.dilations, self.ceil, self.layout
            )
            checks.check_result(self.result, inferred)
            if self.count_include_pad and self.kind == "max":
                raise VerifyException("count_include_pad says what an average divides by: remove it from a max pool")


def infer_pool(
    input: SSAValue,
    kind: str,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    ceil: bool,
    layout: str,
) -> TensorType[Attribute]:
    """The result type of a pool."""
    with checks.named(PoolOp.name):
        x = checks.static_tensor(input, "the input")
        if kind == "average" and not is_float(x.element_type):
            raise VerifyException(f"an average needs float elements, not {x.element_type}: cast the input first")
        last = layout == "channels_last"
        return TensorType(
            x.element_type, shapes.pool_shape(x.get_shape(), kernel, strides, pads, dilations, last, ceil)
        )
