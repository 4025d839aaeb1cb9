"""Where a PersRM is loaded from, and what it is loaded with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from pad_langchain.models.backbone import Backbone
from pad_langchain.models.loading import SOURCE, VERSION, load_causal_lm, load_tokenizer

__all__ = ["CODE", "LOADING", "Source"]

# A GGUF file has no room for what makes a causal LM a PersRM.
LOADING = (SOURCE | VERSION) - {"gguf_file"}
CODE = frozenset({"code_revision", "trust_remote_code"})


@dataclass(frozen=True, eq=False)
class Source:
    """Where a PersRM is loaded from, and what it is loaded with: the arguments of `PersRM.from_pretrained`.

    Args:
        keywords: those of `LOADING` that it got.
    """

    name: str
    folder: Path
    base: Any | None
    tokenizer: Any | None
    device: str
    dtype: Any
    keywords: Mapping[str, Any]

    def load_base(self, base: Any) -> tuple[Backbone, Any]:
        """The base as a backbone, and its tokenizer; it is fetched in the same way, but is of no such version."""
        if hasattr(base, "candidate_logits"):  # a `Base` already
            return base, self.tokenizer
        named = isinstance(base, str | PathLike)  # a loaded one takes no keywords
        source = {name: self.keywords[name] for name in self.keywords.keys() & SOURCE} if named else {}
        loaded, tokenizer = load_causal_lm(base, self.tokenizer, device=self.device, dtype=self.dtype, **source)
        return Backbone(loaded), tokenizer

    def load_own(self) -> tuple[Backbone, Any]:
        """The causal LM in the folder as a backbone, and its tokenizer."""
        code = {name: self.keywords[name] for name in self.keywords.keys() & CODE}
        tokenizer = load_tokenizer(self.folder, **code)
        loaded, _ = load_causal_lm(self.folder, tokenizer, device=self.device, dtype=self.dtype, **code)
        return Backbone(loaded), tokenizer
