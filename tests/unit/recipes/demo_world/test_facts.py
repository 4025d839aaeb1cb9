"""The facts are complete rows with short cells, and no name is used twice."""

from __future__ import annotations

import pytest

from recipes.demo_world import facts

DOMAINS = {name: getattr(facts, name) for name in facts.__all__ if name.isupper()}
COLUMNS = {
    "ANIMALS": 6,
    "CONCEPTS": 6,
    "COUNTRIES": 6,
    "ELEMENTS": 6,
    "FOODS": 6,
    "HOWTO": 7,
    "INSTRUMENTS": 6,
    "JOBS": 7,
    "SPORTS": 7,
}


def test_each_domain_has_its_columns() -> None:
    assert {name: len(table[0]) for name, table in DOMAINS.items()} == COLUMNS


def test_no_name_is_used_twice() -> None:
    names = [row[0].lower() for table in DOMAINS.values() for row in table]
    assert [name for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize("name", ["JOBS", "SPORTS"])
def test_cells_are_short_and_carry_no_full_stop(name: str) -> None:
    assert len(DOMAINS[name]) >= 36
    assert [cell for row in DOMAINS[name] for cell in row if len(cell.split()) > 8 or cell.endswith(".")] == []


def test_rows_refuses_a_missing_or_empty_cell() -> None:
    assert facts.rows("a|b\nc | d") == (("a", "b"), ("c", "d"))
    with pytest.raises(ValueError, match=r"needs 2 cells.*this has 1"):
        facts.rows("a|b\nc")
    with pytest.raises(ValueError, match="text in each"):
        facts.rows("a|b\nc|")
