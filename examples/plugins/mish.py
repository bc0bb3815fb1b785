"""Mish (Misra 2019), the activation of YOLOv4: x tanh(log(1 + exp x))."""

import numpy as np

import stepwell


@stepwell.plugin("Mish", namespace="examples", types=("f16", "bf16", "f32", "f64"), names={"tensorflow": "Addons>Mish"})
def mish(x):
    """What comes out is like what goes in."""
    return x


@mish.reference
def mish_in_numpy(x):
    """By the formula of the paper, in float64."""
    wide = x.astype(np.float64)
    return (wide * np.tanh(np.logaddexp(0, wide))).astype(x.dtype)


@mish.graph
def mish_in_ops(build, x):
    """With e = exp x and n = e (e + 2), tanh(log(1 + e)) is n / (n + 2), which nothing cancels in. It is 1 long before e overflows."""
    highest = 5.0 if str(build.element(x)) == "f16" else 20.0
    two = build.scalar_like("two", 2.0, x)
    e = build.unary("exp", build.binary("min", x, build.scalar_like("highest", highest, x)))
    n = build.binary("mul", e, build.binary("add", e, two))
    return build.binary("mul", x, build.binary("div", n, build.binary("add", n, two)))
