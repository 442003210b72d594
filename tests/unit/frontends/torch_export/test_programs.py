"""Modules and exported programs become engines: names, structures, sizes, weights, and what is refused."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  after the package is known to be there
from torch.export import Dim, export  # noqa: E402

import engineworks as ew  # noqa: E402
from engineworks.builder.build import build_bytes  # noqa: E402
from engineworks.builder.config import BuildConfig  # noqa: E402
from engineworks.errors import InvalidInput, InvalidModel, MissingExtra, UnsupportedOperator  # noqa: E402
from engineworks.frontends.torch_export.reader import read  # noqa: E402
from engineworks.frontends.torch_export.structure import structure_of  # noqa: E402


class Calls(nn.Module):
    """A module whose forward is a function of its inputs, with buffers."""

    def __init__(self, function, **buffers) -> None:
        super().__init__()
        self.function = function
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, x):
        return self.function(self, x)


X = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 10 - 1
ROWS = {"x": ((1, 6), (4, 6), (9, 6))}


def _ran(function, *, profile=None, x=X, **buffers) -> tuple[ew.Engine, list[np.ndarray]]:
    engine = ew.build(Calls(function, **buffers), args=(X,), profile=profile, effort=0)
    return engine, list(engine.run(x=x.numpy()).values())


def _assert_same(function, *, rows=(4,), profile=None, **buffers) -> None:
    """The engine gives what eager PyTorch gives, for inputs with these numbers of rows."""
    engine = ew.build(Calls(function, **buffers), args=(X,), profile=profile, effort=0)
    for count in rows:
        x = X.repeat(3, 1)[:count].contiguous()
        wanted = torch.utils._pytree.tree_leaves(function(Calls(function, **buffers), x.clone()))
        for have, want in zip(engine.run(x=x.numpy()).values(), wanted, strict=True):
            np.testing.assert_allclose(have, np.asarray(want), rtol=1e-5, atol=1e-6)


# -- names and structures -----------------------------------------------------------------------------------------
def test_inputs_are_called_after_the_parameters_of_forward() -> None:
    class Module(nn.Module):
        def forward(self, Image, *rest, key=None):
            return Image + rest[0]["A b"] + key

    engine = ew.build(Module(), args=(X, {"A b": X}), kwargs={"key": X}, effort=0)
    assert [i.name for i in engine.inputs] == ["Image", "rest_0_A_b", "key"]


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda s, x: x + 1, ["output"]),
        (lambda s, x: (x + 1, x, x), ["output_0", "output_1", "output_2"]),
        (
            lambda s, x: {"logits": x + 1, "hidden": [x + 2, x + 3], "x": x},
            ["logits", "hidden.0", "hidden.1", "x_out"],
        ),
    ],
)
def test_outputs_are_called_after_their_place_in_the_result(function, names) -> None:
    assert read(export(Calls(function), (X,))).output_names == names


def test_structure_gives_the_result_that_forward_would() -> None:
    program = export(Calls(lambda s, x: {"a": x + 1, "rest": (None, 3, x * 2)}), (X,))
    structure = structure_of(program)
    result = structure.result({"a": 1.0, "rest.2": 2.0})
    assert result == {"a": 1.0, "rest": (None, 3, 2.0)}


def test_dataclasses_are_taken_apart_by_field() -> None:
    @dataclasses.dataclass
    class Pair:
        left: torch.Tensor
        right: torch.Tensor

    torch.export.register_dataclass(Pair, serialized_type_name="test_programs.Pair")

    class Module(nn.Module):
        def forward(self, pair):
            return Pair(pair.left + pair.right, pair.left)

    engine = ew.build(Module(), args=(Pair(X, X),), effort=0)
    assert [i.name for i in engine.inputs] == ["pair_left", "pair_right"]
    assert [o.name for o in engine.outputs] == ["left", "right"]


def test_numbers_that_forward_takes_are_part_of_the_engine() -> None:
    class Module(nn.Module):
        def forward(self, x, factor, negate=False):
            return -x * factor if negate else x * factor

    engine = ew.build(Module(), args=(X, 3.0), kwargs={"negate": True}, effort=0)
    assert [i.name for i in engine.inputs] == ["x"]
    np.testing.assert_array_equal(engine.run(x=X.numpy())["output"], -X.numpy() * 3)


# -- functional form ----------------------------------------------------------------------------------------------
def test_writes_through_views_are_seen_by_their_base() -> None:
    def function(module, x):
        z = torch.zeros(x.shape[0], 6)
        z[:, 1:3] = x[:, 1:3]
        z.view(-1)[::2] *= 2
        return z.clamp_(max=0.5)

    _assert_same(function, rows=(1, 4, 9), profile=ROWS)


def test_what_does_nothing_in_an_engine_leaves_no_node() -> None:
    def function(module, x):
        with torch.no_grad():
            y = nn.functional.dropout(x, 0.5, training=False).detach().clone().contiguous()
        return torch.relu(y)

    _assert_same(function)


@pytest.mark.parametrize(
    ("function", "name"),
    [(lambda s, x: s.count.add_(1) + x, "count"), (lambda s, x: x.add_(1) * 2, "x")],
)
def test_state_that_changes_is_refused_by_name(function, name) -> None:
    with pytest.raises(UnsupportedOperator, match=f"forward changes '{name}' in place"):
        _ran(function, count=torch.zeros(1))


def test_the_mode_of_the_module_is_restored() -> None:
    module = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.BatchNorm1d(6))
    module[2].eval()
    ew.build(module, args=(X,), effort=0)
    assert [part.training for part in module] == [True, True, False]


def test_a_condition_on_data_runs_one_of_two_bodies() -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 6)

        def forward(self, x):
            # Both add what a body reads under its own name, so that the names of bodies are seen to be apart.
            y = torch.cond(x.sum() > 0, lambda a: self.linear(a + 1) + 1, lambda a: (a + 2) * 2, (x + 3,))
            return y + 4

    module = Module()
    engine = ew.build(module, args=(X,), profile=ROWS, effort=0)
    for x in (torch.ones(7, 6), -torch.ones(3, 6) * 9):
        np.testing.assert_allclose(
            engine.run(x=x.numpy())["output"], module(x).detach(), rtol=1e-5, atol=1e-5
        )


# -- weights ------------------------------------------------------------------------------------------------------
def test_weights_share_the_memory_of_the_module() -> None:
    module = nn.Linear(6, 5)
    (reader, *_) = read(export(module, (X,))).constants.values()
    assert np.shares_memory(reader(), module.weight.detach().numpy())


def test_tied_weights_are_stored_once() -> None:
    class Tied(nn.Module):
        def __init__(self, is_tied: bool) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
            if is_tied:
                self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(torch.relu(self.first(x)))

    x = torch.ones(4, 64)
    foreign = read(export(Tied(True), (x,)))
    assert len({id(reader()) for reader in foreign.constants.values()}) == 1
    tied, apart = (len(build_bytes(export(Tied(t), (x,)), BuildConfig(effort=0))) for t in (True, False))
    assert tied + 64 * 64 * 4 <= apart


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8, torch.bool])
def test_weights_keep_their_type(dtype) -> None:
    weight = torch.arange(6).to(dtype)
    foreign = read(export(Calls(lambda s, x: x * s.weight.float(), weight=weight), (X,)))
    (array,) = (reader() for reader in foreign.constants.values())
    np.testing.assert_array_equal(array.astype(np.float32), weight.float().numpy())


# -- sizes --------------------------------------------------------------------------------------------------------
def test_sizes_follow_the_input() -> None:
    def function(module, x):
        rows, columns = x.shape
        return {
            "product": x.view(rows * columns // 2, 2).sum(1),
            "left over": x.reshape(-1, 3),
            "count": torch.arange(rows * 2 + 1) % 3,
            "element": torch.full((rows, 2), rows) + columns,
            "divisor": x / rows,
            "factor": rows * x,
            "limit": x[: max(rows // 2, 1)],
            "expand": x.expand(2, -1, -1) + torch.ones(rows, 1),
            "one more": torch.cat([x, x[-1:]]).flip(0),
            "scaled": nn.functional.interpolate(x[None, None], scale_factor=1.5, mode="bilinear"),
            "padded": nn.functional.pad(x, (0, rows)),
            "power": x * rows**-0.5 + (rows + 0.5) / columns,
            "quotient": torch.full((2,), 1 / rows),
        }

    _assert_same(function, rows=(1, 2, 4, 9), profile=ROWS)


def test_a_size_can_be_an_output() -> None:
    engine, _ = _ran(lambda s, x: (x.shape[0] * 2, x + 1), profile=ROWS)
    assert engine.run(x=np.zeros((7, 6), np.float32))["output_0"] == 14


def test_ranges_of_the_export_need_no_profile() -> None:
    rows = Dim("rows", min=1, max=8)
    engine = ew.build(Calls(lambda s, x: x + 1), args=(X,), dynamic_shapes={"x": {0: rows}}, effort=0)
    assert engine.run(x=np.zeros((8, 6), np.float32))["output"].shape == (8, 6)
    with pytest.raises(InvalidInput, match="9"):
        engine.run(x=np.zeros((9, 6), np.float32))


def test_sizes_that_follow_from_another_input_are_known() -> None:
    class Module(nn.Module):
        def forward(self, x, y):
            return x + y[::2]

    rows = Dim("rows", min=1, max=8)
    shapes = {"x": {0: rows}, "y": {0: 2 * rows}}
    engine = ew.build(Module(), args=(X, torch.ones(8, 6)), dynamic_shapes=shapes, effort=0)
    assert engine.run(x=np.ones((3, 6), np.float32), y=np.ones((6, 6), np.float32))["output"].shape == (3, 6)
    with pytest.raises(InvalidInput):
        engine.run(x=np.ones((3, 6), np.float32), y=np.ones((5, 6), np.float32))


def test_one_input_can_bound_the_sizes_of_all() -> None:
    class Module(nn.Module):
        def forward(self, x, y):
            return x + y[::2]

    rows = Dim("rows")
    shapes = {"x": {0: rows}, "y": {0: 2 * rows}}
    program = export(Module(), (X, torch.ones(8, 6)), dynamic_shapes=shapes)
    engine = ew.build(program, profile=ROWS, effort=0)
    assert engine.run(x=np.ones((9, 6), np.float32), y=np.ones((18, 6), np.float32))["output"].shape == (9, 6)


def test_a_profile_beyond_the_limits_of_the_export_is_refused() -> None:
    program = export(Calls(lambda s, x: x + 1), (X,), dynamic_shapes={"x": {0: Dim("rows", min=3, max=8)}})
    with pytest.raises(InvalidModel, match="at least 3 and at most 8"):
        ew.build(program, profile=ROWS, effort=0)


def test_what_the_module_checks_is_checked_at_each_call() -> None:
    def function(module, x):
        torch._check(x.shape[0] % 3 != 1)
        torch._check(x.shape[0] * 6 <= 40)
        torch._check(x.shape[0] % 2 == 0)
        return x + 1

    engine = ew.build(Calls(function), args=(X[:2],), profile={"x": ((2, 6), (2, 6), (64, 6))}, effort=0)
    assert engine.run(x=np.zeros((6, 6), np.float32))["output"].shape == (6, 6)
    with pytest.raises(InvalidInput, match=r"\(x.shape\[0\] % 2\) == 0"):
        engine.run(x=np.zeros((5, 6), np.float32))
    with pytest.raises(InvalidInput, match="<= 40"):
        engine.run(x=np.zeros((8, 6), np.float32))


def test_sizes_that_data_decide_are_outputs_too() -> None:
    _assert_same(lambda s, x: (x[x > 0] * 2, (x > 0).nonzero()))


# -- files and refusals -------------------------------------------------------------------------------------------
def test_a_saved_program_is_built_from_its_path(tmp_path) -> None:
    torch.export.save(export(nn.Linear(6, 5), (X,)), tmp_path / "model.pt2")
    engine = ew.build(tmp_path / "model.pt2", effort=0)
    assert engine.run(input=X.numpy())["output"].shape == (4, 5)


@pytest.mark.parametrize(
    ("name", "message"), [("none.pt2", "there is no file"), ("bad.pt2", "no exported program")]
)
def test_a_file_that_is_no_program_is_refused(name, message, tmp_path) -> None:
    (tmp_path / "bad.pt2").write_text("no archive")
    with pytest.raises(InvalidModel, match=message):
        ew.build(tmp_path / name)


def test_a_program_without_torch_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.export", None)
    with pytest.raises(MissingExtra, match="pip install torch"):
        ew.build(tmp_path / "model.pt2")


def test_unknown_operators_are_reported_together_with_the_users_lines() -> None:
    class Module(nn.Module):
        def forward(self, x):
            y = torch.special.airy_ai(x)
            return torch.special.airy_ai(y) + torch.linalg.matrix_exp(x[:, :4]).sum()

    with pytest.raises(UnsupportedOperator) as caught:
        ew.build(Module(), args=(X,), effort=0)
    message = str(caught.value)
    assert "aten.special_airy_ai.default ×2: test_programs.py:" in message
    assert "in forward: y = torch.special.airy_ai(x); test_programs.py:" in message
    assert "aten.linalg_matrix_exp.default ×1" in message


def test_a_failing_export_says_what_torch_says_and_what_to_do() -> None:
    with pytest.raises(InvalidModel, match=r"(?s)cannot export Calls.*data-dependent.*Ways out"):
        _ran(lambda s, x: x if x.sum() > 0 else x + 1)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Linear(6, 5), {}, "needs an example call"),
        (abs, {"args": (X,)}, "not with a builtin_function_or_method"),
        (3, {}, "a int is no model"),
        (nn.Linear(6, 5), {"args": (X,), "profile": {"y": ROWS["x"]}}, "the profile names y"),
    ],
)
def test_other_things_are_refused_with_a_sentence(model, options, message) -> None:
    with pytest.raises(InvalidModel, match=message):
        ew.build(model, effort=0, **options)
