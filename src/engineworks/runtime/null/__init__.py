"""A device without hardware: it keeps bytes and records calls, for tests."""
