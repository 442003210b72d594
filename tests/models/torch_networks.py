"""Narrow and shallow networks with every structural feature of the ones they stand for, written in torch.

Architectures from the papers: Swin (arXiv 2103.14030), ConvNeXt (2201.03545), EfficientNet (1905.11946), T5
(1910.10683), Whisper's encoder (2212.04356), and the UNet of denoising diffusion (2006.11239).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.convolutional import conv_norm


class DropPath(nn.Module):
    """Stochastic depth: a branch left out at random while training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], *([1] * (x.dim() - 1))) >= self.rate
        return x * keep / (1 - self.rate)


# -- images ------------------------------------------------------------------------------------------------------
class MobileBlock(nn.Module):
    """EfficientNet's block: up, depthwise, squeeze-and-excite with SiLU and sigmoid, down, stochastic depth."""

    def __init__(self, width: int, stride: int, out: int) -> None:
        super().__init__()
        middle = 4 * width
        self.up = conv_norm(width, middle, act=nn.SiLU)
        self.spatial = conv_norm(middle, middle, 3, stride, groups=middle, act=nn.SiLU)
        self.reduce, self.expand = nn.Conv2d(middle, 4, 1), nn.Conv2d(4, middle, 1)
        self.down = conv_norm(middle, out)
        self.drop = DropPath(0.2)
        self.has_shortcut = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        y = self.spatial(self.up(x))
        y = y * self.expand(F.silu(self.reduce(y.mean((2, 3), keepdim=True)), inplace=True)).sigmoid()
        y = self.down(y)
        return x + self.drop(y) if self.has_shortcut else y


class EfficientNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks = MobileBlock(8, 2, 12), MobileBlock(12, 1, 12), MobileBlock(12, 2, 16)
        self.body = nn.Sequential(conv_norm(3, 8, 3, 2, act=nn.SiLU), *blocks, conv_norm(16, 64, act=nn.SiLU))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image))


class ConvNextBlock(nn.Module):
    """7x7 depthwise, then two linear maps with the channels last, scaled by a parameter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, 1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.ones(width))
        self.drop = DropPath(0.1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        y = self.down(F.gelu(self.up(y))) * self.scale
        return x + self.drop(y.permute(0, 3, 1, 2))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over axis 1."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 4, 4), ChannelNorm(16, 1e-6))
        lower = nn.Sequential(ChannelNorm(16, 1e-6), nn.Conv2d(16, 32, 2, 2))
        self.body = nn.Sequential(ConvNextBlock(16), ConvNextBlock(16), lower, ConvNextBlock(32))
        self.norm, self.head = nn.LayerNorm(32, 1e-6), nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.norm(self.body(self.stem(image)).mean((-2, -1))))


class WindowAttention(nn.Module):
    """Attention inside windows of `side` by `side`, with a learnt bias for each relative position."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        places = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).flatten(1)
        apart = (places[:, :, None] - places[:, None, :]).permute(1, 2, 0) + side - 1
        self.register_buffer("index", apart[:, :, 0] * (2 * side - 1) + apart[:, :, 1])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        count, length, width = x.shape
        q, k, v = self.qkv(x).reshape(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(length, length, -1).permute(2, 0, 1).contiguous()
        scores = scores + bias.unsqueeze(0)
        if mask is not None:
            windows = mask.shape[0]
            scores = scores.view(-1, windows, self.heads, length, length) + mask.unsqueeze(1).unsqueeze(0)
            scores = scores.view(-1, self.heads, length, length)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(count, length, width))


class SwinBlock(nn.Module):
    """Windows, every other time shifted by half a side around the torus, with a mask between strangers."""

    def __init__(self, width: int, heads: int, pixels: int, side: int, shift: int) -> None:
        super().__init__()
        self.side, self.shift = side, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, side)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop = DropPath(0.1)
        self.register_buffer("mask", self._mask(pixels) if shift else None)

    def _mask(self, pixels: int) -> Tensor:
        region, number = torch.zeros(1, pixels, pixels, 1), 0
        parts = slice(0, -self.side), slice(-self.side, -self.shift), slice(-self.shift, None)
        for rows in parts:
            for columns in parts:
                region[:, rows, columns] = number
                number += 1
        windows = self._windows(region).squeeze(-1)
        apart = windows.unsqueeze(1) - windows.unsqueeze(2)
        return apart.masked_fill(apart != 0, -100.0)

    def _windows(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = x.view(batch, height // self.side, self.side, width // self.side, self.side, channels)
        return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, self.side**2, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = self.attention(self._windows(y), self.mask)
        y = y.view(batch, height // self.side, width // self.side, self.side, self.side, channels)
        y = y.permute(0, 1, 3, 2, 4, 5).contiguous().view(batch, height, width, channels)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + self.drop(y)
        return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)))))


class PatchMerging(nn.Module):
    """Four neighbours become one place of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]
        return self.reduce(self.norm(torch.cat(parts, -1)))


class Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm0 = nn.Conv2d(3, 16, 4, 4), nn.LayerNorm(16)
        self.body = nn.Sequential(
            SwinBlock(16, 2, 16, 4, 0), SwinBlock(16, 2, 16, 4, 2), PatchMerging(16),
            SwinBlock(32, 4, 8, 4, 0), SwinBlock(32, 4, 8, 4, 2),
        )  # fmt: skip
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.norm0(self.patches(image).permute(0, 2, 3, 1))
        return self.head(self.norm(self.body(x)).mean((1, 2)))


# -- denoising -----------------------------------------------------------------------------------------------------
class ResidualBlock(nn.Module):
    """Two convolutions behind group norms; the step's embedding is added between them."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, width), nn.Conv2d(width, out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(4, out), nn.Conv2d(out, out, 3, padding=1)
        self.step = nn.Linear(32, out)
        self.shortcut = nn.Conv2d(width, out, 1) if width != out else nn.Identity()

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x))) + self.step(F.silu(step))[:, :, None, None]
        return self.conv2(F.dropout(F.silu(self.norm2(y)), 0.1, self.training)) + self.shortcut(x)


class ImageAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.GroupNorm(4, width)
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, 3 * self.heads, -1, height * width).transpose(2, 3)
        y = F.scaled_dot_product_attention(*qkv.chunk(3, 1))
        return x + self.out(y.transpose(2, 3).reshape(batch, channels, height, width))


class DenoisingUNet(nn.Module):
    """Noise of an image [B, 3, H, W] at steps [B] i64."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 32))
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.down1, self.lower = ResidualBlock(16, 16), nn.Conv2d(16, 16, 3, 2, 1)
        self.down2, self.attention = ResidualBlock(16, 32), ImageAttention(32, 2)
        self.middle = ResidualBlock(32, 32)
        self.up2, self.higher = ResidualBlock(64, 32), nn.Conv2d(32, 16, 3, padding=1)
        self.up1, self.norm = ResidualBlock(32, 16), nn.GroupNorm(4, 16)
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, image: Tensor, steps: Tensor) -> Tensor:
        rates = torch.exp(-math.log(10000) * torch.arange(16, dtype=torch.float32) / 16)
        angles = steps[:, None].float() * rates[None]
        step = self.embed(torch.cat([angles.sin(), angles.cos()], -1))
        fine = self.down1(self.first(image), step)
        coarse = self.attention(self.down2(self.lower(fine), step))
        x = self.up2(torch.cat([self.middle(coarse, step), coarse], 1), step)
        x = self.higher(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.last(F.silu(self.norm(self.up1(torch.cat([x, fine], 1), step))))


# -- sequences -----------------------------------------------------------------------------------------------------
class RootMeanSquareNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.to(torch.float32).pow(2).mean(-1, keepdim=True) + 1e-6))


class T5Attention(nn.Module):
    """No scaling, no biases; distances fall into buckets whose biases are learnt, in the first layer only."""

    def __init__(self, width: int, heads: int, has_bias: bool, both_ways: bool) -> None:
        super().__init__()
        self.heads, self.both_ways = heads, both_ways
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.bias = nn.Embedding(16, heads) if has_bias else None

    def _bucket(self, distance: Tensor) -> Tensor:
        count, bucket = 16, torch.zeros_like(distance)
        if self.both_ways:
            count = 8
            bucket = bucket + (distance > 0).long() * count
            distance = distance.abs()
        else:
            distance = -torch.min(distance, torch.zeros_like(distance))
        exact = count // 2
        far = exact + (torch.log(distance.float() / exact) / math.log(32 / exact) * (count - exact)).long()
        far = torch.min(far, torch.full_like(far, count - 1))
        return bucket + torch.where(distance < exact, distance, far)

    def position_bias(self, queries: int, keys: int) -> Tensor:
        distance = torch.arange(keys)[None, :] - torch.arange(queries)[:, None]
        return self.bias(self._bucket(distance)).permute(2, 0, 1).unsqueeze(0)

    def forward(self, x: Tensor, source: Tensor, bias: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            project(t).view(batch, -1, self.heads, width // self.heads).transpose(1, 2)
            for project, t in ((self.q, x), (self.k, source), (self.v, source))
        )
        scores = torch.matmul(q, k.transpose(3, 2))
        if bias is not None:
            scores += bias
        weights = F.softmax(scores.float(), dim=-1).type_as(scores)
        return self.out(torch.matmul(weights, v).transpose(1, 2).contiguous().view(batch, length, width))


class T5Layer(nn.Module):
    def __init__(self, width: int, heads: int, is_first: bool, is_decoder: bool) -> None:
        super().__init__()
        self.norm1, self.attention = (
            RootMeanSquareNorm(width),
            T5Attention(width, heads, is_first, not is_decoder),
        )
        self.norm2 = RootMeanSquareNorm(width) if is_decoder else None
        self.cross = T5Attention(width, heads, False, True) if is_decoder else None
        self.norm3 = RootMeanSquareNorm(width)
        self.up, self.down = nn.Linear(width, 128, bias=False), nn.Linear(128, width, bias=False)

    def forward(self, x: Tensor, bias: Tensor, source: Tensor | None) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, bias)
        if self.cross is not None:
            x = x + self.cross(self.norm2(x), source, None)
        return x + self.down(F.relu(self.up(self.norm3(x))))


class T5(nn.Module):
    """Encoder and decoder; the embedding's weights are also those of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(100, 32)
        self.encoder = nn.ModuleList(T5Layer(32, 4, n == 0, False) for n in range(2))
        self.decoder = nn.ModuleList(T5Layer(32, 4, n == 0, True) for n in range(2))
        self.norms = nn.ModuleList(RootMeanSquareNorm(32) for _ in range(2))
        self.head = nn.Linear(32, 100, bias=False)
        self.head.weight = self.shared.weight

    def forward(self, input_ids: Tensor, decoder_input_ids: Tensor) -> dict[str, Tensor]:
        x, length = self.shared(input_ids), input_ids.shape[1]
        bias = self.encoder[0].attention.position_bias(length, length)
        for layer in self.encoder:
            x = layer(x, bias, None)
        states = self.norms[0](x)
        y, length = self.shared(decoder_input_ids), decoder_input_ids.shape[1]
        future = torch.full((length, length), torch.finfo(y.dtype).min).triu(1)
        bias = self.decoder[0].attention.position_bias(length, length) + future
        for layer in self.decoder:
            y = layer(y, bias, states)
        return {"logits": self.head(self.norms[1](y) * 32**-0.5), "states": states}


class WhisperLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.v, self.out = (nn.Linear(width, width) for _ in range(3))
        self.k = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        y = self.norm1(x)
        q, k, v = (p(y).view(batch, length, self.heads, -1).transpose(1, 2) for p in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class WhisperEncoder(nn.Module):
    """States [B, T / 2, 32] of a spectrogram [B, 20, T]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(20, 32, 3, padding=1), nn.Conv1d(32, 32, 3, 2, 1)
        rates = torch.exp(-math.log(10000) / 15 * torch.arange(16))
        angles = torch.arange(64)[:, None] * rates[None]
        self.register_buffer("places", torch.cat([angles.sin(), angles.cos()], 1))
        self.layers = nn.ModuleList(WhisperLayer(32, 4) for _ in range(2))
        self.norm = nn.LayerNorm(32)

    def forward(self, spectrogram: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(spectrogram)))).permute(0, 2, 1)
        x = x + self.places[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)
