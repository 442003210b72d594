"""The rule sets of a build, discovered from the files beside this one."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import ClassVar

import engineworks.ops  # noqa: F401  (patterns name operators)
from engineworks.ir.rewriter import Rewriter
from engineworks.ir.rule import RULES, Rule, RuleSet


@dataclass(frozen=True, slots=True)
class ApplyRules:
    """A rule set as a pass."""

    rules: RuleSet
    name: ClassVar[str] = "rules"

    def run(self, rewriter: Rewriter) -> None:
        self.rules.apply(rewriter)


@functools.cache
def _rules_in(folder: str) -> tuple[Rule, ...]:
    package = import_module(f"engineworks.rules.{folder}")
    before = set(RULES)
    for module in sorted(iter_modules(package.__path__), key=lambda m: m.name):
        import_module(f"{package.__name__}.{module.name}")
    return tuple(RULES[name] for name in RULES if name not in before)


@functools.cache
def canonical_rules() -> ApplyRules:
    """No-ops, reshapes, algebra."""
    return ApplyRules(RuleSet(_rules_in("canonical")))


@functools.cache
def fusion_rules() -> ApplyRules:
    """Named compounds: norms, activations, attention, folded scales."""
    return ApplyRules(RuleSet(_rules_in("fusion")))


@functools.cache
def quantise_rules() -> ApplyRules:
    """Q/DQ pairs to where products are; products of integers."""
    return ApplyRules(RuleSet(_rules_in("quantise")))
