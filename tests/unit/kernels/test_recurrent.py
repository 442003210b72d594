"""LSTM, GRU and RNN kernels against the operators' float64 references."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate, symbol
from engineworks.core.dtypes import DType
from engineworks.core.types import Layout, TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.recurrent import CpuRecurrent
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops._recurrent import Recurrent
from engineworks.ops.gru import Gru
from engineworks.ops.lstm import Lstm
from engineworks.ops.rnn import Rnn
from engineworks.testing.kernels import run_image

ISAS = pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)
CELLS = pytest.mark.parametrize(
    "cell",
    [Lstm(), Gru(), Gru(linear_before_reset=True), Rnn()],
    ids=["lstm", "gru", "gru_reset_after", "rnn"],
)


def bidirectional(cell: Recurrent) -> Recurrent:
    twice = {name: getattr(cell, name) * 2 for name in ("activations", "alphas", "betas")}
    return dataclasses.replace(cell, direction="bidirectional", **twice)  # type: ignore[type-var]


def check(
    op: Recurrent,
    isa: Isa,
    time: Dim,
    rows: Dim,
    inputs: int,
    hidden: int,
    *,
    optional: str = "",
    constant: bool = True,
    lengths: list[int] | None = None,
    order: tuple[int, ...] = (0, 1, 2),
    product: DType = dtypes.f32,
    atol: float = 2e-5,
    **dims: int,
) -> None:
    """`optional`: letters of the optional inputs that are given: b(ias) l(engths) h c p(eepholes)."""
    d, g = op.directions, op.gates
    shapes: Mapping[str, tuple] = {
        "x": (time, rows, inputs),
        "w": (d, g * hidden, inputs),
        "r": (d, g * hidden, hidden),
        "b": (d, 2 * g * hidden),
        "l": (rows,),
        "h": (d, rows, hidden),
        "c": (d, rows, hidden),
        "p": (d, 3 * hidden),
    }
    names = "xwrblhcp" if isinstance(op, Lstm) else "xwrblh"
    rng = np.random.default_rng(0)
    operands: list[Operand | None] = []
    arrays: list[np.ndarray | None] = []
    for name in names:
        if name not in "xwr" and name not in optional:
            operands.append(None)
            arrays.append(None)
            continue
        dtype = dtypes.i32 if name == "l" else product if name in "xwr" else dtypes.f32
        t = TensorType(dtype, shapes[name])
        t = t.with_layout(Layout(order)) if name == "x" else t
        value = rng.uniform(-0.7, 0.7, [evaluate(s, dims) for s in t.shape])
        operands.append(Operand(t, constant and name in "wrbp"))
        arrays.append(np.array(lengths, np.int32) if name == "l" else value.astype(dtype.numpy))
    outputs = op.infer(*[None if o is None else o.type for o in operands])
    work = Workload(op, tuple(operands), len(operands), outputs)
    expected = op.reference(*arrays)
    for tactic in CpuRecurrent().propose(work, isa, 3):
        image = CpuRecurrent().build(work, tactic, isa)
        given = [None if o is None else (a, o.type) for a, o in zip(arrays, operands, strict=True)]
        got = run_image(image, given, outputs, isa, dims, split=2)
        for y, want in zip(got, expected, strict=True):
            np.testing.assert_allclose(y, want, rtol=2e-5, atol=atol, err_msg=tactic.text())


@ISAS
@CELLS
@pytest.mark.parametrize(("rows", "hidden"), [(1, 16), (3, 20), (9, 5)])
def test_forward_with_bias(isa: Isa, cell: Recurrent, rows: int, hidden: int) -> None:
    check(cell, isa, 4, rows, 7, hidden, optional="b")


@ISAS
@CELLS
def test_weights_known_only_at_run_time(isa: Isa, cell: Recurrent) -> None:
    check(cell, isa, 3, 2, 19, 18, optional="b", constant=False)
    check(bidirectional(cell), isa, 3, 2, 5, 33, constant=False)


@ISAS
@CELLS
def test_both_directions_with_states_and_lengths(isa: Isa, cell: Recurrent) -> None:
    for op in (cell, dataclasses.replace(cell, direction="reverse"), bidirectional(cell)):  # type: ignore[type-var]
        check(op, isa, 5, 4, 6, 17, optional="blhc", lengths=[5, 3, 1, 0])
        check(op, isa, 5, 4, 6, 17, optional="hc")


@ISAS
@CELLS
def test_symbolic_time_and_batch(isa: Isa, cell: Recurrent) -> None:
    for time, rows in ((1, 1), (6, 11), (2, 4)):
        check(bidirectional(cell), isa, symbol("T"), symbol("B"), 6, 20, optional="b", T=time, B=rows)


@ISAS
def test_peepholes_clip_and_coupled_gates(isa: Isa) -> None:
    check(Lstm(clip=0.3), isa, 4, 2, 6, 18, optional="bp")
    check(Lstm(input_forget=True), isa, 4, 2, 6, 18, optional="bp", constant=False)


@ISAS
def test_batch_outermost_in_memory(isa: Isa) -> None:
    check(Lstm(), isa, 4, 3, 6, 18, optional="b", order=(1, 0, 2))


@ISAS
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
def test_activations_may_differ_by_direction(isa: Isa, name: str) -> None:
    op = Rnn(direction="bidirectional", activations=(name, "tanh"), alphas=(0.3, 0.0), betas=(0.4, 0.0))
    check(op, isa, 3, 2, 4, 6, optional="b")


@CELLS
@pytest.mark.parametrize("extras", [("avx512bf16",), ("amx-tile", "amx-bf16")], ids=["registers", "tiles"])
def test_products_of_bf16_keep_sums_and_states_in_f32(cell: Recurrent, extras: tuple[str, ...]) -> None:
    """The reference computes on the same bf16 weights; what is left is h, which rounds by 2^-9 where it meets them."""
    isa = AVX512.with_extras(*extras)
    for op in (cell, bidirectional(cell)):
        narrow = dataclasses.replace(op, out_dtype=dtypes.f32)  # type: ignore[type-var]
        for rows, inputs, hidden in ((1, 7, 16), (3, 6, 21), (9, 1, 5)):
            check(narrow, isa, 4, rows, inputs, hidden, optional="b", product=dtypes.bf16, atol=1e-2)
        check(narrow, isa, 5, 4, 6, 17, optional="blhc", lengths=[5, 3, 1, 0], product=dtypes.bf16, atol=1e-2)


def test_bf16_needs_the_instruction() -> None:
    with pytest.raises(NoTactic, match="multiplies no bf16"):
        check(Lstm(out_dtype=dtypes.f32), AVX512, 4, 1, 7, 16, product=dtypes.bf16)
