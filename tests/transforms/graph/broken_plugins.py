"""Plugins whose ops cannot be built, for IR tests."""

from xdsl.ir import SSAValue

import stepwell
from stepwell.frontends.plugins import PluginBuilder, TensorSpec


@stepwell.plugin("WrongShape", namespace="broken")
def wrong_shape(x: TensorSpec) -> TensorSpec:
    """As x."""
    return x


@wrong_shape.graph
def wrong_shape_in_ops(build: PluginBuilder, x: SSAValue) -> SSAValue:
    """Another shape than x has, which is tensor<4xf32>."""
    return build.reshape(x, (4, 1))
