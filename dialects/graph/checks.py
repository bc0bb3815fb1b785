"""What the verifiers of graph ops share: tensors and their element types, dims in range, messages that begin with the op's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from xdsl.dialects.builtin import TensorType, bf16, f16, f32, f64, i1, i8, i32, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph.extents import Extent, Shape, shape_of, tensor_of
from stepwell.dialects.numpy_types import (
    ELEMENT_TYPE_NAMES,
    FLOATS,
    FLOATS8,
    INTEGERS,
    STORAGE,
    f8E4M3FN,
    f8E5M2,
    ui8,
)

ACCUMULATORS: dict[Attribute, tuple[Attribute, ...]] = {
    f16: (f32,),
    bf16: (f32,),
    f32: (f64,),
    i8: (i32,),
    ui8: (i32,),
    f8E4M3FN: (f32, f16, bf16),
    f8E5M2: (f32, f16, bf16),
}
"""The wider types that a contraction of this element type may accumulate in and return."""

ANY: tuple[Attribute, ...] = (*FLOATS, i1, *INTEGERS, *FLOATS8, *STORAGE)
NUMBERS: tuple[Attribute, ...] = (*FLOATS, *INTEGERS)
PREDICATES: tuple[Attribute, ...] = (i1,)
POSITIONS: tuple[Attribute, ...] = (i64,)
INDICES: tuple[Attribute, ...] = (i64, *(element for element in INTEGERS if element != i64))
CONTRACTED: tuple[Attribute, ...] = (*NUMBERS, *FLOATS8)

_WORDS = {
    FLOATS: "float elements",
    NUMBERS: "float or integer elements",
    PREDICATES: "i1 elements",
    POSITIONS: "i64 elements",
    INDICES: "integer elements",
    CONTRACTED: "float, integer or 8-bit float elements",
}


class Tensor(NamedTuple):
    """A tensor type taken apart: the element type, and extents that may be symbols."""

    element: Attribute
    shape: Shape

    @property
    def type(self) -> TensorType[Attribute]:
        """The type put together again."""
        return tensor_of(self.element, self.shape)

    @property
    def rank(self) -> int:
        """The number of dims."""
        return len(self.shape)


@contextmanager
def named(op_name: str) -> Iterator[None]:
    """Put the op's name before the message of a VerifyException raised inside."""
    try:
        yield
    except VerifyException as error:
        message = str(error)
        raise VerifyException(message if message.startswith(op_name) else f"{op_name}: {message}") from None


def tensor(
    value: SSAValue | Attribute, what: str, elements: Sequence[Attribute] = ANY, rank: int | None = None
) -> Tensor:
    """The type of `value` taken apart; VerifyException, with advice, when it is no tensor of these element types and this rank."""
    type = value.type if isinstance(value, SSAValue) else value
    if not isinstance(type, TensorType):
        raise VerifyException(f"{what} has type {type}: it must be a tensor")
    found = Tensor(type.element_type, shape_of(type))
    if type.element_type not in (*ANY, *elements):
        raise VerifyException(f"{what} has type {type}: elements must be one of {', '.join(ELEMENT_TYPE_NAMES)}")
    if found.element not in elements:
        raise VerifyException(
            f"{what} needs {words(elements)}, not {found.element}: cast {what.removeprefix('result ')} first"
        )
    if rank is not None and found.rank != rank:
        raise VerifyException(f"{what} has rank {found.rank}: it must have rank {rank}")
    return found


def words(elements: Sequence[Attribute]) -> str:
    """How a message calls a set of element types."""
    return _WORDS.get(tuple(elements)) or " or ".join(map(str, elements)) + " elements"


def scalar(value: SSAValue, what: str, elements: Sequence[Attribute]) -> Tensor:
    """The type of a tensor of rank 0."""
    return tensor(value, what, elements, 0)


def same_elements(a: Tensor, b: Tensor, what: str) -> None:
    """Check that two tensors have one element type."""
    if a.element != b.element:
        raise VerifyException(f"{what} have element types {a.element} and {b.element}: cast one of them first")


def shaped(value: SSAValue, what: str, elements: Sequence[Attribute], shape: Sequence[int]) -> None:
    """Check that a tensor has exactly this shape."""
    found = tensor(value, what, elements)
    if found.shape != tuple(shape):
        raise VerifyException(f"{what} has shape {list(found.shape)}: it must be {list(shape)}")


def dim_in(dim: int, rank: int, what: str = "dim") -> int:
    """`dim`, which must lie in [0, rank)."""
    if not 0 <= dim < rank:
        raise VerifyException(f"{what} {dim} must lie in [0, {rank})")
    return dim


def dims_in(dims: Sequence[int], rank: int, what: str = "dims") -> tuple[int, ...]:
    """`dims`, which must increase and lie in [0, rank)."""
    if any(not 0 <= dim < rank for dim in dims) or list(dims) != sorted(set(dims)):
        raise VerifyException(f"{what} {list(dims)} must increase and lie in [0, {rank})")
    return tuple(dims)


def count(values: Sequence[int], wanted: int, what: str, least: int | None = None) -> None:
    """Check how many values there are, and that none is below `least`."""
    if len(values) != wanted:
        raise VerifyException(f"{what} has {len(values)} values: give {wanted}")
    if least is not None and any(value < least for value in values):
        raise VerifyException(f"{what} {list(values)} has a value below {least}")


def known(extent: int, what: str) -> int:
    """An extent that must be a number, not a symbol."""
    if isinstance(extent, Extent):
        raise VerifyException(f"{what} is the symbol {extent}: this op needs an extent that is known here")
    return extent


def check_result(value: SSAValue, inferred: Attribute, what: str = "the result") -> None:
    """Check that a result has the type that its operands imply."""
    if value.type != inferred:
        raise VerifyException(f"{what} has type {value.type}, the operands imply {inferred}")


def contraction_results(element: Attribute) -> tuple[Attribute, ...]:
    """The element types that a contraction of this element type may return: its own first, but for 8-bit floats, and its accumulators."""
    own = () if element in FLOATS8 else (element,)
    return (*own, *ACCUMULATORS.get(element, ()))


def check_contraction_result(value: SSAValue, inferred: Tensor) -> None:
    """Check the result of a contraction: the implied shape, the operands' element type or one of its accumulators."""
    allowed = contraction_results(inferred.element)
    types = [Tensor(element, inferred.shape).type for element in allowed]
    if value.type not in types:
        others = " or ".join(str(element) for element in allowed[1:])
        more = f" (or elements of {others})" if others else ""
        raise VerifyException(f"the result has type {value.type}, the operands imply {types[0]}{more}")
