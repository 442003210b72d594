"""Whole-graph passes, one file each."""
