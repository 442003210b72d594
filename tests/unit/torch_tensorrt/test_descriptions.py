"""Input, Device and the enumerations: what programs describe their modules with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engineworks import torch_tensorrt
from engineworks.errors import InvalidInput, Unsupported
from engineworks.torch_tensorrt import Input, dtype, memory_format


def test_an_input_is_a_shape_and_an_element_type() -> None:
    described = Input((1, 3, 4, 4), dtype=torch.half)
    assert described.shape == (1, 3, 4, 4) and described.dtype == torch.float16
    assert not described.is_dynamic


def test_an_input_of_three_shapes_is_a_range() -> None:
    described = Input(min_shape=[1, 3], opt_shape=(2, 3), max_shape=torch.Size((4, 3)), name="x")
    assert described.shape == {"min_shape": (1, 3), "opt_shape": (2, 3), "max_shape": (4, 3)}
    assert described.is_dynamic and described.dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "a shape, or min_shape"),
        ({"min_shape": (1,), "opt_shape": (1,)}, "max_shape must be given"),
        ({"shape": (1,), "min_shape": (1,)}, "not both"),
        ({"min_shape": (1,), "opt_shape": (5,), "max_shape": (4,)}, "axis 0"),
        ({"min_shape": (1,), "opt_shape": (1, 2), "max_shape": (1,)}, "ranks"),
        ({"shape": "3x4"}, "tuple or list"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(given: dict, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        Input(**given)


def test_an_example_fits_its_description_and_is_the_same_every_time() -> None:
    described = Input((2, 3, 4, 4), dtype=torch.half, format=torch.channels_last, tensor_domain=(-1, 1))
    example = described.example_tensor()
    assert example.dtype is torch.half and example.is_contiguous(memory_format=torch.channels_last)
    assert -1 <= example.min() < 0 < example.max() <= 1
    assert torch.equal(example, described.example_tensor())


def test_an_input_of_a_tensor_keeps_it_as_the_example() -> None:
    tensor = torch.ones(2, 3, dtype=torch.int32)
    described = Input.from_tensor(tensor)
    assert described.example_tensor() is tensor and described.dtype == dtype.int32


def test_element_types_are_those_of_torch_and_numpy() -> None:
    assert dtype._from(torch.bfloat16) is dtype.bf16
    assert dtype._from(np.float32) is dtype.float
    assert dtype.half == torch.float16 and dtype.half.to(torch.dtype) is torch.float16
    assert dtype.long.to(np.dtype) == np.int64


def test_an_element_type_that_is_not_there_is_refused() -> None:
    with pytest.raises(Unsupported, match="complex64"):
        dtype._from(torch.complex64)
    assert dtype.try_from(torch.complex64) is None


def test_memory_formats_have_torch_twins() -> None:
    assert memory_format._from(torch.channels_last).to(torch.memory_format) is torch.channels_last
    assert torch_tensorrt.TensorFormat is memory_format


def test_a_gpu_is_taken_for_a_wish_and_an_accelerator_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_tensorrt.Device("cuda:1").to(torch.device) == torch.device("cpu")
    with pytest.raises(Unsupported, match="accelerators"):
        torch_tensorrt.Device("dla:0")
    with pytest.raises(Unsupported, match="run on the CPU"):
        torch_tensorrt.Device("xpu")
