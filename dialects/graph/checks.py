"""What the verifiers of graph ops share: static tensors, the re-inferred result type, messages that begin with the op's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xdsl.dialects.builtin import TensorType, f16, f32, f64, i8, i32
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import is_float, is_signless_integer

ACCUMULATORS: dict[Attribute, Attribute] = {f16: f32, f32: f64, i8: i32}
"""The wider type that a contraction of this element type may accumulate in and return."""


@contextmanager
def named(op_name: str) -> Iterator[None]:
    """Put the op's name before the message of a VerifyException raised inside."""
    try:
        yield
    except VerifyException as error:
        message = str(error)
        raise VerifyException(message if message.startswith(op_name) else f"{op_name}: {message}") from None


def static_tensor(value: SSAValue, what: str) -> TensorType[Attribute]:
    """The type of `value`, which must be a tensor of static shape whose elements are floats or signless integers."""
    return static_tensor_type(value.type, what)


def static_tensor_type(type: Attribute, what: str) -> TensorType[Attribute]:
    """`type` as a static tensor type; VerifyException with advice when it is not."""
    if not isinstance(type, TensorType):
        raise VerifyException(f"{what} has type {type}: it must be a tensor")
    if not type.has_static_shape():
        raise VerifyException(f"{what} has type {type}: every extent must be static; give shapes when importing")
    if not is_float(type.element_type) and not is_signless_integer(type.element_type):
        raise VerifyException(f"{what} has type {type}: elements must be f16, f32, f64 or signless integers")
    return type


def same_elements(a: TensorType[Attribute], b: TensorType[Attribute], what: str) -> None:
    """Check that two tensors have one element type."""
    if a.element_type != b.element_type:
        raise VerifyException(
            f"{what} have element types {a.element_type} and {b.element_type}: cast one of them first"
        )


def check_result(value: SSAValue, inferred: TensorType[Attribute]) -> None:
    """Check that a result has the type that its operands imply."""
    if value.type != inferred:
        raise VerifyException(f"the result has type {value.type}, the operands imply {inferred}")


def check_contraction_result(value: SSAValue, inferred: TensorType[Attribute]) -> None:
    """Check the result of a contraction: the implied shape, the operands' element type or its accumulator."""
    element = inferred.element_type
    wide = ACCUMULATORS.get(element, element)
    if value.type not in (inferred, TensorType(wide, inferred.get_shape())):
        either = f"{inferred}" if wide == element else f"{inferred} (or elements of {wide})"
        raise VerifyException(f"the result has type {value.type}, the operands imply {either}")
