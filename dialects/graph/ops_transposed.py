"""`graph.conv_transpose`: the adjoint of a convolution."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import Value, int_def, ints, ints_def, number, word
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.extents import Shape
from stepwell.dialects.graph.kinds import Layout, LayoutAttr
from stepwell.dialects.graph.ops_contraction import Contraction, contracted, contraction_type


@irdl_op_definition
class ConvTransposeOp(Contraction):
    """Transposed convolution (deconvolution): `graph.conv_transpose %x, %f strides [2, 2] pads [0, 0, 0, 0] dilations [1, 1] groups 1 extents [8, 8]
    channels_first : (tensor<1x4x4x4xf32>, tensor<4x6x2x2xf32>) -> tensor<1x6x8x8xf32>`.

    Input [N,C,*] with filter [C,K/groups,*] (channels_first), or [N,*,C] with [C,*,K/groups]. Each input element adds its multiple of the filter
    at index * stride + tap * dilation of a plane of (in - 1) * stride + (kernel - 1) * dilation + 1 elements; `pads` (begins, then ends)
    are cut off that plane, and `extents` are the spatial extents of the result: what is left, or more, zeros then following at the end
    (ONNX's output_padding). Accumulates as `graph.conv` does."""

    name = "graph.conv_transpose"

    input = operand_def(TensorType)
    filter = operand_def(TensorType)
    strides_attr = ints_def("strides")
    pads_attr = ints_def("pads")
    dilations_attr = ints_def("dilations")
    groups_attr = int_def("groups")
    extents_attr = ints_def("extents")
    layout_attr = prop_def(LayoutAttr, prop_name="layout")
    result = result_def(TensorType)
    strides, pads, dilations, extents = ints("strides"), ints("pads"), ints("dilations"), ints("extents")
    groups, layout = number("groups"), word("layout")

    assembly_format = (
        "$input `,` $filter `strides` $strides `pads` $pads `dilations` $dilations `groups` $groups `extents` $extents "
        "$layout attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        input: Value,
        filter: Value,
        *,
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int],
        extents: Sequence[int],
        groups: int = 1,
        layout: str = "channels_first",
        element_type: Attribute | None = None,
    ) -> None:
        window = {"strides": strides, "pads": pads, "dilations": dilations, "extents": extents}
        place = {"groups": groups, "layout": LayoutAttr(Layout(layout))}
        self.contract([input, filter], {**window, **place}, element_type)

    def infer(self) -> Sequence[Attribute]:
        x, f = contracted(self, self.input, self.filter, ("the input", "the filter"))
        if x.rank < 3 or f.rank != x.rank:
            raise VerifyException(
                f"input of rank {x.rank} and filter of rank {f.rank}: both need the same rank, 3 or more"
            )
        last = self.layout == "channels_last"
        channels = x.shape[-1] if last else x.shape[1]
        if self.groups < 1 or channels % self.groups or f.shape[0] != channels:
            raise VerifyException(
                f"{channels} input channels in {self.groups} groups and a filter for {f.shape[0]}: groups must divide the "
                "channels, and the filter's first extent equal them"
            )
        taps = slice(1, -1) if last else slice(2, None)
        self._check_window(x.shape[taps], f.shape[taps])
        outputs = (f.shape[-1] if last else f.shape[1]) * self.groups
        made = (x.shape[0], *self.extents, outputs) if last else (x.shape[0], outputs, *self.extents)
        return [contraction_type(self.result, Tensor(x.element, made))]

    def _check_window(self, inputs: Shape, kernel: Shape) -> None:
        rank = len(inputs)
        for what, values, wanted, least in (
            ("strides", self.strides, rank, 1),
            ("dilations", self.dilations, rank, 1),
            ("pads", self.pads, 2 * rank, 0),
            ("extents", self.extents, rank, 0),
        ):
            checks.count(values, wanted, what, least)
        for d in range(rank):
            plane = (inputs[d] - 1) * self.strides[d] + (kernel[d] - 1) * self.dilations[d] + 1
            left = plane - self.pads[d] - self.pads[rank + d]
            if self.extents[d] < left:
                raise VerifyException(
                    f"extent {self.extents[d]} of spatial dim {d} is below {left}, what the pads leave: raise the pads"
                )
