"""A request as vLLM's `/v1/completions` takes it, and its answer, chunk by chunk.

Every setting of sampling is said, as a server takes what is left out from the model's own `generation_config.json`.
Stop strings are not sent: what ends an answer is told here, by the same code as for other engines.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pad_langchain.engine.admission import Admitted
from pad_langchain.engine.local.row import Chosen, Weighed
from pad_langchain.engine.remote.servers import Server
from pad_langchain.engine.types import Request
from pad_langchain.errors import EngineUnavailableError, GuideError, InvalidRequestError

__all__ = [
    "ALL",
    "REFUSED",
    "Chunk",
    "check",
    "check_parts",
    "read_chunk",
    "refused",
    "said_of_error",
    "steered_until",
    "to_body",
]

# What our request asks for beyond every plugin, by key: the request's field, and the value that asks for nothing.
_LATER = {"pad_repetition_penalty": ("repetition_penalty", 1.0), "pad_no_repeat_ngram": ("no_repeat_ngram", 0)}
ALL = -1  # no token
NOT_ONE = -9999.0  # what vLLM says for the log-probability of a token that is not allowed
REFUSED = (400, 413, 422)  # of HTTP: what is asked for is at fault
_WITHIN = 1 - 2**-20  # what is scaled to a bound stays below it in float32


@dataclass(frozen=True)
class Chunk:
    """Some tokens of an answer.

    Args:
        chosen: the tokens.
        finish: why the server ended the answer: "stop", "length", … None means it goes on.
    """

    chosen: tuple[Chosen, ...]
    finish: str | None


def check(request: Request) -> None:
    """Refuse what a remote engine cannot do.

    Raises:
        InvalidRequestError: the request asks for it.
    """
    many = len(request.preferences) + (request.taste is not None)
    if request.best_of > 1:
        _refuse(f"best_of={request.best_of!r} compares samples by their rewards, which a server does not tell", 1)
    if not many or request.beta == 0:
        return
    if request.combine == "max" and many > 1:
        _refuse(
            f"combine='max' of {many} preferences and tastes needs a gate for each, and a server takes one",
            "'sum'",
        )
    if request.clip is not None:
        _refuse(f"clip={request.clip!r} bounds rewards, which a server does not do", None)


def check_parts(request: Request) -> None:
    """Refuse what an answer that is asked for in two parts cannot have.

    Raises:
        InvalidRequestError: repeats cost something, and the second part would not count the tokens of the first.
    """
    for name, neutral in _LATER.values():
        if (value := getattr(request, name)) != neutral:
            _refuse(
                f"{name}={value!r} counts no tokens before a call of a tool, as the call is asked for alone", neutral
            )


def _refuse(what: str, instead: Any) -> None:
    name = what.partition("=")[0]
    raise InvalidRequestError(f"{what}. Pass {name}={instead}, or decode in this process (without url).")


def to_body(
    admitted: Admitted, server: Server, ends: frozenset[int], nonce: str, *, so_far: Sequence[int] = (), gate: bool
) -> tuple[dict[str, Any], float]:
    """Return the JSON of a request for a server.

    Args:
        admitted: the request.
        server: what it is sent to.
        ends: ids of the tokens that end an answer.
        nonce: goes into all salts, so that another one makes servers find no prompts of before.
        so_far: tokens of the answer up to the mark that begins its first call of a tool, if there are some.
        gate: whether preferences steer.

    Returns:
        the JSON, and what the gate was multiplied with to be within the server's bound: 1.0 where it was.

    Raises:
        GuideError: the gate is not finite.
        InvalidRequestError: the server cannot do what is asked for.
    """
    request = admitted.request
    body: dict[str, Any] = {
        "model": server.model,
        "prompt": [*admitted.prompt, *so_far],
        "add_special_tokens": False,
        "stream": True,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "n": 1,
        "max_tokens": admitted.limit - len(so_far),
        "min_tokens": 0,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop": [],
        "stop_token_ids": sorted(ends),
        "ignore_eos": False,
    }
    if request.seed is not None:
        body["seed"] = request.seed - 2**64 if request.seed >= 2**63 else request.seed
    if request.logprobs or request.candidates:
        body["logprobs"] = request.candidates
    if (salt := _salt(request.salt, nonce)) is not None:
        body["cache_salt"] = salt
    if request.grammar is not None:
        body["structured_outputs"] = {"grammar": request.grammar.rest if so_far else request.grammar.source}
    steering, factor = _steering(admitted, server) if gate else ({}, 1.0)
    extra = {**steering, **_penalties(request, server)}
    if extra:
        body["vllm_xargs"] = extra
    return body, factor


def _salt(salt: str | None, nonce: str) -> str | None:
    """A salt that tells nobody whose prompt it is. None means the prompt is shared with all that have none."""
    if salt is None:
        return secrets.token_hex(16)
    return hashlib.sha256(f"{nonce}/{salt}".encode()).hexdigest() if salt or nonce else None


def _steering(admitted: Admitted, server: Server) -> tuple[dict[str, Any], float]:
    """What the plugin reads, empty where nothing steers; and what the gate was multiplied with."""
    request, plan = admitted.request, admitted.plan
    if plan is None:
        return {}, 1.0
    gate = [plan.weights[0] * value for value in plan.rows[0].tolist()]
    if not all(map(math.isfinite, gate)):
        raise GuideError("The gate of these preferences is not finite. Lower their weights.")
    largest = max(map(abs, gate), default=0.0)
    if largest == 0.0:
        return {}, 1.0
    factor = min(1.0, server.bound * _WITHIN / largest) if largest > server.bound else 1.0
    gate = [value * factor for value in gate]
    told = {"pad_gate": gate, "pad_beta": request.beta, "pad_alpha": request.alpha, "pad_top_k": request.top_k}
    return {**told, "pad_head": server.head}, factor


def steered_until(request: Request, tokenizer: Any) -> int | None:
    """Return how far preferences steer an answer: up to this token. ALL means all of it, None means nothing.

    A server steers all of what it is asked for, so what has a region is asked for in two parts: up to the mark that
    begins a call of a tool, and from there on. That mark has to be one special token. The fields of free text inside of
    JSON cannot be asked for alone.
    """
    region, grammar = request.region, request.grammar
    if region is None:
        return ALL
    if not region.begin or grammar is None or grammar.rest is None:
        return None
    mark = region.begin.strip()
    return next((index for index, token in tokenizer.added_tokens_decoder.items() if token.content == mark), None)


def _penalties(request: Request, server: Server) -> dict[str, Any]:
    """The penalties of repeats, which count the answer's tokens only: vLLM's own count the prompt's, too."""
    said = {}
    for key, (name, neutral) in _LATER.items():
        if (value := getattr(request, name)) == neutral:
            continue
        if key not in server.accepts:
            raise InvalidRequestError(
                f"{name} is {value!r}, by the call or as the PersRM recommends, but the plugin on the server has no "
                f"{key}, and vLLM's own penalties count the prompt, too. Pass {name}={neutral!r}, or update pad-vllm."
            )
        said[key] = value
    return said


def read_chunk(data: str, request: Request, guided: bool) -> Chunk:
    """Read the data of one event of the stream.

    Args:
        data: JSON.
        request: what is answered.
        guided: whether it is steered, so that rewards are not known.

    Raises:
        InvalidRequestError: it says that the server refuses the request.
        EngineUnavailableError: it says that the server failed, or it is no chunk of a completion.
    """
    try:
        said = json.loads(data)
        if (error := said.get("error")) is not None:
            if isinstance(error, Mapping) and error.get("code") in REFUSED:  # it is found out after the stream began
                raise refused(said)
            raise EngineUnavailableError(f"the server failed: {said_of_error(said)}")
        if not (choices := said["choices"]):  # usage
            return Chunk((), None)
        choice = choices[0]
        tokens = choice.get("token_ids") or []
        known = _logprobs(choice.get("logprobs"), tokens, request, guided)
        return Chunk(tuple(known), choice.get("finish_reason"))
    except InvalidRequestError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise EngineUnavailableError(f"the server sent what is no chunk of a completion: {data[:200]!r}") from error


def _logprobs(
    said: Mapping[str, Any] | None, tokens: Sequence[int], request: Request, guided: bool
) -> Iterator[Chosen]:
    reward = None if guided else 0.0
    for place, token in enumerate(tokens):
        if not isinstance(token, int):
            raise TypeError(token)
        if said is None:
            yield Chosen(token, math.nan, reward)
            continue
        others = (said.get("top_logprobs") or [{}] * len(tokens))[place] or {}
        allowed = ((float(value), _id(name)) for name, value in others.items() if value > NOT_ONE)
        ranked = sorted(allowed, key=lambda one: -one[0])
        weighed = tuple(
            Weighed(index, value, reward, None if guided else value) for value, index in ranked[: request.candidates]
        )
        yield Chosen(token, float(said["token_logprobs"][place]), reward, weighed)


def _id(name: str) -> int:
    return int(name.removeprefix("token_id:"))


def refused(body: Any) -> InvalidRequestError:
    """Return the error of a request that a server refuses, which does not say where the server is."""
    return InvalidRequestError(f"The server that decodes refuses the request: {said_of_error(body)}")


def said_of_error(body: Any) -> str:
    """Return what an error of the server says, in vLLM's form or in any other."""
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    message = (inner.get("message") or inner.get("type") or inner) if isinstance(inner, Mapping) else inner
    return " ".join(str(message).split())[:500]
