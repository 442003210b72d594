"""Kernels of the CPU: one file a family, found by the backend."""
