"""Where rows are kept: Chroma in a folder, with a journal before it, or on a server."""

from pad_memory.store.reembedding import reembed
from pad_memory.store.shards import RepairReport, Store
from pad_memory.store.tenants import server_of

__all__ = ["RepairReport", "Store", "reembed", "server_of"]
