"""1x1 convolutions of dense pixels, as the matrix products that they are: pixels by channels times channels by outputs.

The kernels are those of the matmul families; here only the workload is put into their words, and their image back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.types import Layout, TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cuda.conv_shape import conv_shape
from engineworks.kernels.cuda.matmul import CudaMatMul
from engineworks.kernels.cuda.matmul_rows import CudaMatMulRows
from engineworks.kernels.tactic import (
    Effort,
    Input,
    KernelImage,
    PackedConstant,
    Step,
    Tactic,
    TacticProvider,
    TensorMap,
    Word,
)
from engineworks.kernels.workload import Epilogue, Operand, Workload, input_type
from engineworks.ops.conv import Conv
from engineworks.ops.matmul import MatMul

FAMILIES: Mapping[str, TacticProvider] = {family.name: family for family in (CudaMatMul(), CudaMatMulRows())}
"""By name."""


@dataclass(frozen=True, slots=True)
class PointwiseConfig:
    """A tactic of a matmul family."""

    family: str
    inner: Any

    def __str__(self) -> str:
        return f"{self.family} {self.inner}"


@dataclass(frozen=True, slots=True)
class Product:
    """A convolution as a matmul workload, and which input of the convolution each of its inputs is."""

    work: Workload
    inputs: tuple[int, ...]


class CudaConvPointwise:
    """1x1 convolutions of stride 1, channels last."""

    name = "cuda.conv_pointwise"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        """What the matmul families propose, best prediction first.

        Raises:
            NoTactic: windows are not pixels, or no family multiplies these.
        """
        product = product_of(work)
        found, refused = [], []
        for family in FAMILIES.values():
            try:
                tactics = list(family.propose(product.work, isa, effort))
            except NoTactic as why:
                refused.append(str(why))
                continue
            found += [
                replace(t, provider=self.name, config=PointwiseConfig(family.name, t.config)) for t in tactics
            ]
        if not found:
            raise NoTactic("; ".join(refused))
        found.sort(key=lambda t: t.predicted_s)
        return found[:1] if effort == 0 else found

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        """The family's image over the convolution's inputs."""
        product, family = product_of(work), FAMILIES[tactic.config.family]
        inner = Tactic(family.name, tactic.config.inner, tactic.predicted_s, tactic.is_loose)
        made = family.build(product.work, inner, isa)
        return replace(
            made,
            steps=tuple(_step(s, product.inputs) for s in made.steps),
            packed=tuple(PackedConstant(_packing(p.pack, product.inputs)) for p in made.packed),
        )


def product_of(work: Workload) -> Product:
    """The matmul that a convolution is.

    Raises:
        NoTactic: see `CudaConvPointwise.propose`.
    """
    if not isinstance(work.anchor, Conv):
        raise NoTactic(f"{work.anchor} is not a convolution")
    shape = conv_shape(work)
    x, w, y = input_type(work, 0), input_type(work, 1), work.outputs[0]
    if not (shape.reads_pixels and shape.writes_pixels and shape.groups == 1):
        raise NoTactic("windows are not pixels, one after another")
    if (shape.x_strides[1], shape.x_strides[4]) != (1, shape.channels) or shape.outputs == 1:
        raise NoTactic(f"{x} does not have its channels innermost, without padding")
    if (shape.y_strides[1], shape.y_strides[4]) != (1, shape.outputs) or shape.channels == 1:
        raise NoTactic(f"{y} does not have its channels innermost, without padding")
    filters = work.inputs[1]
    assert filters is not None, "a convolution has filters"
    finish = finish_of(work)
    op = MatMul(work.anchor.out_dtype, allow_tf32=bool(getattr(work.anchor, "allow_tf32", False)))
    factors = (
        Operand(TensorType(x.dtype, (shape.pixels, shape.channels))),
        Operand(TensorType(w.dtype, (shape.channels, shape.outputs)).with_layout(Layout((1, 0))), filters.constant),
    )  # fmt: skip
    out = TensorType(y.dtype, (shape.pixels, shape.outputs))
    operands = tuple(
        replace(o, type=TensorType(o.type.dtype, out.shape)) if kind == "full" else o
        for _, kind, o in finish.operands
    )
    kinds: tuple[Any, ...] = tuple(kind for _, kind, _ in finish.operands)  # strings there, literals here
    epilogue = Epilogue(finish.expression, kinds) if finish.expression else None
    inner = Workload(op, (*factors, *operands), 2, (out,), epilogue)
    return Product(inner, (0, 1, *(index for index, _, _ in finish.operands)))


def _step(step: Step, inputs: tuple[int, ...]) -> Step:
    return replace(step, words=tuple(_word(word, inputs) for word in step.words))


def _word(word: Word, inputs: tuple[int, ...]) -> Word:
    match word:
        case Input():
            return replace(word, index=inputs[word.index])
        case TensorMap(base=Input() as base):
            return replace(word, base=replace(base, index=inputs[base.index]))
    return word


def _packing(
    pack: Callable[[Mapping[int, np.ndarray]], np.ndarray], inputs: tuple[int, ...]
) -> Callable[[Mapping[int, np.ndarray]], np.ndarray]:
    """The family's packing, given the convolution's constants."""

    def packed(values: Mapping[int, np.ndarray]) -> np.ndarray:
        own = {k: np.asarray(values[index]) for k, index in enumerate(inputs) if index in values}
        own[1] = filters_as_factor(own[1])
        return pack(own)

    return packed


def filters_as_factor(w: np.ndarray) -> np.ndarray:
    """[O, C, 1…] as [C, O]."""
    return w.reshape(w.shape[:2]).T


PROVIDERS = (CudaConvPointwise(),)
