"""Columns of windows added up to images (the inverse of taking the windows apart)."""

import math
from collections.abc import Sequence
from itertools import product as every

from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_equal, product
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
from engineworks.ir.scalar import Scalar, apply, cast, const, size, where
from engineworks.ops._axes import ints_of
from engineworks.ops._views import linear_index
from engineworks.ops._windows import spread_axes


@op("col2im")
class Col2Im(Op):
    """out[n, c, *i] = Σ of x[n, c * K + k, l] over the elements k of windows l that lie on image position i.

    Attributes:
        image, block: sizes of the image and of a window (K is the product); strides and dilations by axis;
        pads: before each axis, then after.
    """

    image: tuple[Dim, ...]
    block: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    def windows(self) -> tuple[Dim, ...]:
        """Number of windows along each axis."""
        rank = len(self.block)
        return tuple(
            (self.image[a] + self.pads[a] + self.pads[a + rank] - self.dilations[a] * (self.block[a] - 1) - 1)
            // self.strides[a]
            + 1
            for a in range(rank)
        )

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        elements = product(self.block)
        if (
            x.rank != 3
            or x.shape[1] % elements != 0
            or known_equal(x.shape[2], product(self.windows())) is False
        ):
            raise InvalidModel(f"{x} is not [n, c * {elements}, {product(self.windows())}]")
        return (TensorType(x.dtype, (x.shape[0], x.shape[1] // elements, *self.image)),)

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        x = types[0]
        compute = dtypes.f32 if x.dtype.is_float and x.dtype.bits < 32 else x.dtype
        total, zero = const(0, compute), const(0, dtypes.i64)
        counts = self.windows()
        for number, offsets in enumerate(every(*(range(b) for b in self.block))):
            window: list[Scalar] = []
            inside = const(True, dtypes.bool_)
            for a, offset in enumerate(offsets):
                shifted = index[2 + a] + (self.pads[a] - offset * self.dilations[a])
                at = shifted // const(self.strides[a], dtypes.i64)
                fits = apply("and", apply("le", zero, shifted), apply("lt", at, size(counts[a])))
                exact = apply("eq", shifted % const(self.strides[a], dtypes.i64), zero)
                inside = apply("and", inside, apply("and", fits, exact))
                window.append(at)
            row = index[1] * math.prod(self.block) + number
            read = cast(inputs[0]((index[0], row, linear_index(window, counts))), compute)
            total = total + where(inside, read, const(0, compute))
        return cast(total, x.dtype)

    examples = (
        example(
            f32(1, 8, 6), image=(3, 4), block=(2, 2), strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1)
        ),
        example(
            f32(2, 9, 6), image=(5, 4), block=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1), dilations=(1, 1)
        ),
    )


@from_onnx("Col2Im")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    image, block = n.dims(1, "the image's shape"), ints_of(n, 2, "block_shape")
    assert image is not None and block is not None
    rank = len(block)
    return g.col2im(
        n[0], image=image, block=block, strides=tuple(n.attr("strides", (1,) * rank)),
        pads=tuple(n.attr("pads", (0,) * (2 * rank))), dilations=tuple(n.attr("dilations", (1,) * rank)),
    )  # fmt: skip


@from_torch("aten.col2im.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    block, dilation, padding, stride = (
        spread_axes(n.arg(name), 2) for name in ("kernel_size", "dilation", "padding", "stride")
    )
    batched = x if x.type.rank == 3 else g.unsqueeze(x, (0,))
    image = g.col2im(
        batched, image=n.arg("output_size"), block=block, strides=stride, pads=padding * 2, dilations=dilation
    )
    return image if batched is x else g.squeeze(image, (0,))
