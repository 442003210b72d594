"""Engines loaded and run."""
from __future__ import annotations

import numpy as np
import pytest

from engineworks.runtime.engine import Engine

X = np.linspace(-3, 3, 1000, dtype=np.float32).reshape(10, 100)
EXPECTED = (X + np.float32(1)) * np.arange(1000, dtype=np.float32).reshape(10, 100)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_program_gives_the_same_answer_for_every_thread_count(static_engine, threads):
    context = Engine.open(static_engine, threads=threads).context()
    for _ in range(50):
        np.testing.assert_array_equal(context.run(x=X)["y"], EXPECTED)
