"""The engine file: the contract between the builder, which writes it, and the runtime, which reads it."""
