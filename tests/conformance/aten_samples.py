"""Calls of spelled operators that no OpInfo sample makes: those that a decomposition, a tracer or a device makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # (defines the operators of PT2E)

aten, quantized = torch.ops.aten, torch.ops.quantized_decomposed


def _draw(*shape: int) -> torch.Tensor:
    """f32 in [-2, 2]. Drawn by numpy, so that no random operator is recorded."""
    drawn = np.random.default_rng(sum(shape)).uniform(-2, 2, shape)
    return torch.from_numpy(np.asarray(drawn, np.float32))


def _whole(*shape: int, low: int = -9, high: int = 9) -> torch.Tensor:
    """i64 in [low, high)."""
    return torch.from_numpy(np.random.default_rng(sum(shape)).integers(low, high, shape))


def _norm_arguments(channels: int) -> tuple[torch.Tensor, ...]:
    """Scale, bias, mean, variance."""
    return _draw(channels), _draw(channels), _draw(channels), _draw(channels).abs() + 0.5


def _recurrent(gates: int, *, layers: int, directions: int, bias: bool) -> list[torch.Tensor]:
    """Parameters of stacked layers with 3 inputs and 4 hidden units."""
    found = []
    for layer in range(layers):
        width = 3 if layer == 0 else 4 * directions
        for _ in range(directions):
            shapes = [(gates * 4, width), (gates * 4, 4), *([(gates * 4,)] * 2 if bias else [])]
            found += [_draw(*shape) for shape in shapes]
    return found


def _lstm(*, layers: int = 1, directions: int = 1, bias: bool = True, batch_first: bool = False) -> Any:
    states = [_draw(layers * directions, 2, 4), _draw(layers * directions, 2, 4) * 0.5]
    x = _draw(2, 5, 3) if batch_first else _draw(5, 2, 3)
    parameters = _recurrent(4, layers=layers, directions=directions, bias=bias)
    return aten.lstm.input(x, states, parameters, bias, layers, 0.0, False, directions > 1, batch_first)


def _one_state(op: Any, gates: int, *, layers: int = 1, directions: int = 1) -> Any:
    parameters = _recurrent(gates, layers=layers, directions=directions, bias=True)
    state = _draw(layers * directions, 2, 4)
    return op(_draw(5, 2, 3), state, parameters, True, layers, 0.0, False, directions > 1, False)


def _attention(*, mask: torch.Tensor | None = None, **options: Any) -> Any:
    q, k, v = _draw(2, 4, 5, 8), _draw(2, 4, 7, 8), _draw(2, 4, 7, 8)
    return aten.scaled_dot_product_attention.default(q, k, v, mask, 0.0, **options)


def _grouped_attention() -> Any:
    return aten.scaled_dot_product_attention.default(
        _draw(2, 4, 5, 8), _draw(2, 2, 7, 8), _draw(2, 2, 7, 8), None, 0.0, False, enable_gqa=True
    )


def _scales(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zero points."""
    return _draw(channels).abs() * 0.01 + 0.005, _whole(channels)


def _convolution(op: Any, *, transposed: bool) -> Any:
    arguments = (
        _draw(1, 4, 6, 5),
        _draw(4, 2, 3, 3),
        _draw(4),
        [2, 1],
        [1, 0],
        [1, 1],
        transposed,
        [0, 0],
        2,
    )
    return op(*arguments, False, False, False, False) if op is aten._convolution.default else op(*arguments)


_image, _vector = _draw(1, 2, 5, 6), _draw(1, 2, 7)
_mask = _whole(2, 1, 5, 7) > 0
_mask[0, 0, 2] = False

SAMPLES: Mapping[str, Callable[[], Any]] = {
    "shifts by numbers": lambda: (
        aten.__lshift__.Scalar(_whole(3, 4), 2), aten.__rshift__.Scalar(_whole(3, 4), 1),
        aten.bitwise_left_shift.Tensor_Scalar(_whole(3, 4), 2), aten.bitwise_right_shift.Tensor_Scalar(_whole(3, 4), 2),
    ),
    "bits and a number": lambda: (
        aten.bitwise_and.Scalar(_whole(3, 4), 6), aten.bitwise_or.Scalar(_whole(3, 4), 6),
        aten.bitwise_xor.Scalar(_whole(3, 4), 6),
    ),
    "arithmetic with a number": lambda: (
        aten.div.Scalar_mode(_whole(3, 4), 4, rounding_mode="floor"), aten.floor_divide.Scalar(_draw(3, 4), 0.3),
        aten.fmod.Scalar(_draw(3, 4), 0.7), aten.remainder.Scalar_Tensor(7, _whole(3, 4, low=1)),
        aten.clamp_max.default(_draw(3, 4), 0.5), aten.copysign.Scalar(_draw(3, 4), -0.0),
        aten.bucketize.Scalar(0.3, torch.linspace(-1, 1, 5)), aten.masked_fill.Tensor(_draw(3), _draw(3) > 0, _draw()),
    ),
    "conversions": lambda: (
        aten._to_copy.default(_draw(3, 4), dtype=torch.int32), aten._to_copy.default(_whole(3), dtype=torch.float16),
        aten.to.other(_draw(3, 4), _whole(2)), aten.view.dtype(_draw(3, 4), torch.int32),
        aten.view_copy.dtype(_draw(3, 4), torch.int32),
        torch.ops.prims.convert_element_type.default(_draw(3, 4), torch.bfloat16),
    ),
    "copies and views": lambda: (
        aten.alias.default(_draw(3, 4)), aten.detach_copy.default(_draw(3, 4)), aten.lift.default(_draw(3, 4)),
        aten.lift_fresh_copy.default(_draw(3, 4)), aten._reshape_alias.default(_draw(3, 4), [2, 6], [6, 1]),
        aten._reshape_copy.default(_draw(3, 4), [2, 6]), aten.select_copy.int(_draw(3, 4), 1, -2),
        aten.slice_copy.Tensor(_draw(3, 7), 1, 1, -1, 2), aten.split_copy.Tensor(_draw(7, 2), 3),
        aten.split.sizes(_draw(7, 2), [3, 0, 4]), aten.squeeze_copy.dims(_draw(1, 3, 1), [0, 2]),
        aten.squeeze_copy.dim(_draw(1, 3, 1), 1), aten.squeeze_copy.default(_draw(1, 3, 1)),
        aten.native_channel_shuffle.default(_draw(2, 6, 3), 3),
    ),
    "new tensors": lambda: (
        aten.fill.Tensor(_draw(3, 4), _draw()), aten.new_zeros.default(_draw(2), [3, 4]),
        aten.new_ones.default(_draw(2), [3, 4]), aten.eye.default(3), aten.eye.m(3, 5),
    ),
    "softmax of a decomposition": lambda: (
        aten._softmax.default(_draw(3, 4), -1, False), aten._log_softmax.default(_draw(3, 4), 0, False),
        aten._safe_softmax.default(torch.where(_mask, 0.5, float("-inf")), -1),
    ),
    "medians and places": lambda: (
        aten.median.dim(_draw(3, 4, 5), 1),
        aten.median.dim(_draw(3, 5), -1, True),
        aten.nanmedian.dim(torch.where(_draw(3, 5) > 1, float("nan"), _draw(3, 5)), 1),
        aten.searchsorted.Scalar(torch.linspace(-1, 1, 5), 0.3),
    ),
    "truths and counts": lambda: (
        aten.all.dims(_whole(3, 4), [0, 1]), aten.all.dims(_whole(3, 4), []), aten.all.dims(_whole(3, 4), [1], True),
        aten.count_nonzero.dim_IntList(_whole(3, 4, low=0, high=2), [1]),
    ),
    "norms": lambda: (
        aten.norm.ScalarOpt_dtype(_draw(3, 4), 3, dtype=torch.float64), aten.norm.Scalar(_draw(3, 4), 1),
        aten.norm.ScalarOpt_dim_dtype(_draw(3, 4), 2, [1], True, dtype=torch.float64),
        aten.norm.ScalarOpt_dim(_draw(3, 4), float("inf"), [0]),
    ),
    "normalisations": lambda: (
        aten._native_batch_norm_legit_no_training.default(_image, *_norm_arguments(2), 0.1, 1e-5),
        aten._native_batch_norm_legit.no_stats(_image, _draw(2), _draw(2), True, 0.1, 1e-5),
        aten._batch_norm_no_update.default(_image, *_norm_arguments(2), 0.1, 1e-5),
        aten._fused_rms_norm.default(_draw(3, 8), [8], _draw(8), 1e-5),
        aten.instance_norm.default(_image, None, None, *_norm_arguments(2)[2:], False, 0.1, 1e-5, False),
        aten.native_group_norm.default(_draw(2, 6, 5), None, None, 2, 6, 5, 3, 1e-5),
    ),
    "convolutions of a decomposition": lambda: (
        _convolution(aten.convolution.default, transposed=False), _convolution(aten.convolution.default, transposed=True),
        _convolution(aten._convolution.default, transposed=False),
        aten.conv2d.padding(_image, _draw(3, 2, 2, 3), None, [1, 1], "same"),
    ),
    "pools": lambda: (
        aten._adaptive_avg_pool2d.default(_image, [2, 3]), aten._adaptive_avg_pool2d.default(_image, [1, 1]),
        aten._adaptive_avg_pool3d.default(_draw(1, 2, 4, 5, 6), [2, 2, 3]),
        aten.max_pool1d.default(_vector, [3], [2], [1]), aten.max_pool2d.default(_image, [3], [2], [1], [1], True),
        aten.max_pool3d.default(_draw(1, 2, 4, 5, 6), [2]),
        aten.avg_pool2d.default(_image, [3, 2], [2, 2], [1, 1], True, True, 5),
        aten.col2im.default(_draw(1, 8, 20), [5, 6], [2, 2], [1, 1], [0, 0], [1, 1]),
        aten.col2im.default(_draw(8, 9), [5, 6], [2, 2], [1, 1], [1, 1], [2, 3]),
    ),
    "pads": lambda: (
        aten.reflection_pad1d.default(_vector, [2, 3]), aten.reflection_pad2d.default(_image, [2, 1, 0, 3]),
        aten.reflection_pad3d.default(_draw(1, 2, 4, 5, 6), [1, 2, 3, 0, 2, 2]),
        aten.replication_pad1d.default(_vector, [2, 3]), aten.replication_pad2d.default(_image, [2, 1, 0, 3]),
        aten.replication_pad3d.default(_draw(1, 2, 4, 5, 6), [1, 2, 3, 0, 2, 2]),
    ),
    "upsampling by sizes": lambda: (
        aten.upsample_nearest1d.default(_vector, [11]), aten.upsample_nearest2d.default(_image, [9, 4]),
        aten.upsample_nearest3d.default(_draw(1, 2, 4, 5, 6), [8, 7, 3]), aten.upsample_linear1d.default(_vector, [11], False),
        aten.upsample_bilinear2d.default(_image, [9, 4], False), aten.upsample_bilinear2d.default(_image, [10, 12], True),
        aten.upsample_trilinear3d.default(_draw(1, 2, 4, 5, 6), [8, 7, 3], False),
        aten.upsample_bicubic2d.default(_image, [9, 4], False), aten.upsample_bicubic2d.default(_image, [10, 12], True),
        aten._upsample_nearest_exact1d.default(_vector, [11]), aten._upsample_nearest_exact2d.default(_image, [9, 4]),
        aten._upsample_nearest_exact3d.default(_draw(1, 2, 4, 5, 6), [8, 7, 3]),
        aten._upsample_bilinear2d_aa.default(_image, [3, 4], False),
        aten._upsample_bicubic2d_aa.default(_image, [3, 4], False),
    ),
    "upsampling by scales": lambda: (
        aten.upsample_nearest1d.vec(_vector, None, [1.5]), aten.upsample_nearest2d.vec(_image, None, [2.0, 0.7]),
        aten.upsample_nearest3d.vec(_draw(1, 2, 4, 5, 6), None, [2.0, 1.5, 0.5]),
        aten.upsample_linear1d.vec(_vector, None, False, [1.7]), aten.upsample_bilinear2d.vec(_image, None, False, [2.0, 1.3]),
        aten.upsample_trilinear3d.vec(_draw(1, 2, 4, 5, 6), None, False, [2.0, 1.5, 0.5]),
        aten.upsample_bicubic2d.vec(_image, None, False, [1.9, 2.2]),
        aten._upsample_nearest_exact1d.vec(_vector, None, [1.5]), aten._upsample_nearest_exact2d.vec(_image, None, [2.0, 0.7]),
        aten._upsample_nearest_exact3d.vec(_draw(1, 2, 4, 5, 6), None, [2.0, 1.5, 0.5]),
        aten._upsample_bilinear2d_aa.vec(_image, None, False, [0.6, 0.5]),
        aten._upsample_bicubic2d_aa.vec(_image, None, False, [0.6, 0.5]),
    ),
    "scatters": lambda: (
        aten.scatter.value(_draw(3, 4), 1, _whole(3, 2, low=0, high=3), 0.5),
        aten.put.default(_draw(3, 4), torch.tensor([[1, 0], [7, -1]]), _draw(2, 2)),
        aten.put.default(_draw(3, 4), torch.tensor([1, 1, 5]), _draw(3), True),
        aten.scatter.reduce(_draw(3, 4), 1, _whole(3, 2, low=0, high=3), _draw(3, 2), reduce="multiply"),
        aten.scatter.value_reduce(_draw(3, 4), 0, _whole(2, 4, low=0, high=2), 1.5, reduce="add"),
        aten._unsafe_index_put.default(_draw(3, 4), [None, torch.tensor([0, 2])], _draw(3, 2)),
        aten.index_put.default(_draw(3, 4), [_draw(3, 4) > 0], _draw()),
        aten.index_put.default(_draw(3, 4, 2), [torch.tensor([0, 2]), None, torch.tensor([1, 0])], _draw(2, 4)),
        aten._unsafe_index.Tensor(_draw(3, 4, 2), [torch.tensor([0, 2]), None, torch.tensor([[1], [0]])]),
    ),
    "attention": lambda: (
        _attention(), _attention(is_causal=True), _attention(mask=_mask), _attention(mask=_draw(5, 7)), _grouped_attention(),
        _attention(scale=0.3), aten.scaled_dot_product_attention.default(_draw(5, 8), _draw(7, 8), _draw(7, 8)),
        aten._scaled_dot_product_flash_attention_for_cpu.default(_draw(2, 4, 5, 8), _draw(2, 4, 7, 8), _draw(2, 4, 7, 8)),
    ),
    "recurrent layers": lambda: (
        _lstm(), _lstm(layers=2, directions=2), _lstm(bias=False, batch_first=True), _one_state(aten.gru.input, 3),
        _one_state(aten.gru.input, 3, layers=2, directions=2), _one_state(aten.rnn_tanh.input, 1),
        _one_state(aten.rnn_relu.input, 1, layers=2, directions=2),
    ),
    "quantisation of PT2E": lambda: (
        quantized.choose_qparams.tensor(_draw(3, 4), 0, 255, 1e-6, torch.uint8),
        quantized.choose_qparams_symmetric.tensor(_draw(3, 4), -127, 127, 1e-6, torch.int8),
        aten._int_mm.default(_whole(32, 16).to(torch.int8), _whole(16, 24).to(torch.int8)),
        quantized.quantize_per_tensor.default(_draw(3, 4), 0.02, 0, -128, 127, torch.int8),
        quantized.quantize_per_tensor.default(_draw(3, 4), 0.013, 3, -127, 127, torch.int8),
        quantized.quantize_per_tensor.tensor(_draw(3, 4), torch.tensor(0.02), torch.tensor(7), 0, 255, torch.uint8),
        quantized.quantize_per_channel.default(_draw(2, 3, 4), *_scales(3), 1, -127, 127, torch.int8),
        quantized.dequantize_per_tensor.default(_whole(3, 4).to(torch.int8), 0.02, 3, -128, 127, torch.int8),
        quantized.dequantize_per_tensor.tensor(
            _whole(3, 4, low=0).to(torch.uint8), torch.tensor(0.02), torch.tensor(7), 0, 255, torch.uint8
        ),
        quantized.dequantize_per_channel.default(_whole(2, 3, 4).to(torch.int8), *_scales(3), 1, -128, 127, torch.int8),
        quantized.choose_qparams.tensor(_draw(3, 4), 0, 255, 1e-5, torch.uint8),
        quantized.choose_qparams.tensor(_draw(3, 4).abs(), -128, 127, 1e-5, torch.int8),
        quantized.choose_qparams_symmetric.tensor(_draw(3, 4), -127, 127, 1e-5, torch.int8),
        quantized.choose_qparams_symmetric.tensor(_draw(3, 4), 0, 255, 1e-5, torch.uint8),
        aten._int_mm.default(_whole(20, 24).to(torch.int8), _whole(24, 16).to(torch.int8)),
    ),
    "dropout outside of training": lambda: (
        aten.native_dropout.default(_draw(3, 4), 0.5, False), aten.dropout.default(_draw(3, 4), 0.5, False),
        aten.feature_dropout.default(_draw(3, 4), 0.5, False), aten.alpha_dropout.default(_draw(3, 4), 0.5, False),
        aten.feature_alpha_dropout.default(_draw(3, 4), 0.5, False),
    ),
    "bags": lambda: (
        aten._embedding_bag.default(_draw(6, 3), _whole(7, low=0, high=6), torch.tensor([0, 2, 2, 5]), False, 1),
        aten._embedding_bag_forward_only.default(
            _draw(6, 3), _whole(7, low=0, high=6), torch.tensor([0, 2, 7]), False, 0, False, _draw(7), True
        ),
        aten._embedding_bag_forward_only.default(_draw(6, 3), _whole(7, low=0, high=6), torch.tensor([0, 2, 2]), False, 2),
    ),
    "activations": lambda: (aten._prelu_kernel.default(_draw(2, 3, 4), _draw(1, 3, 1)), aten.selu.default(_draw(3, 4))),
}  # fmt: skip
"""By what they are about. Each calls several operators, which a Recorder then finds."""
