"""Epilogues that vendors' libraries compute themselves, recognised in the scalar language."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.ir.scalar import Scalar
from engineworks.kernels.workload import Workload, input_type


@dataclass(frozen=True, slots=True)
class LibraryEpilogue:
    """relu?(alpha accumulator + bias? + residual?), rounded once, to the output's dtype.

    Attributes:
        bias, residual: the workload's inputs that are added: one element a channel; lying as the output.
    """

    alpha: float = 1.0
    bias: int | None = None
    residual: int | None = None
    relu: bool = False


def library_epilogue(work: Workload) -> LibraryEpilogue:
    """The epilogue of a workload.

    Raises:
        NoTactic: it is none of the libraries'. What is added for each channel may have any floating dtype, constant
            ones are converted; what lies as the output has its dtype.
    """
    if work.epilogue is None:
        return LibraryEpilogue()
    out = work.outputs[0].dtype
    inner = _without_casts(work.epilogue.expression, out)
    relu = inner.head == "max" and any(_is_zero(a) for a in inner.args)
    if relu:
        inner = _without_casts(next(a for a in inner.args if not _is_zero(a)), out)
    found: dict[str, float | int] = {}
    for term in _terms(inner, out):
        name, value = _meaning(term, work, out)
        if name in found:
            raise NoTactic(f"no library's epilogue adds two of '{name}': {work.epilogue.expression}")
        found[name] = value
    if "alpha" not in found:
        raise NoTactic(f"the epilogue {work.epilogue.expression} is no sum with the product")
    bias, residual = (int(found[k]) if k in found else None for k in ("bias", "residual"))
    return LibraryEpilogue(float(found["alpha"]), bias, residual, relu)


def _meaning(term: Scalar, work: Workload, out: DType) -> tuple[str, float | int]:
    """Which part of the form a term of the sum is: 'alpha' with the factor, 'bias' or 'residual' with the input."""
    assert work.epilogue is not None
    factor = 1.0
    if term.head == "mul" and any(a.head == "const" for a in term.args):
        factor = float(next(a.payload for a in term.args if a.head == "const"))
        term = _without_casts(next(a for a in term.args if a.head != "const"), out)
    if term.head != "argument":
        raise NoTactic(f"no library has the epilogue {work.epilogue.expression}")
    if term.payload == 0:
        return "alpha", factor
    kind = work.epilogue.kinds[term.payload - 1]
    index = work.anchor_inputs + term.payload - 1
    if factor != 1.0 or kind == "scalar":
        raise NoTactic(f"no library's epilogue adds a scaled or single number: {work.epilogue.expression}")
    dtype = input_type(work, index).dtype
    if kind == "full" and dtype is not out:
        raise NoTactic(f"the libraries add what has the output's dtype {out}; this is {dtype}")
    return ("bias" if kind == "channel" else "residual"), index


def _terms(expr: Scalar, out: DType) -> list[Scalar]:
    expr = _without_casts(expr, out)
    if expr.head != "add":
        return [expr]
    return [term for operand in expr.args for term in _terms(operand, out)]


def _without_casts(expr: Scalar, out: DType) -> Scalar:
    """What is cast between floats. A cast that rounds on the way to a narrower output may be left out: the library
    rounds once.
    """
    while expr.head == "cast" and expr.dtype.is_float and expr.args[0].dtype.is_float:
        if expr.dtype.bits < out.bits:
            raise NoTactic(f"the epilogue rounds to {expr.dtype} on the way to {out}")
        expr = expr.args[0]
    return expr


def _is_zero(expr: Scalar) -> bool:
    return expr.head == "const" and expr.payload == 0
