"""A tagger of token sequences: embedding, two bidirectional LSTM layers, a linear layer per token."""

from __future__ import annotations

from torch import Tensor, nn

from benchmarks.models.recipe import Axis, from_torch, tokens


class Tagger(nn.Module):
    """Logits of a tag for each token."""

    def __init__(self, vocabulary: int, width: int, hidden: int, layers: int, tags: int) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary, width)
        self.recurrent = nn.LSTM(width, hidden, layers, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, tags)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.recurrent(self.word(ids))[0])


RECIPES = {
    "lstm_tagger": from_torch(
        lambda s: Tagger(10_000, 128, 256, 2, 20) if s == "full" else Tagger(100, 16, 24, 1, 5),
        lambda s: {"ids": tokens(64, 10_000) if s == "full" else tokens(9, 100)},
        ["tags"],
        {"ids": {0: Axis("batch", 1, 8), 1: Axis("length", 1, 256)}},
        {"tags": {0: "batch", 1: "length"}},
    ),
}
