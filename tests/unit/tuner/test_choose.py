"""Choosing by prediction: what does not compile is passed over."""

from __future__ import annotations

import pytest

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.errors import BuildError, NoTactic
from engineworks.kernels.backend import find
from engineworks.kernels.tactic import KernelImage
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.tuner.choice import Choice
from engineworks.tuner.choose import Chooser

GPU = gpu_of("sm_90")


def _work() -> Workload:
    left, right = TensorType(dtypes.f16, (128, 256)), TensorType(dtypes.f16, (256, 512))
    return Workload(
        MatMul(), (Operand(left), Operand(right, constant=True)), 2, (TensorType(dtypes.f16, (128, 512)),)
    )


class _Compiler:
    """Refuses the first images it is given."""

    def __init__(self, refused: int) -> None:
        self.left, self.given = refused, 0

    def __call__(self, image: KernelImage) -> None:
        self.given += 1
        self.left -= 1
        if self.left >= 0:
            raise BuildError("it needs more shared memory than there is")


def _choice(compiler: _Compiler | None) -> Choice:
    work = _work()
    chooser = Chooser(find("cuda"), GPU, 0, sources=(), compile=compiler)
    return chooser.choose_all([(work, "product")])[work.key()]


def test_the_best_prediction_is_taken_when_it_compiles() -> None:
    compiler = _Compiler(0)
    assert _choice(compiler).tactic == _choice(None).tactic and compiler.given == 1


def test_one_that_does_not_compile_is_passed_over_for_a_wider_choice() -> None:
    best, compiler = _choice(None), _Compiler(2)
    found = _choice(compiler)
    assert found.tactic != best.tactic and compiler.given == 3
    assert found.tactic.provider == best.tactic.provider
    (why,) = [a.rejected for a in found.alternatives if a.tactic == best.tactic.text()]
    assert "does not compile: it needs more shared memory" in why


def test_it_is_said_when_nothing_compiles() -> None:
    with pytest.raises(NoTactic, match="no kernel for matmul.* at 'product' compiles"):
        _choice(_Compiler(1000))
