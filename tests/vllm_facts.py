"""What pad-vllm builds on in vLLM's sources, read without importing them: `python tests/vllm_facts.py FOLDER_OF_VLLM`.

`data/vllm_facts.json` is what was found in the newest version of `pad_vllm/pyproject.toml`'s range.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["facts"]

V1 = "v1/sample/logits_processor/interface.py"
V2 = "v1/worker/gpu/sample/logits_processor/interface.py"
# File → classes, whose fields, values and methods count.
CLASSES = {
    V1: ["BatchUpdate", "LogitsProcessor", "MoveDirectionality"],
    V2: ["LogitsContext", "LogitsProcessor"],
    "model_executor/layers/logits_processor.py": ["LogitsProcessor"],
    "model_executor/custom_op.py": ["PluggableLayer"],
    "plugins/endpoint_plugins/interface.py": ["EndpointPlugin"],
}
METHODS = {
    "__init__", "__new__", "validate_params", "apply", "is_argmax_invariant", "update_state", "add_request", "forward",
    "register_oot", "attach_router", "init_state",
}  # fmt: skip
# File → names at its top: functions with their arguments, others as they are written.
NAMES = {
    "distributed/communication_op.py": ["tensor_model_parallel_all_reduce"],
    "model_executor/custom_op.py": ["op_registry_oot"],
    "plugins/__init__.py": ["DEFAULT_PLUGINS_GROUP", "ENDPOINT_PLUGINS_GROUP"],
}
# File → classes whose field `vllm_xargs` counts.
EXTRA = {
    "entrypoints/openai/completion/protocol.py": "CompletionRequest",
    "entrypoints/openai/chat_completion/protocol.py": "ChatCompletionRequest",
}
# File, a function, and the calls in it whose order counts: a grammar's mask comes before the processors, and so do the
# tokens of steps that were scheduled ahead.
ORDER = [
    ("v1/worker/gpu/model_runner.py", "sample", ["compute_logits", "apply_grammar_bitmask", "sampler"]),
    ("v1/worker/gpu_model_runner.py", "sample_tokens", ["apply_grammar_bitmask", "_sample"]),
    ("v1/worker/gpu_model_runner.py", "_sample", ["update_async_output_token_ids", "sampler"]),
]


def facts(vllm: Path) -> dict[str, Any]:
    """What is found in the sources of vLLM."""
    found: dict[str, Any] = {}
    for file, names in CLASSES.items():
        for node in _classes(vllm / file, names):
            found[f"{file}:{node.name}"] = _members(node)
    for file, names in NAMES.items():
        found |= {f"{file}:{name}": said for name, said in _tops(vllm / file) if name in names}
    for file, name in EXTRA.items():
        (node,) = _classes(vllm / file, [name])
        found[f"{file}:{name}"] = {"vllm_xargs": _members(node)["vllm_xargs"]}
    for file, name, calls in ORDER:
        found[f"{file}:{name}"] = _order(vllm / file, name, calls)
    return found


def _classes(file: Path, names: list[str]) -> Iterator[ast.ClassDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in names)


def _members(node: ast.ClassDef) -> dict[str, str]:
    found = {"bases": ", ".join(map(ast.unparse, node.bases))}
    for each in node.body:
        if isinstance(each, ast.AnnAssign):
            found[ast.unparse(each.target)] = ast.unparse(each.annotation)
        elif isinstance(each, ast.Assign):
            found |= {ast.unparse(target): ast.unparse(each.value) for target in each.targets}
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name in METHODS:
            found[each.name] = _arguments(each)
    return found


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The names of arguments and their defaults, without annotations."""
    said = node.args
    for each in [*said.posonlyargs, *said.args, *said.kwonlyargs, said.vararg, said.kwarg]:
        if each is not None:
            each.annotation = None
    return ast.unparse(said)


def _tops(file: Path) -> Iterator[tuple[str, str]]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, _arguments(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((ast.unparse(target), ast.unparse(node.value)) for target in targets)


def _order(file: Path, name: str, calls: list[str]) -> list[str]:
    """The calls in the order of their first lines in the function."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found: dict[str, int] = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == name:
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    called = ast.unparse(node.func).rpartition(".")[2]
                    if called in calls:
                        found[called] = min(node.lineno, found.get(called, node.lineno))
    return sorted(found, key=found.__getitem__)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts(Path(sys.argv[1])), indent=2) + "\n")
