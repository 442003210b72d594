"""Activation ranges from example inputs: statistics, methods that choose a range, TensorRT's cache files."""
