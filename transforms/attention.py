"""Which attention a kernel of the tensor cores takes whole: asked before graph ops are expanded, and again by the family of schedules."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import f16, f32, i1
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.transforms.tensors import element_of, shape_of

WIDTHS = (16, 32, 64, 128)
"""Columns of a head in shared memory: rows of one swizzle, or of two."""
HALF = f16
"""What its kernels multiply."""
ROW_BYTES = 16
"""What rows that the copy engine brings are multiples of (CUDA driver API, cuTensorMapEncodeTiled)."""


def why_no_kernel(op: graph.AttentionOp, kernels: str) -> str:
    """Why no kernel takes an attention whole; empty where one does."""
    if kernels == "none":
        return "the target has no kernel for it"
    element = element_of(op.q)
    if element not in ((HALF, f32) if kernels == "half" else (HALF,)):
        return f"its kernel multiplies {HALF}, this is {element} (precision=fp16 makes {HALF} of f32)"
    return "; ".join(kernel_refusals(op))


def width_of(extent: int) -> int:
    """The columns that a head of `extent` takes; 0 where it is too wide."""
    return next((width for width in WIDTHS if width >= extent), 0)


def kernel_refusals(op: graph.AttentionOp) -> Iterator[str]:
    """Why no kernel takes an attention of f16 whole; nothing where one does."""
    shapes = [shape_of(value) for value in (op.q, op.k, op.v)]
    if any(not isinstance(extent, int) or extent < 1 for shape in shapes for extent in shape):
        yield "an extent is 0, or no number"
        return
    if op.bias is not None:
        yield from _mask_refusals(op, op.bias)
    if op.lengths is not None:
        yield "its lengths are computed"
    if op.softcap:
        yield f"its scores are capped ({op.softcap:g})"
    if op.window or op.ahead >= 0:
        yield "it sees a window of keys"
    for name, shape in (("Q and K", shapes[0]), ("V", shapes[2])):
        depth = shape[3]
        if not width_of(depth) or depth * 2 % ROW_BYTES:
            yield f"heads of {depth} in {name}: they have up to {WIDTHS[-1]} elements of f16, in whole {ROW_BYTES} bytes"


def _mask_refusals(op: graph.AttentionOp, bias: SSAValue) -> Iterator[str]:
    """A mask is added: floats for each key, or each query and key, of all heads, of a batch, or of each head."""
    batches, heads = shape_of(op.q)[:2]
    if element_of(bias) == i1:
        yield "its mask is made of conditions: a kernel adds masks of numbers"
    if shape_of(bias)[:2] not in ((1, 1), (batches, 1), (batches, heads)):
        yield f"its mask {list(shape_of(bias))} is repeated over batches and not over heads"


def causal_offset(op: graph.AttentionOp) -> int | None:
    """Query i sees the keys up to i + this; None where it sees all."""
    if not op.causal:
        return None
    return op.offset + (shape_of(op.k)[2] - shape_of(op.q)[2] if op.from_end else 0)
