"""From logits to tokens: what each row of a batch chooses in a step. Rows may differ in every setting."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from pad_langchain.arithmetic.arrays import Array, log_softmax, log_sum_exp, table, take, top
from pad_langchain.arithmetic.scoring import Candidates, Scores
from pad_langchain.engine.local.failures import failure
from pad_langchain.engine.local.row import Chosen, Row, Weighed
from pad_langchain.engine.local.sampling import Sampling
from pad_langchain.errors import GuideError

__all__ = ["choose_guided", "choose_plain", "mask_illegal"]


def mask_illegal(logits_BV: Array, rows: Sequence[Row]) -> dict[int, Exception]:
    """Set the logits of tokens that a row's grammar forbids to -inf, in place.

    Returns:
        index of a row → the error of its grammar, for grammars that cannot go on.
    """
    failures: dict[int, Exception] = {}
    for index, row in enumerate(rows):
        if row.grammar is None:
            continue
        try:
            legal_V = row.grammar.mask()
            if isinstance(logits_BV, torch.Tensor):
                logits_BV[index].masked_fill_(~torch.from_numpy(legal_V).to(logits_BV.device), -math.inf)
            else:
                logits_BV[index][~legal_V] = -math.inf
        except BaseException as error:  # llguidance's panics are no Exceptions
            failures[index] = failure(error)
    return failures


def choose_plain(sampling: Sampling, logits_NV: Array) -> list[Chosen | Exception]:
    """Choose the tokens of N rows from the base's full distribution, without a guide.

    Args:
        sampling: how the rows choose.
        logits_NV: the base's logits.

    Returns:
        per row its token, or the error that ends it.
    """
    chosen_N = sampling.draw(logits_NV)
    best_N = take(logits_NV, chosen_N[:, None])[:, 0]
    # Either way the difference is NaN if what was chosen is no finite number.
    total_N = log_sum_exp(logits_NV) if sampling.logprobs or not sampling.greedy else best_N
    told_N2 = table([chosen_N, best_N - total_N])
    out: list[Chosen | Exception] = []
    for n, (row, (token, logprob)) in enumerate(zip(sampling.rows, told_N2, strict=True)):
        if math.isnan(logprob):
            out.append(GuideError(f"The base model returned NaN at token {row.index}. Check its weights and dtype."))
        else:
            weighed = _likeliest(logits_NV[n : n + 1], total_N[n], row.request.candidates)
            out.append(Chosen(int(token), logprob, weighed=weighed))
    return out


def choose_guided(
    sampling: Sampling, logits_NV: Array, found: Candidates, scores: Scores, skipped_N: Array
) -> list[Chosen | Exception]:
    """Choose one of each row's candidates by their guided scores.

    Args:
        sampling: how the N rows choose.
        logits_NV: the base's logits.
        found, scores: the candidates [N, K] and what they were weighed with.
        skipped_N: which rows choose without the guide.

    Returns:
        per row its token, or the error that ends it.
    """
    place_N1 = sampling.draw(scores.scores_BK)[:, None]
    logprobs_NK = log_softmax(scores.scores_BK) if sampling.logprobs else scores.scores_BK
    columns = (
        take(found.tokens_BK, place_N1)[:, 0],
        take(logprobs_NK, place_N1)[:, 0],
        take(scores.rewards_BK, place_N1)[:, 0],
        scores.sound_B,
        skipped_N,
    )
    told_N5 = table(columns)
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


def _likeliest(logits_1V: Array, total: Array, count: int) -> tuple[Weighed, ...]:
    """The tokens a row's base finds likeliest, with their logits as scores."""
    if not count:
        return ()
    values_1K, tokens_1K = top(logits_1V, count)
    columns = (tokens_1K[0].tolist(), (values_1K[0] - total).tolist(), values_1K[0].tolist())
    return tuple(
        Weighed(token_id, logprob, 0.0, score)
        for token_id, logprob, score in zip(*columns, strict=True)
        if logprob > -math.inf
    )


def _best(n: int, logits_NV: Array, found: Candidates, scores: Scores, count: int) -> tuple[Weighed, ...]:
    """The candidates of row n with the highest scores."""
    if not count:
        return ()
    order = top(scores.scores_BK[n : n + 1], count)[1][0]
    order = order[found.keep_BK[n][order]]
    logprobs_K = found.base_BK[n] - log_sum_exp(logits_NV[n])
    parts = (found.tokens_BK[n], logprobs_K, scores.rewards_BK[n], scores.scores_BK[n])
    return tuple(Weighed(*values) for values in zip(*(part[order].tolist() for part in parts), strict=True))
