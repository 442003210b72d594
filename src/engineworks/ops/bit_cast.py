"""The same bits read as another dtype of the same width."""

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, from_torch, i32, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._onnx_types import dtype_attribute


@op("bit_cast")
class BitCast(Pointwise):
    """x's bits as `dtype`."""

    accepts = ("float", "int", "uint", "bool")
    dtype: DType

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if x.dtype.bits != self.dtype.bits or dtypes.string in (x.dtype, self.dtype):
            raise InvalidModel(f"{x.dtype} has {x.dtype.bits} bits, {self.dtype} has {self.dtype.bits}")
        return super().infer(*inputs)

    def output_dtype(self, dtype: DType) -> DType:
        return self.dtype

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("bitcast", xs[0], dtype=self.dtype)

    examples = (
        example(f32(values=[1.0, -0.0, float("inf"), 3e-41]), dtype=dtypes.i32),
        example(i32("N", 3), dtype=dtypes.u32, dims={"N": (1, 4)}),
    )


@from_onnx("BitCast")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    dtype = dtype_attribute(n, "to", n[0].type.dtype)
    return n[0] if dtype is n[0].type.dtype else g.bit_cast(n[0], dtype=dtype)


@from_torch("aten.view.dtype", "aten.view_copy.dtype")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, dtype = n.arg("self"), n.result_dtype()
    if x.type.dtype.bits != dtype.bits:
        raise n.unsupported(f"a view of {x.type.dtype} as {dtype}, which has another width")
    return x if dtype is x.type.dtype else g.bit_cast(x, dtype=dtype)
