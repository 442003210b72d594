"""Words that compiler and runtime share: dtypes, dims, shapes, types, targets."""
