"""Tokens into text, one at a time: whole characters only, stop strings truly cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["TextStream"]

REPLACEMENT = "\ufffd"  # what an incomplete UTF-8 sequence decodes to


class TextStream:
    """The text of one answer as it becomes certain.

    A character whose bytes are not all there yet is held back, and so is text that may still become a stop string.
    What `push` and `flush` return, joined, is the decoding of all tokens up to the first stop string.

    Args:
        backend: a `tokenizers.Tokenizer`.
        stop: strings that end the answer and are not part of it.
    """

    def __init__(self, backend: Any, stop: Sequence[str] = ()) -> None:
        self._backend = backend
        self._stop = tuple(stop)
        self._window: list[int] = []  # tokens since the last clean cut, and the one before as context
        self._given = 0  # characters of the window's text already passed on
        self._held = ""  # text that may be the beginning of a stop string
        self._stopped = False

    def push(self, token_id: int) -> tuple[str, bool]:
        """Add a token: the text that became certain, and whether a stop string ended the answer."""
        return self._filter(self._decode(token_id))

    def flush(self) -> str:
        """The answer ends here: what was held back, an incomplete character as U+FFFD."""
        if self._stopped:
            return ""
        rest = self._backend.decode(self._window, skip_special_tokens=False)[self._given :]
        self._window, self._given = [], 0
        text, stopped = self._filter(rest)
        return text if stopped else text + self._held

    def of(self, token_id: int) -> str:
        """The text of one token by itself, an incomplete character as U+FFFD."""
        return self._backend.decode([token_id], skip_special_tokens=False)

    def _decode(self, token_id: int) -> str:
        self._window.append(token_id)
        text = self._backend.decode(self._window, skip_special_tokens=False)
        # Only the last character can still change, and only if it stands for an incomplete one.
        clean = not text.endswith(REPLACEMENT)
        end = len(text) if clean else len(text) - 1
        new = text[self._given : end]
        self._given = max(self._given, end)
        if clean and new:
            # One token stays as context: some decoders treat the first of a sequence differently.
            self._window = [token_id]
            self._given = len(self._backend.decode(self._window, skip_special_tokens=False))
        return new

    def _filter(self, new: str) -> tuple[str, bool]:
        if not self._stop:
            return new, False
        text = self._held + new
        # The stop string that is complete first wins, however the text was cut into tokens; of two, the longer.
        found = [(text.find(stop) + len(stop), text.find(stop)) for stop in self._stop if stop in text]
        if found:
            self._held, self._stopped = "", True
            return text[: min(found)[1]], True
        longest = max(len(stop) for stop in self._stop) - 1
        for start in range(max(0, len(text) - longest), len(text)):
            if any(stop.startswith(text[start:]) for stop in self._stop):
                self._held = text[start:]
                return text[:start], False
        self._held = ""
        return text, False
