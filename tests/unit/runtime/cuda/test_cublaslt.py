"""The library's own descriptors, which it makes without a GPU, read back."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from engineworks.engine.library_calls import MatmulCall, Matrix
from engineworks.errors import DeviceError, EngineMismatch
from engineworks.runtime.cuda import cublaslt

CALL = MatmulCall(
    768, "%6", 3072, Matrix("f16", 768), Matrix("f16", 3072, transposed=True), Matrix("f16", 768), "f32",
    bias=True, residual=True, relu=True, workspace_bytes=1 << 20,
)  # fmt: skip


@pytest.fixture(autouse=True)
def library() -> None:
    try:
        cublaslt.version()
    except EngineMismatch:
        pytest.skip("cuBLASLt is not installed")


def read(made: cublaslt._Object, attribute: int, kind: Any) -> int:
    number, written = kind(), ctypes.c_size_t()
    call = getattr(cublaslt._library(), f"cublasLt{made.kind}GetAttribute")
    assert not call(
        made.pointer, attribute, ctypes.byref(number), ctypes.sizeof(number), ctypes.byref(written)
    )
    assert written.value == ctypes.sizeof(number)
    return number.value


def test_a_description_holds_what_is_computed() -> None:
    made = cublaslt.description(CALL)
    numbers = [read(made, attribute, ctypes.c_int32) for attribute in (0, 1, 3, 4, 7)]
    assert numbers == [68, 0, 0, 1, 2 | 4]  # f32 sums and scalars, B transposed, RELU_BIAS


def test_a_layout_holds_sizes_and_distances() -> None:
    made = cublaslt.layout(Matrix("bf16", "%0", 5), 768, 128, 4, [800])
    kinds = [ctypes.c_int32] * 2 + [ctypes.c_uint64] * 2 + [ctypes.c_int64, ctypes.c_int32, ctypes.c_int64]
    assert [read(made, k, kind) for k, kind in enumerate(kinds)] == [14, 0, 768, 128, 800, 4, 5]


def test_a_preference_holds_workspace_and_alignments() -> None:
    made = cublaslt.preference(1000, (16, 8, 4, 2))
    assert read(made, 1, ctypes.c_uint64) == 1000
    assert [read(made, attribute, ctypes.c_uint32) for attribute in (3, 5, 6, 7, 8)] == [2, 16, 8, 4, 2]


def test_a_refusal_names_the_shape_and_the_librarys_reason() -> None:
    prepared = cublaslt.PreparedMatmul(CALL, ctypes.c_void_p())
    with pytest.raises(DeviceError, match="m=768, n=33, k=3072(.|\n)*CUBLAS_STATUS"):
        prepared._made([256, 512, 1024, 0, 2048, 4096, 33], (16, 16, 16, 16))


def test_the_proposals_lie_as_the_header_says() -> None:
    assert ctypes.sizeof(cublaslt._Proposal) == 96
