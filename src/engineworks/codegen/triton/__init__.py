"""Kernels as Triton text: written, compiled to cubins without a GPU, and interpreted on the CPU for tests."""
