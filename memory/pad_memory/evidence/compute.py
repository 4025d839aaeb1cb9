"""What an event says, computed once when it is recorded: the wishes in its words, the styles of its responses.

It takes the time of a scorer, a reader and a classifier, so nobody computes it with a lock held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder
from pad_memory.events import Choice, Critique, Edit, Feedback
from pad_memory.evidence.evidence import Evidence, Recorded
from pad_memory.evidence.features import Features
from pad_memory.evidence.scorer import Describes, Scorer, judge
from pad_memory.language import UTC, Reader, Reading, ReadsWishes, timed_parts
from pad_memory.values import MAX_CHARACTERS, Guard

__all__ = ["Interpreter"]

logger = logging.getLogger(__name__)


class Interpreter:
    """Turns events into evidence.

    Args:
        catalogue: the dimensions along which preferences are inferred.
        embedder: any sentence embedder.
        reader: finds wishes in words; where it fails, or is None, the built-in one does.
        folder: where the built-in reader keeps the catalogue's vectors; None means nowhere.
        guard: judges words under the operator's values.
    """

    def __init__(
        self,
        catalogue: Sequence[Dimension],
        embedder: Embedder,
        reader: ReadsWishes | None,
        folder: Path | None,
        guard: Guard,
    ) -> None:
        self._catalogue, self._other, self._guard = catalogue, reader, guard
        self.reader = Reader(catalogue, embedder, folder)

    def evidence(
        self, event: Feedback, scorer: Scorer | None, now: float = 0.0, zone: Callable[[], str] = lambda: UTC
    ) -> Evidence:
        """Read an event's words and judge its responses; what the scorer cannot judge stays pending.

        Args:
            event: what the user told us.
            scorer: judges responses; None means nobody does.
            now: when it was said, in Unix seconds: what "today" means.
            zone: returns the name of the user's time zone; called only where the words name a time.
        """
        words = event.words
        if words is not None and len(words) > MAX_CHARACTERS:  # a document: nothing is read from it but the verdict
            return self.screened(event, self.scored([event], scorer)[0])
        # A critique is about one response, so only what it says of the catalogue's dimensions is a lasting wish.
        readings = self._timed(words, not isinstance(event, Critique), now, zone) if words else ()
        return self.screened(event, replace(self.scored([event], scorer)[0], readings=readings))

    def screened(self, event: Feedback, evidence: Evidence) -> Evidence:
        """Let nothing come of words that ask for what the operator's values forbid, and mark what is sensitive.

        Nor may a preferred answer teach a taste that the same policy calls hostile. The event itself is kept.
        """
        if evidence.features is not None and not self._guard.check(event.responses[0][1]).allowed:
            evidence = replace(evidence, features=None)
        if event.words is None:
            return evidence
        sensitive = self._guard.sensitive(event.words)
        verdict = self._guard.check_all([event.words, *(reading.text for reading in evidence.readings)])
        marked = evidence if verdict.allowed else Evidence(verdict=verdict)
        return replace(marked, sensitive=sensitive) if sensitive else marked

    def judged(self, records: Sequence[Recorded], scorer: Scorer) -> list[Recorded]:
        """Judge the responses of records that waited for a scorer, in one call; return those that it could judge."""
        scored = self.scored([record.event for record in records], scorer)
        return [
            replace(record, evidence=self.screened(record.event, _with_scores(record.evidence, evidence)))
            for record, evidence in zip(records, scored, strict=True)
            if not evidence.pending
        ]

    def _timed(self, words: str, keep_rest: bool, now: float, zone: Callable[[], str]) -> tuple[Reading, ...]:
        """The wishes in words, each with the limits of the part it stands in."""
        parts = timed_parts(words, now, zone)
        if len(parts) == 1 and parts[0].limits is None:
            return self._read(words, keep_rest=keep_rest)
        found: list[Reading] = []
        for part in parts:
            readings = self._read(part.text, keep_rest=keep_rest)
            limits = part.limits
            if limits is not None:
                readings = tuple(
                    replace(reading, since=limits.since, until=limits.until, answers=limits.answers)
                    for reading in readings
                )
            found += readings
        return tuple(found)

    def _read(self, words: str, *, keep_rest: bool) -> tuple[Reading, ...]:
        if self._other is not None:
            try:
                return tuple(self._other.read(words, keep_rest=keep_rest))
            except Exception:
                logger.warning("The reader failed; the built-in one reads this event.", exc_info=True)
        return self.reader.read(words, keep_rest=keep_rest)

    def scored(self, events: Sequence[Feedback], scorer: Scorer | None) -> list[Evidence]:
        """Judge the responses of events in one call of the scorer; pending where there is none or it fails."""
        pairs = [pair for event in events for pair in event.responses]
        waiting = [Evidence(styles=None if event.responses else ()) for event in events]
        if not pairs or scorer is None:
            return waiting
        try:
            margins, styles = judge(scorer, pairs, self._catalogue)
        except Exception:
            logger.warning("The scorer failed; the evidence of %d events stays pending.", len(events), exc_info=True)
            return waiting
        features = self._features(events, scorer)
        found, start = [], 0
        for number, event in enumerate(events):
            stop = start + len(event.responses)
            found.append(Evidence(styles[start:stop], margins[start:stop], features=features.get(number)))
            start = stop
        return found

    def _features(self, events: Sequence[Feedback], scorer: Scorer) -> dict[int, Features]:
        """What the answers of choices and edits are beyond the catalogue, by the events' places; {} if nobody can say.

        A tie prefers nothing, and of one answer alone nobody knows what it is compared with.
        """
        places = [n for n, event in enumerate(events) if _prefers(event)]
        if not places or not isinstance(scorer, Describes) or scorer.features_maker is None:
            return {}
        try:
            pairs = [pair for n in places for pair in events[n].responses]
            vectors_NR = np.asarray(scorer.features(pairs), dtype=np.float64)
            rows = vectors_NR.reshape(len(places), 2, -1)
            return {n: Features.of(scorer.features_maker, row) for n, row in zip(places, rows, strict=True)}
        except Exception:
            logger.warning("The scorer failed; %d events teach no taste.", len(places), exc_info=True)
            return {}


def _prefers(event: Feedback) -> bool:
    return isinstance(event, Edit) or (isinstance(event, Choice) and not event.tie)


def _with_scores(evidence: Evidence, scored: Evidence) -> Evidence:
    return replace(evidence, styles=scored.styles, margins=scored.margins, features=scored.features)
