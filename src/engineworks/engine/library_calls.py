"""What `schema.Kernel.call` says for a kernel that is a call of a vendor's library: JSON texts of these records.

A *size* is an integer, or '%k': the integer that the record's word number k has when shapes are bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct, json

from engineworks.engine.schema import Count, Index, Strict, Text

Size = Count | Annotated[str, Meta(pattern="^%[0-9]{1,3}$")]


class Matrix(Strict):
    """A matrix as the library sees it, column after column; batches of them at equal distances.

    Attributes:
        dtype: a name of `core/dtypes.py`.
        leading: elements from column to column.
        step: elements from one matrix of the batch to the next; 0: they share it.
        transposed: its transpose is multiplied.
    """

    dtype: Text
    leading: Size
    step: Size = 0
    transposed: bool = False


class MatmulCall(Strict):
    """D = relu?(alpha A B + C? + bias?), by cuBLASLt; A has m rows, B has n columns, and k is summed over.

    Words: addresses of A, B, D and the workspace, then of the bias (m elements of D's dtype) and of C (it lies as D
    does) where there are such, then the sizes.

    Attributes:
        compute: how products are made and summed; 'tf32' rounds f32 factors to 11 bits.
        heuristic: which of the library's proposals is taken, best first; the last one where it has fewer.
        workspace_bytes: of the workspace.
        version: of the library, as it says itself; 0: any.
    """

    m: Size
    n: Size
    k: Size
    a: Matrix
    b: Matrix
    d: Matrix
    compute: Literal["f32", "tf32", "f64", "i32"]
    batch: Size = 1
    alpha: float = 1.0
    bias: bool = False
    residual: bool = False
    relu: bool = False
    heuristic: Index = 0
    workspace_bytes: Count = 0
    version: Index = 0


class Tensor(Strict):
    """A tensor.

    Attributes:
        dtype: a name of `core/dtypes.py`.
        dims, strides: one for each logical axis, in elements.
    """

    dtype: Text
    dims: tuple[Size, ...]
    strides: tuple[Size, ...]


class ConvolutionCall(Strict, tag_field="call", tag="convolution"):
    """y = relu?(x * w + residual? + bias?), by cuDNN.

    Words: addresses of x, w, y and the workspace, then of the bias (one element of y's dtype for each channel) and of
    the residual (it lies as y does) where there are such, then the sizes.

    Attributes:
        x: [N, C, spatial...]. w: [K, C / groups, kernel...]. y: [N, K, spatial...]; two or three spatial axes.
        pads_before, pads_after: elements of padding along each spatial axis.
        rounds: f32 factors may be rounded to 11 bits.
        heuristic: which of the library's proposals that compute as exactly as asked is taken, best first.
        workspace_bytes: of the workspace.
        version: of the library, as it says itself; 0: any.
        plan: the library's own description of the kernels for these sizes, from the version above; '' asks again.
    """

    x: Tensor
    w: Tensor
    y: Tensor
    strides: tuple[Index, ...]
    dilations: tuple[Index, ...]
    pads_before: tuple[Size, ...]
    pads_after: tuple[Size, ...]
    rounds: bool = False
    bias: bool = False
    residual: bool = False
    relu: bool = False
    heuristic: Index = 0
    workspace_bytes: Count = 0
    version: Index = 0
    plan: str = ""


class AttentionCall(Strict, tag_field="call", tag="attention"):
    """y = softmax(scale q kᵀ + mask?) v for each head of each batch, by cuDNN; q may have several heads for one of k.

    Words: addresses of q, k, y, the workspace and v, then of the mask where there is one, then the sizes.

    Attributes:
        q: [B, H, Sq, D]. k: [B, Hk, Sk, D]. v: [B, Hk, Sk, Dv]. y: [B, H, Sq, Dv]. mask: [B or 1, H or 1, Sq or 1, Sk].
        causal: query i sees the keys up to i.
        heuristic, workspace_bytes, version, plan: as those of `ConvolutionCall`.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    y: Tensor
    scale: float
    mask: Tensor | None = None
    causal: bool = False
    heuristic: Index = 0
    workspace_bytes: Count = 0
    version: Index = 0
    plan: str = ""


GraphCall = ConvolutionCall | AttentionCall
"""What cuDNN is called for."""


def encode(call: Strict) -> str:
    """The JSON text of a call."""
    return json.encode(call).decode()


class _Pinned(Struct):
    """What all calls say."""

    version: Index = 0


def version_of(call: str) -> int:
    """The version of its library that a call's text asks for; 0: any. Raises msgspec.DecodeError: it is no JSON."""
    return json.decode(call, type=_Pinned).version


def with_version(call: str, version: str) -> str:
    """A call's text that asks for this version of its library; '' leaves it as it is."""
    if not version:
        return call
    return json.encode({**json.decode(call), "version": int(version)}).decode()


def value(size: int | str, words: Sequence[int]) -> int:
    """A size, with these words."""
    return size if isinstance(size, int) else words[int(size[1:])]
