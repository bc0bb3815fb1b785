"""Attention, by softmax and by a state."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType, i1
from xdsl.ir import Attribute
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
from stepwell.dialects.graph.base import GraphOp, Value, flag, flag_def, float_def, int_def, maybe, number, word
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.kinds import LinearRule, LinearRuleAttr
from stepwell.dialects.numpy_types import FLOATS


@irdl_op_definition
class AttentionOp(GraphOp):
    """softmax(scale * Q K^T, capped, masked, plus bias) V.

    Q [B, H, S, D], K [B, G, T, D], V [B, G, T, E], H a multiple of G (each group of H / G query heads shares a key and value head); result
    [B, H, S, E]. `bias` [B or 1, H or 1, S or 1, T] is added (float) or masks (i1, true is seen); `lengths` [B] says how many keys of each batch
    exist. Query i stands at position p = i + `offset`, with `from_end` further by the number of keys (its batch's length) less S: so the last query
    stands at the last key. `causal`: it sees keys up to p; `ahead` a >= 0: up to p + a (-1: no limit); `window` w > 0: none before p - w + 1.
    `softcap` c > 0 puts c tanh(x / c) in place of each score before masks and bias. A row that sees nothing gives zeros. Scores and the
    softmax accumulate in f32 or wider."""

    name = "graph.attention"

    q = operand_def(TensorType)
    k = operand_def(TensorType)
    v = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    lengths = opt_operand_def(TensorType)
    scale_attr = float_def("scale")
    softcap_attr = float_def("softcap")
    causal_attr = flag_def("causal")
    offset_attr = int_def("offset")
    window_attr = int_def("window")
    ahead_attr = int_def("ahead")
    from_end_attr = flag_def("from_end")
    result = result_def(TensorType)
    scale, softcap, causal = number("scale"), number("softcap"), flag("causal")
    offset, window, ahead = number("offset"), number("window"), number("ahead")
    from_end = flag("from_end")

    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    assembly_format = (
        "$q `,` $k `,` $v (`bias` $bias^ `:` type($bias))? (`lengths` $lengths^ `:` type($lengths))? `scale` $scale "
        "`softcap` $softcap (`causal` $causal^)? `offset` $offset `window` $window `ahead` $ahead (`from_end` $from_end^)? attr-dict `:` type($q) `,` type($k) `,` "
        "type($v) `->` type($result)"
    )

    def __init__(
        self,
        q: Value,
        k: Value,
        v: Value,
        bias: Value | None = None,
        lengths: Value | None = None,
        *,
        scale: float,
        softcap: float = 0.0,
        causal: bool = False,
        offset: int = 0,
        window: int = 0,
        ahead: int = -1,
        from_end: bool = False,
    ) -> None:
        numbers = {"scale": float(scale), "softcap": float(softcap), "offset": offset, "window": window}
        flags = {"ahead": ahead, "causal": causal, "from_end": from_end}
        self.construct([q, k, v, maybe(bias), maybe(lengths)], {**numbers, **flags})

    def infer(self) -> Sequence[Attribute]:
        q, k, v = (
            checks.tensor(value, what, FLOATS, 4) for value, what in ((self.q, "Q"), (self.k, "K"), (self.v, "V"))
        )
        checks.same_elements(q, k, "Q and K")
        checks.same_elements(q, v, "Q and V")
        batch, heads, queries, depth = q.shape
        if k.shape[0] != batch or k.shape[3] != depth or v.shape[:3] != k.shape[:3] or heads % max(1, k.shape[1]):
            raise VerifyException(
                f"Q {list(q.shape)}, K {list(k.shape)}, V {list(v.shape)}: they are [B,H,S,D], [B,G,T,D], [B,G,T,E] with H a multiple of G"
            )
        if self.bias is not None:
            self._check_bias((batch, heads, queries, k.shape[2]), q.element)
        if self.lengths is not None:
            checks.shaped(self.lengths, "the lengths", checks.INDICES, [batch])
        if self.softcap < 0 or self.window < 0 or self.ahead < -1:
            raise VerifyException(
                f"softcap {self.softcap} and window {self.window} must not be negative, ahead {self.ahead} not below -1"
            )
        return [Tensor(q.element, (batch, heads, queries, v.shape[3])).type]

    def _check_bias(self, scores: tuple[int, ...], element: Attribute) -> None:
        assert self.bias is not None
        bias = checks.tensor(self.bias, "the bias", (element, i1), 4)
        if any(b not in (1, s) for b, s in zip(bias.shape[:3], scores[:3], strict=True)) or bias.shape[3] != scores[3]:
            raise VerifyException(
                f"the bias has shape {list(bias.shape)}: it must be {list(scores)}, the first three extents may be 1"
            )


@irdl_op_definition
class LinearAttentionOp(GraphOp):
    """Attention through a state of fixed size, step by step: y[t] = scale * q[t] S[t].

    Q [B, H, T, D], K [B, G, T, D], V [B, G, T, E], state [B, G, D, E], H a multiple of G (H / G query heads read one state), decay g [B, G, T, D or 1]
    where the rule is gated, beta [B, G, T, 1] where it is a delta rule.
    linear: S' = S + k v^T; gated: S' = e^g S + k v^T; delta: S' = S + beta k (v - k S)^T; gated_delta: the same on e^g S. Results: Y [B, H, T, E] and
    the last state. Computed in float64 here, in f32 at least by kernels."""

    name = "graph.linear_attention"

    rule_attr = prop_def(LinearRuleAttr, prop_name="rule")
    q = operand_def(TensorType)
    k = operand_def(TensorType)
    v = operand_def(TensorType)
    state = operand_def(TensorType)
    decay = opt_operand_def(TensorType)
    beta = opt_operand_def(TensorType)
    scale_attr = float_def("scale")
    result = result_def(TensorType)
    last_state = result_def(TensorType)
    rule, scale = word("rule"), number("scale")

    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    assembly_format = (
        "$rule $q `,` $k `,` $v `,` $state (`decay` $decay^ `:` type($decay))? (`beta` $beta^ `:` type($beta))? "
        "`scale` $scale attr-dict `:` type($q) `,` type($k) `,` type($v) `,` type($state) `->` type($result) `,` type($last_state)"
    )

    def __init__(
        self,
        q: Value,
        k: Value,
        v: Value,
        state: Value,
        decay: Value | None = None,
        beta: Value | None = None,
        *,
        rule: str,
        scale: float,
    ) -> None:
        properties = {"rule": LinearRuleAttr(LinearRule(rule)), "scale": float(scale)}
        self.construct([q, k, v, state, maybe(decay), maybe(beta)], properties, results=2)

    def infer(self) -> Sequence[Attribute]:
        q, v = checks.tensor(self.q, "Q", FLOATS, 4), checks.tensor(self.v, "V", FLOATS, 4)
        checks.same_elements(q, v, "Q and V")
        k = checks.tensor(self.k, "K", (q.element,), 4)
        same = (q.shape[0], q.shape[2], q.shape[3])
        if (
            (k.shape[0], k.shape[2], k.shape[3]) != same
            or v.shape[:3] != k.shape[:3]
            or q.shape[1] % max(1, k.shape[1])
        ):
            raise VerifyException(
                f"Q {list(q.shape)}, K {list(k.shape)}, V {list(v.shape)}: they are [B,H,T,D], [B,G,T,D], [B,G,T,E] with H a multiple of G"
            )
        state = checks.tensor(self.state, "the state", FLOATS)
        checks.shaped(self.state, "the state", FLOATS, (*k.shape[:2], k.shape[3], v.shape[3]))
        gated, delta = "gated" in self.rule, "delta" in self.rule
        if (self.decay is not None) != gated or (self.beta is not None) != delta:
            raise VerifyException(
                f"rule {self.rule} takes {'a' if gated else 'no'} decay and {'a' if delta else 'no'} beta"
            )
        if self.decay is not None:
            last = checks.tensor(self.decay, "the decay", FLOATS, 4).shape[3]
            checks.shaped(self.decay, "the decay", FLOATS, (*k.shape[:3], 1 if last == 1 else k.shape[3]))
        if self.beta is not None:
            checks.shaped(self.beta, "beta", FLOATS, (*k.shape[:3], 1))
        return [Tensor(q.element, (*q.shape[:3], v.shape[3])).type, state.type]
