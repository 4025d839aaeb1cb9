"""Pydantic's dataclasses with our own errors and wording."""

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
    """Make a decorator that lets a pydantic dataclass raise one of our errors.

    Args:
        refusal: (what pydantic raised, the class) → what is raised instead.
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
    """Return one detail of a ValidationError as a sentence: where it is, what is allowed, and what was got."""
    if detail["type"] == "value_error":  # raised by a check of ours
        return f"{f'{where}: ' if where else ''}{detail['ctx']['error']}"
    allowed = re.sub(r"^\w+ should", "has to", detail["msg"])
    return f"{where} {allowed}, but is {detail['input']!r:.300}."


def way(place: Sequence[int | str], kind: Any) -> str:
    """Return where a value stands in a class, such as "stage1.steps". Positional arguments get their names."""
    names = [each.name for each in fields(kind) if not each.kw_only]
    return ".".join(
        names[part] if at == 0 and isinstance(part, int) and part < len(names) else str(part)
        for at, part in enumerate(place)
    )
