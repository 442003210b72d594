"""Where in the user's code a node of an exported program comes from, and what it is called."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\n\s*(?P<code>[^\n]*)')
_INSIDE_TORCH = re.compile(r"(^|/)torch/(?!.*test)|<eval_with_key>")


def source_line(node: Any) -> str:
    """The innermost frame outside of torch, "model.py:41 in forward: y = torch.foo(x)"; '' when none is recorded."""
    frames = list(_FRAME.finditer(node.meta.get("stack_trace") or ""))
    if not frames:
        return ""
    own = [f for f in frames if not _INSIDE_TORCH.search(f["file"])]
    frame = (own or frames)[-1]
    return f"{PurePath(frame['file']).name}:{frame['line']} in {frame['function']}: {frame['code'].strip()}"


def module_path(node: Any) -> str:
    """The dotted path of the module that the node stands in; '' for the outermost."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack or "_empty_nn_module_stack" in stack[-1][0]:
        return ""
    return _dotted(stack[-1][0])


def module_class(program: Any) -> str:
    """The class of the exported module, "model" where the program does not say."""
    for node in program.graph.nodes:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            if not _dotted(path) and "_empty_nn_module_stack" not in path:
                return (kind if isinstance(kind, str) else kind.__qualname__).rsplit(".", 1)[-1]
    return "model"


def _dotted(path: str) -> str:
    """Both of torch's spellings, "layers.0.norm" and "L['self'].layers[0].norm", as the first."""
    plain = re.sub(r"^L\['self'\]\.?", "", path)
    return re.sub(r"\[['\"]?([^\]'\"]+)['\"]?\]", r".\1", plain).replace("._modules.", ".").lstrip(".")
