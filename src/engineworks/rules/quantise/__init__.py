"""Quantised numbers: Q/DQ pairs moved to where products are, and products of integers made of them."""
