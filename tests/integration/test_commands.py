"""The commands and links that our pages name lead somewhere: scripts, options, make targets, subcommands, files."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from pad_langchain import __version__
from pad_langchain.cli.main import app
from places import ROOT

PAGES = sorted(ROOT.glob("*.md"))
PAGES += sorted(page for folder in ("docs", "benchmarks", "recipes") for page in (ROOT / folder).rglob("*.md"))
FOLDERS = ("pad_langchain", "memory", "tests", "benchmarks", "examples", "recipes", "docs", "pad_vllm")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
SCRIPT = re.compile(r"\bpython (?:-m )?((?:benchmarks|docs|examples|recipes|tests)[/.]\S+)([^;|]*)")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, and its code spans."""
    text = page.read_text()
    blocks = [body for language, body in FENCE.findall(text) if language in ("", "bash", "console")]
    lines = [line for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", text))
    return [line.split(" #")[0] for line in lines + [" ".join(span.split()) for span in spans]]


@cache
def options(script: Path) -> set[str]:
    """The options that a script knows, read off its source: of argparse's calls, or of the `main` that typer runs."""
    known = {"--help"}
    for node in ast.walk(ast.parse(script.read_text())):
        match node:
            case ast.ImportFrom(module="benchmarks.answering"):
                known |= options(ROOT / "benchmarks" / "answering.py")
            case ast.Call(func=ast.Attribute(attr="add_argument"), args=args):
                known |= {str(word.value) for word in args if isinstance(word, ast.Constant)}
            case ast.FunctionDef(name="main", args=parameters):
                known |= {f"--{parameter.arg.replace('_', '-')}" for parameter in parameters.args}
    return known


@each_page
def test_scripts_exist_and_know_their_options(page):
    for command in commands(page):
        for name, rest in re.findall(
            r"\bpython (?:-m )?((?:benchmarks|docs|examples|recipes|tests)[/.]\S+)([^;|]*)", command
        ):
            script = ROOT / (name if "/" in name else f"{name.replace('.', '/')}.py")
            assert script.is_file(), command
            assert set(OPTION.findall(rest)) <= options(script), command


@each_page
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [re.match(r"(?:\$ )?make ([a-z0-9-]+)", command) for command in commands(page)]
    assert {match[1] for match in named if match} <= targets


@each_page
def test_subcommands_exist_and_know_their_options(page):
    for command in commands(page):
        for words in re.findall(r"\bpad-langchain ([a-z][^;|]*)", command):
            found = get_command(app)
            for word in words.split():
                if subcommands := getattr(found, "commands", None):
                    assert word.startswith("-") or word in subcommands, command
                    found = subcommands.get(word, found)
            known = {name for param in found.params for name in (*param.opts, *param.secondary_opts)}
            assert set(OPTION.findall(words)) <= known | {"--help"}, command


@each_page
def test_links_lead_somewhere(page):
    for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", FENCE.sub("", page.read_text())):
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_python_files_exist(page):
    files = [f"/{file.relative_to(ROOT)}" for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    for name in re.findall(r"`((?:\w+/)*\w+\.py)\b", FENCE.sub("", page.read_text())):
        assert any(file.endswith(f"/{name}") for file in files), name


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_every_result_is_a_row_of_the_table():
    table = (ROOT / "benchmarks" / "README.md").read_text()
    pages = {page.name for page in (ROOT / "benchmarks" / "results").glob("*.md")}
    assert pages == set(re.findall(r"\(results/([\w-]+\.md)\)", table))


@pytest.mark.parametrize("page", sorted((ROOT / "benchmarks" / "results").glob("*.md")), ids=lambda page: page.name)
def test_a_result_has_a_verdict_a_date_and_a_command(page):
    title, _, rest = page.read_text().partition("\n")
    assert title.startswith("# ")
    assert re.match(r"\n202\d-\d\d-\d\d, ", rest)
    assert any(re.match(r"(python|make) ", command) for command in commands(page))
