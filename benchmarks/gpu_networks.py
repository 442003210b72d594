"""The networks that are measured on a GPU, in full size and, to try the benchmark itself, in a small one."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.torchvision_operators import declare_torchvision_operators

SEQUENCE = 128


@dataclass(frozen=True, slots=True)
class Network:
    """A module in f32 with random weights, and an example call.

    Attributes:
        channels_last: convolutions are what it is about, so torch runs it in that format.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    channels_last: bool = False


class Only(nn.Module):
    """A network of transformers as a function of token numbers, with one tensor as its result."""

    def __init__(self, network: nn.Module, field: str) -> None:
        super().__init__()
        self.network, self.field = network, field

    def forward(self, ids: Tensor) -> Tensor:
        return getattr(self.network(input_ids=ids), self.field)


def _bert(batch: int, small: bool) -> Network:
    from transformers import BertConfig, BertModel

    narrow = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = BertConfig(attn_implementation="sdpa", **(narrow if small else {}))
    module = Only(BertModel(config, add_pooling_layer=False), "last_hidden_state")
    return Network(module, {"ids": torch.randint(0, config.vocab_size, (batch, SEQUENCE))})


def _gpt2(batch: int, small: bool) -> Network:
    from transformers import GPT2Config, GPT2LMHeadModel

    narrow = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 1000}
    config = GPT2Config(use_cache=False, attn_implementation="sdpa", **(narrow if small else {}))
    return Network(
        Only(GPT2LMHeadModel(config), "logits"),
        {"ids": torch.randint(0, config.vocab_size, (batch, SEQUENCE))},
    )


def _vit(batch: int, small: bool) -> Network:
    from torchvision.models import VisionTransformer, vit_b_16

    module = VisionTransformer(32, 16, 2, 4, 64, 128) if small else vit_b_16(weights=None)
    nn.init.normal_(module.heads.head.weight, std=0.02)  # torchvision begins with zeros
    pixels = 32 if small else 224
    return Network(module, {"image": torch.randn(batch, 3, pixels, pixels)})


def _resnet50(batch: int, small: bool) -> Network:
    from torchvision.models.resnet import Bottleneck, ResNet

    module = ResNet(Bottleneck, [1, 1, 1, 1] if small else [3, 4, 6, 3])
    pixels = 64 if small else 224
    with torch.no_grad():  # statistics of data, so that activations keep their size
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
        module.train()(torch.randn(4, 3, pixels, pixels))
    return Network(module, {"image": torch.randn(batch, 3, pixels, pixels)}, channels_last=True)


def _unet(batch: int, small: bool) -> Network:
    pixels = 16 if small else 64
    module = DenoisingUNet(32, (1, 2), 1) if small else DenoisingUNet(128, (1, 2, 2, 2), 2)
    inputs = {"image": torch.randn(batch, 3, pixels, pixels), "steps": torch.randint(0, 1000, (batch,))}
    return Network(module, inputs, channels_last=True)


NETWORKS: Mapping[str, Callable[[int, bool], Network]] = MappingProxyType(
    {"bert": _bert, "vit": _vit, "resnet50": _resnet50, "gpt2": _gpt2, "unet": _unet}
)
"""By name: (batch, small) -> network."""


def network(name: str, batch: int, *, small: bool = False) -> Network:
    """The network called `name`, always with the same weights and inputs; the caller may change the module."""
    made = _made(name, batch, small)
    return Network(copy.deepcopy(made.module), made.inputs, made.channels_last)


@functools.lru_cache(maxsize=1)
def _made(name: str, batch: int, small: bool) -> Network:
    declare_torchvision_operators()
    torch.manual_seed(0)
    made = NETWORKS[name](batch, small)
    made.module.eval().requires_grad_(False)
    return made


# -- denoising diffusion (arXiv 2006.11239, 2102.09672) -------------------------------------------------------------
class Residual(nn.Module):
    """Two normalised convolutions, the step added between them, and a shortcut."""

    def __init__(self, c_in: int, c_out: int, c_step: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(16, c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.step = nn.Linear(c_step, c_out)
        self.norm2, self.conv2 = nn.GroupNorm(16, c_out), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x))) + self.step(F.silu(step))[:, :, None, None]
        return self.conv2(F.silu(self.norm2(y))) + self.shortcut(x)


class ImageAttention(nn.Module):
    """Attention of all positions of an image, in heads of 64 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 64)
        self.norm, self.qkv = nn.GroupNorm(16, channels), nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, 3 * self.heads, -1, height * width).transpose(2, 3)
        y = F.scaled_dot_product_attention(*qkv.chunk(3, 1))
        return x + self.out(y.transpose(2, 3).reshape(batch, channels, height, width))


class DenoisingUNet(nn.Module):
    """Noise of an image [B, 3, H, W] at steps [B] i64.

    Args:
        width: channels of the finest level. factors: of the width at each level, each half as fine as the one before.
        blocks: of a level. Levels from the third on (or the last one) have attention.
    """

    def __init__(self, width: int, factors: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.width, c_step = width, 4 * width
        self.embed = nn.Sequential(nn.Linear(width, c_step), nn.SiLU(), nn.Linear(c_step, c_step))
        self.first = nn.Conv2d(3, width, 3, padding=1)
        attends = [n >= min(2, len(factors) - 1) for n in range(len(factors))]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels, kept = width, [width]
        for n, factor in enumerate(factors):
            for _ in range(blocks):
                self.down.append(self._block(channels, width * factor, c_step, attends[n]))
                channels = width * factor
                kept.append(channels)
            if n + 1 < len(factors):
                self.down.append(nn.ModuleList([nn.Conv2d(channels, channels, 3, 2, 1)]))
                kept.append(channels)
        self.middle = self._block(channels, channels, c_step, True)
        for n, factor in reversed(list(enumerate(factors))):
            for _ in range(blocks + 1):
                self.up.append(self._block(channels + kept.pop(), width * factor, c_step, attends[n]))
                channels = width * factor
            if n:
                self.up.append(nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1)]))
        self.norm, self.last = nn.GroupNorm(16, width), nn.Conv2d(width, 3, 3, padding=1)

    @staticmethod
    def _block(c_in: int, c_out: int, c_step: int, attends: bool) -> nn.ModuleList:
        parts: list[nn.Module] = [Residual(c_in, c_out, c_step)]
        return nn.ModuleList([*parts, ImageAttention(c_out)] if attends else parts)

    def forward(self, image: Tensor, steps: Tensor) -> Tensor:
        step = self.embed(self._angles(steps).to(image.dtype))
        x = self.first(image)
        kept = [x]
        for block in self.down:
            x = self._applied(block, x, step)
            kept.append(x)
        x = self._applied(self.middle, x, step)
        for block in self.up:
            if isinstance(block[0], nn.Conv2d):
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            else:
                x = torch.cat([x, kept.pop()], 1)
            x = self._applied(block, x, step)
        return self.last(F.silu(self.norm(x)))

    def _angles(self, steps: Tensor) -> Tensor:
        half = self.width // 2
        numbers = torch.arange(half, dtype=torch.float32, device=steps.device)
        angles = steps[:, None].float() * torch.exp(-math.log(10000) / half * numbers)[None]
        return torch.cat([angles.sin(), angles.cos()], -1)

    @staticmethod
    def _applied(block: nn.Module, x: Tensor, step: Tensor) -> Tensor:
        for part in block.children():
            x = part(x, step) if isinstance(part, Residual) else part(x)
        return x
