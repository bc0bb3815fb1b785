"""The table from operator to converter. A new operator is one function in a `convert_*` file and one line here."""

from __future__ import annotations

from stepwell.frontends.tensorflow import convert_bits as bits
from stepwell.frontends.tensorflow import convert_block as block
from stepwell.frontends.tensorflow import convert_boxes as boxes
from stepwell.frontends.tensorflow import convert_counted as counted
from stepwell.frontends.tensorflow import convert_elementwise as elementwise
from stepwell.frontends.tensorflow import convert_image as image
from stepwell.frontends.tensorflow import convert_linear as linear
from stepwell.frontends.tensorflow import convert_movement as movement
from stepwell.frontends.tensorflow import convert_product as product
from stepwell.frontends.tensorflow import convert_recurrent as recurrent
from stepwell.frontends.tensorflow import convert_reduction as reduction
from stepwell.frontends.tensorflow import convert_special as special
from stepwell.frontends.tensorflow import convert_window as window
from stepwell.frontends.tensorflow.convert_strided import strided_slice
from stepwell.frontends.tensorflow.node import Converter

_SAME = (
    *(
        "Identity",
        "IdentityN",
        "Snapshot",
        "StopGradient",
        "PreventGradient",
        "CheckNumerics",
        "PlaceholderWithDefault",
    ),
    "EnsureShape",
)
_UNARY = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Asin": "asin", "Asinh": "asinh", "Atan": "atan", "Atanh": "atanh",
    "Cos": "cos", "Cosh": "cosh", "Erf": "erf", "Exp": "exp", "Expm1": "expm1", "Log": "log", "Log1p": "log1p",
    "LogicalNot": "not", "Neg": "neg", "Relu": "relu", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin", "Sinh": "sinh",
    "Softplus": "softplus", "Sqrt": "sqrt", "Tan": "tan", "Tanh": "tanh",
}  # fmt: skip
_ROUNDED = {"Ceil": "ceil", "Floor": "floor", "Rint": "round_even", "Round": "round_even"}
_BINARY = {
    "Add": "add", "AddV2": "add", "Atan2": "atan2", "BitwiseAnd": "and", "BitwiseOr": "or", "BitwiseXor": "xor", "Div": "div",
    "FloorMod": "mod", "LogicalAnd": "and", "LogicalOr": "or", "Maximum": "max", "Minimum": "min", "Mod": "rem", "Mul": "mul",
    "Pow": "pow", "RealDiv": "div", "Sub": "sub", "TruncateDiv": "div", "TruncateMod": "rem",
}  # fmt: skip
_COMPARE = {
    "Equal": "eq", "Greater": "gt", "GreaterEqual": "ge", "Less": "lt", "LessEqual": "le", "NotEqual": "ne",
}  # fmt: skip
_REDUCE = {"All": "and", "Any": "or", "Max": "max", "Min": "min", "Prod": "product", "Sum": "sum"}

CONVERTERS: dict[str, Converter] = {
    **boxes.CONVERTERS,
    **counted.CONVERTERS,
    **linear.CONVERTERS,
    **special.CONVERTERS,
    **dict.fromkeys(_SAME, elementwise.identity),
    **{op: elementwise.unary(kind) for op, kind in _UNARY.items()},
    **{op: elementwise.rounded(kind) for op, kind in _ROUNDED.items()},
    **{op: elementwise.binary(kind) for op, kind in _BINARY.items()},
    **{op: elementwise.compare(kind) for op, kind in _COMPARE.items()},
    **{op: reduction.reduce(kind) for op, kind in _REDUCE.items()},
    "AccumulateNV2": elementwise.add_n,
    "AddN": elementwise.add_n,
    "ArgMax": reduction.arg("max"),
    "ArgMin": reduction.arg("min"),
    "AvgPool": window.pool("average"),
    "AvgPool3D": window.pool("average"),
    "BatchMatMul": product.batch_matmul,
    "BatchMatMulV2": product.batch_matmul,
    "BatchMatMulV3": product.batch_matmul,
    "BatchToSpaceND": block.batch_to_space,
    "BiasAdd": elementwise.bias_add,
    "Bincount": reduction.bincount,
    "Bitcast": bits.bitcast,
    "BroadcastTo": movement.broadcast_to,
    "BlockLSTM": recurrent.lstm,
    "Cast": elementwise.cast,
    "ClipByValue": elementwise.clip,
    "Concat": movement.concat,
    "ConcatV2": movement.concat,
    "Const": elementwise.constant,
    "Conv2D": window.convolution,
    "Conv2DBackpropInput": window.transposed,
    "Conv3D": window.convolution,
    "Conv3DBackpropInputV2": window.transposed,
    "Cumprod": reduction.cumulative("product"),
    "Cumsum": reduction.cumulative("sum"),
    "DepthToSpace": block.depth_to_space,
    "DepthwiseConv2dNative": window.depthwise,
    "DivNoNan": elementwise.zero_aware("div", 1),
    "Elu": elementwise.elu,
    "ExpandDims": movement.expand_dims,
    "ExtractImagePatches": image.patches,
    "FakeQuantWithMinMaxArgs": elementwise.fake_quant,
    "FakeQuantWithMinMaxVars": elementwise.fake_quant,
    "FakeQuantWithMinMaxVarsPerChannel": elementwise.fake_quant,
    "Fill": movement.fill,
    "FloorDiv": elementwise.floor_div,
    "FusedBatchNorm": reduction.batch_norm,
    "FusedBatchNormV2": reduction.batch_norm,
    "FusedBatchNormV3": reduction.batch_norm,
    "GRUBlockCell": recurrent.gru_cell,
    "Gather": product.gather,
    "GatherNd": product.gather_nd,
    "GatherV2": product.gather,
    "HSVToRGB": image.hsv_to_rgb,
    "HistogramFixedWidth": reduction.histogram,
    "Inv": elementwise.reciprocal,
    "Invert": elementwise.invert,
    "InvertPermutation": product.invert_permutation,
    "L2Loss": reduction.l2_loss,
    "LRN": reduction.lrn,
    "LSTMBlockCell": recurrent.lstm_cell,
    "LeakyRelu": elementwise.leaky_relu,
    "LeftShift": elementwise.shift("shift_left"),
    "LinSpace": movement.linspace,
    "LogSoftmax": reduction.softmax(log=True),
    "MatMul": product.matmul,
    "MatrixDiag": product.matrix_diag,
    "MatrixDiagPart": product.matrix_diag_part,
    "MatrixSetDiag": product.matrix_set_diag,
    "MaxPool": window.pool("max"),
    "MaxPool3D": window.pool("max"),
    "Mean": reduction.mean,
    "MirrorPad": movement.mirror_pad,
    "MulNoNan": elementwise.zero_aware("mul", 1),
    "OneHot": reduction.one_hot,
    "OnesLike": elementwise.like(1),
    "Pack": movement.pack,
    "Pad": movement.pad,
    "PadV2": movement.pad,
    "ParallelConcat": movement.parallel_concat,
    "RGBToHSV": image.rgb_to_hsv,
    "RandomUniform": movement.random_uniform,
    "RaggedRange": movement.ragged_range,
    "Range": movement.range_,
    "Rank": movement.rank,
    "Reciprocal": elementwise.reciprocal,
    "Relu6": elementwise.relu6,
    "Reshape": movement.reshape,
    "ResizeArea": image.resize_area,
    "ResizeBicubic": image.resize_bicubic,
    "ResizeBilinear": window.resize("linear"),
    "ResizeNearestNeighbor": window.resize("nearest"),
    "ReverseSequence": product.reverse_sequence,
    "ReverseV2": movement.reverse,
    "RightShift": elementwise.shift("shift_right"),
    "Roll": movement.roll,
    "Rsqrt": elementwise.rsqrt,
    "ScatterNd": product.scatter_nd,
    "Select": elementwise.select,
    "SelectV2": elementwise.select_v2,
    "Selu": elementwise.selu,
    "Shape": movement.shape,
    "ShapeN": movement.shape,
    "Size": movement.size,
    "Slice": movement.slice_,
    "Softmax": reduction.softmax(log=False),
    "SoftmaxCrossEntropyWithLogits": reduction.softmax_cross_entropy,
    "Softsign": elementwise.softsign,
    "SpaceToBatchND": block.space_to_batch,
    "SpaceToDepth": block.space_to_depth,
    "SparseSoftmaxCrossEntropyWithLogits": reduction.sparse_softmax_cross_entropy,
    "SparseTensorDenseAdd": product.sparse_dense_add,
    "Split": movement.split,
    "SplitV": movement.split,
    "Square": elementwise.square,
    "SquaredDifference": elementwise.squared_difference,
    "Squeeze": movement.squeeze,
    "StridedSlice": strided_slice,
    "Tile": movement.tile,
    "TopK": reduction.top_k,
    "TopKV2": reduction.top_k,
    "Transpose": movement.transpose,
    "Unpack": movement.unpack,
    "UnsortedSegmentMax": reduction.segment("max", "lowest"),
    "UnsortedSegmentMin": reduction.segment("min", "highest"),
    "UnsortedSegmentProd": reduction.segment("mul", "one"),
    "UnsortedSegmentSum": reduction.segment("add", "zero"),
    "Xdivy": elementwise.zero_aware("div", 0),
    "Xlog1py": elementwise.zero_aware("log1p", 0),
    "Xlogy": elementwise.zero_aware("log", 0),
    "ZerosLike": elementwise.like(0),
}
"""Operators by name."""

_ITERATIVE = "its iteration until convergence has no form in graph ops: compute it before the network"
_STRINGS = "strings have no device type: do it before the network"
REFUSED: dict[str, str] = {
    **dict.fromkeys(("Eig", "MatrixExponential", "Qr", "SelfAdjointEigV2", "Svd"), _ITERATIVE),
    **dict.fromkeys(("AsString", "DecodeJpeg", "DecodePng", "ParseExample", "ParseExampleV2", "StringJoin"), _STRINGS),
    **dict.fromkeys(("HashTableV2", "LookupTableFindV2"), _STRINGS),
    **dict.fromkeys(("DrawBoundingBoxes", "DrawBoundingBoxesV2"), "it draws for a viewer: draw behind the network"),
    **dict.fromkeys(("PyFunc", "EagerPyFunc"), "it calls Python: a network holds no program text"),
}
"""Operators that stay out, with the reason."""
