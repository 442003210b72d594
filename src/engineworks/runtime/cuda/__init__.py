"""NVIDIA GPUs through the CUDA driver: no torch, no Triton, no CUDA toolkit."""
