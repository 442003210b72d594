"""Functional programs in operators that have a rule: what an op file spells stays whole, the rest is taken apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import engineworks.ops  # noqa: F401  (registers the rules)
from engineworks.ir.foreign import spellings

MAX_ROUNDS = 4


def decomposed(program: Any) -> Any:
    """An equal ExportedProgram without in-place operators and views that alias.

    An operator with a rule is never taken apart (layer_norm, attention, gelu, upsampling …): its op file knows
    more than its parts would. The others go through torch's decompositions to the core of ATen, and those that
    stay unknown through the ones that torch keeps for training and for other compilers.
    """
    from torch.export import default_decompositions

    known = frozenset(spellings("torch"))
    table = default_decompositions()
    for op in [op for op in table if str(op) in known]:
        del table[op]
    program = _run(program, table)
    for _ in range(MAX_ROUNDS):
        further = _further(program, known)
        if not further:
            break
        program = _run(program, further)
    return program


def _further(program: Any, known: frozenset[str]) -> dict[Any, Callable[..., Any]]:
    """Decompositions of the operators in the program that have no rule."""
    from torch._decomp import decomposition_table

    called = {n.target for n in program.graph.nodes if n.op == "call_function"}
    return {
        op: decomposition_table[op] for op in called if op in decomposition_table and str(op) not in known
    }


def _run(program: Any, table: Any) -> Any:
    with warnings.catch_warnings():
        # torch warns about its own deprecated internals here, which no user can change.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return program.run_decompositions(table)
