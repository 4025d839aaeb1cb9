"""Whether a shipped head fits a base: told by the sizes and tokens in the base's files, before its weights load."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pad_langchain.errors import PadError
from pad_langchain.models.fingerprint import fingerprint, of_vocabulary
from pad_langchain.models.loading import SOURCE, VERSION, load_tokenizer, open_gguf

__all__ = ["fits"]

logger = logging.getLogger(__name__)

_known: dict[tuple[Path, str, str], bool] = {}  # by head, base and the state of the base's files


def fits(head: Path, name: str, base: str, settings: Mapping[str, Any]) -> bool:
    """Return whether a head reads hidden states and tokens such as the base has. A fine-tune's are such, too.

    It is found out once for a state of the base's files. The config and tokenizer of a hub id are fetched.

    Args:
        head: its folder. A head that does not record its tokenizer fits no base by its files.
        name: the default that it was trained for, for the log.
        base: a folder, a GGUF file or a hub id.
        settings: keywords of loading the base.
    """
    state = fingerprint(base, settings)
    if state is not None and (known := _known.get((head, base, state))) is not None:
        return known
    try:
        found = _reads(head, base, settings)
    except (PadError, ImportError, OSError, ValueError, KeyError) as error:  # whoever loads the base is told
        logger.debug("Whether the head of %s fits %s is not known: %s", name, base, error)
        return False
    if found:
        logger.info("%s has the sizes and tokens of %s: the head trained for that steers it.", base, name)
    if state is not None:
        _known[head, base, state] = found
    return found


def _reads(head: Path, base: str, settings: Mapping[str, Any]) -> bool:
    from pad_langchain.arithmetic.head_file import read_config

    config = read_config(head)
    if config.tokenizer is None:
        return False
    sizes = (config.hidden_size, config.vocab_size)
    if (file := open_gguf(base, settings)) is not None:
        tokens = file.need("tokenizer.ggml.tokens", list)
        return sizes == (file.hidden_size, file.vocab_size) and config.tokenizer == of_vocabulary(
            {token: index for index, token in enumerate(tokens)}
        )
    from transformers import AutoConfig

    which = {name: settings[name] for name in settings.keys() & (SOURCE | VERSION)}
    said = AutoConfig.from_pretrained(base, **{"trust_remote_code": False, **which}).get_text_config()
    if sizes != (getattr(said, "hidden_size", None), getattr(said, "vocab_size", None)):
        return False
    return config.tokenizer == of_vocabulary(load_tokenizer(base, **which).get_vocab())
