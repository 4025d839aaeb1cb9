"""The memory under asyncio and threads: the loop goes on, nothing is lost, nobody sees anybody else."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from datetime import timedelta

import numpy as np
import pytest

from fakes import PoleScorer
from pad_memory import PreferenceMemory, Statement, Thumb
from pad_memory.errors import InvalidUserError
from places import BENCHMARKS
from waiting import auntil

APART = BENCHMARKS / "memory" / "apart.py"


async def test_all_calls_work_and_agree(memory: PreferenceMemory) -> None:
    id = await memory.aio.record("ada", Statement("short answers"))
    assert [event.id for event in await memory.aio.events("ada")] == [id]
    assert (await memory.aio.profile("ada")).to_json() == memory.profile("ada").to_json()
    assert (await memory.aio.condition("ada", "q", budget=1)).items == memory.condition("ada", "q", budget=1).items
    assert (await memory.aio.next_question("ada")) == memory.next_question("ada")
    assert await memory.aio.search("ada", "brief", 1) == memory.search("ada", "brief", 1)
    last = await memory.aio.record("ada", Statement("long answers"))
    assert [item.ended_by for item in await memory.aio.history("ada")] == [last, None]
    assert await memory.aio.undo("ada") == last
    assert [item.key for item in (await memory.aio.profile("ada")).preferences] == ["length:concise"]
    taken = await memory.aio.retract("ada", last)
    assert await memory.aio.retract("ada", taken) not in (last, taken)  # it counts again
    assert [item.key for item in (await memory.aio.profile("ada")).preferences] == ["length:detailed"]
    first = memory.events("ada")[0].time
    assert [item.key for item in (await memory.aio.profile("ada", first)).preferences] == ["length:concise"]
    assert (await memory.aio.repair()).rebuilt == ()
    for event in memory.events("ada")[1:]:
        if event.id in {seen.id for seen in memory.events("ada")}:  # what took it back goes with it
            await memory.aio.forget("ada", event.id)
    data = await memory.aio.export("ada")
    assert await memory.aio.forget("ada") > 0
    assert await memory.aio.users() == []
    assert await memory.aio.import_(data) == 1
    assert await memory.aio.users() == ["ada"]
    assert await memory.aio.forget("ada", id) == 1
    await memory.aio.record("guest", Statement("short answers", time=1.0))
    assert await memory.aio.merge("guest", "ada") == 1
    assert [user.user for user in await memory.aio.forget_idle(timedelta(days=1), dry_run=False)] == ["ada"]
    assert await memory.aio.users() == []
    with pytest.raises(InvalidUserError, match="not empty"):
        await memory.aio.record("", Statement("short answers"))


async def test_a_slow_scorer_does_not_hold_up_the_loop(memory: PreferenceMemory) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(prompt: str, response: str, preferences: object) -> np.ndarray:
        started.set()
        assert go_on.wait(60)
        return PoleScorer()(prompt, response, preferences)  # type: ignore[arg-type]

    memory.scorer = slow
    task = asyncio.create_task(memory.aio.record("ada", Thumb("q", "tone:casual", True)))
    await auntil(started.is_set)  # would never return to us if the loop were blocked
    await memory.aio.record("bob", Statement("no jokes"))  # nor does it hold up other users
    assert not task.done()
    go_on.set()
    assert await task == memory.events("ada")[0].id


async def test_many_at_once_lose_nothing(memory: PreferenceMemory) -> None:
    start = time.time()
    await asyncio.gather(*(memory.aio.record("ada", Statement(f"mention thing {step}")) for step in range(40)))
    assert len(memory.events("ada")) == 40
    assert len({event.id for event in memory.events("ada")}) == 40
    assert all(start - 1 <= (event.time or 0) <= time.time() for event in memory.events("ada"))


def test_hostile_ids_never_meet(memory: PreferenceMemory) -> None:
    spec = importlib.util.spec_from_file_location("memory_apart", APART)
    assert spec
    assert spec.loader
    apart = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(apart)
    assert apart.foreign(3, "secret 3 thing, secret 33, secret 4") == 2
    done, foreign = apart.run(memory, 400)
    assert foreign == 0
    assert done["record"] > 20
    assert done["refused"] > 10
