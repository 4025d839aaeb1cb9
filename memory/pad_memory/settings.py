"""What a memory is opened with, except its folder. A copy in another process is opened with the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder
from pad_memory.errors import InvalidEventError
from pad_memory.evidence import Scorer
from pad_memory.fields import check_span, check_text
from pad_memory.language import ReadsWishes
from pad_memory.profile import Population
from pad_memory.sources import ResponseLog
from pad_memory.values import Values

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """The arguments of `PreferenceMemory` in their order, described there.

    Raises:
        InvalidEventError: the tenant is blank or not a text, the half-life is not above 0 days, or `last_known` is no
            timedelta above 0.
    """

    url: str | None
    tenant: str
    scorer: Scorer | None
    embedder: Embedder | None
    catalogue: tuple[Dimension, ...]
    responses: ResponseLog
    reader: ReadsWishes | None
    population: Population | None
    values: Values
    half_life: float | None  # days
    last_known: timedelta | None
    selective: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "tenant", check_text("tenant", self.tenant))
        if self.half_life is not None and not self.half_life > 0:
            raise InvalidEventError(
                f"half_life has to be a number of days above 0, or None, but is {self.half_life!r}."
            )
        if self.last_known is not None:
            check_span("last_known", self.last_known)
