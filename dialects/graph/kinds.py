"""Kinds, modes and layouts of graph ops: enums; `kind_attributes.py` has the attribute of each."""

from __future__ import annotations

from xdsl.utils.str_enum import StrEnum


class Layout(StrEnum):
    """Where the channels are: [N,C,*] (ONNX, Caffe) or [N,*,C] (TensorFlow, and what the kernels want)."""

    channels_first = "channels_first"
    channels_last = "channels_last"


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


class CompareKind(StrEnum):
    """Comparisons; a NaN is unequal to everything."""

    eq = "eq"
    ne = "ne"
    lt = "lt"
    le = "le"
    gt = "gt"
    ge = "ge"


class PoolKind(StrEnum):
    """What a pool does with a window."""

    max = "max"
    average = "average"
    sum = "sum"


class ReduceKind(StrEnum):
    """What a reduction does with the elements of its dims."""

    sum = "sum"
    product = "product"
    max = "max"
    min = "min"
    and_ = "and"
    or_ = "or"


class ExtremeKind(StrEnum):
    """Which extreme a position is of."""

    max = "max"
    min = "min"


class CumulativeKind(StrEnum):
    """What a prefix scan does with the elements."""

    sum = "sum"
    product = "product"
    max = "max"
    min = "min"


class CombineKind(StrEnum):
    """How a scatter combines an update with what is there."""

    none = "none"
    add = "add"
    mul = "mul"
    max = "max"
    min = "min"


class Rounding(StrEnum):
    """How a cast to f8E8M0FNU picks a power of two: nearest (halves up), the next above, the next below."""

    nearest = "nearest"
    up = "up"
    down = "down"


class ResizeMode(StrEnum):
    """How a resize or sample interpolates."""

    nearest = "nearest"
    linear = "linear"
    cubic = "cubic"


class Coordinates(StrEnum):
    """Where an output position of a resize lies in the input (ONNX Resize, coordinate_transformation_mode)."""

    half_pixel = "half_pixel"
    half_pixel_symmetric = "half_pixel_symmetric"
    pytorch_half_pixel = "pytorch_half_pixel"
    align_corners = "align_corners"
    asymmetric = "asymmetric"
    tf_half_pixel_for_nn = "tf_half_pixel_for_nn"


class NearestRounding(StrEnum):
    """Which neighbour a nearest resize takes (ONNX Resize, nearest_mode)."""

    round_prefer_floor = "round_prefer_floor"
    round_prefer_ceil = "round_prefer_ceil"
    floor = "floor"
    ceil = "ceil"


class Outside(StrEnum):
    """What a sample reads outside of the input."""

    zeros = "zeros"
    border = "border"
    reflect = "reflect"


class RoiKind(StrEnum):
    """What a region pool does: average or maximum of interpolated samples (RoiAlign), or the maximum of whole cells (Caffe ROIPooling)."""

    align_average = "align_average"
    align_max = "align_max"
    max = "max"


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


class LinearRule(StrEnum):
    """How linear attention updates its state."""

    linear = "linear"
    gated = "gated"
    delta = "delta"
    gated_delta = "gated_delta"


class CollectiveKind(StrEnum):
    """What the ranks of a group exchange."""

    all_reduce = "all_reduce"
    all_gather = "all_gather"
    reduce_scatter = "reduce_scatter"
    all_to_all = "all_to_all"
