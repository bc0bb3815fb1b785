"""Names: passes are called as their files, and collide with nobody's."""

from __future__ import annotations

import pytest
from xdsl.passes import ModulePass
from xdsl.universe import XDSL_UNIVERSE

from stepwell.passes import StepwellPass
from stepwell.passes.levels import LEVELS
from stepwell.plugins.universe import UNIVERSE, installed_universe, pass_modules

MLIR_PASS_STEMS = """
affine-data-copy-generate affine-expand-index-ops affine-loop-fusion affine-loop-invariant-code-motion affine-loop-normalize
affine-loop-tile affine-loop-unroll affine-parallelize affine-scalrep affine-simplify-structures affine-super-vectorize
arith-emulate-unsupported-floats arith-expand arith-int-range-narrowing arith-unsigned-when-equivalent async-to-async-runtime
buffer-deallocation-pipeline buffer-hoisting buffer-loop-hoisting buffer-results-to-out-params bufferization-bufferize canonicalize
control-flow-sink convert-affine-for-to-gpu convert-amdgpu-to-rocdl convert-arith-to-llvm convert-arith-to-spirv convert-async-to-llvm
convert-bufferization-to-memref convert-cf-to-llvm convert-complex-to-llvm convert-elementwise-to-linalg convert-func-to-llvm
convert-gpu-to-nvvm convert-gpu-to-spirv convert-index-to-llvm convert-linalg-to-affine-loops convert-linalg-to-loops
convert-linalg-to-parallel-loops convert-linalg-to-std convert-math-to-funcs convert-math-to-libm convert-math-to-llvm
convert-memref-to-spirv convert-nvgpu-to-nvvm convert-nvvm-to-llvm convert-parallel-loops-to-gpu convert-scf-to-cf convert-scf-to-openmp
convert-shape-to-std convert-tensor-to-linalg convert-to-llvm convert-ub-to-llvm convert-vector-to-gpu convert-vector-to-llvm
convert-vector-to-scf cse duplicate-function-elimination eliminate-empty-tensors empty-tensor-to-alloc-tensor expand-realloc
expand-strided-metadata finalize-memref-to-llvm finalizing-bufferize fold-memref-alias-ops func-bufferize generate-runtime-verification
gpu-async-region gpu-kernel-outlining gpu-map-parallel-loops gpu-module-to-binary gpu-to-llvm inline int-range-optimizations
linalg-block-pack-matmul linalg-detensorize linalg-fold-unit-extent-dims linalg-fuse-elementwise-ops linalg-generalize-named-ops
linalg-inline-scalar-operands linalg-morph-ops linalg-specialize-generic-ops llvm-add-comdats llvm-legalize-for-export
llvm-optimize-for-nvvm-target llvm-request-c-wrappers loop-invariant-code-motion loop-invariant-subset-hoisting lower-affine
lower-host-to-llvm lower-vector-mask math-expand-ops math-uplift-to-fma mem2reg memref-emulate-wide-int memref-expand
normalize-memrefs nvgpu-optimize-shared-memory nvvm-attach-target one-shot-bufferize outline-shape-computation
ownership-based-buffer-deallocation print-ir print-op-stats promote-buffers-to-stack reconcile-unrealized-casts
remove-dead-values remove-shape-constraints resolve-ranked-shaped-type-result-dims resolve-shaped-type-result-dims scf-for-loop-canonicalization
scf-for-loop-peeling scf-for-loop-range-folding scf-for-loop-specialization scf-for-to-while scf-forall-to-for scf-forall-to-parallel
scf-parallel-loop-fusion scf-parallel-loop-specialization scf-parallel-loop-tiling sccp set-llvm-module-datalayout shape-bufferize
shape-to-shape-lowering sparse-assembler sparse-buffer-rewrite sparsification sroa strip-debuginfo symbol-dce symbol-privatize
tensor-bufferize topological-sort tosa-infer-shapes tosa-layerwise-constant-fold tosa-to-arith tosa-to-linalg tosa-to-tensor
transform-interpreter view-op-graph xegpu-fold-alias-ops
"""
"""Names of mlir-opt's passes: a plugin that wraps each of them under its own name must load beside ours."""


def test_xdsl_and_ours_load_together() -> None:
    universe = installed_universe()
    assert set(UNIVERSE.all_passes) <= set(universe.all_passes)
    assert set(UNIVERSE.all_dialects) <= set(universe.all_dialects)
    for attribute in ("all_dialects", "all_passes", "all_targets"):
        assert not set(getattr(UNIVERSE, attribute)) & set(getattr(XDSL_UNIVERSE, attribute))


def test_no_name_of_mlir_opt_is_taken() -> None:
    taken = set(MLIR_PASS_STEMS.split()) | set(XDSL_UNIVERSE.all_passes)
    assert len(taken) > 200
    assert not taken & set(UNIVERSE.all_passes)


@pytest.mark.parametrize("name", sorted(pass_modules()))
def test_pass_is_called_as_its_file(name: str) -> None:
    pass_class = UNIVERSE.all_passes[name]()
    assert issubclass(pass_class, ModulePass) and pass_class.name == name
    assert issubclass(pass_class, StepwellPass)
    assert pass_class.level in LEVELS
    assert pass_class.meaning in ("exact", "reassociates", "rounds", "changes")
    assert (pass_class.rtol > 0) == (pass_class.meaning == "rounds")


@pytest.mark.parametrize("name", sorted(UNIVERSE.all_dialects))
def test_dialect_loads_under_its_name(name: str) -> None:
    assert UNIVERSE.all_dialects[name]().name == name
