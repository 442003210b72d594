"""The graph builder with a method for each operator. Written by tools/builder_stub.py."""

from typing import Literal

import numpy as np

from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Region, Value

Operand = Value | np.ndarray | float | None

class Builder(GraphBuilder):
    def abs(self, *inputs: Operand) -> Value:
        """Absolute value; the lowest integer stays itself, as it has no positive twin."""
    def acos(self, *inputs: Operand) -> Value:
        """acos x in [0, π]; NaN outside of [-1, 1]."""
    def acosh(self, *inputs: Operand) -> Value:
        """log(x + √(x² - 1)); NaN below 1."""
    def add(self, *inputs: Operand) -> Value:
        """Sum of two tensors of one dtype; integers wrap around."""
    def argmax(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ..., select_last: bool = ...) -> Value:
        """i64 position of the largest element along the single one of `axes`; NaN counts as largest."""
    def argmin(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ..., select_last: bool = ...) -> Value:
        """i64 position of the smallest element along the single one of `axes`; NaN counts as smallest."""
    def asin(self, *inputs: Operand) -> Value:
        """asin x in [-π/2, π/2]; NaN outside of [-1, 1]."""
    def asinh(self, *inputs: Operand) -> Value:
        """log(x + √(x² + 1)), odd, without cancellation near 0 or overflow of x²."""
    def atan(self, *inputs: Operand) -> Value:
        """atan x in [-π/2, π/2]."""
    def atan2(self, *inputs: Operand) -> Value:
        """The angle in [-π, π] of the point with ordinate input 0 and abscissa input 1; zeros count with their signs."""
    def atanh(self, *inputs: Operand) -> Value:
        """log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1]."""
    def attention(self, *inputs: Operand, scale: float, causal: bool = ..., past: Dim = ..., allow_tf32: bool = ...) -> Value:
        """Attention of heads, of which several may share one head of keys and values."""
    def average_pool(self, *inputs: Operand, kernel: tuple[int, ...], strides: tuple[int, ...] = ..., pads: tuple[int, ...] = ..., dilations: tuple[int, ...] = ..., ceil_mode: bool = ..., count_include_pad: bool = ..., auto_pad: Literal['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'] = ...) -> Value:
        """Mean of each window of x[N, C, spatial…]."""
    def batch_normalization(self, *inputs: Operand, epsilon: float = ...) -> Value:
        """scale (x - mean) / √(variance + epsilon) + bias, each parameter a vector over axis 1 (axis 0 of a vector)."""
    def bit_cast(self, *inputs: Operand, dtype: DType) -> Value:
        """x's bits as `dtype`."""
    def bit_shift(self, *inputs: Operand, right: bool = ...) -> Value:
        """x shifted by y places: right when `right`, else left; arithmetic for signed integers."""
    def bitwise_and(self, *inputs: Operand) -> Value:
        """Each bit of a and that of b."""
    def bitwise_not(self, *inputs: Operand) -> Value:
        """Each bit inverted."""
    def bitwise_or(self, *inputs: Operand) -> Value:
        """Each bit of a or that of b."""
    def bitwise_xor(self, *inputs: Operand) -> Value:
        """Each bit of a exclusive-or that of b."""
    def cast(self, *inputs: Operand, dtype: DType, saturate: bool = ...) -> Value:
        """x as `dtype`: float to integer truncates, to bool is x != 0, float to float rounds to nearest even."""
    def ceil(self, *inputs: Operand) -> Value:
        """x rounded up; the dtype stays."""
    def celu(self, *inputs: Operand, alpha: float = ...) -> Value:
        """Continuously differentiable exponential linear unit."""
    def col2im(self, *inputs: Operand, image: tuple[Dim, ...], block: tuple[int, ...], strides: tuple[int, ...], pads: tuple[int, ...], dilations: tuple[int, ...]) -> Value:
        """out[n, c, *i] = Σ of x[n, c * K + k, l] over the elements k of windows l that lie on image position i."""
    def concat(self, *inputs: Operand, axis: int) -> Value:
        """The inputs joined along `axis`; their other sizes are equal."""
    def conv(self, *inputs: Operand, strides: tuple[int, ...] = ..., pads: tuple[int, ...] = ..., dilations: tuple[int, ...] = ..., groups: int = ..., auto_pad: Literal['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'] = ..., out_dtype: DType | None = ..., allow_tf32: bool = ...) -> Value:
        """Cross-correlation with groups: y[n, o, p] = b[o] + Σ w[o, c, k] x[n, g C/G + c, p s + k d - pad]."""
    def conv_transpose(self, *inputs: Operand, strides: tuple[int, ...] = ..., pads: tuple[int, ...] = ..., dilations: tuple[int, ...] = ..., groups: int = ..., output_padding: tuple[int, ...] = ..., out_dtype: DType | None = ..., allow_tf32: bool = ...) -> Value:
        """y[n, o, i s + k d - pad] += w[c, o, k] x[n, c, i], then + b[o]."""
    def cos(self, *inputs: Operand) -> Value:
        """cos x, radians."""
    def cosh(self, *inputs: Operand) -> Value:
        """(exp x + exp -x) / 2, without early overflow."""
    def cum_sum(self, *inputs: Operand, axis: int, exclusive: bool = ..., reverse: bool = ..., combine: Literal['sum', 'prod'] = ...) -> Value:
        """out[i] combines x[0] … x[i] along `axis`; `exclusive`: … x[i - 1]; `reverse`: from the end."""
    def dequantize_linear(self, *inputs: Operand, dtype: DType = ..., axis: int = ..., block: int = ...) -> Value:
        """(x - zero_point) scale as `dtype`."""
    def div(self, *inputs: Operand) -> Value:
        """Quotient of two tensors of one dtype; integers divide toward zero, and by zero give any value."""
    def elu(self, *inputs: Operand, alpha: float = ...) -> Value:
        """Exponential linear unit."""
    def equal(self, *inputs: Operand) -> Value:
        """True where a and b are the same; False where either is NaN. Strings compare too."""
    def erf(self, *inputs: Operand) -> Value:
        """2/√π ∫₀ˣ exp(-t²) dt."""
    def exp(self, *inputs: Operand) -> Value:
        """Exponential of each element."""
    def expand(self, *inputs: Operand, shape: tuple[Dim, ...]) -> Value:
        """x repeated along its axes of size 1, and along new leading ones, to exactly `shape`."""
    def expm1(self, *inputs: Operand) -> Value:
        """exp x - 1, without cancellation near 0."""
    def eye(self, *inputs: Operand, rows: Dim, columns: Dim, k: int = ..., dtype: DType = ...) -> Value:
        """[rows, columns]: 1 where column = row + k, else 0."""
    def floor(self, *inputs: Operand) -> Value:
        """x rounded down; the dtype stays."""
    def from_dims(self, *inputs: Operand, dims: tuple[Dim, ...], shape: tuple[int, ...], dtype: DType = ...) -> Value:
        """Tensor of `shape` holding `dims` in row-major order."""
    def gather(self, *inputs: Operand, axis: int = ...) -> Value:
        """out[…, *j, …] = x[…, indices[*j], …] at `axis`; negative indices count from the end."""
    def gather_elements(self, *inputs: Operand, axis: int = ...) -> Value:
        """out[i, j, k] = x[i, indices[i, j, k], k] for axis 1; negative indices count from the end."""
    def gather_nd(self, *inputs: Operand, batch_dims: int = ...) -> Value:
        """out[*b, *j, *rest] = x[*b, *indices[*b, *j], *rest], where b are `batch_dims` leading axes of both."""
    def gelu(self, *inputs: Operand, tanh: bool = ...) -> Value:
        """x (1 + erf(x / √2)) / 2; with `tanh` the approximation x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2."""
    def greater(self, *inputs: Operand) -> Value:
        """True where a > b; False where either is NaN."""
    def greater_or_equal(self, *inputs: Operand) -> Value:
        """True where a ≥ b; False where either is NaN."""
    def grid_sample(self, *inputs: Operand, mode: Literal['linear', 'nearest', 'cubic'] = ..., padding: Literal['zeros', 'border', 'reflection'] = ..., align_corners: bool = ..., folds_taps: bool = ...) -> Value:
        """out[n, c, *o] = x[n, c] at position grid[n, *o], whose coordinates go from -1 to 1, last axis first."""
    def group_normalization(self, *inputs: Operand, groups: Dim, epsilon: float = ...) -> Value:
        """scale[c] (x - mean) / √(variance + epsilon) + bias[c], moments over each of `groups` runs of channels."""
    def gru(self, *inputs: Operand, direction: str = ..., activations: tuple[str, ...] = ..., alphas: tuple[float, ...] = ..., betas: tuple[float, ...] = ..., clip: float = ..., linear_before_reset: bool = ..., out_dtype: DType | None = ..., allow_tf32: bool = ...) -> tuple[Value, ...]:
        """Gates in the order update, reset, hidden."""
    def hard_sigmoid(self, *inputs: Operand, alpha: float = ..., beta: float = ...) -> Value:
        """A piecewise linear sigmoid."""
    def hard_swish(self, *inputs: Operand) -> Value:
        """The piecewise swish of MobileNetV3."""
    def hardmax(self, *inputs: Operand, axis: int = ...) -> Value:
        """One-hot of the first largest element of each line along `axis`."""
    def histogram(self, *inputs: Operand, bins: int) -> tuple[Value, ...]:
        """Counts of |x| in `bins` equal bins from 0 to a limit, i32 [bins], and what was seen, f32 [3]."""
    def identity(self, *inputs: Operand) -> Value:
        """A copy of x, where one is needed: a graph output that is also an input."""
    def if_(self, *inputs: Operand, then: Region, otherwise: Region, then_inputs: int, types: tuple[TensorType, ...], sizes: tuple[Dim, ...] = ...) -> Value:
        """Outputs of `then` where input 0 (bool, one element) is true, else of `otherwise`."""
    def iota(self, *inputs: Operand, count: Dim, dtype: DType = ...) -> Value:
        """The integers below `count`, as `dtype`."""
    def is_inf(self, *inputs: Operand, positive: bool = ..., negative: bool = ...) -> Value:
        """True where x is +inf (if `positive`) or -inf (if `negative`)."""
    def is_nan(self, *inputs: Operand) -> Value:
        """True where x is NaN."""
    def layer_normalization(self, *inputs: Operand, axis: int = ..., epsilon: float = ...) -> Value:
        """scale (x - mean) / √(variance + epsilon) + bias, moments over all axes from `axis` on."""
    def leaky_relu(self, *inputs: Operand, alpha: float = ...) -> Value:
        """Rectifier with a small slope below 0."""
    def less(self, *inputs: Operand) -> Value:
        """True where a < b; False where either is NaN."""
    def less_or_equal(self, *inputs: Operand) -> Value:
        """True where a ≤ b; False where either is NaN."""
    def log(self, *inputs: Operand) -> Value:
        """log x; -inf at 0, NaN below."""
    def log1p(self, *inputs: Operand) -> Value:
        """log(1 + x), exact near 0; -inf at -1, NaN below."""
    def log_softmax(self, *inputs: Operand, axis: int = ...) -> Value:
        """log softmax of each line of x along `axis`, without underflow. f16 and bf16 are computed in f32."""
    def logical_and(self, *inputs: Operand) -> Value:
        """a and b of two boolean tensors."""
    def logical_not(self, *inputs: Operand) -> Value:
        """True where x is False."""
    def logical_or(self, *inputs: Operand) -> Value:
        """a or b of two boolean tensors."""
    def logical_xor(self, *inputs: Operand) -> Value:
        """a exclusive-or b of two boolean tensors."""
    def loop(self, *inputs: Operand, body: Region, carried: int, rounds: Dim, shapes: tuple[tuple[Dim, ...], ...] = ..., sizes: tuple[Dim, ...] = ...) -> Value:
        """`body` again and again, until it says no or has run as often as input 0 (i64) says; never if input 1 is false."""
    def lp_pool(self, *inputs: Operand, kernel: tuple[int, ...], p: float = ..., strides: tuple[int, ...] = ..., pads: tuple[int, ...] = ..., dilations: tuple[int, ...] = ..., ceil_mode: bool = ..., auto_pad: Literal['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'] = ...) -> Value:
        """(Σ |x|^p)^(1/p) of each window of x[N, C, spatial…]; padding counts as zeros. Attributes as in average_pool."""
    def lrn(self, *inputs: Operand, size: int, alpha: float = ..., beta: float = ..., bias: float = ...) -> Value:
        """x / (bias + alpha / size Σ x²)^beta, the sum over `size` neighbouring channels (axis 1), cut off at the ends."""
    def lstm(self, *inputs: Operand, direction: str = ..., activations: tuple[str, ...] = ..., alphas: tuple[float, ...] = ..., betas: tuple[float, ...] = ..., clip: float = ..., input_forget: bool = ..., out_dtype: DType | None = ..., allow_tf32: bool = ...) -> tuple[Value, ...]:
        """Gates in the order input, output, forget, cell."""
    def matmul(self, *inputs: Operand, out_dtype: DType | None = ..., allow_tf32: bool = ...) -> Value:
        """out[..., m, n] = Σ_k a[..., m, k] * b[..., k, n]."""
    def max(self, *inputs: Operand) -> Value:
        """The larger of a and b; NaN when either is NaN."""
    def max_pool(self, *inputs: Operand, kernel: tuple[int, ...], strides: tuple[int, ...] = ..., pads: tuple[int, ...] = ..., dilations: tuple[int, ...] = ..., ceil_mode: bool = ..., storage_order: int = ..., indices: bool = ..., auto_pad: Literal['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'] = ...) -> Value:
        """Largest element of each window of x[N, C, spatial…]; padding never wins; NaN wins always."""
    def min(self, *inputs: Operand) -> Value:
        """The smaller of a and b; NaN when either is NaN."""
    def mish(self, *inputs: Operand) -> Value:
        """The self-gated activation of Misra, arXiv:1908.08681."""
    def mod(self, *inputs: Operand) -> Value:
        """a - floor(a / b) * b, as Python's %."""
    def mul(self, *inputs: Operand) -> Value:
        """Product of two tensors of one dtype; integers wrap around."""
    def neg(self, *inputs: Operand) -> Value:
        """Negation; integers wrap around."""
    def non_max_suppression(self, *inputs: Operand, count: Dim, limit: Dim, centre: bool = ...) -> Value:
        """i64 [count, 3]: batch, class, box of each box kept, by batch, class and falling score (ties: lower box first)."""
    def non_zero(self, *inputs: Operand, count: Dim) -> Value:
        """Indices of the elements that are not zero, in row-major order: i64 [rank, count]; NaN is not zero."""
    def normalised_matmul(self, *inputs: Operand, epsilon: float = ..., out_dtype: DType | None = ..., allow_tf32: bool = ...) -> Value:
        """out[..., n] = Σ_k (x[..., k] - mean) / √(variance + epsilon) * w[k, n], moments over the last axis of x."""
    def one_hot(self, *inputs: Operand, depth: Dim, axis: int = ...) -> Value:
        """A new axis of size `depth` at `axis` of the result: values[1] where it equals the index, else values[0]."""
    def pad(self, *inputs: Operand, before: tuple[Dim, ...], after: tuple[Dim, ...], mode: Literal['constant', 'reflect', 'edge', 'wrap'] = ...) -> Value:
        """`before[a]` and `after[a]` elements on axis a; negative numbers take elements off."""
    def pow(self, *inputs: Operand) -> Value:
        """Power of two tensors of one dtype."""
    def prelu(self, *inputs: Operand) -> Value:
        """Rectifier whose slope below 0 is a second tensor, broadcast to x."""
    def quantize_linear(self, *inputs: Operand, dtype: DType, axis: int = ..., block: int = ..., saturate: bool = ...) -> Value:
        """round(x / scale) + zero_point as `dtype`, halves to even, saturated; to 8-bit floats x / scale, rounded once."""
    def range(self, *inputs: Operand, count: Dim) -> Value:
        """start + i * delta for i < ceil((limit - start) / delta); the three inputs are scalars known at run time."""
    def reciprocal(self, *inputs: Operand) -> Value:
        """Reciprocal of each element."""
    def reduce_all(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """True where all elements over `axes` are (empty: all); True over no elements."""
    def reduce_any(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """True where any element over `axes` is (empty: all); False over no elements."""
    def reduce_l1(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """Σ |x| over `axes` (empty: all)."""
    def reduce_l2(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """√(Σ x²) over `axes` (empty: all); of integers rounded toward zero."""
    def reduce_log_sum(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """log Σ x over `axes` (empty: all); -inf over no elements."""
    def reduce_log_sum_exp(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """log Σ exp x over `axes` (empty: all), without overflow; -inf over no elements."""
    def reduce_max(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """The largest x over `axes` (empty: all); NaN when any is NaN; the lowest value over no elements."""
    def reduce_mean(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """Σ x / count over `axes` (empty: all); integers divide toward zero."""
    def reduce_min(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """The smallest x over `axes` (empty: all); NaN when any is NaN; the highest value over no elements."""
    def reduce_prod(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """Π x over `axes` (empty: all); 1 over no elements. Integers wrap around."""
    def reduce_sum(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """Σ x over `axes` (empty: all); 0 over no elements. Integers wrap around."""
    def reduce_sum_square(self, *inputs: Operand, axes: tuple[int, ...] = ..., keepdims: bool = ...) -> Value:
        """Σ x² over `axes` (empty: all)."""
    def relayout(self, *inputs: Operand, order: tuple[int, ...], row_pad: int = ...) -> Value:
        """x with its axes in memory order `order` (outermost first) and rows padded by `row_pad` elements."""
    def relu(self, *inputs: Operand) -> Value:
        """x where x > 0, else 0."""
    def rem(self, *inputs: Operand) -> Value:
        """a - trunc(a / b) * b, as C's % and fmod."""
    def reshape(self, *inputs: Operand, shape: tuple[Dim, ...]) -> Value:
        """x with `shape`, which is solved: no -1, and 0 means no elements."""
    def resize(self, *inputs: Operand, sizes: tuple[Dim, ...], scales: tuple[float, ...] = ..., mode: Literal['nearest', 'linear', 'cubic'] = ..., coordinates: Literal['half_pixel', 'half_pixel_symmetric', 'pytorch_half_pixel', 'align_corners', 'asymmetric', 'tf_half_pixel_for_nn', 'tf_crop_and_resize'] = ..., rounding: Literal['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'] = ..., cubic_a: float = ..., exclude_outside: bool = ..., roi: tuple[float, ...] = ..., extrapolation: float = ...) -> Value:
        """x resampled to `sizes` (one for each axis; equal sizes and scale 1 leave an axis alone)."""
    def reverse_sequence(self, *inputs: Operand, time_axis: int = ..., batch_axis: int = ...) -> Value:
        """Along `time_axis` the first lengths[b] elements of batch entry b are reversed; the others stay."""
    def rms_normalization(self, *inputs: Operand, axis: int = ..., epsilon: float = ...) -> Value:
        """scale x / √(mean x² + epsilon), the mean over all axes from `axis` on. f16 and bf16 are computed in f32."""
    def rnn(self, *inputs: Operand, direction: str = ..., activations: tuple[str, ...] = ..., alphas: tuple[float, ...] = ..., betas: tuple[float, ...] = ..., clip: float = ..., out_dtype: DType | None = ..., allow_tf32: bool = ...) -> tuple[Value, ...]:
        """H = f(x W + h R + b). Inputs: those of Recurrent. Outputs: Y [T, D, B, H], the last h [D, B, H]."""
    def roi_align(self, *inputs: Operand, height: int, width: int, ratio: int = ..., scale: float = ..., half_pixel: bool = ..., combine: Literal['mean', 'max'] = ...) -> Value:
        """[regions, c, height, width]: each bin combines bilinear samples on a regular grid inside it."""
    def round(self, *inputs: Operand) -> Value:
        """x rounded; the dtype stays."""
    def rsqrt(self, *inputs: Operand) -> Value:
        """Reciprocal square root."""
    def scatter_elements(self, *inputs: Operand, axis: int = ..., combine: Literal['none', 'add', 'mul', 'max', 'min'] = ...) -> Value:
        """out = x; then out[i, indices[i, j, k], k] is updates[i, j, k] or combined with it (axis 1), in row-major order."""
    def scatter_nd(self, *inputs: Operand, combine: Literal['none', 'add', 'mul', 'max', 'min'] = ...) -> Value:
        """out = x; then out[indices[*j]] is updates[*j] or combined with it, in row-major order of j."""
    def selu(self, *inputs: Operand, alpha: float = ..., gamma: float = ...) -> Value:
        """Scaled exponential linear unit; the defaults are those of Klambauer et al., arXiv:1706.02515."""
    def shrink(self, *inputs: Operand, lambd: float = ..., bias: float = ...) -> Value:
        """x + bias below -lambd, x - bias above lambd, else 0: with bias lambd soft, with bias 0 hard shrinkage."""
    def sigmoid(self, *inputs: Operand) -> Value:
        """1 / (1 + exp(-x))."""
    def sign(self, *inputs: Operand) -> Value:
        """Sign of each element; NaN stays NaN."""
    def silu(self, *inputs: Operand, alpha: float = ...) -> Value:
        """x sigmoid(alpha x); with alpha 1 the sigmoid linear unit."""
    def sin(self, *inputs: Operand) -> Value:
        """sin x, radians."""
    def sinh(self, *inputs: Operand) -> Value:
        """(exp x - exp -x) / 2, without cancellation near 0 or early overflow."""
    def slice(self, *inputs: Operand, starts: tuple[Dim, ...], ends: tuple[Dim, ...], axes: tuple[int, ...], steps: tuple[int, ...] = ...) -> Value:
        """numpy's basic slicing. Negative starts and ends count from the end, both are clamped; steps may be negative."""
    def softmax(self, *inputs: Operand, axis: int = ...) -> Value:
        """Normalises each line of x along `axis` to sum to one; lines that are all -inf give NaN, as in ONNX."""
    def softplus(self, *inputs: Operand) -> Value:
        """A smooth maximum of x and 0; exp never overflows here."""
    def softsign(self, *inputs: Operand) -> Value:
        """x squeezed into (-1, 1)."""
    def sqrt(self, *inputs: Operand) -> Value:
        """√x; NaN below 0."""
    def sub(self, *inputs: Operand) -> Value:
        """Difference of two tensors of one dtype; integers wrap around."""
    def tan(self, *inputs: Operand) -> Value:
        """tan x, radians."""
    def tanh(self, *inputs: Operand) -> Value:
        """tanh x in [-1, 1]."""
    def tensor_scatter(self, *inputs: Operand, axis: int = ..., is_circular: bool = ...) -> Value:
        """out = cache, but out[b, …, start[b] + s, …] = update[b, …, s, …] at `axis`."""
    def thresholded_relu(self, *inputs: Operand, alpha: float = ...) -> Value:
        """Rectifier with a threshold; NaN gives 0, as no comparison holds."""
    def tile(self, *inputs: Operand, repeats: tuple[Dim, ...]) -> Value:
        """Axis a is `repeats[a]` copies of x's axis a, one after another."""
    def top_k(self, *inputs: Operand, k: Dim, axis: int = ..., largest: bool = ...) -> tuple[Value, ...]:
        """Outputs: values, and i64 indices, sorted; of equal elements the one with the lower index comes first."""
    def transpose(self, *inputs: Operand, perm: tuple[int, ...]) -> Value:
        """Output axis k is input axis perm[k]."""
    def trilu(self, *inputs: Operand, upper: bool = ..., k: int = ...) -> Value:
        """x with zeros below (`upper`) or above diagonal `k` of its last two axes; an input 1, a scalar, is added to k."""
    def trunc(self, *inputs: Operand) -> Value:
        """x rounded toward zero; the dtype stays."""
    def unique(self, *inputs: Operand, count: Dim, axis: int = ..., is_sorted: bool = ...) -> tuple[Value, ...]:
        """Outputs: the different slices along `axis`, then i64: first place of each, which of them each slice is, counts."""
    def where(self, *inputs: Operand) -> Value:
        """Chooses between two tensors of one dtype (strings too) by a boolean one."""
