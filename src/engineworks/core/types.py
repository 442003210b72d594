"""What a tensor is: element type, shape, and how it lies in memory."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.core.dims import Dim, product
from engineworks.core.dtypes import DType

Shape = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The order of the logical axes in memory, outermost first, and padding of the rows.

    Args:
        order: a permutation of range(rank). NHWC memory of a logical NCHW tensor is (0, 2, 3, 1).
        row_pad: elements added after each innermost row, so that rows do not lie a power of two apart
            (unpadded rows of a tile share one cache set; docs/decisions/0003-layouts.md).
        strides: elements between neighbours along each logical axis, where the tensor is a part of a larger one and
            its kernel reads it there; None: dense.
    """

    order: tuple[int, ...]
    row_pad: int = 0
    strides: tuple[Dim, ...] | None = None

    @property
    def is_row_major(self) -> bool:
        return self.order == tuple(range(len(self.order))) and self.row_pad == 0 and self.strides is None

    def __str__(self) -> str:
        inside = "" if self.strides is None else f" of {','.join(map(str, self.strides))}"
        return "".join(str(a) for a in self.order) + (f"+{self.row_pad}" if self.row_pad else "") + inside


def row_major(rank: int) -> Layout:
    """The layout in which the last logical axis is innermost, without padding."""
    return Layout(tuple(range(rank)))


@dataclass(frozen=True, slots=True)
class TensorType:
    """dtype, logical shape, and layout (None: row-major, which is how graph inputs and outputs lie)."""

    dtype: DType
    shape: Shape
    layout: Layout | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    @property
    def count(self) -> Dim:
        """Number of elements, padding not counted."""
        return product(self.shape)

    def strides(self) -> Shape:
        """Elements between neighbours along each logical axis."""
        layout = self.layout or row_major(self.rank)
        if layout.strides is not None:
            return layout.strides
        out: list[Dim] = [0] * self.rank
        step: Dim = 1
        for position, axis in enumerate(reversed(layout.order)):
            out[axis] = step
            step = step * self.shape[axis]
            if position == 0:
                step = step + layout.row_pad
        return tuple(out)

    @property
    def size_bytes(self) -> Dim:
        """Bytes the buffer takes, padding counted; of a part of a larger tensor, from its first element to its last."""
        layout = self.layout
        if layout is not None and layout.strides is not None:
            span: Dim = 1
            for dim, stride in zip(self.shape, layout.strides, strict=True):
                span = span + (dim - 1) * stride
            return span * self.dtype.size_bytes
        if layout is None or not layout.row_pad or not self.rank:
            return self.count * self.dtype.size_bytes
        inner = layout.order[-1]
        rows = product([d for a, d in enumerate(self.shape) if a != inner])
        return rows * (self.shape[inner] + layout.row_pad) * self.dtype.size_bytes

    def with_layout(self, layout: Layout | None) -> TensorType:
        """The same tensor lying differently; row-major becomes None so that equal types are equal."""
        if layout is not None and layout.is_row_major:
            layout = None
        return TensorType(self.dtype, self.shape, layout)

    def with_shape(self, shape: Shape) -> TensorType:
        """Another shape, row-major."""
        return TensorType(self.dtype, tuple(shape))

    def __str__(self) -> str:
        dims = ", ".join(str(d) for d in self.shape)
        return f"{self.dtype}[{dims}]" + (f"{{{self.layout}}}" if self.layout else "")
