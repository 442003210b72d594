"""Every spelling of torch's operators against eager torch: on the samples of torch's own OpInfos, and on ours.

A sample is recorded as the calls that the front end would import (aten_calls), and each call becomes a model that the
interpreter runs; the first of each operator is also built as an engine. `expected/aten.txt` says which operators have no
spelling, and which forms of the others are refused, with reasons; what is listed and works fails too.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="torch's OpInfos need it")

from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

from engineworks.api import build  # noqa: E402
from engineworks.errors import UnsupportedOperator  # noqa: E402
from engineworks.frontends.importer import import_model  # noqa: E402
from engineworks.ir.interpret import interpret  # noqa: E402
from tests.conformance.aten_calls import SPELLED, Call, disagreement, model_of, record  # noqa: E402
from tests.conformance.aten_samples import SAMPLES  # noqa: E402

DTYPES = (torch.float32, torch.int64, torch.bool)
SAMPLES_EACH = 4
"""Of an OpInfo and a dtype, spread over its list."""
ON_GPUS = {
    f"aten._scaled_dot_product_{kernel}_attention.default" for kernel in ("flash", "efficient", "cudnn")
}
"""What PyTorch calls on GPUs alone: tests/gpu/test_faces.py does."""
INFOS = {info.formatted_name: info for info in op_db if not info.formatted_name.startswith("jiterator")}
Function = Callable[[], Any]


@cache
def _expected() -> tuple[dict[str, str], dict[str, str]]:
    """Reasons by operator without a spelling, and by refused form: "operator in sample"."""
    lines = (Path(__file__).parent / "expected" / "aten.txt").read_text().splitlines()
    found = dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))
    forms = {key: reason for key, reason in found.items() if " in " in key}
    return {key: reason for key, reason in found.items() if key not in forms}, forms


def _functions(name: str, count: int) -> Iterator[Function]:
    """What to call: our sample of that name, or some of an OpInfo's."""
    if name in SAMPLES:
        yield SAMPLES[name]
        return
    info = INFOS[name]
    for dtype in DTYPES:
        if dtype not in info.dtypes:
            continue
        torch.manual_seed(0)
        random.seed(0)
        samples = list(info.sample_inputs("cpu", dtype, requires_grad=False))
        for sample in samples[:: max(1, len(samples) // count)][:count]:
            yield lambda sample=sample: info.op(sample.input, *sample.args, **sample.kwargs)


@cache
def _recorded(name: str, count: int) -> tuple[tuple[Call, ...], frozenset[str]]:
    """The different calls that an entry makes, and what it reaches that has no spelling."""
    calls: dict[Any, Call] = {}
    unspelled: set[str] = set()
    for function in _functions(name, count):
        try:
            made = record(function)
        except (NotImplementedError, RuntimeError) as error:
            if "not implemented for" not in str(error):
                raise
            continue  # a decomposition that torch has for other dtypes only
        calls |= {call.signature: call for call in made.calls if not call.has_complex}
        unspelled |= made.unspelled
    return tuple(calls.values()), frozenset(unspelled)


_seen: set[Any] = set()
_built: Counter[str] = Counter()


def _fault(call: Call) -> str:
    """'' when the model of the call computes what torch does, '?' when its form is refused."""
    try:
        model, feeds = _model(call)
        graph = import_model(model)
    except UnsupportedOperator:
        return "?"
    fault = disagreement(call, interpret(graph, feeds))
    if fault or _built[call.kind]:
        return fault
    _built[call.kind] += 1
    engine = build(graph, effort=0, timing_cache=False, threads=1)
    fault = disagreement(call, engine(**feeds))
    return f"as an engine, {fault}" if fault else ""


def _model(call: Call) -> Any:
    """With all outputs, else with the first alone: the others may be of training only."""
    try:
        model, feeds = model_of(call)
        import_model(model)
    except UnsupportedOperator:
        if len(call.outputs) == 1:
            raise
        return model_of(call, first_only=True)
    return model, feeds


@pytest.mark.parametrize("name", [*SAMPLES, *INFOS])
@pytest.mark.filterwarnings("ignore")
def test_calls_compute_what_torch_computes(name: str) -> None:
    calls, unspelled = _recorded(name, SAMPLES_EACH)
    reasons, forms = _expected()
    assert sorted(unspelled - reasons.keys()) == [], (
        "have neither a spelling nor a reason in expected/aten.txt"
    )
    refused = {key for key in forms if key.endswith(f" in {name}")}
    faults = []
    for call in calls:
        form = f"{call.kind} in {name}"
        if call.signature in _seen and form not in refused:
            continue
        fault = _fault(call)
        if fault == "?":
            assert form in forms, f"{form} is refused without a reason in expected/aten.txt: {call.signature}"
            refused.discard(form)
            continue
        _seen.add(call.signature)
        faults += [f"{fault} {call.signature}"] if fault else []
    assert faults == []
    assert sorted(refused) == [], "works now; take it out of expected/aten.txt"


def test_every_spelling_is_called_by_a_sample_and_every_reason_is_needed() -> None:
    called: set[str] = set()
    unspelled: set[str] = set()
    for name in [*SAMPLES, *INFOS]:
        calls, missing = _recorded(name, SAMPLES_EACH)
        called |= {call.kind for call in calls}
        unspelled |= missing
    assert sorted(SPELLED - called - ON_GPUS) == []
    reasons, _ = _expected()
    assert sorted(reasons.keys() - unspelled - _core()) == [], "nothing needs these reasons"


def test_every_core_operator_has_a_spelling_or_a_reason() -> None:
    reasons, _ = _expected()
    assert sorted(_core() - SPELLED - reasons.keys()) == []
    assert sorted(reasons.keys() & SPELLED) == []


def _core() -> set[str]:
    """The operators that torch tags as core ATen."""
    packets = (getattr(torch.ops.aten, name) for name in dir(torch.ops.aten))
    found = [
        getattr(packet, overload)
        for packet in packets
        if hasattr(packet, "overloads")
        for overload in packet.overloads()
    ]
    return {str(op) for op in found if torch.Tag.core in op.tags}
