"""Ops that run: launches and copies (each is one step), and what a launch passes: tensor maps and pointer tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from xdsl.dialects.builtin import (
    Attribute,
    BoolAttr,
    DenseArrayBase,
    IntegerAttr,
    IntegerType,
    StringAttr,
    SymbolRefAttr,
    i32,
    i64,
)
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.plan.attributes import (
    MEMORY_TYPES,
    SWIZZLES,
    BufferType,
    MapKind,
    MapKindAttr,
    TableType,
    TensorMapType,
    WindowType,
)
from stepwell.dialects.plan.ops_memory import I64, array
from stepwell.dialects.plan.ops_number import number_of

I1 = IntegerType(1)
L2_PROMOTIONS = (0, 64, 128, 256)
MAP_DATA_TYPES = ("f32", "f32_ftz", "tf32", "tf32_ftz")


def number(value: int | None) -> IntegerAttr | None:
    """An i64 attribute, or none for a property that is left out."""
    return None if value is None else IntegerAttr(value, i64)


def _numbers(values: Sequence[int] | None) -> DenseArrayBase | None:
    return None if values is None else array(values)


@irdl_op_definition
class TensorMapOp(IRDLOperation):
    """A tensor map over a buffer. All lists are in the order of the buffer's dimensions (outermost first; the runtime
    reverses them for the driver). tiled: `box` and `strides` (element strides) have one entry per dimension. im2col
    (buffer N, spatial.., C): `box = [pixels, channels]` per column, `lower` and `upper` are the corners of the bounding
    box per spatial dimension (lower = -pad begin, upper = pad end - dilation*(kernel-1)), `strides` the element strides
    per dimension (a convolution's strides in the spatial ones). Out-of-bounds elements read as zeros. `swizzle` and
    `l2` are in bytes, `as` reads f32 memory as another 32-bit data type. Limits: the driver API's pages on
    cuTensorMapEncodeTiled / Im2col."""

    name = "plan.tensor_map"

    kind = prop_def(MapKindAttr)
    source = operand_def(BufferType)
    box = prop_def(DenseArrayBase.constr(I64))
    lower = opt_prop_def(DenseArrayBase.constr(I64))
    upper = opt_prop_def(DenseArrayBase.constr(I64))
    strides = opt_prop_def(DenseArrayBase.constr(I64))
    swizzle = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    l2 = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    data_type = opt_prop_def(StringAttr)
    map = result_def(TensorMapType)

    traits = traits_def(Pure())
    assembly_format = (
        "$kind $source `box` $box (`lower` $lower^)? (`upper` $upper^)? (`strides` $strides^)? (`swizzle` $swizzle^)?"
        " (`l2` $l2^)? (`as` $data_type^)? attr-dict `:` type($source)"
    )

    def __init__(
        self,
        source: SSAValue | Operation,
        kind: MapKind | Literal["tiled", "im2col"],
        box: Sequence[int],
        *,
        lower: Sequence[int] | None = None,
        upper: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        swizzle: int = 0,
        l2: int = 128,
        data_type: str | None = None,
    ) -> None:
        properties = {
            "kind": MapKindAttr(MapKind(kind)),
            "box": array(box),
            "lower": _numbers(lower),
            "upper": _numbers(upper),
            "strides": _numbers(strides),
            "swizzle": number(swizzle or None),
            "l2": number(l2 if l2 != 128 else None),
            "data_type": None if data_type is None else StringAttr(data_type),
        }
        super().__init__(operands=[source], properties=properties, result_types=[TensorMapType()])

    @property
    def swizzle_bytes(self) -> int:
        """Swizzle span in bytes, 0 for none."""
        return 0 if self.swizzle is None else self.swizzle.value.data

    @property
    def l2_bytes(self) -> int:
        """L2 promotion in bytes, 128 unless given."""
        return 128 if self.l2 is None else self.l2.value.data

    def element_strides(self) -> tuple[int, ...]:
        """Element strides per dimension, ones unless given."""
        assert isinstance(self.source.type, BufferType)
        return (
            (1,) * self.source.type.get_num_dims()
            if self.strides is None
            else tuple(map(int, self.strides.get_values()))
        )

    def verify_(self) -> None:
        assert isinstance(self.source.type, BufferType)
        _verify_map_common(self, self.source.type)
        if self.kind.data is MapKind.TILED:
            _verify_tiled(self, self.source.type)
        else:
            _verify_im2col(self, self.source.type)


def _refuse(reason: str) -> None:
    raise VerifyException(f"plan.tensor_map: {reason}")


def _verify_map_common(op: TensorMapOp, source: BufferType) -> None:
    size = element_bytes(source.element_type)
    inner = int(op.box.get_values()[-1]) * size if len(op.box) else 0
    if source.get_num_dims() < 1 or source.get_strides()[-1] != 1:
        _refuse("the innermost dimension must be contiguous: take a view or transpose first")
    for stride in source.get_strides()[:-1]:
        if stride * size % 16 or stride * size >= 1 << 40:
            _refuse(f"a row stride of {stride * size} bytes is not a multiple of 16: pad the rows or copy another way")
    if op.swizzle_bytes not in SWIZZLES or op.l2_bytes not in L2_PROMOTIONS:
        _refuse(f"swizzle {op.swizzle_bytes} is one of {SWIZZLES}, l2 {op.l2_bytes} one of {L2_PROMOTIONS}")
    if inner % 16 or inner == 0:
        _refuse(f"the innermost box extent takes {inner} bytes, which is not a multiple of 16")
    if op.swizzle_bytes and inner > op.swizzle_bytes:
        _refuse(f"the innermost box extent takes {inner} bytes, more than the swizzle span {op.swizzle_bytes}")
    if len(op.element_strides()) != source.get_num_dims() or not all(1 <= s <= 8 for s in op.element_strides()):
        _refuse(f"element strides {list(op.element_strides())}: one per dimension, each in 1..8")
    if op.data_type is not None and (op.data_type.data not in MAP_DATA_TYPES or str(source.element_type) != "f32"):
        _refuse(f"as {op.data_type.data}: one of {MAP_DATA_TYPES}, for f32 memory")


def _verify_tiled(op: TensorMapOp, source: BufferType) -> None:
    if not 1 <= source.get_num_dims() <= 5:
        _refuse(f"tiled maps have rank 1 to 5, got {source.get_num_dims()}")
    if len(op.box) != source.get_num_dims() or not all(1 <= int(b) <= 256 for b in op.box.get_values()):
        _refuse(f"box {list(op.box.get_values())}: one extent per dimension, each in 1..256")
    if op.lower is not None or op.upper is not None:
        _refuse("corners belong to im2col maps")


def _verify_im2col(op: TensorMapOp, source: BufferType) -> None:
    rank = source.get_num_dims()
    if not 3 <= rank <= 5 or not source.contiguous:
        _refuse(f"im2col maps are over contiguous N, spatial.., C buffers of rank 3 to 5, got {source}")
    box = [int(b) for b in op.box.get_values()]
    if len(box) != 2 or not 1 <= box[0] <= 1024 or not 1 <= box[1] <= 256:
        _refuse(f"im2col box {box} is [pixels in 1..1024, channels in 1..256]")
    bound = {3: 1 << 15, 4: 1 << 7, 5: 1 << 4}[rank]
    for corner in (op.lower, op.upper):
        values = [] if corner is None else [int(c) for c in corner.get_values()]
        if len(values) != rank - 2 or not all(-bound <= c < bound for c in values):
            _refuse(f"im2col corners {values}: {rank - 2} numbers in [{-bound}, {bound - 1}]")


@irdl_op_definition
class PointerTableOp(IRDLOperation):
    """Row addresses of a window, or of a contiguous [M, K] / [M, T, K] buffer, for kernels that read A in place: 64-bit
    addresses of shape [ceil(M / rows), T, rows]; entry (b, t, r) points at the C elements of pixel b*rows + r under tap
    t. Pixels outside the image point at a row of the window's fill, pixels beyond M at that same row (zeros for a
    buffer)."""

    name = "plan.pointer_table"

    source = operand_def(BufferType | WindowType)
    rows = prop_def(IntegerAttr[IntegerType].constr(type=I64))
    table = result_def(TableType)

    traits = traits_def(Pure())
    assembly_format = "$source `rows` $rows attr-dict `:` type($source)"

    def __init__(self, source: SSAValue | Operation, rows: int) -> None:
        super().__init__(operands=[source], properties={"rows": IntegerAttr(rows, i64)}, result_types=[TableType()])

    def verify_(self) -> None:
        if not 1 <= self.rows.value.data <= 1024:
            raise VerifyException(f"plan.pointer_table: rows {self.rows.value.data} is not in 1..1024")
        source = self.source.type
        if isinstance(source, BufferType) and (source.get_num_dims() not in (2, 3) or not source.contiguous):
            raise VerifyException(f"plan.pointer_table: a buffer is [M, K] or [M, T, K] and contiguous, got {source}")


@irdl_op_definition
class LaunchOp(IRDLOperation):
    """Run a kernel over memory: one step of the program. While the kernel is a `tile.kernel`, `args` are its inputs and
    `outs` its outputs. After kernel lowering everything stands in `args` in the order of the kernel's parameters, and
    `reads` and `writes` are the indices in `args` through which memory is read and written. CPU: `tiles` = the number
    of tiles to share among threads, `grain` (1 unless given) = how many at least are worth a thread's while. CUDA: `grid` = the number of blocks,
    `block`, `shared` (dynamic bytes), `pdl` (programmatic dependent launch). Numbers among the operands are plan arithmetic
    (`plan.extent`, `plan.ceil_div`, ..) or `arith.constant`."""

    name = "plan.launch"

    kernel = prop_def(SymbolRefAttr)
    args = var_operand_def()
    outs = var_operand_def(BufferType)
    tiles = opt_operand_def(i64)
    grid = opt_operand_def(i32)
    grain = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    block = opt_prop_def(DenseArrayBase.constr(I64))
    shared = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    pdl = opt_prop_def(IntegerAttr[IntegerType].constr(type=I1))
    reads = opt_prop_def(DenseArrayBase.constr(I64))
    writes = opt_prop_def(DenseArrayBase.constr(I64))

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$kernel `(` $args `)` (`outs` `(` $outs^ `)`)? (`tiles` $tiles^)? (`grain` $grain^)? (`grid` $grid^)? (`block` $block^)?"
        " (`shared` $shared^)? (`pdl` $pdl^)? (`reads` $reads^)? (`writes` $writes^)? attr-dict"
        " `:` `(` type($args) `)` (`outs` `(` type($outs)^ `)`)?"
    )

    def __init__(
        self,
        kernel: str | SymbolRefAttr,
        args: Sequence[SSAValue | Operation],
        outs: Sequence[SSAValue | Operation] = (),
        *,
        tiles: SSAValue | None = None,
        grain: int | None = None,
        grid: SSAValue | None = None,
        block: Sequence[int] | None = None,
        shared: int | None = None,
        pdl: bool | None = None,
        reads: Sequence[int] | None = None,
        writes: Sequence[int] | None = None,
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "kernel": SymbolRefAttr(kernel) if isinstance(kernel, str) else kernel,
            "grain": number(grain),
            "block": _numbers(block),
            "shared": number(shared),
            "pdl": None if pdl is None else BoolAttr.from_bool(pdl),
            "reads": _numbers(reads),
            "writes": _numbers(writes),
        }
        super().__init__(operands=[list(args), list(outs), tiles, grid], properties=properties)

    @property
    def kernel_name(self) -> str:
        """The kernel's symbol."""
        return self.kernel.string_value()

    @property
    def blocks(self) -> int:
        """Blocks of the grid; 1 where none is given."""
        return 1 if self.grid is None else number_of(self.grid)

    def read_values(self) -> tuple[SSAValue, ...]:
        """Operands through which the kernel reads memory."""
        if self.reads is None:
            return tuple(a for a in self.args if isinstance(a.type, MEMORY_TYPES))
        return tuple(self.args[int(i)] for i in self.reads.get_values())

    def written_values(self) -> tuple[SSAValue, ...]:
        """Operands through which the kernel writes memory."""
        explicit = () if self.writes is None else tuple(self.args[int(i)] for i in self.writes.get_values())
        return (*self.outs, *explicit)

    def verify_(self) -> None:
        for title, indices in (("reads", self.reads), ("writes", self.writes)):
            for index in () if indices is None else map(int, indices.get_values()):
                if not 0 <= index < len(self.args) or not isinstance(self.args[index].type, MEMORY_TYPES):
                    raise VerifyException(
                        f"plan.launch @{self.kernel_name}: {title} [{index}] is not a memory argument"
                    )
        if not self.written_values():
            raise VerifyException(f"plan.launch @{self.kernel_name}: writes nothing: give outs (..) or writes [..]")
        explicit = (self.reads is None) == (self.writes is None)
        if not explicit or (self.outs and self.writes is not None):
            raise VerifyException(
                f"plan.launch @{self.kernel_name}: give either outs (..) or both reads [..] and writes [..]"
            )
        if self.grain is not None and (self.tiles is None or self.grain.value.data < 1):
            raise VerifyException(f"plan.launch @{self.kernel_name}: grain is at least 1 and stands beside tiles")
        threads = () if self.block is None else tuple(map(int, self.block.get_values()))
        if self.block is not None and (len(threads) != 3 or min(threads) < 1):
            raise VerifyException(
                f"plan.launch @{self.kernel_name}: block {list(threads)} is not three positive numbers"
            )
        if self.grid is not None and not 1 <= self.blocks < 1 << 31:
            raise VerifyException(
                f"plan.launch @{self.kernel_name}: a grid of {self.blocks} blocks: at least 1, less than 2**31"
            )


@irdl_op_definition
class CopyOp(IRDLOperation):
    """Copy a contiguous buffer into an output binding, after every launch: for results that no kernel writes in place
    (a network input, a constant or the same value returned under two names). One step of the program."""

    name = "plan.copy"

    source = operand_def(BufferType)
    target = operand_def(BufferType)

    assembly_format = "$source `to` $target attr-dict `:` type($source) `to` type($target)"

    def __init__(self, source: SSAValue | Operation, target: SSAValue | Operation) -> None:
        super().__init__(operands=[source, target])

    def verify_(self) -> None:
        source, target = self.source.type, self.target.type
        assert isinstance(source, BufferType) and isinstance(target, BufferType)
        same = source.element_type == target.element_type and source.element_count() == target.element_count()
        if not same or not source.contiguous or not target.contiguous:
            raise VerifyException(
                f"plan.copy: {source} and {target} must be contiguous and of the same size and element type"
            )
