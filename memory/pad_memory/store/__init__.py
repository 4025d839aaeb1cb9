"""Where a user's events and items are kept: Chroma with a journal before it, and a ledger that owns the lock."""

from pad_memory.store.items import Item, Items
from pad_memory.store.ledger import Ledger
from pad_memory.store.shards import RepairReport, Store
from pad_memory.store.training_pairs import pairs_of
from pad_memory.store.transfer import export_user, import_user

__all__ = ["Item", "Items", "Ledger", "RepairReport", "Store", "export_user", "import_user", "pairs_of"]
