"""What the layers of the network API build with: the builder of all frontends, and arrays that users give as weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import element_type_of, is_float_dtype, numpy_dtype
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.network.tensor import Tensor, Weights


class NetworkBuilder(GraphBuilder):
    """A graph builder whose weights are called after the layer: `conv1.weights`."""

    def parameter(self, what: str, given: Weights, like: SSAValue, shape: Sequence[int] | None = None) -> SSAValue:
        """A parameter of the layer with the element type of `like`, and of `shape`; an array of as many elements is given that shape.
        Unsupported where it has another element type or another number of elements."""
        if isinstance(given, Tensor):
            value = given.value
        else:
            value = self._array(what, given, like, shape)
        if self.element(value) != self.element(like):
            raise Unsupported(
                f"{what} are {self.element(value)}, the input is {self.element(like)}: add_cast one of them"
            )
        if shape is not None and shape_of(value) != tuple(shape):
            raise Unsupported(f"{what} have shape {list(shape_of(value))}, {list(shape)} is needed")
        return value

    def _array(self, what: str, given: Weights, like: SSAValue, shape: Sequence[int] | None) -> SSAValue:
        dtype = numpy_dtype(self.element(like))
        found = np.asarray(given)
        typed = isinstance(given, np.ndarray | np.generic)
        if not typed and (found.dtype.kind not in "bif" or (found.dtype.kind == "f" and not is_float_dtype(dtype))):
            raise Unsupported(f"{what} are {found.dtype}, the input is {self.element(like)}")
        array = found if typed else np.asarray(given, dtype)
        if array.dtype != dtype:
            raise Unsupported(
                f"{what} are {array.dtype}, the input is {element_type_of(dtype)}: give {what}.astype({str(dtype)!r})"
            )
        if shape is not None and array.size != int(np.prod(shape, dtype=np.int64)):
            raise Unsupported(f"{what} have shape {list(array.shape)}, {list(shape)} is needed")
        name = self._unused_name(f"{self.node_name}.{what.replace(' ', '_')}")
        return self.weight(name, np.array(array if shape is None else array.reshape(tuple(shape))))

    def number(self, value: float, like: SSAValue) -> SSAValue:
        """A constant number as `like` is; Unsupported where `like` holds integers and the number is none."""
        if not is_float_dtype(numpy_dtype(self.element(like))) and not float(value).is_integer():
            raise Unsupported(f"{value} is no {self.element(like)}: add_cast the input to a float type")
        return super().number(value, like)

    def floating(self, value: SSAValue, what: str) -> SSAValue:
        """`value`, whose elements are floats; Unsupported where they are not."""
        if not is_float_dtype(numpy_dtype(self.element(value))):
            raise Unsupported(f"{what} of {self.element(value)} is rounded: add_cast the input to a float type")
        return value

    def biased(self, value: SSAValue, bias: Weights | None, axis: int) -> SSAValue:
        """`value` plus a bias along one axis, or itself without one."""
        if bias is None:
            return value
        vector = self.parameter("bias", bias, value, [shape_of(value)[axis]])
        return self.emit(graph.BinaryOp(value, self.along(vector, axis, value), kind="add"))

    def compare(self, kind: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """A graph.compare of two values that NumPy's rule broadcasts to each other."""
        if self.element(a) != self.element(b):
            raise Unsupported(f"operands have element types {self.element(a)} and {self.element(b)}")
        first, second = self.broadcast_all([a, b])
        return self.emit(graph.CompareOp(first, second, kind=kind))

    def select(self, condition: SSAValue, chosen: SSAValue, other: SSAValue) -> SSAValue:
        """A graph.select of three values that NumPy's rule broadcasts to each other."""
        return self.emit(graph.SelectOp(*self.broadcast_all([condition, chosen, other])))
