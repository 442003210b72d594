"""The GPU's program on the emulated GPU: what is launched, captured, copied and waited for, and the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.engine.schema import Buffer, Ref, Symbol, Tensor
from engineworks.runtime.engine import Engine
from engineworks.testing.emulated_gpu import emulated_backend, emulated_device
from tests.gpu.engines import ADD, SUM_BEFORE, Draft, blocks

VECTOR = Symbol("N", 1, 100, 1000, input=0, axis=0)


def chain() -> bytes:
    """y = mirrored(mirrored(a + b)), of dynamic length; a + b and what follows it lie in the arena."""
    draft = Draft(emulated_backend())
    draft.call(ADD, Ref(0), Ref(1), Ref(3), "N", grid=(blocks("N"),), overlaps=True)
    draft.call(SUM_BEFORE, Ref(3), Ref(4), "N", grid=(blocks("N"),), overlaps=True)
    draft.call(SUM_BEFORE, Ref(4), Ref(2), "N", grid=(blocks("N"),), overlaps=True)
    return draft.engine(
        inputs=(Tensor("a", "f32", ("N",)), Tensor("b", "f32", ("N",))),
        outputs=(Tensor("y", "f32", ("N",)),),
        symbols=(VECTOR,),
        buffers=(
            Buffer("input", 0), Buffer("input", 1), Buffer("output", 0),
            Buffer("arena", 0, 4096), Buffer("arena", 4096, 4096),
        ),
        arena_bytes=8192,
    )  # fmt: skip


@pytest.fixture
def device():
    return emulated_device()


def expected(a, b):
    return 4 * (a + b) + 3


def test_host_arrays_go_in_and_come_out(device):
    engine = Engine.open(chain(), device=device)
    a, b = np.arange(300, dtype=np.float32), np.full(300, 0.5, np.float32)
    assert np.array_equal(engine.run(a=a, b=b)["y"], expected(a, b))


def test_a_stretch_is_captured_once_for_each_shape_and_replayed(device):
    context = Engine.open(chain(), device=device).context()
    for size in (5, 5, 7, 5, 7):
        a = np.arange(size, dtype=np.float32)
        assert np.array_equal(context.run(a=a, b=a)["y"], expected(a, a))
    log = device.driver.log
    assert [n for what, n in log if what == "capture"] == [3, 3]
    assert [n for what, n in log if what == "replay"] == [3] * 5
