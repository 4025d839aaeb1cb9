"""Which of several Chroma servers keeps a tenant."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pad_memory.errors import InvalidEventError

__all__ = ["server_of"]


def server_of(tenant: str, urls: Sequence[str]) -> str:
    """Return the Chroma server that keeps a tenant: the same everywhere, in whatever order the servers are named.

    `PreferenceMemory(url=server_of(tenant, urls), tenant=tenant)` spreads tenants over servers that know nothing of
    each other. One server more takes over one tenant in n + 1 and moves no other (rendezvous hashing), so export those
    users before, and import them afterwards.

    Args:
        tenant: of a memory.
        urls: addresses of Chroma servers, at least one.

    Raises:
        InvalidEventError: there is no address.

    >>> server_of("acme", ["http://a:8000", "http://b:8000"])
    'http://b:8000'
    """
    if not urls:
        raise InvalidEventError("Name the address of at least one Chroma server; got none.")
    return max(urls, key=lambda url: hashlib.sha256(f"{url}\n{tenant}".encode()).digest())
