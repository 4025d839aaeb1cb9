"""Chromium, and what a page did in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest


def chromium() -> str:
    """Return the path of Chromium. Where there is none, the test skips; with PAD_BROWSER=required it fails."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing = "Chromium is not installed: apt-get install --no-install-recommends chromium"
        (pytest.fail if os.environ.get("PAD_BROWSER") == "required" else pytest.skip)(missing)
    return path


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser of playwright."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Seen:
    """What a page asked for and complained of."""

    origin: str
    urls: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))

    @property
    def foreign(self) -> list[str]:
        """Requests to others than the server. A blob is the page's own."""
        own = (f"{self.origin}/", f"blob:{self.origin}/")
        return [url for url in self.urls if not url.startswith(own)]


def findings(page: Any) -> list[str]:
    """What axe-core finds wrong on a page as it is now."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    return page.evaluate(
        """async () => (await axe.run(document)).violations.flatMap(({ id, nodes }) =>
            nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 120)} ${failureSummary}`))"""
    )
