"""Detection layers against NumPy, written down loop by loop after the layers' published code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.caffe import import_caffe
from stepwell.frontends.caffe.convert_proposal import anchors
from stepwell.runtime.errors import ModelError


def _run(layer: str, arrays: Sequence[Array], tops: Sequence[str] = ("y",), after: str = "") -> list[Array]:
    inputs = "".join(
        f'input: "x{i}" input_shape {{ {" ".join(f"dim: {extent}" for extent in a.shape)} }}\n'
        for i, a in enumerate(arrays)
    )
    bottoms = "".join(f' bottom: "x{i}"' for i in range(len(arrays)))
    made = "".join(f' top: "{top}"' for top in tops)
    text = f'{inputs}layer {{ name: "n"{bottoms}{made} {layer} }}{after}'
    module, weights = import_caffe(text.encode(), outputs=None if after else list(tops))
    module.verify()
    results = interpret(module, {f"x{i}": array for i, array in enumerate(arrays)}, weights)
    return list(results.values())


def _overlap(a: Array, b: Array, one: float = 0.0) -> float:
    """Intersection over union; `one` is 1 where boxes count pixels."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + one
    if (sides <= 0).any():
        return 0.0
    areas = [np.prod(np.maximum(box[2:] - box[:2] + one, 0)) for box in (a, b)]
    return float(np.prod(sides) / (sum(areas) - np.prod(sides)))


def _suppressed(boxes: Array, order: Sequence[int], iou: float, one: float = 0.0) -> list[int]:
    kept: list[int] = []
    for box in order:
        if all(_overlap(boxes[box], boxes[other], one) <= iou for other in kept):
            kept.append(int(box))
    return kept


def _decode(code: str, prior: Array, variance: Array, offset: Array) -> Array:
    low, high, size = prior[:2], prior[2:], prior[2:] - prior[:2]
    a, b = offset[:2] * variance[:2], offset[2:] * variance[2:]
    if code == "CENTER_SIZE":
        centre, half = a * size + (low + high) / 2, np.exp(b) * size / 2
        return np.concatenate([centre - half, centre + half])
    factor = size if code == "CORNER_SIZE" else 1
    return np.concatenate([low + a * factor, high + b * factor])


class _Ssd:
    """Inputs of a DetectionOutput layer, and what the layer gives."""

    def __init__(self, images: int, priors: int, classes: int, shared: bool, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        low = random.uniform(0, 0.7, (priors, 2))
        corners = np.concatenate([low, low + random.uniform(0.1, 0.4, (priors, 2))], 1)
        self.prior = np.stack([corners.reshape(-1), np.tile([0.1, 0.1, 0.2, 0.2], priors)])[None].astype(np.float32)
        self.sets, self.classes, self.images, self.priors = 1 if shared else classes, classes, images, priors
        self.offsets = random.standard_normal((images, priors * self.sets * 4)).astype(np.float32)
        self.scores = random.uniform(0, 1, (images, priors * classes)).astype(np.float32)

    @property
    def arrays(self) -> list[Array]:
        return [self.offsets, self.scores, self.prior]

    def reference(self, code: str, least: float, iou: float, top: int, keep: int, background: int = 0) -> Array:
        rows = []
        for image in range(self.images):
            found = []
            for label in (c for c in range(self.classes) if c != background):
                scores = self.scores[image].reshape(self.priors, self.classes)[:, label]
                offsets = self.offsets[image].reshape(self.priors, self.sets, 4)[:, label if self.sets > 1 else 0]
                corners, variances = self.prior[0].reshape(2, self.priors, 4).astype(np.float64)
                boxes = np.stack([_decode(code, *row) for row in zip(corners, variances, offsets, strict=True)])
                order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] > least]
                chosen = _suppressed(boxes, order[: top if top > 0 else None], iou)
                found += [(label, float(scores[i]), *boxes[i]) for i in chosen]
            if 0 < keep < len(found):
                best = sorted(range(len(found)), key=lambda i: -found[i][1])[:keep]
                found = [found[i] for i in sorted(best)]
            rows += [(image, *row) for row in found]
        rows = rows or [(image, *[-1] * 6) for image in range(self.images)]
        return np.asarray(rows, np.float64)[None, None]


def _layer(code: str, classes: int, least: float, iou: float, top: int, keep: int, more: str = "") -> str:
    return (
        f'type: "DetectionOutput" detection_output_param {{ num_classes: {classes} code_type: {code} keep_top_k: {keep} '
        f"confidence_threshold: {least} nms_param {{ nms_threshold: {iou} top_k: {top} }} {more} }}"
    )


@pytest.mark.parametrize("code", ["CENTER_SIZE", "CORNER", "CORNER_SIZE"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("top", "keep"), [(-1, -1), (5, -1), (10, 7), (400, 3)])
def test_detections(code: str, shared: bool, top: int, keep: int) -> None:
    net = _Ssd(2, 20, 4, shared)
    more = "" if shared else "share_location: false"
    (result,) = _run(_layer(code, 4, 0.3, 0.45, top, keep, more), net.arrays)
    wanted = net.reference(code, 0.3, 0.45, top, keep)
    assert result.shape == wanted.shape and len(wanted[0, 0]) > 2
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("background", [-1, 0, 1, 2])
def test_the_background_is_no_detection(background: int) -> None:
    net = _Ssd(1, 6, 3, False, seed=1)
    more = f"background_label_id: {background} share_location: false"
    (result,) = _run(_layer("CENTER_SIZE", 3, 0.1, 0.5, -1, -1, more), net.arrays)
    wanted = net.reference("CENTER_SIZE", 0.1, 0.5, -1, -1, background)
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("keep", [-1, 2])
def test_no_detection_is_a_row_for_each_image(images: int, keep: int) -> None:
    net = _Ssd(images, 4, 3, True)
    (result,) = _run(_layer("CORNER", 3, 2.0, 0.5, -1, keep), net.arrays)
    np.testing.assert_array_equal(result, net.reference("CORNER", 2.0, 0.5, -1, keep))


def test_one_prior_and_encoded_variances() -> None:
    net = _Ssd(1, 1, 2, True)
    (result,) = _run(_layer("CORNER", 2, 0.0, 0.5, 1, 1, "variance_encoded_in_target: true"), net.arrays)
    box = net.prior[0, 0] + net.offsets[0]
    np.testing.assert_allclose(result, [[[[0, 1, net.scores[0, 1], *box]]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("nms_threshold: 0.5", "nms_threshold: 0.6 eta: 0.9"), "nms_param.eta is 0.9"),
        (("num_classes: 3", "num_classes: 1"), "do not fit 6 boxes of 1 classes"),
        (("keep_top_k: 4", "keep_top_k: 0"), "keep_top_k is 0"),
        (("keep_top_k: 4", "share_location: false"), "do not fit 6 boxes of 3 classes"),
    ],
)
def test_detections_that_are_refused(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        _run(_layer("CORNER", 3, 0.1, 0.5, 4, 4).replace(*change), _Ssd(1, 6, 3, True).arrays)


def _proposals(scores: Array, offsets: Array, image: Array, limits: tuple[int, int, int, float]) -> tuple[Array, Array]:
    """py-faster-rcnn's proposal_layer.py."""
    boxes, (least, before, after, iou) = anchors(16, (0.5, 1, 2), (8, 16, 32)).astype(np.float64), limits
    rows, columns = scores.shape[2:]
    found = []
    for y in range(rows):
        for x in range(columns):
            for a, box in enumerate(boxes):
                low, high = box[:2] + [x * 16, y * 16], box[2:] + [x * 16, y * 16]
                offset, extent = offsets[0, 4 * a : 4 * a + 4, y, x], high - low + 1
                centre, half = offset[:2] * extent + low + 0.5 * extent, 0.5 * np.exp(offset[2:]) * extent
                last = image[0, 1::-1] - 1
                moved = [*np.clip(centre - half, 0, last), *np.clip(centre + half, 0, last)]
                found.append((scores[0, 9 + a, y, x], *moved))
    table = np.asarray(found)
    table = table[(table[:, 3:] - table[:, 1:3] + 1 >= least * image[0, 2]).all(1)]
    table = table[np.argsort(-table[:, 0], kind="stable")][:before]
    kept = _suppressed(table[:, 1:], range(len(table)), iou, 1.0)[:after]
    return np.concatenate([np.zeros((len(kept), 1)), table[kept, 1:]], 1), table[kept, :1]


PYTHON = """type: "Python" python_param { module: "rpn.proposal_layer" layer: "ProposalLayer" param_str: "'feat_stride': 16" }"""


def _region_inputs(seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    scores = random.uniform(0, 1, (1, 18, 3, 4)).astype(np.float32)
    offsets = (random.standard_normal((1, 36, 3, 4)) * 0.3).astype(np.float32)
    return [scores, offsets, np.asarray([[48, 70, 1.5]], np.float32)]


@pytest.mark.parametrize(
    ("layer", "limits"),
    [
        (PYTHON, (16, 6000, 300, 0.7)),
        ('type: "Proposal"', (16, 6000, 300, 0.7)),
        (
            'type: "Proposal" proposal_param { min_size: 30 pre_nms_topn: 40 post_nms_topn: 6 nms_thresh: 0.5 }',
            (30, 40, 6, 0.5),
        ),
        ('type: "Proposal" proposal_param { min_size: 100 }', (100, 6000, 300, 0.7)),
    ],
)
def test_proposals(layer: str, limits: tuple[int, int, int, float]) -> None:
    arrays = _region_inputs()
    boxes, scores = _run(layer, arrays, ["rois", "scores"])
    wanted = _proposals(arrays[0], arrays[1], arrays[2], limits)
    assert (len(boxes) == 0) == (limits[0] == 100)
    np.testing.assert_allclose(boxes, wanted[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(scores, wanted[1])


def test_proposals_are_pooled_and_classified() -> None:
    """What stands behind the layer has the counted extent."""
    after = """
    input: "features" input_shape { dim: 1 dim: 2 dim: 3 dim: 4 }
    layer { name: "pool" type: "ROIPooling" bottom: "features" bottom: "y" top: "pool"
            roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 } }
    layer { name: "flat" type: "Flatten" bottom: "pool" top: "flat" }
    layer { name: "prob" type: "Softmax" bottom: "flat" top: "prob" }
    """
    arrays = _region_inputs()
    names = [f'input: "x{i}" input_shape {{ {" ".join(f"dim: {e}" for e in a.shape)} }}' for i, a in enumerate(arrays)]
    text = f'{" ".join(names)} layer {{ name: "n" bottom: "x0" bottom: "x1" bottom: "x2" top: "y" {PYTHON} }} {after}'
    module, weights = import_caffe(text.encode())
    features = np.random.default_rng(1).standard_normal((1, 2, 3, 4)).astype(np.float32)
    feeds = {"features": features, **{f"x{i}": a for i, a in enumerate(arrays)}}
    result = interpret(module, feeds, weights)["prob"]
    assert result.shape == (len(_proposals(arrays[0], arrays[1], arrays[2], (16, 6000, 300, 0.7))[0]), 8)
    np.testing.assert_allclose(result.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("'feat_stride': 16", "open('x')"), "param_str .* is not understood"),
        (("'feat_stride': 16", "'stride': 16"), "param_str .* is not understood"),
        (("'feat_stride': 16", "'scales': 4"), "scales and ratios are lists"),
        (("'feat_stride': 16", "'scales': [-4, 8, 2]"), "must be positive"),
        (("'feat_stride': 16", "'scales': [4]"), "do not fit 3 anchors"),
        (("rpn.proposal_layer", "my.layers"), "Python code, my.layers.ProposalLayer, which the file does not hold"),
    ],
)
def test_python_layers_that_are_refused(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        _run(PYTHON.replace(*change), _region_inputs(), ["rois"])


FILTERS: list[tuple[list[float], Callable[[Array], Array]]] = [
    ([1, 0, -2], lambda x: x[[0, 2]]),
    ([0, 0, 0], lambda x: x[:0]),
    ([3, 1, 1], lambda x: x),
]


@pytest.mark.parametrize(("selector", "wanted"), FILTERS)
def test_filter_keeps_what_the_selector_names(selector: list[float], wanted: Callable[[Array], Array]) -> None:
    x, y = np.arange(18, dtype=np.float32).reshape(3, 2, 3), np.arange(3, dtype=np.float32).reshape(3, 1)
    results = _run('type: "Filter"', [x, y, np.asarray(selector, np.float32).reshape(3, 1)], ["a", "b"])
    for result, array in zip(results, (x, y), strict=True):
        np.testing.assert_array_equal(result, wanted(array))


def test_what_a_filter_keeps_is_added_up() -> None:
    """Tops of one filter have one counted extent, so that they can meet again."""
    after = 'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }'
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    (result,) = _run('type: "Filter"', [x, x, np.asarray([0, 1, 1], np.float32)], ["a", "b"], after)
    np.testing.assert_array_equal(result, 2 * x[1:])
