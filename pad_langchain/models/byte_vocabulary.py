"""A byte-level BPE as bytes: each token's bytes, the tokens of a text, and those that a growing text keeps."""

from __future__ import annotations

import copy
import json
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from pad_langchain.errors import IncompatibleModelError

__all__ = ["ByteVocabulary", "letters_to_bytes"]

# The byte-level alphabet of GPT-2: printable bytes stand for themselves, the other 68 follow from U+0100 on.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
_LETTERS = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + n) for n, byte in enumerate(_OTHERS)}
_BYTES = {letter: byte for byte, letter in _LETTERS.items()}
# Bytes that are no UTF-8 (or not yet) are decoded to these and stay apart from text.
_RAW = re.compile("([\udc80-\udcff]+)")
# The beginning of a character of two, three or four bytes.
_UNFINISHED = re.compile(rb"([\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")


class ByteVocabulary:
    """The tokens of a byte-level BPE as bytes.

    Args:
        tokenizer: a transformers tokenizer with a `tokenizers` backend.
        ends: token ids that end an answer, besides the tokenizer's own.

    Raises:
        IncompatibleModelError: the tokenizer is not a byte-level BPE.
    """

    def __init__(self, tokenizer: Any, ends: Collection[int] = ()) -> None:
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)
        _check_kind(type(tokenizer).__name__, json.loads(self._backend.to_str()))
        # Tokens with a meaning beyond their text; in a text they are written with ordinary tokens.
        added = self._backend.get_added_tokens_decoder()
        self.special: dict[int, str] = {index: token.content for index, token in added.items()}
        self.ends = sorted({*ends, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])})
        self.tokens: dict[int, bytes] = {
            index: bytes(_BYTES[letter] for letter in token)
            for token, index in self._backend.get_vocab(with_added_tokens=False).items()
            if index not in self.special
        }
        self.by_bytes = sorted(self.tokens, key=self.tokens.__getitem__)  # ids
        self._sorted = [self.tokens[index] for index in self.by_bytes]
        self.encode = lru_cache(maxsize=4096)(self._encode)

    def starting_with(self, prefix: bytes) -> tuple[int, int]:
        """Return the tokens that start with `prefix`, as a range [start, end) of `by_bytes`."""
        after = prefix.rstrip(b"\xff")
        end = bisect_left(self._sorted, after[:-1] + bytes([after[-1] + 1])) if after else len(self._sorted)
        return bisect_left(self._sorted, prefix), end

    def _encode(self, text: bytes) -> tuple[int, ...]:
        """The tokens that this tokenizer writes a text with. Bytes that are not UTF-8 are written separately."""
        return tuple(self._write(piece for piece, _ in self._pieces(_decoded(text))))

    def commit(self, text: bytes) -> tuple[list[int], bytes]:
        """Return the tokens of a growing text that no continuation changes, and the bytes after them.

        The tokens end at a boundary of pre-tokens.
        """
        decoded = _decoded(_UNFINISHED.sub(b"", text))  # the rest may become any kind of character
        pieces = self._pieces(decoded)
        settled = _settled(decoded, [start for _, start in pieces])
        return self._write(piece for piece, start in pieces if start < settled), text[
            len(_encoded(decoded[:settled])) :
        ]

    def _write(self, pieces: Iterable[str]) -> list[int]:
        return [token.id for piece in pieces for token in self._backend.model.tokenize(piece)]

    def _pieces(self, text: str) -> list[tuple[str, int]]:
        """The pre-tokens of a text in the byte-level alphabet, each with the character it starts at."""
        pieces: list[tuple[str, int]] = []
        start = 0
        for segment in _RAW.split(text):
            if _RAW.match(segment):
                pieces.append(("".join(_LETTERS[byte] for byte in _encoded(segment)), start))
            elif segment:
                split = self._backend.pre_tokenizer.pre_tokenize_str(segment)
                pieces += [(piece, start + begin) for piece, (begin, _) in split]
            start += len(segment)
        return pieces


def _settled(text: str, starts: Sequence[int]) -> int:
    """The last of the pre-tokens' starts that no continuation of the text moves.

    A start may still move while the pre-token after it grows: "don" + "'l" becomes "don" + "'ll" for one tokenizer and
    "don'll" for another. So it counts if there is white space at it and something else after it, or if a whole
    pre-token lies between it and the last. It never counts inside a number.
    """
    last = max((start for start, end in pairwise([*starts, len(text)]) if text[start:end].strip()), default=0)
    for start in reversed(starts):
        if 0 < start <= last:
            before, after = text[start - 1], text[start]
            apart = start < last or before.isspace() or after.isspace()
            if apart and not (before.isnumeric() and after.isnumeric()):
                return start
    return 0


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def letters_to_bytes(token: str) -> bytes:
    """Return the bytes that a byte-level decoder makes of a token: one per letter, or its text if any is none."""
    return bytes(map(_BYTES.__getitem__, token)) if set(token) <= _BYTES.keys() else token.encode()


def _check_kind(name: str, settings: dict[str, Any]) -> None:
    model, splitting = settings["model"], json.dumps(settings["pre_tokenizer"] or {})
    added = {token["content"] for token in settings["added_tokens"]}
    problem = None
    if model["type"] != "BPE" or model.get("byte_fallback") or '"ByteLevel"' not in splitting:
        problem = f"is {model['type']}{' with byte fallback' if model.get('byte_fallback') else ''}, not byte-level"
    elif '"add_prefix_space": true' in splitting:
        problem = "puts a space before every text"
    elif missing := [byte for byte in range(256) if _LETTERS[byte] not in model["vocab"]]:
        problem = f"has no token for {len(missing)} bytes ({bytes(missing[:3])!r}, …)"
    elif strange := [token for token in model["vocab"] if token not in added and not set(token) <= _BYTES.keys()]:
        problem = f"has tokens that are not bytes ({strange[:3]!r})"
    elif blanks := [token for token in sorted(added) if token.isspace()]:
        problem = f"has added tokens for white space ({blanks[:3]!r})"
    if problem:
        raise IncompatibleModelError(
            f"Base and PersRM have different tokenizers, and {name} {problem}. To compare them as bytes both have to "
            "be byte-level BPEs, as of Llama 3, Qwen or GPT. Use a PersRM with the base's tokenizer."
        )
