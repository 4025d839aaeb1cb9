"""The dashboard of docs/grafana.json asks for what the server counts, and for all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pad_langchain.server.metrics import Metrics
from places import DOCS

BOARD = json.loads((DOCS / "grafana.json").read_text())
OF_SCRAPING = {"job", "le"}  # labels that Prometheus sets


def expressions(part: Any) -> Iterator[str]:
    """Every query in a part of the JSON."""
    if isinstance(part, dict):
        yield from (part[name] for name in ("expr", "query") if "pad_" in str(part.get(name, "")))
        yield from (found for value in part.values() for found in expressions(value))
    elif isinstance(part, list):
        yield from (found for value in part for found in expressions(value))


def counted() -> dict[str, set[str]]:
    """Every name under which Prometheus finds something, and its labels."""
    metrics = Metrics()
    clock = metrics.answer()
    clock.token()
    clock.token()
    metrics.refused("queue_full")
    metrics.feedback("thumb")
    with metrics.memory("record"):
        pass
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def family(name: str) -> str:
    return re.sub(r"_(total|bucket|count|sum|created)$", "", name)


@pytest.mark.parametrize("expression", sorted(set(expressions(BOARD))))
def test_a_query_is_of_a_metric_and_its_labels(expression: str) -> None:
    known = counted()
    names = set(re.findall(r"\bpad_\w+", expression))
    assert names
    assert names <= known.keys()
    labels = {label for said in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", said)}
    labels |= set(re.findall(r"[{,]\s*(\w+)=", expression))
    assert labels <= OF_SCRAPING.union(*(known[name] for name in names))


def test_everything_that_is_counted_is_shown() -> None:
    shown = {family(name) for found in expressions(BOARD) for name in re.findall(r"\bpad_\w+", found)}
    assert shown == {family(name) for name in counted()}


def test_a_legend_shows_a_label_that_its_query_keeps() -> None:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), target["expr"]


def test_panels_have_a_place_and_a_name_of_their_own() -> None:
    panels = BOARD["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels})
    sources = {panel["datasource"]["uid"] for panel in panels}
    assert sources == {"${source}"}
