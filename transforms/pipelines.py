"""Every pipeline, as plain lists of pass specs: `stages(family, precision)` gives for each level the passes that bring a module of the level before it there.

The stage `graph` stays on its level. Read from top to bottom, a family is the whole compiler; `stepwell-opt --print-pipeline` prints it.
"""

from __future__ import annotations

ATTENTION = "graph-expand-attention"
GRAPH = [
    "graph-expand-plugins",
    "graph-remove-dead",
    "graph-fuse-quantized",
    "graph-fold-batch-norm",
    "graph-fold-constants",
    "graph-fuse-attention",
    ATTENTION,
    "graph-assign-layout",
    "graph-fold-weight-transforms",
    "graph-split-groups",
    "graph-fuse-epilogue",
    "graph-fuse-rows",
    "graph-fuse-maps",
    "graph-fuse-single",
]
"""Whole-model decisions: layout, what becomes one kernel."""

PRECISION = {
    "model": [],
    "fp32": [],
    "tf32": [],
    "fp16": ["graph-set-precision{type=f16}"],
    "bf16": ["graph-set-precision{type=bf16}"],
}
"""What follows `GRAPH` for each precision; it only changes element types between and inside fusions. `model` keeps the model's types and lets
tensor cores round the operands of f32 products to tf32, as `tf32` says; `fp32` keeps such products off the tensor cores."""

LINALG = {
    "model": ["stepwell-convert-graph-to-linalg", "linalg-choose-config"],
    "fp32": ["stepwell-convert-graph-to-linalg", "linalg-choose-config{tf32=false}"],
    "tf32": ["stepwell-convert-graph-to-linalg", "linalg-choose-config"],
    "fp16": ["stepwell-convert-graph-to-linalg", "linalg-choose-config"],
    "bf16": ["stepwell-convert-graph-to-linalg", "linalg-choose-config"],
}

NO_TF32 = "linalg-choose-config{tf32=false}"
"""How a precision says that f32 products are not rounded."""

TILE = [
    "stepwell-convert-linalg-to-tile",
    "tile-link-plugins",
    "tile-expand-math",
    "tile-split-reduction",
    "tile-merge-kernels",
]

PLAN = {
    "cpu": ["stepwell-convert-tile-to-plan", "plan-assign-offsets"],
    "sm_90a": ["stepwell-convert-tile-to-plan", "plan-annotate-refs", "plan-assign-offsets"],
}

RINGS = [
    "tile-assign-copies",
    "tile-assign-layouts",
    "tile-stage-loads",
    "tile-stage-stores",
    "tile-pipeline-loops",
    "tile-split-roles",
    "tile-place-loads",
    "tile-hoist-constants",
    "tile-allocate-shared",
]
"""What a kernel on the tensor cores becomes before it is converted: how its tiles move, lie, overlap, and who does what."""

KERNEL = {
    "cpu": ["tile-split-rows", "stepwell-convert-tile-to-cpu"],
    "sm_90a": [*RINGS, "stepwell-convert-tile-to-hopper", "stepwell-convert-tile-to-warp"],
}

LLVM = {
    "cpu": ["stepwell-convert-scf-to-cf", "stepwell-convert-kernel-to-llvm"],
    "sm_90a": [
        "stepwell-convert-hopper-roles-to-scf",
        "stepwell-convert-scf-to-cf",
        "stepwell-convert-kernel-to-llvm",
    ],
}

FAMILIES = ("cpu", "sm_90a")
PRECISIONS = tuple(PRECISION)
PRECISIONS_OF = {"cpu": ("model", "fp32", "fp16", "bf16"), "sm_90a": PRECISIONS}
"""Those that a family of targets knows: a CPU never rounds the operands of a product to tf32."""


def kept_whole(family: str, precision: str) -> str:
    """Which attention a target's kernels take, as graph-expand-attention is told: none, that of f16, or (half) that of f32 too, which is computed in f16."""
    if family == "cpu":
        return "none"
    return "half" if precision == "fp16" else "f16"


def graph_passes(family: str, precision: str) -> list[str]:
    """`GRAPH`, with the attention kept whole that a kernel of the target takes, and what the precision adds."""
    whole = kept_whole(family, precision)
    attention = ATTENTION if whole == "none" else f'{ATTENTION}{{kernels="{whole}"}}'
    return [*(attention if spec == ATTENTION else spec for spec in GRAPH), *PRECISION[precision]]


def stages(family: str, precision: str = "model") -> list[tuple[str, list[str]]]:
    """`(level, pass specs)` from graph to llvm for one family of targets and one precision."""
    return [
        ("graph", graph_passes(family, precision)),
        ("linalg", LINALG[precision]),
        ("tile", TILE),
        ("plan", PLAN[family]),
        ("kernel", KERNEL[family]),
        ("llvm", LLVM[family]),
    ]
