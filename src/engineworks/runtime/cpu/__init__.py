"""The CPU as a device: code images, threads, the one native call of an inference."""
