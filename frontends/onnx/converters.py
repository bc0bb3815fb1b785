"""The table from ONNX operator to converter. A new operator is one function in a `convert_*` file and one line here."""

from __future__ import annotations

from stepwell.frontends.onnx import convert_activation as activation
from stepwell.frontends.onnx import convert_attention as attention
from stepwell.frontends.onnx import convert_control as control
from stepwell.frontends.onnx import convert_counted as counted
from stepwell.frontends.onnx import convert_einsum as einsum
from stepwell.frontends.onnx import convert_elementwise as elementwise
from stepwell.frontends.onnx import convert_generate as generate
from stepwell.frontends.onnx import convert_geometry as geometry
from stepwell.frontends.onnx import convert_gradient as training
from stepwell.frontends.onnx import convert_indexing as indexing
from stepwell.frontends.onnx import convert_matmul as matmul
from stepwell.frontends.onnx import convert_movement as movement
from stepwell.frontends.onnx import convert_norm as norm
from stepwell.frontends.onnx import convert_normalise as normalise
from stepwell.frontends.onnx import convert_quantise as quantise
from stepwell.frontends.onnx import convert_random as random
from stepwell.frontends.onnx import convert_recurrent as recurrent
from stepwell.frontends.onnx import convert_reduction as reduction
from stepwell.frontends.onnx import convert_resample as resample
from stepwell.frontends.onnx import convert_scatter as scatter
from stepwell.frontends.onnx import convert_sequence as sequence
from stepwell.frontends.onnx import convert_signal as signal
from stepwell.frontends.onnx import convert_slice as parts
from stepwell.frontends.onnx import convert_space as space
from stepwell.frontends.onnx import convert_suppression as suppression
from stepwell.frontends.onnx import convert_text as text
from stepwell.frontends.onnx import convert_window as window

CONVERTERS: dict[str, elementwise.Converter] = {
    "Abs": elementwise.unary("abs"),
    "Acos": elementwise.unary("acos"),
    "Acosh": elementwise.unary("acosh"),
    "Add": elementwise.binary("add"),
    "AffineGrid": geometry.affine_grid,
    "And": elementwise.binary("and"),
    "ArgMax": reduction.arg_reduction("max"),
    "ArgMin": reduction.arg_reduction("min"),
    "Asin": elementwise.unary("asin"),
    "Asinh": elementwise.unary("asinh"),
    "Atan": elementwise.unary("atan"),
    "Atanh": elementwise.unary("atanh"),
    "AveragePool": window.average_pool,
    "BatchNormalization": normalise.batch_normalization,
    "Bernoulli": random.bernoulli,
    "BitCast": norm.bit_cast,
    "BitShift": activation.shift,
    "BitwiseAnd": elementwise.binary("and"),
    "BitwiseNot": activation.sign_of_bits,
    "BitwiseOr": elementwise.binary("or"),
    "BitwiseXor": elementwise.binary("xor"),
    "BlackmanWindow": signal.window_function((0.42, -0.5, 0.08)),
    "Cast": elementwise.cast,
    "CastLike": elementwise.cast_like,
    "Ceil": elementwise.unary("ceil"),
    "Celu": activation.celu,
    "CenterCropPad": parts.center_crop_pad,
    "Clip": activation.clip,
    "Col2Im": scatter.col2im,
    "Compress": counted.compress,
    "Concat": indexing.concat,
    "ConcatFromSequence": sequence.concat,
    "ConstantOfShape": generate.constant_of_shape,
    "Conv": window.conv,
    "ConvInteger": quantise.conv_integer,
    "ConvTranspose": norm.conv_transpose,
    "Cos": elementwise.unary("cos"),
    "Cosh": elementwise.unary("cosh"),
    "CumProd": reduction.cumulative("product"),
    "CumSum": reduction.cumulative("sum"),
    "DFT": signal.dft,
    "DeformConv": geometry.deform_conv,
    "DepthToSpace": space.depth_to_space,
    "DequantizeLinear": quantise.dequantize_linear,
    "Det": norm.determinant,
    "Div": elementwise.binary("div"),
    "Dropout": movement.dropout,
    "Einsum": einsum.einsum,
    "Elu": activation.elu,
    "Equal": activation.compare("eq"),
    "Erf": elementwise.unary("erf"),
    "Exp": elementwise.unary("exp"),
    "Expand": indexing.expand,
    "EyeLike": norm.eye_like,
    "Flatten": movement.flatten,
    "Floor": elementwise.unary("floor"),
    "GRU": recurrent.recurrent,
    "Gather": indexing.gather,
    "GatherElements": indexing.gather_elements,
    "GatherND": indexing.gather_nd,
    "Gelu": elementwise.gelu,
    "Gemm": matmul.gemm,
    "GlobalAveragePool": window.global_average_pool,
    "GlobalLpPool": norm.global_lp_pool,
    "GlobalMaxPool": window.global_max_pool,
    "Greater": activation.compare("gt"),
    "GreaterOrEqual": activation.compare("ge"),
    "GridSample": resample.grid_sample,
    "HammingWindow": signal.window_function((25 / 46, -21 / 46)),
    "HannWindow": signal.window_function((0.5, -0.5)),
    "HardSigmoid": activation.hard_sigmoid,
    "HardSwish": activation.hard_swish,
    "Hardmax": normalise.hardmax,
    "Identity": movement.identity,
    "If": control.branch,
    "InstanceNormalization": normalise.instance_normalization,
    "IsInf": activation.is_infinite,
    "IsNaN": activation.is_nan,
    "LRN": normalise.lrn,
    "LSTM": recurrent.recurrent,
    "LayerNormalization": normalise.layer_normalization,
    "LeakyRelu": activation.leaky_relu,
    "Less": activation.compare("lt"),
    "LessOrEqual": activation.compare("le"),
    "LinearAttention": attention.linear_attention,
    "Log": elementwise.unary("log"),
    "LogSoftmax": normalise.softmax(True),
    "Loop": control.loop,
    "LpNormalization": norm.lp_normalization,
    "LpPool": norm.lp_pool,
    "MatMul": matmul.matmul,
    "MatMulInteger": quantise.matmul_integer,
    "Max": elementwise.variadic("max"),
    "MaxPool": window.max_pool,
    "MaxRoiPool": resample.max_roi_pool,
    "MaxUnpool": scatter.max_unpool,
    "Mean": activation.mean,
    "MeanVarianceNormalization": normalise.mean_variance_normalization,
    "MelWeightMatrix": signal.mel_weight_matrix,
    "Min": elementwise.variadic("min"),
    "Mish": activation.mish,
    "Mod": activation.modulo,
    "Mul": elementwise.binary("mul"),
    "Multinomial": random.multinomial,
    "Neg": elementwise.unary("neg"),
    "NonMaxSuppression": suppression.non_max_suppression,
    "NonZero": counted.non_zero,
    "Not": elementwise.unary("not"),
    "OneHot": generate.one_hot,
    "Optional": sequence.optional,
    "OptionalGetElement": sequence.optional_get,
    "OptionalHasElement": sequence.optional_has,
    "Or": elementwise.binary("or"),
    "PRelu": activation.prelu,
    "Pad": parts.pad,
    "Pow": activation.power,
    "QLinearConv": quantise.qlinear_conv,
    "QLinearMatMul": quantise.qlinear_matmul,
    "QuantizeLinear": quantise.quantize_linear,
    "RNN": recurrent.recurrent,
    "RandomNormal": random.normal,
    "RandomNormalLike": random.normal,
    "RandomUniform": random.uniform,
    "RandomUniformLike": random.uniform,
    "Range": generate.value_range,
    "Reciprocal": activation.reciprocal,
    "ReduceL1": reduction.reduction("l1"),
    "ReduceL2": reduction.reduction("l2"),
    "ReduceLogSum": reduction.reduction("log_sum"),
    "ReduceLogSumExp": reduction.log_sum_exp,
    "ReduceMax": reduction.reduction("max"),
    "ReduceMean": reduction.reduction("mean"),
    "ReduceMin": reduction.reduction("min"),
    "ReduceProd": reduction.reduction("prod"),
    "ReduceSum": reduction.reduction("sum"),
    "ReduceSumSquare": reduction.reduction("sum_square"),
    "Relu": elementwise.unary("relu"),
    "Reshape": movement.reshape,
    "Resize": resample.resize,
    "ReverseSequence": scatter.reverse_sequence,
    "RoiAlign": resample.roi_align,
    "Round": elementwise.unary("round_even"),
    "STFT": signal.stft,
    "Scan": control.scan,
    "Scatter": indexing.scatter_elements,
    "ScatterElements": indexing.scatter_elements,
    "ScatterND": indexing.scatter_nd,
    "Selu": activation.selu,
    "SequenceAt": sequence.at,
    "SequenceConstruct": sequence.construct,
    "SequenceEmpty": sequence.empty,
    "SequenceErase": sequence.erase,
    "SequenceInsert": sequence.insert,
    "SequenceLength": sequence.length,
    "SequenceMap": sequence.sequence_map,
    "Shape": indexing.shape,
    "Shrink": activation.shrink,
    "Sigmoid": elementwise.unary("sigmoid"),
    "Sign": elementwise.unary("sign"),
    "Sin": elementwise.unary("sin"),
    "Sinh": elementwise.unary("sinh"),
    "Size": indexing.size,
    "Slice": parts.slice,
    "Softmax": normalise.softmax(False),
    "Softplus": elementwise.unary("softplus"),
    "Softsign": activation.softsign,
    "SpaceToDepth": space.space_to_depth,
    "Split": indexing.split,
    "SplitToSequence": sequence.split,
    "Sqrt": elementwise.unary("sqrt"),
    "Squeeze": movement.squeeze,
    "StringNormalizer": text.string_normalizer,
    "Sub": elementwise.binary("sub"),
    "Sum": elementwise.variadic("add"),
    "Swish": activation.swish,
    "Tan": elementwise.unary("tan"),
    "Tanh": elementwise.unary("tanh"),
    "TensorScatter": scatter.tensor_scatter,
    "TfIdfVectorizer": text.tf_idf_vectorizer,
    "ThresholdedRelu": activation.thresholded_relu,
    "Tile": indexing.tile,
    "TopK": reduction.top_k,
    "Transpose": movement.transpose,
    "Trilu": generate.triangle,
    "Unique": counted.unique,
    "Unsqueeze": movement.unsqueeze,
    "Upsample": resample.resize,
    "Where": activation.where,
    "Xor": elementwise.binary("xor"),
}
"""Operators of ONNX's default domain by name; Constant is handled by the importer."""
RUNTIME: dict[str, elementwise.Converter] = {"QLinearAdd": quantise.qlinear_add}
"""Operators of ONNX Runtime's own domain, com.microsoft, that its quantiser writes into networks."""


TRAINING: dict[str, elementwise.Converter] = {"Gradient": training.gradient}
"""Operators of ONNX's training domain."""


def converter_of(domain: str, op_type: str) -> elementwise.Converter | None:
    """The converter of an operator; None where there is none."""
    tables = {"": CONVERTERS, "ai.onnx": CONVERTERS, "com.microsoft": RUNTIME, training.TRAINING: TRAINING}
    return tables.get(domain, {}).get(op_type)
