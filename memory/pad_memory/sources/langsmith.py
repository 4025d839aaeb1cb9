"""Feedback in LangSmith's form (`key`, `score`, `comment`, `correction`) → our events, without LangSmith itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pad_memory.errors import InvalidEventError
from pad_memory.events import Critique, Edit, Feedback, Rating, Thumb

__all__ = ["former_ids", "from_langsmith"]

# Where a correction given as a dict has its text.
_TEXT_KEYS = ("output", "response", "answer", "text", "content")


def from_langsmith(
    feedback: Mapping[str, Any],
    *,
    response_id: str | None = None,
    prompt: str = "",
    response: str = "",
    scale: tuple[float, float] = (0.0, 1.0),
) -> tuple[Feedback, ...]:
    """Convert one feedback dict, as LangSmith exports it or an app sends it.

    - `score`: True or 1 is a thumb up, False or 0 a thumb down; on another scale, and in between, a Rating.
    - `comment`: a Critique, which then stands for the score. With a good score it is praise and only kept as metadata.
    - `correction`: an Edit; a text, or a dict with one under "output", "response", "answer", "text" or "content".

    Args:
        feedback: the dict; `id` makes the events idempotent; `modified_at`, else `created_at` (datetime or ISO text),
            is their time, so that a changed score replaces the one before it; and `key`, `score`, `comment` and
            `run_id` are kept in their metadata.
        response_id: the answer it is about, from `response_metadata["pad"]["response_id"]`; or
        prompt, response: its texts.
        scale: the worst and the best score. `feedback_config` in the dict overrides it.

    Returns:
        One or two events, ready for `memory.record`. None for feedback of a model (`feedback_source` of type "model"),
        which is not the user's.

    Raises:
        InvalidEventError: nothing in it can be converted, the score is off the scale, or it is not about an answer.

    >>> from_langsmith({"key": "user", "score": 1}, prompt="What is rust?", response="Iron oxide.")[0].kind
    'thumb'
    """
    if not isinstance(feedback, Mapping):
        raise InvalidEventError(
            f"feedback has to be a dict such as {{'key': 'user', 'score': 1}}, but is {feedback!r}."
        )
    if _type(feedback.get("feedback_source")) == "model":
        return ()
    score, comment, correction = (feedback.get(name) for name in ("score", "comment", "correction"))
    if comment is not None and not isinstance(comment, str):
        raise InvalidEventError(f"comment has to be text, but is {comment!r}.")
    good = None if score is None else _good(score, _scale(feedback, scale))
    kinds: dict[type[Feedback], dict[str, Any]] = {}
    if comment and comment.strip() and (good is None or good <= 0.5):
        kinds[Critique] = {"text": comment}
    elif good is not None and (isinstance(score, bool) or (score in (0, 1) and _scale(feedback, scale) == (0, 1))):
        kinds[Thumb] = {"up": good == 1.0}
    elif good is not None:
        kinds[Rating] = {"rating": 1.0 + 4.0 * good}
    if correction:
        kinds[Edit] = {"edited": _text(correction)}
    if not kinds:
        raise InvalidEventError(
            f"This feedback says nothing that can be learned from: it has {sorted(feedback)}. It needs a score, a "
            "comment or a correction."
        )
    about: dict[str, Any] = {"response_id": response_id, "prompt": prompt, "response": response}
    return tuple(kind(**about, **values, **_provenance(feedback, kind)) for kind, values in kinds.items())


def _provenance(feedback: Mapping[str, Any], kind: type[Feedback]) -> dict[str, Any]:
    kept = {name: feedback[name] for name in ("key", "score", "comment", "run_id") if feedback.get(name) is not None}
    if "run_id" in kept:
        kept["run_id"] = str(kept["run_id"])
    identity = feedback.get("id")
    return {
        # One feedback is one judgement, whatever it says by now; a correction is an event of its own.
        "id": None if identity is None else f"langsmith:{identity}{':edit' if kind is Edit else ''}",
        "time": _time(feedback, "modified_at") or _time(feedback, "created_at"),
        "source": "langsmith",
        "metadata": kept,
    }


def former_ids(event_id: str) -> tuple[str, ...]:
    """The ids that earlier versions of this package gave the event of a LangSmith feedback; none for other events."""
    if not event_id.startswith("langsmith:") or event_id.endswith(f":{Edit.kind}"):
        return ()
    return tuple(f"{event_id}:{kind.kind}" for kind in (Thumb, Rating, Critique))


def _type(source: Any) -> str | None:
    return source.get("type") if isinstance(source, Mapping) else None


def _scale(feedback: Mapping[str, Any], scale: tuple[float, float]) -> tuple[float, float]:
    config = feedback.get("feedback_config") or {}
    low, high = (
        value if config.get(name) is None else config[name] for name, value in zip(("min", "max"), scale, strict=True)
    )
    if not low < high:
        raise InvalidEventError(f"scale has to be (worst, best) with worst < best, but is {(low, high)!r}.")
    return low, high


def _good(score: Any, scale: tuple[float, float]) -> float:
    """The score from 0, the worst, to 1, the best."""
    if isinstance(score, bool):
        return float(score)
    low, high = scale
    if not isinstance(score, (int, float)) or not math.isfinite(score) or not low <= score <= high:
        raise InvalidEventError(
            f"score has to be True, False or a number from {low:g} to {high:g}, but is {score!r}. "
            "Pass scale=(worst, best) for another scale."
        )
    return (score - low) / (high - low)


def _text(correction: Any) -> str:
    if isinstance(correction, str):
        return correction
    if isinstance(correction, Mapping):
        texts = [value for value in (correction.get(key) for key in _TEXT_KEYS) if isinstance(value, str)]
        if len(texts) == 1:
            return texts[0]
    raise InvalidEventError(
        f"correction has to be a text, or a dict with one text under one of {list(_TEXT_KEYS)}, but is {correction!r}."
    )


def _time(feedback: Mapping[str, Any], name: str) -> float | None:
    value = feedback.get(name)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            raise InvalidEventError(f"{name} has to be a datetime or its ISO text, but is {value!r}.") from None
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidEventError(f"{name} has to be a datetime or its ISO text, but is {value!r}.")
    # LangSmith writes UTC, and leaves the zone out at times.
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
