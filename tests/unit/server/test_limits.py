"""Buckets of tokens, at a clock of our own."""

from __future__ import annotations

import pytest

from pad_langchain.server.limits import RateLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_then_one_per_interval() -> None:
    clock = Clock()
    limit = RateLimit(60, 3, clock)
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, pytest.approx(1.0)]
    clock.now += 0.75
    assert limit.take("a") == pytest.approx(0.25)
    clock.now += 0.25
    assert [limit.take("a"), limit.take("a")] == [0, pytest.approx(1.0)]


def test_a_bucket_holds_no_more_than_a_burst() -> None:
    clock = Clock()
    limit = RateLimit(60, 2, clock)
    limit.take("a")
    clock.now += 3_600
    assert [limit.take("a") > 0 for _ in range(3)] == [False, False, True]


def test_every_key_has_its_own_bucket() -> None:
    limit = RateLimit(1, 1, Clock())
    assert (limit.take("a"), limit.take("b")) == (0, 0)
    assert (limit.take("a"), limit.take("b")) == (pytest.approx(60), pytest.approx(60))


def test_without_a_rate_all_pass() -> None:
    limit = RateLimit(None, 1, Clock())
    assert [limit.take("a") for _ in range(100)] == [0.0] * 100
