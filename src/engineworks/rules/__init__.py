"""Rewrites, one file each, grouped by intent."""
