"""TensorFlow's linear algebra on batches of matrices: a step for each column, in a loop that changes the whole matrix by masks.

Nothing is refused for its values: where TensorFlow reports a singular matrix, or one that is not positive definite, the results are infinite or no numbers."""

from __future__ import annotations

from xdsl.dialects.builtin import i32, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.formula import Formula
from stepwell.frontends.tensorflow.node import Converter, Node, Values, needs


def swapped(build: GraphBuilder, value: SSAValue) -> SSAValue:
    """The last two dims exchanged."""
    rank = len(shape_of(value))
    return build.transpose(value, [*range(rank - 2), rank - 1, rank - 2])


def _square(value: SSAValue) -> int:
    shape = shape_of(value)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise Unsupported(f"its input has shape {list(shape)}: square matrices are needed")
    return shape[-1]


def _index(build: GraphBuilder, like: SSAValue, back: int) -> Formula:
    """The index along a dim counted from the last (1), for each element of `like`."""
    shape = shape_of(like)
    return Formula(build, build.emit(graph.IotaOp(i64, shape, dim=len(shape) - back)))


def _spread(build: GraphBuilder, scalar: SSAValue, shape: tuple[int, ...]) -> Formula:
    return Formula(build, build.broadcast(scalar, shape))


def _picked(build: GraphBuilder, value: SSAValue, at: SSAValue, back: int) -> SSAValue:
    """One slice of a dim counted from the last (1), at an index that a scalar gives; the dim stays with extent 1."""
    shape = shape_of(value)
    dim = len(shape) - back
    row = build.emit(graph.GatherOp(value, build.reshape(at, [1, 1]), dims=[dim]))
    return build.reshape(row, [*shape[:dim], 1, *shape[dim + 1 :]])


def _outer(build: GraphBuilder, column: SSAValue, row: SSAValue) -> Formula:
    left, right = build.broadcast_all([column, row])
    return Formula(build, left) * Formula(build, right)


def triangular(build: GraphBuilder, matrix: SSAValue, right: SSAValue, *, lower: bool, unit: bool = False) -> SSAValue:
    """X with matrix X = right; the other triangle is not read, nor the diagonal where it is `unit`."""
    size = shape_of(matrix)[-1]
    last = build.emit(graph.ConstantOp(max(0, size - 1), i64))

    def body(iteration: SSAValue, carried: list[SSAValue]) -> list[SSAValue]:
        at = iteration if lower else build.binary("sub", last, iteration)
        (rest,) = carried
        column, line = _picked(build, matrix, at, 1), _picked(build, rest, at, 2)
        here, rows = _spread(build, at, shape_of(column)), _index(build, column, 2)
        below = rows.compare("gt" if lower else "lt", here)
        solved = line if unit else build.binary("div", line, _picked(build, column, at, 2))
        left = Formula(build, rest) - _outer(build, below.select(Formula(build, column), 0).value, solved)
        mine = _index(build, rest, 2).compare("eq", _spread(build, at, shape_of(rest)))
        wide = Formula(build, build.broadcast(solved, shape_of(rest)))
        return [mine.select(wide, left).value]

    return build.loop([right], body, bound=size)[0]


def triangular_solve(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """MatrixTriangularSolve."""
    needs(inputs, 2)
    matrix, right = inputs
    _check_system(matrix, right)
    lower, adjoint = node.flag("lower", True), node.flag("adjoint")
    matrix = swapped(build, matrix) if adjoint else matrix
    return [triangular(build, matrix, right, lower=lower != adjoint)]


def _check_system(matrix: SSAValue, right: SSAValue) -> None:
    size = _square(matrix)
    if len(shape_of(right)) < 2 or shape_of(right)[:-1] != (*shape_of(matrix)[:-2], size):
        raise Unsupported(
            f"{list(shape_of(matrix))} and {list(shape_of(right))} are no system: [.., n, n] and [.., n, m]"
        )


def cholesky(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Cholesky: the lower triangle L with L L' = x; the upper triangle of x is not read."""
    needs(inputs, 1)
    size = _square(inputs[0])

    def body(iteration: SSAValue, carried: list[SSAValue]) -> list[SSAValue]:
        rest, made = carried
        column = _picked(build, rest, iteration, 1)
        root = build.unary("sqrt", _picked(build, column, iteration, 2))
        rows, here = _index(build, column, 2), _spread(build, iteration, shape_of(column))
        divided = Formula(build, build.binary("div", column, root))
        whole = Formula(build, build.broadcast(root, shape_of(column)))
        factors = rows.compare("lt", here).select(0, rows.compare("eq", here).select(whole, divided)).value
        left = Formula(build, rest) - _outer(build, factors, swapped(build, factors))
        mine = _index(build, made, 1).compare("eq", _spread(build, iteration, shape_of(made)))
        wide = Formula(build, build.broadcast(factors, shape_of(made)))
        return [left.value, mine.select(wide, Formula(build, made)).value]

    zeros = build.number(0, inputs[0])
    return [build.loop([inputs[0], zeros], body, bound=size)[1]]


def decomposed(build: GraphBuilder, matrix: SSAValue) -> tuple[SSAValue, SSAValue, SSAValue]:
    """L and U in one matrix (L's diagonal is 1), which row of the matrix each row of L U is (i64), and the sign of that order; the pivot is the
    largest element of a column by magnitude, the first of equals."""
    size, shape = _square(matrix), shape_of(matrix)
    order = build.emit(graph.IotaOp(i64, shape[:-1], dim=len(shape) - 2))
    sign = build.broadcast(build.emit(graph.ConstantOp(1.0, build.element(matrix))), shape[:-2])

    def body(iteration: SSAValue, carried: list[SSAValue]) -> list[SSAValue]:
        rest, order, sign = carried
        column = build.reshape(_picked(build, rest, iteration, 1), shape[:-1])
        places = _index(build, column, 1)
        here = _spread(build, iteration, shape[:-1])
        sizes = places.compare("lt", here).select(-1, Formula(build, column).unary("abs"))
        found = build.emit(graph.ArgReduceOp(sizes.value, kind="max", dim=len(shape) - 2))
        moved = Formula(build, found).compare("eq", _spread(build, iteration, shape[:-2]))
        pivot = Formula(build, build.broadcast(build.reshape(found, [*shape[:-2], 1]), shape[:-1]))
        taken = places.compare("eq", here).select(pivot, places.compare("eq", pivot).select(here, places)).value
        rows = build.reshape(taken, [*shape[:-1], 1])
        rest, order = (
            build.emit(graph.GatherOp(v, rows, dims=[len(shape) - 2], batch=len(shape) - 2)) for v in (rest, order)
        )
        sign = moved.select(Formula(build, sign), -Formula(build, sign)).value
        return [_eliminated(build, rest, iteration), order, sign]

    if not size:
        return matrix, order, sign
    made, order, sign = build.loop([matrix, order, sign], body, bound=size)
    return made, order, sign


def _eliminated(build: GraphBuilder, matrix: SSAValue, at: SSAValue) -> SSAValue:
    """The rows below a row less what makes their element under its pivot 0, that factor in its place."""
    row, column = _picked(build, matrix, at, 2), _picked(build, matrix, at, 1)
    factors = build.binary("div", column, _picked(build, row, at, 1))
    here = _spread(build, at, shape_of(matrix))
    below, right = (_index(build, matrix, back).compare("gt", here) for back in (2, 1))
    under = below & _index(build, matrix, 1).compare("eq", here)
    before, wide = Formula(build, matrix), Formula(build, build.broadcast(factors, shape_of(matrix)))
    return under.select(wide, (below & right).select(before - _outer(build, factors, row), before)).value


def lu(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Lu: both triangles in one matrix, and the order of the rows."""
    needs(inputs, 1)
    made, order, _ = decomposed(build, inputs[0])
    return [made, build.cast(order, node.element("output_idx_type") if node.has("output_idx_type") else i32)]


def _solved(build: GraphBuilder, matrix: SSAValue, right: SSAValue) -> SSAValue:
    made, order, _ = decomposed(build, matrix)
    batch = len(shape_of(matrix)) - 2
    rows = build.emit(graph.GatherOp(right, build.reshape(order, [*shape_of(order), 1]), dims=[batch], batch=batch))
    return triangular(build, made, triangular(build, made, rows, lower=True, unit=True), lower=False)


def solve(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """MatrixSolve."""
    needs(inputs, 2)
    _check_system(*inputs)
    return [_solved(build, swapped(build, inputs[0]) if node.flag("adjoint") else inputs[0], inputs[1])]


def inverse(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """MatrixInverse."""
    needs(inputs, 1)
    _square(inputs[0])
    matrix = swapped(build, inputs[0]) if node.flag("adjoint") else inputs[0]
    one = build.number(1, matrix)
    diagonal = _index(build, matrix, 1).compare("eq", _index(build, matrix, 2))
    unit = diagonal.select(Formula(build, one), 0).value
    return [_solved(build, matrix, unit)]


def determinant(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """MatrixDeterminant."""
    needs(inputs, 1)
    _square(inputs[0])
    return [build.emit(graph.DeterminantOp(inputs[0]))]


def log_determinant(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """LogMatrixDeterminant: its sign, and the logarithm of its magnitude."""
    needs(inputs, 1)
    made, _, sign = decomposed(build, inputs[0])
    rank = len(shape_of(made))
    diagonal = _index(build, made, 1).compare("eq", _index(build, made, 2))
    signs = diagonal.select(Formula(build, made).unary("sign"), 1)
    logarithms = diagonal.select(Formula(build, made).unary("abs").unary("log"), 0)
    product = build.emit(graph.ReduceOp(signs.value, kind="product", dims=[rank - 2, rank - 1]))
    total = build.emit(graph.ReduceOp(logarithms.value, kind="sum", dims=[rank - 2, rank - 1]))
    return [build.binary("mul", product, sign), total]


CONVERTERS: dict[str, Converter] = {
    "Cholesky": cholesky,
    "LogMatrixDeterminant": log_determinant,
    "Lu": lu,
    "MatrixDeterminant": determinant,
    "MatrixInverse": inverse,
    "MatrixSolve": solve,
    "MatrixTriangularSolve": triangular_solve,
}
"""Operators by name."""
