"""Layers beside OpenCV, an independent reader of Caffe networks, and where it is not Caffe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.caffe import import_caffe
from stepwell.frontends.caffe.prototxt import parse_prototxt
from stepwell.testing.caffe_files import Blobs
from stepwell.testing.opencv_caffe import missing, opencv_outputs

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
RANDOM = np.random.default_rng(0)


def _floats(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def _both(text: str, feeds: Mapping[str, Array], blobs: Blobs) -> tuple[dict[str, Array], dict[str, Array]]:
    """What the importer and the interpreter give, and what OpenCV gives."""
    network, _ = parse_prototxt(text.encode(), "the test")
    module, weights = import_caffe(text.encode(), blobs=blobs)
    results = interpret(module, feeds, weights)
    theirs = opencv_outputs(list(network.layer), blobs, feeds, list(results))
    return results, dict(zip(results, theirs, strict=True))


def _layer(layer: str, arrays: Sequence[Array], blobs: Sequence[Array]) -> tuple[Array, Array]:
    inputs = "".join(
        f'input: "x{i}" input_shape {{ {" ".join(f"dim: {extent}" for extent in a.shape)} }}\n'
        for i, a in enumerate(arrays)
    )
    bottoms = "".join(f' bottom: "x{i}"' for i in range(len(arrays)))
    text = f'{inputs}layer {{ name: "n"{bottoms} top: "y" {layer} }}'
    ours, theirs = _both(text, {f"x{i}": a for i, a in enumerate(arrays)}, {"n": list(blobs)} if blobs else {})
    return ours["y"], theirs["y"]


X = (2, 3, 7, 9)
Shapes = Sequence[tuple[int, ...]]
LAYERS: list[tuple[str, Shapes, Shapes]] = [
    *(
        (f'type: "Pooling" pooling_param {{ pool: {pool} kernel_size: {k} stride: {s} pad: {p} }}', [X], [])
        for k, s, p in [(3, 2, 0), (3, 2, 1), (2, 2, 1), (3, 1, 1), (3, 3, 1), (5, 2, 2), (4, 3, 2)]
        for pool in ("MAX", "AVE")
    ),
    ('type: "Pooling" pooling_param { pool: AVE global_pooling: true }', [X], []),
    ('type: "Pooling" pooling_param { kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 pad_w: 1 pad_h: 0 }', [X], []),
    ('type: "LRN" lrn_param { local_size: 3 alpha: 0.5 }', [X], []),
    ('type: "LRN" lrn_param { local_size: 5 alpha: 0.5 norm_region: WITHIN_CHANNEL }', [X], []),
    ('type: "LRN" lrn_param { local_size: 3 alpha: 2.5 beta: 0.5 norm_region: WITHIN_CHANNEL }', [X], []),
    ('type: "Convolution" convolution_param { num_output: 6 kernel_size: 3 stride: 2 group: 3 dilation: 2 pad: 2 }', [X], [(6, 1, 3, 3), (6,)]),
    ('type: "Convolution" convolution_param { num_output: 4 kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 1 }', [X], [(4, 3, 1, 3), (4,)]),
    ('type: "Deconvolution" convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 }', [X], [(3, 4, 4, 4), (4,)]),
    ('type: "Deconvolution" convolution_param { num_output: 3 kernel_size: 4 stride: 2 pad: 1 group: 3 bias_term: false }', [X], [(3, 1, 4, 4)]),
    ('type: "Deconvolution" convolution_param { num_output: 6 kernel_size: 3 stride: 3 group: 3 }', [X], [(3, 2, 3, 3), (6,)]),
    ('type: "Normalize" norm_param { across_spatial: false channel_shared: false }', [X], [(3,)]),
    ('type: "Normalize"', [X], [(1,)]),
    ('type: "MVN"', [X], []),
    ('type: "MVN" mvn_param { across_channels: true }', [X], []),
    ('type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }', [X], []),
    ('type: "Flatten" flatten_param { axis: 1 end_axis: 2 }', [X], []),
    ('type: "Reshape" reshape_param { shape { dim: 7 dim: 3 } axis: 1 num_axes: 2 }', [X], []),
    ('type: "Crop" crop_param { axis: 2 offset: 1 offset: 2 }', [X, (1, 5, 4, 4)], []),
    ('type: "Scale" scale_param { axis: 2 num_axes: 2 }', [X], [(7, 9)]),
    ('type: "Scale" scale_param { axis: 0 }', [X, (2, 3)], []),
    ('type: "InnerProduct" inner_product_param { num_output: 5 axis: 2 }', [X], [(5, 63), (5,)]),
    ('type: "PReLU"', [X], [(3,)]),
    ('type: "Power" power_param { power: 2 scale: 3 shift: 1 }', [X], []),
    ('type: "Exp" exp_param { base: 2 scale: 0.5 shift: 1 }', [X], []),
    ('type: "Eltwise" eltwise_param { coeff: 1 coeff: -2 }', [X, X], []),
    ('type: "Interp" interp_param { height: 11 width: 5 }', [X], []),
    ('type: "Interp" interp_param { zoom_factor: 2 }', [X], []),
    ('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', [(2, 6, 4, 5)], []),
    ('type: "PriorBox" prior_box_param { min_size: 10 max_size: 20 aspect_ratio: 2 aspect_ratio: 3 variance: 0.1 clip: true step: 8 }', [(1, 4, 5, 6), (1, 3, 40, 48)], []),
    ('type: "PriorBox" prior_box_param { min_size: 9 min_size: 14 max_size: 20 max_size: 30 aspect_ratio: 2 flip: false offset: 0.25 variance: 0.1 clip: false }', [(1, 4, 5, 6), (1, 3, 40, 50)], []),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shapes", "blobs"), LAYERS, ids=[layer for layer, _, _ in LAYERS])
def test_layers(layer: str, shapes: Shapes, blobs: Shapes) -> None:
    ours, theirs = _layer(layer, [_floats(*s) for s in shapes], [_floats(*s) for s in blobs])
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_regions_of_interest() -> None:
    """Corners that lie halfway are rounded away from zero, boxes reach beyond the image."""
    rois = np.asarray([[0, 0, 0, 8, 8], [0, 2, 3, 9, 11], [0, 5, 5, 6, 6], [0, -3, 2, 12, 20]], np.float32)
    layer = 'type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 }'
    ours, theirs = _layer(layer, [_floats(1, 3, 7, 9), rois], [])
    np.testing.assert_array_equal(ours, theirs)


SSD = """
input: "loc" input_shape { dim: 1 dim: %(offsets)d } input: "conf" input_shape { dim: 1 dim: 1280 }
input: "feat" input_shape { dim: 1 dim: 4 dim: 8 dim: 8 } input: "image" input_shape { dim: 1 dim: 3 dim: 64 dim: 64 }
layer { name: "prior" type: "PriorBox" bottom: "feat" bottom: "image" top: "prior" prior_box_param {
  min_size: 10 max_size: 20 aspect_ratio: 2 flip: true clip: true variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 } }
layer { name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "out" detection_output_param {
  num_classes: 5 share_location: %(shared)s background_label_id: 0 code_type: %(code)s confidence_threshold: 0.3
  keep_top_k: %(keep)d nms_param { nms_threshold: 0.45 top_k: 50 } } }
"""


@pytest.mark.parametrize("code", ["CENTER_SIZE", "CORNER"])
@pytest.mark.parametrize("keep", [20, 200])
@pytest.mark.parametrize("shared", [True, False])
def test_detections(code: str, keep: int, shared: bool) -> None:
    """The same rows: OpenCV's are put in order."""
    offsets = 1024 * (1 if shared else 5)
    text = SSD % {"code": code, "keep": keep, "shared": str(shared).lower(), "offsets": offsets}
    scores = RANDOM.uniform(0, 1, (1, 1280)).astype(np.float32)
    feeds = {"loc": _floats(1, offsets), "conf": scores, "feat": _floats(1, 4, 8, 8), "image": _floats(1, 3, 64, 64)}
    ours, theirs = (held["out"][0, 0] for held in _both(text, feeds, {}))
    assert len(ours) > 10
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


PROPOSAL = """
input: "scores" input_shape { dim: 1 dim: 18 dim: 3 dim: 4 } input: "offsets" input_shape { dim: 1 dim: 36 dim: 3 dim: 4 }
input: "image" input_shape { dim: 1 dim: 3 }
layer { name: "rois" type: "Proposal" bottom: "scores" bottom: "offsets" bottom: "image" top: "rois" proposal_param {
  feat_stride: 16 base_size: 16 min_size: 0 ratio: 0.5 ratio: 1 ratio: 2 scale: 8 scale: 16 scale: 32 pre_nms_topn: 60
  post_nms_topn: 300 nms_thresh: 0.7 } }
"""


def test_proposals() -> None:
    """OpenCV keeps boxes of any size, and has rows of zeros behind what is left."""
    scores = RANDOM.uniform(0, 1, (1, 18, 3, 4)).astype(np.float32)
    offsets, image = _floats(1, 36, 3, 4) * np.float32(0.3), np.asarray([[48, 70, 1.5]], np.float32)
    feeds: dict[str, Array] = {"scores": scores, "offsets": np.asarray(offsets), "image": image}
    ours, theirs = (held["rois"] for held in _both(PROPOSAL, feeds, {}))
    theirs = theirs[(theirs != 0).any(1)]
    assert len(ours) > 10
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


PLAIN = _floats(*X)
NOT_CAFFE: list[tuple[str, Shapes, Callable[[Array, Sequence[Array]], Array]]] = [
    ('type: "LRN" lrn_param { local_size: 1 alpha: 0.5 k: 2 }', [], lambda x, _: x * (2 + 0.5 * x**2) ** -0.75),
    (
        'type: "MVN" mvn_param { eps: 0.5 }',
        [],
        lambda x, _: (x - x.mean((2, 3), keepdims=True)) / (x.std((2, 3), keepdims=True) + 0.5),
    ),
    (
        'type: "InnerProduct" inner_product_param { num_output: 5 transpose: true bias_term: false }',
        [(189, 5)],
        lambda x, blobs: x.reshape(2, 189) @ blobs[0],
    ),
    ('type: "Log" log_param { scale: 0.01 shift: 5 }', [], lambda x, _: np.log(5 + 0.01 * x)),
]


@pytest.mark.parametrize(("layer", "blobs", "formula"), NOT_CAFFE, ids=[layer for layer, _, _ in NOT_CAFFE])
def test_where_opencv_is_not_caffe(
    layer: str, blobs: Shapes, formula: Callable[[Array, Sequence[Array]], Array]
) -> None:
    """By the layers' published definitions: LRN adds k, MVN adds eps to the deviation (not to the variance), a transposed InnerProduct stores [inputs,
    outputs], Log takes scale and shift."""
    held = [_floats(*shape) for shape in blobs]
    ours, theirs = _layer(layer, [PLAIN], held)
    np.testing.assert_allclose(ours, formula(PLAIN.astype(np.float64), held), rtol=1e-4, atol=1e-4)
    assert not np.allclose(ours, theirs, rtol=1e-2, atol=1e-2)
