"""Groups of operators that one kernel computes better: attention, norms, activations, scales."""
