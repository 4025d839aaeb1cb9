"""What the packages export, and that importing them stays light."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import pad_langchain
import pad_memory


def test_pinned_names():
    assert pad_langchain.__all__ == [
        "ChatPAD",
        "ContextLengthError",
        "EngineBusyError",
        "EngineClosedError",
        "GuideError",
        "IncompatibleModelError",
        "InvalidRequestError",
        "MissingDependencyError",
        "ModelLoadError",
        "PADForCausalLM",
        "PadError",
        "PersRM",
        "__version__",
        "unload",
    ]
    with_extras = {"PADLLM", "PreferenceMiddleware", "PreferenceStore"}
    assert set(dir(pad_langchain)) == {*pad_langchain.__all__, *with_extras}
    for name in dir(pad_langchain):
        assert getattr(pad_langchain, name) is not None


@pytest.mark.parametrize("room", ["arithmetic", "defaults", "models", "persrm", "persrm.guides", "server"])
def test_a_room_exports_its_nouns(room):
    package = importlib.import_module(f"pad_langchain.{room}")
    names: dict[str, object] = {}
    exec(f"from pad_langchain.{room} import *", names)
    assert set(package.__all__) == names.keys() - {"__builtins__"}
    assert list(package.__all__) == sorted(package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        package.Nothing  # noqa: B018


@pytest.mark.slow
def test_a_star_import_needs_no_extra():
    code = (
        "import sys\n"
        "for name in ('llama_index', 'langchain', 'langgraph'):\n    sys.modules[name] = None\n"
        "from pad_langchain import *\n"
        "print(ChatPAD.__name__)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "ChatPAD", result.stderr


def test_unknown_name_says_so():
    with pytest.raises(AttributeError, match="has no attribute 'ChatPAP'"):
        pad_langchain.ChatPAP  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import pad_langchain", ["torch", "transformers", "chromadb", "langchain_core"]),
        ("from pad_langchain import ChatPAD; ChatPAD()", ["torch", "sentence_transformers"]),
        ("from pad_langchain import PADLLM; PADLLM()", ["torch", "sentence_transformers"]),
        (
            "import pad_langchain.persrm, pad_langchain.models.loading, pad_langchain.defaults",
            ["torch", "transformers"],
        ),
        (
            "import pad_memory",
            ["torch", "transformers", "sentence_transformers", "langchain_core", "pad_langchain", "scipy"],
        ),
        ("import pad_langchain.cli.main", ["torch", "transformers", "sentence_transformers", "chromadb"]),
    ],
)
def test_nothing_heavy_is_imported(statement, forbidden):
    code = f"{statement}\nimport sys\nprint(','.join(m for m in {forbidden!r} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.strip() == ""


@pytest.mark.slow
def test_import_takes_less_than_a_second():
    code = "import time; t = time.perf_counter(); import pad_langchain; print(time.perf_counter() - t)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert float(result.stdout) < 1.0


def test_typed():
    for package in (pad_langchain, pad_memory):
        assert (Path(package.__file__).parent / "py.typed").is_file()


def modules_with_examples():
    for package in (pad_langchain, pad_memory):
        folder = Path(package.__file__).parent
        for path in sorted(folder.rglob("*.py")):
            if ">>> " in path.read_text():
                yield ".".join((package.__name__, *path.relative_to(folder).with_suffix("").parts))


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("package", ["", ".evaluation", ".langchain", ".models", ".persrm", ".training"])
def test_type_checkers_see_what_comes_with_its_first_use(package):
    module = importlib.import_module(f"pad_langchain{package}")
    (block,) = (
        node
        for node in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert set(dir(module)) == {*module.__all__, *seen}
    for name, place in seen.items():
        assert getattr(module, name) is getattr(importlib.import_module(place), name)
