"""engineworks::execute_engine: opening, overwriting, tracing, and engines for other machines."""

from __future__ import annotations

import gc
import io
from typing import TYPE_CHECKING

import msgspec
import pytest
import torch

import engineworks.torch_tensorrt.operator as engine_operator
from engineworks import torch_tensorrt
from engineworks.engine import container
from engineworks.errors import CorruptEngine, EngineMismatch
from engineworks.torch_tensorrt.signature import Signature

if TYPE_CHECKING:
    from engineworks.torch_tensorrt import EngineModule

X = torch.ones(2, 8)


def opened_count() -> int:
    gc.collect()
    return len(engine_operator._opened)


def test_an_engine_is_opened_once_and_forgotten_with_its_buffer(compiled: EngineModule) -> None:
    before = opened_count()
    file = compiled.engine_0.clone()
    signature = compiled.signatures()["engine_0"]
    first = engine_operator.execute_engine([X], file, signature)[0]
    engine = engine_operator._opened[id(file)]
    assert torch.equal(engine_operator.execute_engine([X], file, signature)[0], first)
    assert engine_operator._opened[id(file)] is engine
    del file, engine
    assert opened_count() == before


def test_a_buffer_that_is_overwritten_is_opened_again(compiled: EngineModule) -> None:
    file = compiled.engine_0.clone()
    signature = compiled.signatures()["engine_0"]
    engine_operator.execute_engine([X], file, signature)
    file[:8] = 0
    with pytest.raises(CorruptEngine):
        engine_operator.execute_engine([X], file, signature)


def test_weights_are_used_where_they_lie(compiled: EngineModule) -> None:
    file = compiled.engine_0.clone()
    opened = engine_operator.open_engine(file)
    weights = opened.engine._weights
    assert file.data_ptr() <= weights.address < file.data_ptr() + file.numel()


def other_hardware(compiled: EngineModule) -> bytes:
    """The engine, asking for a CPU feature that no machine has."""
    read = container.read(compiled.engine_0.numpy().tobytes())
    target = msgspec.structs.replace(
        read.manifest.target, features=(*read.manifest.target.features, "avx9000")
    )
    return container.encode(msgspec.structs.replace(read.manifest, target=target), dict(read.sections))


def test_an_engine_for_other_hardware_says_so_when_it_is_called(compiled: EngineModule) -> None:
    module = torch_tensorrt.embed_engine(other_hardware(compiled))
    with pytest.raises(EngineMismatch, match="avx9000"):
        module(X)


def test_torchscript_alone_passes_on_the_text_of_the_error(compiled: EngineModule) -> None:
    file = io.BytesIO()
    torch.jit.save(torch_tensorrt.embed_engine(other_hardware(compiled)), file)
    file.seek(0)
    with pytest.raises(RuntimeError, match="EngineMismatch: engine 'Sequential' was built for .*avx9000"):
        torch.jit.load(file)(X)


def test_loading_an_engine_for_other_hardware_says_so_at_once(compiled: EngineModule, tmp_path) -> None:
    torch_tensorrt.embed_engine(other_hardware(compiled)).save(tmp_path / "m.ts")
    with pytest.raises(EngineMismatch, match="avx9000"):
        torch_tensorrt.load(tmp_path / "m.ts")


@pytest.mark.parametrize(
    "text",
    [
        "x: f32[N, 3]; mask: bool[N] -> f32[2*N + 1, 3]; i64[]",
        " -> f32[5]",
        "x: bf16[`a.b`] -> bf16[max(`a.b`, 2)]",
    ],
)
def test_signatures_are_read_as_they_are_written(text: str) -> None:
    assert Signature.parse(text).text() == text


@pytest.mark.parametrize("text", ["x: f32[2]", "x: f99[2] -> f32[2]", "x -> f32[2]"])
def test_a_text_that_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(CorruptEngine):
        Signature.parse(text)


def test_outputs_have_types_without_an_engine() -> None:
    parsed = Signature.parse("x: f32[N, 3] -> f16[2*N, 3]; i64[n]")
    found = parsed.outputs_for([torch.empty(4, 3)], lambda: 7)
    assert [(tuple(t.shape), t.dtype) for t in found] == [((8, 3), torch.half), ((7,), torch.int64)]


def test_sizes_are_found_behind_factors_and_offsets() -> None:
    parsed = Signature.parse("x: f32[2*N + 1] -> f32[N]")
    assert parsed.outputs_for([torch.empty(7)], lambda: 7)[0].shape == (3,)


def test_torch_export_sees_through_a_module_of_engines(compiled: EngineModule) -> None:
    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = compiled

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * 2

    batch = torch.export.Dim("batch", min=2, max=16)
    program = torch.export.export(Whole(), (X,), dynamic_shapes=({0: batch},), strict=False)
    assert "engineworks.execute_engine" in str(program)
    x = torch.ones(5, 8)
    assert torch.equal(program.module()(x), compiled(x) * 2)
