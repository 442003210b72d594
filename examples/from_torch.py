"""Builds an engine from a torch.nn.Module whose batch and length may change, and compares with eager PyTorch."""

from __future__ import annotations

import torch
from torch import nn

import engineworks as ew


class Tagger(nn.Module):
    """Scores of five tags for each token, and for the whole text."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        states = self.encoder(self.embedding(tokens))
        return {"tags": self.head(states), "text": self.head(states.mean(1))}


torch.manual_seed(0)
model = Tagger().eval()
engine = ew.build(
    model,
    args=(torch.zeros(1, 16, dtype=torch.int64),),
    profile={"tokens": ((1, 2), (4, 16), (8, 64))},
    effort=1,
)
engine.save("tagger.engine")  # runs where PyTorch is not installed

tokens = torch.randint(0, 100, (3, 11))
tags = ew.load("tagger.engine")(tokens=tokens.numpy())
with torch.no_grad():
    expected = model(tokens)
for name, scores in expected.items():
    difference = (scores - torch.from_numpy(tags[name])).abs().max()
    assert difference < 1e-4 * scores.abs().max()
    print(f"{name}: {list(scores.shape)}, at most {difference:.0e} from PyTorch")
