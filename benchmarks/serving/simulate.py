"""Serving at a scale that nobody here has: a discrete-event simulation whose service times were measured.

    python benchmarks/serving/simulate.py --check                      8 and 32 streams here: predicted ÷ measured
    python benchmarks/serving/simulate.py                              a million users, 10,000 requests a second
    python benchmarks/serving/simulate.py --rate 100 --engine here     that many on machines like this one

Inputs are read from `benchmarks/results/service-times.json` (`service_times.py` writes it). What is assumed and not
measured is `ASSUMED` below; its figures for a GPU are guesses until one is measured.

    request → front server (condition from Chroma, gate, HTTP) → engine (queue, prompt, steps) → tokens
    feedback → front server → Chroma

An engine is what `engine/local/worker.py` is: rows join and leave between steps, prompts are read in parts, first come
first served, beside rows that write. Front servers and Chroma servers are queues of one core each. A user's Chroma
server is `server_of` their tenant.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import simpy
from rich.console import Console
from rich.table import Table

from pad_memory import server_of

RESULTS = Path(__file__).parents[1] / "results" / "service-times.json"
ASSUMED: dict[str, Any] = {
    "engine": {  # a model of 8B on one large GPU in bfloat16, by its makers' own figures; not measured here
        "step_ms": {"1": 8.0, "32": 10.0, "128": 16.0, "256": 26.0},
        "prompt_token_ms": 0.04,
        "beside": 2048,
        "max_batch": 256,
    },
    "token_ms": 0.12,  # of a front server's core, to pass a token on; here it cannot be told from the clients' own work
    "prompt_tokens": 400.0,  # that no other row has read
    "new_tokens": 200.0,
    "tenants": 2_000,
    "busiest_tenant": 0.02,  # its share of all users
    "changed": 0.1,  # share of requests before which the user's events changed
    "feedback": 0.05,  # events of feedback for each request
    "events": 200,  # of one user
    "busy": 0.7,  # share of its time that a front or Chroma server should work at most
}

Event = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True)
class EngineTimes:
    """What an engine takes: milliseconds of a step by its rows, and of a prompt's token.

    Args:
        step_ms: ms by number of rows; between two, a straight line.
        prompt_token_ms: of one token of a prompt.
        beside: tokens of prompts that are read in a step in which others write.
        max_batch: rows at most.
    """

    step_ms: dict[str, float]
    prompt_token_ms: float
    beside: int
    max_batch: int

    def step(self, rows: int) -> float:
        widths = sorted(map(int, self.step_ms))
        return float(np.interp(rows, widths, [self.step_ms[str(width)] for width in widths]))


@dataclass
class Asked:
    """One request, and when what happened to it."""

    prompt: int
    tokens: int
    begun: float
    done: simpy.Event
    first: float = math.nan
    read: int = 0
    written: int = 0


class Engine:
    """One engine: rows that decode together."""

    def __init__(self, env: simpy.Environment, times: EngineTimes) -> None:
        self.env, self.times = env, times
        self.rows: list[Asked] = []
        self.queue: deque[Asked] = deque()
        self.worked = 0.0
        self._wake = env.event()
        env.process(self._run())

    @property
    def load(self) -> int:
        """Requests that it has."""
        return len(self.rows) + len(self.queue)

    def put(self, asked: Asked) -> None:
        self.queue.append(asked)
        if not self._wake.triggered:
            self._wake.succeed()

    def _run(self) -> Event:
        times = self.times
        while True:
            if not self.load:
                self._wake = self.env.event()
                yield self._wake
            while self.queue and len(self.rows) < times.max_batch:
                self.rows.append(self.queue.popleft())
            room = times.beside if any(row.read >= row.prompt for row in self.rows) else 10**9
            read = 0
            for row in self.rows:
                part = min(row.prompt - row.read, room - read)
                row.read += part
                read += part
            ready = [row for row in self.rows if row.read >= row.prompt]
            took = read * times.prompt_token_ms + (times.step(len(ready)) if ready else 0.0)
            self.worked += took
            yield self.env.timeout(took)
            for row in ready:
                row.written += 1
                if row.written == 1:
                    row.first = self.env.now
                if row.written == row.tokens:
                    self.rows.remove(row)
                    row.done.succeed()


class Core:
    """One core that does one thing after another."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env, self.one, self.worked = env, simpy.Resource(env), 0.0

    def work(self, ms: float) -> Event:
        with self.one.request() as turn:
            yield turn
            yield self.env.timeout(ms)
            self.worked += ms


@dataclass
class Seen:
    """What requests took, in milliseconds."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    def share(self, of: str, percent: float) -> float:
        return float(np.percentile(getattr(self, of), percent))


def streams(count: int, told: dict[str, Any], seconds: float = 600.0) -> Seen:
    """Clients that ask again as soon as they are answered, at one engine; answers are as long as some were here."""
    env = simpy.Environment()
    engine = Engine(env, _times(told["engine"]))
    prompt, lengths = round(told["engine"]["prompt_tokens"]), told["measured"][str(count)]["new_tokens"]
    seen, drawn = Seen(), random.Random(1)
    times = engine.times
    # What HTTP and all before the queue take: how much longer a client that is alone waits than the engine works.
    before = max(0.0, told.get("lone_first_ms", 0.0) - prompt * times.prompt_token_ms - times.step(1))

    def client() -> Event:
        while True:
            asked = Asked(prompt, drawn.choice(lengths), env.now, env.event())
            yield env.timeout(before)
            engine.put(asked)
            yield asked.done
            if asked.begun > 1e3 * seconds / 4:
                seen.first.append(asked.first - asked.begun)
                seen.whole.append(env.now - asked.begun)

    for _ in range(count):
        env.process(client())
    env.run(1e3 * seconds)
    return seen


def _times(told: dict[str, Any]) -> EngineTimes:
    return EngineTimes(told["step_ms"], told["prompt_token_ms"], told["beside"], told["max_batch"])


def check(told: dict[str, Any]) -> Table:
    """Predicted against measured, for the streams of this machine."""
    table = Table("streams", "what", "measured", "predicted", "predicted ÷ measured")
    for count, measured in told["measured"].items():
        seen = streams(int(count), told)
        for what, name in (("first token", "first"), ("whole answer", "whole")):
            for place, percent in enumerate((50, 95)):
                was, said = measured[f"{name}_ms"][place], seen.share(name, percent)
                table.add_row(count, f"{what}, p{percent}", f"{was:,.0f} ms", f"{said:,.0f} ms", f"{said / was:.2f}")
    return table


@dataclass(frozen=True)
class Fleet:
    """How many there are of each."""

    engines: int
    fronts: int
    chromas: int


class World:
    """Users that ask, and the machines that answer them.

    Args:
        fleet: the machines.
        rate: requests a second.
        users: how many there are.
        engine: what an engine takes.
        told: the measured times of front and Chroma.
        seed: of all that is drawn.
    """

    def __init__(
        self, fleet: Fleet, rate: float, users: int, engine: EngineTimes, told: dict[str, Any], seed: int = 1
    ) -> None:
        self.env, self.random = simpy.Environment(), random.Random(seed)
        self.rate, self.users, self.told = rate, users, told
        self.engines = [Engine(self.env, engine) for _ in range(fleet.engines)]
        self.fronts = [Core(self.env) for _ in range(fleet.fronts)]
        self.chromas = [Core(self.env) for _ in range(fleet.chromas)]
        urls = [f"http://chroma-{number}:8000" for number in range(fleet.chromas)]
        place = {url: number for number, url in enumerate(urls)}
        self._shard = [place[server_of(f"tenant {number}", urls)] for number in range(ASSUMED["tenants"])]
        self.seen = Seen()

    def run(self, seconds: float) -> None:
        """Let users ask for this long, of which the first third does not count."""
        self._counts_from = 1e3 * seconds / 3
        self.env.process(self._users())
        self.env.run(1e3 * seconds)

    def _users(self) -> Event:
        while True:
            yield self.env.timeout(self.random.expovariate(self.rate / 1e3))
            self.env.process(self._request(self.random.randrange(self.users)))
            if self.random.random() < ASSUMED["feedback"]:
                self.env.process(self._feedback(self.random.randrange(self.users)))

    def _chroma(self, user: int) -> Core:
        """The busiest tenant has the first users; the others share the rest alike."""
        big = ASSUMED["busiest_tenant"] * self.users
        tenant = 0 if user < big else 1 + user % (ASSUMED["tenants"] - 1)
        return self.chromas[self._shard[tenant]]

    def _request(self, user: int) -> Event:
        begun, memory = self.env.now, self.told["memory"]
        front, chroma = self.fronts[user % len(self.fronts)], self._chroma(user)
        name = "changed" if self.random.random() < ASSUMED["changed"] else "condition"
        yield from chroma.work(memory[f"{name}_chroma_ms"])
        tokens = max(1, round(self.random.lognormvariate(math.log(ASSUMED["new_tokens"]) - 0.125, 0.5)))
        own = max(0.0, memory[f"{name}_ms"] - memory[f"{name}_chroma_ms"]) + self.told["gate_ms"]
        yield from front.work(own)
        front.worked += tokens * ASSUMED["token_ms"]  # a share of its time, not a wait of its own
        prompt = max(1, round(self.random.expovariate(1 / ASSUMED["prompt_tokens"])))
        asked = Asked(prompt, tokens, begun, self.env.event())
        min(self.random.sample(self.engines, min(2, len(self.engines))), key=lambda one: one.load).put(asked)
        yield asked.done
        if begun >= self._counts_from:
            self.seen.first.append(asked.first - begun)
            self.seen.whole.append(self.env.now - begun)

    def _feedback(self, user: int) -> Event:
        yield from self._chroma(user).work(self.told["memory"]["record_chroma_ms"])

    def busy(self, of: Sequence[Engine] | Sequence[Core]) -> tuple[float, float]:
        """The share of time that these work: in the mean, and the busiest."""
        shares = [one.worked / self.env.now for one in of]
        return float(np.mean(shares)), max(shares)


def size(rate: float, engine: EngineTimes, told: dict[str, Any]) -> Fleet:
    """How many of each the mean load needs, before anything is simulated."""
    memory = told["memory"]
    tokens, prompt = ASSUMED["new_tokens"], ASSUMED["prompt_tokens"]
    wide = engine.max_batch // 2
    each = tokens * engine.step(wide) / wide + prompt * engine.prompt_token_ms  # ms of an engine for a request
    changed, feedback = ASSUMED["changed"], ASSUMED["feedback"]
    chroma = (
        (1 - changed) * memory["condition_chroma_ms"]
        + changed * memory["changed_chroma_ms"]
        + feedback * memory["record_chroma_ms"]
    )
    waits = (1 - changed) * memory["condition_ms"] + changed * memory["changed_ms"]
    front = waits + told["gate_ms"] + tokens * ASSUMED["token_ms"]
    needed: Callable[[float], int] = lambda ms: max(1, math.ceil(rate * ms / 1e3 / ASSUMED["busy"]))  # noqa: E731
    return Fleet(max(1, math.ceil(rate * each / 1e3)), needed(front), needed(chroma))


def scale(options: argparse.Namespace, told: dict[str, Any]) -> Table:
    """The fleet for a rate: what the mean load needs, and one with a tenth fewer engines."""
    engine = _times(told["engine"] if options.engine == "here" else ASSUMED["engine"])
    sized = size(options.rate, engine, told)
    table = Table("engines", "front cores", "Chroma servers", "first token p50", "p95", "whole p50", "p95", "busy")
    for share in (1.0, 0.9):
        fleet = Fleet(max(1, math.floor(sized.engines * share)), sized.fronts, sized.chromas)
        world = World(fleet, options.rate, options.users, engine, told)
        world.run(options.seconds)
        shares = (world.busy(of) for of in (world.engines, world.fronts, world.chromas))
        busy = ", ".join(f"{mean:.2f} (most {most:.2f})" for mean, most in shares)
        seen = [f"{world.seen.share(what, percent):,.0f} ms" for what in ("first", "whole") for percent in (50, 95)]
        table.add_row(*(f"{number:,}" for number in (fleet.engines, fleet.fronts, fleet.chromas)), *seen, busy)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=Path, default=RESULTS, help="what service_times.py wrote")
    parser.add_argument("--check", action="store_true", help="compare with what was measured here")
    parser.add_argument("--rate", type=float, default=10_000.0, help="requests a second")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="that are simulated")
    parser.add_argument("--engine", choices=("gpu", "here"), default="gpu", help="assumed, or as measured here")
    options = parser.parse_args(arguments)
    told = json.loads(options.times.read_text(encoding="utf-8"))
    console = Console()
    console.width = max(console.width, 150)
    console.print(check(told) if options.check else scale(options, told))


if __name__ == "__main__":
    main()
