"""Loads engines and runs them. Imports numpy, ml_dtypes and msgspec, and no compiler."""
