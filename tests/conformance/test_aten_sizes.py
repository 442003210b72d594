"""Spellings whose sizes stay open: one export, one engine, several batches, lengths and image sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402  (its usual name)
from torch import nn  # noqa: E402

import engineworks as ew  # noqa: E402

BATCH, LENGTH = torch.export.Dim("batch", min=1, max=8), torch.export.Dim("length", min=2, max=64)
HEIGHT, WIDTH = (torch.export.Dim(name, min=4, max=64) for name in ("height", "width"))
SIZES = ((3, 6), (1, 5), (4, 13))
"""Batch, and length or height; the first is exported."""
Function = Callable[[Any], Any]

_generator = torch.Generator().manual_seed(3)
_weight = torch.rand((6, 8), generator=_generator)
_table = torch.rand((11, 8), generator=_generator)
_filters = torch.rand((4, 3, 3, 3), generator=_generator) - 0.5


class Calls(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def _heads(x):
    return x.view(x.shape[0], x.shape[1], 2, 4).transpose(1, 2)


def _attended(x, **options):
    q = _heads(x)
    return F.scaled_dot_product_attention(q, q, q, **options).transpose(1, 2).reshape(x.shape)


def _masked_scores(x):
    hidden = ~torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
    return (x @ x.transpose(1, 2)).masked_fill(hidden, float("-inf")).softmax(-1) @ x


def _relative(x):
    place = torch.arange(x.shape[1])
    return (place[:, None] - place[None]).clamp(-3, 3).float() + x.sum(-1, keepdim=True)


def _written(x):
    y = x.clone()
    y[:, 0] = 1.0
    y[:, -1, 2:4] = 0
    return y


def _rotated(x):
    angle = torch.outer(torch.arange(x.shape[1]).float(), 1 / 100 ** (torch.arange(0, 8, 2) / 8))
    turned = torch.cat([-x[..., 4:], x[..., :4]], -1)
    return x * angle.cos().repeat(1, 2) + turned * angle.sin().repeat(1, 2)


def _grid(x):
    return x.sum(-1)[:, :, None] + torch.meshgrid(torch.arange(x.shape[1]), torch.arange(3), indexing="ij")[0]


SEQUENCES: dict[str, Function] = {
    "linear and gelu": lambda x: F.gelu(F.linear(x, _weight)),
    "layer norm": lambda x: F.layer_norm(x, (8,)),
    "softmax over the length": lambda x: x.softmax(1),
    "masked attention by hand": _masked_scores,
    "relative positions": _relative,
    "attention": _attended,
    "causal attention": lambda x: _attended(x, is_causal=True),
    "mean of the length": lambda x: x.mean(1),
    "last element": lambda x: x[:, -1],
    "a class token before": lambda x: torch.cat([torch.zeros(1, 1, 8).expand(x.shape[0], -1, -1), x], 1),
    "stack": lambda x: torch.stack([x, x * 2], 1),
    "chunks exchanged": lambda x: torch.cat(x.chunk(2, -1)[::-1], -1),
    "flip": lambda x: x.flip(1),
    "roll": lambda x: torch.roll(x, (-2, 3), (1, 2)),
    "variance": lambda x: x.var(1),
    "standard deviation of two axes": lambda x: x.std((1, 2)),
    "cumsum": lambda x: x.cumsum(1),
    "sort": lambda x: x.sort(1)[0],
    "topk": lambda x: x.topk(2, 1)[0],
    "median": lambda x: x.median(1)[0],
    "argmax": lambda x: x.argmax(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "gather": lambda x: x.gather(1, x.argsort(1)),
    "rows by index": lambda x: x[torch.arange(x.shape[0]), 0],
    "a table of indices": lambda x: x[:, :, torch.tensor([[0, 1], [3, 2]])],
    "repeat": lambda x: x.repeat(1, 2, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "einsum": lambda x: torch.einsum("bsd,btd->bst", x, x),
    "pad": lambda x: F.pad(x, (1, 2, 0, 3)),
    "index_put": lambda x: x.clone().index_put((torch.tensor([0]),), torch.ones(1, x.shape[1], 8)),
    "writes to slices": _written,
    "scatter": lambda x: torch.zeros_like(x).scatter(2, x.argmax(2, keepdim=True), 1.0),
    "tril": lambda x: torch.tril(x @ x.transpose(1, 2)),
    "diagonal": lambda x: torch.diagonal(x @ x.transpose(1, 2), 0, 1, 2),
    "unfold": lambda x: F.pad(x, (0, 0, 3, 0)).unfold(1, 4, 1),
    "divided by the length": lambda x: x / x.shape[1],
    "plus the length": lambda x: x + x.shape[1],
    "what a mask selects": lambda x: x[x > 0],
    "bucketize": lambda x: torch.bucketize(x, torch.tensor([-1.0, 0, 1])),
    "merged axes": lambda x: x.reshape(-1, 8),
    "meshgrid": _grid,
    "rotary embedding": _rotated,
}
TOKENS: dict[str, Function] = {
    "embedding and positions": lambda t: (
        F.embedding(t, _table) + torch.arange(t.shape[1]).float()[None, :, None]
    ),
    "the token after which a text ends": lambda t: F.embedding(t, _table)[
        torch.arange(t.shape[0]), t.argmax(-1)
    ],
    "masked fill": lambda t: F.embedding(t, _table).masked_fill((t == 0)[..., None], 0.0),
    "one hot": lambda t: F.one_hot(t, 11).float(),
    "nonzero": lambda t: t.nonzero(),
}
IMAGES: dict[str, Function] = {
    "patches": lambda x: F.conv2d(x, _filters, padding=1).flatten(2).transpose(1, 2),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "global pool": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "twice as large": lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"),
    "twice as large, linear": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "back to the size, corners aligned": lambda x: F.interpolate(
        F.max_pool2d(x, 2), size=x.shape[2:], mode="bilinear", align_corners=True
    ),
    "back to the size": lambda x: F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:], mode="nearest"),
    "to a fixed size, cubic": lambda x: F.interpolate(x, size=(7, 9), mode="bicubic"),
    "group norm": lambda x: F.group_norm(x, 3),
    "instance norm": F.instance_norm,
    "pixel shuffle": lambda x: F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2),
    "reflection": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "grid sample": lambda x: F.grid_sample(x, torch.zeros(x.shape[0], 4, 4, 2), align_corners=False),
    "windows as columns": lambda x: F.unfold(x, 3, padding=1),
}


def _assert_same(function: Function, draw: Callable[[int, int], Any], shape: dict[int, Any]) -> None:
    module = Calls(function).eval()
    engine = ew.build(
        module, args=(draw(*SIZES[0]),), dynamic_shapes=({**shape},), effort=0, timing_cache=False, threads=1
    )
    for batch, size in SIZES:
        x = draw(batch, size)
        (found,) = engine.run(x=x.numpy()).values()
        np.testing.assert_allclose(found, module(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_of_any_length(name: str) -> None:
    rng = np.random.default_rng(5)
    _assert_same(
        SEQUENCES[name],
        lambda b, s: torch.from_numpy(rng.uniform(-2, 2, (b, s, 8)).astype(np.float32)),
        {0: BATCH, 1: LENGTH},
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TOKENS)
def test_texts_of_any_length(name: str) -> None:
    rng = np.random.default_rng(5)
    _assert_same(
        TOKENS[name], lambda b, s: torch.from_numpy(rng.integers(0, 11, (b, s))), {0: BATCH, 1: LENGTH}
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", IMAGES)
def test_images_of_any_size(name: str) -> None:
    rng = np.random.default_rng(5)
    _assert_same(
        IMAGES[name],
        lambda b, s: torch.from_numpy(rng.uniform(-2, 2, (b, 3, s, s + 2)).astype(np.float32)),
        {0: BATCH, 2: HEIGHT, 3: WIDTH},
    )
