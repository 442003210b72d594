"""Pure memory planning: when buffers live, and where they lie in one arena."""
