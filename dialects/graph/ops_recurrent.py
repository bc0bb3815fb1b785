"""Recurrent layers over all steps of one direction: rnn, gru, lstm. The input projection is one product outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import ArrayAttr, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    prop_def,
    result_def,
)
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import (
    GraphOp,
    Value,
    flag,
    flag_def,
    float_def,
    floats_attr,
    floats_def,
    ints,
    maybe,
    number,
)
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.kinds import Activation, ActivationAttr
from stepwell.dialects.numpy_types import FLOATS


class Recurrence(GraphOp):
    """What recurrent layers share: gates [T, N, ..], activations with alpha and beta, clip, direction."""

    GATES: ClassVar[int] = 1
    FUNCTIONS: ClassVar[int] = 1

    activations_attr = prop_def(ArrayAttr, prop_name="activations")
    alphas_attr = floats_def("alphas")
    betas_attr = floats_def("betas")
    clip_attr = float_def("clip")
    reverse_attr = flag_def("reverse")
    alphas, betas, clip, reverse = ints("alphas"), ints("betas"), number("clip"), flag("reverse")

    @property
    def activations(self) -> tuple[str, ...]:
        """The names of the activations, in the order that the op states."""
        return tuple(kind.data.value for kind in self.activations_attr)

    def shared(
        self, activations: Sequence[str], alphas: Sequence[float], betas: Sequence[float], clip: float, reverse: bool
    ) -> dict[str, object]:
        """The attributes that all layers have."""
        kinds = ArrayAttr([ActivationAttr(Activation(name)) for name in activations])
        zeros = [0.0] * len(activations)
        return {
            "activations": kinds,
            "alphas": floats_attr(alphas or zeros),
            "betas": floats_attr(betas or zeros),
            "clip": float(clip),
            "reverse": reverse,
        }

    def layer(self, lengths: SSAValue | None) -> tuple[Tensor, int, int]:
        """The gates' type, the width of the state that comes back and the hidden width; VerifyException where operands do not fit."""
        gates, recurrence, bias, h = self.operands[:4]
        x = checks.tensor(gates, "the gates", FLOATS, 3)
        if x.shape[2] % self.GATES:
            raise VerifyException(f"the gates' last extent {x.shape[2]} must be {self.GATES} times the hidden width")
        hidden = x.shape[2] // self.GATES
        width = checks.tensor(h, "the initial h", (x.element,), 2).shape[1]
        checks.shaped(recurrence, "the recurrence weights", (x.element,), [x.shape[2], width])
        checks.shaped(bias, "the bias", (x.element,), [x.shape[2]])
        checks.shaped(h, "the initial h", (x.element,), [x.shape[1], width])
        if lengths is not None:
            checks.shaped(lengths, "the lengths", checks.INDICES, [x.shape[1]])
        for what, values in (("activations", self.activations), ("alphas", self.alphas), ("betas", self.betas)):
            if len(values) != self.FUNCTIONS:
                raise VerifyException(f"{what} has {len(values)} values: give {self.FUNCTIONS}")
        if self.clip < 0:
            raise VerifyException(f"clip {self.clip} must be positive, or 0 for none")
        return x, width, hidden

    def states(self, x: Tensor, width: int) -> list[Attribute]:
        """The types of all steps' h and of the last one."""
        return [Tensor(x.element, (*x.shape[:2], width)).type, Tensor(x.element, (x.shape[1], width)).type]


def same_width(width: int, hidden: int) -> None:
    """Check that the state is as wide as the layer."""
    if width != hidden:
        raise VerifyException(f"h is {width} wide, the gates are for {hidden}: they must be equal")


@irdl_op_definition
class RnnOp(Recurrence):
    """A simple recurrent layer: h' = f(gates[t] + h R^T + bias).

    Operands: gates [T, N, H] (the input's product with its weights, and its bias), recurrence weights R [H, H], bias [H], initial h [N, H], and lengths [N]
    or none. Results: h of every step [T, N, H], 0 at steps beyond a row's length, and the last h [N, H], each row's at its own end. `activations` [f];
    alpha and beta are its parameters (affine alpha x + beta, elu, hard_sigmoid alpha x + beta, leaky_relu, scaled_tanh alpha tanh(beta x),
    thresholded_relu). `clip` bounds what goes into an activation, 0 for none. `reverse`: each row from its end. Computed in float64 here, in
    f32 at least by kernels."""

    name = "graph.rnn"

    gates = operand_def(TensorType)
    recurrence = operand_def(TensorType)
    bias = operand_def(TensorType)
    h = operand_def(TensorType)
    lengths = opt_operand_def(TensorType)
    sequence = result_def(TensorType)
    last_h = result_def(TensorType)

    assembly_format = (
        "$gates `,` $recurrence `,` $bias `,` $h (`lengths` $lengths^)? `activations` $activations `alphas` $alphas "
        "`betas` $betas `clip` $clip (`reverse` $reverse^)? attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        gates: Value,
        recurrence: Value,
        bias: Value,
        h: Value,
        lengths: Value | None = None,
        *,
        activations: Sequence[str] = ("tanh",),
        alphas: Sequence[float] = (),
        betas: Sequence[float] = (),
        clip: float = 0.0,
        reverse: bool = False,
    ) -> None:
        properties = self.shared(activations, alphas, betas, clip, reverse)
        self.construct([gates, recurrence, bias, h, maybe(lengths)], properties, results=2)

    def infer(self) -> Sequence[Attribute]:
        x, width, hidden = self.layer(self.lengths)
        same_width(width, hidden)
        return self.states(x, width)


@irdl_op_definition
class GruOp(Recurrence):
    """A gated recurrent layer; gate order z, r, h.

    z = f(Gz + h Rz^T + bz), r = f(Gr + h Rr^T + br), n = g(Gh + (r h) Rh^T + bh), or with `linear_before_reset` g(Gh + r (h Rh^T + bh));
    h' = (1 - z) n + z h. Operands: gates [T, N, 3H], R [3H, H], bias [3H], h [N, H], lengths [N] or none; `activations` [f, g]. All else as `graph.rnn`."""

    name = "graph.gru"
    GATES: ClassVar[int] = 3
    FUNCTIONS: ClassVar[int] = 2

    gates = operand_def(TensorType)
    recurrence = operand_def(TensorType)
    bias = operand_def(TensorType)
    h = operand_def(TensorType)
    lengths = opt_operand_def(TensorType)
    sequence = result_def(TensorType)
    last_h = result_def(TensorType)
    linear_before_reset_attr = flag_def("linear_before_reset")
    linear_before_reset = flag("linear_before_reset")

    assembly_format = (
        "$gates `,` $recurrence `,` $bias `,` $h (`lengths` $lengths^)? `activations` $activations `alphas` $alphas "
        "`betas` $betas `clip` $clip (`reverse` $reverse^)? (`linear_before_reset` $linear_before_reset^)? "
        "attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        gates: Value,
        recurrence: Value,
        bias: Value,
        h: Value,
        lengths: Value | None = None,
        *,
        activations: Sequence[str] = ("sigmoid", "tanh"),
        alphas: Sequence[float] = (),
        betas: Sequence[float] = (),
        clip: float = 0.0,
        reverse: bool = False,
        linear_before_reset: bool = False,
    ) -> None:
        properties = {
            **self.shared(activations, alphas, betas, clip, reverse),
            "linear_before_reset": linear_before_reset,
        }
        self.construct([gates, recurrence, bias, h, maybe(lengths)], properties, results=2)

    def infer(self) -> Sequence[Attribute]:
        x, width, hidden = self.layer(self.lengths)
        same_width(width, hidden)
        return self.states(x, width)


@irdl_op_definition
class LstmOp(Recurrence):
    """A long short-term memory layer; gate order i, o, f, c.

    i = f(Gi + h Ri^T + bi + pi c), F = f(Gf + h Rf^T + bf + pf c), C' = F c + i g(Gc + h Rc^T + bc), o = f(Go + h Ro^T + bo + po C'),
    h' = o k(C'), with a projection (o k(C')) P^T. Operands: gates [T, N, 4H], R [4H, W], bias [4H], h [N, W], c [N, H]; lengths [N], peepholes
    [3H] (pi, po, pf) and projection P [W, H], each or none (W = H without a projection). `activations` [f, g, k]; `input_forget` couples
    F = 1 - i. Results: h of every step [T, N, W], the last h [N, W] and the last c [N, H]. All else as `graph.rnn`."""

    name = "graph.lstm"
    GATES: ClassVar[int] = 4
    FUNCTIONS: ClassVar[int] = 3

    gates = operand_def(TensorType)
    recurrence = operand_def(TensorType)
    bias = operand_def(TensorType)
    h = operand_def(TensorType)
    c = operand_def(TensorType)
    lengths = opt_operand_def(TensorType)
    peepholes = opt_operand_def(TensorType)
    projection = opt_operand_def(TensorType)
    input_forget_attr = flag_def("input_forget")
    sequence = result_def(TensorType)
    last_h = result_def(TensorType)
    last_c = result_def(TensorType)
    input_forget = flag("input_forget")

    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    assembly_format = (
        "$gates `,` $recurrence `,` $bias `,` $h `,` $c (`lengths` $lengths^ `:` type($lengths))? "
        "(`peepholes` $peepholes^ `:` type($peepholes))? (`projection` $projection^ `:` type($projection))? "
        "`activations` $activations `alphas` $alphas `betas` $betas `clip` $clip (`reverse` $reverse^)? "
        "(`input_forget` $input_forget^)? attr-dict `:` type($gates) `,` type($recurrence) `,` type($bias) `,` type($h) "
        "`,` type($c) `->` type($sequence) `,` type($last_h) `,` type($last_c)"
    )

    def __init__(
        self,
        gates: Value,
        recurrence: Value,
        bias: Value,
        h: Value,
        c: Value,
        lengths: Value | None = None,
        peepholes: Value | None = None,
        projection: Value | None = None,
        *,
        activations: Sequence[str] = ("sigmoid", "tanh", "tanh"),
        alphas: Sequence[float] = (),
        betas: Sequence[float] = (),
        clip: float = 0.0,
        reverse: bool = False,
        input_forget: bool = False,
    ) -> None:
        properties = {**self.shared(activations, alphas, betas, clip, reverse), "input_forget": input_forget}
        absent = [maybe(lengths), maybe(peepholes), maybe(projection)]
        self.construct([gates, recurrence, bias, h, c, *absent], properties, results=3)

    def infer(self) -> Sequence[Attribute]:
        x, width, hidden = self.layer(self.lengths)
        checks.shaped(self.c, "the initial c", (x.element,), [x.shape[1], hidden])
        if self.peepholes is not None:
            checks.shaped(self.peepholes, "the peepholes", (x.element,), [3 * hidden])
        if self.projection is not None:
            checks.shaped(self.projection, "the projection", (x.element,), [width, hidden])
        else:
            same_width(width, hidden)
        return [*self.states(x, width), Tensor(x.element, (x.shape[1], hidden)).type]
