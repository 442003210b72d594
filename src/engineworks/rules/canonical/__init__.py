"""Simplifications that hold on every target: no-ops, algebra, constants, shapes."""
