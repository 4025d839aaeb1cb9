"""`pad-langchain serve` on the demo pair as a process, with keys for its users."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai

from pad_langchain.server.keys import Keys
from waiting import until

STARTS = 240.0  # seconds in which a server of a busy machine has loaded


@dataclass
class Running:
    """A server that runs.

    Args:
        process: of the server.
        url: its address.
        keys: of users, by name; "app" and "admin" are those of these roles.
        log: what it wrote.
    """

    process: subprocess.Popen[bytes]
    url: str
    keys: dict[str, str]
    log: Path
    clients: list[Any] = field(default_factory=list)

    def sdk(self, who: str = "ada", **more: Any) -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.keys[who], **{"max_retries": 0, **more})
        self.clients.append(client)
        return client

    def http(self, who: str = "ada") -> httpx.Client:
        client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.keys[who]}"}, timeout=60)
        self.clients.append(client)
        return client

    def running(self) -> float:
        """Rows that decode now."""
        counted = self.http("admin").get("/metrics").text
        line = next(line for line in counted.splitlines() if line.startswith("pad_requests_running "))
        return float(line.split()[1])


@contextmanager
def serve(folder: Path, *options: str) -> Iterator[Running]:
    """Run a server whose batch has two rows and whose queue has two places, until the end of the block."""
    file, out, log = folder / "keys.json", folder / "out", folder / "log"
    made = {user: Keys(file).create("user", user=user)[1] for user in ("ada", "bob", "cleo", "dan")}
    made |= {role: Keys(file).create(role)[1] for role in ("app", "admin")}
    command = [sys.executable, "-m", "pad_langchain", "serve", "--model", "pad-demo", "--port", "0"]
    command += ["--keys", str(file), "--engine-settings", "{max_batch: 2, max_queue: 2}", *options]
    with out.open("wb") as said, log.open("wb") as logged:
        process = subprocess.Popen(command, stdout=said, stderr=logged, cwd=folder)
    try:
        until(lambda: "/v1 answers" in out.read_text() or process.poll() is not None, STARTS)
        assert process.poll() is None, log.read_text()
        url = next(line for line in out.read_text().splitlines() if "/v1 answers" in line).partition("/v1")[0]
        running = Running(process, url, made, log)
        yield running
        for client in running.clients:
            client.close()
    finally:
        process.kill()
        process.wait()
