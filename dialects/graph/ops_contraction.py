"""Contractions: convolution and matrix product. Both accumulate in the result's element type or wider and round once."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerAttr, IntegerType, TensorType, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from stepwell.dialects.graph import checks, shapes
from stepwell.dialects.graph.base import GraphOp, Value, flag, flag_def, ints, ints_def, number, word
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.kinds import Layout, LayoutAttr

GROUPS = IntegerAttr(1, i64)


def contracted(op: GraphOp, a: SSAValue, b: SSAValue, what: tuple[str, str]) -> tuple[Tensor, Tensor]:
    """The two operands of a contraction, of one element type."""
    left, right = checks.tensor(a, what[0], checks.CONTRACTED), checks.tensor(b, what[1], checks.CONTRACTED)
    checks.same_elements(left, right, f"{what[0].removeprefix('the ')} and {what[1].removeprefix('the ')}")
    return left, right


def contraction_type(result: SSAValue, inferred: Tensor) -> Attribute:
    """The result type of a contraction: the one that was asked for where it is among those allowed, else the first of those."""
    allowed = [Tensor(e, inferred.shape).type for e in checks.contraction_results(inferred.element)]
    if isinstance(result.type, TensorType):
        checks.check_contraction_result(result, inferred)
        return result.type
    return allowed[0]


class Contraction(GraphOp):
    """What contractions share: a result whose element type may be an accumulator's."""

    def contract(self, operands: Sequence[Value], properties: dict[str, object], element: Attribute | None) -> None:
        """Construct; with `element` the result has that element type."""
        self.construct(operands, properties)
        if element is None:
            return
        (result,) = self.results
        own = result.type
        assert isinstance(own, TensorType)
        inferred = checks.tensor(own, "the result")
        result._type = Tensor(element, inferred.shape).type


@irdl_op_definition
class ConvOp(Contraction):
    """Convolution (cross-correlation) over any number of spatial dims, without bias.

    `graph.conv %x, %f strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_first : (tensor, tensor) -> tensor`. Input
    [N,C,*] with filter [K,C/groups,*] (channels_first), or [N,*,C] with [K,*,C/groups] (channels_last). `pads` lists all
    begins, then all ends; padding is zero. f16, bf16 and 8-bit float operands are multiplied and accumulated in f32 and rounded once to the
    result type, theirs (16-bit floats) or f32; i8 and ui8 give their own type or i32. Extents: `shapes.window_extent`."""

    name = "graph.conv"

    input = operand_def(TensorType)
    filter = operand_def(TensorType)
    strides_attr = ints_def("strides")
    pads_attr = ints_def("pads")
    dilations_attr = ints_def("dilations")
    groups_attr = prop_def(IntegerAttr[IntegerType].constr(i64), default_value=GROUPS, prop_name="groups")
    layout_attr = prop_def(LayoutAttr, prop_name="layout")
    result = result_def(TensorType)
    strides, pads, dilations = ints("strides"), ints("pads"), ints("dilations")
    groups, layout = number("groups"), word("layout")

    assembly_format = (
        "$input `,` $filter `strides` $strides `pads` $pads `dilations` $dilations (`groups` $groups^)? $layout "
        "attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        input: Value,
        filter: Value,
        *,
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int],
        groups: int = 1,
        layout: str = "channels_first",
        element_type: Attribute | None = None,
    ) -> None:
        window = {"strides": strides, "pads": pads, "dilations": dilations}
        self.contract([input, filter], {**window, "groups": groups, "layout": LayoutAttr(Layout(layout))}, element_type)

    @property
    def kernel(self) -> tuple[int, ...]:
        """Spatial extents of the filter."""
        shape = checks.tensor(self.filter, "the filter").shape
        return shape[1:-1] if self.layout == "channels_last" else shape[2:]

    def infer(self) -> Sequence[Attribute]:
        x, f = contracted(self, self.input, self.filter, ("the input", "the filter"))
        last = self.layout == "channels_last"
        shape = shapes.conv_shape(x.shape, f.shape, self.strides, self.pads, self.dilations, self.groups, last)
        return [contraction_type(self.result, Tensor(x.element, shape))]


@irdl_op_definition
class MatmulOp(Contraction):
    """Matrix product [B.., M, K] times [K, N] or [B.., K, N], with `transpose_b` [N, K] or [B.., N, K].

    `graph.matmul %a, %b transpose_b : (tensor<..xMxK>, tensor<NxK>) -> tensor<..xMxN>`. A right operand of rank 2 serves every batch; else
    both have the same batch extents. f16, bf16 and 8-bit float operands are multiplied and accumulated in f32 and rounded once to the
    result type, theirs (16-bit floats) or f32; i8 and ui8 give their own type or i32."""

    name = "graph.matmul"

    a = operand_def(TensorType)
    b = operand_def(TensorType)
    transpose_b_attr = flag_def("transpose_b")
    result = result_def(TensorType)
    transpose_b = flag("transpose_b")

    assembly_format = "$a `,` $b (`transpose_b` $transpose_b^)? attr-dict `:` functional-type(operands, results)"

    def __init__(self, a: Value, b: Value, *, transpose_b: bool = False, element_type: Attribute | None = None) -> None:
        self.contract([a, b], {"transpose_b": transpose_b}, element_type)

    def infer(self) -> Sequence[Attribute]:
        left, right = contracted(self, self.a, self.b, ("the left operand", "the right operand"))
        shape = shapes.matmul_shape(left.shape, right.shape, self.transpose_b)
        return [contraction_type(self.result, Tensor(left.element, shape))]
