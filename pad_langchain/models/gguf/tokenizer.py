"""The tokenizer of a GGUF file as a transformers tokenizer: tokens, merges, control tokens and template.

transformers' own reader of GGUF tokenizers falls back to GPT-2's split for names that it does not know, such as
SmolLM2's. It also merges whole tokens of Llama 3, and takes control tokens beyond ASCII for text. So the tokenizer is
made here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pad_langchain.errors import IncompatibleModelError, ModelLoadError
from pad_langchain.models.gguf.splits import SPLITS, Split

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from pad_langchain.models.gguf.file import GgufFile

__all__ = ["build_tokenizer", "unknown_split"]

_SPACE = "\u2581"  # what sentencepiece writes for a space
_NO_SPLITS = (None, "default")  # what old converters wrote
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


class _Kind(IntEnum):
    """A token's type, by the numbers of the file format."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def unknown_split(file: GgufFile) -> str | None:
    """Return the name of how a file's tokenizer splits text, if that cannot be done here. None means it can."""
    name = file.metadata.get("tokenizer.ggml.pre")
    bytewise = file.metadata.get("tokenizer.ggml.model") == "gpt2"
    return name if bytewise and name not in SPLITS and name not in _NO_SPLITS else None


def build_tokenizer(
    file: GgufFile, make: Callable[..., PreTrainedTokenizerFast] | None = None
) -> PreTrainedTokenizerFast:
    """Make the tokenizer that a file describes.

    Args:
        file: the opened file.
        make: called for a tokenizer that splits texts by itself, with the arguments of `PreTrainedTokenizerFast`. None
            means texts are split as the file says.

    Raises:
        ModelLoadError: the file has no tokenizer, or one that contradicts itself.
        IncompatibleModelError: the tokenizer is of a kind that cannot be made here. The message names those that can.
    """
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    said = _Said(file)
    model = said.values.get("model")
    if model not in _BUILDERS:
        raise IncompatibleModelError(
            f"The tokenizer of {str(file.path)!r} is of kind {model!r}. Those of kind {sorted(_BUILDERS)} can be read."
        )
    own = None if make is None else Split(())
    try:
        backend = _BUILDERS[model](said, own)
    except Exception as error:  # the tokenizers library raises nothing narrower
        if isinstance(error, ModelLoadError):
            raise
        raise ModelLoadError(f"The tokenizer in {str(file.path)!r} contradicts itself: {error}") from error
    for kind, special in ((_Kind.CONTROL, True), (_Kind.USER_DEFINED, False)):
        added = [AddedToken(text, special=special, normalized=False) for text in said.of_kind(kind)]
        backend.add_special_tokens(added) if special else backend.add_tokens(added)
    return (make or PreTrainedTokenizerFast)(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        model_max_length=file.context,
        chat_template=_template(file.metadata),
        add_bos_token=bool(said.values.get("add_bos_token", model == "llama")),
        **said.special,
    )


class _Said:
    """The values under a file's keys of its tokenizer."""

    def __init__(self, file: GgufFile) -> None:
        prefix = "tokenizer.ggml."
        self.path = str(file.path)
        self.values = {key[len(prefix) :]: value for key, value in file.metadata.items() if key.startswith(prefix)}
        tokens = self.values.get("tokens")
        if not isinstance(tokens, list) or not tokens:
            raise ModelLoadError(
                f"The GGUF file {self.path!r} has no tokenizer (tokenizer.ggml.tokens). Convert it again, with one."
            )
        kinds = self.values.get("token_type")
        self.kinds: Sequence[int] = [_Kind.NORMAL] * len(tokens) if kinds is None else kinds.tolist()
        if len(self.kinds) != len(tokens) or len(set(tokens)) != len(tokens):
            raise ModelLoadError(
                f"The tokenizer in {self.path!r} contradicts itself: {len(tokens)} tokens of which "
                f"{len(set(tokens))} differ, {len(self.kinds)} kinds."
            )
        self.tokens: list[str] = tokens

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every token and its id, except those that only fill up the matrices."""
        return {
            token: index
            for index, (token, kind) in enumerate(zip(self.tokens, self.kinds, strict=True))
            if kind != _Kind.UNUSED
        }

    def of_kind(self, kind: _Kind) -> list[str]:
        return [token for token, each in zip(self.tokens, self.kinds, strict=True) if each == kind]

    def named(self, name: str) -> str | None:
        index = self.values.get(f"{name}_token_id")
        return self.tokens[index] if isinstance(index, int) and 0 <= index < len(self.tokens) else None

    @property
    def special(self) -> dict[str, str]:
        return {role: token for role, name in _SPECIAL.items() if (token := self.named(name)) is not None}


def _byte_level(said: _Said, split: Split | None) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    name, merges = said.values.get("pre"), said.values.get("merges")
    split = split or SPLITS.get(str(name))
    if split is None:
        hint = (
            "An old converter wrote it: convert the model again."
            if name in _NO_SPLITS
            else 'llama.cpp may know it: pip install "pad-langchain[llama-cpp]".'
        )
        raise IncompatibleModelError(
            f"How the tokenizer of {said.path!r} splits text is called {name!r}, which cannot be done here. "
            f"{hint} Known are {', '.join(sorted(SPLITS))}."
        )
    if not isinstance(merges, list):
        raise ModelLoadError(f"The tokenizer in {said.path!r} has no merges (tokenizer.ggml.merges).")
    pairs = [(merge[:cut], merge[cut + 1 :]) for merge in merges if (cut := merge.find(" ", 1)) > 0]
    backend = Tokenizer(models.BPE(vocab=said.vocabulary, merges=pairs, ignore_merges=split.whole))
    if split.composed:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in split.patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def _sentencepiece(said: _Said, _: Split | None) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers

    # Runs of spaces are written as they are where the model's own tokenizer writes sentencepiece's sign.
    for index, token in enumerate(said.tokens):
        if len(token) > 1 and not token.strip(" "):
            said.tokens[index], said.kinds[index] = _SPACE * len(token), _Kind.NORMAL  # type: ignore[index]
    unknown = next(iter(said.of_kind(_Kind.UNKNOWN)), said.named("unknown"))
    backend = Tokenizer(
        models.BPE(vocab=said.vocabulary, merges=_merges(said), byte_fallback=True, fuse_unk=True, unk_token=unknown)
    )
    prefix = bool(said.values.get("add_space_prefix", True))
    spaces = normalizers.Replace(" ", _SPACE)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), spaces]) if prefix else spaces
    backend.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if prefix else [])
    )
    return backend


def _merges(said: _Said) -> list[tuple[str, str]]:
    """Every pair of tokens that makes a token, the best score first, in the order in which sentencepiece merges."""
    scores = said.values.get("scores")
    if scores is None or len(scores) != len(said.tokens):
        raise ModelLoadError(f"The tokenizer in {said.path!r} has no score for each token (tokenizer.ggml.scores).")
    known = {token: scores[index] for token, index in said.vocabulary.items() if said.kinds[index] == _Kind.NORMAL}
    pairs = [
        (-score, token[:cut], token[cut:])
        for token, score in known.items()
        for cut in range(1, len(token))
        if token[:cut] in known and token[cut:] in known
    ]
    pairs.sort(key=lambda pair: pair[0])
    return [(left, right) for _, left, right in pairs]


def _template(metadata: Mapping[str, Any]) -> str | dict[str, str] | None:
    """The chat template, or all of several by name. None means there is none."""
    own, prefix = metadata.get("tokenizer.chat_template"), "tokenizer.chat_template."
    others = {key[len(prefix) :]: text for key, text in metadata.items() if key.startswith(prefix)}
    return {"default": own, **others} if own and others else own


_BUILDERS = {"gpt2": _byte_level, "llama": _sentencepiece}
