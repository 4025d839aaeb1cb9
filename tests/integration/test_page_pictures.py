"""The pictures of docs/server.md. `python tests/integration/test_page_pictures.py` writes them anew."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from browsers import browsing
from chat_page import ANIMALS, ask, like, log_in, tell
from places import DOCS
from served_process import serve

PICTURES = ("page.png", "page-demo.png")
LARGEST = 150_000  # bytes of a picture


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_the_docs_are_small(name: str) -> None:
    picture = DOCS / name
    assert picture.stat().st_size <= LARGEST
    assert picture.read_bytes()[:4] == b"\x89PNG"


def take_pictures(folder: Path) -> None:
    """Write the pictures of docs/server.md from a true run."""
    with browsing() as browser, serve(folder, "--memory", str(folder / "memory")) as server:
        page = browser.new_page(viewport={"width": 1180, "height": 720})
        page.goto(server.url)
        log_in(page, server.keys["ada"])
        tell(page, "Could you keep it short, please?")
        page.get_by_role("switch", name="Heat map").check()
        for animal in ANIMALS:
            like(ask(page, f"What is {animal}?"))
        page.screenshot(path=DOCS / PICTURES[0])
        page.context.clear_cookies()
        page.goto(f"{server.url}/?demo=1")
        page.set_viewport_size({"width": 1000, "height": 900})
        log_in(page, server.keys["app"])
        ask(page)
        page.screenshot(path=DOCS / PICTURES[1])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        take_pictures(Path(temporary))
