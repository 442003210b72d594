"""Kernel families for NVIDIA GPUs, written in Triton; one module a family, discovered by name."""
