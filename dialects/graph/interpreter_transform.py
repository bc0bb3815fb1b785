"""Quantisation, random numbers and transforms on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stepwell.dialects.conversions import convert
from stepwell.dialects.graph.interpretation import Results, Settings, Table
from stepwell.dialects.graph.ops_quantise import DequantizeOp, Quantising, QuantizeOp
from stepwell.dialects.graph.ops_transform import DeterminantOp, DftOp, RandomOp
from stepwell.dialects.numpy_types import Array, is_float_dtype


def _spread(op: Quantising, parameter: Array, shape: Sequence[int]) -> Array:
    """A scale or zero point with a value for every element, as float64."""
    wide = parameter.astype(np.float64)
    for position, (dim, size) in enumerate(zip(op.dims, op.block, strict=True)):
        if size > 1:
            wide = wide.repeat(size, axis=position).take(np.arange(shape[dim]), axis=position)
    aligned = [1] * len(shape)
    for position, dim in enumerate(op.dims):
        aligned[dim] = wide.shape[position]
    return wide.reshape(aligned)


def _quantize(op: QuantizeOp, operands: Sequence[Array], settings: Settings) -> Results:
    x, scale, zero = operands
    wide = np.float64 if x.dtype == np.float64 else np.float32
    quotient = x.astype(wide) / _spread(op, scale, x.shape).astype(wide)
    dtype, shift = settings.dtype(op.result.type), _spread(op, zero, x.shape)
    if is_float_dtype(dtype):
        return (convert(quotient + shift, dtype, saturate=op.saturate),)
    return (convert(np.rint(quotient) + shift, dtype, saturate=True),)


def _dequantize(op: DequantizeOp, operands: Sequence[Array], settings: Settings) -> Results:
    q, scale, zero = operands
    made = (q.astype(np.float64) - _spread(op, zero, q.shape)) * _spread(op, scale, q.shape)
    return (settings.rounded(made, op.result.type),)


ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
LOW = np.uint64(0xFFFFFFFF)


def philox(counter: Sequence[Array], key: Sequence[Any]) -> list[Array]:
    """Philox 4x32-10: four words of 32 bits (in uint64 arrays) for each counter of four words and the key of two."""
    c, (k0, k1) = list(counter), key
    for _ in range(ROUNDS):
        p0, p1 = c[0] * MULTIPLIERS[0], c[2] * MULTIPLIERS[1]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k0, p1 & LOW, (p0 >> np.uint64(32)) ^ c[3] ^ k1, p0 & LOW]
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return c


def uniform(key: Array, shape: Sequence[int], digits: int) -> Array:
    """Numbers in [0, 1) with so many binary digits, as float64."""
    index = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.uint64)
    first, second = key.astype(np.int64).view(np.uint64)
    stream = [np.broadcast_to(part, index.shape) for part in (second & LOW, second >> np.uint64(32))]
    words = philox([index & LOW, index >> np.uint64(32), *stream], (first & LOW, first >> np.uint64(32)))
    bits = (words[0] << np.uint64(32)) | words[1]
    return ((bits >> np.uint64(64 - digits)).astype(np.float64) * 2.0**-digits).reshape(shape)


DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


def _random(op: RandomOp, operands: Sequence[Array], settings: Settings) -> Results:
    exact = Settings().dtype(op.result.type)
    made = uniform(operands[0], settings.shape(op.result.type), DIGITS[exact.name])
    return (settings.rounded(made, op.result.type),)


def _dft(op: DftOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = operands[0].astype(np.float64)
    values = x[..., 0] + 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0]
    if op.onesided and op.inverse:
        real = np.fft.irfft(values, op.length, axis=op.dim)
        return (settings.rounded(real[..., None], op.result.type),)
    if op.onesided:
        made = np.fft.rfft(values, op.length, axis=op.dim)
    else:
        made = (np.fft.ifft if op.inverse else np.fft.fft)(values, op.length, axis=op.dim)
    return (settings.rounded(np.stack([made.real, made.imag], axis=-1), op.result.type),)


def _determinant(op: DeterminantOp, operands: Sequence[Array], settings: Settings) -> Results:
    return (settings.rounded(np.asarray(np.linalg.det(operands[0].astype(np.float64))), op.result.type),)


TABLE: Table = {
    QuantizeOp: _quantize,
    DequantizeOp: _dequantize,
    RandomOp: _random,
    DftOp: _dft,
    DeterminantOp: _determinant,
}
