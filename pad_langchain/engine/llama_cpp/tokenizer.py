"""The tokenizer of a model on llama.cpp: the file's, compared with llama.cpp's own reading, or that reading itself."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import TruncationStrategy

from pad_langchain.engine.llama_cpp.binding import Weights
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.models.gguf import GgufFile
from pad_langchain.models.gguf.tokenizer import build_tokenizer, unknown_split

__all__ = ["LlamaTokenizer", "tokenizer_of"]

logger = logging.getLogger(__name__)

_PROBES = (
    "The number 1234567 isn't 3.14, is it?  WE'LL see: 12:30!",
    "\n\n  two lines \n\tand\r\n\r\nmore   ",
    "def f(x):\n\t\treturn {'a': x[0] ** 2}  # a/b//c ... foo_bar__baz",
    "naïve café Zürich, ½ ² ١٢٣ 東京は日本の首都です。 Привет, мир!",
    "😀👍🏽 \u200bzero\u00a0width",
)


def tokenizer_of(file: GgufFile, weights: Weights) -> PreTrainedTokenizerFast:
    """Return the tokenizer that a file describes, if it reads some texts as llama.cpp does, else a `LlamaTokenizer`.

    Args:
        file: the opened file.
        weights: its model.

    Raises:
        ModelLoadError: the file has no tokenizer, or one that contradicts itself.
        IncompatibleModelError: the tokenizer is of a kind that cannot be made here.
    """
    if (name := unknown_split(file)) is not None:
        logger.info("llama.cpp splits the texts of %s, as %r is not known here.", file.path, name)
    else:
        made = file.tokenizer
        probes = (*_PROBES, " ".join(["Hi", *made.all_special_tokens, "you"]))
        other = [text for text in probes if made.encode(text, add_special_tokens=False) != weights.tokenize(text)]
        if not other:
            return made
        logger.warning("llama.cpp reads %r in %s as other tokens: its reading is taken.", other[0], file.path)
    return build_tokenizer(file, partial(LlamaTokenizer, weights))


class LlamaTokenizer(PreTrainedTokenizerFast):
    """A fast tokenizer whose texts become ids in llama.cpp. Ids become text as in any other.

    Args:
        weights: the loaded model.
        keywords: those of `PreTrainedTokenizerFast`.
    """

    def __init__(self, weights: Weights, **keywords: Any) -> None:
        self._weights = weights
        super().__init__(**keywords)

    def _encode_plus(self, text: Any, text_pair: Any = None, **keywords: Any) -> BatchEncoding:  # type: ignore[override]
        if keywords.get("sanitize_control_tokens"):
            return super()._encode_plus(text, text_pair, **keywords)  # which comes back with each piece of the text
        many = isinstance(text, list | tuple)
        rows = list(text) if many else [text]
        if text_pair is not None or not all(isinstance(row, str) for row in rows):
            raise InvalidRequestError(
                "A tokenizer of llama.cpp reads a text or a list of texts, no pairs of them and no lists of words."
            )
        plain = keywords.get("split_special_tokens")
        plain = self.split_special_tokens if plain is None else plain
        ids = [self._read(row, bool(keywords.get("add_special_tokens", True)), plain) for row in rows]
        most, tensors = keywords.get("max_length"), keywords.get("return_tensors")
        cut = keywords.get("truncation_strategy", TruncationStrategy.DO_NOT_TRUNCATE)
        if most is not None and cut != TruncationStrategy.DO_NOT_TRUNCATE:
            ids = [row[:most] if self.truncation_side == "right" else row[-most:] for row in ids]
        encoded: dict[str, Any] = {"input_ids": ids if many or tensors else ids[0]}
        return self.pad(
            encoded,
            padding=keywords.get("padding_strategy", False),
            max_length=most,
            pad_to_multiple_of=keywords.get("pad_to_multiple_of"),
            padding_side=keywords.get("padding_side"),
            return_attention_mask=keywords.get("return_attention_mask"),
            return_tensors=tensors,
        )

    def _read(self, text: str, begin: bool, plain: bool) -> list[int]:
        if not plain:
            return self._weights.tokenize(text, begin=begin)
        first, *rest = self._apart(text)
        ids = self._weights.tokenize(first, begin=begin, control=False)
        return ids + [token for piece in rest for token in self._weights.tokenize(piece, control=False)]

    def _apart(self, text: str) -> list[str]:
        """Cut a text within the names of added tokens that llama.cpp would read as tokens even where none may be."""
        added = self.added_tokens_decoder.values()
        names = [str(token) for token in added if not token.special and len(str(token)) > 1]
        pattern = re.compile("|".join(map(re.escape, names)))
        pieces = []
        while names and (found := pattern.search(text)):
            pieces.append(text[: found.start() + 1])
            text = text[found.start() + 1 :]
        return [*pieces, text]

    def save_pretrained(self, *_: Any, **__: Any) -> Any:
        """Refuse, as a folder has no llama.cpp to split texts."""
        raise IncompatibleModelError(
            "llama.cpp splits this tokenizer's texts, so it cannot be saved apart from its GGUF file."
        )
