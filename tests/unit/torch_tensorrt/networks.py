"""Small modules whose parts are known."""

from __future__ import annotations

import torch
from torch import nn


def perceptron() -> nn.Module:
    """[B, 8] to [B, 4]; four operations."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.Sigmoid()).eval()


class Decomposing(nn.Module):
    """A product, a QR decomposition (no engine has one), and a product."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        square = torch.relu(self.first(x)).T @ x + torch.eye(8)
        return self.last(torch.linalg.qr(square).Q).softmax(-1)


class Counting(nn.Module):
    """Multiplies by the number of calls so far."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return x * self.calls
