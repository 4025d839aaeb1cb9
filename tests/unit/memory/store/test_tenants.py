"""Which of several Chroma servers keeps a tenant."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pad_memory import server_of
from pad_memory.errors import InvalidEventError

URLS = [f"http://chroma-{number}:8000" for number in range(5)]
TENANTS = [f"tenant {number}" for number in range(2_000)]


@given(st.text(), st.permutations(URLS))
def test_the_order_in_which_servers_are_named_does_not_count(tenant: str, urls: list[str]) -> None:
    assert server_of(tenant, urls) == server_of(tenant, URLS)


def test_tenants_spread_and_a_new_server_moves_its_share_and_no_other() -> None:
    before = {tenant: server_of(tenant, URLS) for tenant in TENANTS}
    assert min(Counter(before.values()).values()) > 0.8 * len(TENANTS) / len(URLS)
    new = "http://chroma-5:8000"
    after = {tenant: server_of(tenant, [*URLS, new]) for tenant in TENANTS}
    moved = {tenant for tenant in TENANTS if before[tenant] != after[tenant]}
    assert {after[tenant] for tenant in moved} == {new}
    assert 0.8 / 6 < len(moved) / len(TENANTS) < 1.2 / 6


def test_no_server_is_refused() -> None:
    with pytest.raises(InvalidEventError, match="at least one Chroma server"):
        server_of("acme", [])
