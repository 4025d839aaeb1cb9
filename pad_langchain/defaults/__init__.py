"""The models that have a name: what `model="pad-demo"` and `reward_model="auto"` stand for.

`WEIGHTS / "base"` is a transformers checkpoint, `WEIGHTS / "persrm"` a head folder; `recipes/demo_world` made them.
"""

from pathlib import Path

from pad_langchain.paths import model_place

__all__ = ["DEMO_MODEL", "WEIGHTS", "model_folder", "reward_folder"]

DEMO_MODEL = "pad-demo"
WEIGHTS = Path(__file__).parent / "pad_demo"


def model_folder(model: str) -> str:
    """Return where `model` is: the folder of the embedded base for `pad-demo`, another folder's path, or a hub id."""
    return str(WEIGHTS / "base") if model == DEMO_MODEL else model_place(model)


def reward_folder(model: str, reward_model: str | None) -> str | None:
    """Return where the PersRM is. `auto` is the embedded head for the embedded base, and nothing for any other base."""
    if reward_model is None or reward_model != "auto":
        return None if reward_model is None else model_place(reward_model, "self")
    return str(WEIGHTS / "persrm") if model == DEMO_MODEL else None
