"""What stands around a wish: the preamble, "please" and "from now on". Sentence embeddings are diluted by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pad_memory.embedding import Embedder, embed
from pad_memory.language.plain import LONGEST
from pad_memory.language.polarity import TEXTS_KEPT, turned_away

__all__ = ["core", "embed_wishes", "wanted", "without_filler"]

# Words about asking and answering: a preamble with one of them says that a wish follows, not which.
_PREAMBLE = re.compile(
    r"""\b(please|prefer\w*|preference|wish\w*|want\w*|ask\w*|request\w*|need\w*|note|remember|remind\w*|mind|answer\w*
    |repl(?:y|ies)|respond\w*|response\w*|sa(?:y|ys|id)|t(?:ell|ells|old)|rule|instruction|style|feedback|from\ now\ on
    |next\ time|here\ is|following|user|one\ thing|important)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_ASIDE = re.compile(
    r"^(?:(?:hi|hello|hey)\b[^.!,]*[.!,]\s+|please,?\s+)"
    r"|[,.!]?\s+(?:please|thanks|thank you|if you can|if possible|would you)[.!]*$|[\s.!]+$",
    re.IGNORECASE,
)
LONGEST_PREAMBLE = 10  # words
_FILLER = re.compile(
    r"\b(?:please|kindly|thanks|thank you|sorry|(?:not )?any ?more|any longer|these days|nowadays"
    r"|stop (?:it|that)|do(?: not|n['’]?t)$|from now on|in (?:the )?future|next time|as a rule|if possible"
    r"|for me"
    r"|(?:the user|i|we)(?: would| really)? (?:prefers?|likes?|wants?) (?:this|it|the following)?:)"
)


def without_filler(text: str) -> str:
    """Return the text in lower case without "please", "from now on" and the like."""
    return " ".join(_FILLER.sub(" ", text.lower()).split())


def core(text: str) -> str:
    """The wish in a text without the preamble and the courtesies around it.

    >>> core("From now on: be brief, please.")
    'be brief'
    """
    if len(text) > LONGEST:
        return text
    before, colon, after = text.strip().rpartition(": ")
    if colon and after.strip() and len(before.split()) <= LONGEST_PREAMBLE and _PREAMBLE.search(before):
        text = after
    while (shorter := _ASIDE.sub("", text.strip()).strip()) and shorter != text:
        text = shorter
    return text


def wanted(text: str) -> tuple[str, int]:
    """What a preference is about, and -1 where the whole of it turns that away; embeddings hardly tell the two apart.

    >>> wanted("Please don't use emojis."), wanted("use emojis"), wanted("never skip the examples")
    (('emojis', -1), ('use emojis', 1), ('examples', 1))
    """
    return (text, 1) if len(text) > LONGEST else _wanted(text)


@lru_cache(maxsize=TEXTS_KEPT)
def _wanted(text: str) -> tuple[str, int]:
    return turned_away(core(text))


def embed_wishes(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Embed what each preference is about, turned around for what it does not want: float32 [N, E].

    These are the vectors that the memory stores and that steer; that of "no emojis" is the opposite of "emojis"'.
    """
    split = [wanted(text) for text in texts]
    signs_N = np.array([sign for _, sign in split], dtype=np.float32)
    return embed(embedder, [about for about, _ in split]) * signs_N[:, None]
