"""The two factors of a product as kernels read them: in place, or packed at build so that the depth is contiguous."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, product
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.tactic import Input, Packed, PackedConstant
from engineworks.kernels.workload import Workload, input_type


def refuse_unloadable(work: Workload, gpu: Gpu) -> None:
    """Raises NoTactic: kernels of this GPU cannot load elements of an operand."""
    for index in (0, 1):
        dtype = input_type(work, index).dtype
        if dtype.bits < 8:
            raise NoTactic(f"products of {dtype} have no kernel; cast to i8 or f32 first")
        if dtype.name.endswith("fnuz") or dtype.name == "f8e8m0":
            raise NoTactic(f"kernels do not load {dtype}; cast to f8e4m3 or f32 first")
        if dtype.name == "f8e4m3" and not gpu.has("fp8"):
            raise NoTactic(f"{gpu.arch} has no {dtype}; cast to f16 first")


@dataclass(frozen=True, slots=True)
class Side:
    """[batches …, outer, depth]: the rows of the left factor, the columns of the right one. Strides count elements.

    Attributes:
        size: of the outer axis, with the padding.
        outer, depth: strides.
        part: from one part of the depth to the next; None where they follow each other along the depth.
        batches: stride of each batch axis of the problem, 0 where the factor is shared.
        reach: elements from its first to behind its last.
        constant: no kernel writes it, so it may be read before the kernels ahead are done.
        whole: tiles read no element beyond its end: their sizes divide its own.
    """

    word: Input | Packed
    dtype: DType
    size: Dim
    outer: Dim
    depth: Dim
    batches: tuple[Dim, ...]
    reach: Dim
    constant: bool
    part: Dim | None = None
    whole: bool = False


def left_side(work: Workload, problem: Problem) -> Side:
    """The left factor, where the workload has it."""
    return _in_place(work, problem.left_input, problem.rows, problem.left_row, problem.left_depth,
                     tuple(b.left for b in problem.batches))  # fmt: skip


def right_side(work: Workload, problem: Problem) -> Side:
    """The right factor, where the workload has it."""
    return _in_place(work, problem.right_input, problem.columns, problem.right_column, problem.right_depth,
                     tuple(b.right for b in problem.batches))  # fmt: skip


def _in_place(
    work: Workload, index: int, size: Dim, outer: Dim, depth: Dim, batches: tuple[Dim, ...]
) -> Side:
    operand = work.inputs[index]
    assert operand is not None, "both factors are there"
    return Side(
        Input(index), operand.type.dtype, size, outer, depth, batches, extent(operand.type), operand.constant
    )


def extent(type_: TensorType) -> Dim:
    """Elements that a tensor's buffer holds, padding counted."""
    return type_.size_bytes // type_.dtype.size_bytes


def packed_right(
    work: Workload, problem: Problem, columns: int, depth: int, parts: int = 1, number: int = 0
) -> tuple[Side, PackedConstant]:
    """The right factor, a constant, as [batches …, parts, columns, depth], padded with zeros.

    Args:
        columns, depth: their sizes become multiples of these; both are static as the factor is.
        parts: the depth is cut into so many equal ones.
        number: of the packed constant in the image.
    """
    assert isinstance(problem.columns, int) and isinstance(problem.depth, int), "constants have static sizes"
    type_ = input_type(work, problem.right_input)
    padded_columns = -(-problem.columns // columns) * columns
    part_depth = max(1, -(-problem.depth // (parts * depth))) * depth
    matrix = parts * padded_columns * part_depth
    strides: list[Dim] = []
    step: Dim = matrix
    for axis in reversed(problem.batches):
        strides.insert(0, 0 if axis.right == 0 else step)
        step = step if axis.right == 0 else step * axis.size
    side = Side(
        Packed(number), type_.dtype, padded_columns, part_depth, 1, tuple(strides),
        matrix * product(b.size for b in problem.right_batches),
        constant=True, part=padded_columns * part_depth if parts > 1 else None, whole=True,
    )  # fmt: skip
    pack = partial(
        _packed, index=problem.right_input, shape=(parts, padded_columns, part_depth),
        zero=neutral(type_.dtype), transposed=problem.right_input == 1,
    )  # fmt: skip
    return side, PackedConstant(pack)


def _packed(
    constants: Mapping[int, np.ndarray],
    *,
    index: int,
    shape: tuple[int, int, int],
    zero: int,
    transposed: bool,
) -> np.ndarray:
    matrices = np.asarray(constants[index])
    matrices = matrices.reshape(math.prod(matrices.shape[:-2]), *matrices.shape[-2:])
    if transposed:
        matrices = matrices.swapaxes(1, 2)
    parts, columns, part_depth = shape
    wide = np.full((len(matrices), columns, parts * part_depth), zero, matrices.dtype)
    wide[:, : matrices.shape[1], : matrices.shape[2]] = matrices
    return np.ascontiguousarray(wide.reshape(len(wide), columns, parts, part_depth).swapaxes(1, 2))


def column_sums(problem: Problem) -> PackedConstant:
    """Σ_k of the constant right factor, one matrix: [columns], i32 of bytes and f32 of floats."""

    def pack(constants: Mapping[int, np.ndarray]) -> np.ndarray:
        matrix = np.asarray(constants[problem.right_input])
        exact, kept = (np.int32, np.int32) if matrix.dtype.kind in "iu" else (np.float64, np.float32)
        sums = matrix.astype(exact).sum(axis=-2 if problem.right_input == 1 else -1, dtype=exact)
        return sums.reshape(-1).astype(kept)

    return PackedConstant(pack)


def neutral(dtype: DType) -> int:
    """What stands for nothing beyond the end of the depth: kernels take 128 off u8 before they multiply."""
    return 128 if dtype is dtypes.u8 else 0
