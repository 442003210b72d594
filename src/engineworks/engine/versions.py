"""Format versions of engine files, newest last, and what each changed."""

from __future__ import annotations

CURRENT = 2
"""What this Engineworks writes."""

OLDEST = 1
"""The oldest version it reads."""

NOTES: dict[int, str] = {
    1: "First format: CPU engines, symbolic dims, profiles, run-time checks, records with jumps.",
    2: "GPU engines: cubins, grids, overlapping launches, tensor maps, library calls, sizes resolved by the runtime; "
    "plans for several targets in one file.",
}
