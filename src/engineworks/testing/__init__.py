"""Helpers for tests, public: inputs drawn for examples, tolerances, comparisons with good messages."""
