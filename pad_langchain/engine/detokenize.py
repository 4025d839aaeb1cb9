"""Tokens into text, one at a time. Only certain text is given out, and stop strings are cut out.

    Detokenizer(backend) ── stream(stop, visible) → TextStream: push(token) → text, flush() → text

A decoder is a chain of steps over all tokens of a text. In almost all decoders a token's part of the text depends on
the token alone, so it is found once: decode the token after a word, and take the word away. Three cases are left:

- The first text may differ, because a decoder may drop a leading blank.
- Bytes have to wait until they are characters.
- Ill-formed UTF-8 depends on the decoder. A byte-level BPE replaces it part by part. Byte fallback takes a whole run of
  byte tokens and writes one U+FFFD per token.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from pad_langchain.models.byte_vocabulary import letters_to_bytes

__all__ = ["Detokenizer", "TextStream"]

REPLACEMENT = "\ufffd"  # what bytes that are no UTF-8 decode to
LONGEST_HEAD = 64  # tokens without any text that an answer may begin with before the decoder's first-text rule is over
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_WORD = re.compile(r"[A-Za-z0-9]+")
# Steps of a decoder that look at each token alone, and those that make one text of all.
_ALONE = {"ByteFallback", "Metaspace", "Replace", "WordPiece"}
_JOINING = {"ByteLevel", "Fuse"}


class Detokenizer:
    """Knows what each token of a tokenizer adds to a text. An engine has one. Its `stream` begins a text.

    Args:
        backend: a `tokenizers.Tokenizer`. It is only read.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        added = backend.get_added_tokens_decoder()
        self.special: dict[int, str] = {index: token.content for index, token in added.items() if token.special}
        steps = _steps(backend)
        kinds = {step["type"] for step in steps}
        self.byte_level, self.byte_fallback = "ByteLevel" in kinds, "ByteFallback" in kinds
        self._word = self._find_word() if _each_alone(steps) else None
        self._known: dict[int, str | bytes | None] = {}

    def stream(self, stop: Sequence[str] = (), visible: Collection[int] = ()) -> TextStream:
        """Begin the text of one answer.

        Args:
            stop: strings that end the answer and are not part of it.
            visible: ids of special tokens that stay in the text. Other special tokens are left out, unless a stop
                string contains them.
        """
        named = {index for index, text in self.special.items() if any(text in string for string in stop)}
        return TextStream(self, stop, self.special.keys() - visible - named)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the whole text of some token ids, special tokens included."""
        return self.backend.decode(token_ids, skip_special_tokens=False)

    def piece(self, token_id: int, before: int | None) -> str | bytes | None:
        """Return what a token adds after the first text: text, or bytes that later tokens may complete.

        Args:
            token_id: the token.
            before: the token before it, which matters to decoders that do not look at each token alone. None means
                there is none.

        Returns:
            None where the vocabulary has no such token.
        """
        if self._word is None:
            return self._read(token_id, before)
        if token_id not in self._known:
            self._known[token_id] = self._read(token_id, self._word)
        return self._known[token_id]

    def _read(self, token_id: int, before: int | None) -> str | bytes | None:
        token = self.backend.id_to_token(token_id)
        if token is None:
            return None
        if self.byte_fallback and _BYTE.fullmatch(token):
            return bytes([int(token[3:5], 16)])
        context = [] if before is None else [before]
        start, whole = self.decode(context), self.decode([*context, token_id])
        text = whole[len(start) :] if whole.startswith(start) else self.decode([token_id])
        if not self.byte_level:
            return text
        return text.encode() if REPLACEMENT not in text else letters_to_bytes(token)

    def _find_word(self) -> int | None:
        """A token that is an ordinary word wherever it stands."""
        for token, index in self.backend.get_vocab(with_added_tokens=False).items():
            if _WORD.fullmatch(token) and index not in self.special and _WORD.fullmatch(self.decode([index])):
                return index
        return None


class TextStream:
    """The text of one answer as it becomes certain.

    Bytes that may still become other characters are held back, and so is text that may still become a stop string.
    What `push` and `flush` return, joined, is the decoding of all tokens up to the first stop string. Hidden tokens
    are left out.

    Args:
        tokens: knows what each token adds.
        stop: strings that end the answer and are not part of it.
        hidden: ids of tokens that add no text.
    """

    def __init__(self, tokens: Detokenizer, stop: Sequence[str], hidden: Collection[int]) -> None:
        self._tokens, self._hidden = tokens, hidden
        self._stop = tuple(stop)
        self._bytes: _Bytes = _Parts() if tokens.byte_level else _Run()
        self._head: list[int] | None = []  # the tokens so far while there is no text; then None
        self._before: int | None = None
        self._held = ""  # text that may be the beginning of a stop string
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether a stop string ended the answer. It may be known only after `flush`."""
        return self._stopped

    def push(self, token_id: int) -> tuple[str, bool]:
        """Add a token. Return the text that became certain, and whether a stop string ended the answer."""
        if token_id in self._hidden:
            return "", False
        piece = self._tokens.piece(token_id, self._before)
        if piece is None:
            return "", False
        self._before = token_id
        new = self._bytes.push(piece) if isinstance(piece, bytes) else self._bytes.end() + piece
        if self._head is not None:
            self._head.append(token_id)
            new = self._first() if new or isinstance(piece, str) else ""
        return self._filter(new)

    def flush(self) -> str:
        """End the answer and return the text that was held back. An incomplete character becomes U+FFFD."""
        if self._stopped:
            return ""
        rest = self._bytes.end()
        if self._head is not None:
            rest, self._head = self._tokens.decode(self._head), None
        text, stopped = self._filter(rest)
        held, self._held = self._held, ""
        return text if stopped else text + held

    def of(self, token_id: int) -> str:
        """Return the text of one token by itself, hidden or not. An incomplete character becomes U+FFFD."""
        return self._tokens.decode([token_id])

    def _first(self) -> str:
        """The first text, as the decoder writes it at the beginning. It is "" until there is some."""
        assert self._head is not None
        whole, waiting = self._tokens.decode(self._head), self._bytes.waiting()
        certain = whole[: len(whole) - len(waiting)] if whole.endswith(waiting) else ""
        if certain or len(self._head) >= LONGEST_HEAD:
            self._head = None
        return certain

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


class _Bytes(Protocol):
    """Bytes on their way to characters."""

    def push(self, more: bytes) -> str:
        """Add bytes and return the text that became certain."""

    def waiting(self) -> str:
        """The text of the bytes that wait, if nothing completes them."""

    def end(self) -> str:
        """Return the text of the bytes that wait, and forget them."""


class _Parts:
    """UTF-8 in which every ill-formed part becomes one U+FFFD. At most three bytes wait."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, more: bytes) -> str:
        return self._decoder.decode(more)

    def waiting(self) -> str:
        return REPLACEMENT if self._decoder.getstate()[0] else ""

    def end(self) -> str:
        return self._decoder.decode(b"", True)


class _Run:
    """A run of bytes that is UTF-8 as a whole, or else becomes one U+FFFD per byte. It waits for its end."""

    def __init__(self) -> None:
        self._run, self._broken = bytearray(), False
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def push(self, more: bytes) -> str:
        if self._broken:
            return REPLACEMENT * len(more)
        self._run += more
        try:
            self._decoder.decode(more)
        except UnicodeDecodeError:
            self._broken = True
            return REPLACEMENT * len(self._run)
        return ""

    def waiting(self) -> str:
        if self._broken or not self._run:
            return ""
        try:
            return self._run.decode()
        except UnicodeDecodeError:
            return REPLACEMENT * len(self._run)

    def end(self) -> str:
        if not self._run:
            return ""
        rest = self.waiting()
        self._run.clear()
        self._broken = False
        self._decoder.reset()
        return rest


def _steps(backend: Any) -> list[dict[str, Any]]:
    """The steps of a decoder in order. Empty means that tokens are joined by blanks."""
    if backend.decoder is None:
        return []
    todo, steps = [json.loads(backend.decoder.__getstate__())], []
    while todo:
        step = todo.pop(0)
        todo[:0] = step.get("decoders", [])
        if step["type"] != "Sequence":
            steps.append(step)
    return steps


def _each_alone(steps: Sequence[dict[str, Any]]) -> bool:
    """Whether all that a token adds to a text, but for bytes and the first text, depends on the token alone."""
    joined = False
    for step in steps:
        strips = step["type"] == "Strip" and (not joined or not step["stop"])
        if not strips and (joined or step["type"] not in _ALONE | _JOINING):
            return False
        joined = joined or step["type"] in _JOINING
    return True
