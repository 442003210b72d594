"""Every example of a convolution or pooling, by every family of ours that claims it, against the op's meaning."""

from collections.abc import Iterator

import numpy as np
import pytest

from engineworks.codegen.triton.function import KernelFunction
from engineworks.core.types import Layout, TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.conv import CudaConv
from engineworks.kernels.cuda.conv_direct import CudaConvDirect
from engineworks.kernels.cuda.conv_pointwise import CudaConvPointwise
from engineworks.kernels.cuda.conv_transpose import CudaConvTranspose
from engineworks.kernels.cuda.depthwise import CudaDepthwise
from engineworks.kernels.cuda.pool import CudaPool
from engineworks.kernels.tactic import KernelImage
from engineworks.kernels.workload import Operand, Workload
from engineworks.testing.gpu_kernels import interpret_image
from engineworks.testing.inputs import cases
from tests.unit.kernels.cuda.conv_gpu_case import H200

OPS = ("conv", "conv_transpose", "max_pool", "average_pool", "lp_pool")
FAMILIES = (
    CudaConv(), CudaConvDirect(), CudaConvPointwise(), CudaConvTranspose(), CudaDepthwise(), CudaPool(),
)  # fmt: skip
CASES = {case.label: case for case in cases() if case.kind.name in OPS}


def workload(case, *, last):
    """With x and the first output channels-last or row-major."""
    graph = case.graph()
    types = [v.type if v is not None else None for v in graph.nodes[-1].inputs]
    outputs = [v.type for v in graph.nodes[-1].outputs]
    if last:
        order = Layout((0, *range(2, outputs[0].rank), 1))
        types[0], outputs[0] = types[0].with_layout(order), outputs[0].with_layout(order)
    constant = [s is not None and s.constant for s in case.example.inputs]
    operands = [None if t is None else Operand(t, c) for t, c in zip(types, constant, strict=True)]
    return Workload(case.op, tuple(operands), len(operands), tuple(outputs))


def images(work) -> Iterator[tuple[str, KernelImage]]:
    """The predicted image of each family that claims the workload."""
    for family in FAMILIES:
        try:
            (tactic,) = family.propose(work, H200, 0)
        except NoTactic:
            continue
        image = family.build(work, tactic, H200)
        if all(isinstance(f, KernelFunction) for f in image.functions.values()):
            yield tactic.text(), image


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "row-major"])
@pytest.mark.parametrize("label", CASES)
def test_example_equals_its_meaning(label, last):
    case = CASES[label]
    work, arrays = workload(case, last=last), case.arrays()
    wanted = case.op.reference(*arrays)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    given = [None if a is None else (a, o.type) for a, o in zip(arrays, work.inputs, strict=True)]
    tried = 0
    for text, image in images(work):
        tried += 1
        made = interpret_image(image, given, work.outputs, dict(case.dims))
        for ours, theirs, kind in zip(made, wanted, work.outputs, strict=True):
            assert isinstance(kind, TensorType)
            loose = 0 if kind.dtype.is_integer else {16: 5e-3, 32: 5e-5, 64: 1e-10}[kind.dtype.bits]
            np.testing.assert_allclose(
                ours.astype(np.float64), theirs.astype(np.float64), rtol=loose, atol=loose, err_msg=text
            )
    assert tried, "no family claims it"
