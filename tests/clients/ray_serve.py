"""Ray Serve runs what `pad-langchain deploy ray` writes: two replicas over one Chroma server, one of them killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from waiting import until

USERS = 12
CHROMA = "from chromadb.cli.cli import app; app()"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Served:
    """The application behind Ray's proxy."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def call(self, path: str, body: Any = None, user: str = "ada", method: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", "X-PAD-User": user, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read())

    def chat(self, user: str, **more: Any) -> Any:
        asked = [{"role": "user", "content": "Tell me about a lion."}]
        body = {"model": "pad-demo", "messages": asked, "max_tokens": 8, **more}
        return self.call("/v1/chat/completions", body, user)

    def ready(self) -> bool:
        try:
            return bool(self.call("/ready"))
        except OSError:
            return False


def replicas() -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter(["cmdline"]):
        if any("ServeReplica:pad" in word for word in one.info["cmdline"] or ()):
            found.append(one)
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("ray")
    scripts = Path(sys.executable).parent
    chroma, port = free_port(), free_port()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    pad = [sys.executable, "-m", "pad_langchain"]
    made = subprocess.run(
        [*pad, "keys", "create", "--keys", str(folder / "keys.json"), "--role", "app"],
        capture_output=True,
        text=True,
        check=True,
    )
    told = {
        "server": {
            "model": "pad-demo",
            "memory": f"http://127.0.0.1:{chroma}",
            "keys": str(folder / "keys.json"),
            "port": port,
            "answer_retention_s": 3600,
        },
        "replicas": {"least": 2, "most": 2},
        "cpus": 0.5,
        "health_check_s": 2,
        "by_user": False,  # so that both replicas have all users
    }
    (folder / "deploy.yaml").write_text(json.dumps(told))  # JSON is YAML
    commands = {
        "chroma": [sys.executable, "-c", CHROMA, "run", "--path", str(folder), "--port", str(chroma)],
        "ray": [*pad, "deploy", "ray", "--config", "deploy.yaml", "--run"],
    }
    if not (scripts / "serve").exists():
        pytest.fail("The environment of this test has no Ray Serve.")
    running = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                started = subprocess.Popen(
                    command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True
                )
                running.append(started)
        one = Served(f"http://127.0.0.1:{port}", made.stdout.strip())
        until(lambda: one.ready() or running[-1].poll() is not None, 240)
        assert running[-1].poll() is None, (folder / "ray.log").read_text()
        until(lambda: len(replicas()) == 2, 60)
        yield one
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGINT)
        for process in reversed(running):
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        subprocess.run([str(scripts / "ray"), "stop", "--force"], capture_output=True, timeout=60, check=False)


def test_a_wish_stated_at_one_replica_steers_at_both(served: Served) -> None:
    served.call("/v1/feedback", {"kind": "statement", "text": "Please be brief."}, "eve")
    before = {one.pid: one.cpu_times().user for one in replicas()}
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: served.chat("eve", max_tokens=32)["pad"]["condition"], range(16)))
    assert all(condition for condition in seen)
    assert all(one.cpu_times().user > before[one.pid] + 0.1 for one in replicas())  # each answered some


def test_feedback_names_an_answer_of_whichever_replica(served: Served) -> None:
    for number in range(16):
        told = served.chat("kim")
        thumb = {"kind": "thumb", "response_id": told["id"], "up": bool(number % 2), "id": f"thumb {number}"}
        kept = served.call("/v1/feedback", thumb, "kim")
        assert kept["object"] == "feedback"


def test_no_feedback_is_lost_and_no_new_call_fails_where_a_replica_is_killed_under_load(served: Served) -> None:
    acknowledged: list[tuple[str, str]] = []
    ends = threading.Event()

    def load(user: str) -> None:
        number = 0
        while not ends.is_set():
            number += 1
            name = f"{user} {number}"
            try:
                served.chat(user, max_tokens=64)
                served.call("/v1/feedback", {"kind": "statement", "text": "Please be brief.", "id": name}, user)
            except (OSError, urllib.error.HTTPError):
                continue  # the killed replica had it; what was not acknowledged may be gone
            acknowledged.append((user, name))

    threads = [threading.Thread(target=load, args=(f"user {number}",)) for number in range(USERS)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) >= USERS, 60)
    killed = replicas()[0]
    killed.kill()
    killed.wait(10)
    answered = [served.chat("new", max_tokens=4)["object"] for _ in range(40)]
    ends.set()
    for thread in threads:
        thread.join(60)
    assert answered == ["chat.completion"] * 40
    for user, name in acknowledged:
        assert name in {event["event"]["id"] for event in served.call("/v1/me", user=user)["events"]}
    until(lambda: len(replicas()) == 2, 60)  # Ray started another
