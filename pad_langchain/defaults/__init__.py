"""The embedded default: a small base chat model and its PersRM head, and the recipe that made them.

`WEIGHTS / "base"` is a transformers checkpoint, `WEIGHTS / "persrm"` a head folder.
"""

from pathlib import Path

__all__ = ["WEIGHTS"]

WEIGHTS = Path(__file__).parent / "pad_demo"
