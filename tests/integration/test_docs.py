"""The pages in docs/ cannot drift: every python snippet of ours runs offline on the demo pair, in an empty folder."""

from __future__ import annotations

import re

import pytest

from fresh import run_program
from places import DOCS

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = [
    pytest.param(snippet, id=f"{page.name}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, snippet in enumerate(BLOCK.findall(page.read_text()))
]


@pytest.mark.slow
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets_run(snippet, tmp_path):
    done = run_program(snippet, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "print(" not in snippet
