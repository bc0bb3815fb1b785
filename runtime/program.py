"""The program of a plan section: what to allocate, what to build, what to launch. `program_reader.py` parses it from
JSON.

The schema (written by `stepwell.transforms.plan`, one JSON object per section):

    {"schema": 2, "target": "cpu" | "sm_90a", "level": "x86-64-v4" (cpu), "module_hash": sha256 of module.mlir,
     "arena": bytes, "constants": bytes,
     "bindings": [{"name", "direction": "input" | "output", "dtype", "shape"}],
     "windows": [{"place": PLACE, "dtype", "shape": [N, spatial.., C], "kernel", "strides", "pads", "dilations", "fill":
     "-inf"}], "tables": [{"window": index, "rows"} | {"place": PLACE, "dtype", "shape": [M, T, K], "rows"}],
     "tensor_maps": [{"kind": "tiled" | "im2col", "place": PLACE, "dtype", "shape", "strides" (elements), "box",
     "element_strides",
                      "lower", "upper", "swizzle", "l2"}],                        lists outermost dimension first
     "kernels": [name],                                                           cpu: in the order of the table
     stepwell_kernels "launches": [{"kernel": index, "arguments": [ARGUMENT], "tiles", "grain" (cpu) | "grid", "block", "shared",
     "pdl" (cuda), "names"}], "copies": [{"source": PLACE, "target": PLACE, "bytes"}],                     after all
     launches "memory": {...}}                                                             the report, for people
    PLACE = {"space": "arena" | "constants" | "binding", "offset": bytes, "binding": index}
    ARGUMENT = {"kind": "pointer", "place": PLACE} | {"kind": "tensor_map" | "table", "index"} | {"kind": "i32" | ...,
    "value"}
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from stepwell.runtime.errors import PlanError
from stepwell.types.elements import ELEMENTS

SCHEMA = 2
MAX_BYTES = 1 << 42
"""The largest tensor, arena and offset of a plan, in bytes: four tebibytes."""
VALUE_KINDS = ("i1", "i8", "i16", "i32", "i64", "f32", "f64")
_NAMES = (
    "f64",
    "f32",
    "f16",
    "bf16",
    "i64",
    "i32",
    "i16",
    "i8",
    "i1",
    "ui64",
    "ui32",
    "ui16",
    "ui8",
    "f8E4M3FN",
    "f8E5M2",
)
DTYPES = {name: ELEMENTS[name].numpy for name in _NAMES}
"""What a program's tensors hold, with NumPy's names."""
FOREIGN = ("bf16", "f8E4M3FN", "f8E5M2")
"""Those whose names are ml_dtypes'."""


def dtype_of(name: str) -> np.dtype:
    """The NumPy type of an element type's name in a program; PlanError where it is one of ml_dtypes, which is not there."""
    if name in FOREIGN and not _has_foreign():
        raise PlanError(
            f"the plan has elements of type {name}, which NumPy lacks", hint="install the package ml_dtypes"
        )
    return np.dtype(DTYPES[name])


def _has_foreign() -> bool:
    """Whether NumPy knows the names of ml_dtypes: importing ml_dtypes registers it."""
    try:
        import ml_dtypes  # noqa: F401
    except ImportError:
        return False
    return True


@dataclass(frozen=True)
class Place:
    """Where bytes begin: in the arena, in the constants or in a binding."""

    space: str
    offset: int
    binding: int = -1


@dataclass(frozen=True)
class Binding:
    """A network input or output."""

    name: str
    is_input: bool
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return math.prod(self.shape) * dtype_of(self.dtype).itemsize


@dataclass(frozen=True)
class Window:
    """An implicit-GEMM view of a channels-last array."""

    place: Place
    dtype: str
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    fill: float

    def output(self) -> tuple[int, ...]:
        """Output extents per spatial dimension."""
        spatial = len(self.kernel)
        return tuple(
            (self.shape[1 + d] + self.pads[d] + self.pads[spatial + d] - self.dilations[d] * (self.kernel[d] - 1) - 1)
            // self.strides[d]
            + 1
            for d in range(spatial)
        )

    def extents(self) -> tuple[int, int]:
        """Pixels and taps."""
        return self.shape[0] * math.prod(self.output()), math.prod(self.kernel)


@dataclass(frozen=True)
class Table:
    """Row addresses of a window, or of a dense [M, T, K] array, in blocks of `rows`."""

    rows: int
    window: Window | None = None
    place: Place | None = None
    dtype: str = "f32"
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class TensorMap:
    """What cuTensorMapEncodeTiled or cuTensorMapEncodeIm2col needs; outermost dimension first."""

    kind: str
    place: Place
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    element_strides: tuple[int, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    swizzle: int
    l2: int


@dataclass(frozen=True)
class Argument:
    """One launch argument: a pointer, the index of a tensor map or table, or a number."""

    kind: str
    place: Place | None = None
    index: int = -1
    value: int | float = 0


@dataclass(frozen=True)
class Launch:
    """One kernel launch."""

    kernel: int
    arguments: tuple[Argument, ...]
    names: tuple[str, ...]
    tiles: int = 0
    grain: int = 1
    grid: tuple[int, ...] = (1, 1, 1)
    block: tuple[int, ...] = (1, 1, 1)
    shared: int = 0
    pdl: bool = False


@dataclass(frozen=True)
class Copy:
    """Bytes copied into an output after all launches."""

    source: Place
    target: Place
    bytes: int


@dataclass(frozen=True)
class Program:
    """Everything that the runtime needs besides code and constants."""

    target: str
    level: str
    module_hash: str
    arena: int
    constants: int
    bindings: tuple[Binding, ...]
    windows: tuple[Window, ...]
    tables: tuple[Table, ...]
    tensor_maps: tuple[TensorMap, ...]
    kernels: tuple[str, ...]
    launches: tuple[Launch, ...]
    copies: tuple[Copy, ...]
    memory: dict[str, int] = field(default_factory=dict)
