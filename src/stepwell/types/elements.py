"""The table of element types: how each is called by MLIR, NumPy, LLVM, PTX and the CUDA driver, its size, and the products that it enters.

Only text and numbers, so that the runtime may read it; `stepwell.dialects.numpy_types` joins it with xDSL's types.

>>> element("f32").product("wgmma")
Product(instruction='wgmma', operand='tf32', accumulators=('f32',), since=90)
>>> element("bf16").bytes, element("i4").bytes
(2, 1)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

K_BYTES = 32
"""Bytes of k that one `wgmma` takes of each operand, for every element type (PTX ISA, wgmma.mma_async, table of shapes)."""


@dataclass(frozen=True)
class Product:
    """One way into a matrix product: `operand` is the instruction's name for the element, `accumulators` are element types that it adds up in, `since` is
    the compute capability (ten times) that has it; 0 for vector instructions of a CPU, where `operand` is what is multiplied."""

    instruction: str
    operand: str
    accumulators: tuple[str, ...]
    since: int = 0


@dataclass(frozen=True)
class ElementType:
    """One element type: `name` as MLIR spells it, `bits` of its value, `numpy` (with ml_dtypes' names), `llvm` (empty: LLVM has no such type), `tensor_map`
    (CUtensorMapDataType; integers are only moved there, so their sign does not matter) and its `products`, the first of an instruction being its own."""

    name: str
    bits: int
    numpy: str
    llvm: str = ""
    tensor_map: str = ""
    products: tuple[Product, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of an element in memory: at least one."""
        return -(-self.bits // 8)

    def product(self, instruction: str) -> Product | None:
        """How the instruction multiplies elements of this type, if it does."""
        return next((found for found in self.products if found.instruction == instruction), None)


def _float(name: str, bits: int, numpy: str, llvm: str = "", tensor_map: str = "", *products: Product) -> ElementType:
    return ElementType(name, bits, numpy, llvm, tensor_map, products)


def _integers() -> list[ElementType]:
    """Of 1 to 64 bits; those of 8 bits and less enter products of the tensor cores."""
    found = [ElementType("i1", 1, "bool", "i1", "UINT8")]
    maps = {8: ("UINT8", "UINT8"), 16: ("UINT16", "UINT16"), 32: ("INT32", "UINT32"), 64: ("INT64", "UINT64")}
    for bits in (2, 4, 8, 16, 32, 64):
        for name, numpy, operand in ((f"i{bits}", f"int{bits}", "s"), (f"ui{bits}", f"uint{bits}", "u")):
            products = _integer_products(operand, bits)
            found.append(ElementType(name, bits, numpy, f"i{bits}", maps.get(bits, ("", ""))[operand == "u"], products))
    return found


def _integer_products(sign: str, bits: int) -> tuple[Product, ...]:
    if bits == 8:
        tensor_cores = Product("mma_sync", f"{sign}8", ("i32",), 75), Product("wgmma", f"{sign}8", ("i32",), 90)
        return (Product("fma", "i32", ("i32",)), *tensor_cores)
    return (Product("mma_sync", f"{sign}4", ("i32",), 75),) if bits == 4 else ()


_FLOATS = (
    _float(
        "f16", 16, "float16", "half", "FLOAT16",
        Product("fma", "f32", ("f32",)), Product("mma_sync", "f16", ("f16", "f32"), 75), Product("wgmma", "f16", ("f16", "f32"), 90),
    ),
    _float(
        "bf16", 16, "bfloat16", "bfloat", "BFLOAT16",
        Product("fma", "f32", ("f32",)), Product("mma_sync", "bf16", ("f32",), 80), Product("wgmma", "bf16", ("f32",), 90),
    ),
    _float(
        "f32", 32, "float32", "float", "FLOAT32",
        Product("fma", "f32", ("f32",)), Product("mma_sync", "tf32", ("f32",), 80), Product("wgmma", "tf32", ("f32",), 90),
    ),
    _float("f64", 64, "float64", "double", "FLOAT64", Product("mma_sync", "f64", ("f64",), 80)),
    _float(
        "f8E4M3FN", 8, "float8_e4m3fn", "", "UINT8",
        Product("mma_sync", "e4m3", ("f16", "f32"), 89), Product("wgmma", "e4m3", ("f16", "f32"), 90),
    ),
    _float(
        "f8E5M2", 8, "float8_e5m2", "", "UINT8",
        Product("mma_sync", "e5m2", ("f16", "f32"), 89), Product("wgmma", "e5m2", ("f16", "f32"), 90),
    ),
    _float("f8E8M0FNU", 8, "float8_e8m0fnu", "", "UINT8"),
    _float("f8E4M3FNUZ", 8, "float8_e4m3fnuz", "", "UINT8"),
    _float("f8E5M2FNUZ", 8, "float8_e5m2fnuz", "", "UINT8"),
    _float("f6E2M3FN", 6, "float6_e2m3fn"),
    _float("f6E3M2FN", 6, "float6_e3m2fn"),
    _float("f4E2M1FN", 4, "float4_e2m1fn"),
)  # fmt: skip

ELEMENTS: Mapping[str, ElementType] = MappingProxyType({row.name: row for row in (*_FLOATS, *_integers())})
"""Every element type by MLIR's name. Products: PTX ISA, mma.sync and wgmma.mma_async, tables of types."""


def element(name: str) -> ElementType:
    """The row called `name`; ValueError with the known names where there is none."""
    if name not in ELEMENTS:
        raise ValueError(f"unknown element type {name!r}; known are {', '.join(ELEMENTS)}")
    return ELEMENTS[name]


def operands_of(instruction: str) -> dict[str, ElementType]:
    """The instruction's names of operand types, each with the element type in memory."""
    return {found.operand: row for row in ELEMENTS.values() if (found := row.product(instruction)) is not None}
