"""matmul by cuBLASLt, with the epilogues that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_equal, known_positive, multiple_of
from engineworks.core.dtypes import DType
from engineworks.engine.library_calls import MatmulCall, Matrix, encode
from engineworks.errors import NoTactic
from engineworks.ir.op import Op
from engineworks.kernels.cost import typical
from engineworks.kernels.cpu.matmul_problem import Batch, Problem, problem_of
from engineworks.kernels.cuda.library_epilogue import LibraryEpilogue, library_epilogue
from engineworks.kernels.cuda.library_proposals import proposals, require_measuring
from engineworks.kernels.cuda.library_words import LibraryWords, bias_word, library_image, rounds_bias
from engineworks.kernels.tactic import (
    Effort,
    Input,
    KernelImage,
    Output,
    Packed,
    PackedConstant,
    Tactic,
    Word,
    Workspace,
)
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.matmul import MatMul

WORKSPACE = 32 << 20
"""Bytes that the library may use; NVIDIA's advice for Hopper."""
TRIED = (0, 2, 4, 6, 10, 16)
"""Proposals of the library that are measured, by effort."""
LAUNCH_S = 3e-6
REACHED = 0.7
"""Of what the hardware gives, where nothing is known better."""

OUTPUTS = {"f16": ("f16", "f32"), "bf16": ("bf16", "f32"), "f32": ("f32",), "f64": ("f64",), "i8": ("i32",)}
"""Dtypes of results by that of both factors."""


@dataclass(frozen=True, slots=True)
class Product:
    """A matmul workload as cuBLASLt can compute it: column after column, so its A is our right operand.

    Attributes:
        compute: see `MatmulCall`.
        packs: the right operand is a constant that is laid out anew, with the summed axis innermost.
        batch: one axis of independent products.
    """

    problem: Problem
    epilogue: LibraryEpilogue
    compute: str
    packs: bool
    batch: Batch


def product_of(work: Workload) -> Product:
    """The workload's product.

    Raises:
        NoTactic: the library does not compute it.
    """
    if not isinstance(work.anchor, MatMul):
        raise NoTactic("not a matmul")
    problem = problem_of(work)
    left, out = problem.left_type, work.outputs[0].dtype
    if problem.right_type is not left or out.name not in OUTPUTS.get(left.name, ()):
        raise NoTactic(f"cuBLASLt has no product of {left} and {problem.right_type} in {out}")
    if work.epilogue is not None and not out.is_float:
        raise NoTactic("products of integers take no epilogue")
    if not all(known_positive(d) for d in (problem.columns, problem.depth)):
        raise NoTactic("columns or the summed axis may be empty")
    compute = sums_in(work.anchor, left)
    batch = _one_batch(problem)
    packs = problem.right_constant and left is dtypes.i8 and batch.right == 0
    found = Product(problem, library_epilogue(work), compute, packs, batch)
    _require_strides(found)
    return found


def _require_strides(product: Product) -> None:
    p = product.problem
    if 1 not in (p.left_row, p.left_depth) or (
        1 not in (p.right_depth, p.right_column) and not product.packs
    ):
        raise NoTactic("an operand is contiguous along neither of its axes")
    if product.compute != "i32":
        return
    if p.left_depth != 1 or not (product.packs or p.right_depth == 1):
        raise NoTactic("cuBLASLt multiplies 8-bit integers only where the summed axis is innermost in both")
    if any(multiple_of(d) % 4 for d in (p.columns, p.depth, p.left_row, p.out_row)):
        raise NoTactic("cuBLASLt multiplies 8-bit integers only in fours")


def _one_batch(problem: Problem) -> Batch:
    """All axes of independent products as one. Raises NoTactic: they do not lie at equal distances."""
    whole = Batch(1, 0, 0, 0)
    for axis in reversed(problem.batches):
        if whole.size == 1:
            whole = axis
            continue
        pairs = ((axis.left, whole.left), (axis.right, whole.right), (axis.out, whole.out))
        if not all(known_equal(outer, whole.size * inner) for outer, inner in pairs):
            raise NoTactic("the matrices of the batch do not lie at equal distances")
        whole = Batch(axis.size * whole.size, whole.left, whole.right, whole.out)
    return whole


class CublasltMatmul:
    """See the module."""

    name = "cuda.cublaslt"
    version = 1
    source = "cublaslt"

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        product = product_of(work)
        require_measuring(TRIED, effort)
        seconds = predict(work, product.problem.multiplies, product.compute, isa)
        loose = rounds_bias(work, product.epilogue.bias)
        return proposals(self.name, TRIED[effort], seconds, is_loose=loose)

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        product, packed = product_of(work), []
        p, end = product.problem, product.epilogue
        right: Word = Input(p.right_input)
        if product.packs:
            packed.append(PackedConstant(_Transposed(p.right_input)))
            right = Packed(0)
        words = LibraryWords([right, Input(p.left_input), Output(0), Workspace(0)])
        if end.bias is not None:
            words.words.append(bias_word(work, end.bias, packed))
        if end.residual is not None:
            words.words.append(Input(end.residual))
        text = encode(_call(product, work.outputs[0].dtype, tactic.config.proposal, words))
        return library_image("cublaslt", text, words, packed, WORKSPACE)


def _call(product: Product, out: DType, proposal: int, words: LibraryWords) -> MatmulCall:
    p, batch, size = product.problem, product.batch, words.size
    right_flat = product.packs or (p.right_depth == 1 and p.right_column != 1)
    right_leading = p.depth if product.packs else p.right_column if right_flat else p.right_depth
    left_flat = p.left_depth == 1
    return MatmulCall(
        m=size(p.columns), n=size(p.rows), k=size(p.depth), batch=size(batch.size),
        a=Matrix(p.right_type.name, size(right_leading), size(batch.right), transposed=right_flat),
        b=Matrix(p.left_type.name, size(p.left_row if left_flat else p.left_depth), size(batch.left),
                 transposed=not left_flat),
        d=Matrix(out.name, size(p.out_row), size(batch.out)),
        compute=product.compute,  # type: ignore[arg-type]
        alpha=product.epilogue.alpha, bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None, relu=product.epilogue.relu,
        heuristic=proposal, workspace_bytes=WORKSPACE,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Transposed:
    """Constant right operand of a product, [columns, depth]: input 1 transposed, or input 0 as it is, since there our
    operands have changed places.
    """

    index: int

    def __call__(self, constants: Mapping[int, np.ndarray]) -> np.ndarray:
        matrix = constants[self.index].reshape(constants[self.index].shape[-2:])
        return np.ascontiguousarray(matrix.T if self.index == 1 else matrix)


def sums_in(op: Op, factors: DType) -> str:
    """`MatmulCall.compute` for factors of a dtype."""
    if factors is dtypes.f32 and getattr(op, "allow_tf32", False):
        return "tf32"
    return {"f64": "f64", "i8": "i32"}.get(factors.name, "f32")


def predict(work: Workload, multiplies: Dim, compute: str, gpu: Gpu) -> float:
    """Seconds by the roofline; only so that rankings have a number: the library is measured or not taken."""
    rates = {"tf32": gpu.half_flops / 2, "f64": gpu.float_flops / 2, "i32": gpu.half_flops * 2}
    plain = gpu.float_flops if input_type(work, 0).dtype is dtypes.f32 else gpu.half_flops
    moved = sum(_bytes(o.type.count, o.type.dtype) for o in work.inputs if o is not None)
    moved += _bytes(work.outputs[0].count, work.outputs[0].dtype)
    arithmetic = 2 * typical(multiplies, 1 << 30) / rates.get(compute, plain)
    return max(arithmetic, moved / gpu.bytes_per_s) / REACHED + LAUNCH_S


def _bytes(count: Dim, dtype: DType) -> int:
    return typical(count, 1 << 20) * dtype.size_bytes


PROVIDERS: Sequence[CublasltMatmul] = (CublasltMatmul(),)
