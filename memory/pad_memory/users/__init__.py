"""Each user's events and items: a ledger that owns the lock, and how all of a user is moved and erased."""

from pad_memory.users.items import Item, Items
from pad_memory.users.ledger import Ledger
from pad_memory.users.moving import Mover
from pad_memory.users.retention import IdleUser, Progress, forget_idle
from pad_memory.users.retractions import retraction
from pad_memory.users.training_pairs import pairs_of
from pad_memory.users.transfer import export_user, import_user

__all__ = [
    "IdleUser",
    "Item",
    "Items",
    "Ledger",
    "Mover",
    "Progress",
    "export_user",
    "forget_idle",
    "import_user",
    "pairs_of",
    "retraction",
]
