"""LLVM text to a self-contained ELF object, and (for tuning and tests) to callable addresses in this process."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from engineworks.codegen.llvm.function import Isa, required_features

ATTRIBUTES = """
attributes #0 = {{ nounwind "no-builtins" "no-trapping-math"="true" "frame-pointer"="none"
  "min-legal-vector-width"="{bits}" "prefer-vector-width"="{bits}" }}
!0 = distinct !{{!0, !1}}
!1 = !{{!"llvm.loop.unroll.disable"}}
!2 = !{{}}
"""


def module_text(functions: Iterable[str], declarations: Iterable[str], isa: Isa) -> str:
    """One module of finished function texts; declarations of functions that the module defines are dropped."""
    bodies = list(functions)
    defined = {b.split("@", 1)[1].split("(", 1)[0] for b in bodies}
    needed = sorted(d for d in set(declarations) if d.split("@", 1)[1].split("(", 1)[0] not in defined)
    return "\n".join(needed) + "\n" + "\n".join(bodies) + ATTRIBUTES.format(bits=isa.vector_bits)


@functools.cache
def llvm_version() -> str:
    """LLVM's and llvmlite's versions: part of every cache key."""
    import llvmlite
    import llvmlite.binding as llvm

    return f"{llvmlite.__version__}/{'.'.join(map(str, llvm.llvm_version_info))}"


@functools.cache
def _machine(cpu: str, features: str) -> Any:  # llvmlite has no types
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    return target.create_target_machine(cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small")


def compile_object(text: str, isa: Isa) -> bytes:
    """The ELF object of a module.

    The emitters already vectorise and unroll, so a pipeline of seven passes gives the speed of O3 at a tenth of its
    time. Raises RuntimeError with LLVM's message when the text is not valid (our bug, never the user's).
    """
    import llvmlite.binding as llvm

    machine = _machine(isa.cpu, ",".join([isa.features, *(f"+{f}" for f in required_features(text))]))
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_loop_simplify_pass()
    passes.add_lcssa_pass()
    passes.add_loop_rotate_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return machine.emit_object(module)
