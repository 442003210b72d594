"""The algebra of symbolic sizes: canonical integer polynomials, their division, and the bounds of both.

The public face is `engineworks.core.dims`.
"""

from __future__ import annotations

import keyword
import math
import operator
from collections.abc import Callable, Iterable
from typing import SupportsIndex
from weakref import WeakValueDictionary

from engineworks.errors import Undecided

Bound = int | float
"""An integer, or an infinity."""


class Atom:
    """What a polynomial is made of: a symbol (name, lo, hi, unit), or an operation on dims.

    A symbol that is a multiple of 8 is the atom of unit 8 that counts eights, with lo and hi in eights: `W`
    is 8 times that atom, and `W//8` is the atom. So whatever divides exactly stays a polynomial.
    """

    __slots__ = ("_hash", "arguments", "key", "kind", "text")

    def __init__(self, kind: str, arguments: tuple) -> None:
        self.kind = kind
        self.arguments = arguments
        self.text, facts = _atom_text(kind, arguments)
        self.key = (self.text, facts)
        self._hash = hash((kind, arguments))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Atom)
            and self._hash == other._hash
            and self.kind == other.kind
            and self.arguments == other.arguments
        )

    def __reduce__(self) -> tuple:
        return Atom, (self.kind, self.arguments)


Monomial = tuple[tuple[Atom, int], ...]
Terms = dict[Monomial, int]


class Sym:
    """A canonical polynomial that is not a constant. Made by `symbol` and by arithmetic, never directly."""

    __slots__ = ("__weakref__", "_hash", "_interval", "terms")
    __array_ufunc__ = None  # numpy integers then leave `np.int64(2) * sym` to us

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)
        self._interval: tuple[Bound, Bound] | None = None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Sym) and self._hash == other._hash and self.terms == other.terms
        )

    def __reduce__(self) -> tuple:
        return interned, (self.terms,)

    def __add__(self, other: DimLike) -> Dim:
        return _sum(self, _dim(other), 1)

    __radd__ = __add__

    def __sub__(self, other: DimLike) -> Dim:
        return _sum(self, _dim(other), -1)

    def __rsub__(self, other: DimLike) -> Dim:
        return _sum(_dim(other), self, -1)

    def __neg__(self) -> Dim:
        return _sum(0, self, -1)

    def __mul__(self, other: DimLike) -> Dim:
        return _times(self, _dim(other))

    __rmul__ = __mul__

    def __floordiv__(self, other: DimLike) -> Dim:
        return _floordiv(self, _dim(other))

    def __rfloordiv__(self, other: DimLike) -> Dim:
        return _floordiv(_dim(other), self)

    def __mod__(self, other: DimLike) -> Dim:
        return _mod(self, _dim(other))

    def __rmod__(self, other: DimLike) -> Dim:
        return _mod(_dim(other), self)

    def __lt__(self, other: DimLike) -> bool:
        return _decided(known_less(self, _dim(other)), self, "<", other)

    def __le__(self, other: DimLike) -> bool:
        return _decided(known_at_most(self, _dim(other)), self, "<=", other)

    def __gt__(self, other: DimLike) -> bool:
        return _decided(known_less(_dim(other), self), self, ">", other)

    def __ge__(self, other: DimLike) -> bool:
        return _decided(known_at_most(_dim(other), self), self, ">=", other)

    def __bool__(self) -> bool:
        equal = known_equal(self, 0)
        return _decided(None if equal is None else not equal, self, "!=", 0)

    def __str__(self) -> str:
        return _sum_text(self.terms)

    def __repr__(self) -> str:
        return f"Sym({self})"


Dim = int | Sym
DimLike = Sym | SupportsIndex


# -- what is known -------------------------------------------------------------------------------------------
def bounds(d: Dim) -> tuple[int | None, int | None]:
    """(lo, hi), inclusive, by interval arithmetic: true, not always tight. None: not bounded on that side."""
    lo, hi = _interval(d)
    return None if lo == -math.inf else int(lo), None if hi == math.inf else int(hi)


def multiple_of(d: Dim) -> int:
    """The largest integer known to divide the dim always; 0 for the dim 0."""
    if isinstance(d, int):
        return abs(d)
    return math.gcd(*(c for _, c in d.terms))


def known_equal(a: Dim, b: Dim) -> bool | None:
    """Whether a == b for all values of the symbols, for none (False), or not known (None)."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    difference = a - b
    if isinstance(difference, int):
        return difference == 0
    lo, hi = _interval(difference)
    if lo == hi == 0:
        return True
    if lo > 0 or hi < 0:
        return False
    step = math.gcd(*(c for m, c in difference.terms if m))
    return False if _constant(difference) % step else None


def known_less(a: Dim, b: Dim) -> bool | None:
    """Whether a < b for all values of the symbols, for none (False), or not known (None)."""
    lo, hi = _interval(b - a)
    return True if lo > 0 else False if hi <= 0 else None


def known_at_most(a: Dim, b: Dim) -> bool | None:
    """Whether a <= b for all values of the symbols, for none (False), or not known (None)."""
    greater = known_less(b, a)
    return None if greater is None else not greater


def known_positive(d: Dim) -> bool | None:
    """Whether d > 0 for all values of the symbols, for none (False), or not known (None)."""
    return known_less(0, d)


def dim_min(*dims: Dim) -> Dim:
    """The smallest; without those that bounds prove never smaller than another one."""
    return _extreme("min", dims)


def dim_max(*dims: Dim) -> Dim:
    """The largest; without those that bounds prove never larger than another one."""
    return _extreme("max", dims)


# -- canonical form ------------------------------------------------------------------------------------------
_INTERNED: WeakValueDictionary[tuple, Sym] = WeakValueDictionary()


def interned(terms: tuple[tuple[Monomial, int], ...]) -> Sym:
    """The one Sym of these terms, which are canonical already."""
    found = _INTERNED.get(terms)
    return found if found is not None else _INTERNED.setdefault(terms, Sym(terms))


def _dim(value: DimLike) -> Dim:
    return value if isinstance(value, (int, Sym)) else operator.index(value)


def of_atom(atom: Atom) -> Sym:
    """The atom as a polynomial."""
    return interned(((((atom, 1),), 1),))


def _terms(d: Dim) -> Iterable[tuple[Monomial, int]]:
    return d.terms if isinstance(d, Sym) else (((), d),) if d else ()


def _constant(d: Dim) -> int:
    """The constant term, which is sorted last."""
    return d if isinstance(d, int) else d.terms[-1][1] if not d.terms[-1][0] else 0


def _order(term: tuple[Monomial, int]) -> tuple:
    """Graded lexicographic: a monomial order, as polynomial division needs."""
    monomial = term[0]
    return -sum(power for _, power in monomial), [(atom.key, -power) for atom, power in monomial]


def _normal(terms: Terms) -> Dim:
    """The dim of collected terms: zeros dropped, sorted, interned."""
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return interned(tuple(sorted(kept.items(), key=_order)))


def _sum(a: Dim, b: Dim, sign: int) -> Dim:
    collected: Terms = dict(_terms(a))
    for monomial, coefficient in _terms(b):
        collected[monomial] = collected.get(monomial, 0) + sign * coefficient
    return _normal(collected)


def _times(a: Dim, b: Dim) -> Dim:
    collected: Terms = {}
    for left, c in _terms(a):
        for right, d in _terms(b):
            powers = dict(left)
            for atom, power in right:
                powers[atom] = powers.get(atom, 0) + power
            monomial = tuple(sorted(powers.items(), key=lambda item: item[0].key))
            collected[monomial] = collected.get(monomial, 0) + c * d
    return _normal(collected)


def _quotient(a: Dim, b: Dim) -> Dim | None:
    """q with a == q * b as polynomials (so for all values where b is not 0), or None."""
    q: Dim = 0
    (divisor, scale), *_ = _terms(b)
    while a != 0:
        (monomial, coefficient), *_ = _terms(a)
        powers = dict(monomial)
        for atom, power in divisor:
            powers[atom] = powers.get(atom, 0) - power
        if coefficient % scale or any(p < 0 for p in powers.values()):
            return None
        step = _normal({tuple((atom, p) for atom, p in powers.items() if p): coefficient // scale})
        q, a = q + step, a - step * b
    return q


def _floordiv(a: Dim, b: Dim) -> Dim:
    if isinstance(b, int):
        if b < 0:
            return _floordiv(-a, -b)
        if isinstance(a, int):
            return a // b
        whole, rest = _split(a, b)
        return whole + _rest_floordiv(rest, b)
    exact = _quotient(a, b)
    if exact is not None:
        return exact
    _require_positive(b, a, "//")
    return _settled(Atom("floordiv", (a, b)))


def _split(a: Sym, k: int) -> tuple[Dim, Dim]:
    """(whole, rest) with a == whole*k + rest; rest has its constant in [0, k), coefficients below k.

    Symbols round towards zero, which keeps the intervals of the parts narrow.
    """
    if k == 0:
        raise ZeroDivisionError(f"({a}) divided by zero")
    whole: Terms = {}
    for monomial, c in a.terms:
        whole[monomial] = c // k if not monomial or c > 0 else -(-c // k)
    quotient = _normal(whole)
    return quotient, a - quotient * k


def _rest_floordiv(rest: Dim, k: int) -> Dim:
    """rest // k, where `_split` left nothing to take out."""
    if isinstance(rest, int):
        return rest // k
    shared = math.gcd(k, *(c for m, c in rest.terms if m))
    constant = _constant(rest)
    if shared > 1:
        return _floordiv(_exact(rest - constant, shared) + constant // shared, k // shared)
    atom = _only_atom(rest - constant)
    if atom is not None and atom.kind == "floordiv" and isinstance(atom.arguments[1], int):
        e, j = atom.arguments  # (e//j + c)//k == (e + c*j)//(j*k)
        return _floordiv(e + constant * j, j * k)
    return _settled(Atom("floordiv", (rest, k)))


def _exact(d: Dim, k: int) -> Dim:
    return _normal({m: c // k for m, c in _terms(d)})


def _only_atom(d: Dim) -> Atom | None:
    if isinstance(d, Sym) and len(d.terms) == 1 and d.terms[0][1] == 1:
        monomial = d.terms[0][0]
        if len(monomial) == 1 and monomial[0][1] == 1:
            return monomial[0][0]
    return None


def _mod(a: Dim, b: Dim) -> Dim:
    if isinstance(b, int):
        if b < 0:
            return -_mod(-a, -b)
        return a % b if isinstance(a, int) else _mod_positive(a, b)
    if _quotient(a, b) is not None:
        return 0
    _require_positive(b, a, "%")
    return _settled(Atom("mod", (a, b)))


def _mod_positive(a: Sym, k: int) -> Dim:
    if k == 0:
        raise ZeroDivisionError(f"({a}) modulo zero")
    rest: Dim = 0
    for monomial, c in a.terms:
        atom = _only_atom(_normal({monomial: 1})) if monomial else None
        if (
            atom is not None
            and atom.kind == "mod"
            and isinstance(atom.arguments[1], int)
            and c * atom.arguments[1] % k == 0
        ):
            rest = rest + atom.arguments[0] * c  # (c*(e % j)) % k == (c*e) % k where k divides c*j
        else:
            rest = rest + _normal({monomial: c % k})
    if isinstance(rest, int):
        return rest % k
    rest = _normal({m: c % k for m, c in rest.terms})
    if isinstance(rest, int):
        return rest
    shared = math.gcd(k, *(c for m, c in rest.terms if m))
    if shared > 1:
        constant = _constant(rest)
        inner = _exact(rest - constant, shared) + constant // shared
        return _mod(inner, k // shared) * shared + constant % shared
    for candidate in (a, rest):
        lo, hi = _interval(candidate)
        if math.isfinite(lo) and math.isfinite(hi) and lo // k == hi // k:
            return candidate - int(lo // k) * k
    return _settled(Atom("mod", (rest, k)))


def _settled(atom: Atom) -> Dim:
    """The atom as a dim; an integer where its bounds leave only one."""
    lo, hi = _atom_interval(atom)
    return int(lo) if lo == hi else of_atom(atom)


def _require_positive(divisor: Dim, numerator: Dim, sign: str) -> None:
    if known_positive(divisor) is not True:
        raise Undecided(
            f"cannot compute ({numerator}){sign}({divisor}): the divisor may be zero or negative "
            f"for {ranges_text(divisor)}. Give its symbols a lower bound in the profile."
        )


def _extreme(kind: str, dims: Iterable[Dim]) -> Dim:
    """min or max: flattened, without arguments that another one always beats, sorted."""
    flat: list[Dim] = []
    for d in dims:
        flat.extend(_flattened(kind, _dim(d)))
    if not flat:
        raise ValueError(f"{kind} of no dims")
    kept: list[Dim] = []
    for d in dict.fromkeys(flat):
        if any(_beats(kind, other, d) for other in kept):
            continue
        kept = [other for other in kept if not _beats(kind, d, other)] + [d]
    if len(kept) == 1:
        return kept[0]
    shared = math.gcd(*(multiple_of(d) for d in kept))
    kept = sorted((_exact(d, shared) for d in kept), key=lambda d: (isinstance(d, int), str(d)))
    return _settled(Atom(kind, tuple(kept))) * shared


def _flattened(kind: str, d: Dim) -> Iterable[Dim]:
    """The arguments when d is a positive multiple of a min (max), else d."""
    if isinstance(d, Sym) and len(d.terms) == 1:
        monomial, scale = d.terms[0]
        if scale > 0 and len(monomial) == 1 and monomial[0][1] == 1 and monomial[0][0].kind == kind:
            return [a * scale for a in monomial[0][0].arguments]
    return [d]


def _beats(kind: str, a: Dim, b: Dim) -> bool:
    return known_at_most(a, b) is True if kind == "min" else known_at_most(b, a) is True


# -- intervals -----------------------------------------------------------------------------------------------
def _interval(d: Dim) -> tuple[Bound, Bound]:
    if isinstance(d, int):
        return d, d
    if d._interval is None:
        lo: Bound = 0
        hi: Bound = 0
        for monomial, c in d.terms:
            at = (c, c)
            for atom, power in monomial:
                for _ in range(power):
                    at = _corners(at, _atom_interval(atom), _multiplied)
            lo, hi = lo + at[0], hi + at[1]
        d._interval = lo, hi
    return d._interval


def _atom_interval(atom: Atom) -> tuple[Bound, Bound]:
    if atom.kind == "symbol":
        _, lo, hi, _ = atom.arguments
        return lo, math.inf if hi is None else hi
    parts = [_interval(a) for a in atom.arguments]
    match atom.kind:
        case "floordiv":
            return _corners(parts[0], parts[1], _divided)
        case "mod":
            (lo, hi), (_, divisor) = parts
            step = math.gcd(multiple_of(atom.arguments[0]), multiple_of(atom.arguments[1]))
            return 0, min(divisor - step, hi) if lo >= 0 else divisor - step
        case "min":
            return min(lo for lo, _ in parts), min(hi for _, hi in parts)
    return max(lo for lo, _ in parts), max(hi for _, hi in parts)


def _corners(
    a: tuple[Bound, Bound], b: tuple[Bound, Bound], f: Callable[[Bound, Bound], Bound]
) -> tuple[Bound, Bound]:
    values = [f(x, y) for x in a for y in b]
    return min(values), max(values)


def _multiplied(x: Bound, y: Bound) -> Bound:
    return 0 if x == 0 or y == 0 else x * y


def _divided(x: Bound, y: Bound) -> Bound:
    """x // y for y > 0."""
    if math.isinf(x):
        return x
    return (0 if x >= 0 else -1) if math.isinf(y) else x // y


def symbol_atoms(d: Dim) -> Iterable[Atom]:
    """The symbols in a dim, with repetitions."""
    for monomial, _ in d.terms if isinstance(d, Sym) else ():
        for atom, _ in monomial:
            if atom.kind == "symbol":
                yield atom
            else:
                for argument in atom.arguments:
                    yield from symbol_atoms(argument)


def facts_of(symbol: Atom) -> tuple[int, int | None, int]:
    """(lo, hi, multiple_of) of a symbol."""
    _, lo, hi, unit = symbol.arguments
    return lo * unit, None if hi is None else hi * unit, unit


def ranges_text(*dims: Dim) -> str:
    """'B in [1, 8], S in [1, 512]', for messages."""
    facts = {a.arguments[0]: facts_of(a) for d in dims for a in symbol_atoms(d)}
    return ", ".join(
        f"{name} in [{lo}, {'…' if hi is None else hi}]" for name, (lo, hi, _) in sorted(facts.items())
    )


def _decided(answer: bool | None, a: Dim, relation: str, b: DimLike) -> bool:
    if answer is None:
        raise Undecided(
            f"cannot decide {a} {relation} {b} for all {ranges_text(a, _dim(b))}. "
            "Narrow the profile's ranges, or give the model a fixed size."
        )
    return answer


# -- text ----------------------------------------------------------------------------------------------------
def _name_text(name: str) -> str:
    plain = (
        name.isidentifier()
        and name.isascii()
        and name not in ("min", "max")
        and not name.startswith("__quoted_")
    )
    return name if plain and not keyword.iskeyword(name) else f"`{name}`"


def _atom_text(kind: str, arguments: tuple) -> tuple[str, str]:
    """The printed form, and the facts about the symbols in it (two symbols may print alike)."""
    if kind == "symbol":
        return _name_text(arguments[0]), repr(arguments[1:])
    facts = "".join(atom.key[1] for a in arguments if isinstance(a, Sym) for m, _ in a.terms for atom, _ in m)
    if kind in ("min", "max"):
        return f"{kind}({', '.join(str(a) for a in arguments)})", facts
    sign = "//" if kind == "floordiv" else "%"
    return sign.join(_operand_text(a) for a in arguments), facts


def _operand_text(d: Dim) -> str:
    text = str(d)
    return (
        text
        if text.isalnum() or (text[-1] == "`" and text.count("`") == 2 and text[0] == "`")
        else f"({text})"
    )


def factors_of(monomial: Monomial, coefficient: int) -> tuple[int, list[tuple[Atom, int]]]:
    """A term as a coefficient and (atom, divisor) factors.

    A symbol is divided as far as the coefficient does not make up for its unit; other atoms have divisor 1.
    """
    factors = []
    for atom, power in monomial:
        for _ in range(power):
            unit = atom.arguments[3] if atom.kind == "symbol" else 1
            covered = math.gcd(coefficient, unit)
            coefficient //= covered
            factors.append((atom, unit // covered))
    return coefficient, factors


def _term_text(monomial: Monomial, coefficient: int) -> str:
    """The term without its sign."""
    size, factors = factors_of(monomial, abs(coefficient))
    alone = len(factors) == 1 and size == 1 and coefficient > 0
    texts = [str(size)] if size != 1 or not factors else []
    for atom, divisor in factors:
        text = atom.text if divisor == 1 else f"{atom.text}//{divisor}"
        divides = atom.kind in ("floordiv", "mod") or divisor > 1
        texts.append(f"({text})" if divides and not alone else text)
    return "*".join(texts)


def _sum_text(terms: tuple[tuple[Monomial, int], ...]) -> str:
    parts = [(" - " if c < 0 else " + ") + _term_text(m, c) for m, c in terms]
    text = "".join(parts)
    return text[3:] if text.startswith(" + ") else "-" + text[3:]
