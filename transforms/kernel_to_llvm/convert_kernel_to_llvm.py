"""stepwell-convert-kernel-to-llvm: kernels of warp, hopper, arith, math, vector, cf and func -> the llvm dialect (meaning: exact).

    func.func @k(%p : !llvm.ptr, %i : index) {                     llvm.func @k(%p: !llvm.ptr, %i: i64) {
      %v = vector.broadcast %x : f32 to vector<64xf32>       ->      %v = llvm.shufflevector ... : vector<1xf32>
      %r = math.fma %v, %b, %c : vector<64xf32>                      %r = llvm.call_intrinsic "llvm.fma"(%v, %b, %c) : ...

Loops must have become branches before (`stepwell-convert-scf-to-cf`). The conversions are tables, one function per op class, merged here;
`conversion` beside it has the protocol. The host program (`plan.program`) and ops of the llvm dialect stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import llvm
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Attribute, Operation

from stepwell.passes import StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.kernel_to_llvm import arith, base, bfloat, float8, hopper, hopper_store, warp, warp_exchange
from stepwell.transforms.kernel_to_llvm.conversion import Converter, LLVMConversion, TypeConverter
from stepwell.transforms.kernel_to_llvm.float8 import with_float8

TABLES = (arith, base, warp, warp_exchange, hopper, hopper_store)
HOST_DIALECTS = ("plan", "llvm", "llvm_extra")


def merged_tables(
    modules: Iterable[ModuleType] = TABLES,
) -> tuple[dict[type[Operation], Converter], dict[type[Attribute], TypeConverter]]:
    """All CONVERSIONS and TYPES of the modules beside this one."""
    converters: dict[type[Operation], Converter] = {}
    types: dict[type[Attribute], TypeConverter] = {}
    for module in modules:
        converters |= module.CONVERSIONS
        types |= getattr(module, "TYPES", {})
    return converters, types


@dataclass(frozen=True)
class ConvertKernelToLLVM(StepwellPass):
    """Convert every kernel and function of the module to the llvm dialect. Refuses, naming the op, what no table converts."""

    name = "stepwell-convert-kernel-to-llvm"
    level: ClassVar[str] = "kernel"
    meaning = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        own = (bfloat,) if op.attributes.get("stepwell.target") == StringAttr("cpu") else ()
        converters, types = merged_tables((*TABLES, *own))
        conversion = LLVMConversion(with_float8(converters), {**types, **float8.TYPES})
        top = list(op.body.block.ops)
        for kernel in top:
            if kernel.name.partition(".")[0] not in HOST_DIALECTS:
                conversion.convert(kernel)
        for kernel in top:
            if kernel.name.partition(".")[0] not in HOST_DIALECTS:
                kernel.detach()
                kernel.erase(safe_erase=False)
        op.body.block.add_ops(conversion.top)
        for made in conversion.top:
            if isinstance(made, llvm.FuncOp) and made.body.blocks:
                message = f"@{made.sym_name.data}: {sum(1 for _ in made.body.walk())} llvm ops"
                remarks_of(ctx).add(Remark("analysis", self.name, names_of(made), message))
        op.attributes["stepwell.level"] = StringAttr("llvm")


PASS = ConvertKernelToLLVM
