"""A vLLM server with our plugin, as far as a client sees it: over real HTTP, with an engine of ours as what decodes.

It speaks `/v1/completions` (streamed, by token ids), `/v1/models`, `/tokenize` and `/pad/info`, and takes exactly the
settings that a client of ours sends. Tests make it slow, broken or another server than it should be.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pad_langchain.arithmetic.head_file import WEIGHTS_NAME
from pad_langchain.engine.grammar import Grammar
from pad_langchain.engine.protocol import Plan
from pad_langchain.engine.remote import RemoteBase, RemoteEngine
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import EngineClosedError, PadError
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.head import VectorHead
from pad_langchain.testing import TinyPair
from places import DEMO
from waiting import until

__all__ = [
    "FakeVllm",
    "GateGuide",
    "decoder",
    "demo_vllm",
    "fingerprint",
    "fingerprint_of",
    "remote_engine",
    "tiny_base",
]

# What each key of a body may be. Another key is refused.
TAKEN = {
    "model", "prompt", "add_special_tokens", "stream", "return_token_ids", "return_tokens_as_token_ids", "n",
    "max_tokens", "min_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "stop", "stop_token_ids", "ignore_eos", "seed", "logprobs", "cache_salt",
    "structured_outputs", "vllm_xargs",
}  # fmt: skip
NEUTRAL = {
    "stream": True, "return_token_ids": True, "n": 1, "min_tokens": 0, "top_k": -1, "min_p": 0.0, "stop": [],
    "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "ignore_eos": False,
    "add_special_tokens": False,
}  # fmt: skip
STEERING = {"pad_gate", "pad_beta", "pad_alpha", "pad_top_k", "pad_head"}
PENALTIES = {"pad_repetition_penalty": "repetition_penalty", "pad_no_repeat_ngram": "no_repeat_ngram"}


class GateGuide(HeadGuide):
    """A head whose gate comes with the request, as the embedding of its one preference."""

    def plan(self, request: Request) -> Plan:
        gate_R = torch.tensor(request.preferences[0].embedding, dtype=torch.float32)
        return Plan((1.0,), (gate_R,))


def fingerprint_of(folder: str | Path) -> str:
    """The fingerprint of a head's folder."""
    return hashlib.sha256((Path(folder) / WEIGHTS_NAME).read_bytes()).hexdigest()


@dataclass
class FakeVllm:
    """One server, in a thread.

    Args:
        engine: decodes; its guide is a `GateGuide`.
        heads: fingerprints by name. None means there is no plugin.
        bound: the largest absolute value that a gate may have.
        accepts: keys of a request beyond those of every plugin.
        dies_after: chunks after which it breaks off. None means never.
        delay: seconds before each chunk.
        key: what it asks for as a bearer token. None means nothing.
        status: what it answers to completions, with the text `refusal`. 200 means it decodes.
        bodies: what it was asked.
        grammars: objects that stand for grammars by their source.
    """

    engine: TorchEngine
    heads: dict[str, str] | None = None
    bound: float = 1e6
    accepts: tuple[str, ...] = tuple(PENALTIES)
    model: str = "tiny"
    max_model_len: int = 512
    tokens_shifted: bool = False
    rank: int | None = None
    dies_after: int | None = None
    quiet: bool = False
    delay: float = 0.0
    key: str | None = None
    status: int = 200
    refusal: str = "refused"
    in_stream: bool = False
    bodies: list[dict[str, Any]] = field(default_factory=list)
    grammars: dict[str, Grammar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._server: uvicorn.Server | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> int:
        """Rows that it decodes now."""
        return self.engine.running + self.engine.waiting

    def start(self) -> FakeVllm:
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/completions", self._complete, methods=["POST"]),
            Route("/tokenize", self._tokenize, methods=["POST"]),
        ]
        if self.heads is not None:
            routes.append(Route("/pad/info", self._info))
        config = uvicorn.Config(Starlette(routes=routes), port=self.port, log_config=None, lifespan="off")
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, name="fake-vllm", daemon=True)
        self._thread.start()
        until(lambda: server.started)
        return self

    def stop(self) -> None:
        """Stop at once. What it streams is cut."""
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(10)
            self._server = None

    def close(self) -> None:
        """Stop, and close what decodes."""
        self.stop()
        self.engine.close()

    def __enter__(self) -> FakeVllm:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Routes

    async def _models(self, request: HttpRequest) -> Response:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return _refused("Unauthorized", 401)
        listed = [{"id": self.model, "object": "model", "max_model_len": self.max_model_len, "parent": None}]
        return JSONResponse({"object": "list", "data": listed})

    async def _tokenize(self, request: HttpRequest) -> Response:
        said = await request.json()
        tokens = self.engine.prompts.encode(said["prompt"])
        return JSONResponse({"tokens": [token + self.tokens_shifted for token in tokens]})

    async def _info(self, request: HttpRequest) -> Response:
        config = self.engine.guide.head.config
        sizes = {"rank": self.rank or config.rank, "vocab_size": config.vocab_size, "hidden_size": config.hidden_size}
        heads = {
            name: {"fingerprint": mark, "gate_bound": self.bound, **sizes} for name, mark in (self.heads or {}).items()
        }
        return JSONResponse({"version": "0.1.0", "heads": heads, "accepts": list(self.accepts)})

    async def _complete(self, request: HttpRequest) -> Response:
        body = await request.json()
        self.bodies.append(body)
        if self.status != 200 and self.in_stream:  # as vLLM refuses what a plugin's `validate_params` does
            told = f"data: {json.dumps({'error': {'message': self.refusal, 'code': self.status}})}\n\ndata: [DONE]\n\n"
            return Response(told, media_type="text/event-stream")
        if self.status != 200:
            return _refused(self.refusal, self.status)
        try:
            stream = self.engine.submit(self._read(body))
        except (PadError, ValueError) as error:
            return _refused(str(error), 400)
        return StreamingResponse(self._events(body, stream), media_type="text/event-stream")

    def _read(self, body: dict[str, Any]) -> Request:
        """The request that a body asks for."""
        wrong = {name: body.get(name) for name, value in NEUTRAL.items() if body.get(name) != value}
        if wrong or body.keys() - TAKEN or body["model"] != self.model:
            raise ValueError(f"These are not what a client sends: {wrong}, {body.keys() - TAKEN}, {body['model']}")
        assert set(body["stop_token_ids"]) == set(self.engine.end_tokens)
        extra = body.get("vllm_xargs", {})
        if extra.keys() - STEERING - set(self.accepts) or ("pad_gate" in extra and STEERING - extra.keys()):
            raise ValueError(f"pad_: {sorted(extra)}")
        said: dict[str, Any] = {}
        if "pad_gate" in extra:
            gate = extra["pad_gate"]
            if len(gate) != self.engine.guide.head.config.rank or max(map(abs, gate)) > self.bound:
                raise ValueError("pad_gate is of another rank, or beyond its bound")
            if extra["pad_head"] not in (self.heads or {}):
                raise ValueError(f"pad_head {extra['pad_head']!r} is not known")
            said["preferences"] = [WeightedPreference("gate", 1.0, gate)]
            said |= {name: extra[f"pad_{name}"] for name in ("beta", "alpha", "top_k")}
        said |= {field: extra[key] for key, field in PENALTIES.items() if key in extra}
        if (structured := body.get("structured_outputs")) is not None:
            source = structured["grammar"]
            said["grammar"] = self.grammars.get(source) or self.engine.grammars.lark(source)
        wanted = body.get("logprobs")
        return Request(
            prompt_ids=body["prompt"],
            max_tokens=body["max_tokens"],
            temperature=body["temperature"],
            top_p=body["top_p"],
            seed=body.get("seed"),
            logprobs=wanted is not None,
            candidates=wanted or 0,
            salt=body.get("cache_salt", ""),
            **said,
        )

    async def _events(self, body: dict[str, Any], stream: Any) -> AsyncIterator[str]:
        number = 0
        try:
            async for event in stream:
                if self.delay:
                    await asyncio.sleep(self.delay)
                if number == self.dies_after:
                    if self.quiet:
                        return
                    raise ConnectionAbortedError
                number += 1
                ended = event.finish_reason is not None
                tokens = [event.token_id] if event.token_id >= 0 else []
                if ended and "structured_outputs" in body and event.finish_reason == "stop":
                    yield _chunk(tokens, event, body, None)
                    tokens = [body["stop_token_ids"][0]]  # vLLM ends a complete grammar by a token
                yield _chunk(tokens, event, body, event.finish_reason)
        except (PadError, EngineClosedError) as error:
            yield f"data: {json.dumps({'error': {'message': str(error), 'code': 500}})}\n\n"
        finally:
            stream.cancel()
        yield "data: [DONE]\n\n"


def _chunk(tokens: list[int], event: Any, body: dict[str, Any], finish: str | None) -> str:
    logprobs = None
    if "logprobs" in body and tokens:
        others = {f"token_id:{one.token_id}": one.logprob for one in event.candidates}
        names = [f"token_id:{token}" for token in tokens]
        logprobs = {"tokens": names, "token_logprobs": [event.logprob] * len(tokens), "top_logprobs": [others]}
    choice = {"index": 0, "text": "", "token_ids": tokens, "logprobs": logprobs, "finish_reason": finish}
    return f"data: {json.dumps({'id': 'cmpl-1', 'object': 'text_completion', 'choices': [choice]})}\n\n"


def _refused(message: str, status: int) -> Response:
    return JSONResponse({"error": {"message": message, "type": "BadRequestError", "code": status}}, status)


def tiny_base(pair: TinyPair) -> RemoteBase:
    """What a client knows of a tiny pair's model."""
    config = pair.model.config
    return RemoteBase(
        "tiny",
        pair.tokenizer,
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        context=config.max_position_embeddings,
        ends=frozenset({pair.tokenizer.eos_token_id}),
    )


class _Remote(RemoteEngine):
    """A remote engine that takes its server along when it is closed."""

    fake: FakeVllm

    def close(self, timeout: float | None = 10.0) -> None:
        super().close(timeout)
        self.fake.close()


def decoder(pair: TinyPair, **settings: Any) -> TorchEngine:
    """What decodes in a server: a tiny pair, with gates from outside."""
    return TorchEngine(pair.model, pair.tokenizer, GateGuide(pair.head, pair.embedder), **settings)


def demo_vllm(**said: Any) -> FakeVllm:
    """A server of the demo pair."""
    model, tokenizer = load_causal_lm(str(DEMO / "base"))
    engine = TorchEngine(model, tokenizer, GateGuide(VectorHead.from_pretrained(DEMO / "persrm")))
    marks = {"pad-demo": fingerprint_of(DEMO / "persrm")}
    return FakeVllm(engine, **{"heads": marks, "model": "pad-demo", "max_model_len": engine.context, **said})


def remote_engine(pair: TinyPair, *, guided: bool = True, **settings: Any) -> _Remote:
    """A remote engine on a server of its own, guided by the pair's head."""
    mark = fingerprint(pair)
    fake = FakeVllm(decoder(pair), heads={"tiny": mark}).start()
    try:
        guide = pair.guide() if guided else None
        engine = _Remote(tiny_base(pair), fake.url, guide, fingerprint=mark if guided else None, **settings)
    except BaseException:
        fake.close()
        raise
    engine.fake = fake
    return engine


def fingerprint(pair: TinyPair) -> str:
    """The fingerprint of a tiny pair's head."""
    with TemporaryDirectory() as folder:
        pair.head.save_pretrained(folder)
        return fingerprint_of(folder)
