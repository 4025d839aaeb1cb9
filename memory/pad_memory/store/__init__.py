"""Where rows are kept: Chroma in a folder, with a journal before it, or on a server."""

from pad_memory.store.reembedding import reembed
from pad_memory.store.shards import RepairReport, Store

__all__ = ["RepairReport", "Store", "reembed"]
