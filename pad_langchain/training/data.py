"""Preference pairs from files: one schema, readers for the layouts people have, and every row that is refused reported.

    load_pairs("pairs.jsonl") → PairSet(pairs, bad, …) → split_pairs → reward.train

The schema is one JSON object a line, {prompt | messages, preference, chosen, rejected}: `prompt` is one user message,
`messages` a conversation that ends with one. Other layouts are in `layouts`; which one a file has, its columns tell.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pad_langchain.errors import InvalidRequestError, MissingDependencyError
from pad_langchain.paths import absolute, replacing
from pad_langchain.training.layouts import LAYOUTS, BadRowError, Layout, Message, Pair, detect

__all__ = ["BadRow", "Message", "Pair", "PairSet", "load_pairs", "read_pairs", "split_pairs", "write_pairs"]

_log = logging.getLogger(__name__)
SHOWN = 5  # bad rows a report names


@dataclass(frozen=True)
class BadRow:
    """A row that gave no pair: where it is (line of a JSONL file, else row; from 1) and why."""

    source: str
    line: int
    reason: str


@dataclass(frozen=True)
class PairSet:
    """What was read.

    Args:
        pairs: the pairs, in the order of the rows.
        bad: the rows that were refused.
        rows: rows seen, good and bad.
        layouts: source → name of its layout.
    """

    pairs: tuple[Pair, ...]
    bad: tuple[BadRow, ...] = ()
    rows: int = 0
    layouts: Mapping[str, str] = field(default_factory=dict)

    def report(self) -> str:
        """A few lines for people: what was read, and each kind of refusal with the lines it is on."""
        lines = [f"{len(self.pairs)} pairs from {self.rows} rows, {len(self.bad)} rows refused"]
        for reason, count in Counter(_kind(row.reason) for row in self.bad).most_common():
            hits = [row for row in self.bad if _kind(row.reason) == reason]
            where = ", ".join(f"{row.source}:{row.line}" for row in hits[:SHOWN])
            lines.append(f"  {count} × {hits[0].reason} ({where}{', …' if count > SHOWN else ''})")
        return "\n".join(lines)


def load_pairs(*sources: str | Path | Mapping[str, Any]) -> PairSet:
    """Read and join several sources.

    Args:
        sources: paths or `datasets` names, or mappings with the arguments of `read_pairs` (`source`, `layout`, …).

    Raises:
        InvalidRequestError: as `read_pairs`.
    """
    sets = [read_pairs(**source) if isinstance(source, Mapping) else read_pairs(source) for source in sources]
    return PairSet(
        tuple(pair for found in sets for pair in found.pairs),
        tuple(row for found in sets for row in found.bad),
        sum(found.rows for found in sets),
        {name: layout for found in sets for name, layout in found.layouts.items()},
    )


def read_pairs(
    source: str | Path | Iterable[Mapping[str, Any]],
    *,
    layout: str | None = None,
    preference: str | None = None,
    attributes: Mapping[str, str] | None = None,
    split: str = "train",
    limit: int | None = None,
) -> PairSet:
    """Read the pairs of one source; rows that give none are counted and kept with their reason.

    Args:
        source: a .jsonl, .json or .parquet file, the name of a `datasets` dataset, or rows (such as
            `memory.export_pairs()`).
        layout: a name in `LAYOUTS`; None tells it by the columns of the first readable row.
        preference: what pairs were chosen for whose layout names no preference; None means what the layout says.
        attributes: for layouts with scores, column or aspect → preference text; None means the layout's own.
        split: of a `datasets` dataset.
        limit: rows read at most.

    Raises:
        InvalidRequestError: the file is missing, no layout fits its columns (the nearest names are given), or it has
            no usable row at all.
    """
    name = str(source) if isinstance(source, str | Path) else "rows"
    if layout is not None and layout not in LAYOUTS:
        raise InvalidRequestError(f"layout has to be one of {sorted(LAYOUTS)}, but is {layout!r}.")
    rows = _rows(source, split) if isinstance(source, str | Path) else enumerate(source, 1)
    chosen: Layout | None = None if layout is None else LAYOUTS[layout]
    bad, good, seen = list[BadRow](), list[tuple[int, Mapping[str, Any]]](), 0
    for line, row in rows:
        if limit is not None and seen >= limit:
            break
        seen += 1
        if not isinstance(row, Mapping):
            bad.append(BadRow(name, line, str(row)))
            continue
        if chosen is None:
            chosen = detect(row, name)
        if missing := chosen.missing(row):
            bad.append(BadRow(name, line, _other_layout(chosen, row, missing)))
        else:
            good.append((line, row))
    pairs: list[Pair] = []
    if chosen is not None:
        for line, found in chosen.read(good, preference, attributes):
            if isinstance(found, BadRowError):
                bad.append(BadRow(name, line, str(found)))
            elif refusal := _refusal(found):
                bad.append(BadRow(name, line, refusal))
            else:
                pairs.append(found)
    bad.sort(key=lambda row: row.line)
    result = PairSet(tuple(pairs), tuple(bad), seen, {name: "" if chosen is None else chosen.name})
    if not pairs:
        raise InvalidRequestError(f"{name!r} has no usable preference pair. {result.report()}")
    if bad:
        _log.warning("%s: %s", name, result.report())
    return result


def split_pairs(pairs: Sequence[Pair], held_out: float, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Split into (training, held-out) by conversation: all pairs of one prompt are on one side, whatever the order.

    Args:
        held_out: share of prompts held out, in [0, 1).
    """
    if not 0 <= held_out < 1:
        raise InvalidRequestError(f"held_out has to be a share in [0, 1), but is {held_out!r}.")
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for pair in pairs:
        mark = hashlib.sha256(f"{seed}\n{json.dumps(pair.messages)}".encode()).digest()
        sides[int.from_bytes(mark[:8], "big") / 2**64 < held_out].append(pair)
    return sides


def write_pairs(pairs: Iterable[Pair], path: str | Path) -> int:
    """Write pairs in our schema, one JSON object a line; returns how many."""
    with replacing(absolute(path)) as file, file.open("w", encoding="utf-8") as stream:
        return sum(stream.write(json.dumps(pair.to_row(), ensure_ascii=False) + "\n") > 0 for pair in pairs)


def _rows(source: str | Path, split: str) -> Iterator[tuple[int, Any]]:
    """(line from 1, row) of a file or dataset; a line that is no JSON object comes as the text that says so."""
    path = absolute(source)
    if path.suffix == ".jsonl" and path.is_file():
        with path.open("rb") as stream:
            for line, text in enumerate(stream, 1):
                if text.strip():
                    yield line, _json(text)
    elif path.suffix == ".json" and path.is_file():
        rows = _json(path.read_bytes())
        if not isinstance(rows, list):
            raise InvalidRequestError(f"{str(path)!r} has to be a JSON list of rows; one object a line is a .jsonl.")
        yield from enumerate(rows, 1)
    elif path.suffix == ".parquet" and path.is_file():
        try:
            from pyarrow import parquet
        except ImportError as error:
            raise MissingDependencyError(
                f'pyarrow reads Parquet and is not installed ({error}). Install it: pip install "pad-langchain[train]"'
            ) from error
        yield from enumerate(
            (row for batch in parquet.ParquetFile(path).iter_batches() for row in batch.to_pylist()), 1
        )
    else:
        yield from enumerate(_dataset(str(source), split), 1)


def _json(text: bytes) -> Any:
    try:
        row = json.loads(text)
    except ValueError as error:
        return f"not JSON: {error}"
    return row if isinstance(row, dict | list) else f"a JSON {type(row).__name__}, not an object"


def _dataset(name: str, split: str) -> Iterable[Mapping[str, Any]]:
    known = ".jsonl, .json or .parquet file"
    if Path(name).suffix in (".jsonl", ".json", ".parquet", ".csv", ".txt") or Path(name).exists():
        raise InvalidRequestError(f"{name!r} is not there, or not a {known}. Check the path.")
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingDependencyError(
            f"{name!r} is no {known}, and what fetches datasets by name is not installed ({error}). Install it: "
            'pip install "pad-langchain[train]"'
        ) from error
    try:
        rows: Iterable[Mapping[str, Any]] = load_dataset(name, split=split)
    except Exception as error:  # `datasets` raises many kinds, its hub client more
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InvalidRequestError(
            f"{name!r} is neither a {known} nor a dataset that is reachable or cached (split {split!r}): {reason}"
        ) from error
    return rows


def _other_layout(layout: Layout, row: Mapping[str, Any], missing: Sequence[str]) -> str:
    other = next((other.name for other in LAYOUTS.values() if other is not layout and not other.missing(row)), None)
    mixed = "" if other is None else f", it looks like {other!r}"
    return f"not in the file's layout {layout.name!r}: without {', '.join(map(repr, missing))}{mixed}"


def _refusal(pair: Pair) -> str | None:
    """Why a pair cannot teach anything; None if it can."""
    if not pair.messages or pair.messages[-1]["role"] != "user" or not pair.messages[-1]["content"].strip():
        return "the prompt is empty or does not end with a user's message"
    empty = [side for side in ("chosen", "rejected") if not getattr(pair, side).strip()]
    if empty:
        return f"{' and '.join(empty)} is empty"
    if pair.chosen.strip() == pair.rejected.strip():
        return "chosen equals rejected"
    return None


def _kind(reason: str) -> str:
    """A reason without what differs from row to row."""
    return re.sub(r"\d+", "#", re.sub(r"'[^']*'", "'…'", reason)).split(": line ")[0]
