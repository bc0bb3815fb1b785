"""Contractions: convolution and matrix product. Both accumulate in the result's element type or wider and round once."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, UnitAttr, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from stepwell.dialects.graph import checks, shapes
from stepwell.dialects.graph.attributes import Layout, LayoutAttr, dims_attr


@irdl_op_definition
class ConvOp(IRDLOperation):
    """Convolution (cross-correlation) over any number of spatial dims, without bias.

    `graph.conv %x, %f strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_first : (tensor, tensor) -> tensor`. Input
    [N,C,*] with filter [K,C/groups,*] (channels_first), or [N,*,C] with [K,*,C/groups] (channels_last). `pads` lists all
    begins, then all ends; padding is zero. f16 operands are multiplied and accumulated in f32 and rounded once to the result
    type, f16 or f32. Extents: `shapes.window_extent`."""

    name = "graph.conv"

    input = operand_def(TensorType)
    filter = operand_def(TensorType)
    strides_attr = prop_def(DenseArrayBase.constr(i64), prop_name="strides")
    pads_attr = prop_def(DenseArrayBase.constr(i64), prop_name="pads")
    dilations_attr = prop_def(DenseArrayBase.constr(i64), prop_name="dilations")
    groups_attr = prop_def(IntegerAttr.constr(i64), default_value=IntegerAttr(1, i64), prop_name="groups")
    layout_attr = prop_def(LayoutAttr, prop_name="layout")
    result = result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = (
        "$input `,` $filter `strides` $strides `pads` $pads `dilations` $dilations (`groups` $groups^)? $layout "
        "attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        input: SSAValue | Operation,
        filter: SSAValue | Operation,
        *,
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int],
        groups: int = 1,
        layout: str = "channels_first",
        element_type: Attribute | None = None,
    ) -> None:
        x, f = SSAValue.get(input), SSAValue.get(filter)
        inferred = infer_conv(x, f, tuple(strides), tuple(pads), tuple(dilations), groups, layout)
        super().__init__(
            operands=[x, f],
            properties={
                "strides": dims_attr(strides),
                "pads": dims_attr(pads),
                "dilations": dims_attr(dilations),
                "groups": IntegerAttr(groups, i64),
                "layout": LayoutAttr(Layout(layout)),
            },
            result_types=[TensorType(element_type or inferred.element_type, inferred.get_shape())],
        )

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between windows, one per spatial dim."""
        return self.strides_attr.get_values()

    @property
    def pads(self) -> tuple[int, ...]:
        """Zeros before each spatial dim, then zeros after each."""
        return self.pads_attr.get_values()

    @property
    def dilations(self) -> tuple[int, ...]:
        """Distance of the taps, one per spatial dim."""
        return self.dilations_attr.get_values()

    @property
    def groups(self) -> int:
        """Number of groups that the channels are divided into."""
        return self.groups_attr.value.data

    @property
    def layout(self) -> str:
        """channels_first or channels_last."""
        return self.layout_attr.data.value

    @property
    def kernel(self) -> tuple[int, ...]:
        """Spatial extents of the filter."""
        shape = checks.static_tensor(self.filter, "the filter").get_shape()
        return shape[1:-1] if self.layout == "channels_last" else shape[2:]

    def verify_(self) -> None:
        with checks.named(self.name):
            inferred = infer_conv(
                self.input, self.filter, self.strides, self.pads, self.dilations, self.groups, self.layout
            )
            checks.check_contraction_result(self.result, inferred)


def infer_conv(
    input: SSAValue,
    filter: SSAValue,
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    groups: int,
    layout: str,
) -> TensorType[Attribute]:
    """The result type of a convolution in its operands' element type."""
    with checks.named(ConvOp.name):
        x, f = checks.static_tensor(input, "the input"), checks.static_tensor(filter, "the filter")
        checks.same_elements(x, f, "input and filter")
        last = layout == "channels_last"
        shape = shapes.conv_shape(x.get_shape(), f.get_shape(), strides, pads, dilations, groups, last)
        return TensorType(x.element_type, shape)


@irdl_op_definition
class MatmulOp(IRDLOperation):
    """Matrix product [.., M, K] times [K, N], or [N, K] with `transpose_b`.

    `graph.matmul %a, %b transpose_b : (tensor<..xMxK>, tensor<NxK>) -> tensor<..xMxN>`. f16 operands are multiplied and
    accumulated in f32 and rounded once to the result type, f16 or f32."""

    name = "graph.matmul"

    a = operand_def(TensorType)
    b = operand_def(TensorType)
    transpose_b_attr = opt_prop_def(UnitAttr, prop_name="transpose_b")
    result = result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = "$a `,` $b (`transpose_b` $transpose_b^)? attr-dict `:` functional-type(operands, results)"

    def __init__(
        self,
        a: SSAValue | Operation,
        b: SSAValue | Operation,
        *,
        transpose_b: bool = False,
        element_type: Attribute | None = None,
    ) -> None:
        left, right = SSAValue.get(a), SSAValue.get(b)
        inferred = infer_matmul(left, right, transpose_b)
        super().__init__(
            operands=[left, right],
            properties={"transpose_b": UnitAttr() if transpose_b else None},
            result_types=[TensorType(element_type or inferred.element_type, inferred.get_shape())],
        )

    @property
    def transpose_b(self) -> bool:
        """True when the right operand is [N, K]."""
        return self.transpose_b_attr is not None

    def verify_(self) -> None:
        with checks.named(self.name):
            checks.check_contraction_result(self.result, infer_matmul(self.a, self.b, self.transpose_b))


def infer_matmul(a: SSAValue, b: SSAValue, transpose_b: bool) -> TensorType[Attribute]:
    """The result type of a matrix product in its operands' element type."""
    with checks.named(MatmulOp.name):
        left, right = checks.static_tensor(a, "the left operand"), checks.static_tensor(b, "the right operand")
        checks.same_elements(left, right, "the operands")
        shape = shapes.matmul_shape(left.get_shape(), right.get_shape(), transpose_b)
        return TensorType(left.element_type, shape)
