"""What is kept of sequences that ended."""

from __future__ import annotations

import numpy as np
import pytest

from pad_langchain.engine.llama_cpp.kept import KeptSequences, common

STATE = np.zeros(3, dtype=np.uint8)


def ids(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


@pytest.mark.parametrize(
    ("first", "second", "length"),
    [
        ((), (), 0),
        ((1,), (), 0),
        ((1, 2), (1, 2), 2),
        ((1, 2), (1, 2, 3), 2),
        ((1, 2, 9), (1, 2, 3), 2),
        ((4,), (5,), 0),
    ],
)
def test_common(first: tuple[int, ...], second: tuple[int, ...], length: int) -> None:
    assert common(ids(*first), ids(*second)) == common(ids(*second), ids(*first)) == length


def test_the_longest_beginning_is_found_under_its_salt_alone() -> None:
    kept = KeptSequences(1000)
    kept.add(range(40), "ada", STATE)
    kept.add([*range(20), *range(500, 520)], "ada", STATE)
    assert kept.find(ids(*range(30)), "ada")[0] == 30
    assert kept.find(ids(*range(20), 500, 501), "ada")[0] == 22
    assert kept.find(ids(*range(30)), "bob") == (0, None)
    assert kept.find(ids(*range(15), 99), "ada") == (0, None)  # too short to be worth it
    assert len(kept) == 80


def test_a_longer_one_takes_the_place_of_its_beginning_and_a_shorter_one_is_not_wanted() -> None:
    kept = KeptSequences(1000)
    kept.add(range(20), "", STATE)
    kept.add(range(40), "", STATE)
    assert len(kept) == 40
    assert not kept.wants(range(30), "")
    assert kept.wants(range(30), "bob")
    assert kept.wants(range(50), "")
    assert not kept.wants(range(3), "bob")
    assert not KeptSequences(0).wants(range(30), "")


def test_the_least_recently_used_go_first() -> None:
    kept = KeptSequences(70)
    for start in (0, 100, 200):
        kept.add(range(start, start + 20), "", STATE)
    kept.find(ids(*range(20)), "")
    kept.add(range(300, 320), "", STATE)
    assert [kept.find(ids(*range(start, start + 20)), "")[0] for start in (0, 100, 200, 300)] == [20, 0, 20, 20]
    kept.clear()
    assert len(kept) == 0


def test_a_state_much_longer_than_what_is_wanted_of_it_is_left() -> None:
    kept = KeptSequences(10_000)
    kept.add(range(200), "", STATE)
    assert kept.find(ids(*range(20), -1), "") == (0, None)
    assert kept.find(ids(*range(30), -1), "")[0] == 30
