"""Names the pole of a catalogue that words without a negation are about: ridge regressions on sentence embeddings."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder, embed
from pad_memory.language.courtesies import without_filler
from pad_memory.language.polarity import polarity
from pad_memory.paths import replacing

__all__ = ["KEPT", "PoleRidge", "synonyms"]

logger = logging.getLogger(__name__)

KEPT = "catalogue.npz"

# Words people use for a pole that no head has to be trained on.
_SYNONYMS = {
    "length:concise": "be terse; terse; be succinct; laconic; crisp; snappy; pithy; curt; stick to the point",
    "length:detailed": "exhaustive; comprehensive; elaborate; extensive; go deep; long-winded; wordy; verbose",
    "tone:formal": "courteous; businesslike; stiff; official",
    "tone:casual": "chatty; laid-back; colloquial; informal; relaxed",
    "humor:humorous": "witty; funny; hilarious; jokes; puns; humor; play the clown",
    "humor:serious": "earnest; sober; matter-of-fact; deadpan",
    "format:list": "bulleted; itemized; bullet points; bullets; lists",
    "format:prose": "paragraphs; flowing text; prose; running text",
    "level:simple": "layman's terms; simple; basic; easy; dumb it down",
    "level:technical": "rigorous; scholarly; complicated; technical; scientific; jargon; technical terms",
    "examples:examples": "examples; illustrations; sample cases",
    "warnings:warnings": "warnings; caveats; disclaimers; safety notices; risks; dangers",
    "emoji:emoji": "emojis; emoticons; smileys",
}


class PoleRidge:
    """Ridge regressions on the cores of the catalogue's wordings: which of D dimensions, and which pole of it (±1).

    Args:
        catalogue: D dimensions.
        embedder: any sentence embedder; it sees every wording once.
        folder: where their vectors are kept for the next process; None means nowhere.
    """

    PENALTY = 1.0
    TAUGHT = 2  # how often a wording of another language counts

    def __init__(self, catalogue: Sequence[Dimension], embedder: Embedder, folder: Path | None) -> None:
        self._embedder = embedder
        self._keys = {
            f"{dimension.name}:{pole.name}": (row, side)
            for row, dimension in enumerate(catalogue)
            for pole, side in zip(dimension.poles, (1, -1), strict=True)
        }
        wordings = [
            (wording, f"{dimension.name}:{pole.name}")
            for dimension in catalogue
            for pole in dimension.poles
            for wording in (pole.text, *pole.paraphrases, *synonyms(f"{dimension.name}:{pole.name}"))
        ]
        core_NF, sign_N = self._features([wording for wording, _ in wordings], folder)
        self._own = len(wordings)  # the rows of the catalogue, before those that are taught
        self._fit(core_NF, *self._targets([key for _, key in wordings], sign_N))

    def taught(self, wordings: Sequence[tuple[str, str]]) -> PoleRidge:
        """Return one that has learned from more wordings, each with the key of its pole and without a negation."""
        other = copy.copy(self)
        more = (
            self._with_constant([wording for _, wording in wordings]),
            *self._targets([key for key, _ in wordings], np.ones(len(wordings))),
        )
        other._fit(*(np.vstack(both) for both in zip(self._learned, more, strict=True)))
        return other

    def scores(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return how far each of N texts is about each dimension, which pole it asks for, both [N, D], about 1 and ±1
        for a wording of the catalogue; and how near the nearest wordings are, a cosine [N].
        """
        core_NF, sign_N = self._features([without_filler(text) or text for text in texts])
        about_ND, side_ND, near_N = self._scored(core_NF)
        return about_ND, side_ND * sign_N[:, None], near_N

    def scored(self, cores: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same of texts that have no negation, in any language."""
        return self._scored(self._with_constant(cores))

    def _scored(self, core_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        near_N = np.sort(core_NF[:, :-1] @ self._learned[0][:, :-1].T, axis=1)[:, -3:].mean(axis=1)
        return core_NF @ self._about_FD, core_NF @ self._side_FD, near_N

    def _fit(self, core_NF: np.ndarray, about_ND: np.ndarray, side_ND: np.ndarray) -> None:
        self._learned = core_NF, about_ND, side_ND
        taught_MF = core_NF[self._own :]
        weighted_FN = np.hstack([core_NF[: self._own].T, self.TAUGHT * taught_MF.T])
        gram_FF = weighted_FN @ core_NF + self.PENALTY * np.eye(core_NF.shape[1])
        self._about_FD, self._side_FD = (
            np.linalg.solve(gram_FF, weighted_FN @ target_ND) for target_ND in (about_ND, side_ND)
        )

    def _targets(self, keys: Sequence[str], sign_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which dimension each wording is about, and which pole it names without its negations: [N, D] each."""
        about_ND = np.zeros((len(keys), max(row for row, _ in self._keys.values()) + 1))
        about_ND[np.arange(len(keys)), [self._keys[key][0] for key in keys]] = 1.0
        return about_ND, about_ND * (sign_N * [self._keys[key][1] for key in keys])[:, None]

    def _features(self, texts: Sequence[str], folder: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings of the texts' cores with a constant 1 appended [N, E + 1], and the texts' signs [N]."""
        cores, signs = zip(*(polarity(text) for text in texts), strict=True)
        return self._with_constant(cores, folder), np.array(signs, dtype=np.float64)

    def _with_constant(self, cores: Sequence[str], folder: Path | None = None) -> np.ndarray:
        vectors_NE = _kept(folder, self._embedder, cores).astype(np.float64)
        return np.hstack([vectors_NE, np.ones((len(cores), 1))])


def _kept(folder: Path | None, embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Embed texts [N, E], or take their vectors from the file in `folder` where an earlier process put them."""
    if folder is None:
        return embed(embedder, texts)
    key = hashlib.sha256(json.dumps([embedder.name, *texts]).encode()).hexdigest()
    path = folder / KEPT
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            if str(kept["key"]) == key:
                found: np.ndarray = kept["vectors"]
                if np.allclose(found[:1], embed(embedder, texts[:1]), atol=0.05):  # by name alone it may be another
                    return found
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, damaged or of another version: it is only a copy, and written anew
    vectors_NE = embed(embedder, texts)
    try:
        with replacing(path) as file:
            np.savez(file, key=np.array(key), vectors=vectors_NE)
    except OSError as error:  # a full disk costs time, not the wish
        logger.debug("The vectors of the catalogue's wordings are not kept for the next process: %s", error)
    return vectors_NE


def synonyms(key: str) -> list[str]:
    """Return the words of `key`'s pole beside the catalogue's."""
    return _SYNONYMS[key].split("; ") if key in _SYNONYMS else []
