"""The operators of the installed ONNX standard, and which of them can be imported."""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.ir.foreign import rule_for

DOMAINS = ("", "ai.onnx.ml")


@dataclass(frozen=True, slots=True)
class Covered:
    """One operator of the standard.

    Attributes:
        since: opset of its newest version.
        has_rule: an op file imports it.
        has_body: the standard spells it with simpler operators, which the reader inlines.
    """

    kind: str
    domain: str
    since: int
    has_rule: bool
    has_body: bool


def coverage() -> list[Covered]:
    """Operators by name, deprecated and training ones left out."""
    from onnx import defs

    import engineworks.ops  # noqa: F401  (registers the rules)

    newest: dict[tuple[str, str], object] = {}
    for schema in defs.get_all_schemas():
        if schema.domain in DOMAINS and not schema.deprecated:
            newest[schema.domain, schema.name] = schema
    return [
        Covered(
            name,
            domain,
            schema.since_version,  # type: ignore[attr-defined]
            rule_for("onnx", name, schema.since_version, domain) is not None,  # type: ignore[attr-defined]
            schema.has_function or schema.has_context_dependent_function,  # type: ignore[attr-defined]
        )
        for (domain, name), schema in sorted(newest.items())
    ]
