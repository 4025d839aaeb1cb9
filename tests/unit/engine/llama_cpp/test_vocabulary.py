"""Rows of the output matrix: kept, given up, read again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pad_langchain.engine.llama_cpp.vocabulary import Vocabulary

V, D = 200, 16
ROWS = np.random.default_rng(0).standard_normal((V, D)).astype(np.float32)
BIAS = np.arange(V, dtype=np.float32)


@pytest.mark.parametrize("room", [V, 40, 3])
@pytest.mark.parametrize("bias", [None, BIAS], ids=["plain", "bias"])
def test_logits_are_rows_times_states(room: int, bias: np.ndarray | None) -> None:
    """Whether all rows are kept, or some, or one call wants more than are."""
    read: list[int] = []

    def rows(ids: np.ndarray) -> np.ndarray:
        read.extend(ids.tolist())
        return ROWS[ids]

    vocabulary = Vocabulary(rows, V, D, bias, budget=2 * D * room)
    rng = np.random.default_rng(1)
    for _ in range(30):
        ids_GK = np.stack([rng.permutation(V)[:7] for _ in range(3)])
        hidden_GD = rng.standard_normal((3, D)).astype(np.float32)
        expected = np.einsum("gkd,gd->gk", ROWS[ids_GK], hidden_GD) + (0 if bias is None else bias[ids_GK])
        np.testing.assert_allclose(vocabulary.logits(hidden_GD, ids_GK), expected, rtol=2e-3, atol=1e-2)
        tensors = vocabulary.logits(torch.from_numpy(hidden_GD), torch.from_numpy(ids_GK))
        np.testing.assert_allclose(tensors.numpy(), expected, rtol=2e-3, atol=1e-2)
    if room == V:
        assert read == list(range(V))  # once


@pytest.mark.parametrize(("budget", "at_once"), [(2 * D * 10, True), (2 * D * V, False)], ids=["large", "later"])
def test_a_large_matrix_is_read_when_it_is_needed(budget: int, at_once: bool) -> None:
    read: list[int] = []

    def rows(ids: np.ndarray) -> np.ndarray:
        read.extend(ids.tolist())
        return ROWS[ids]

    vocabulary = Vocabulary(rows, V, D, at_once=at_once, budget=budget)
    hidden = np.ones((1, D), dtype=np.float32)
    for ids in ([1, 2, 3], [3, 2, 1], [3, 4], [1, 5]):
        vocabulary.logits(hidden, np.array([ids]))
    assert read == [1, 2, 3, 4, 5]
    if not at_once:
        return
    vocabulary.logits(hidden, np.array([list(range(10, 18))]))  # no room beside the others
    vocabulary.logits(hidden, np.array([[1]]))
    assert read == [1, 2, 3, 4, 5, *range(10, 18), 1]
