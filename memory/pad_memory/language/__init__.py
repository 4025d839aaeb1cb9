"""What words mean: which wish they hold, whether it is wanted, what it is limited to, and what it is about."""

from pad_memory.language.chat_wishes import explicit_statements
from pad_memory.language.courtesies import core, embed_wishes, wanted
from pad_memory.language.matters import place
from pad_memory.language.occasions import ANSWER, DATA, Occasion, named_kinds, occasion
from pad_memory.language.reader import Reader, Reading, ReadsWishes
from pad_memory.language.scopes import THREAD, thread_scope
from pad_memory.language.subjects import about_manner
from pad_memory.language.times import UTC, check_zone, clock_time, timed_parts
from pad_memory.language.tongues import unread

__all__ = [
    "ANSWER",
    "DATA",
    "THREAD",
    "UTC",
    "Occasion",
    "Reader",
    "Reading",
    "ReadsWishes",
    "about_manner",
    "check_zone",
    "clock_time",
    "core",
    "embed_wishes",
    "explicit_statements",
    "named_kinds",
    "occasion",
    "place",
    "thread_scope",
    "timed_parts",
    "unread",
    "wanted",
]
