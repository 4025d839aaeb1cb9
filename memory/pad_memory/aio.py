"""The memory for asyncio: the same calls, each in a thread, so that none blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pad_memory.condition import Condition
from pad_memory.events import Feedback
from pad_memory.profile import Preference, Profile, Question
from pad_memory.store import RepairReport
from pad_memory.users import IdleUser

if TYPE_CHECKING:
    from pad_memory.memory import PreferenceMemory

__all__ = ["AsyncMemory"]


class AsyncMemory:
    """The calls of a `PreferenceMemory` as coroutines; its `aio`. What they take, return and raise is the same.

    A call whose task is cancelled is still carried out: its thread cannot be stopped half-way.

    Args:
        memory: an open one, which may be used directly at the same time.
    """

    def __init__(self, memory: PreferenceMemory) -> None:
        self._memory = memory

    async def record(self, user: str, event: Feedback, **options: Any) -> str:
        """Keep an event for good and return its id; options as `PreferenceMemory.record` has them."""
        return await asyncio.to_thread(self._memory.record, user, event, **options)

    async def pause(self, user: str) -> None:
        """Record nothing of a user until `resume`."""
        await asyncio.to_thread(self._memory.pause, user)

    async def resume(self, user: str) -> None:
        """Record again."""
        await asyncio.to_thread(self._memory.resume, user)

    async def paused(self, user: str) -> bool:
        """Whether nothing of a user is recorded."""
        return await asyncio.to_thread(self._memory.paused, user)

    async def set_time_zone(self, user: str, zone: str) -> None:
        """Say whose clock a user means by "today"."""
        await asyncio.to_thread(self._memory.set_time_zone, user, zone)

    async def end_thread(self, user: str, thread: str) -> int:
        """Erase what was kept for a conversation only."""
        return await asyncio.to_thread(self._memory.end_thread, user, thread)

    async def retract(self, user: str, event_id: str) -> str:
        """Take one event back; return the id of the retraction."""
        return await asyncio.to_thread(self._memory.retract, user, event_id)

    async def undo(self, user: str) -> str:
        """Take back the latest event that still counts; return its id."""
        return await asyncio.to_thread(self._memory.undo, user)

    async def events(self, user: str) -> tuple[Feedback, ...]:
        """Return a user's events, oldest first."""
        return await asyncio.to_thread(self._memory.events, user)

    async def users(self) -> list[str]:
        """Return the ids of all users of this tenant, sorted."""
        return await asyncio.to_thread(self._memory.users)

    async def profile(self, user: str, at: float | None = None) -> Profile:
        """Return everything concluded about a user, now or as it was at a time."""
        return await asyncio.to_thread(self._memory.profile, user, at)

    async def history(self, user: str) -> tuple[Preference, ...]:
        """Return every wish in words the user had, the oldest first."""
        return await asyncio.to_thread(self._memory.history, user)

    async def search(self, user: str, query: str, limit: int = 5) -> tuple[tuple[Preference, float], ...]:
        """Return preferences, past ones as well, by their cosine to a query, the nearest first."""
        return await asyncio.to_thread(self._memory.search, user, query, limit)

    async def condition(self, user: str, query: str | None = None, **options: Any) -> Condition:
        """Return the preferences for the user's next generation; options as `PreferenceMemory.condition` has them."""
        return await asyncio.to_thread(self._memory.condition, user, query, **options)

    async def next_question(self, user: str) -> Question | None:
        """Return the comparison whose answer is expected to teach most; None where the user is known."""
        return await asyncio.to_thread(self._memory.next_question, user)

    async def forget(self, user: str, event_id: str | None = None) -> int:
        """Erase everything about a user, or one event, from every file."""
        return await asyncio.to_thread(self._memory.forget, user, event_id)

    async def export(self, user: str) -> dict[str, Any]:
        """Return all that is kept about a user as a JSON-able dict."""
        return await asyncio.to_thread(self._memory.export, user)

    async def import_(self, data: Mapping[str, Any]) -> int:
        """Add the events and items of an export to its user."""
        return await asyncio.to_thread(self._memory.import_, data)

    async def merge(self, source: str, into: str) -> int:
        """Make all that is kept of one user another's; return how much was new to that one."""
        return await asyncio.to_thread(self._memory.merge, source, into)

    async def forget_idle(self, older_than: timedelta, **options: Any) -> tuple[IdleUser, ...]:
        """Erase the users nothing was heard of for long; options as `PreferenceMemory.forget_idle` has them."""
        return await asyncio.to_thread(self._memory.forget_idle, older_than, **options)

    async def repair(self) -> RepairReport:
        """Look through the database and all vectors, and make those anew that cannot be read."""
        return await asyncio.to_thread(self._memory.repair)
