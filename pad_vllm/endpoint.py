"""`GET /pad/info`: which heads a server steers with, for clients to check before they send gates.

vLLM loads it where `VLLM_PLUGINS` names pad_vllm.
"""

from __future__ import annotations

import hashlib
import logging
from argparse import Namespace
from typing import Any

from fastapi import FastAPI, Request

from pad_vllm._version import __version__
from pad_vllm.heads import served
from pad_vllm.requests import KEYS

__all__ = ["PadEndpoint"]

logger = logging.getLogger(__name__)


class PadEndpoint:
    """The routes of pad-vllm on vLLM's server."""

    name = "pad_vllm"
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        """Add the route."""
        app.add_api_route("/pad/info", info, methods=["GET"])

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Read what is told of the base, once.

        Raises:
            ValueError: `PAD_PERSRM` has no head.
        """
        served()
        model = engine_client.model_config
        state.pad_base = {
            "model": model.model,
            "hidden_size": model.get_hidden_size(),
            "vocab_size": model.get_vocab_size(),
            "dtype": str(model.dtype).removeprefix("torch."),
            "tokenizer": _fingerprint(engine_client.renderer.tokenizer),
        }


async def info(request: Request) -> dict[str, Any]:
    """The version, the keys of a request, the base, and the heads by name.

    A head that does not read is left out, and the log says why.
    """
    heads, told = served(), {}
    for name in heads.names():
        try:
            told[name] = heads.get(name).describe()
        except ValueError as error:
            logger.warning("%s", error)
    return {"version": __version__, "accepts": list(KEYS), "base": request.app.state.pad_base, "heads": told}


def _fingerprint(tokenizer: Any) -> str | None:
    """The hash of tokens and their ids that a head's config has of its base. None where there is no tokenizer."""
    if tokenizer is None:
        return None
    listed = sorted((index, token) for token, index in tokenizer.get_vocab().items())
    return hashlib.sha256(repr(listed).encode()).hexdigest()
