"""A run on a tiny model: all stages in seconds. What it writes is noise, so nothing is filtered out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pad_langchain.adapt.config import AdaptConfig, ChoiceSettings, FilterSettings, FitSettings, SampleSettings
from pad_langchain.adapt.job import Job, open_job
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_langchain.training.config import HeadSettings

ALL = FilterSettings(least_words=1, least_fresh=0.0, least_on_topic=-1.0, least_lean=-100.0, least_kept=2)
HEAD = HeadSettings(rank=8, mlp_size=16, steps=12, batch=8, readers=1, reader_steps=10, reader_batch=16)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny base."""
    return str(tiny_pair().save(tmp_path_factory.mktemp("adapt"))[0])


@pytest.fixture(scope="session")
def config_of(base: str) -> Callable[..., AdaptConfig]:
    """Settings of a run on the tiny base in a folder, under two dimensions whose poles are not counted."""

    def make(output: Path, **changes: Any) -> AdaptConfig:
        settings: dict[str, Any] = {
            "base": base, "output": output, "embedder": "hash-16", "dimensions": ("tone", "examples"), "filter": ALL,
            "sample": SampleSettings(prompts=8, dimensions=2, max_tokens=24), "fit": FitSettings(head=HEAD),
            "candidates": 16,
            "choice": ChoiceSettings(dev_prompts=1, test_prompts=1, betas=(1.0,), alphas=(0.001,), max_tokens=8),
        }  # fmt: skip
        return AdaptConfig(**settings | changes)

    return make


@pytest.fixture(scope="session")
def job(config_of: Callable[..., AdaptConfig], tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run that was opened and has done nothing; tests bring folders of their own."""
    return open_job(config_of(tmp_path_factory.mktemp("job") / "run"), None, HashEmbedder())
