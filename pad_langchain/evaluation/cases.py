"""What is asked in an evaluation: prompts, each with the preference it is answered under."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.config import EvaluateConfig

__all__ = ["Case", "chooses", "read_cases"]


@dataclass(frozen=True)
class Case:
    """One prompt with the preference it is answered under.

    Args:
        messages: the conversation.
        name: of the preference, such as "length:concise"; what rules go by.
        text: its wording in this case.
    """

    messages: tuple[Mapping[str, str], ...]
    name: str
    text: str


def read_cases(config: EvaluateConfig) -> list[Case]:
    """Each prompt of the file with its own preference, or with one of the preferences in turn.

    Raises:
        InvalidRequestError: the file does not read, or names a preference there is none of.
    """
    named = config.wordings
    names = sorted(named)
    random.Random(config.seed).shuffle(names)
    try:
        lines = Path(config.prompts).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()][: config.limit]
        asked = [tuple(row.get("messages") or ({"role": "user", "content": row["prompt"]},)) for row in rows]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InvalidRequestError(
            f"{config.prompts!r} has to be a JSONL file of {{prompt}} or {{messages}} rows: {error!r}"
        ) from error
    found: list[Case] = []
    for n, (row, messages) in enumerate(zip(rows, asked, strict=True)):
        name = row.get("preference") or names[n % len(names)]
        if name not in named:
            raise InvalidRequestError(f"{config.prompts}:{n + 1} has the preference {name!r}, not in {names}.")
        found.append(Case(messages, name, named[name][0]))
    return found


def chooses(case: Case, config: EvaluateConfig) -> bool:
    """Whether a case helps to choose β and k instead of being tested: its prompt's text decides."""
    digest = hashlib.sha256(f"{config.seed}{json.dumps(case.messages)}".encode()).digest()
    return digest[0] / 256 < config.validation
