"""Compiled modules that several files look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from engineworks import torch_tensorrt
from tests.unit.torch_tensorrt.networks import perceptron

if TYPE_CHECKING:
    from engineworks.torch_tensorrt import EngineModule


@pytest.fixture(scope="session")
def compiled() -> EngineModule:
    """The perceptron for batches of 1 to 16."""
    inputs = [torch_tensorrt.Input(min_shape=(1, 8), opt_shape=(4, 8), max_shape=(16, 8))]
    return torch_tensorrt.compile(perceptron(), inputs=inputs, optimization_level=0)


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> None:
    torch._dynamo.reset()
