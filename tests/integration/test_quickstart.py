"""The quickstart runs from top to bottom, offline, and shows what its committed outputs show.

python tests/integration/test_quickstart.py     runs it and writes its outputs anew
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from recipes.demo_world.judges import satisfied

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"  # by itself: it is a script, too
NOTEBOOK = EXAMPLES / "quickstart.ipynb"
# The order of LangChain's own pages about chat models, and then what is ours.
SECTIONS = [
    "pad-langchain in five minutes",
    "Setup",
    "Instantiation",
    "Invocation",
    "Chaining",
    "Feedback",
    "What the memory knows",
    "Rewards per token",
    "Where next",
]
LARGEST = 400_000  # bytes


def run(folder: Path) -> Any:
    """The notebook with the outputs of a run in an empty folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=250,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    home = {"IPYTHONDIR": str(folder / "ipython"), "MPLCONFIGDIR": str(folder / "matplotlib")}
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    client.execute(env={**os.environ, **home, **offline})
    notebook.metadata["language_info"] = {"name": "python"}  # not which Python it was
    return notebook


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(tmp_path_factory.mktemp("quickstart"))


@pytest.fixture(scope="module")
def committed() -> Any:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def printed(notebook: Any) -> dict[str, str]:
    """Cell → what it prints."""
    return {
        cell.id: "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def plots(notebook: Any) -> dict[str, str]:
    """Cell → its picture, a PNG in base 64."""
    return {
        cell.id: output.data["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    }


def test_a_run_prints_what_is_committed(ran: Any, committed: Any) -> None:
    assert printed(ran) == printed(committed)
    assert plots(ran).keys() == plots(committed).keys()


def test_the_answers_follow_the_feedback(ran: Any) -> None:
    said = printed(ran)
    before, after, final = said["invoke"], said["wish"].split("\n\n")[0], said["ask-again"]
    assert "Joke" not in before
    assert satisfied(before, {"length": 0}) == {"length": False}
    assert satisfied(after, {"length": 0, "humor": 0}) == {"length": True, "humor": False}
    assert satisfied(final, {"length": 0, "humor": 0}) == {"length": True, "humor": True}
    ada, bob = re.split(r"^bob: ", said["chain"].removeprefix("ada: "), flags=re.MULTILINE)
    assert satisfied(ada, {"format": 0}) == {"format": False}
    assert satisfied(bob, {"format": 0}) == {"format": True}
    assert re.findall(r"^(be \w+).* (\d+)% sure", said["profile"], re.MULTILINE) == [
        ("be concise", "90"),
        ("be humorous", "90"),
    ]


def test_the_plots_are_drawn(ran: Any) -> None:
    drawn = {cell: Image.open(io.BytesIO(base64.b64decode(data))) for cell, data in plots(ran).items()}
    assert set(drawn) == {"plot-profile", "plot-rewards"}
    for cell, picture in drawn.items():
        assert picture.width > 900
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 24)}
        assert {(15, 118, 110), (217, 119, 6)} <= colors, f"{cell} shows teal and orange"


def test_what_is_committed_is_clean(committed: Any) -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) <= LARGEST
    assert not re.search(r"/(?:home|root|tmp|usr|Users)/|site-packages|\.venv", text)
    assert not re.search(r"\"stderr\"|Warning:|WARNING|Traceback", text)
    assert committed.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(cell.metadata == {} for cell in committed.cells)
    assert all(re.fullmatch(r"[a-z-]+", cell.id) for cell in committed.cells), "ids that say what the cell is"


def test_the_sections_are_those_of_a_chat_models_page(committed: Any) -> None:
    text = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    assert re.findall(r"^#+ (.*)", text, re.MULTILINE) == SECTIONS
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", text):
        assert (EXAMPLES / target).exists(), target


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(run(Path(folder)), NOTEBOOK)
    sys.stdout.write(f"wrote {NOTEBOOK.name}\n")
