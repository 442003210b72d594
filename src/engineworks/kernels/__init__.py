"""Tactics: the ways to compute a workload, and who offers them."""
