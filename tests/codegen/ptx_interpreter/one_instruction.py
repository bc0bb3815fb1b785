"""Kernels of one instruction: operands loaded, the result stored, for every thread of a block."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter import parse, run_entry
from stepwell.codegen.ptx_interpreter.operation import TYPES
from stepwell.dialects.hopper.simulator import GlobalBuffer

THREADS = 64
HEADER = ".version 8.6\n.target sm_90a\n.address_size 64\n"
WIDTHS = {"pred": 32, "f16x2": 32, "tf32": 32}


def width(type: str) -> int:
    """Bits of a register that holds the type."""
    return WIDTHS.get(type) or max(16, 8 * TYPES[type].itemsize)


def kernel(body: str, result: str, *operands: str) -> str:
    """A kernel that loads registers %a0 .. of types `operands`, runs `body`, which sets %d (or predicate %q), and stores it."""
    parameters = ", ".join(f".param .u64 p{i}" for i in range(len(operands) + 1))
    loads = "\n".join(
        f"  ld.param.b64 %rd1, [p{i}]; mad.wide.u32 %rd2, %t, {width(t) // 8}, %rd1; ld.global.b{width(t)} %a{i}, [%rd2];"
        for i, t in enumerate(operands)
    )
    registers = " ".join(f".reg .b{width(t)} %a{i};" for i, t in enumerate(operands))
    end = len(operands)
    return f"""{HEADER}
.visible .entry k({parameters})
{{
  .reg .b32 %t; .reg .b64 %rd<4>; .reg .pred %p<4>; .reg .pred %q; .reg .b{width(result)} %d; {registers}
  griddepcontrol.wait;
  mov.u32 %t, %tid.x;
{loads}
  {body}
  {"selp.b32 %d, 1, 0, %q;" if result == "pred" else ""}
  ld.param.b64 %rd1, [p{end}]; mad.wide.u32 %rd2, %t, {width(result) // 8}, %rd1; st.global.b{width(result)} [%rd2], %d;
  ret;
}}"""


def run(body: str, result: str, *operands: tuple[str, np.ndarray]) -> np.ndarray:
    """What %d holds, as the type."""
    text = kernel(body, result, *[type for type, _ in operands])
    arguments: list[Any] = []
    for i, (type, values) in enumerate(operands):
        raw = values.astype(f"i{width(type) // 8}") if values.dtype.itemsize == 1 else values
        unsigned = np.ascontiguousarray(raw).view(f"u{width(type) // 8}")
        arguments.append(GlobalBuffer.of_array(f"a{i}", unsigned, constant=True))
    output = GlobalBuffer.poisoned("d", THREADS, f"u{width(result) // 8}")
    run_entry(parse(text), "k", [*arguments, output], (1, 1, 1), block=(THREADS, 1, 1))
    values = output.values()
    if result == "pred":
        return values.astype(bool)
    if result in ("f16x2", "tf32"):
        return values.view(np.float16 if result == "f16x2" else np.float32)
    return values.view(f"{TYPES[result].kind}{values.itemsize}")


def integers(type: str, seed: int) -> np.ndarray:
    """All kinds of values of a type, extremes first."""
    limits, random = np.iinfo(TYPES[type]), np.random.default_rng(seed)
    edges = np.array([limits.min, limits.max, 0, 1, limits.max - 1], object)
    values = random.integers(limits.min, limits.max, THREADS, dtype=TYPES[type], endpoint=True)
    values[: len(edges)] = np.roll(edges, seed).astype(TYPES[type])
    values[8:24] = random.integers(0, 40, 16)
    return values


def floats(type: str, seed: int) -> np.ndarray:
    """Infinities, NaN, zeros of both signs, subnormals, and normally distributed values."""
    random, dtype = np.random.default_rng(seed), TYPES["f16" if type == "f16x2" else type]
    values = random.standard_normal(THREADS * (2 if type == "f16x2" else 1)).astype(dtype)
    smallest = np.finfo(dtype).smallest_subnormal
    values[:9] = np.roll([np.inf, -np.inf, np.nan, 0.0, -0.0, smallest, -smallest, 1.0, 2.5], seed)
    return values
