"""Building blocks of settings: frozen dataclasses that pydantic checks, types of values, and YAML files.

@checked
@dataclass(frozen=True, config=STRICT)
class MySettings:
    steps: Count = 100
"""

from __future__ import annotations

import difflib
import os
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from pad_langchain.defaults import NAMES
from pad_langchain.errors import InvalidRequestError
from pad_langchain.paths import absolute, model_place
from pad_memory.checked import refused_as, said, way

__all__ = [
    "STRICT",
    "Count",
    "Flag",
    "ModelName",
    "Natural",
    "Number",
    "Place",
    "Positive",
    "Share",
    "checked",
    "load_yaml",
]

STRICT = ConfigDict(extra="forbid")


def _from_text(value: Any) -> Any:
    """Turn a text into a number, as YAML reads 1e-4 as a text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value  # to be refused


def _as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Flag = Annotated[bool, Field(strict=True)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(_from_text)]
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Place = Annotated[str, BeforeValidator(_as_text), AfterValidator(lambda path: str(absolute(path)))]
ModelName = Annotated[str, BeforeValidator(_as_text), AfterValidator(lambda name: model_place(name, *NAMES, "auto"))]


def _refusal(error: ValidationError, kind: type) -> InvalidRequestError:
    told, missing = list[str](), list[str]()
    for detail in error.errors(include_url=False):
        where = way(detail["loc"], kind)
        if detail["type"] == "missing":
            missing.append(where)
        elif detail["type"] == "unexpected_keyword_argument":
            told.append(f"There is no setting {where!r}{_nearest(detail['loc'], kind)}")
        else:
            told.append(said(detail, where))
    if missing:
        told.insert(0, f"The settings lack {', '.join(missing)}.")
    return InvalidRequestError(" ".join(told))


def _nearest(place: tuple[int | str, ...], kind: type) -> str:
    """The end of a sentence that says that a setting does not exist: the nearest name, or all names there."""
    names = [part for part in place if isinstance(part, str)]
    known = list(_names(kind))
    if near := difflib.get_close_matches(".".join(names), known, 1, 0.5):
        return f", did you mean {near[0]!r}?"
    above = ".".join(names[:-1])
    return f"; there are {sorted(name for name in known if name.rpartition('.')[0] == above)}."


def _names(kind: Any, above: str = "") -> Iterator[str]:
    """The names of all settings. Nested ones have the names above them: "stage1.steps"."""
    hints = typing.get_type_hints(kind)
    for each in fields(kind):
        yield above + each.name
        for within in (hints[each.name], *typing.get_args(hints[each.name])):
            if is_dataclass(within):
                yield from _names(within, f"{above}{each.name}.")


checked = refused_as(_refusal)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a mapping from a YAML file.

    Raises:
        InvalidRequestError: the file cannot be read, or is not a mapping.
    """
    try:
        loaded = yaml.safe_load(absolute(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidRequestError(f"The settings {str(path)!r} do not read: {error}") from error
    if not isinstance(loaded, dict):
        raise InvalidRequestError(
            f"{str(path)!r} has to be a YAML mapping of settings, but is {type(loaded).__name__}."
        )
    return {str(name): value for name, value in loaded.items()}
