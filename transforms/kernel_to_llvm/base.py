"""Conversions of vector, cf and func to the llvm dialect. Meaning: exact."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import cf, func, llvm, vector
from xdsl.dialects.builtin import ArrayAttr, Attribute, DenseArrayBase, DictionaryAttr, VectorType, i32
from xdsl.ir import Operation, SSAValue
from xdsl.utils.hints import isa

from stepwell.dialects import llvm_extra
from stepwell.transforms.kernel_to_llvm.conversion import Converter, LLVMConversion


def splat(conv: LLVMConversion, scalar: SSAValue, lanes: int) -> SSAValue:
    """A vector of `lanes` copies of an LLVM scalar."""
    first = VectorType(scalar.type, [1])
    single = conv.insert(llvm.InsertElementOp(conv.insert(llvm_extra.PoisonOp(first)), scalar, conv.constant(0))).res
    return shuffle(conv, single, single, [0] * lanes)


def shuffle(conv: LLVMConversion, v1: SSAValue, v2: SSAValue, mask: list[int]) -> SSAValue:
    """The elements of `v1` and then `v2` that `mask` names."""
    assert isa(v1.type, VectorType)
    result = VectorType(v1.type.element_type, [len(mask)])
    return conv.insert(llvm.ShuffleVectorOp(v1, v2, DenseArrayBase.from_list(i32, mask), result)).res


def _broadcast(conv: LLVMConversion, op: vector.BroadcastOp) -> None:
    source, result = conv.value(op.source), conv.type(op.vector.type)
    assert isa(result, VectorType)
    if source.type == result:
        conv.bind(op.vector, source)
        return
    if isinstance(source.type, VectorType):
        if source.type.get_shape() != (1,):
            raise conv.error(
                f"{op.source.type} does not broadcast to {op.vector.type} in one register", "broadcast scalars"
            )
        conv.bind(op.vector, shuffle(conv, source, source, [0] * result.get_shape()[0]))
        return
    conv.bind(op.vector, splat(conv, source, result.get_shape()[0]))


def _extract(conv: LLVMConversion, op: vector.ExtractOp) -> None:
    position = _position(conv, [int(i) for i in op.static_position.iter_values()], op.dynamic_position)
    conv.bind(op.result, conv.insert(llvm_extra.ExtractElementOp(conv.value(op.vector), position)))


def _insert(conv: LLVMConversion, op: vector.InsertOp) -> None:
    position = _position(conv, [int(i) for i in op.static_position.iter_values()], op.dynamic_position)
    conv.bind(op.result, conv.insert(llvm.InsertElementOp(conv.value(op.dest), conv.value(op.source), position)))


def _position(conv: LLVMConversion, static: Sequence[int], dynamic: Sequence[SSAValue]) -> SSAValue:
    if len(static) != 1:
        raise conv.error(f"takes one position in a vector of rank 1, not {len(static)}", "unroll to vectors of rank 1")
    return conv.value(dynamic[0]) if dynamic else conv.constant(static[0])


def _fma(conv: LLVMConversion, op: vector.FMAOp) -> None:
    conv.bind(op.res, conv.intrinsic("llvm.fma", conv.values(op.operands), conv.type(op.res.type)))


def _shuffle(conv: LLVMConversion, op: vector.ShuffleOp) -> None:
    v1, v2 = conv.value(op.v1), conv.value(op.v2)
    mask = [int(i) for i in op.mask.get_values()]
    if v1.type != v2.type:
        raise conv.error(
            f"shuffles two vectors of one length, here are {op.v1.type} and {op.v2.type}", "widen the shorter one first"
        )
    conv.bind(op.result, shuffle(conv, v1, v2, mask))


def _bitcast(conv: LLVMConversion, op: vector.BitcastOp) -> None:
    conv.bind(op.result, conv.insert(llvm.BitcastOp(conv.value(op.source), conv.type(op.result.type))))


def _branch(conv: LLVMConversion, op: cf.BranchOp) -> None:
    conv.insert(llvm.BrOp(conv.block(op.successor), *conv.values(op.arguments)))


def _cond_branch(conv: LLVMConversion, op: cf.ConditionalBranchOp) -> None:
    """Two ways to one block become a select of the arguments: LLVM's phi has one entry per predecessor."""
    condition, then_values, else_values = (
        conv.value(op.cond),
        conv.values(op.then_arguments),
        conv.values(op.else_arguments),
    )
    then_block, else_block = conv.block(op.then_block), conv.block(op.else_block)
    if then_block is not else_block:
        conv.insert(llvm.CondBrOp(condition, then_block, then_values, else_block, else_values))
        return
    chosen = [conv.insert(llvm.SelectOp(condition, a, b)).res for a, b in zip(then_values, else_values, strict=True)]
    conv.insert(llvm.BrOp(then_block, *chosen))


KEPT_ATTRIBUTES = ("passthrough", "stepwell.kernel", "target_cpu")
"""Attributes of a func.func that its llvm.func keeps."""


def _function(conv: LLVMConversion, op: func.FuncOp) -> None:
    """A private function becomes internal; one without a body a declaration."""
    outputs = list(op.function_type.outputs)
    if len(outputs) > 1:
        raise conv.error(
            f"@{op.sym_name.data} returns {len(outputs)} values, an LLVM function at most one",
            "write to memory instead",
        )
    result = conv.type(outputs[0]) if outputs else None
    private = op.sym_visibility is not None and op.sym_visibility.data == "private"
    attributes: dict[str, Attribute] = {name: op.attributes[name] for name in KEPT_ATTRIBUTES if name in op.attributes}
    if op.is_declaration:
        inputs = [conv.type(t) for t in op.function_type.inputs]
        conv.insert(llvm.FuncOp(op.sym_name, llvm.LLVMFunctionType(inputs, result), llvm.LinkageAttr("external")))
        return
    held = op.arg_attrs.data if isa(op.arg_attrs, ArrayAttr[DictionaryAttr]) else None
    conv.function(
        op.sym_name.data,
        op.body,
        argument_attributes=None if held is None else [a.data for a in held],
        result=result,
        linkage="internal" if private else "external",
        attributes=attributes,
    )


def _call(conv: LLVMConversion, op: func.CallOp) -> None:
    result = conv.type(op.res[0].type) if op.res else None
    call = conv.insert(llvm.CallOp(op.callee, *conv.values(op.arguments), return_type=result))
    if op.res and call.returned is not None:
        conv.bind(op.res[0], call.returned)


def _return(conv: LLVMConversion, op: func.ReturnOp) -> None:
    values = conv.values(op.arguments)
    conv.insert(llvm.ReturnOp(values[0] if values else None))


CONVERSIONS: dict[type[Operation], Converter] = {
    vector.BroadcastOp: _broadcast,
    vector.ExtractOp: _extract,
    vector.InsertOp: _insert,
    vector.FMAOp: _fma,
    vector.ShuffleOp: _shuffle,
    vector.BitcastOp: _bitcast,
    cf.BranchOp: _branch,
    cf.ConditionalBranchOp: _cond_branch,
    func.FuncOp: _function,
    func.CallOp: _call,
    func.ReturnOp: _return,
}
