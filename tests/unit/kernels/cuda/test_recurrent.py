"""LSTM, GRU and RNN layers on NVIDIA GPUs, interpreted, against the operators' float64 references."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate, symbol
from engineworks.core.dtypes import DType
from engineworks.core.types import Layout, TensorType
from engineworks.kernels.cuda.recurrent import CudaRecurrent
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops._recurrent import Recurrent
from engineworks.ops.gru import Gru
from engineworks.ops.lstm import Lstm
from engineworks.ops.rnn import Rnn
from engineworks.testing.gpu_kernels import compile_image, interpret_image

GPU = gpu_of("sm_90")
CELLS = pytest.mark.parametrize(
    "cell",
    [Lstm(), Gru(), Gru(linear_before_reset=True), Rnn()],
    ids=["lstm", "gru", "gru_reset_after", "rnn"],
)


def bidirectional(cell: Recurrent) -> Recurrent:
    twice = {name: getattr(cell, name) * 2 for name in ("activations", "alphas", "betas")}
    return dataclasses.replace(cell, direction="bidirectional", **twice)  # type: ignore[type-var]


@dataclasses.dataclass(frozen=True)
class Case:
    """A workload and arrays for it. `optional`: letters of the optional inputs: b(ias) l(engths) h c p(eepholes)."""

    op: Recurrent
    time: Dim
    rows: Dim
    inputs: int
    hidden: int
    optional: str = ""
    constant: bool = True
    order: tuple[int, ...] = (0, 1, 2)
    product: DType = dtypes.f32

    def types(self) -> list[TensorType | None]:
        d, g, hidden = self.op.directions, self.op.gates, self.hidden
        shapes: Mapping[str, tuple] = {
            "x": (self.time, self.rows, self.inputs),
            "w": (d, g * hidden, self.inputs),
            "r": (d, g * hidden, hidden),
            "b": (d, 2 * g * hidden),
            "l": (self.rows,),
            "h": (d, self.rows, hidden),
            "c": (d, self.rows, hidden),
            "p": (d, 3 * hidden),
        }
        wide = self.op.out_dtype or self.product
        kinds = {"l": dtypes.i32} | dict.fromkeys("xwr", self.product)
        names = "xwrblhcp" if isinstance(self.op, Lstm) else "xwrblh"
        types = [
            TensorType(kinds.get(n, wide), shapes[n]) if n in f"xwr{self.optional}" else None for n in names
        ]
        assert types[0] is not None
        return [types[0].with_layout(Layout(self.order)), *types[1:]]

    def work(self) -> Workload:
        types = self.types()
        operands = [
            None if t is None else Operand(t, self.constant and k in (1, 2, 3, 7))
            for k, t in enumerate(types)
        ]
        return Workload(self.op, tuple(operands), len(operands), self.op.infer(*types))

    def arrays(self, lengths: list[int] | None, dims: Mapping[str, int]) -> list[np.ndarray | None]:
        rng = np.random.default_rng(0)
        made: list[np.ndarray | None] = []
        for t in self.types():
            if t is None:
                made.append(None)
            elif t.dtype is dtypes.i32:
                made.append(np.array(lengths, np.int32))
            else:
                made.append(
                    rng.uniform(-0.7, 0.7, [evaluate(s, dims) for s in t.shape]).astype(t.dtype.numpy)
                )
        return made


def check(layer: Case, lengths: list[int] | None = None, atol: float = 2e-5, **dims: int) -> None:
    """The best tactic of each form."""
    work, arrays = layer.work(), layer.arrays(lengths, dims)
    expected = layer.op.reference(*arrays)
    tactics = {t.config.form: t for t in reversed(list(CudaRecurrent().propose(work, GPU, 5)))}
    given = [
        None if o is None or a is None else (a, o.type) for a, o in zip(arrays, work.inputs, strict=True)
    ]
    for tactic in tactics.values():
        image = CudaRecurrent().build(work, tactic, GPU)
        got = interpret_image(image, given, list(work.outputs), dims)
        for y, want in zip(got, expected, strict=True):
            np.testing.assert_allclose(
                y.astype(np.float64), want, rtol=2e-5, atol=atol, err_msg=tactic.text()
            )


@CELLS
@pytest.mark.parametrize(("rows", "hidden"), [(1, 16), (17, 5)])
def test_forward_with_bias(cell: Recurrent, rows: int, hidden: int) -> None:
    check(Case(cell, 2, rows, 7, hidden, "b"))


@CELLS
def test_weights_known_only_at_run_time(cell: Recurrent) -> None:
    check(Case(bidirectional(cell), 2, 2, 5, 33, constant=False))


@CELLS
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_states_and_lengths(cell: Recurrent, direction: str) -> None:
    forward = dataclasses.replace(cell, direction=direction)  # type: ignore[type-var]
    op = bidirectional(cell) if direction == "bidirectional" else forward
    check(Case(op, 3, 4, 6, 17, "blhc"), [3, 2, 1, 0])


@CELLS
@pytest.mark.parametrize(("time", "rows"), [(1, 1), (3, 18)])
def test_symbolic_time_and_batch(cell: Recurrent, time: int, rows: int) -> None:
    check(Case(bidirectional(cell), symbol("T"), symbol("B"), 6, 20, "b"), T=time, B=rows)


def test_no_steps_leave_the_states_as_they_were() -> None:
    check(Case(Gru(), 0, 2, 6, 20, "bh"))
    check(Case(bidirectional(Lstm()), symbol("T", 0, 9), 2, 6, 20, "bhc"), T=0)


def test_peepholes_clip_and_coupled_gates() -> None:
    check(Case(Lstm(clip=0.3), 2, 2, 6, 18, "bp"))
    check(Case(Lstm(input_forget=True), 2, 2, 6, 18, "bp", constant=False))


def test_batch_outermost_in_memory() -> None:
    check(Case(Lstm(), 4, 3, 6, 18, "b", order=(1, 0, 2)))


@pytest.mark.parametrize(
    "name",
    [
        "relu",
        "affine",
        "leakyrelu",
        "thresholdedrelu",
        "scaledtanh",
        "hardsigmoid",
        "elu",
        "softsign",
        "softplus",
    ],
)
def test_activations_may_differ_by_direction(name: str) -> None:
    op = Rnn(direction="bidirectional", activations=(name, "tanh"), alphas=(0.3, 0.0), betas=(0.4, 0.0))
    check(Case(op, 2, 2, 4, 6, "b"))


@CELLS
@pytest.mark.parametrize("dtype", [dtypes.f16, dtypes.bf16], ids=str)
def test_narrow_products(cell: Recurrent, dtype: DType) -> None:
    """With states in f32, and with all operands narrow; h rounds where it meets the weights."""
    wide = dataclasses.replace(cell, out_dtype=dtypes.f32)  # type: ignore[type-var]
    check(Case(wide, 2, 3, 7, 21, "bhc", product=dtype), atol=1e-2)
    check(Case(cell, 2, 3, 7, 21, "b", product=dtype), atol=2e-2)


@CELLS
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_kernels_compile(cell: Recurrent, arch: str) -> None:
    work, gpu = (
        Case(bidirectional(cell), symbol("T"), 2, 40, 200, "blhcp", product=dtypes.f16).work(),
        gpu_of(arch),
    )
    (tactic,) = CudaRecurrent().propose(work, gpu, 0)
    compile_image(CudaRecurrent().build(work, tactic, gpu), gpu)


def test_steps_compile() -> None:
    work = Case(Gru(linear_before_reset=True), 32, 8, 128, 200, "bh").work()
    (tactic,) = CudaRecurrent().propose(work, GPU, 0)
    assert tactic.config.form == "steps"
    compile_image(CudaRecurrent().build(work, tactic, GPU), GPU)
