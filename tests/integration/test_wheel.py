"""What is built for PyPI works as installed: alone and with each extra, and what is missing says how to install it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from environments import CleanEnvironment, wheel_metadata
from pad_langchain import ChatPAD
from places import ROOT

PACKAGES = {"pad_langchain": ROOT / "pad_langchain", "pad_memory": ROOT / "memory" / "pad_memory"}
STATED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
EXTRAS = [name for name in STATED if name != "dev"]  # dev is what the environment that runs this is made of
QUESTION, WISH = "What is a lion?", "be concise and brief"
LARGEST = 25e6  # bytes
# The only files beside the code, by folder.
DATA = {
    "pad_langchain/adapt": {".yaml"},
    "pad_langchain/server/page/static": {".css", ".html", ".js", ".svg", ".txt"},
    "pad_langchain/persrm": {".tsv"},
    "pad_langchain/defaults": {".json", ".jinja", ".md", ".safetensors"},
    "pad_memory/evidence": {".npz"},
    "pad_memory/language/tongues": {".txt"},
    "pad_memory/values": {".safetensors", ".txt"},
}

# What needs an extra: without it, each says how to install it. [cli] is tried as a command; [examples] has no code;
# [ray] needs [serve] first, and tests/unit/server/test_ray.py tries it.
FEATURES: dict[str, dict[str, str]] = {
    "agents": {
        "middleware": "from pad_langchain import PreferenceMiddleware",
        "store": "from pad_langchain import PreferenceStore",
        "judge": """
            from pad_langchain.evaluation.judges import make_judge
            make_judge({"kind": "llm", "model": "openai:gpt-5"})""",
    },
    "llama-cpp": {
        "backend": """
            from gguf import GGUFWriter
            from pad_langchain import ChatPAD
            writer = GGUFWriter("model.gguf", "llama")
            writer.add_embedding_length(8)
            writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file()
            writer.close()
            ChatPAD(model="model.gguf", backend="llama.cpp").invoke("Hello")""",
        "engine": "from pad_langchain.engine.llama_cpp.binding import load_binding; load_binding()",
    },
    "llama-index": {
        "llm": "from pad_langchain import PADLLM",
        "embedding": "from pad_langchain.llama_index import PADEmbedding",
    },
    "mcp": {"server": "from pad_langchain.mcp import memory_server"},
    "offline": {
        "embedder": "from pad_memory import SentenceEmbedder; SentenceEmbedder().embed(['be brief'])",
        "memory": """
            from pad_memory import PreferenceMemory, Statement
            with PreferenceMemory() as memory:
                memory.record("ada", Statement("be brief"))
                memory.condition("ada")""",
    },
    "plot": {
        "report": """
            from pad_langchain.evaluation.plots import draw_beta
            draw_beta([], "rules", "beta.png")""",
        "evaluation": """
            from pad_langchain.evaluation import EvaluateConfig, evaluate
            evaluate(EvaluateConfig(base="pad-demo", prompts="prompts.jsonl", output="report"))""",
    },
    "serve": {
        "app": "import pad_langchain.server",
        "keys": "from pad_langchain.server.keys import Keys; Keys.open('keys.json').create('admin')",
    },
    "train": {
        "text": """
            from pad_langchain.training import TrainConfig, train
            train(TrainConfig(base="pad-demo", data=["pairs.jsonl"], output="persrm"))""",
        "parquet": """
            from pad_langchain.training import load_pairs
            open("pairs.parquet", "w").close(); load_pairs("pairs.parquet")""",
        "dataset": "from pad_langchain.training import load_pairs; load_pairs('somebody/pairs')",
    },
}

# Runs inside an environment: imports every module, tries features, and answers if it is asked to.
PROBE = """
import importlib, json, pkgutil, sys, textwrap

def refusal(act, *arguments):
    try:
        act(*arguments)
    except Exception as error:
        return [type(error).__name__, str(error)]

features, calls = json.loads(sys.argv[1])
seen = {"places": {}, "modules": {}, "features": {}}
for name in ("pad_langchain", "pad_memory"):
    package = importlib.import_module(name)
    seen["places"][name] = package.__file__
    for module in pkgutil.walk_packages(package.__path__, name + ".", onerror=lambda name: None):
        seen["modules"][module.name] = refusal(importlib.import_module, module.name)
for name, code in features.items():
    seen["features"][name] = refusal(exec, textwrap.dedent(code), {})
from pad_langchain import ChatPAD
seen["answers"] = [ChatPAD().invoke(question, **keywords).text for question, keywords in calls]
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build(folder)
    return folder


def build(folder: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *options, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def wheel_in(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_holds_both_packages_the_licence_and_nothing_else(built: Path) -> None:
    held = contents(wheel_in(built))
    folder = next(name for name in held if name.endswith(".dist-info/RECORD")).removesuffix("RECORD")
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert {name.removeprefix(folder) for name in held if name.startswith(folder)} == about
    assert held[f"{folder}licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    packaged = {name: data for name, data in held.items() if not name.startswith(folder)}
    assert packaged == {
        f"{package}/{path.relative_to(place).as_posix()}": path.read_bytes()
        for package, place in PACKAGES.items()
        for path in place.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for path in map(PurePosixPath, packaged):
        allowed = {kind for place, kinds in DATA.items() if path.is_relative_to(place) for kind in kinds}
        assert path.suffix in {".py", *allowed} or path.name == "py.typed", path


@pytest.mark.slow
def test_all_weights_are_inside_and_say_whose_they_are(built: Path) -> None:
    held = contents(wheel_in(built))
    weights = {name for name in held if name.endswith((".safetensors", ".npz"))}
    assert weights >= {
        "pad_langchain/defaults/pad_demo/base/model.safetensors",
        "pad_langchain/defaults/pad_demo/persrm/persrm_head.safetensors",
        "pad_memory/evidence/affinity.npz",
        "pad_memory/values/classifier.safetensors",
    }
    # A default's folder says whose weights these are; what lies elsewhere is of the project's own making.
    for default in {"/".join(name.split("/")[:3]) for name in weights if name.startswith("pad_langchain/defaults/")}:
        assert b"Licence: " in held[f"{default}/README.md"], default


@pytest.mark.slow
def test_the_wheel_is_small(built: Path) -> None:
    assert wheel_in(built).stat().st_size <= LARGEST


@pytest.mark.slow
def test_the_sdist_makes_the_wheel_that_the_checkout_makes(built: Path, tmp_path: Path) -> None:
    build(tmp_path, "--wheel")
    assert contents(wheel_in(tmp_path)) == contents(wheel_in(built))


@pytest.mark.slow
def test_the_wheel_names_every_extra(built: Path) -> None:
    assert wheel_metadata(wheel_in(built)).metadata.get_all("Provides-Extra") == sorted([*EXTRAS, "dev"])
    tried = set(EXTRAS) - {"cli", "examples", "ray"}
    assert tried == FEATURES.keys(), "say what each extra is for, or take its features out"


@pytest.fixture(scope="module", params=[None, *EXTRAS], ids=lambda extra: extra or "bare")
def installed(request: pytest.FixtureRequest, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    if request.param and request.param not in comes_with("dev") and (missing := not_here(request.param)):
        pytest.skip(f"[{request.param}] is installed on request only, and {missing} is not here")
    return Installed(wheel_in(built), tmp_path_factory.mktemp(request.param or "bare"), request.param)


class Installed:
    """The wheel in an environment of its own, with one extra or none.

    `lacking` are the extras that are not complete in it; one may come with another.
    """

    def __init__(self, wheel: Path, folder: Path, extra: str | None) -> None:
        self.extra = extra
        self.environment = CleanEnvironment(folder, wheel, extra)
        self.lacking = {each for each in EXTRAS if not direct(wheel, each) <= self.environment.required}

    def probe(self, calls: list[Any]) -> dict[str, Any]:
        features = {
            f"{extra}: {name}": code
            for extra, named in FEATURES.items()
            for name, code in named.items()
            if extra in self.lacking
        }
        done = self.environment.run("python", "-I", "-c", PROBE, json.dumps([features, calls]))
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return seen


def comes_with(extra: str) -> set[str]:
    """The extras that an extra is made of."""
    named = {each for text in STATED[extra] for each in Requirement(text).extras if "pad-langchain" in text}
    return named.union(*map(comes_with, named))


def not_here(extra: str) -> list[str]:
    """What an extra asks for and this environment has not."""
    return [name for name in map(name_of, STATED[extra]) if not any(metadata.Distribution.discover(name=name))]


def name_of(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def direct(wheel: Path, extra: str) -> set[str]:
    """What an extra of the wheel asks for itself, over what the wheel always asks for."""
    named = [Requirement(text) for text in wheel_metadata(wheel).requires or ()]
    return {
        canonicalize_name(each.name)
        for each in named
        if each.marker and each.marker.evaluate({"extra": extra}) and not each.marker.evaluate({"extra": ""})
    } - {"pad-langchain"}


def line_of(extra: str) -> str:
    return f'pip install "pad-langchain[{extra}]"'


@pytest.mark.slow
def test_it_imports_and_each_missing_extra_says_its_line(installed: Installed) -> None:
    calls: list[Any] = {None: [(QUESTION, {})], "offline": [(QUESTION, {"preference": WISH})]}.get(installed.extra, [])
    seen = installed.probe(calls)
    for place in seen["places"].values():
        assert Path(place).is_relative_to(installed.environment.site)
    for name, refusal in seen["modules"].items():
        if refusal is not None:
            kind, message = refusal
            assert kind == "MissingDependencyError", f"{name}: {message}"
            assert any(line_of(extra) in message for extra in installed.lacking), f"{name}: {message}"
    for name, refusal in seen["features"].items():
        assert refusal is not None, f"{name} works without its extra"
        kind, message = refusal
        assert kind in {"MissingDependencyError", "EmbedderError"}, f"{name}: {kind}: {message}"
        assert line_of(name.partition(":")[0]) in message, f"{name}: {message}"
    assert seen["answers"] == [ChatPAD().invoke(question, **keywords).text for question, keywords in calls]


@pytest.mark.slow
def test_the_command_works_or_says_its_line(installed: Installed) -> None:
    shown = installed.environment.run("pad-langchain", "--help")
    if "cli" in installed.lacking:
        assert (shown.returncode, shown.stdout) == (2, "")
        assert line_of("cli") in shown.stderr
        assert len(shown.stderr.splitlines()) == 1
    else:
        assert shown.returncode == 0, shown.stderr
        for command in ("chat", "feedback", "memory", "train", "evaluate"):
            assert command in shown.stdout
    if installed.extra == ("cli" if "cli" in EXTRAS else None):
        talk = installed.environment.run("pad-langchain", "chat", input=QUESTION)
        assert talk.returncode == 0, talk.stderr
        assert ChatPAD().invoke(QUESTION).text in talk.stdout
