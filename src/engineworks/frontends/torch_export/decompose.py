"""Functional programs in operators that have a rule: what an op file spells stays whole, the rest is taken apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import engineworks.ops  # noqa: F401  (registers the rules)
from engineworks.ir.foreign import spellings

MAX_ROUNDS = 3


def decomposed(program: Any) -> Any:
    """An equal ExportedProgram without in-place operators and views that alias; the given one stays as it is.

    An operator with a rule is never taken apart (layer_norm, attention, gelu, upsampling …): its op file knows
    more than its parts would. The others go through torch's decompositions to the core of ATen, and those that
    stay unknown through the ones that torch keeps for other compilers.
    """
    from torch.export import default_decompositions

    known = frozenset(spellings("torch"))
    table = default_decompositions()
    for op in [op for op in table if str(op) in known]:
        del table[op]
    with _reshapes_for_views(program):
        program = _run(program, table)
    for _ in range(MAX_ROUNDS):
        further = _further(program, known)
        if not further:
            break
        program = _run(program, further)
    return program


@contextmanager
def _reshapes_for_views(program: Any) -> Iterator[None]:
    """For a while, `reshape` in the place of each `view`.

    A view is an error where the strides do not allow it, and an operator that stays whole may have other strides
    than its kernel had when the program was exported. Sizes alone matter here, and where the strides do allow
    it, a reshape is that view.
    """
    import torch

    view, reshape = torch.ops.aten.view.default, torch.ops.aten.reshape.default
    changed = [n for n in program.graph.nodes if n.op == "call_function" and n.target is view]
    try:
        for node in changed:
            node.target = reshape
        yield
    finally:
        for node in changed:
            node.target = view


def _further(program: Any, known: frozenset[str]) -> dict[Any, Callable[..., Any]]:
    """Decompositions of the operators in the program that have no rule.

    Not of core operators: a rule of ours is missing there, and what torch makes of them is further from one. Nor
    through torch._refs, which ends in operators that no compiler but torch's own has.
    """
    import torch
    from torch._decomp import decomposition_table

    found: Mapping[Any, Callable[..., Any]] = decomposition_table
    called = {n.target for n in program.graph.nodes if n.op == "call_function"}
    return {
        op: found[op]
        for op in called
        if op in found
        and str(op) not in known
        and torch.Tag.core not in op.tags
        and not found[op].__module__.startswith("torch._refs")
    }


def _run(program: Any, table: Any) -> Any:
    with warnings.catch_warnings():
        # torch warns about its own deprecated internals here, which no user can change.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return program.run_decompositions(table)
