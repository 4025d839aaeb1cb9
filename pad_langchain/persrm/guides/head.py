"""The guide of a head: rewards from the base's own hidden state, without a second forward or cache."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache, partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from pad_langchain.arithmetic.arrays import Array
from pad_langchain.arithmetic.head import averse, bounded, features, gate, steer
from pad_langchain.engine.protocol import Base, FeatureRows, Plan
from pad_langchain.engine.residual import ResidualGate
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.models.fingerprint import of_vocabulary
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.head import VectorHead
from pad_memory.embedding import Embedder
from pad_memory.language import embed_wishes

__all__ = ["HeadGuide"]

KEPT = 4096  # preferences


class _Read:
    """What a head makes of one preference, each part once.

    Args:
        head: in evaluation mode.
        vector: the preference's embedding, the bytes of E float32.
    """

    def __init__(self, head: VectorHead, vector: bytes) -> None:
        self._head = head
        self._vector_1E = torch.from_numpy(np.frombuffer(vector, np.float32)[None].copy()).to(head.U_RD.device)

    @cached_property
    def gate_R(self) -> torch.Tensor:
        with torch.inference_mode():
            return self._head.gates(self._vector_1E)[0]

    @cached_property
    def certainty(self) -> float:
        with torch.inference_mode():
            return float(self._head.certainty(self._vector_1E))

    @cached_property
    def wished(self) -> str | None:
        """The words in which its base is told it (see `HeadConfig.tellings`)."""
        with torch.inference_mode():
            return self._head.tellings(self._vector_1E)[0]

    @cached_property
    def turned_away(self) -> str | None:
        """Those for its opposite."""
        with torch.inference_mode():
            return self._head.tellings(-self._vector_1E)[0]


class HeadGuide:
    """The vector-conditioned head on the base's own hidden state.

    Several preferences are one guide row, whose gate is their weighted sum. With `combine="max"` they are one row each.
    The head's own backbone is the base, so both references are the same. What is read of a preference is kept, so the
    head's weights must not change any more.

    Args:
        head: the PersRM.
        embedder: embeds preferences that come without a vector. Its name must be the one in the head's config. None
            means every preference must bring its embedding.

    Raises:
        IncompatibleModelError: the embedder is not the head's.
    """

    def __init__(self, head: VectorHead, embedder: Embedder | None = None) -> None:
        self.head = head.eval()
        self.kind, self.recommended = "head", head.recommended
        self.embedder = embedder
        self._features: WeakKeyDictionary[Base, FeatureRows | None] = WeakKeyDictionary()
        self._renew()
        self.backbone = self.adapter = None
        if embedder is not None and embedder.name != head.config.embedder:
            raise IncompatibleModelError(
                f"This PersRM head reads sentence embeddings of {head.config.embedder!r}, but the embedder is "
                f"{embedder.name!r}. Use the head's embedder, or train a head for this one."
            )

    def _renew(self) -> None:
        """Forget what was read of preferences."""
        self._config, self._read = self.head.config, lru_cache(KEPT)(partial(_Read, self.head))
        self._maker = self.head.features_maker

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_features", "_read")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _features=WeakKeyDictionary())  # of bases of this process
        self._renew()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed N preference texts with the head's embedder: [N, E].

        Raises:
            InvalidRequestError: there is no embedder.
        """
        if self.embedder is None:
            raise InvalidRequestError(
                f"The preferences {list(texts)!r} come without embeddings and the guide has no embedder. Pass "
                f"embedder= (the head was trained with {self.head.config.embedder!r}), or set "
                "WeightedPreference.embedding."
            )
        return embed_wishes(self.embedder, texts)

    def gates(self, preferences: Sequence[str] | np.ndarray) -> torch.Tensor:
        """Return the gate of each of P preferences alone, [P, R], as answers are scored with it: without strengths.

        Args:
            preferences: P texts, or their embeddings [P, E].

        Raises:
            InvalidRequestError: the embeddings have another shape, or there is no embedder for the texts.
        """
        if not (isinstance(preferences, np.ndarray) and preferences.dtype.kind == "f"):
            preferences = self.embed([str(preference) for preference in preferences])
        vectors_PE = np.asarray(preferences, dtype=np.float32)
        size = self.head.config.embedding_size
        if vectors_PE.ndim != 2 or vectors_PE.shape[1] != size:
            raise InvalidRequestError(
                f"Preference embeddings have to be [P, {size}], but are {list(vectors_PE.shape)}."
            )
        return self.head.gates(torch.from_numpy(vectors_PE).to(self.head.U_RD.device), by_strength=False)

    def certainty(self, preferences: Sequence[WeightedPreference]) -> list[float]:
        """How sure the head is that it knows each preference, in [0, 1] (see `VectorHead.certainty`).

        Raises:
            InvalidRequestError: an embedding has another shape or is not finite, or there is none and no embedder.
        """
        return [read.certainty for read in self._readings(preferences)]

    def bind(self, base: Base, prompts: Prompts) -> None:
        """Check that the head fits the base, and move it to the base's device.

        Raises:
            IncompatibleModelError: hidden size, vocabulary or tokenizer differ.
        """
        self.head.check_fits(base.hidden_size, base.vocab_size)
        wanted = self.head.config.tokenizer
        if wanted is not None and (got := of_vocabulary(prompts.vocabulary())) != wanted:
            raise IncompatibleModelError(
                f"This PersRM head was trained for a base whose vocabulary has the fingerprint {wanted[:12]}…, but "
                f"this base's has {got[:12]}…: the tokens are others. Use its own base, or train a head for this one."
            )
        self.head.to(base.head_device)
        self._renew()

    def rides(self, base: Base) -> bool:
        """Return False, as a head has no rows to run."""
        return False

    def plan(self, request: Request) -> Plan:
        """Compute the gates of a request's preferences, and of its taste.

        Raises:
            InvalidRequestError: an embedding has another shape or is not finite, or there is none and no embedder; or
                the taste is of another head or rank.
        """
        gates = [read.gate_R for read in self._readings(request.preferences)]
        weights = [preference.weight for preference in request.preferences]
        if request.taste is not None:
            gates.append(self._residual(request.taste))
            weights.append(1.0)
        if request.combine != "sum":
            return Plan(tuple(weights), tuple(gates))
        with torch.inference_mode():
            return Plan((1.0,), (gate(torch.stack(gates), weights),))

    @property
    def features_maker(self) -> str | None:
        """Whose features a taste has to be in (see `VectorHead.features_maker`)."""
        if self.head.config is not self._config:
            self._renew()
        return self._maker

    def _residual(self, taste: ResidualGate) -> torch.Tensor:
        """The gate of a taste [R], without what would raise the reward of harm and no longer than the head knows gates.

        Raises:
            InvalidRequestError: it is of another head or rank, or the head takes none.
        """
        config = self.head.config
        if config.reach is None or taste.maker != self.features_maker or taste.gate.shape != (config.rank,):
            raise InvalidRequestError(
                f"A taste has to be a gate of this head ({self.features_maker!r}, {config.rank} numbers), but is one "
                f"of {taste.maker!r} with {len(taste.gate)}. Leave it out."
            )
        gate_R = torch.from_numpy(taste.gate).to(self.head.U_RD)
        with torch.inference_mode():
            return bounded(averse(gate_R, self.head.harm_KR), config.reach)

    def start(self, base: Base, plans: Sequence[Plan]) -> _HeadRows:
        """Open the rows of these plans. This runs nothing, but the first time it may read the base's output matrix."""
        if base not in self._features:
            self._features[base] = base.feature_rows(self.head.V_DR)
        gates_GR = torch.stack([gate for plan in plans for gate in plan.rows])
        return _HeadRows(self.head, base, gates_GR, self._features[base])

    def tell(self, preferences: Sequence[WeightedPreference]) -> list[tuple[str, float]]:
        """In which words the base should hear P preferences: (text, weight) of those it should hear at all.

        Raises:
            InvalidRequestError: as `plan`.
        """
        if self.head.config.tellings is None or not preferences:
            return [(preference.text, preference.weight) for preference in preferences]
        said = [
            read.turned_away if preference.weight < 0 else read.wished
            for preference, read in zip(preferences, self._readings(preferences), strict=True)
        ]
        return [
            (each.text, each.weight) if words is None else (words, abs(each.weight))
            for each, words in zip(preferences, said, strict=True)
            if words != ""
        ]

    def _readings(self, preferences: Sequence[WeightedPreference]) -> list[_Read]:
        if self.head.config is not self._config:  # what it recommends was changed
            self._renew()
        missing = [preference.text for preference in preferences if preference.embedding is None]
        made = iter(self.embed(missing)) if missing else iter(())
        size = self.head.config.embedding_size
        found = []
        for preference in preferences:
            vector = np.asarray(next(made) if preference.embedding is None else preference.embedding, dtype=np.float32)
            if vector.shape != (size,) or not np.isfinite(vector).all():
                raise InvalidRequestError(
                    f"The embedding of preference {preference.text!r} has to be {size} finite numbers (from "
                    f"{self.head.config.embedder!r}), but has shape {vector.shape}"
                    f"{'' if np.isfinite(vector).all() else ' and is not finite'}."
                )
            found.append(self._read(vector.tobytes()))
        return found


class _HeadRows:
    full: Sequence[bool] = ()

    def __init__(self, head: VectorHead, base: Base, gates_GR: torch.Tensor, feature_rows: FeatureRows | None) -> None:
        self.head, self.base, self.gates_GR, self.feature_rows = head, base, gates_GR, feature_rows

    def logits(
        self, hidden_GD: Array, candidates_GK: Array, own_reference: bool, keep_GK: Array
    ) -> tuple[Array, Array | None]:
        if isinstance(hidden_GD, np.ndarray):
            steered_GD = steer(hidden_GD, *self._arrays)
        else:
            steered_GD = self.head(hidden_GD, self.gates_GR)
        return self.base.candidate_logits(steered_GD, candidates_GK), None

    def added(self, hidden_GD: np.ndarray, candidates_GK: np.ndarray) -> np.ndarray | None:
        if self.feature_rows is None:
            return None
        gates_GR, U_RD, _ = self._arrays
        added_GK: np.ndarray = self.feature_rows.logits(features(hidden_GD, U_RD) * gates_GR, candidates_GK)
        return added_GK

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gates [G, R], U and V."""
        gates_GR, U_RD, V_DR = (
            tensor.detach().float().numpy() for tensor in (self.gates_GR, self.head.U_RD, self.head.V_DR)
        )
        return gates_GR, U_RD, V_DR

    def advance(self, tokens_GT: torch.Tensor) -> None:
        """Do nothing, as the head reads only the base's hidden state."""

    def merge(self, other: _HeadRows) -> None:
        self._change(torch.cat([self.gates_GR, other.gates_GR]))

    def keep(self, rows: Sequence[int]) -> None:
        self._change(self.gates_GR[torch.tensor(rows, device=self.gates_GR.device)])

    def _change(self, gates_GR: torch.Tensor) -> None:
        self.gates_GR = gates_GR
        vars(self).pop("_arrays", None)
