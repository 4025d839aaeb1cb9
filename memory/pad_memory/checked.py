"""Pydantic's dataclasses, with errors and words of ours."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import ValidationError

__all__ = ["refused_as", "said", "way"]

Kind = TypeVar("Kind")


def refused_as(refusal: Callable[[ValidationError, type], Exception]) -> Callable[[type[Kind]], type[Kind]]:
    """Let a pydantic dataclass raise an error of ours when it is made.

    Args:
        refusal: (what pydantic raised, the class that was made) → what is raised instead.
    """

    def decorate(kind: type[Kind]) -> type[Kind]:
        check = kind.__init__

        @functools.wraps(check)
        def init(self: Any, *args: Any, **values: Any) -> None:
            try:
                check(self, *args, **values)
            except ValidationError as error:
                raise refusal(error, kind) from None

        kind.__init__ = init  # type: ignore[method-assign]
        return kind

    return decorate


def said(detail: Any, where: str) -> str:
    """One of a ValidationError's details as a sentence: what is where, what is allowed, and what was got."""
    if detail["type"] == "value_error":  # raised by a check of ours
        return f"{f'{where}: ' if where else ''}{detail['ctx']['error']}"
    allowed = re.sub(r"^\w+ should", "has to", detail["msg"])
    return f"{where} {allowed}, but is {detail['input']!r:.300}."


def way(place: Sequence[int | str], kind: Any) -> str:
    """Where a value stands in a class, as "stage1.steps" or "data.0.layout"; one without a name of its own gets it."""
    names = [each.name for each in fields(kind) if not each.kw_only]
    return ".".join(
        names[part] if at == 0 and isinstance(part, int) and part < len(names) else str(part)
        for at, part in enumerate(place)
    )
