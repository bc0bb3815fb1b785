"""TMA: elements of boxes and im2col columns against direct indexing, swizzled addresses against the layouts of codegen, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stepwell.dialects.hopper.simulator import DescriptorFault, GlobalBuffer, Im2col, MisalignedFault, TensorMap
from stepwell.dialects.hopper.simulator.tma import destination_chunks, swizzle_address
from stepwell.types.layouts import Swizzle


@pytest.mark.parametrize("swizzle", [32, 64, 128])
def test_swizzled_addresses_are_those_of_the_layout(swizzle: int) -> None:
    addresses = np.arange(0, 4096, 16)
    assert swizzle_address(addresses, swizzle).tolist() == [Swizzle(swizzle)(int(a)) for a in addresses]
    chunks = destination_chunks(2048, 16, swizzle, swizzle)
    assert sorted(chunks.reshape(-1)) == list(range(2048, 2048 + 16 * swizzle, 16))


def test_a_box_over_the_edge_reads_what_is_inside() -> None:
    tensor = np.arange(5 * 3 * 20, dtype=np.float32).reshape(5, 3, 20)
    tensor_map = TensorMap(GlobalBuffer.of_array("x", tensor), (20, 3, 5), (80, 240), (4, 2, 3), swizzle=0)
    for c, t, m in itertools.product((-2, 0, 18), (-1, 2), (-1, 0, 4)):
        index, inside = tensor_map.elements((c, t, m))
        assert index.shape == inside.shape == (6, 4)
        padded = np.pad(tensor, 8)[8 + m : 11 + m, 8 + t : 10 + t, 8 + c : 12 + c].reshape(6, 4)
        np.testing.assert_array_equal(np.where(inside, tensor.reshape(-1)[index * inside], 0), padded)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "pad", "dilation"), [(3, 1, 1), (3, 0, 1), (1, 0, 1), (3, 2, 2), (2, 1, 1)])
def test_im2col_columns_are_rows_of_the_window(stride: int, kernel: int, pad: int, dilation: int) -> None:
    n, h, w, c = 3, 6, 7, 8
    image = np.arange(1, n * h * w * c + 1, dtype=np.float32).reshape(n, h, w, c)
    upper = pad - dilation * (kernel - 1)
    im2col = Im2col((-pad, -pad), (upper, upper), channels=4, pixels=11)
    strides = (c * 4, w * c * 4, h * w * c * 4)
    buffer = GlobalBuffer.of_array("x", image)
    tensor_map = TensorMap(buffer, (c, w, h, n), strides, (), (1, stride, stride, 1), 0, im2col)
    oh, ow = ((extent + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for extent in (h, w))
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    for first, r, s in itertools.product((0, 5, n * oh * ow - 4), range(kernel), range(kernel)):
        image_number, rest = divmod(first, oh * ow)
        corner = (4, rest % ow * stride - pad, rest // ow * stride - pad, image_number)
        index, inside = tensor_map.elements(corner, (s * dilation, r * dilation))
        found = np.where(inside, image.reshape(-1)[index * inside], 0)
        for i, pixel in enumerate(range(first, first + 11)):
            y, x = pixel % (oh * ow) // ow * stride + r * dilation, pixel % ow * stride + s * dilation
            expected = padded[pixel // (oh * ow), y, x, 4:8] if pixel < n * oh * ow else np.zeros(4)
            np.testing.assert_array_equal(found[i], expected)


def test_what_the_hardware_refuses_is_refused() -> None:
    x = GlobalBuffer.of_array("x", np.zeros((16, 36), np.float16))
    with pytest.raises(MisalignedFault, match="multiples of 16 bytes"):
        TensorMap(x, (36, 16), (72,), (64, 8))
    with pytest.raises(DescriptorFault, match="rows of 64 bytes do not fit the swizzle of 128 bytes"):
        TensorMap(x, (32, 16), (64,), (32, 8))
    with pytest.raises(DescriptorFault, match="covers 640 elements"):
        TensorMap(x, (32, 20), (64,), (32, 8), swizzle=64)
    with pytest.raises(DescriptorFault, match="extents of 1 to 256"):
        TensorMap(x, (32, 16), (64,), (32, 257), swizzle=64)
    with pytest.raises(DescriptorFault, match="2 dimensions; 3 coordinates"):
        TensorMap(x, (32, 16), (64,), (32, 8), swizzle=64).elements((0, 0, 0))
    with pytest.raises(MisalignedFault, match="multiple of 1024"):
        destination_chunks(512, 8, 128, 128)
    image = GlobalBuffer.of_array("x", np.zeros((1, 4, 4, 16), np.float16))
    column = Im2col((-1, -1), (-1, -1), 16, 8)
    column_map = TensorMap(image, (16, 4, 4, 1), (32, 128, 512), swizzle=32, im2col=column)
    with pytest.raises(DescriptorFault, match="no base pixel"):
        column_map.elements((0, 3, 0, 0), (0, 0))
    with pytest.raises(DescriptorFault, match="filter offsets"):
        column_map.elements((0, 0, 0, 0), (0,))
