"""Single matrix products with constant weights against the peers, interleaved: what the kernels alone are worth.

python -m benchmarks.products [--precision bf16,int8] [--threads 1]

The networks have f32 inputs and outputs, so that every runtime converts them as it would between layers it cannot join.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks import peers, timing, zoo
from benchmarks.zoo import ZooModel

SHAPES = ((128, 768, 768), (128, 3072, 768), (128, 768, 3072), (512, 512, 512), (1, 1024, 1000))
"""Rows, depth, columns: a layer of BERT, a cube, a classifier."""
FOLDER = zoo.CACHE.parent / "products"


def product_model(rows: int, depth: int, columns: int, folder: Path = FOLDER) -> ZooModel:
    """relu(a @ w + bias), written when first asked for."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    name = f"product_{rows}x{depth}x{columns}"
    path = folder / f"{name}.onnx"
    inputs = {"a": rng.standard_normal((rows, depth)).astype(np.float32)}
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        weights = (rng.standard_normal((depth, columns)) / np.sqrt(depth)).astype(np.float32)
        constants = {"w": weights, "bias": rng.standard_normal(columns).astype(np.float32)}
        nodes = [
            helper.make_node("MatMul", ["a", "w"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["out"]),
        ]
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("a", TensorProto.FLOAT, [rows, depth])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, [rows, columns])],
            [numpy_helper.from_array(value, key) for key, value in constants.items()],
        )
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return ZooModel(name, "full", path, inputs, None)


def torch_linear(model: ZooModel, threads: int) -> Callable[[], object]:
    """The same layer in torch, bf16, from bf16 inputs: oneDNN's product and bias, then relu."""
    import torch

    torch.set_num_threads(threads)
    rows, depth, columns = (int(size) for size in model.name.split("_")[1].split("x"))
    layer = torch.nn.Sequential(torch.nn.Linear(depth, columns), torch.nn.ReLU()).to(torch.bfloat16)
    value = torch.randn(rows, depth, dtype=torch.bfloat16)

    def call() -> None:
        with torch.inference_mode():
            layer(value)

    return call


def calls(model: ZooModel, precision: peers.Precision, threads: int) -> Mapping[str, Callable[[], object]]:
    """Our engine and the peers that can run this precision."""
    made = {"engineworks": peers.engineworks(model, threads, folder=FOLDER, precision=precision).call}
    for name in ("openvino", "onnxruntime"):
        try:
            made[name] = peers.PEERS[name](model, threads, precision).call
        except peers.Unavailable:
            continue
    if precision == "bf16":
        made["torch"] = torch_linear(model, threads)
    return made


def main() -> None:
    """Print a line for each shape and precision: our time, and how many times longer the peers take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="fp32,bf16,int8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    for precision in given.precision.split(","):
        for shape in SHAPES:
            model = product_model(*shape)
            taken = timing.interleaved(calls(model, precision, given.threads), given.rounds)
            ours = taken["engineworks"]
            ratios = "; ".join(
                f"{name} {t.median_s / ours.median_s:.2f}x (least {t.minimum_s / ours.minimum_s:.2f}x)"
                for name, t in taken.items()
                if t is not ours
            )
            print(f"{model.name} {precision}: {ours.median_s * 1e6:.0f} us; {ratios}", flush=True)


if __name__ == "__main__":
    main()
