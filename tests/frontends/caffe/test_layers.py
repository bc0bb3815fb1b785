"""Each Caffe layer against NumPy, on small networks written as prototxt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.caffe import import_caffe

RANDOM = np.random.default_rng(0)


def _floats(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def _f32(values: Any) -> Array:
    return np.asarray(values, np.float32)


def _network(layer: str, shapes: Sequence[Sequence[int]], tops: Sequence[str] = ("y",)) -> bytes:
    inputs = "".join(
        f'input: "x{i}" input_shape {{ {" ".join(f"dim: {extent}" for extent in shape)} }}\n'
        for i, shape in enumerate(shapes)
    )
    bottoms = "".join(f' bottom: "x{i}"' for i in range(len(shapes)))
    made = "".join(f' top: "{top}"' for top in tops)
    return f'{inputs}layer {{ name: "n"{bottoms}{made} {layer} }}'.encode()


def _run(layer: str, *arrays: Array, blobs: Sequence[Array] = (), tops: Sequence[str] = ("y",)) -> list[Array]:
    text = _network(layer, [a.shape for a in arrays], tops)
    module, weights = import_caffe(text, blobs={"n": list(blobs)})
    module.verify()
    results = interpret(module, {f"x{i}": array for i, array in enumerate(arrays)}, weights)
    return [results[top] for top in tops]


X = _floats(2, 3, 4, 5)
ONE_BOTTOM: list[tuple[str, Callable[[Array], Any]]] = [
    ('type: "ReLU"', lambda x: np.maximum(x, 0)),
    ('type: "ReLU" relu_param { negative_slope: 0.1 }', lambda x: np.where(x > 0, x, 0.1 * x)),
    ('type: "ReLU6"', lambda x: np.clip(x, 0, 6)),
    ('type: "ELU" elu_param { alpha: 0.5 }', lambda x: np.where(x > 0, x, 0.5 * (np.exp(x) - 1))),
    ('type: "Sigmoid"', lambda x: 1 / (1 + np.exp(-x))),
    ('type: "TanH"', np.tanh),
    ('type: "AbsVal"', np.abs),
    ('type: "BNLL"', lambda x: np.log1p(np.exp(x))),
    ('type: "Power" power_param { power: 2 scale: 3 shift: 1 }', lambda x: (1 + 3 * x) ** 2),
    ('type: "Power" power_param { power: 3 }', lambda x: x**3),
    ('type: "Exp" exp_param { base: 2 scale: 0.5 shift: 1 }', lambda x: 2 ** (1 + 0.5 * x)),
    ('type: "Exp"', np.exp),
    ('type: "Log" log_param { base: 10 scale: 0.01 shift: 5 }', lambda x: np.log10(5 + 0.01 * x)),
    ('type: "Threshold" threshold_param { threshold: 0.5 }', lambda x: (x > 0.5).astype(np.float32)),
    ('type: "Clip" clip_param { min: -0.5 max: 0.25 }', lambda x: np.clip(x, -0.5, 0.25)),
    ('type: "Swish" swish_param { beta: 2 }', lambda x: x / (1 + np.exp(-2 * x))),
    ('type: "Dropout"', lambda x: x),
    ('type: "Softmax"', lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    ('type: "Softmax" softmax_param { axis: -1 }', lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    ('type: "Flatten"', lambda x: x.reshape(2, 60)),
    ('type: "Flatten" flatten_param { axis: 0 end_axis: 2 }', lambda x: x.reshape(24, 5)),
    ('type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 10 } }', lambda x: x.reshape(2, 6, 10)),
    ('type: "Reshape" reshape_param { shape { dim: 2 dim: 2 } axis: 2 num_axes: 1 }', lambda x: x.reshape(2, 3, 2, 2, 5)),
    ('type: "Permute" permute_param { order: 0 order: 2 order: 3 }', lambda x: x.transpose(0, 2, 3, 1)),
    ('type: "Tile" tile_param { axis: 2 tiles: 3 }', lambda x: np.tile(x, (1, 1, 3, 1))),
    ('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', lambda x: x),
    ('type: "Reduction" reduction_param { operation: MEAN axis: 1 coeff: 2 }', lambda x: 2 * x.mean((1, 2, 3))),
    ('type: "Reduction" reduction_param { operation: ASUM axis: 2 }', lambda x: np.abs(x).sum((2, 3))),
    ('type: "Reduction" reduction_param { operation: SUMSQ }', lambda x: (x * x).sum()),
    ('type: "ArgMax" argmax_param { axis: 1 }', lambda x: x.argmax(1)[:, None]),
    ('type: "ArgMax"', lambda x: x.reshape(2, -1).argmax(1).reshape(2, 1, 1)),
    ('type: "MVN"', lambda x: (x - x.mean((2, 3), keepdims=True)) / (x.std((2, 3), keepdims=True) + 1e-9)),
    ('type: "MVN" mvn_param { normalize_variance: false across_channels: true }', lambda x: x - x.mean((1, 2, 3), keepdims=True)),
    ('type: "Upsample" upsample_param { scale: 2 }', lambda x: x.repeat(2, 2).repeat(2, 3)),
    ('type: "Pooling" pooling_param { pool: AVE global_pooling: true }', lambda x: x.mean((2, 3), keepdims=True)),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "reference"), ONE_BOTTOM, ids=[layer for layer, _ in ONE_BOTTOM])
def test_layers_of_one_bottom(layer: str, reference: Callable[[Array], Any]) -> None:
    (result,) = _run(layer, X)
    wanted = np.asarray(reference(X.astype(np.float64)))
    assert result.shape == wanted.shape
    np.testing.assert_allclose(result, wanted, rtol=2e-6, atol=2e-6)


def _pooled(x: Array, kernel: int, stride: int, pad: int, mean: bool) -> Array:
    """Caffe's loops: extents round up, a window that would start in the padding behind the image is left out, averages count padding."""
    images, channels, height, width = x.shape
    out = []
    for extent in (height, width):
        count = -(-(extent + 2 * pad - kernel) // stride) + 1
        out.append(count - 1 if pad and (count - 1) * stride >= extent + pad else count)
    result = np.zeros((images, channels, *out))
    for i in range(out[0]):
        for j in range(out[1]):
            top, left = i * stride - pad, j * stride - pad
            bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
            area = (bottom - top) * (right - left)
            part = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            result[:, :, i, j] = part.sum((2, 3)) / area if mean else part.max((2, 3))
    return result


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "extent"),
    [(3, 2, 0, 6), (3, 2, 1, 6), (2, 2, 1, 5), (3, 1, 1, 4), (3, 3, 1, 7), (2, 2, 0, 7)],
)
def test_pools_round_up_as_caffe_does(kernel: int, stride: int, pad: int, extent: int, mean: bool) -> None:
    x = _floats(2, 3, extent, extent + 1)
    kind = "AVE" if mean else "MAX"
    (result,) = _run(
        f'type: "Pooling" pooling_param {{ pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad} }}', x
    )
    np.testing.assert_allclose(result, _pooled(x, kernel, stride, pad, mean), rtol=1e-6, atol=1e-6)


def test_convolution_and_its_adjoint() -> None:
    """<conv(x), y> = <x, deconv(y)> for the same filter, stride, pad and groups."""
    x, y, filter = _floats(2, 4, 9, 7), _floats(2, 6, 5, 4), _floats(6, 2, 3, 3)
    text = "num_output: {} kernel_size: 3 stride: 2 pad: 1 group: 2 bias_term: false"
    (there,) = _run(f'type: "Convolution" convolution_param {{ {text.format(6)} }}', x, blobs=[filter])
    (back,) = _run(f'type: "Deconvolution" convolution_param {{ {text.format(4)} }}', y, blobs=[filter])
    assert (there.shape, back.shape) == (y.shape, x.shape)
    np.testing.assert_allclose((there * y).sum(), (x * back).sum(), rtol=1e-4)


def test_convolution_with_bias_and_unequal_kernel() -> None:
    x, filter, bias = _floats(1, 3, 5, 6), _floats(2, 3, 1, 2), _floats(2)
    layer = 'type: "Convolution" convolution_param { num_output: 2 kernel_h: 1 kernel_w: 2 }'
    (result,) = _run(layer, x, blobs=[filter.reshape(2, 3, 1, 2), bias.reshape(1, 1, 1, 2)])
    wanted = sum(np.einsum("nchw,kc->nkhw", x[..., t : t + 5], filter[:, :, 0, t]) for t in range(2))
    np.testing.assert_allclose(result, wanted + bias[:, None, None], rtol=1e-5, atol=1e-5)


def test_products_and_scales() -> None:
    x, weights, bias = _floats(2, 3, 4), _floats(5, 12), _floats(5)
    (result,) = _run(
        'type: "InnerProduct" inner_product_param { num_output: 5 }', x, blobs=[weights.reshape(1, 1, 5, 12), bias]
    )
    np.testing.assert_allclose(result, x.reshape(2, 12) @ weights.T + bias, rtol=1e-5, atol=1e-5)
    (result,) = _run(
        'type: "InnerProduct" inner_product_param { num_output: 6 axis: 2 transpose: true bias_term: false }',
        x,
        blobs=[weights.reshape(-1)[:24]],
    )
    np.testing.assert_allclose(result, x @ weights.reshape(-1)[:24].reshape(4, 6), rtol=1e-5, atol=1e-5)
    gamma, beta = _floats(3), _floats(3)
    (result,) = _run('type: "Scale" scale_param { bias_term: true }', X, blobs=[gamma, beta])
    np.testing.assert_allclose(result, X * gamma[:, None, None] + beta[:, None, None], rtol=1e-6)
    (result,) = _run('type: "Scale" scale_param { axis: 0 }', X, _floats(2, 3) * 0 + 2)
    np.testing.assert_allclose(result, 2 * X)
    (result,) = _run('type: "Bias" bias_param { axis: 2 num_axes: 2 }', X, blobs=[_floats(4, 5) * 0 + 1])
    np.testing.assert_allclose(result, X + 1)


@pytest.mark.parametrize("factor", [1.0, 4.0, 0.0])
def test_batch_norm_divides_its_sums(factor: float) -> None:
    mean, variance = _floats(3), np.abs(_floats(3)) + 1
    (result,) = _run('type: "BatchNorm" batch_norm_param { eps: 0.001 }', X, blobs=[mean, variance, _f32([factor])])
    scale = 0 if factor == 0 else 1 / factor
    wanted = (X - (mean * scale)[:, None, None]) / np.sqrt((variance * scale)[:, None, None] + 0.001)
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-5)


def test_eltwise_concat_slice_crop() -> None:
    y = _floats(*X.shape)
    np.testing.assert_allclose(_run('type: "Eltwise" eltwise_param { operation: PROD }', X, y)[0], X * y)
    np.testing.assert_allclose(
        _run('type: "Eltwise" eltwise_param { coeff: 1 coeff: -2 }', X, y)[0], X - 2 * y, rtol=1e-6
    )
    np.testing.assert_allclose(_run('type: "Eltwise" eltwise_param { operation: MAX }', X, y, X)[0], np.maximum(X, y))
    np.testing.assert_allclose(_run('type: "Concat" concat_param { axis: 2 }', X, y)[0], np.concatenate([X, y], 2))
    np.testing.assert_allclose(
        _run('type: "Concat" concat_param { concat_dim: 0 }', X, y)[0], np.concatenate([X, y], 0)
    )
    a, b = _run('type: "Slice" slice_param { slice_point: 1 }', X, tops=["a", "b"])
    np.testing.assert_array_equal(np.concatenate([a, b], 1), X)
    assert a.shape[1] == 1
    parts = _run('type: "Slice" slice_param { axis: 0 }', X, tops=["a", "b"])
    np.testing.assert_array_equal(parts[1], X[1:])
    (cropped,) = _run('type: "Crop" crop_param { axis: 2 offset: 1 offset: 2 }', X, _floats(9, 9, 2, 3))
    np.testing.assert_array_equal(cropped, X[:, :, 1:3, 2:5])
    (shared,) = _run('type: "Axpy"', _floats(2, 3, 1, 1) * 0 + 3, X, y)
    np.testing.assert_allclose(shared, 3 * X + y, rtol=1e-6)


def test_lrn() -> None:
    squares = X.astype(np.float64) ** 2
    padded = np.pad(squares, [(0, 0), (1, 1), (0, 0), (0, 0)])
    total = padded[:, :3] + padded[:, 1:4] + padded[:, 2:]
    (result,) = _run('type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 k: 2 }', X)
    np.testing.assert_allclose(result, X * (2 + 0.5 / 3 * total) ** -0.75, rtol=1e-5)
    (within,) = _run('type: "LRN" lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }', X)
    edged = np.pad(squares, [(0, 0), (0, 0), (1, 1), (1, 1)])
    mean = sum(edged[:, :, i : i + 4, j : j + 5] for i in range(3) for j in range(3)) / 9
    np.testing.assert_allclose(within, X * (1 + 0.5 * mean) ** -0.75, rtol=1e-5)


def test_layers_with_blobs() -> None:
    slope = _f32([0.1, 0.2, 0.3])
    np.testing.assert_allclose(
        _run('type: "PReLU"', X, blobs=[slope])[0], np.where(X > 0, X, X * slope[:, None, None]), rtol=1e-6
    )
    (shared,) = _run('type: "PReLU" prelu_param { channel_shared: true }', X, blobs=[_f32([0.5])])
    np.testing.assert_allclose(shared, np.where(X > 0, X, X * 0.5))
    (normal,) = _run('type: "Normalize" norm_param { across_spatial: false channel_shared: false }', X, blobs=[slope])
    np.testing.assert_allclose(
        normal, X / np.sqrt((X**2).sum(1, keepdims=True) + 1e-10) * slope[:, None, None], rtol=1e-5
    )
    table = _floats(7, 4)
    (rows,) = _run(
        'type: "Embed" embed_param { input_dim: 7 num_output: 4 bias_term: false }',
        _f32([[1, 6], [0, 3]]),
        blobs=[table],
    )
    np.testing.assert_array_equal(rows, table[[[1, 6], [0, 3]]])


def test_recurrent_layers_stop_where_cont_says() -> None:
    steps, rows, width, hidden = 3, 2, 4, 5
    x, cont = _floats(steps, rows, width), _f32([[0, 0], [1, 0], [1, 1]])
    w, b, r = _floats(4 * hidden, width), _floats(4 * hidden), _floats(4 * hidden, hidden)
    (result,) = _run(f'type: "LSTM" recurrent_param {{ num_output: {hidden} }}', x, cont, blobs=[w, b, r])
    h = c = np.zeros((rows, hidden))
    for t in range(steps):
        gate = cont[t][:, None]
        i, f, o, g = np.split(x[t] @ w.T + b + (gate * h) @ r.T, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
        c = gate * (f * c) + i * np.tanh(g)
        h = o * np.tanh(c)
        np.testing.assert_allclose(result[t], h, rtol=1e-5, atol=1e-6)


def test_prior_boxes_of_one_cell() -> None:
    layer = 'type: "PriorBox" prior_box_param { min_size: 4 max_size: 16 aspect_ratio: 4 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }'
    (result,) = _run(layer, _floats(1, 2, 1, 1), _floats(1, 3, 16, 16))
    assert result.shape == (1, 2, 16)
    boxes = result[0, 0].reshape(4, 4) * 16
    np.testing.assert_allclose(boxes, [[6, 6, 10, 10], [4, 4, 12, 12], [4, 7, 12, 9], [7, 4, 9, 12]], rtol=1e-6)
    np.testing.assert_allclose(result[0, 1].reshape(4, 4), np.tile([0.1, 0.1, 0.2, 0.2], (4, 1)))


def test_unpooling_puts_maxima_back() -> None:
    x = _floats(1, 2, 4, 4)
    values, positions = _run('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', x, tops=["v", "p"])
    (back,) = _run('type: "Upsample" upsample_param { scale: 2 }', values, positions)
    wanted = np.where(x == values.repeat(2, 2).repeat(2, 3), x, 0)
    np.testing.assert_array_equal(back, wanted)


def test_interpolation_keeps_the_corners() -> None:
    x = _floats(1, 2, 3, 4)
    (result,) = _run('type: "Interp" interp_param { zoom_factor: 2 }', x)
    assert result.shape == (1, 2, 5, 7)
    np.testing.assert_allclose(result[:, :, ::2, ::2], x, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(result[:, :, 0, 1], (x[:, :, 0, 0] + x[:, :, 0, 1]) / 2, rtol=1e-5, atol=1e-6)
    (given,) = _run('type: "Interp" interp_param { height: 9 width: 2 pad_end: -1 }', x)
    np.testing.assert_allclose(given[:, :, 0, 0], x[:, :, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(given[:, :, 8, 1], x[:, :, 1, 2], rtol=1e-6)


def test_maxima_of_a_box() -> None:
    x = _floats(2, 3, 8, 8)
    layer = 'type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }'
    (result,) = _run(layer, x, _f32([[1, 0, 0, 14, 14], [0, 4, 4, 10, 10]]))
    assert result.shape == (2, 3, 2, 2)
    np.testing.assert_array_equal(result[0], x[1].reshape(3, 2, 4, 2, 4).max((2, 4)))
    np.testing.assert_array_equal(result[1], x[0, :, 2:6, 2:6].reshape(3, 2, 2, 2, 2).max((2, 4)))


def test_recurrence_with_an_output_layer() -> None:
    """RNN: h = tanh(x W + b + cont * h R), the result tanh(h O + c)."""
    steps, rows, width, hidden = 3, 2, 4, 5
    x, cont = _floats(steps, rows, width), _f32([[0, 0], [1, 0], [1, 1]])
    w, b, r, o, c = (
        _floats(hidden, width),
        _floats(hidden),
        _floats(hidden, hidden),
        _floats(hidden, hidden),
        _floats(5),
    )
    (result,) = _run(f'type: "RNN" recurrent_param {{ num_output: {hidden} }}', x, cont, blobs=[w, b, r, o, c])
    h = np.zeros((rows, hidden))
    for t in range(steps):
        h = np.tanh(x[t] @ w.T + b + (cont[t][:, None] * h) @ r.T)
        np.testing.assert_allclose(result[t], np.tanh(h @ o.T + c), rtol=1e-5, atol=1e-6)


def test_recurrence_with_a_static_input_and_exposed_states() -> None:
    """The static input has a projection of its own; the states come in and go out as [1, N, H]."""
    steps, rows, width, hidden = 2, 3, 4, 5
    x, cont, static = _floats(steps, rows, width), _f32([[1, 0, 1], [1, 1, 0]]), _floats(rows, 2, 3)
    h, c = _floats(1, rows, hidden), _floats(1, rows, hidden)
    w, b, s, r = _floats(20, width), _floats(20), _floats(20, 6), _floats(20, hidden)
    layer = 'type: "LSTM" recurrent_param { num_output: 5 expose_hidden: true }'
    found, last_h, last_c = _run(layer, x, cont, static, h, c, blobs=[w, b, s, r], tops=["y", "h", "c"])
    h0, c0 = h[0].astype(np.float64), c[0].astype(np.float64)
    for t in range(steps):
        gate = cont[t][:, None]
        gates = x[t] @ w.T + b + static.reshape(rows, 6) @ s.T + (gate * h0) @ r.T
        i, f, o, g = np.split(gates, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
        c0 = gate * (f * c0) + i * np.tanh(g)
        h0 = o * np.tanh(c0)
        np.testing.assert_allclose(found[t], h0, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([last_h[0], last_c[0]], [h0, c0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("type", ["DepthwiseConvolution", "ConvolutionDepthwise"])
def test_depthwise_convolutions_have_a_group_for_each_channel(type: str) -> None:
    filter, bias = _floats(3, 1, 3, 3), _floats(3)
    text = "convolution_param { num_output: 3 kernel_size: 3 pad: 1 %s }"
    (result,) = _run(f'type: "{type}" {text % ""}', X, blobs=[filter, bias])
    (wanted,) = _run(f'type: "Convolution" {text % "group: 3"}', X, blobs=[filter, bias])
    np.testing.assert_array_equal(result, wanted)


def test_windows_as_channels() -> None:
    """Im2col: channel, then row and column of the window; zeros outside."""
    (result,) = _run('type: "Im2col" convolution_param { kernel_h: 2 kernel_w: 3 stride: 2 pad: 1 }', X)
    padded = np.pad(X, [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), axis=(2, 3))[:, :, ::2, ::2]
    np.testing.assert_array_equal(result, windows.transpose(0, 1, 4, 5, 2, 3).reshape(2, 18, *windows.shape[2:4]))


@pytest.mark.parametrize("mean", [False, True])
def test_pyramids_are_pools_of_the_whole_image(mean: bool) -> None:
    """SPP: 1, 2 x 2 and 4 x 4 bins of 8 x 8."""
    x = _floats(2, 3, 8, 8)
    (result,) = _run(f'type: "SPP" spp_param {{ pyramid_height: 3 pool: {"AVE" if mean else "MAX"} }}', x)
    wanted = [_pooled(x, 8 // bins, 8 // bins, 0, mean).reshape(2, -1) for bins in (1, 2, 4)]
    np.testing.assert_allclose(result, np.concatenate(wanted, 1), rtol=1e-6, atol=1e-6)


def test_images_by_number_copies_and_parameters() -> None:
    (picked,) = _run('type: "BatchReindex"', X, _f32([1, 0, 1]))
    np.testing.assert_array_equal(picked, X[[1, 0, 1]])
    np.testing.assert_array_equal(_run('type: "Split"', X, tops=["a", "b"]), [X, X])
    held = _floats(2, 3)
    text = 'layer { name: "n" type: "Parameter" top: "y" parameter_param { shape { dim: 2 dim: 3 } } }'
    module, weights = import_caffe(text.encode(), blobs={"n": [held]})
    np.testing.assert_array_equal(interpret(module, {}, weights)["y"], held)
