"""Weights of others run no code: what a pickle would call when it is read is not called."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from pad_langchain.errors import ModelLoadError
from pad_langchain.persrm.files import VALUE_HEAD_FILES, read_value_head


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", [VALUE_HEAD_FILES[1], "pytorch_model.bin"])
@pytest.mark.parametrize("by_torch", [True, False])
def test_a_value_head_that_is_a_pickle_with_code_is_refused(name, by_torch, tmp_path):
    attack, path = {"v_head.summary.weight": Attack(tmp_path / "it ran")}, tmp_path / name
    if by_torch:
        torch.save(attack, path)
    else:
        path.write_bytes(pickle.dumps(attack))
    with pytest.raises(ModelLoadError, match="does not read"):
        read_value_head(tmp_path)
    assert not (tmp_path / "it ran").exists()
