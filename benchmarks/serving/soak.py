"""Does a server lose feedback, mix users up or grow, while many use it for long and the database below it restarts?

    python benchmarks/serving/soak.py --minutes 30

It starts `chroma run` and `pad-langchain serve` on it. Clients chat, streamed and whole, leave in the middle, judge
answers, state and take back wishes, send what is no request, name ids of others, and have themselves erased. The
database is killed and started again every `--restart` seconds. Feedback that was refused with 503 is sent again with
the same id, as the documentation says.

- lost: feedback that was answered by 201 and is not in its user's export at the end.
- foreign: texts or ids of somebody else in what a user was answered, or in their export.
- growth: of the server's resident memory, its median over the last sixth of the run ÷ that of the minutes `--warm` to
  `--warm` + a sixth.

A text of user 7 has the mark "mark7x", so that whose it is can be seen wherever it turns up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from pad_langchain.server.keys import Keys

MODEL = "pad-demo"
WISHES = ("be concise and brief", "use a formal tone", "give an example", "be humorous", "no lists")
KINDS = {
    "chat": 20, "stream": 16, "leave stream": 6, "leave whole": 4, "thumb": 16, "wish": 10, "take back": 3,
    "preferences": 8, "export": 4, "bad body": 8, "foreign id": 4, "erase": 0.4,
}  # fmt: skip
BAD = (
    b"", b"{", b"[]", b"null", b'{"model": 7}', b'{"kind": "thumb"}', b"\xff\xfe", b"[" * 9000, b"x" * 400_000,
    b'{"model": "pad-demo", "messages": []}', b'{"model": "other", "messages": [{"role": "user", "content": "x"}]}',
)  # fmt: skip


class Chroma:
    """`chroma run` on a folder, which is killed and comes back on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self._folder, self.restarts = f"http://127.0.0.1:{self.port}", folder, 0
        self.start()

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(self._folder)]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def restart(self, away: float) -> None:
        self.kill()
        await asyncio.sleep(away)
        self.start()
        self.restarts += 1


@dataclass
class Seen:
    """What all clients saw."""

    done: Counter[str] = field(default_factory=Counter)  # by kind
    answers: Counter[str] = field(default_factory=Counter)  # by status and code of an error
    foreign: list[str] = field(default_factory=list)
    doubts: int = 0  # feedback that was sent again after a 503
    rss: list[tuple[float, float]] = field(default_factory=list)  # seconds since the start, MiB
    seconds: dict[str, list[float]] = field(default_factory=dict)  # by kind


class Client:
    """One user. Half of them have a key of their own; the app's key names the others.

    Args:
        number: the user's.
        http: sends their key.
        seen: by all clients.
        others: response ids of all users, by user.
    """

    def __init__(self, number: int, http: httpx.AsyncClient, seen: Seen, others: dict[int, list[str]]) -> None:
        self.number, self.http, self.seen, self.others = number, http, seen, others
        self.name, self.rng = f"user {number}", random.Random(number)
        self.ids = others.setdefault(number, [])
        self.acknowledged: set[str] = set()
        self.said = 0

    async def live(self, until: float, pause: float) -> None:
        """Do one thing after another until a moment of the monotonic clock."""
        while time.monotonic() < until:
            kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
            begun = time.monotonic()
            try:
                await getattr(self, kind.replace(" ", "_"))()
            except httpx.TransportError as error:
                self.seen.answers[f"broken off: {type(error).__name__}"] += 1
            self.seen.done[kind] += 1
            self.seen.seconds.setdefault(kind, []).append(time.monotonic() - begun)
            await asyncio.sleep(self.rng.expovariate(1 / pause))

    # --- what they do

    async def chat(self) -> None:
        answer = await self._send("POST", "/v1/chat/completions", json=self._question())
        if answer.status_code == 200:
            self.ids.append(answer.json()["id"])

    async def stream(self) -> None:
        async with self.http.stream("POST", "/v1/chat/completions", json=self._question(stream=True)) as answer:
            text = (await answer.aread()).decode()
        self._look(text, answer.status_code)
        if answer.status_code == 200 and "[DONE]" in text:
            self.ids.append(json.loads(text.partition("\n")[0].removeprefix("data: "))["id"])

    async def leave_stream(self) -> None:
        async with (
            self.http.stream("POST", "/v1/chat/completions", json=self._question(stream=True)) as answer,
            aclosing(answer.aiter_lines()) as lines,
        ):
            async for _ in lines:
                return

    async def leave_whole(self) -> None:
        try:
            async with asyncio.timeout(self.rng.uniform(0.0, 0.1)):
                await self.chat()
        except TimeoutError:
            pass

    async def thumb(self) -> None:
        if self.ids:
            await self._tell(kind="thumb", response_id=self.rng.choice(self.ids[-5:]), up=self.rng.random() < 0.5)

    async def wish(self) -> None:
        if self.rng.random() < 0.5:
            await self._tell(kind="statement", text=self.rng.choice(WISHES))
        else:
            await self._tell(kind="statement", text=f"mention mark{self.number}x thing {self.rng.randrange(5)}")

    async def take_back(self) -> None:
        if self.acknowledged:
            await self._send("DELETE", f"/v1/feedback/{self.rng.choice(sorted(self.acknowledged))}")

    async def preferences(self) -> None:
        await self._send("GET", "/v1/preferences" + self.rng.choice(("", "/history", "?query=lion")))

    async def export(self) -> None:
        await self._send("GET", "/v1/me")

    async def bad_body(self) -> None:
        path = self.rng.choice(("/v1/chat/completions", "/v1/feedback", "/v1/comparisons"))
        answer = await self._send("POST", path, content=self.rng.choice(BAD))
        if not 400 <= answer.status_code < 500 and answer.status_code != 503:
            self.seen.answers[f"a bad body was answered by {answer.status_code}"] += 1

    async def foreign_id(self) -> None:
        other = self.rng.choice([ids for number, ids in self.others.items() if number != self.number and ids] or [[""]])
        said = {"kind": "thumb", "response_id": self.rng.choice(other), "up": True}
        answer = await self._send("POST", "/v1/feedback", json=said)
        if answer.status_code == 201:
            self.seen.foreign.append(f"{self.name} judged an answer of somebody else")

    async def erase(self) -> None:
        told = set(self.acknowledged)
        answer = await self._send("DELETE", "/v1/me")
        if answer.status_code == 200:
            self.acknowledged -= told
            self.ids.clear()

    # --- inside

    def _question(self, **more: Any) -> dict[str, Any]:
        asked = [{"role": "user", "content": f"What is a lion, mark{self.number}x?"}]
        return {"model": MODEL, "messages": asked, "max_tokens": self.rng.randrange(4, 16), **more}

    async def _tell(self, **said: Any) -> None:
        """Send feedback until it is answered by something else than 503."""
        self.said += 1
        said["id"] = f"mark{self.number}x-{self.said}"
        for _ in range(20):
            answer = await self._send("POST", "/v1/feedback", json=said)
            if answer.status_code == 201:
                self.acknowledged.add(said["id"])
            if answer.status_code != 503:
                return
            self.seen.doubts += 1
            await asyncio.sleep(1)

    async def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        answer = await self.http.request(method, path, **body)
        self._look(answer.text, answer.status_code)
        return answer

    def _look(self, text: str, status: int) -> None:
        code = re.search(r'"code":\s*"(\w+)"', text) if status >= 400 else None
        self.seen.answers[f"{status} {code[1] if code else ''}".strip()] += 1
        self.seen.foreign += [f"{self.name} saw {mark}" for mark in foreign(self.number, text)]


def foreign(number: int, text: str) -> list[str]:
    """The marks of others in a text."""
    return [f"mark{mark}x" for mark in re.findall(r"mark(\d+)x", text) if int(mark) != number]


@contextmanager
def served(folder: Path, memory: str, users: int) -> Iterator[tuple[subprocess.Popen[str], str, dict[str, str]]]:
    """A server on a free port: its process, its address, and its keys by user, "app" and "admin"."""
    file, log = folder / "keys.json", folder / "log"
    keys = {f"user {number}": Keys(file).create("user", user=f"user {number}")[1] for number in range(0, users, 2)}
    keys |= {"app": Keys(file).create("app")[1], "admin": Keys(file).create("admin")[1]}
    command = [sys.executable, "-m", "pad_langchain", "serve", "--model", MODEL, "--port", "0", "--keys", str(file)]
    command += ["--memory", memory, "--answer-retention", "300", "--engine-settings", "{max_batch: 8, max_queue: 32}"]
    with log.open("wb") as logged:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=logged, text=True, cwd=folder)
    try:
        assert process.stdout is not None
        said = next((line for line in process.stdout if "/v1 answers" in line), None)
        if said is None:
            raise SystemExit(log.read_text())
        yield process, said.partition("/v1")[0], keys
    finally:
        process.kill()
        process.communicate()
        failures = Counter(re.findall(r"ERROR (\S+), request", log.read_text(errors="replace")))
        print(f"Failures in the server's log: {dict(failures) or 'none'}")


async def soak(options: argparse.Namespace, folder: Path, seen: Seen) -> tuple[list[str], float, int]:
    """Run it all; return what was lost, the server's CPU seconds, and how often Chroma was restarted."""
    chroma = Chroma(folder / "chroma")
    try:
        while not chroma.listens():
            await asyncio.sleep(0.1)
        with served(folder, chroma.url, options.clients) as (process, url, keys):
            watched = psutil.Process(process.pid)
            clients, others = [], dict[int, list[str]]()
            for number in range(options.clients):
                name = f"user {number}"
                key, named = (keys[name], {}) if name in keys else (keys["app"], {"X-PAD-User": name})
                headers = {"Authorization": f"Bearer {key}", **named}
                http = httpx.AsyncClient(base_url=url, headers=headers, timeout=60)
                clients.append(Client(number, http, seen, others))
            begun, before = time.monotonic(), watched.cpu_times()
            until = begun + options.minutes * 60
            watching = asyncio.ensure_future(watch(watched, begun, min(5.0, options.minutes), seen))
            restarting = asyncio.ensure_future(restart(chroma, options.restart))
            await asyncio.gather(*(client.live(until, options.clients / options.rate) for client in clients))
            watching.cancel()
            restarting.cancel()
            await asyncio.gather(watching, restarting, return_exceptions=True)
            if not chroma.listens():
                chroma.kill()
                chroma.start()
            while not chroma.listens():
                await asyncio.sleep(0.1)
            used = watched.cpu_times()
            lost = await missing(url, keys["admin"], clients, seen)
            for client in clients:
                await client.http.aclose()
            return lost, used.user + used.system - before.user - before.system, chroma.restarts
    finally:
        chroma.kill()


async def watch(process: psutil.Process, begun: float, every: float, seen: Seen) -> None:
    """Note the memory of the server again and again."""
    while True:
        seen.rss.append((time.monotonic() - begun, process.memory_info().rss / 2**20))
        await asyncio.sleep(every)


async def restart(chroma: Chroma, every: float) -> None:
    """Kill Chroma again and again, and leave it away for up to five seconds."""
    rng = random.Random(0)
    while True:
        await asyncio.sleep(every)
        await chroma.restart(rng.uniform(0, 5))


async def missing(url: str, key: str, clients: list[Client], seen: Seen) -> list[str]:
    """The ids of feedback that was acknowledged and is not kept."""
    lost: list[str] = []
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as admin:
        for client in clients:
            answer = await admin.get(f"/admin/users/{client.name}")
            answer.raise_for_status()
            kept = Counter(row["event"]["id"] for row in answer.json()["events"])
            lost += sorted(client.acknowledged - kept.keys())
            seen.foreign += [f"in the export of {client.name}: {mark}" for mark in foreign(client.number, answer.text)]
            seen.answers["an event is kept twice"] += sum(count - 1 for count in kept.values())
    return lost


def growth(rss: list[tuple[float, float]], warm: float, length: float) -> tuple[float, float]:
    """Median MiB from `warm` seconds on and at the end, each over a sixth of the run."""
    sixth = length / 6
    early = [size for second, size in rss if warm <= second <= warm + sixth]
    late = [size for second, size in rss if second >= length - sixth]
    return statistics.median(early), statistics.median(late)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rate", type=float, default=4, help="things that all clients together do in a second, about")
    parser.add_argument("--restart", type=float, default=120, help="seconds between two restarts of Chroma")
    parser.add_argument("--warm", type=float, default=5, help="minutes before memory counts")
    options = parser.parse_args()
    seen, length = Seen(), options.minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        lost, cpu, restarts = asyncio.run(soak(options, Path(folder), seen))
    early, late = growth(seen.rss, min(options.warm * 60, length / 2), length)
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{options.minutes:g} minutes, {options.clients} clients, {sum(seen.done.values()):,} things done: "
          f"{', '.join(f'{count:,} {kind}' for kind, count in seen.done.most_common())}")  # fmt: skip
    print(f"Answers: {', '.join(f'{count:,} × {what}' for what, count in seen.answers.most_common() if count)}")
    print(f"Chroma killed and restarted {restarts} times; feedback sent again after 503: {seen.doubts}")
    for kind in ("chat", "thumb", "wish", "preferences"):
        times = sorted(seen.seconds.get(kind, [0.0]))
        print(f"{kind}: p50 {times[len(times) // 2]:.2f} s, p99 {times[int(len(times) * 0.99)]:.2f} s")
    print(f"lost acknowledged feedback: {len(lost)} {lost[:5]}")
    print(f"foreign rows: {len(seen.foreign)} {seen.foreign[:5]}")
    print(f"server's memory: {early:.0f} MiB, {late:.0f} MiB at the end: {(late / early - 1) * 100:+.1f} %")
    print(f"server's CPU: {cpu / length * 100:.0f} % of a core; load average of the machine at the end: {load}")
    failed = [what for what, count in seen.answers.items() if count and (what.startswith("5") or "bad body" in what)]
    sys.exit(1 if lost or seen.foreign or any(not what.startswith("503") for what in failed) else 0)


if __name__ == "__main__":
    main()
