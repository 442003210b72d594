"""PyTorch's and TensorRT's names on a real GPU: modules, operators, streams and addresses where the data lies."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest

from engineworks.errors import Error, InvalidInput, Unsupported

torch = pytest.importorskip("torch", reason="modules and tensors are torch's")

import engineworks as ew  # noqa: E402
import engineworks.tensorrt as trt  # noqa: E402
from engineworks import torch_tensorrt  # noqa: E402
from engineworks.torch_tensorrt.operator import open_engine  # noqa: E402
from tests.unit.torch_tensorrt.networks import perceptron  # noqa: E402

pytestmark = pytest.mark.gpu
PLAIN = {"optimization_level": 0, "disable_tf32": True}
"""Kernels are predicted, and f32 is computed in f32."""


def x_of(batch: int) -> Any:
    return torch.linspace(-1, 1, 8 * batch, device="cuda").reshape(batch, 8)


@pytest.fixture(scope="module")
def compiled() -> Any:
    """The perceptron for batches of 1 to 16."""
    inputs = [torch_tensorrt.Input(min_shape=(1, 8), opt_shape=(4, 8), max_shape=(16, 8))]
    return torch_tensorrt.compile(perceptron().cuda(), inputs=inputs, **PLAIN)


@pytest.fixture
def on_cpu() -> Any:
    return torch_tensorrt.compile(perceptron(), inputs=[torch.ones(2, 8)], optimization_level=0)


def close(found: Any, expected: Any, part: float = 1e-4) -> None:
    """No further apart than this part of the largest expected value."""
    assert found.device == expected.device
    assert found.dtype == expected.dtype
    error = (found.double() - expected.double()).abs().max() / expected.double().abs().max()
    assert float(error) < part


# -- engineworks.build and load
@torch.no_grad()
def test_a_module_on_the_gpu_is_built_for_it() -> None:
    module = perceptron().cuda()
    engine = ew.build(module, args=(x_of(3),), effort=0, tf32=False)
    assert engine.manifest.target.device == "cuda"
    close(engine(input=x_of(3))["output"], module(x_of(3)))
    again = ew.load(engine.serialize(), device=torch.cuda.current_device())
    close(again(input=x_of(3))["output"], module(x_of(3)))


@torch.no_grad()
def test_an_exported_program_of_it_is_too() -> None:
    program = torch.export.export(perceptron().cuda(), (x_of(3),))
    assert ew.build(program, effort=0).manifest.target.device == "cuda"


def test_a_target_that_is_given_counts() -> None:
    engine = ew.build(perceptron().cuda(), args=(x_of(3),), effort=0, target="cpu")
    assert engine.manifest.target.device == "cpu"


def test_a_gpu_that_is_not_there_is_refused() -> None:
    engine = ew.build(perceptron().cuda(), args=(x_of(3),), effort=0)
    with pytest.raises(Error):
        ew.load(engine.serialize(), device=torch.cuda.device_count())


# -- torch_tensorrt.compile
@torch.no_grad()
def test_a_compiled_module_takes_and_gives_tensors_there(compiled: Any) -> None:
    for batch in (1, 3, 16):
        close(compiled(x_of(batch)), perceptron().cuda()(x_of(batch)))


@torch.no_grad()
def test_half_precision_is_permitted() -> None:
    module = perceptron().cuda()
    halves = torch_tensorrt.compile(
        module, inputs=[x_of(4)], enabled_precisions={torch.half}, optimization_level=0
    )
    close(halves(x_of(4)), module(x_of(4)), 1e-2)
    of_halves = torch_tensorrt.compile(module.half(), inputs=[x_of(4).half()], optimization_level=0)
    close(of_halves(x_of(4).half()), module(x_of(4).half()), 1e-2)


@torch.no_grad()
def test_bfloat16_and_integers_go_in_and_out() -> None:
    class Choosing(torch.nn.Module):
        def forward(self, x: Any, i: Any) -> Any:
            return x[i] * 2, i + 1, x > 0

    x, i = x_of(4).bfloat16(), torch.tensor([3, 1], device="cuda")
    found = torch_tensorrt.compile(Choosing(), inputs=[x, i], optimization_level=0)(x, i)
    for one, expected in zip(found, Choosing()(x, i), strict=True):
        assert torch.equal(one, expected)


@torch.no_grad()
def test_the_file_runs_in_torchscript_alone(compiled: Any) -> None:
    file = io.BytesIO()
    torch.jit.save(compiled, file)
    expected = compiled(x_of(3))
    for where in (None, "cuda", "cpu"):
        file.seek(0)
        assert torch.equal(torch.jit.load(file, map_location=where)(x_of(3)), expected)
    assert torch.equal(copy.deepcopy(compiled)(x_of(3)), expected)


@torch.no_grad()
def test_the_exported_program_of_it_runs(compiled: Any, tmp_path: Any) -> None:
    torch_tensorrt.save(compiled, tmp_path / "m.pt2", inputs=[x_of(3)])
    program = torch_tensorrt.load(tmp_path / "m.pt2")
    assert torch.equal(program.module()(x_of(3)), compiled(x_of(3)))


def test_it_stays_on_its_gpu(compiled: Any) -> None:
    assert compiled.to("cuda") is compiled.cuda() is compiled
    with pytest.raises(Unsupported, match=r"cannot move to 'cpu'.*compile model.cpu\(\)"):
        compiled.cpu()


def test_tensors_elsewhere_are_refused_with_the_way_there(compiled: Any, on_cpu: Any) -> None:
    with pytest.raises(InvalidInput, match=r"lies on cpu; this engine computes on cuda:0. Move it: input.to"):
        compiled(torch.ones(2, 8))
    with pytest.raises(InvalidInput, match=r"lies on cuda:0; this engine computes on cpu. Move it: input.to"):
        on_cpu(x_of(2))


@torch.no_grad()
def test_work_is_of_the_current_stream_and_nothing_waits(compiled: Any) -> None:
    compiled(x_of(3))
    stream = torch.cuda.Stream()
    base = x_of(3)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        y = compiled(base * 2) + 1
        assert not stream.query(), "the call waited for the GPU"
    stream.synchronize()
    close(y, perceptron().cuda()(x_of(3) * 2) + 1)


class Decomposing(torch.nn.Module):
    """A product, a QR decomposition (no engine has one) and a product, with a constant made on the way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.last = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        square = torch.relu(self.first(x)).T @ x + torch.eye(8, device=x.device)
        return self.last(torch.linalg.qr(square).Q).softmax(-1)


@torch.no_grad()
def test_parts_in_pytorch_run_on_the_same_gpu() -> None:
    module = Decomposing().cuda()
    x = torch.randn(3, 8, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    compiled = torch_tensorrt.compile(module, inputs=[x], min_block_size=1, **PLAIN)
    assert [e.operator for e in compiled.report.eager] == ["aten.linalg_qr.default"]
    close(compiled(x), module(x), 1e-3)
    file = io.BytesIO()
    torch.jit.save(compiled, file)
    file.seek(0)
    close(torch.jit.load(file)(x), module(x), 1e-3)


@torch.no_grad()
def test_what_lies_on_the_cpu_stays_in_pytorch() -> None:
    class Mixing(torch.nn.Module):
        def forward(self, x: Any, s: Any) -> Any:
            return torch.relu(x * s) + torch.arange(8).to(x.device)

    program = torch.export.export(Mixing(), (x_of(3), torch.tensor(2.0)))
    compiled = torch_tensorrt.dynamo.compile(program, inputs=[], min_block_size=1, **PLAIN)
    close(compiled(x_of(3), torch.tensor(2.0)), Mixing()(x_of(3), torch.tensor(2.0)))


@torch.no_grad()
def test_convolutions_norms_and_recurrent_layers_are_in_engines() -> None:
    torch.manual_seed(0)
    nn = torch.nn
    images = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.GroupNorm(2, 8), nn.Flatten()
    ).eval().cuda()  # fmt: skip
    x = torch.randn(2, 3, 18, 18, device="cuda")
    for module, given in ((images, x), (nn.LSTM(8, 16, batch_first=True).eval().cuda(), x_of(4)[None])):
        compiled = torch_tensorrt.compile(module, inputs=[given], require_full_compilation=True, **PLAIN)
        found, expected = compiled(given), module(given)
        close(found[0], expected[0], 1e-3)


def test_devices_are_stated_and_refused() -> None:
    module, x = perceptron(), x_of(2)
    for device in ("cuda:0", torch_tensorrt.Device(gpu_id=0), torch.device("cuda", 0)):
        stated = torch_tensorrt.compile(module.cuda(), inputs=[x], device=device, **PLAIN)
        assert stated.device.type == "cuda"
    with pytest.raises(Unsupported, match=r"device=cuda:0, and the model lies on cpu"):
        torch_tensorrt.compile(perceptron(), inputs=[x.cpu()], device="cuda:0", **PLAIN)
    with pytest.raises(Unsupported, match="device=cpu, and the model lies on cuda:0"):
        torch_tensorrt.compile(module.cuda(), inputs=[x], device="cpu", **PLAIN)


def test_hardware_compatible_engines_say_so() -> None:
    module = torch_tensorrt.compile(perceptron().cuda(), inputs=[x_of(2)], hardware_compatible=True, **PLAIN)
    assert open_engine(module.engine_0).engine.manifest.target.compatible == "same_compute_capability"


@torch.no_grad()
def test_results_that_are_constants_lie_there_too() -> None:
    class Constant(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.arange(6.0))

        def forward(self, x: Any) -> Any:
            return x + 1, self.table * 2

    found = torch_tensorrt.compile(Constant().cuda(), inputs=[x_of(2)], **PLAIN)(x_of(2))
    assert torch.equal(found[1], torch.arange(6.0, device="cuda") * 2)


# -- torch.compile
@torch.no_grad()
def test_the_backend_follows_sizes_and_weights() -> None:
    torch._dynamo.reset()
    module = perceptron().cuda()
    compiled = torch.compile(module, backend="engineworks", options=PLAIN)
    for batch in (3, 5, 9):
        close(compiled(x_of(batch)), module(x_of(batch)))
    module[0].weight.mul_(-1)
    close(compiled(x_of(5)), module(x_of(5)))


@torch.no_grad()
@pytest.mark.parametrize("kernel", ["FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"])
def test_attention_is_in_engines_whichever_kernel_torch_chooses(kernel: str) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    torch._dynamo.reset()
    q, k, v = torch.randn(3, 2, 4, 16, 64, device="cuda", dtype=torch.half)
    compiled = torch.compile(
        lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True),
        backend="engineworks",
        options=PLAIN | {"require_full_compilation": True},
    )
    with sdpa_kernel(SDPBackend[kernel]):
        found = compiled(q, k, v)
    close(found, scaled_dot_product_attention(q, k, v, is_causal=True), 1e-2)


# -- TensorRT's names
def trt_engine(model: bytes) -> trt.ICudaEngine:
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger, target="cuda")
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(model)
    config = builder.create_builder_config()
    config.builder_optimization_level = 0
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 8), (2, 8), (8, 8))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    assert engine is not None
    return engine


def test_device_addresses_are_executed_in_the_callers_stream() -> None:
    pytest.importorskip("onnx", reason="the model is ONNX")
    from tests.unit.tensorrt.models import WEIGHT, make_model

    engine = trt_engine(make_model("N"))
    assert engine.get_tensor_location("x") is trt.TensorLocation.DEVICE
    context, weight = engine.create_execution_context(), torch.from_numpy(WEIGHT).cuda()
    stream = torch.cuda.Stream()
    x, y = x_of(5), torch.empty(5, 4, device="cuda")
    context.set_input_shape("x", (5, 8))
    context.set_tensor_address("x", x.data_ptr())
    context.set_tensor_address("y", y.data_ptr())
    assert context.execute_async_v3(stream.cuda_stream)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        x.mul_(3)
        assert context.execute_async_v3(stream.cuda_stream)
        assert not stream.query(), "the call waited for the GPU"
    stream.synchronize()
    expected = torch.relu(x.double() @ weight.double()).float()
    close(y, expected)
    y.zero_()
    assert context.execute_v2([x.data_ptr(), y.data_ptr()])
    close(y, expected)
