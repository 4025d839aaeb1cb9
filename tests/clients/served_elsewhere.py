"""The server that the clients talk to. What is here needs the standard library and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from asked import MANY
from snippets import blocks
from waiting import until

DOCS = Path(__file__).resolve().parents[2] / "docs"


class Server:
    """A server that runs elsewhere, as the environment's PAD_SERVER tells it: its `url`, and `keys` by user."""

    def __init__(self) -> None:
        told = json.loads(os.environ["PAD_SERVER"])
        self.url, self.keys = told["url"], told["keys"]
        self.v1 = f"{self.url}/v1"
        self.key = self.keys["ada"]

    def call(self, path: str, body: Any = None, who: str = "ada") -> str:
        """What the server answers to plain HTTP: a GET, or a POST of JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.keys[who]}", "Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def running(self) -> float:
        """Rows that decode now."""
        lines = self.call("/metrics", who="admin").splitlines()
        return float(next(line for line in lines if line.startswith("pad_requests_running ")).split()[1])

    def frees_the_row(self, begin: Callable[[], Callable[[], object]]) -> None:
        """Begin a long answer, leave it by what `begin` returns, and see that it is not written on."""
        leave = begin()
        until(lambda: self.running() == 1)
        leave()
        until(lambda: self.running() == 0, 2)

    def all_get_through(self, ask: Callable[[], Any]) -> None:
        """Ask more often at once than there is room for; the client has to come again by itself."""
        before = self.refused()
        with ThreadPoolExecutor(MANY) as pool:
            answers = [each.result() for each in [pool.submit(ask) for _ in range(MANY)]]
        assert len(set(answers)) == 1
        assert answers[0]
        assert self.refused() > before, "the server had room for all: this tests nothing"

    def refused(self) -> float:
        """How many requests were told that the queue is full."""
        lines = self.call("/metrics", who="admin").splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith('pad_refused_total{code="queue_full"}'))

    def run_snippets(self, word: str, folder: Path) -> int:
        """Run the snippets of docs/server.md that have a word, in this environment; return how many there are."""
        snippets = [block for block in blocks(DOCS / "server.md", "python") if word in block]
        for snippet in snippets:
            program = snippet.replace("http://127.0.0.1:8700", self.url)
            done = subprocess.run(
                [sys.executable, "-c", program],
                cwd=folder,
                env={**os.environ, "PAD_KEY": self.keys["dan"]},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip()
        return len(snippets)
