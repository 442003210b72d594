"""Matrix products of any dtype and layout: one output row a task, columns in vectors where they are contiguous.

The floor under the tiled kernels: f64, f16, bf16, f8, integers, and outputs contiguous along a batch axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engineworks.codegen.llvm import casts
from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.codegen.llvm.prims import emit_epilogue
from engineworks.codegen.llvm.vector import Vector, compute_kind, register_kind, storage_kind
from engineworks.core.dims import Dim, product
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.kernels import cost
from engineworks.kernels.cpu.words import Words, finish, kernel_function
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Step, Tactic
from engineworks.kernels.workload import Workload
from engineworks.ops._product_types import matmul_dtype, sum_dtype
from engineworks.ops.matmul import MatMul


@dataclass(frozen=True, slots=True)
class GenericMatMulConfig:
    """lanes: columns computed together; 1 where the right side or the output is not contiguous along them."""

    lanes: int


class CpuMatMulGeneric:
    """matmul of any dtypes that it may have."""

    name = "cpu.matmul_generic"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        if work.anchor is None or work.anchor.name != "matmul":
            raise NoTactic("not a matmul")
        left, right = work.inputs[0], work.inputs[1]
        assert left is not None and right is not None, "matmul takes two operands"
        for operand in (left, right):
            if operand.type.dtype.bits < 8:
                raise NoTactic(f"products of {operand.type.dtype} have no kernel; cast to i8 or f32 first")
        out = work.outputs[0]
        contiguous = right.type.strides()[-1] == 1 and out.strides()[-1] == 1
        multiplies = cost.typical(product([*out.shape, left.type.shape[-1]]), 1 << 24)
        lanes = isa.lanes if contiguous else 1
        seconds = multiplies * (3.0 / lanes + 0.3) / cost.CORE.clock_hz + cost.CORE.launch_s
        return [Tactic(self.name, GenericMatMulConfig(lanes), seconds)]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(tactic.config, GenericMatMulConfig), tactic.text()
        row = _Row(work, tactic.config.lanes, isa)
        with row.f.loop("%lo", "%hi") as task:
            row.emit(task)
        symbol, text = finish(row.f, "matmul_generic")
        step = Step(symbol, tuple(row.words.words), product(work.outputs[0].shape[:-1]))
        return KernelImage({symbol: text}, frozenset(row.f.declarations), (step,))


class _Row:
    """Emission state of one output row."""

    def __init__(self, work: Workload, lanes: int, isa: Isa) -> None:
        left, right, out = work.inputs[0], work.inputs[1], work.outputs[0]
        assert left is not None and right is not None, "matmul takes two operands"
        self.work, self.lanes, self.isa = work, lanes, isa
        self.f: Function = kernel_function()
        self.words = words = Words(self.f)
        self.dtypes, self.out = (left.type.dtype, right.type.dtype), out
        assert isinstance(work.anchor, MatMul), f"{work.anchor} is no matmul"
        self.dtype = matmul_dtype(*self.dtypes, work.anchor.out_dtype)
        self.sum = sum_dtype(*self.dtypes, self.dtype)
        self.pointers = [words.pointer(Input(k)) for k in range(len(work.inputs))]
        self.target = words.pointer(Output(0))
        rank = out.rank
        self.sizes = [words.size(d) for d in out.shape]
        self.strides = [
            [words.size(s) for s in _aligned_strides(t, rank)] for t in (left.type, right.type, out)
        ]
        self.depth = words.size(left.type.shape[-1])

    def emit(self, task: str) -> None:
        f, rank = self.f, self.out.rank
        index: list[Size] = [0] * rank
        rest: Size = task
        for axis in reversed(range(rank - 1)):
            index[axis], rest = f.urem(rest, self.sizes[axis]), f.udiv(rest, self.sizes[axis])
        left, right, out = (self._offset(strides, index) for strides in self._outer_strides())
        with f.loop(0, self.sizes[-1], self.lanes) as column:
            index[-1] = column
            mask = None if self.lanes == 1 else iota_below(f, self.lanes, f.sub(self.sizes[-1], column))
            total = self._dot(left, f.add(right, f.mul(column, self.strides[1][-1])), mask)
            self._store(total, f.add(out, f.mul(column, self.strides[2][-1])), index, mask)

    def _outer_strides(self) -> list[list[Size]]:
        """By output axis but the last; the right side does not move along rows."""
        left, right, out = self.strides
        return [left[:-1], [*right[:-2], 0], out[:-1]]

    def _offset(self, strides: list[Size], index: list[Size]) -> Size:
        total: Size = 0
        for stride, i in zip(strides, index, strict=False):
            total = self.f.add(total, self.f.mul(i, stride))
        return total

    def _dot(self, left: Size, right: Size, mask: str | None) -> Vector:
        """Σ_k left[k] * right[k, columns] in compute form, rounded to the dtype at the end."""
        f = self.f
        blank = Vector(f, self.isa, compute_kind(self.sum), self.lanes, "")
        total = f.variable(blank.type, "zeroinitializer" if self.lanes > 1 else blank.splat(0).name)
        with f.loop(0, self.depth) as k:
            a = self._load(0, f.add(left, f.mul(k, self.strides[0][-1])), None, broadcast=True)
            b = self._load(1, f.add(right, f.mul(k, self.strides[1][-2])), mask)
            sum_ = blank.of(f.get(blank.type, total))
            f.set(blank.type, total, (a.fma(b, sum_) if a.is_float else a * b + sum_).name)
        return casts.round_to(self.dtype, blank.of(f.get(blank.type, total)))

    def _load(self, operand: int, offset: Size, mask: str | None, *, broadcast: bool = False) -> Vector:
        dtype = self.dtypes[operand]
        pointer = self.f.at(self.pointers[operand], self.f.mul(offset, dtype.size_bytes))
        value = self._decoded(dtype, self._register(dtype, pointer, mask, broadcast))
        return value if dtype.is_float else casts.cast(value, dtype, self.sum)

    def _register(self, dtype: DType, pointer: str, mask: str | None, broadcast: bool) -> str:
        """Elements in register form; with one lane a scalar."""
        f = self.f
        if self.lanes > 1:
            return load_vector(f, self.lanes, dtype, pointer, mask, broadcast=broadcast)
        value = f.value(f"load {storage_kind(dtype)}, ptr {pointer}, align {dtype.size_bytes}")
        return f.value(f"icmp ne i8 {value}, 0") if dtype.kind == "bool" else value

    def _decoded(self, dtype: DType, register: str) -> Vector:
        return casts.decode(dtype, Vector(self.f, self.isa, register_kind(dtype), self.lanes, register))

    def _store(self, total: Vector, offset: Size, index: list[Size], mask: str | None) -> None:
        f, epilogue, dtype = self.f, self.work.epilogue, self.out.dtype
        register = casts.encode(self.dtype, total)
        value = (register.bits("bfloat") if self.dtype.name == "bf16" else register).name
        if epilogue:
            extra = [
                self._epilogue_operand(k, kind, offset, index, mask) for k, kind in enumerate(epilogue.kinds)
            ]
            value = emit_epilogue(f, self.isa, epilogue.expression, [value, *extra], self.lanes)
        pointer = f.at(self.target, f.mul(offset, dtype.size_bytes))
        if self.lanes > 1:
            store_vector(f, self.lanes, dtype, pointer, value, mask)
            return
        value = f.value(f"zext i1 {value} to i8") if dtype.kind == "bool" else value
        f.line(f"store {storage_kind(dtype)} {value}, ptr {pointer}, align {dtype.size_bytes}")

    def _epilogue_operand(
        self, number: int, kind: str, offset: Size, index: list[Size], mask: str | None
    ) -> str:
        operand = self.work.inputs[2 + number]
        assert operand is not None, "epilogue operands are never omitted"
        dtype = operand.type.dtype
        inner = self.out.layout.order[-1] if self.out.layout else self.out.rank - 1
        element: Size = {"full": offset, "channel": index[inner], "scalar": 0}[kind]
        pointer = self.f.at(self.pointers[2 + number], self.f.mul(element, dtype.size_bytes))
        same = kind == "scalar" or (kind == "channel" and inner != self.out.rank - 1)
        return self._register(dtype, pointer, None if same else mask, same)


def _aligned_strides(t: TensorType, rank: int) -> list[Dim]:
    """Strides by output axis: 0 along batch axes that are broadcast or absent; the last two are the matrix's own."""
    own: list[Dim] = [
        0 if axis < t.rank - 2 and t.shape[axis] == 1 else s for axis, s in enumerate(t.strides())
    ]
    return [0] * (rank - t.rank) + own


PROVIDERS = (CpuMatMulGeneric(),)
