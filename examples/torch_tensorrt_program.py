"""A program written for Torch-TensorRT: only the import line is another one."""

from __future__ import annotations

import torch

import engineworks.torch_tensorrt as torch_tensorrt  # noqa: PLR0402  as such programs say it

model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 15 * 15, 10)
).eval()
trt_model = torch_tensorrt.compile(
    model,
    inputs=[torch_tensorrt.Input((1, 3, 32, 32), dtype=torch.half)],
    enabled_precisions={torch.half},  # FP16
    workspace_size=1 << 30,
)
torch.jit.save(trt_model, "model_torchtrt.engine")

module = torch.jit.load("model_torchtrt.engine")
image = torch.rand(1, 3, 32, 32)
scores = module(image.half())
with torch.inference_mode():
    assert torch.allclose(scores.float(), model(image), atol=1e-2)
print(scores)
