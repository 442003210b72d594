"""LayerType, with TensorRT's numbers, and the one that stands for an ONNX operator."""

from __future__ import annotations

from enum import IntEnum


class LayerType(IntEnum):
    """Kinds of layers."""

    CONVOLUTION, CAST, ACTIVATION, POOLING, LRN, SCALE, SOFTMAX, DECONVOLUTION = range(8)
    CONCATENATION, ELEMENTWISE, PLUGIN, UNARY, PADDING, SHUFFLE, REDUCE, TOPK = range(8, 16)
    GATHER, MATRIX_MULTIPLY, RAGGED_SOFTMAX, CONSTANT, IDENTITY, PLUGIN_V2, SLICE, SHAPE = range(16, 24)
    PARAMETRIC_RELU, RESIZE, TRIP_LIMIT, RECURRENCE, ITERATOR, LOOP_OUTPUT, SELECT, FILL = range(24, 32)
    QUANTIZE, DEQUANTIZE, CONDITION, CONDITIONAL_INPUT, CONDITIONAL_OUTPUT, SCATTER = range(32, 38)
    EINSUM, ASSERTION, ONE_HOT, NON_ZERO, GRID_SAMPLE, NMS, REVERSE_SEQUENCE = range(38, 45)
    NORMALIZATION, PLUGIN_V3, SQUEEZE, UNSQUEEZE, CUMULATIVE, DYNAMIC_QUANTIZE = range(45, 51)


_KINDS: dict[LayerType, str] = {
    LayerType.CONVOLUTION: "Conv ConvInteger QLinearConv",
    LayerType.CAST: "Cast CastLike",
    LayerType.ACTIVATION: "Relu Sigmoid Tanh LeakyRelu Elu Selu Softsign Softplus Clip HardSigmoid ThresholdedRelu "
    "Gelu Celu HardSwish Mish Swish",
    LayerType.POOLING: "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool GlobalLpPool",
    LayerType.LRN: "LRN",
    LayerType.SCALE: "BatchNormalization",
    LayerType.SOFTMAX: "Softmax LogSoftmax Hardmax",
    LayerType.DECONVOLUTION: "ConvTranspose",
    LayerType.CONCATENATION: "Concat",
    LayerType.ELEMENTWISE: "Add Sub Mul Div Pow Min Max Mean Sum Mod And Or Xor Equal Greater Less GreaterOrEqual "
    "LessOrEqual BitShift BitwiseAnd BitwiseOr BitwiseXor",
    LayerType.UNARY: "Abs Neg Exp Log Sqrt Reciprocal Sin Cos Tan Sinh Cosh Asin Acos Atan Asinh Acosh Atanh Ceil "
    "Floor Round Erf Not Sign IsInf IsNaN BitwiseNot",
    LayerType.SHUFFLE: "Reshape Transpose Flatten DepthToSpace SpaceToDepth",
    LayerType.REDUCE: "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceSumSquare",
    LayerType.TOPK: "TopK ArgMax ArgMin",
    LayerType.GATHER: "Gather GatherElements GatherND",
    LayerType.MATRIX_MULTIPLY: "MatMul Gemm MatMulInteger QLinearMatMul",
    LayerType.CONSTANT: "Constant",
    LayerType.IDENTITY: "Identity Dropout",
    LayerType.SLICE: "Slice Pad Split Expand Tile",
    LayerType.SHAPE: "Shape Size",
    LayerType.PARAMETRIC_RELU: "PRelu",
    LayerType.RESIZE: "Resize Upsample",
    LayerType.SELECT: "Where",
    LayerType.FILL: "ConstantOfShape Range RandomUniform RandomNormal RandomUniformLike RandomNormalLike EyeLike",
    LayerType.QUANTIZE: "QuantizeLinear",
    LayerType.DEQUANTIZE: "DequantizeLinear",
    LayerType.DYNAMIC_QUANTIZE: "DynamicQuantizeLinear",
    LayerType.CONDITION: "If",
    LayerType.TRIP_LIMIT: "Loop Scan",
    LayerType.RECURRENCE: "LSTM GRU RNN",
    LayerType.SCATTER: "Scatter ScatterElements ScatterND",
    LayerType.EINSUM: "Einsum",
    LayerType.ONE_HOT: "OneHot",
    LayerType.NON_ZERO: "NonZero",
    LayerType.GRID_SAMPLE: "GridSample",
    LayerType.NMS: "NonMaxSuppression",
    LayerType.REVERSE_SEQUENCE: "ReverseSequence",
    LayerType.NORMALIZATION: "LayerNormalization InstanceNormalization GroupNormalization RMSNormalization",
    LayerType.SQUEEZE: "Squeeze",
    LayerType.UNSQUEEZE: "Unsqueeze",
    LayerType.CUMULATIVE: "CumSum",
}
_OF_KIND = {kind: layer for layer, kinds in _KINDS.items() for kind in kinds.split()}


def layer_type(kind: str) -> LayerType:
    """The layer type nearest to ONNX's `kind`; PLUGIN_V3 where TensorRT has none."""
    return _OF_KIND.get(kind, LayerType.PLUGIN_V3)
