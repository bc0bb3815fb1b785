"""Kinds, modes and layouts of graph ops: each enum with the attribute that holds it, `#graph<unary_kind relu>`, a bare keyword in an op's own syntax."""

from __future__ import annotations

from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import SpacedOpaqueSyntaxAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.utils.str_enum import StrEnum


class Layout(StrEnum):
    """Where the channels are: [N,C,*] (ONNX, Caffe) or [N,*,C] (TensorFlow, and what the kernels want)."""

    channels_first = "channels_first"
    channels_last = "channels_last"


@irdl_attr_definition
class LayoutAttr(EnumAttribute[Layout], SpacedOpaqueSyntaxAttribute):
    """`#graph<layout channels_last>`; a bare keyword in an op's own syntax."""

    name = "graph.layout"


class UnaryKind(StrEnum):
    """Elementwise functions of one operand; `dialects/graph/elementwise.py` gives each its exact meaning."""

    abs = "abs"
    neg = "neg"
    relu = "relu"
    gelu = "gelu"
    gelu_tanh = "gelu_tanh"
    exp = "exp"
    log = "log"
    sqrt = "sqrt"
    tanh = "tanh"
    sigmoid = "sigmoid"
    erf = "erf"
    expm1 = "expm1"
    log1p = "log1p"
    softplus = "softplus"
    floor = "floor"
    ceil = "ceil"
    trunc = "trunc"
    round_even = "round_even"
    sign = "sign"
    sin = "sin"
    cos = "cos"
    tan = "tan"
    asin = "asin"
    acos = "acos"
    atan = "atan"
    sinh = "sinh"
    cosh = "cosh"
    asinh = "asinh"
    acosh = "acosh"
    atanh = "atanh"
    not_ = "not"


@irdl_attr_definition
class UnaryKindAttr(EnumAttribute[UnaryKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<unary_kind relu>`; a bare keyword in an op's own syntax."""

    name = "graph.unary_kind"


class BinaryKind(StrEnum):
    """Elementwise functions of two operands of one type; max and min give NaN where an operand is NaN."""

    add = "add"
    sub = "sub"
    mul = "mul"
    div = "div"
    max = "max"
    min = "min"
    pow = "pow"
    mod = "mod"
    rem = "rem"
    and_ = "and"
    or_ = "or"
    xor = "xor"
    shift_left = "shift_left"
    shift_right = "shift_right"
    atan2 = "atan2"


@irdl_attr_definition
class BinaryKindAttr(EnumAttribute[BinaryKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<binary_kind add>`; a bare keyword in an op's own syntax."""

    name = "graph.binary_kind"


class CompareKind(StrEnum):
    """Comparisons; a NaN is unequal to everything."""

    eq = "eq"
    ne = "ne"
    lt = "lt"
    le = "le"
    gt = "gt"
    ge = "ge"


@irdl_attr_definition
class CompareKindAttr(EnumAttribute[CompareKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<compare_kind lt>`; a bare keyword in an op's own syntax."""

    name = "graph.compare_kind"


class PoolKind(StrEnum):
    """What a pool does with a window."""

    max = "max"
    average = "average"
    sum = "sum"


@irdl_attr_definition
class PoolKindAttr(EnumAttribute[PoolKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<pool_kind max>`; a bare keyword in an op's own syntax."""

    name = "graph.pool_kind"


class ReduceKind(StrEnum):
    """What a reduction does with the elements of its dims."""

    sum = "sum"
    product = "product"
    max = "max"
    min = "min"
    and_ = "and"
    or_ = "or"


@irdl_attr_definition
class ReduceKindAttr(EnumAttribute[ReduceKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<reduce_kind sum>`; a bare keyword in an op's own syntax."""

    name = "graph.reduce_kind"


class ExtremeKind(StrEnum):
    """Which extreme a position is of."""

    max = "max"
    min = "min"


@irdl_attr_definition
class ExtremeKindAttr(EnumAttribute[ExtremeKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<extreme_kind max>`; a bare keyword in an op's own syntax."""

    name = "graph.extreme_kind"


class CumulativeKind(StrEnum):
    """What a prefix scan does with the elements."""

    sum = "sum"
    product = "product"
    max = "max"
    min = "min"


@irdl_attr_definition
class CumulativeKindAttr(EnumAttribute[CumulativeKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<cumulative_kind sum>`; a bare keyword in an op's own syntax."""

    name = "graph.cumulative_kind"


class CombineKind(StrEnum):
    """How a scatter combines an update with what is there."""

    none = "none"
    add = "add"
    mul = "mul"
    max = "max"
    min = "min"


@irdl_attr_definition
class CombineKindAttr(EnumAttribute[CombineKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<combine_kind add>`; a bare keyword in an op's own syntax."""

    name = "graph.combine_kind"


class Rounding(StrEnum):
    """How a cast to f8E8M0FNU picks a power of two: nearest (halves up), the next above, the next below."""

    nearest = "nearest"
    up = "up"
    down = "down"


@irdl_attr_definition
class RoundingAttr(EnumAttribute[Rounding], SpacedOpaqueSyntaxAttribute):
    """`#graph<rounding up>`; a bare keyword in an op's own syntax."""

    name = "graph.rounding"


class ResizeMode(StrEnum):
    """How a resize or sample interpolates."""

    nearest = "nearest"
    linear = "linear"
    cubic = "cubic"


@irdl_attr_definition
class ResizeModeAttr(EnumAttribute[ResizeMode], SpacedOpaqueSyntaxAttribute):
    """`#graph<resize_mode linear>`; a bare keyword in an op's own syntax."""

    name = "graph.resize_mode"


class Coordinates(StrEnum):
    """Where an output position of a resize lies in the input (ONNX Resize, coordinate_transformation_mode)."""

    half_pixel = "half_pixel"
    half_pixel_symmetric = "half_pixel_symmetric"
    pytorch_half_pixel = "pytorch_half_pixel"
    align_corners = "align_corners"
    asymmetric = "asymmetric"
    tf_half_pixel_for_nn = "tf_half_pixel_for_nn"


@irdl_attr_definition
class CoordinatesAttr(EnumAttribute[Coordinates], SpacedOpaqueSyntaxAttribute):
    """`#graph<coordinates half_pixel>`; a bare keyword in an op's own syntax."""

    name = "graph.coordinates"


class NearestRounding(StrEnum):
    """Which neighbour a nearest resize takes (ONNX Resize, nearest_mode)."""

    round_prefer_floor = "round_prefer_floor"
    round_prefer_ceil = "round_prefer_ceil"
    floor = "floor"
    ceil = "ceil"


@irdl_attr_definition
class NearestRoundingAttr(EnumAttribute[NearestRounding], SpacedOpaqueSyntaxAttribute):
    """`#graph<nearest_rounding floor>`; a bare keyword in an op's own syntax."""

    name = "graph.nearest_rounding"


class Outside(StrEnum):
    """What a sample reads outside of the input."""

    zeros = "zeros"
    border = "border"
    reflect = "reflect"


@irdl_attr_definition
class OutsideAttr(EnumAttribute[Outside], SpacedOpaqueSyntaxAttribute):
    """`#graph<outside zeros>`; a bare keyword in an op's own syntax."""

    name = "graph.outside"


class RoiKind(StrEnum):
    """What a region pool does: average or maximum of interpolated samples (RoiAlign), or the maximum of whole cells (Caffe ROIPooling)."""

    align_average = "align_average"
    align_max = "align_max"
    max = "max"


@irdl_attr_definition
class RoiKindAttr(EnumAttribute[RoiKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<roi_kind max>`; a bare keyword in an op's own syntax."""

    name = "graph.roi_kind"


class Activation(StrEnum):
    """Functions inside recurrent cells (ONNX RNN); some take alpha and beta."""

    affine = "affine"
    elu = "elu"
    hard_sigmoid = "hard_sigmoid"
    leaky_relu = "leaky_relu"
    relu = "relu"
    scaled_tanh = "scaled_tanh"
    sigmoid = "sigmoid"
    softplus = "softplus"
    softsign = "softsign"
    tanh = "tanh"
    thresholded_relu = "thresholded_relu"


@irdl_attr_definition
class ActivationAttr(EnumAttribute[Activation], SpacedOpaqueSyntaxAttribute):
    """`#graph<activation tanh>`; a bare keyword in an op's own syntax."""

    name = "graph.activation"


class LinearRule(StrEnum):
    """How linear attention updates its state."""

    linear = "linear"
    gated = "gated"
    delta = "delta"
    gated_delta = "gated_delta"


@irdl_attr_definition
class LinearRuleAttr(EnumAttribute[LinearRule], SpacedOpaqueSyntaxAttribute):
    """`#graph<linear_rule gated_delta>`; a bare keyword in an op's own syntax."""

    name = "graph.linear_rule"


class CollectiveKind(StrEnum):
    """What the ranks of a group exchange."""

    all_reduce = "all_reduce"
    all_gather = "all_gather"
    reduce_scatter = "reduce_scatter"
    all_to_all = "all_to_all"


@irdl_attr_definition
class CollectiveKindAttr(EnumAttribute[CollectiveKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<collective_kind all_reduce>`; a bare keyword in an op's own syntax."""

    name = "graph.collective_kind"


KIND_ATTRIBUTES = tuple(
    kind for kind in list(globals().values()) if isinstance(kind, type) and EnumAttribute in kind.__bases__
)
"""Every attribute of this file, for the dialect."""
