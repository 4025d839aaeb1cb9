"""What a head learns from, computed once by the base and kept on disk: hidden states and candidates of answer tokens.

The cache is append-only and memory-mapped: a run that was killed goes on behind the last whole batch, and training
reads what it needs without holding the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pad_langchain.errors import CheckpointError
from pad_langchain.models.backbone import Backbone
from pad_langchain.paths import replacing
from pad_langchain.persrm.hidden import Answer, answers, blocks
from pad_langchain.training.encoding import EncodedPair

__all__ = ["Features", "compute_features"]

PAIRS_AT_ONCE = 8
LOGITS_AT_ONCE = 2**24  # float32 numbers a block of full-vocabulary logits
DTYPES = {"hidden": np.int16, "candidates": np.int32, "logits": np.float32, "settled": np.bool_, "counts": np.int32}


@dataclass(frozen=True, eq=False)
class Features:
    """Tokens of N pairs × 2 sides, chosen before rejected.

    Args:
        hidden_MD: [M, D] bfloat16 (as int16 on disk), the hidden state each token was predicted from.
        candidates_MC: [M, C] token ids; column 0 is the token itself, then the likeliest others.
        logits_MC: the base's logits of them.
        settled_M: tokens at which the base hardly hesitates.
        starts: [2N + 1] offsets into M; answer 2 * pair + side is `starts[i]:starts[i + 1]`.
        whole: rewards are normalised over the whole vocabulary. Then C is 1, and the logits are log-probabilities.
    """

    hidden_MD: np.ndarray
    candidates_MC: np.ndarray
    logits_MC: np.ndarray
    settled_M: np.ndarray
    starts: np.ndarray
    whole: bool = False

    def __len__(self) -> int:
        return (len(self.starts) - 1) // 2

    def take(self, pairs: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Both sides of some pairs: (hidden [M', D] float32, candidates, logits, settled, answer of each token)."""
        spans = [slice(self.starts[2 * n + side], self.starts[2 * n + side + 1]) for n in pairs for side in (0, 1)]
        take_M = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        row_M = np.repeat(np.arange(len(spans)), [span.stop - span.start for span in spans])
        return (
            torch.from_numpy(self.hidden_MD[take_M]).view(torch.bfloat16).float(),
            torch.from_numpy(self.candidates_MC[take_M]).long(),
            torch.from_numpy(self.logits_MC[take_M]),
            torch.from_numpy(self.settled_M[take_M]),
            torch.from_numpy(row_M),
        )


def compute_features(
    backbone: Backbone,
    pairs: Sequence[EncodedPair],
    folder: Path,
    *,
    uncertain: float,
    settled: float,
    candidates: int | None = 32,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Run the base over both answers of each pair, or go on where `folder` ends, or read what it has.

    Args:
        uncertain: a token is settled if the base leaves less than this probability to others.
        settled: share of the settled tokens that is kept.
        candidates: C, tokens over which rewards are normalised in training; None is the whole vocabulary.
        progress: called with (pairs done, pairs in all).
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = None if candidates is None else min(candidates, backbone.vocab_size)
    mark = hashlib.sha256(
        json.dumps([[p.prompt, p.chosen, p.rejected] for p in pairs] + [uncertain, settled, size, seed]).encode()
    ).hexdigest()
    done = _state(folder, mark)
    widths = {"hidden": backbone.hidden_size, "candidates": size or 1, "logits": size or 1, "settled": 1, "counts": 1}
    _cut(folder, widths, done)
    tokens = done["tokens"]
    for start in range(done["pairs"], len(pairs), PAIRS_AT_ONCE):
        part = pairs[start : start + PAIRS_AT_ONCE]
        both = [(pair.prompt, side) for pair in part for side in (pair.chosen, pair.rejected)]
        found = {answer.index: answer for group in answers(backbone, both) for answer in group}
        try:
            for index in range(len(both)):
                generator = torch.Generator().manual_seed(seed * 1_000_003 + 2 * start + index)
                columns = _read_answer(backbone, found[index], size, uncertain, settled, generator)
                for name, array in columns.items():
                    with (folder / f"{name}.bin").open("ab") as stream:
                        stream.write(np.ascontiguousarray(array, dtype=DTYPES[name]).tobytes())
                tokens += len(columns["settled"])
            _keep_state(folder, {"mark": mark, "pairs": start + len(part), "tokens": tokens})
        except OSError as error:
            raise CheckpointError(
                f"The features of pair {start + 1} and on could not be written to {str(folder)!r}: {error} Those "
                "before are kept: make room and start the same command again."
            ) from error
        if progress is not None:
            progress(start + len(part), len(pairs))
    return _open(folder, widths, whole=size is None)


def _cut(folder: Path, widths: dict[str, int], done: dict[str, int]) -> None:
    """Drop what a stopped run wrote behind its last whole batch."""
    for name, dtype in DTYPES.items():
        rows = 2 * done["pairs"] if name == "counts" else done["tokens"]
        path = folder / f"{name}.bin"
        path.touch()
        os.truncate(path, rows * widths[name] * np.dtype(dtype).itemsize)


def _open(folder: Path, widths: dict[str, int], *, whole: bool) -> Features:
    arrays = {
        name: np.memmap(folder / f"{name}.bin", dtype=dtype, mode="r").reshape(-1, widths[name])
        for name, dtype in DTYPES.items()
    }
    starts = np.concatenate([[0], np.cumsum(arrays["counts"][:, 0], dtype=np.int64)])
    return Features(arrays["hidden"], arrays["candidates"], arrays["logits"], arrays["settled"][:, 0], starts, whole)


def _read_answer(
    backbone: Backbone, answer: Answer, size: int | None, uncertain: float, settled: float, generator: torch.Generator
) -> dict[str, np.ndarray]:
    """The columns of one answer's kept tokens."""
    found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for hidden_TD, tokens_T1 in blocks([answer], max(1, LOGITS_AT_ONCE // backbone.vocab_size)):
        with torch.inference_mode():
            logits_TV = backbone.logits(hidden_TD)
            total_T1 = logits_TV.logsumexp(-1, keepdim=True)
            sure_T = (logits_TV.max(-1).values - total_T1[:, 0]).exp() > 1 - uncertain
            if size is None:
                found.append((tokens_T1, logits_TV.gather(1, tokens_T1) - total_T1, sure_T))
            else:
                ids_TC = _candidates(logits_TV, tokens_T1, size)
                found.append((ids_TC, logits_TV.gather(1, ids_TC), sure_T))
    ids_TC, logits_TC, sure_T = (torch.cat([part[n] for part in found]).cpu() for n in range(3))
    keep_T = ~sure_T | (torch.rand(len(sure_T), generator=generator) < settled)
    hidden_TD = answer.hidden_TD.cpu()[keep_T].bfloat16().view(torch.int16)
    return {
        "hidden": hidden_TD.numpy(),
        "candidates": ids_TC[keep_T].numpy(),
        "logits": logits_TC[keep_T].numpy(),
        "settled": sure_T[keep_T].numpy(),
        "counts": np.array([int(keep_T.sum())]),
    }


def _candidates(logits_TV: torch.Tensor, tokens_T1: torch.Tensor, size: int) -> torch.Tensor:
    """Each token itself, then the likeliest others: [T, C]."""
    ids_TC = logits_TV.topk(size, dim=-1).indices
    missing_T = ~(ids_TC == tokens_T1).any(-1)
    ids_TC[missing_T, -1] = tokens_T1[missing_T, 0]
    place_T1 = (ids_TC == tokens_T1).float().argmax(-1, keepdim=True)
    ids_TC.scatter_(1, place_T1, ids_TC[:, :1].clone())
    ids_TC[:, 0] = tokens_T1[:, 0]
    return ids_TC


def _state(folder: Path, mark: str) -> dict[str, int]:
    """How far the cache of exactly these pairs is."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        state = {}
    return state if state.get("mark") == mark else {"pairs": 0, "tokens": 0}


def _keep_state(folder: Path, state: dict[str, object]) -> None:
    with replacing(folder / "state.json") as file:
        file.write_text(json.dumps(state), encoding="utf-8")
