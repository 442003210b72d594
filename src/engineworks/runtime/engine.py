"""An engine, loaded: code and weights where the device needs them, ready to make contexts."""

from __future__ import annotations

import itertools
import os
import threading
from typing import Any, Self

from engineworks.core.target import Target
from engineworks.engine import container
from engineworks.engine.schema import Manifest, Profile, Tensor
from engineworks.errors import EngineMismatch, InvalidInput
from engineworks.runtime.compatibility import advice, differences
from engineworks.runtime.context import Context
from engineworks.runtime.device import Device
from engineworks.runtime.variants import first_that_loads

MAX_THREADS = 256


class Engine:
    """Immutable; may be used from any number of threads.

    Attributes:
        manifest: everything the file says about itself; of a file with plans for several targets, what the plan says
            that was loaded.
        inputs, outputs: names, dtypes and dims.
        default_threads: of contexts that do not ask for a number.
    """

    def __init__(
        self,
        file: container.Container,
        device: Device,
        *,
        threads: int | None = None,
        whole: container.Container | None = None,
    ) -> None:
        """Use `open`; this takes a container already read and a device already found.

        Args:
            whole: the file that `file` is a plan of.
        """
        manifest = file.manifest
        _check_target(file.origin, manifest, device)
        file.verify("code")
        self.manifest: Manifest = manifest
        self.inputs: tuple[Tensor, ...] = manifest.inputs
        self.outputs: tuple[Tensor, ...] = manifest.outputs
        self.default_threads = _checked_threads(threads) or device.default_threads()
        self._whole = whole or file
        self._report = file.sections.get("report", memoryview(b""))
        self._device = device
        code = file.sections.get("code", memoryview(b""))
        self._module = device.load(code, manifest)
        self._weights = device.weights(
            file.sections.get("weights", memoryview(b"")), is_mapped=file.is_mapped
        )
        self._local = threading.local()

    @classmethod
    def open(
        cls,
        source: str | os.PathLike[str] | bytes,
        *,
        device: Device | int | None = None,
        threads: int | None = None,
        verify: bool = False,
    ) -> Self:
        """Load an engine from a file (mapped, not read) or from its bytes.

        Loading runs the engine's native code later: trust an engine as you would a shared library.

        Args:
            device: which GPU, where the machine has several: its number among those that the process sees; None
                takes the one of the calling thread's current CUDA context, else the first. Or a device in place of
                the one that the engine names. Of plans for several targets the best that runs here is loaded, or that
                runs on the device given (`runtime.variants`).
            threads: of contexts that do not ask for a number; as many as there are physical cores by default.
            verify: compare the checksums of all sections, which reads the whole file.
        Raises:
            CorruptEngine, NewerFormat: the file is not one that this package can read.
            EngineMismatch: it was built for another device, or for CPU features that are missing here; each of its
                plans, where it has several.
            MissingExtra: a package that the device needs is not installed.
            DeviceError: no memory for the weights.
            OSError: the file cannot be opened.
        """
        file = container.read(source)
        if verify:
            file.verify()
        return first_that_loads(
            file, device, lambda plan, found: cls(plan, found, threads=threads, whole=file)
        )

    @property
    def name(self) -> str:
        """The model's name, or the one given at build."""
        return self.manifest.name

    @property
    def report(self) -> bytes:
        """The build report as JSON; empty when the engine was built without one."""
        return bytes(self._report)

    def context(self, profile: int | str = 0, *, threads: int | None = None) -> Context:
        """A new execution state, for one thread.

        Args:
            profile: number or name of one of the engine's profiles.
            threads: that share the work of each call, the caller included; no more than the engine says are of use.
        Raises:
            InvalidInput: no such profile; a thread count out of range.
            DeviceError: no memory.
        """
        chosen = self._profile(profile)
        count = min(
            _checked_threads(threads) or self.default_threads, self.manifest.max_threads or MAX_THREADS
        )
        program = self._device.program(self.manifest, chosen, self._module, self._weights, count)
        return Context(self.manifest, chosen, program)

    def run(self, /, **arrays: Any) -> dict[str, Any]:
        """The outputs by name, for inputs by name, as `Context.run` takes and gives them.

        Each thread keeps its own contexts. Of several profiles, the one used last is taken when the shapes fit it,
        else the first that they fit.

        Raises:
            InvalidInput: a name, dtype, shape or run-time check is not met (by any profile: what the first says).
            DeviceError: no memory.
        """
        contexts = getattr(self._local, "contexts", None)
        if contexts is None:
            contexts = self._local.contexts = [self.context()]
        if len(self.manifest.profiles) <= 1:
            return contexts[0].run(**arrays)
        return self._run_where_it_fits(contexts, arrays)

    def _run_where_it_fits(self, contexts: list[Context], arrays: dict[str, Any]) -> dict[str, Any]:
        """`contexts`: this thread's, the one used last first."""
        refusals: list[InvalidInput] = []
        made = {c.profile_name for c in contexts}
        others = (self.context(p.name) for p in self.manifest.profiles if p.name not in made)
        for context in itertools.chain(list(contexts), others):
            try:
                outputs = context.run(**arrays)
            except InvalidInput as error:
                refusals.append(error)
                continue
            contexts[:] = [context, *(c for c in contexts if c is not context)]
            return outputs
        raise refusals[0]

    __call__ = run

    def serialize(self) -> bytes:
        """The engine file's bytes, with the plans for all of its targets."""
        return container.encode(self._whole.manifest, self._whole.sections)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the engine file in one step; its length in bytes. Raises OSError."""
        return container.write(path, self._whole.manifest, self._whole.sections)

    def _profile(self, wanted: int | str) -> Profile | None:
        profiles = self.manifest.profiles
        if not profiles and wanted == 0:
            return None
        for number, profile in enumerate(profiles):
            if wanted in (number, profile.name):
                return profile
        there = ", ".join(f"{i} '{p.name}'" for i, p in enumerate(profiles)) or "only the default, 0"
        raise InvalidInput(f"the engine has no profile {wanted!r}; there are: {there}")


def _check_target(origin: str, manifest: Manifest, device: Device) -> None:
    record = manifest.target
    found = differences(record, device, manifest.kernels)
    if found:
        needed = Target(record.device, record.arch, record.features)
        listed = "".join(f"\n  {d}" for d in found)
        raise EngineMismatch(
            f"{origin} was built for {needed}, this machine is {device.target()}; missing here:{listed}\n"
            f"  {advice(record)}"
        )


def _checked_threads(threads: int | None) -> int | None:
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise InvalidInput(f"threads={threads}: a context takes 1 to {MAX_THREADS} threads")
    return threads
