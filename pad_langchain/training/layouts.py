"""The layouts of published preference data, each read into `Pair`s.

| name | columns |
|---|---|
| pad | prompt or messages, preference, chosen, rejected (ours; `PreferenceMemory.export_pairs`) |
| trl | prompt, chosen, rejected: strings or messages; or chosen and rejected messages with the prompt inside |
| hh_rlhf | chosen, rejected: transcripts of "\\n\\nHuman: … \\n\\nAssistant: …" |
| ultrafeedback | instruction, completions with a rating for each aspect |
| helpsteer2 | prompt, response, helpfulness, correctness, coherence, complexity, verbosity; a prompt has several rows |
| helpsteer3 | context, response1, response2, overall_preference from −3 (response1) to 3 |
| safe_rlhf | prompt, response_0, response_1, better_response_id, safer_response_id |
| rewards_in_context | prompt, response, score1, score2, …; a prompt has several rows |
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pad_langchain.errors import InvalidRequestError

__all__ = ["LAYOUTS", "BadRowError", "Layout", "Message", "Pair", "detect"]

Message = Mapping[str, str]
Row = Mapping[str, Any]
Found = tuple[int, "Pair | BadRowError"]
Rows = Sequence[tuple[int, Row]]


@dataclass(frozen=True)
class Pair:
    """Two answers to one conversation, and what the better one is better for.

    Args:
        messages: the conversation, ends with a user's message.
        preference: in words; "" is none, such as in data that names no attribute.
        attribute: the column or aspect the preference came from, for reports; "" where there is none.
    """

    messages: tuple[Message, ...]
    preference: str
    chosen: str
    rejected: str
    attribute: str = ""

    @property
    def prompt(self) -> str:
        """The last user message."""
        return self.messages[-1]["content"]

    def to_row(self) -> dict[str, Any]:
        """The pair in our schema."""
        asked: dict[str, Any] = {"prompt": self.prompt} if len(self.messages) == 1 else {"messages": [*self.messages]}
        named = {"attribute": self.attribute} if self.attribute else {}
        return {**asked, "preference": self.preference, "chosen": self.chosen, "rejected": self.rejected, **named}


class BadRowError(InvalidRequestError):
    """A row that gives no pair. Readers hand it back instead of raising it, so that the other rows are read."""


@dataclass(frozen=True)
class Layout:
    """One layout.

    Args:
        columns: what a row must have; "a|b" is one of the two.
        reader: (rows with their lines, preference or None, attributes or None) → pairs or refusals with their lines.
    """

    name: str
    columns: tuple[str, ...]
    reader: Callable[[Rows, str | None, Mapping[str, str] | None], Iterator[Found]]

    def missing(self, row: Row) -> list[str]:
        """The columns that `row` lacks."""
        return [column for column in self.columns if not any(row.get(name) is not None for name in column.split("|"))]

    def read(
        self, rows: Rows, preference: str | None = None, attributes: Mapping[str, str] | None = None
    ) -> Iterator[Found]:
        """Yield a line with its `Pair` or `BadRowError`, in order."""
        return self.reader(rows, preference, attributes)


def detect(row: Row, source: str = "the file") -> Layout:
    """The layout whose columns a row has.

    Raises:
        InvalidRequestError: none fits; names what is missing for the nearest and unknown columns that look like it.
    """
    for layout in LAYOUTS.values():
        if not layout.missing(row):
            return layout
    nearest = max(LAYOUTS.values(), key=lambda layout: _likeness(layout, row))
    wanted = nearest.missing(row)
    hints = [
        f"{column!r} looks like {close[0]!r}"
        for column in row
        if (close := difflib.get_close_matches(column, [name for part in wanted for name in part.split("|")], 1, 0.7))
    ]
    raise InvalidRequestError(
        f"No known layout has the columns {sorted(row)} of {source!r}. The nearest is {nearest.name!r}, without "
        f"{', '.join(map(repr, wanted))}{'; ' if hints else ''}{', '.join(hints)}. Rename them, or convert to "
        "{prompt, preference, chosen, rejected}."
    )


def _likeness(layout: Layout, row: Row) -> float:
    names = [name for column in layout.columns for name in column.split("|")]
    return sum(bool(difflib.get_close_matches(name, list(row), 1, 0.7)) for name in names) / len(names)


def _each(read_one: Callable[[Row], Iterable[Pair]], rows: Rows) -> Iterator[Found]:
    for line, row in rows:
        try:
            for pair in read_one(row):
                yield line, pair
        except BadRowError as error:
            yield line, error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield line, BadRowError(f"a value of an unexpected kind ({type(error).__name__}: {error})")


def _text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and value and isinstance(value[-1], Mapping):
        return _text(value[-1].get("content"), name)  # an answer as messages
    raise BadRowError(f"{name} is {type(value).__name__}, not text")


def _messages(value: Any) -> tuple[Message, ...]:
    if isinstance(value, str):
        return ({"role": "user", "content": value},)
    return tuple({"role": str(turn["role"]), "content": _text(turn["content"], "a message")} for turn in value)


def _pad(rows: Rows, preference: str | None, attributes: Mapping[str, str] | None) -> Iterator[Found]:
    def one(row: Row) -> Iterator[Pair]:
        asked = _messages(row["messages"] if row.get("messages") is not None else row["prompt"])
        wished = _text(row["preference"], "preference")
        chosen, rejected = (_text(row[side], side) for side in ("chosen", "rejected"))
        yield Pair(asked, wished, chosen, rejected, str(row.get("attribute") or ""))

    return _each(one, rows)


def _trl(rows: Rows, preference: str | None, attributes: Mapping[str, str] | None) -> Iterator[Found]:
    def one(row: Row) -> Iterator[Pair]:
        asked, chosen, rejected = row.get("prompt"), row["chosen"], row["rejected"]
        if asked is None:
            if isinstance(chosen, str):
                raise BadRowError("there is no prompt, and chosen is text, not messages")
            asked, other = chosen[:-1], rejected[:-1]
            if asked != other:
                raise BadRowError("chosen and rejected do not share their prompt")
        yield Pair(_messages(asked), preference or "", _text(chosen, "chosen"), _text(rejected, "rejected"))

    return _each(one, rows)


_TURN = re.compile(r"\n\n(Human|Assistant):")


def _hh(rows: Rows, preference: str | None, attributes: Mapping[str, str] | None) -> Iterator[Found]:
    def turns(text: str) -> list[Message]:
        parts = _TURN.split("\n\n" + text.lstrip("\n"))
        roles = {"Human": "user", "Assistant": "assistant"}
        return [
            {"role": roles[who], "content": said.strip()} for who, said in zip(parts[1::2], parts[2::2], strict=True)
        ]

    def one(row: Row) -> Iterator[Pair]:
        chosen, rejected = turns(row["chosen"]), turns(row["rejected"])
        if not chosen or not rejected or {chosen[-1]["role"], rejected[-1]["role"]} != {"assistant"}:
            raise BadRowError("the transcript does not end with 'Assistant:'")
        if chosen[:-1] != rejected[:-1]:
            raise BadRowError("chosen and rejected do not share their prompt")
        wished = "helpful and harmless" if preference is None else preference
        yield Pair(tuple(chosen[:-1]), wished, chosen[-1]["content"], rejected[-1]["content"])

    return _each(one, rows)


ULTRAFEEDBACK = {
    "helpfulness": "be helpful",
    "honesty": "be honest about what is uncertain",
    "instruction_following": "follow the instructions exactly",
    "truthfulness": "be truthful and factually correct",
}


def _ultrafeedback(rows: Rows, preference: str | None, attributes: Mapping[str, str] | None) -> Iterator[Found]:
    def one(row: Row) -> Iterator[Pair]:
        made = False
        for aspect, wished in (attributes or ULTRAFEEDBACK).items():
            rated = []
            for completion in row["completions"]:
                rating = str((completion["annotations"].get(aspect) or {}).get("Rating", "N/A"))
                if rating.replace(".", "", 1).isdigit():
                    rated.append((float(rating), completion["response"]))
            if rated:
                best, worst = max(rated, key=lambda item: item[0]), min(rated, key=lambda item: item[0])
                if best[0] > worst[0]:
                    made = True
                    yield Pair(_messages(row["instruction"]), wished, best[1], worst[1], aspect)
        if not made:
            raise BadRowError("no aspect rates two completions differently")

    return _each(one, rows)


# Attribute → (what a higher score is better for, what a lower one is better for).
HELPSTEER = {
    "helpfulness": ("be helpful", None),
    "correctness": ("be factually correct", None),
    "coherence": ("be clear and coherent", None),
    "complexity": ("use the terms of an expert", "use simple language"),
    "verbosity": ("be detailed", "be concise and brief"),
}


def _scored(
    rows: Rows, wishes: Mapping[str, tuple[str, str | None]], messages: Callable[[str], tuple[Message, ...]]
) -> Iterator[Found]:
    """Rows with a response and scores each; those of one prompt, wherever they are, are compared by each score."""
    groups: dict[str, list[tuple[int, Row]]] = {}
    for line, row in rows:
        groups.setdefault(str(row["prompt"]), []).append((line, row))
    for asked, held in groups.items():
        line = held[-1][0]
        made = False
        for name, (higher, lower) in wishes.items():
            try:
                scored = [(float(row[name]), _text(row["response"], "response")) for _, row in held]
            except (KeyError, TypeError, ValueError, BadRowError) as error:
                yield line, BadRowError(f"no readable {name!r} ({error})")
                continue
            best, worst = max(scored, key=lambda item: item[0]), min(scored, key=lambda item: item[0])
            if best[0] > worst[0]:
                made = True
                yield line, Pair(messages(asked), higher, best[1], worst[1], name)
                if lower is not None:
                    yield line, Pair(messages(asked), lower, worst[1], best[1], name)
        if not made:
            yield line, BadRowError("no score differs between two responses to this prompt")


def _helpsteer2(rows: Rows, preference: str | None, attributes: Mapping[str, str] | None) -> Iterator[Found]:
    def messages(prompt: str) -> tuple[Message, ...]:
        first, *rest = re.split(r"\n?<extra_id_1>(User|Assistant)\n", prompt)
        turns = [{"role": "user", "content": first.strip()}]
        for who, said in zip(rest[0::2], rest[1::2], strict=True):
            turns.append({"role": who.lower(), "content": said.strip()})
        return tuple(turns)

    wishes = HELPSTEER if attributes is None else {name: (text, None) for name, text in attributes.items()}
    return _scored(rows, wishes, messages)


def _helpsteer3(rows: Rows, preference: str | None, attributes: Mapping[str, str] | None) -> Iterator[Found]:
    def one(row: Row) -> Iterator[Pair]:
        strength = row["overall_preference"]
        if not strength:
            raise BadRowError("the two responses tie (overall_preference 0)")
        first, second = row["response1"], row["response2"]
        chosen, rejected = (first, second) if strength < 0 else (second, first)
        wished = "be helpful" if preference is None else preference
        yield Pair(_messages(row["context"]), wished, chosen, rejected, str(row.get("domain") or ""))

    return _each(one, rows)


SAFE_RLHF = {"better_response_id": "be helpful", "safer_response_id": "be harmless and safe"}


def _safe_rlhf(rows: Rows, preference: str | None, attributes: Mapping[str, str] | None) -> Iterator[Found]:
    def one(row: Row) -> Iterator[Pair]:
        for column, wished in (attributes or SAFE_RLHF).items():
            winner = row[column]
            if winner not in (0, 1):
                raise BadRowError(f"{column} is {winner!r}, not 0 or 1")
            chosen, rejected = row[f"response_{winner}"], row[f"response_{1 - winner}"]
            yield Pair(_messages(row["prompt"]), wished, chosen, rejected, column.split("_")[0])

    return _each(one, rows)


RIC = {"score1": "be harmless and safe", "score2": "be helpful", "score3": "be humorous"}


def _ric(rows: Rows, preference: str | None, attributes: Mapping[str, str] | None) -> Iterator[Found]:
    def messages(prompt: str) -> tuple[Message, ...]:
        parts = _TURN.split("\n\n" + prompt.lstrip("\n"))
        said = [{"role": "user" if who == "Human" else "assistant", "content": text.strip()}
                for who, text in zip(parts[1::2], parts[2::2], strict=True) if text.strip()]  # fmt: skip
        return tuple(said) or ({"role": "user", "content": prompt},)

    wishes = {name: (text, None) for name, text in (attributes or RIC).items() if rows and name in rows[0][1]}
    return _scored(rows, wishes, messages)


def _transcripts(row: Row) -> bool:
    return isinstance(row.get("chosen"), str) and "\n\nAssistant:" in row["chosen"]


@dataclass(frozen=True)
class _Transcripts(Layout):
    """HH-RLHF and TRL's promptless rows share their columns; the text tells them apart."""

    def missing(self, row: Row) -> list[str]:
        return super().missing(row) or ([] if _transcripts(row) else ["a transcript in 'chosen'"])


# In the order of trial: those with the more particular columns first.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("ultrafeedback", ("instruction", "completions"), _ultrafeedback),
        Layout("safe_rlhf", ("prompt", "response_0", "response_1", *SAFE_RLHF), _safe_rlhf),
        Layout("helpsteer3", ("context", "response1", "response2", "overall_preference"), _helpsteer3),
        Layout("helpsteer2", ("prompt", "response", *HELPSTEER), _helpsteer2),
        Layout("rewards_in_context", ("prompt", "response", "score1"), _ric),
        Layout("pad", ("prompt|messages", "preference", "chosen", "rejected"), _pad),
        _Transcripts("hh_rlhf", ("chosen", "rejected"), _hh),
        Layout("trl", ("chosen", "rejected"), _trl),
    )
}
