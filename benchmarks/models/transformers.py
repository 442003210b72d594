"""Transformers: BERT-base, MiniLM sentence embeddings, ViT-B/16, GPT-2 (prefill).

Architectures from the papers: arXiv 1810.04805, 2002.10957 (with mean pooling), 2010.11929, the GPT-2 report.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.recipe import Axis, Inputs, Size, from_torch, image, tokens


class Attention(nn.Module):
    """Multi-head self attention with separate projections, as exporters usually meet it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            p(x).view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for p in (self.q, self.k, self.v)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads)
        if mask is not None:
            scores = scores + mask
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width))


class PostNormLayer(nn.Module):
    """BERT's layer: normalised after each residual sum."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    """Embeddings and post-norm layers; gives the states, and the pooled first token or the mean embedding."""

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int, sentence: bool = False) -> None:
        super().__init__()
        self.word, self.place, self.kind = (
            nn.Embedding(vocabulary, width),
            nn.Embedding(512, width),
            nn.Embedding(2, width),
        )
        self.norm = nn.LayerNorm(width, 1e-12)
        self.layers = nn.ModuleList(PostNormLayer(width, heads) for _ in range(layers))
        self.pooler = None if sentence else nn.Linear(width, width)
        self.register_buffer("positions", torch.arange(512)[None], persistent=False)

    def forward(self, ids: Tensor, mask: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.word(ids) + self.kind(kinds) + self.place(self.positions[:, : ids.shape[1]]))
        bias = (1.0 - mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, bias)
        if self.pooler is not None:
            return x, torch.tanh(self.pooler(x[:, 0]))
        weight = mask[:, :, None].to(x.dtype)
        mean = (x * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return x, F.normalize(mean, dim=1)


def text_inputs(length: int, vocabulary: int) -> Inputs:
    """Token ids, a mask whose last eighth is padding, and segment ids."""
    mask = np.ones((1, length), np.int64)
    mask[:, length - length // 8 :] = 0
    kinds = np.zeros((1, length), np.int64)
    kinds[:, length // 2 :] = 1
    return {"input_ids": tokens(length, vocabulary), "attention_mask": mask, "token_type_ids": kinds}


class PreNormLayer(nn.Module):
    """ViT's layer: normalised before attention and before the two linear maps."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), None)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Vit(nn.Module):
    """Patches of 16 by 16, a class token, pre-norm layers."""

    def __init__(self, layers: int, width: int, heads: int, pixels: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.first = nn.Parameter(torch.zeros(1, 1, width))
        self.place = nn.Parameter(torch.zeros(1, (pixels // 16) ** 2 + 1, width))
        self.layers = nn.Sequential(*(PreNormLayer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, 1e-6)
        self.head = nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.norm(self.layers(x))[:, 0])


class CausalLayer(nn.Module):
    """GPT-2's layer: one projection for q, k and v, a causal mask, GELU by tanh."""

    def __init__(self, width: int, heads: int, longest: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.register_buffer(
            "causal", torch.ones(longest, longest, dtype=torch.bool).tril()[None, None], persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            t.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for t in self.qkv(self.norm1(x)).split(width, 2)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads)
        scores = torch.where(self.causal[:, :, :length, :length], scores, torch.finfo(x.dtype).min)
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    """Next-token logits for every position; the head shares the embedding's weights."""

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int, longest: int) -> None:
        super().__init__()
        self.word, self.place = nn.Embedding(vocabulary, width), nn.Embedding(longest, width)
        self.layers = nn.Sequential(*(CausalLayer(width, heads, longest) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self.layers(self.word(ids) + self.place(places))
        return F.linear(self.norm(x), self.word.weight)


def _length(size: Size) -> int:
    return 128 if size == "full" else 16


TEXT = {0: Axis("batch", 1, 8), 1: Axis("length", 1, 512)}
TEXT_AXES = {"input_ids": TEXT, "attention_mask": TEXT, "token_type_ids": TEXT}
STATES = {0: "batch", 1: "length"}

RECIPES = {
    "bert_base": from_torch(
        lambda s: Bert(12, 768, 12, 30522) if s == "full" else Bert(2, 64, 4, 1000),
        lambda s: text_inputs(_length(s), 30522 if s == "full" else 1000),
        ["states", "pooled"],
        TEXT_AXES,
        {"states": STATES, "pooled": {0: "batch"}},
    ),
    "minilm": from_torch(
        lambda s: Bert(6, 384, 12, 30522, True) if s == "full" else Bert(2, 48, 4, 1000, True),
        lambda s: text_inputs(_length(s), 30522 if s == "full" else 1000),
        ["states", "embedding"],
        TEXT_AXES,
        {"states": STATES, "embedding": {0: "batch"}},
    ),
    "vit_b16": from_torch(
        lambda s: Vit(12, 768, 12, 224) if s == "full" else Vit(2, 64, 4, 64),
        lambda s: {"image": image(224 if s == "full" else 64)},
        ["logits"],
        {"image": {0: Axis("batch", 1, 8)}},
        {"logits": {0: "batch"}},
    ),
    "gpt2": from_torch(
        lambda s: Gpt2(12, 768, 12, 50257, 1024) if s == "full" else Gpt2(2, 64, 4, 1000, 512),
        lambda s: {"input_ids": tokens(_length(s), 50257 if s == "full" else 1000)},
        ["logits"],
        {"input_ids": {0: Axis("batch", 1, 4), 1: Axis("length", 1, 512)}},
        {"logits": STATES},
    ),
}
