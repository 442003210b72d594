"""ONNX: protobuf in, a neutral ForeignGraph out. Nothing here knows an operator."""
