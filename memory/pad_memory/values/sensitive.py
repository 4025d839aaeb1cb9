"""Whether a wish tells something sensitive of its author: health, faith, politics and the like, by rules.

"I have diabetes, so keep recipes low in sugar" tells something; "explain diabetes to me" does not. So a rule is a way
to speak of oneself, or of one's family, with a word of its kind near it. The patterns are in `sensitive.txt` and are
compiled at the first text. They are English: what is told in another language is not marked.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from pad_memory.values.plain_text import squeezed

__all__ = ["KINDS", "kinds"]

FILE = Path(__file__).with_name("sensitive.txt")
KINDS = ("health", "faith", "politics", "sexuality", "ethnicity", "union", "biometrics", "money", "child")
LONGEST = 2000  # characters of a text that are read, the first ones

# Words between oneself and a matter that say it is only talked about.
_TALKED_OF = (
    r"about|on|ask|asks|asked|asking|study|studies|studied|studying|teach|teaches|taught|write|writes|writing|wrote|essays?"
    r"|novels?|stor(?:y|ies)|histor(?:y|ian)|explain|research\w*|thesis|topic|subject|course|class|students?|patients?"
    r"|friend|colleague|team|boss|server\w*|code|laptop|car|like|love|prefer|speak|learn\w*|recommend|work|works|working"
    r"|nurse|doctor|teacher|journalist|lawyer|when|if|for|want|hate|with|and|but|so|not"
)
_BETWEEN = rf"(?:[ ]+(?!(?:{_TALKED_OF})\b)[\w'’/.-]+){{0,5}}?[ ]+"
_SENTENCES = re.compile(r"(?<=[.!?;:])\s+|\n+")


@lru_cache(maxsize=4096)
def kinds(text: str) -> tuple[str, ...]:
    """Return what a text tells of its author, of `KINDS` and in their order; empty where it tells nothing sensitive.

    >>> kinds("I have diabetes, so keep recipes low in sugar."), kinds("Explain diabetes in simple words.")
    (('health',), ())
    """
    words = squeezed(text[:LONGEST].replace("’", "'"))
    sentences = [part.rstrip(".!?;:") for part in _SENTENCES.split(words)]
    found = {kind for kind, pattern in _patterns() if any(pattern.search(part) for part in sentences)}
    return tuple(kind for kind in KINDS if kind in found)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """One pattern for each kind."""
    sets: dict[str, str] = {}
    lines: list[tuple[str, str]] = []
    kind = ""
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            name, _, words = line[1:].partition(" ")
            sets[name] = words
        elif line.startswith("# "):
            kind = line[2:]
        elif line and not line.startswith(";"):
            lines.append((kind, line))
    found = []
    for kind in KINDS:
        patterns = [_compiled(line, sets) for of, line in lines if of == kind]
        found.append((kind, re.compile(rf"(?<![\w'])(?:{'|'.join(patterns)})(?!\w)")))
    return tuple(found)


def _compiled(line: str, sets: dict[str, str]) -> str:
    for name, words in sets.items():
        line = line.replace(f"{{{name}}}", f"(?:{words})")
    for name, words in sets.items():  # a set may have another in it
        line = line.replace(f"{{{name}}}", f"(?:{words})")
    return re.sub(r" ~(?:\? \?)? ?", lambda _: _BETWEEN, line)
