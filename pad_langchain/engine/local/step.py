"""From logits to tokens: what each row of a batch chooses in a step. Rows differ in everything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from pad_langchain.arithmetic.scoring import Candidates, Scores, draw
from pad_langchain.engine.local.failures import failure
from pad_langchain.engine.local.row import Chosen, Row, Weighed
from pad_langchain.engine.local.sampling import Sampling
from pad_langchain.errors import GuideError

__all__ = ["choose_guided", "choose_plain", "mask_illegal"]


def mask_illegal(logits_BV: torch.Tensor, rows: Sequence[Row]) -> dict[int, Exception]:
    """Set the logits of tokens that a row's grammar forbids to -inf; the errors of grammars that cannot go on."""
    failures: dict[int, Exception] = {}
    for index, row in enumerate(rows):
        if row.grammar is None:
            continue
        try:
            legal_V = torch.from_numpy(row.grammar.mask()).to(logits_BV.device)
            logits_BV[index].masked_fill_(~legal_V, -math.inf)
        except BaseException as error:  # llguidance's panics are no Exceptions
            failures[index] = failure(error)
    return failures


def choose_plain(sampling: Sampling, logits_NV: torch.Tensor, uniform_N: torch.Tensor) -> list[Chosen | Exception]:
    """The base alone: its full distribution, no candidates."""
    chosen_N = draw(logits_NV, sampling.temperature_N, sampling.top_p_N, uniform_N)
    logprobs_NV = logits_NV.log_softmax(-1)
    logprob_N = logprobs_NV.gather(1, chosen_N[:, None])[:, 0]
    # One transfer: each is a wait for the device. A float64 holds any token id.
    told_N2 = torch.stack([chosen_N.double(), logprob_N.double()], dim=1).tolist()
    out: list[Chosen | Exception] = []
    for n, (row, (token, logprob)) in enumerate(zip(sampling.rows, told_N2, strict=True)):
        if math.isnan(logprob):
            out.append(GuideError(f"The base model returned NaN at token {row.index}. Check its weights and dtype."))
        else:
            weighed = _likeliest(logits_NV[n], logprobs_NV[n], row.request.candidates)
            out.append(Chosen(int(token), logprob, weighed=weighed))
    return out


def choose_guided(
    sampling: Sampling,
    logits_NV: torch.Tensor,
    found: Candidates,
    scores: Scores,
    skipped_N: torch.Tensor,
    uniform_N: torch.Tensor,
) -> list[Chosen | Exception]:
    """Under guidance: one of each row's candidates, by their guided scores."""
    place_N1 = draw(scores.scores_BK, sampling.temperature_N, sampling.top_p_N, uniform_N)[:, None]
    columns = (
        found.tokens_BK.gather(1, place_N1)[:, 0],
        scores.scores_BK.log_softmax(-1).gather(1, place_N1)[:, 0],
        scores.rewards_BK.gather(1, place_N1)[:, 0],
        scores.sound_B,
        skipped_N,
    )
    told_N5 = torch.stack([column.double() for column in columns], dim=1).tolist()  # one transfer
    out: list[Chosen | Exception] = []
    for n, (row, (token, logprob, reward, sound, skipped)) in enumerate(zip(sampling.rows, told_N5, strict=True)):
        if not sound:
            preferences = [preference.text for preference in row.request.preferences]
            out.append(
                GuideError(
                    f"The guide returned rewards that are not finite numbers for the preferences {preferences!r} at "
                    f"token {row.index}. Check the PersRM's weights and the embeddings; beta=0 decodes without it."
                )
            )
        else:
            weighed = _best(n, logits_NV, found, scores, row.request.candidates)
            out.append(Chosen(int(token), logprob, reward, weighed, bool(skipped)))
    return out


def _likeliest(logits_V: torch.Tensor, logprobs_V: torch.Tensor, count: int) -> tuple[Weighed, ...]:
    """The tokens a row's base finds likeliest, with their logits as scores."""
    if not count:
        return ()
    top = logprobs_V.topk(count)
    values = (top.indices.tolist(), top.values.tolist(), logits_V[top.indices].tolist())
    return tuple(
        Weighed(token_id, logprob, 0.0, score)
        for token_id, logprob, score in zip(*values, strict=True)
        if logprob > -math.inf
    )


def _best(n: int, logits_NV: torch.Tensor, found: Candidates, scores: Scores, count: int) -> tuple[Weighed, ...]:
    """The candidates of row n with the highest scores."""
    if not count:
        return ()
    order = scores.scores_BK[n].argsort(descending=True, stable=True)[:count]
    order = order[found.keep_BK[n][order]]
    logprobs_K = found.base_BK[n] - logits_NV[n].logsumexp(-1)
    parts = (found.tokens_BK[n], logprobs_K, scores.rewards_BK[n], scores.scores_BK[n])
    return tuple(Weighed(*values) for values in zip(*(part[order].tolist() for part in parts), strict=True))
