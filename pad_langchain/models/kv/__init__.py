"""Keys and values: of rows that share a width, of rows that grow at their own pace, and of kept prefixes."""

from pad_langchain.models.kv.prefixes import PrefixStore, Root
from pad_langchain.models.kv.row_cache import RowCache
from pad_langchain.models.kv.slot_cache import Branches, SlotRows

__all__ = ["Branches", "PrefixStore", "Root", "RowCache", "SlotRows"]
