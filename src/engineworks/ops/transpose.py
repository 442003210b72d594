"""Permutation of axes: a view, never a copy when a reader can follow it."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.shapes import normalize_axes, normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Op,
    Reader,
    Value,
    example,
    f32,
    from_onnx,
    from_torch,
    op,
)
from engineworks.ir.scalar import Scalar


@op("transpose")
class Transpose(Op):
    """Output axis k is input axis perm[k]."""

    perm: tuple[int, ...]
    keeps_dims = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if sorted(self.perm) != list(range(x.rank)):
            raise InvalidModel(f"perm {self.perm} is no permutation of the axes of {x}")
        return (TensorType(x.dtype, tuple(x.shape[p] for p in self.perm)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.transpose(inputs[0], self.perm)  # type: ignore[arg-type]

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        source = [index[0]] * len(self.perm) if self.perm else []
        for out_axis, in_axis in enumerate(self.perm):
            source[in_axis] = index[out_axis]
        return inputs[0](tuple(source))

    examples = (example(f32(2, 3, 4), perm=(2, 0, 1)), example(f32("N", 5), perm=(1, 0), dims={"N": (1, 4)}))


@from_onnx("Transpose")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    rank = n[0].type.rank
    return g.transpose(n[0], perm=tuple(n.attr("perm", tuple(reversed(range(rank))))))


@from_torch("aten.permute.default", "aten.permute_copy.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    return permuted(g, x, normalize_axes(n.arg("dims"), x.type.rank))


@from_torch("aten.transpose.int", "aten.transpose_copy.int")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    given = [value for name, value in n.foreign.attributes.items() if name != "self"]
    a, b = (normalize_axis(axis, max(x.type.rank, 1)) for axis in given)
    return permuted(g, x, _exchanged(x.type.rank, a, b))


@from_torch("aten.t.default", "aten.t_copy.default", "aten.numpy_T.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The last two axes exchanged; numpy's T reverses all."""
    x = n.arg("self")
    rank = x.type.rank
    if n.foreign.kind == "aten.numpy_T.default":
        return permuted(g, x, tuple(reversed(range(rank))))
    return x if rank < 2 else permuted(g, x, _exchanged(rank, rank - 2, rank - 1))


def _exchanged(rank: int, a: int, b: int) -> tuple[int, ...]:
    return tuple(b if k == a else a if k == b else k for k in range(rank))


def permuted(g: GraphBuilder, x: Value, perm: tuple[int, ...]) -> Value:
    """The transposition; x itself where nothing moves."""
    return x if perm == tuple(range(x.type.rank)) else g.transpose(x, perm=perm)


@from_torch("aten.movedim.int", "aten.movedim.intlist")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    rank = x.type.rank
    source, target = (n.arg(name) for name in ("source", "destination"))
    if isinstance(source, int):
        source, target = (source,), (target,)
    if rank == 0:
        return x
    places = dict(zip(normalize_axes(target, rank), normalize_axes(source, rank), strict=True))
    others = iter(a for a in range(rank) if a not in places.values())
    return permuted(g, x, tuple(places[k] if k in places else next(others) for k in range(rank)))
