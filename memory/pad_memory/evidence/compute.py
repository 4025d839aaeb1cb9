"""What an event says, computed once when it is recorded: the wishes in its words, the styles of its responses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder
from pad_memory.events import Critique, Feedback
from pad_memory.evidence.scorer import Scorer, judge
from pad_memory.language.matters import settled
from pad_memory.language.reader import Reader, Reading, ReadsWishes
from pad_memory.profile.posterior import Evidence, Recorded
from pad_memory.profile.wishes import spoken, standing

__all__ = ["Listener"]

logger = logging.getLogger(__name__)


class Listener:
    """Turns events into evidence.

    Args:
        catalogue: the dimensions along which preferences are inferred.
        embedder: any sentence embedder.
        reader: finds wishes in words; where it fails, or is None, the built-in one does.
        folder: where the built-in reader keeps the catalogue's vectors; None: nowhere.
    """

    def __init__(
        self, catalogue: Sequence[Dimension], embedder: Embedder, reader: ReadsWishes | None, folder: Path | None
    ) -> None:
        self._catalogue, self._embedder = catalogue, embedder
        self._other = reader
        self.reader = Reader(catalogue, embedder, folder)

    def evidence(self, event: Feedback, scorer: Scorer | None) -> Evidence:
        """Read an event's words and judge its responses; what the scorer cannot judge stays pending."""
        words = event.words
        # A critique is about one response, so only what it says of the catalogue's dimensions is a lasting wish.
        readings = self._read(words, keep_rest=not isinstance(event, Critique)) if words else ()
        return replace(self.scored([event], scorer)[0], readings=readings)

    def _read(self, words: str, *, keep_rest: bool) -> tuple[Reading, ...]:
        if self._other is not None:
            try:
                return tuple(self._other.read(words, keep_rest=keep_rest))
            except Exception:
                logger.warning("The reader failed; the built-in one reads this event.", exc_info=True)
        return self.reader.read(words, keep_rest=keep_rest)

    def placed(self, evidence: Evidence, records: Sequence[Recorded]) -> Evidence:
        """Settle which of the user's own matters an event's words are about, given the records before it."""
        if all(reading.key is not None for reading in evidence.readings):
            return evidence
        wishes = spoken(sorted(standing(records), key=lambda record: record.order), self._catalogue)
        return replace(evidence, readings=settled(evidence.readings, wishes, self._embedder))

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
        found, start = [], 0
        for event in events:
            stop = start + len(event.responses)
            found.append(Evidence(styles=styles[start:stop], margins=margins[start:stop]))
            start = stop
        return found
