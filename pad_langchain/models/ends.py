"""Which tokens end an answer, by generation config, tokenizer and chat template together."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

__all__ = ["configured_ends", "end_tokens", "turn_end"]

logger = logging.getLogger(__name__)

_SAID = "sentinelanswer"


def configured_ends(model: Any) -> list[int]:
    """Return the tokens that end an answer by the model's generation config. Empty without such a config."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [configured] if isinstance(configured, int) else list(configured or [])


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every token that ends an answer. Where the sources disagree, the log has a warning, once.

    A model whose generation config names the wrong token would go on and speak for the user. A token too many costs
    little, as a model rarely writes it elsewhere.
    """
    ends = set(configured_ends(model))
    written, own = _written_end(tokenizer), tokenizer.eos_token_id
    named = {token for token in (written, own) if token is not None}
    if not named <= ends if ends else len(named) > 1:
        _warn(
            f"{type(model).__name__}: what ends an answer is {_names(tokenizer, ends)} by the generation config, "
            f"{_names(tokenizer, {own} - {None})} by the tokenizer, and {_names(tokenizer, {written} - {None})} by the "
            "chat template. All of them end it here. Set eos_token_id in generation_config.json to all that should."
        )
    return frozenset(ends | named)


def turn_end(tokenizer: Any) -> int | None:
    """Return the token that ends an assistant's turn: the chat template's, else the tokenizer's own.

    A model of this tokenizer was trained to write it when it is done. None means neither names one.
    """
    written = _written_end(tokenizer)
    return tokenizer.eos_token_id if written is None else written


def _written_end(tokenizer: Any) -> int | None:
    """The token that the chat template writes after an answer. Of several in a row it is the last.

    Blanks may stand before it. None means there is no template, or no special token after the answer.
    """
    if not tokenizer.chat_template:
        return None
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": _SAID}]
    try:
        rest = str(tokenizer.apply_chat_template(messages, tokenize=False)).rpartition(_SAID)[2].lstrip()
    except (TemplateError, TypeError, ValueError):  # such as a template that wants content in parts
        return None
    tokens = {token.content: index for index, token in tokenizer.added_tokens_decoder.items() if token.content}
    last = None
    while found := max((text for text in tokens if rest.startswith(text)), key=len, default=None):
        last, rest = tokens[found], rest[len(found) :]
    return last


def _names(tokenizer: Any, tokens: set[Any]) -> str:
    texts = [tokenizer.convert_ids_to_tokens(token) for token in sorted(tokens)]
    return " or ".join(map(repr, texts)) or "nothing"


@lru_cache(maxsize=256)
def _warn(text: str) -> None:
    """Log a warning once, as guides and engines ask for one model's ends again and again."""
    logger.warning(text)
