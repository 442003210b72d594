"""PyTorch: modules and exported programs. torch is imported inside functions only; this is its home."""
