"""The pages in docs/ cannot drift: every python snippet of ours runs offline on the demo pair, in an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from places import DOCS

PAGES = ("agents.md", "engine.md", "feedback.md", "langchain.md", "llama-index.md", "migration.md", "transformers.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = [
    pytest.param(snippet, id=f"{page}-{number}")
    for page in PAGES
    for number, snippet in enumerate(BLOCK.findall((DOCS / page).read_text()))
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets_run(snippet, tmp_path):
    done = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "print(" not in snippet


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target
