"""Writes every kernel of the small zoo and of the operators' examples, and compares two such folders.

    python tools/kernel_replay.py dump build/kernels-before
    python tools/kernel_replay.py dump build/kernels-after
    python tools/kernel_replay.py diff build/kernels-before build/kernels-after

A commit with the trailer `Kernels: unchanged` gives an empty diff. Nothing is compiled, so that a dump takes less than
a minute. Beside the kernels, which are named by their symbols, lies what launches them: each engine's program, and the
hash of its packed weights.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from unittest import mock

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import zoo  # noqa: E402  after its folder is known
from benchmarks.models.packaged import PackageMissing  # noqa: E402
from engineworks.builder import build, emit  # noqa: E402
from engineworks.builder.config import BuildConfig  # noqa: E402
from engineworks.codegen.llvm.function import Isa  # noqa: E402
from engineworks.kernels.image import ObjectCache  # noqa: E402
from engineworks.testing.inputs import cases  # noqa: E402

TARGETS = ("avx512", "avx2")
SHOWN_LINES = 60
"""Of each file that differs."""

Model = tuple[str, Callable[[], tuple[build.Model, Mapping[str, zoo.Shapes] | None]]]


def networks() -> Iterator[Model]:
    """The small networks with fixed and with open sizes, and the operators' examples, by label."""
    for name in zoo.names():
        for dynamic in (False, True):
            yield f"{name}-{'dynamic' if dynamic else 'static'}", lambda n=name, d=dynamic: _zoo_model(n, d)
    for case in cases():
        yield f"op-{case.label}".replace("/", "_"), lambda c=case: (c.graph(), None)


def _zoo_model(name: str, dynamic: bool) -> tuple[build.Model, Mapping[str, zoo.Shapes] | None]:
    model = zoo.get(name, size="small", dynamic=dynamic)
    return model.path, model.profile


def dump(folder: Path, only: str) -> None:
    """Write `TARGET/kernels/SYMBOL.ll` and `TARGET/programs/NETWORK.txt`; `only`: labels that hold this word."""
    for target in TARGETS:
        for label, model in networks():
            if only in label:
                _dump_network(folder / target, target, label, model)


def _dump_network(folder: Path, target: str, label: str, model: Callable) -> None:
    kernels: dict[str, str] = {}

    def remember(
        functions: Mapping[str, str], declarations: Iterable[str], isa: Isa, cache: ObjectCache
    ) -> bytes:
        kernels.update(functions)
        return b""

    try:
        network, profile = model()
    except PackageMissing as missing:
        print(f"left out: {label}: {missing}", file=sys.stderr)
        return
    config = BuildConfig(target=f"cpu:{target}", effort=0, threads=2, timing_cache=False, profile=profile)
    with mock.patch.object(emit, "image_of", remember):
        engine = build.build_engine(network, config)
    for symbol, text in sorted(kernels.items()):
        # Resolvers alone are numbered, not named by their content.
        _write(folder / "kernels" / f"{label + '-' if symbol.startswith('resolve') else ''}{symbol}.ll", text)
    weights = hashlib.sha256(engine.sections["weights"]).hexdigest()
    program = msgspec.json.format(msgspec.json.encode(engine.manifest), indent=1).decode()
    _write(folder / "programs" / f"{label}.txt", f"weights {weights}\n{program}\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def diff(before: Path, after: Path) -> bool:
    """Print how two dumps differ; True when they do."""
    files = sorted({p.relative_to(top) for top in (before, after) for p in top.rglob("*") if p.is_file()})
    differing = 0
    for file in files:
        old, new = (_lines(top / file) for top in (before, after))
        if old != new:
            differing += 1
            lines = difflib.unified_diff(old, new, f"before/{file}", f"after/{file}", lineterm="")
            print("\n".join(islice(lines, SHOWN_LINES)))
    print(f"{differing} of {len(files)} files differ")
    return differing > 0


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def main() -> int:
    """0: written, or no difference; 1: a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("dump", help="write all kernels into a folder")
    writing.add_argument("folder", type=Path)
    writing.add_argument(
        "--only", default="", metavar="WORD", help="networks and operators whose label holds it"
    )
    comparing = commands.add_parser("diff", help="compare two folders")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "diff":
        return int(diff(arguments.before, arguments.after))
    if arguments.folder.exists():
        parser.error(f"{arguments.folder} is there already; kernels of two dumps would mix")
    dump(arguments.folder, arguments.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
