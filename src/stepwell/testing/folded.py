"""ResNet-50 as the onnx package holds its topology, with weights made up and every batch norm folded into the convolution before it: what compiling is measured on."""

from __future__ import annotations

from math import prod, sqrt
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

TOPOLOGY = Path(onnx.backend.test.__file__).parent / "data" / "light" / "light_resnet50.onnx"
CLASSES = 1000


def resnet50(seed: int = 0) -> ModelProto:
    """The network from image to logits: 53 convolutions with bias, their additions and activations, two pools, one product."""
    model = onnx.load(str(TOPOLOGY))
    graph = model.graph
    random = np.random.default_rng(seed)
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights: dict[str, np.ndarray] = {}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shape = tuple(int(extent) for extent in known[node.input[0]])
            weights[node.output[0]] = _made_up(shape, random)
        elif node.op_type == "BatchNormalization":
            _fold(nodes[-1], node, known | weights, weights)
        else:
            nodes.append(node)
    softmax = nodes.pop()
    used = {name for node in nodes for name in node.input}
    held = [tensor for tensor in graph.initializer if tensor.name in used]
    held += [numpy_helper.from_array(value, name) for name, value in weights.items() if name in used]
    names = {tensor.name for tensor in held}
    inputs = [value for value in graph.input if value.name in used - names]
    outputs = [helper.make_tensor_value_info(softmax.input[0], TensorProto.FLOAT, [1, CLASSES])]
    folded = helper.make_graph(nodes, graph.name, inputs, outputs, held)
    return helper.make_model(folded, opset_imports=model.opset_import, ir_version=model.ir_version)


def _made_up(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Weights of a product with outputs of about their inputs' size; vectors are positive, as variances must be."""
    if len(shape) < 2:
        return random.uniform(0.5, 1.0, shape).astype(np.float32)
    return (sqrt(2 / prod(shape[1:])) * random.standard_normal(shape)).astype(np.float32)


def _fold(
    convolution: NodeProto, norm: NodeProto, known: dict[str, np.ndarray], weights: dict[str, np.ndarray]
) -> None:
    """y = (x - mean) / sqrt(variance + epsilon) * scale + shift (ONNX BatchNormalization-9), as weights and bias of the convolution."""
    assert convolution.op_type == "Conv" and convolution.output[0] == norm.input[0] and len(convolution.input) == 2
    scale, shift, mean, variance = (known[name] for name in norm.input[1:])
    factor = scale / np.sqrt(variance + next(a.f for a in norm.attribute if a.name == "epsilon"))
    kernel, bias = convolution.input[1], f"{convolution.output[0]}_bias"
    weights[kernel] = (weights[kernel] * factor[:, None, None, None]).astype(np.float32)
    weights[bias] = (shift - mean * factor).astype(np.float32)
    convolution.input.append(bias)
    convolution.output[0] = norm.output[0]
