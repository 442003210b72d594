"""Element types by Engineworks' names and as torch's."""

from __future__ import annotations

import torch

TORCH_OF: dict[str, torch.dtype] = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
    "f8e4m3": torch.float8_e4m3fn, "f8e5m2": torch.float8_e5m2,
    "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8,
    "u64": torch.uint64, "u32": torch.uint32, "u16": torch.uint16, "u8": torch.uint8, "bool": torch.bool,
}  # fmt: skip
NAME_OF: dict[torch.dtype, str] = {torch_dtype: name for name, torch_dtype in TORCH_OF.items()}
