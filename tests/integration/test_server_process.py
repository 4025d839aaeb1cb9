"""A server as a process, over a small app: it starts, drains, ends its streams and says what went wrong."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from waiting import until

pytestmark = pytest.mark.slow

APP = """
import asyncio, contextlib, sys, threading
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pad_langchain.errors import ModelLoadError
from pad_langchain.server.errors import ApiError
from pad_langchain.server.process import run
from pad_langchain.server.settings import ServerSettings

@contextlib.asynccontextmanager
async def lifespan(app):
    if "fails" in sys.argv:
        raise ModelLoadError("There is no model 'nope'.")
    yield
    print("stopped", flush=True)

app = FastAPI(lifespan=lifespan)
app.state.draining = False
goes_on = threading.Event()

@app.get("/ready")
async def ready(request: Request):
    if request.app.state.draining:
        goes_on.set()
        return StreamingResponse(iter(()), 503)

@app.get("/stream")
async def stream():
    async def lines():
        yield "first "
        while not goes_on.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)
        yield "last"
    return StreamingResponse(lines())

settings = ServerSettings("m", port=int(sys.argv[1]), drain_s=float(sys.argv[2]), shutdown_grace_s=float(sys.argv[3]))
try:
    run(app, settings, lambda address: print(address, flush=True))
except Exception as error:
    print(type(error).__name__, error, flush=True)
    sys.exit(2)
"""


@contextmanager
def served(port: int = 0, drain: float = 0.5, grace: float = 30, *more: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", APP, str(port), str(drain), str(grace), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class Reader(threading.Thread):
    """Reads the stream of a server, beside the test."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.text, self.error = address, "", ""
        self.start()
        until(lambda: self.text or self.error)

    def run(self) -> None:
        try:
            with httpx.stream("GET", f"{self.address}/stream", timeout=60) as answer:
                for part in answer.iter_text():
                    self.text += part
        except httpx.HTTPError as error:
            self.error = type(error).__name__


def test_a_signal_drains_the_server_and_its_streams_end() -> None:
    with served() as process:
        address = address_of(process)
        assert httpx.get(f"{address}/ready").status_code == 200
        reader = Reader(address)
        process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{address}/ready").status_code == 503)
        reader.join(30)
        assert (reader.text, reader.error) == ("first last", "")
        out, _ = process.communicate(timeout=30)
        assert (out, process.returncode) == ("stopped\n", -signal.SIGTERM)


def test_a_stream_that_is_longer_than_the_grace_is_cut_and_not_ended() -> None:
    with served(0, 0, 1) as process:
        reader = Reader(address_of(process))
        process.send_signal(signal.SIGTERM)
        reader.join(30)
        assert (reader.text, reader.error) == ("first ", "RemoteProtocolError")
        process.communicate(timeout=30)


def test_what_the_start_raises_is_raised_without_a_traceback() -> None:
    with served(0, 0, 1, "fails") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "ModelLoadError There is no model 'nope'.\n")
    assert "Traceback" not in err


def test_a_port_in_use_is_told_of_before_anything_loads() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with served(port, 0, 1, "fails") as process:
            out, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out.startswith(f"InvalidRequestError 127.0.0.1 port {port} cannot be listened on: Address already in use.")
