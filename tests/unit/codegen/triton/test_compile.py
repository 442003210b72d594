"""Kernels are compiled without a GPU and without traces."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("triton")

from engineworks.codegen.triton.compile import compile_cubin
from engineworks.codegen.triton.function import named, pointer
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.errors import BuildError

TEXT = """
@triton.jit
def KERNEL(x):
    at = tl.arange(0, 128)
    tl.store(x + at, tl.load(x + at) + {added})
"""


def _function(added: str):
    return named("addition", TEXT.format(added=added), (pointer("x", dtypes.f32),))


def test_the_cache_of_triton_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert compile_cubin(_function("1.0"), gpu_of("sm_90")).code
    with pytest.raises(BuildError, match="does not compile for sm_90"):
        compile_cubin(_function("absent"), gpu_of("sm_90"))
    assert not list(tmp_path.iterdir())
    assert os.environ["TRITON_CACHE_DIR"] == triton.knobs.cache.dir == str(tmp_path)


def test_what_is_compiled_twice_is_the_same() -> None:
    once, again = (compile_cubin(_function("2.0"), gpu_of("sm_90")) for _ in range(2))
    assert once == again
