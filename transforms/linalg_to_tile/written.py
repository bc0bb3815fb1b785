"""What the writer of a family hands back: a kernel, and how it stands for its fusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from xdsl.builder import Builder
from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import graph, tile
from stepwell.passes import inherit_location
from stepwell.transforms.linalg_to_tile.operands import reshaped


class Replacement(Protocol):
    """What stands for a fusion: its kernels, the first of them with the name that was asked for, and what they do, in a few words."""

    @property
    def kernels(self) -> Sequence[tile.KernelOp | tile.LoopsKernel]: ...
    @property
    def work(self) -> str: ...
    def apply(self) -> None: ...


@dataclass(frozen=True)
class Written:
    """A kernel that is in no module yet. `inputs`: makes its operands on the host with a builder before the fusion (views, weights by recipe);
    `shapes`: of its results, which are reshaped to the fusion's; `work`: what it does, in a few words."""

    fusion: graph.FusionOp
    kernel: tile.KernelOp | tile.LoopsKernel
    inputs: Callable[[Builder], Sequence[SSAValue]]
    shapes: tuple[tuple[int, ...], ...]
    work: str

    @property
    def kernels(self) -> Sequence[tile.KernelOp | tile.LoopsKernel]:
        """The kernel alone."""
        return [self.kernel]

    def apply(self) -> None:
        """Replace the uses of the fusion's results by an application of the kernel, reshaped as they were."""
        fusion = self.fusion
        handler = [lambda op: inherit_location(op, fusion)]
        build = Builder(InsertPoint.before(fusion), operation_insertion_handler=handler)
        types = []
        for result, shape in zip(fusion.outputs, self.shapes, strict=True):
            assert isinstance(result.type, TensorType)
            types.append(TensorType(result.type.element_type, shape))
        apply = build.insert(tile.ApplyOp(self.kernel.sym_name.data, list(self.inputs(build)), types))
        for result, made in zip(fusion.outputs, apply.results, strict=True):
            assert isinstance(result.type, TensorType)
            result.replace_all_uses_with(reshaped(made, result.type.get_shape(), build))
