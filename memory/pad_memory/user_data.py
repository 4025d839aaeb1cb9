"""What is done with all that is kept of a user: answers kept for a while; exported, imported, merged, forgotten."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pad_memory.callbacks import Callbacks
from pad_memory.catalogue import Dimension
from pad_memory.copies import OpenOnce
from pad_memory.embedding import Embedder
from pad_memory.errors import StoreError, UnknownResponseError
from pad_memory.evidence import Interpreter
from pad_memory.fields import check_span
from pad_memory.profile import Snapshot
from pad_memory.sources import ResponseLog
from pad_memory.store.answers import Answer
from pad_memory.users import (
    IdleUser,
    Items,
    Ledger,
    Mover,
    Progress,
    export_user,
    forget_idle,
    import_user,
    pairs_of,
)

__all__ = ["UserData"]


class UserData(OpenOnce):
    """A part of `PreferenceMemory`, which has the rest."""

    tenant: str
    catalogue: Sequence[Dimension]
    embedder: Embedder
    responses: ResponseLog
    items: Items
    _ledger: Ledger
    _interpreter: Interpreter
    _on_forget: Callbacks

    def users(self) -> list[str]:
        """Return the ids of all users of this tenant, sorted."""
        return self._ledger.users()

    @abstractmethod
    def _known(self, user: str) -> Snapshot:
        """Read what is known of a user."""

    # --- recent answers ---

    def keep_answers(self, answers: Iterable[tuple[str, str]], span: timedelta) -> int:
        """Write recent answers to the store, and return how many.

        Until they end, feedback may name them by id after a restart, and on a server from every process that uses it.
        `forget` erases them, `expire_answers` those that have ended.

        Args:
            answers: user and response id of each. Those that `responses` has no more are left out.
            span: how long from now on, above 0.

        Raises:
            InvalidEventError: `span` is no timedelta above 0.
            StoreError: none was written.
        """
        until = time.time() + check_span("span", span)
        found = [(pair, texts) for pair in answers if (texts := self._recent(*pair)) is not None]
        rows = [Answer(self._ledger.owner(user), id, *texts, until) for (user, id), texts in found]
        if rows:
            self._ledger.answers.keep(rows)
        for user in {user for (user, id), _ in found if self._recent(user, id) is None}:
            self._ledger.answers.forget(self._ledger.owner(user))  # they were forgotten meanwhile
        return len(rows)

    def expire_answers(self) -> None:
        """Erase the answers that were kept and have ended, of all users and tenants of this store."""
        self._ledger.answers.expire()

    def _answer(self, user: str, response_id: str) -> tuple[str, str]:
        """Prompt and response of an answer, from the log or the store.

        Raises:
            UnknownResponseError: this user got none that is still known.
        """
        try:
            return self.responses.find(user, response_id)
        except UnknownResponseError:
            for answer in self._ledger.answers.of(self._ledger.owner(user), response_id):
                return answer.prompt, answer.response
            raise

    def _recent(self, user: str, response_id: str) -> tuple[str, str] | None:
        try:
            return self.responses.find(user, response_id)
        except UnknownResponseError:
            return None

    # --- moving ---

    def export(self, user: str) -> dict[str, Any]:
        """Return all that is kept about a user as a JSON-able dict, for the user or for `import_`."""
        data = export_user(self.tenant, user, self._known(user), self.items)
        kept = self._ledger.answers.of(self._ledger.owner(user))
        answers = [{"id": one.id, "prompt": one.prompt, "response": one.response, "until": one.until} for one in kept]
        return {**data, "answers": answers} if answers else data

    def export_pairs(self, user: str | None = None) -> Iterator[dict[str, str]]:
        """Yield {prompt, preference, chosen, rejected} from choices and edits, to train a reward model on.

        They hold what users wrote and were answered, word for word: have their consent, and forget them there too.

        Args:
            user: the user id; None means all users of this tenant.
        """
        for name in self.users() if user is None else [user]:
            yield from pairs_of(self._known(name))

    def import_(self, data: Mapping[str, Any]) -> int:
        """Add the events and items of an export to its user and return how many were new. Answers are left out.

        All events are checked before one is written, and so are all items.

        Raises:
            InvalidEventError: not an export.
            StoreVersionError: an export of a newer version.
        """
        return import_user(self._ledger, self.items, data, self._interpreter.screened)

    def merge(self, source: str, into: str) -> int:
        """Make all that is kept of one user another's, as when somebody signs in; return how much was new to that one.

        What both said is as if one had said it: of a wish the latest word holds, whoever it was said as, and `undo`
        takes back the latest event. `source` is empty afterwards; its name stays with the events, as the `origins` of
        the preferences they led to. Recent answers move, too: kept ones, and those in this process's log.
        An event keeps its id, unless `into` gave it to another event; one that both have counts once.

        A call that was killed is finished by the next one. A call after that returns 0.

        Args:
            source: the user id that goes away.
            into: the user id that has it all afterwards; nothing need be known of it yet.

        Raises:
            InvalidEventError: both are the same, nothing is known of `source`, or a call that would merge it into a
                third user was killed.
            StoreError: it failed; call it again.
        """
        mover = Mover(self._ledger, self.items, self.catalogue, self.embedder, self._interpreter.screened)
        count = mover.merge(source, into)
        self.responses.move(source, into)
        self._ledger.answers.move(self._ledger.owner(source), self._ledger.owner(into))
        return count

    # --- forgetting ---

    def forget(self, user: str, event_id: str | None = None) -> int:
        """Erase a user, or one of their events, from every file; return the number of rows that were erased.

        When this returns, no id, text or vector of it is in a file of the folder, nor will any be: what Chroma leaves
        of old memory in new files is blanked by the call that makes them. Copies, backups and the disk's own are
        yours. On a server (`url=`) the rows are deleted, but only its operator can erase the bytes: `chroma vacuum`.
        Engines that decoded with this memory drop all the prompts that they keep.

        Args:
            user: the user id.
            event_id: only this event, what took it back, and wordings that no other event has. None means everything.

        Raises:
            InvalidEventError: the user has no event with this id.
            StoreError: it failed; call it again. Where it failed half-way, the next opening finishes it too.
        """
        owner = self._ledger.owner(user)
        try:
            erased = self._ledger.erase(owner, user, event_id)
        except StoreError:
            self.responses.forget(user)
            raise
        self.responses.forget(user)
        erased += self._ledger.answers.forget(owner)
        self._on_forget.call()
        return erased

    def forget_idle(
        self, older_than: timedelta, *, dry_run: bool = True, progress: Progress | None = None
    ) -> tuple[IdleUser, ...]:
        """Erase the users of this tenant of whom nothing was heard for long, as `forget` does; return who they are.

        What counts is when the latest event was said and the latest item was changed. A call that was interrupted is
        finished by the next one.

        Args:
            older_than: how long, above 0.
            dry_run: erase nobody, only say who it would be. Pass False to erase.
            progress: called with (parts done, parts in all), at most 64 times. Between two parts others come in.

        Raises:
            InvalidEventError: `older_than` is no timedelta above 0.
            StoreError: it failed; call it again.
        """
        before, found = time.time() - check_span("older_than", older_than), list[IdleUser]()
        try:
            for idle in forget_idle(self._ledger, before, dry_run=dry_run, progress=progress):
                found.append(idle)
                if not dry_run:
                    self.responses.forget(idle.user)
                    self._ledger.answers.forget(self._ledger.owner(idle.user))
        finally:
            if found and not dry_run:
                self._on_forget.call()
        return tuple(sorted(found, key=lambda idle: idle.user))
