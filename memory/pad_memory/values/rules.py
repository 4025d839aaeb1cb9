"""Layer 2 of the floor: the rules, which say what makes a sentence an instruction to the system, or a request for harm.

The patterns are in `rules.txt` and are compiled at the first text. All meet plain text: lower case, one space,
no look-alike letters. A request is two or three kinds of words near each other ("explain how to" + "build" + "a bomb"),
because each alone is innocent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pad_memory.values.plain_text import sentences

__all__ = ["FILE", "Rule", "broken", "rules"]

FILE = Path(__file__).with_name("rules.txt")

_ENCOURAGED = re.compile(
    r"\b(?:do not|don't|dont|never|no need to|not) (?:hesitate|be afraid|be shy|hold back|shy away|stop|forget|refuse"
    r"|fail|bother refusing|miss)\b|\bnot (?:just|only)\b|\bwithout (?:hesitat|being|getting|any|a|the|say|tell)\w*"
    r"|\bno (?:matter|problem|limits?|filters?|mercy)\b|\bwhy not\b"
)
_NEGATION = re.compile(
    r"\b(?:no|not|never|without|avoid(?:ing)?|stop|quit|refrain|refuse|none|neither|nor|\w+n't|dont|doesnt|instead of"
    r"|rather than|against|prevent(?:ing)?|nothing|anything|less|fewer|skip|leave out|recovering|recovered|survived"
    r"|keep .{0,30} (?:free|away) (?:of|from)|free (?:of|from)|hate when|hate it when|was|were|been|tired of|sick of)\b"
)
_DEFENCE = re.compile(
    r"\b(?:protect|defen[cds]\w*|prevent\w*|recogni[sz]\w*|detect\w*|spot|warn\w*|stay(?:s)? safe|safe from"
    r"|debunk\w*|refut\w*|fight(?:ing)? (?:against )?(?:hate|racism|fraud|crime)|support for|survivors?|counsel\w*"
    r"|history|historical|historian|museum|novels?|fiction\w*|thrillers?|mystery|mysteries|screenplay"
    r"|ethical hack\w*|penetration test\w*|pentest\w*|red team\w*|why (?:it is|it's|they are|they're) wrong"
    r"|criticall?y?|fact.check\w*|correct (?:me|my)|if i (?:sound|seem|look) (?:like|as if) i|(?:if|whether|what)"
    r" (?:it|this|that|something) (?:can|could|might|may|would)|when i am|when i'm|if i am|if i'm|tell me when"
    r"|point out|flag)\b"
)


@dataclass(frozen=True)
class Rule:
    """A pattern, the name of what it forbids, and whether "never …" turns it into an innocent wish."""

    name: str
    pattern: re.Pattern[str]
    negatable: bool = True

    def denied(self, before: str, match: str, after: str) -> bool:
        """Whether the sentence is against what was matched, or about it from the defender's side."""
        lead = _ENCOURAGED.sub(" ", before)
        return bool(_NEGATION.search(lead) or _DEFENCE.search(before + match + after))


@lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """All rules, those about instructions first."""
    sets: dict[str, str] = {}
    found: list[Rule] = []
    name, negatable = "", True
    for line in re.sub(r"\n +", "", FILE.read_text(encoding="utf-8")).splitlines():
        if line.startswith("@"):
            key, _, words = line[1:].partition(" ")
            sets[key] = words
        elif line.startswith("# "):
            name, _, mark = line[2:].partition(" ")
            negatable = mark != "!"
        elif line and not line.startswith("; "):
            found.append(Rule(name, _compiled(line, sets), negatable))
    return tuple(found)


def broken(form: str) -> str | None:
    """Return the name of the rule that a plain text breaks; None means it breaks none."""
    parts = sentences(form) or [form]
    for rule in rules():
        # Instructions hide anywhere and are not about sentences.
        for text in [form] if rule.name == "instructions" else parts:
            if rule.pattern.search(text) and _asks(rule, text):  # most match nothing, and a search is quicker
                return rule.name
    return None


def _asks(rule: Rule, text: str) -> bool:
    return any(
        not (rule.negatable and rule.denied(text[: match.start()], match[0], text[match.end() :]))
        for match in rule.pattern.finditer(text)
    )


def _compiled(pattern: str, sets: dict[str, str]) -> re.Pattern[str]:
    for key, words in sets.items():
        pattern = pattern.replace(f"{{{key}}}", words)
    between = r"\b(?:\W++[\w'-]++){0,7}?\W++"
    pattern = re.sub(r"\s+~\s*", lambda _: between, pattern)
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)")
