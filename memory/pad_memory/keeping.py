"""What is kept of a user at all: pausing, answers that feedback may be about, wishes for a number of answers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial

from pad_memory.callbacks import Callbacks
from pad_memory.errors import ConsentNeededError, PadMemoryError
from pad_memory.events import Answered, Feedback, Setting
from pad_memory.evidence import Evidence, Recorded
from pad_memory.fields import check_text
from pad_memory.language import THREAD, check_zone
from pad_memory.profile import chosen
from pad_memory.user_data import UserData
from pad_memory.values import Guard

__all__ = ["Keeping"]

YOUNG = timedelta(seconds=5)  # an answer that begins was steered by what was read just now
logger = logging.getLogger(__name__)


class Keeping(UserData):
    """A part of `PreferenceMemory`, which has the rest."""

    guard: Guard
    _on_answer: Callbacks

    def pause(self, user: str) -> None:
        """Record nothing of a user until `resume`, in all processes: `record` raises PausedError, no answer is kept.

        What is known goes on steering. That they paused is an event of theirs, and all that is written.

        Raises:
            InvalidUserError, StoreError: as `record` has them.
        """
        self._set(user, "paused", "yes")

    def resume(self, user: str) -> None:
        """Record again. What was said in between stays unknown."""
        self._set(user, "paused", "no")

    def paused(self, user: str) -> bool:
        """Whether nothing of a user is recorded."""
        return self._ledger.setting(self._ledger.owner(user), "paused") == "yes"

    def set_time_zone(self, user: str, zone: str) -> None:
        """Say whose clock a user means by "today" and "until Friday", from the next event on; without it, UTC's.

        Args:
            user: the user id.
            zone: the name of a zone: "Europe/Berlin".

        Raises:
            InvalidEventError: there is no such zone.
        """
        self._set(user, "time_zone", check_zone(zone))

    def answering(
        self, user: str, response_id: str, prompt: str, thread: str | None = None, *, counted: bool = True
    ) -> Callable[[str], None] | None:
        """Begin an answer to a user: count it for wishes that hold for a number of answers. It raises nothing.

        Args:
            user, thread: whom it is for, and in which conversation.
            response_id: what feedback will call it.
            prompt: what was asked.
            counted: whether the memory steers it; one that it does not steer counts for no wish.

        Returns:
            What is to be called with the answer's text when it ends, so that feedback needs the id only. None where
            nothing is kept: the user paused, or that cannot be found out now.
        """
        try:
            owner = self._ledger.owner(user)
            known = self._ledger.read(owner, young=YOUNG)
            if known.profile.paused:
                return None
            threads = {record.id: record.event.thread for record in known.records}
            for item in (*known.profile.preferences, *known.profile.later) if counted else ():
                said = item.evidence[-1] if item.evidence else ""
                if item.answers_left is not None and threads.get(said) in (None, thread):
                    self._ledger.append(owner, user, partial(_count, Answered(said, thread=thread)))
        except PadMemoryError as error:
            logger.warning("An answer is neither kept nor counted, for the memory cannot be used: %s", error)
            return None
        return partial(self.answered, user, response_id, prompt)

    def answered(self, user: str, response_id: str, prompt: str, response: str) -> None:
        """Note that a user got an answer, so that feedback on it needs its id only; see `responses`."""
        self.responses.add(user, response_id, prompt, response)
        self._on_answer.call(user, response_id)

    def sensitive_events(self, user: str) -> dict[str, int]:
        """Return how many events of a user tell something sensitive, by kind: what `forget` would erase of it."""
        found = Counter[str]()
        for record in self._ledger.records(self._ledger.owner(user)):
            found.update(record.evidence.sensitive)
        return dict(sorted(found.items()))

    def end_thread(self, user: str, thread: str) -> int:
        """Say that a conversation is over: what was kept for it only is erased; return the number of rows.

        That is what tells something sensitive, where the policy is to keep it for its conversation.

        Raises:
            StoreError: it failed; call it again.
        """
        check_text("thread", thread)
        if self.guard.values.sensitive != "conversation":
            return 0
        return sum(
            self.forget(user, record.id)
            for record in self._ledger.records(self._ledger.owner(user))
            if record.event.thread == thread and record.evidence.sensitive and not record.evidence.consented
        )

    def _check_consent(self, event: Feedback) -> None:
        policy, words = self.guard.values.sensitive, event.words
        if policy == "keep" or words is None or not (sensitive := self.guard.sensitive(words)):
            return
        if policy == "ask":
            raise ConsentNeededError(sensitive)
        if event.thread is None:
            raise ConsentNeededError(sensitive, "it may be kept for its conversation only, but names none")

    def _kept(self, evidence: Evidence, consented: bool) -> Evidence:
        """The evidence as the policy for sensitive wishes has it."""
        if not evidence.sensitive:
            return evidence
        if consented or self.guard.values.sensitive != "conversation":
            return replace(evidence, consented=consented)
        here = tuple(replace(reading, scope=THREAD) for reading in evidence.readings)
        return replace(evidence, readings=here)

    def _set(self, user: str, name: str, value: str) -> None:
        event = Setting(name, value)  # type: ignore[arg-type]

        def decide(records: Mapping[str, Recorded]) -> tuple[Feedback, Evidence] | str:
            return "" if chosen(records.values()).get(name) == value else (event, Evidence())

        self._ledger.append(self._ledger.owner(user), user, decide)


def _count(event: Answered, records: Mapping[str, Recorded]) -> tuple[Feedback, Evidence] | str:
    """The count, unless the wish was forgotten or the user paused by now."""
    gone = event.target not in records or chosen(records.values()).get("paused") == "yes"
    return "" if gone else (event, Evidence())
