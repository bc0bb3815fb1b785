"""Layers over windows: convolution, deconvolution, pooling, local response normalisation, resizing."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor, Weights, both_sides, one_of, per_dim

Ints = int | Sequence[int] | None
_RESIZE_MODES = ("NEAREST", "LINEAR", "CUBIC")


def _spatial(x: SSAValue) -> tuple[int, ...]:
    """The spatial extents; Unsupported where there are none."""
    if len(shape_of(x)) < 3:
        raise Unsupported("batch, channels and at least one spatial dim are needed: reshape the input by add_shuffle")
    return shape_of(x)[2:]


def _positive(what: str, values: Sequence[int]) -> None:
    if any(value < 1 for value in values):
        raise Unsupported(f"{what} {list(values)} must be positive")


def _grouped(channels: int, filters: int, groups: int) -> None:
    if filters < 1 or groups < 1 or channels % groups or filters % groups:
        raise Unsupported(f"{channels} channels and {filters} filters must be divided by groups, which is {groups}")


class WindowLayers(NetworkCore):
    """Inputs are [N, C, *spatial]. `kernel`, `strides`, `dilations`: one number for all spatial dims or one each; `pads`: one number, one for
    each dim (both its sides), or all begins and then all ends."""

    def add_convolution(
        self,
        input: Tensor,
        filters: int,
        kernel: int | Sequence[int],
        weights: Weights,
        bias: Weights | None = None,
        *,
        strides: Ints = None,
        pads: Ints = None,
        dilations: Ints = None,
        groups: int = 1,
        name: str = "",
    ) -> Tensor:
        """Convolution (cross-correlation) to `filters` channels: weights [filters, C / groups, *kernel], bias [filters]."""
        with self._layer("convolution", name, input, also=(weights, bias)) as build:
            x = input.value
            rank, channels = len(_spatial(x)), shape_of(x)[1]
            window = per_dim("kernel", kernel, rank, 1)
            _positive("kernel", window)
            _grouped(channels, filters, groups)
            filter = build.parameter("weights", weights, x, [filters, channels // groups, *window])
            op = graph.ConvOp(
                x,
                filter,
                strides=per_dim("strides", strides, rank, 1),
                pads=both_sides(pads, rank),
                dilations=per_dim("dilations", dilations, rank, 1),
                groups=groups,
            )
            return self._result(build.biased(build.emit(op), bias, 1))

    def add_deconvolution(
        self,
        input: Tensor,
        filters: int,
        kernel: int | Sequence[int],
        weights: Weights,
        bias: Weights | None = None,
        *,
        strides: Ints = None,
        pads: Ints = None,
        dilations: Ints = None,
        groups: int = 1,
        name: str = "",
    ) -> Tensor:
        """The adjoint of a convolution, to `filters` channels: weights [C, filters / groups, *kernel], bias [filters]; an extent e becomes
        (e - 1) * stride + (kernel - 1) * dilation + 1 - pads."""
        with self._layer("deconvolution", name, input, also=(weights, bias)) as build:
            x = input.value
            spatial, channels = _spatial(x), shape_of(x)[1]
            rank = len(spatial)
            window, steps = per_dim("kernel", kernel, rank, 1), per_dim("strides", strides, rank, 1)
            sides, spread = both_sides(pads, rank), per_dim("dilations", dilations, rank, 1)
            _positive("kernel", window)
            _grouped(channels, filters, groups)
            full = [(e - 1) * s + (k - 1) * d + 1 for e, s, k, d in zip(spatial, steps, window, spread, strict=True)]
            extents = [e - low - high for e, low, high in zip(full, sides[:rank], sides[rank:], strict=True)]
            if any(extent < 0 for extent in extents):
                raise Unsupported(f"pads {list(sides)} take more than there is: extents {full} before them")
            filter = build.parameter("weights", weights, x, [channels, filters // groups, *window])
            op = graph.ConvTransposeOp(
                x, filter, strides=steps, pads=sides, dilations=spread, extents=extents, groups=groups
            )
            return self._result(build.biased(build.emit(op), bias, 1))

    def add_pooling(
        self,
        input: Tensor,
        kind: str,
        window: Ints = None,
        *,
        strides: Ints = None,
        pads: Ints = None,
        dilations: Ints = None,
        ceil: bool = False,
        count_include_pad: bool = False,
        name: str = "",
    ) -> Tensor:
        """MAX or AVERAGE of every window; without a window over all spatial dims. Strides are 1 unless given. Averages divide by the elements inside the
        input, with `count_include_pad` inside the padded one; `ceil` rounds extents up (Caffe)."""
        with self._layer("pooling", name, input) as build:
            spatial = _spatial(input.value)
            rank = len(spatial)
            op = graph.PoolOp(
                input.value,
                kind=one_of("kind", kind, ("MAX", "AVERAGE")).lower(),
                kernel=spatial if window is None else per_dim("window", window, rank, 1),
                strides=per_dim("strides", strides, rank, 1),
                pads=both_sides(pads, rank),
                dilations=per_dim("dilations", dilations, rank, 1),
                ceil=ceil,
                count_include_pad=count_include_pad,
            )
            return self._result(build.emit(op))

    def add_lrn(
        self, input: Tensor, window: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, name: str = ""
    ) -> Tensor:
        """Local response normalisation across channels: x / (k + alpha / window * sum of squares of `window` channels) ** beta."""
        with self._layer("lrn", name, input) as build:
            return self._result(build.emit(graph.LrnOp(input.value, size=window, alpha=alpha, beta=beta, k=k)))

    def add_resize(
        self,
        input: Tensor,
        extents: Sequence[int] | None = None,
        *,
        scales: Sequence[float] | None = None,
        mode: str = "NEAREST",
        coordinates: str = "half_pixel",
        name: str = "",
    ) -> Tensor:
        """Other spatial extents by NEAREST, LINEAR or CUBIC interpolation: `extents` or `scales`, one a spatial dim. `coordinates` are graph.resize's:
        half_pixel, align_corners, asymmetric, pytorch_half_pixel, ..."""
        with self._layer("resize", name, input) as build:
            before = _spatial(input.value)
            if (extents is None) == (scales is None):
                raise Unsupported("give either extents or scales")
            wanted = extents if extents is not None else scales
            if wanted is None or len(wanted) != len(before):
                raise Unsupported(f"{list(wanted or ())} has not one value for each of the {len(before)} spatial dims")
            if any(value <= 0 for value in wanted) or 0 in before:
                raise Unsupported(f"{list(wanted)} must be positive, and so must what is resized")
            after = [int(e) for e in extents] if extents is not None else [int(e * f) for e, f in zip(before, wanted)]
            factors = list(scales) if scales is not None else [a / b for a, b in zip(after, before, strict=True)]
            try:
                op = graph.ResizeOp(
                    input.value,
                    mode=one_of("mode", mode, _RESIZE_MODES).lower(),
                    extents=after,
                    scales=factors,
                    coordinates=coordinates,
                )
            except ValueError as error:
                raise Unsupported(str(error)) from None
            return self._result(build.emit(op))
