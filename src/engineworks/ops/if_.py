"""One of two bodies, chosen at run time."""

from collections.abc import Callable, Sequence

import numpy as np

from engineworks.core.dims import Dim, bounds, known_equal
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Region, Value, from_onnx, from_torch, op

RunRegion = Callable[[Region, Sequence[np.ndarray]], tuple[np.ndarray, ...]]


@op("if_")
class If(Op):
    """Outputs of `then` where input 0 (bool, one element) is true, else of `otherwise`.

    After the condition come the inputs of `then` (`then_inputs` of them), then those of `otherwise`.

    Attributes:
        types: of the outputs, where both bodies' types agree or a symbol stands for both sizes.
        sizes: those symbols; they are known once the chosen body has run.
    """

    then: Region
    otherwise: Region
    then_inputs: int
    types: tuple[TensorType, ...]
    sizes: tuple[Dim, ...] = ()
    defines = ("sizes",)

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        condition = inputs[0]
        assert condition is not None
        if condition.dtype.kind != "bool" or known_equal(condition.count, 1) is False:
            raise InvalidModel(f"the condition must be one bool, not {condition}")
        wanted = (len(self.then.graph.inputs), len(self.otherwise.graph.inputs))
        if (self.then_inputs, len(inputs) - 1 - self.then_inputs) != wanted:
            raise InvalidModel(
                f"the bodies take {wanted[0]} and {wanted[1]} inputs; {len(inputs) - 1} are given"
            )
        return self.types

    def run_regions(self, arrays: Sequence[np.ndarray], run: RunRegion) -> tuple[np.ndarray, ...]:
        """The chosen body's outputs."""
        if bool(np.asarray(arrays[0]).ravel()[0]):
            return run(self.then, arrays[1 : 1 + self.then_inputs])
        return run(self.otherwise, arrays[1 + self.then_inputs :])


@from_onnx("If")
@from_torch("higher_order.cond")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """A condition known at build leaves the chosen body's nodes in place of the If."""
    condition = n[0]
    if condition.known is not None and isinstance(condition.known.ravel()[0], (bool, np.bool_)):
        region, captured = n.import_graph(
            n.attr("then_branch" if condition.known.ravel()[0] else "else_branch")
        )
        return tuple(g.inline(region, captured))
    then, of_then = n.import_graph(n.attr("then_branch"))
    otherwise, of_otherwise = n.import_graph(n.attr("else_branch"))
    types, sizes = _merged(g, n, then, otherwise)
    made = If(then, otherwise, len(of_then), types, sizes)
    return tuple(g.add_node(made, [condition, *of_then, *of_otherwise]))


def _merged(
    g: GraphBuilder, n: ForeignNode, then: Region, otherwise: Region
) -> tuple[tuple[TensorType, ...], tuple[Dim, ...]]:
    """Types that hold whichever body runs, and the symbols made for sizes that differ."""
    types: list[TensorType] = []
    fresh: list[Dim] = []
    for a, b in zip(then.graph.outputs, otherwise.graph.outputs, strict=True):
        if a.type.dtype is not b.type.dtype:
            raise n.invalid(f"the bodies give {a.type} and {b.type}; an output has one dtype")
        if a.type.rank != b.type.rank:
            raise n.unsupported(f"the bodies give {a.type} and {b.type}; an output must have one rank")
        shape: list[Dim] = []
        for left, right in zip(a.type.shape, b.type.shape, strict=True):
            is_same = known_equal(left, right) is True
            shape.append(left if is_same else _either(g, left, right))
            fresh += [] if is_same else shape[-1:]
        types.append(TensorType(a.type.dtype, tuple(shape)))
    return tuple(types), tuple(fresh)


def _either(g: GraphBuilder, a: Dim, b: Dim) -> Dim:
    """A fresh symbol whose range holds both sizes."""
    (low_a, high_a), (low_b, high_b) = bounds(a), bounds(b)
    high = None if high_a is None or high_b is None else max(high_a, high_b)
    return g.graph.scope.fresh("chosen", max(0, min(low_a or 0, low_b or 0)), high)
