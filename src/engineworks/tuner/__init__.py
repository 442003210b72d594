"""Measures and chooses: trial engines in a process of their own, and the timing cache."""
