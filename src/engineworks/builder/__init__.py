"""From a model to an engine: the phases in order, and what they leave in the file."""
