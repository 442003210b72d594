"""ONNX STFT: overlapping frames, weighted by a window, and their transforms."""

import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._spectra import transformed


@from_onnx("STFT")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """[batch, signal length, parts] to [batch, frames, frequencies, 2]."""
    signal, window = n[0], n[2]
    step, asked = n.constant(1, "the step between frames"), n.constant(3, "the length of a frame")
    assert step is not None
    length = (
        int(asked.ravel()[0]) if asked is not None else window.type.shape[0] if window is not None else None
    )
    extent = signal.type.shape[1]
    if not isinstance(length, int) or not isinstance(extent, int):
        raise n.unsupported(
            f"the lengths of frames and signal must be known when the engine is built; here {length} and {extent}"
        )
    starts = np.arange(0, extent - length + 1, int(step.ravel()[0]))
    if signal.type.rank == 2:
        signal = g.unsqueeze(signal, (2,))
    frames = g.gather(signal, g.constant(starts[:, None] + np.arange(length)), axis=1)
    if window is not None:
        frames = g.mul(frames, g.reshape_to(g.cast_to(window, frames.type.dtype), (length, 1)))
    return transformed(g, n, frames, 2, length, inverse=False, one_sided=bool(n.attr("onesided", 1)))
