"""The servers of a remote engine: which of them can take a request, and which takes the next one.

A server is asked what it is before its first request, and again after it has failed. One that fails rests for a while:
1 second the first time, and twice as long each time, up to 30. Where all rest, they are asked again at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from pad_langchain.engine.remote.base import RemoteBase
from pad_langchain.engine.settings import RemoteSettings
from pad_langchain.errors import EngineUnavailableError, IncompatibleModelError, PadError

__all__ = ["HeadHere", "Server", "Servers"]

LONGEST_REST = 30.0  # seconds
PROBE = 3.0  # seconds in which a server has to say what it is
FRESH = 1.0  # seconds for which a server counts as it was when it answered last
CANARY = "Tokens: naïve café — 1,024 × [{\"x\": '…'}]\n\tдa 你好 🙂"  # encoded alike by the same tokenizers only


@dataclass(frozen=True)
class HeadHere:
    """The head that gates are computed with.

    Args:
        fingerprint: sha256 of its safetensors file, as hex digits.
        rank: R, the size of a gate.
    """

    fingerprint: str
    rank: int


@dataclass(eq=False)
class Server:
    """One server.

    Args:
        url: its address, without a path.
        model: the name under which it serves the base. None means it has not been asked.
        context: tokens that it lets a prompt and its answer have. None means it does not say.
        head: the name of the head there. None means there is none.
        bound: the largest absolute value that it lets a gate have.
        accepts: keys of a request beyond those of every plugin.
        running: requests of ours that it answers now.
    """

    url: str
    model: str | None = None
    context: int | None = None
    head: str | None = None
    bound: float = 0.0
    accepts: frozenset[str] = frozenset()
    running: int = 0
    turn: int = 0  # when it was chosen last
    answered: float = 0.0  # when it answered last, seconds of the monotonic clock
    rests_until: float = 0.0
    failures: int = 0
    error: PadError | None = None  # what it failed with last
    asking: asyncio.Task[None] | None = None  # what it is


class Servers:
    """Chooses among servers. It belongs to one event loop.

    Args:
        urls: their addresses, one or more.
        client: asks them.
        base: what they have to serve.
        head: what they have to have. None means that nothing is steered, so that they need no plugin.
        settings: of the connection.
    """

    def __init__(
        self,
        urls: Sequence[str],
        client: httpx.AsyncClient,
        base: RemoteBase,
        head: HeadHere | None,
        settings: RemoteSettings,
    ) -> None:
        self.servers = [Server(url) for url in urls]
        self._client, self._base, self._head, self._settings = client, base, head, settings
        self._turn = 0

    async def choose(self, tried: Collection[Server] = ()) -> Server:
        """Return the least loaded server that works; of equals, the one that was chosen longest ago.

        Args:
            tried: those that a request has tried in vain, which are chosen only where there is no other.

        Raises:
            EngineUnavailableError: none answers.
            IncompatibleModelError: none that answers has this base and head.
        """
        now = time.monotonic()
        unknown = [server for server in self.servers if server.model is None]
        rested = [server for server in unknown if server.rests_until <= now]
        asked = self._ask(rested if rested or len(unknown) < len(self.servers) else unknown)
        while asked and not self._working:  # where one works, nobody waits for the others
            _, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        if not (working := self._working):
            raise self._why_none()
        fresh = [server for server in working if server not in tried]
        chosen = min(fresh or working, key=lambda server: (server.running, server.turn))
        self._turn += 1
        chosen.turn = self._turn
        return chosen

    async def any_ready(self) -> bool:
        """Return whether a server works, by an answer of the last second or by asking."""
        now = time.monotonic()
        if any(now - server.answered < FRESH for server in self._working):
            return True
        await asyncio.wait(self._ask(self.servers))
        return bool(self._working)

    @property
    def _working(self) -> list[Server]:
        return [server for server in self.servers if server.model is not None]

    def failed(self, server: Server, error: PadError) -> None:
        """Let a server rest, and ask it what it is before its next request."""
        server.error, server.model = error, None
        server.rests_until = time.monotonic() + min(LONGEST_REST, 2.0**server.failures)
        server.failures += 1

    def _ask(self, servers: Sequence[Server]) -> set[asyncio.Task[None]]:
        """Ask servers what they are, each once at a time."""
        for server in servers:
            if server.asking is None or server.asking.done():
                server.asking = asyncio.create_task(self._learn(server))
        return {server.asking for server in servers if server.asking is not None}

    async def _learn(self, server: Server) -> None:
        """Ask a server what it is. Where it does not answer or does not fit, it rests."""
        try:
            async with asyncio.timeout(PROBE):
                known = server.model is not None
                model = await self._model(server)
                if not known:
                    await self._check_tokens(server, str(model["id"]))
                    await self._check_head(server)
        except PadError as error:
            self.failed(server, error)
        except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.failed(server, EngineUnavailableError(f"{server.url} does not answer: {_said(error)}."))
        else:
            length = model.get("max_model_len")
            server.model, server.context = str(model["id"]), length if isinstance(length, int) else None
            server.failures, server.error, server.answered = 0, None, time.monotonic()

    async def _model(self, server: Server) -> dict[str, Any]:
        """What it says of the model that it serves."""
        answer = await self._client.get(f"{server.url}/v1/models")
        if answer.status_code in (401, 403):
            raise EngineUnavailableError(
                f"{server.url} refuses the key (HTTP {answer.status_code}). Pass engine_settings={{'api_key': …}}."
            )
        answer.raise_for_status()
        models = {str(one["id"]): one for one in answer.json()["data"]}
        name = self._settings.served_model
        if name is None:
            # What is listed below another model is a LoRA of it.
            name = next((each for each, one in models.items() if not one.get("parent")), None)
        if name not in models:
            raise IncompatibleModelError(
                f"{server.url} serves {sorted(models)!r}, but not {name!r}. Set served_model to one of them."
            )
        return models[name]

    async def _check_tokens(self, server: Server, model: str) -> None:
        """Raise IncompatibleModelError where a text has other tokens there. A server may have no such route."""
        body = {"model": model, "prompt": CANARY, "add_special_tokens": False}
        answer = await self._client.post(f"{server.url}/tokenize", json=body)
        if answer.status_code in (404, 405, 501):
            return
        answer.raise_for_status()
        theirs, ours = answer.json()["tokens"], self._base.tokenizer.encode(CANARY, add_special_tokens=False)
        if theirs != ours:
            raise IncompatibleModelError(
                f"{server.url} serves another base than {self._base.name!r}: its tokens of the same text are others. "
                "Pass as model what the server was started with."
            )

    async def _check_head(self, server: Server) -> None:
        """Find the head there.

        Raises:
            IncompatibleModelError: there is no plugin, or another head or base.
        """
        if self._head is None:
            return
        answer = await self._client.get(f"{server.url}/pad/info")
        if answer.status_code in (404, 405):
            raise IncompatibleModelError(
                f"The vLLM at {server.url} has no PersRM: install pad-vllm there, and start it with PAD_PERSRM=HEAD, "
                "VLLM_PLUGINS=pad_vllm and --logits-processors pad_vllm:PadProcessor. Or pass reward_model=None, which "
                "tells preferences in the prompt."
            )
        answer.raise_for_status()
        info = answer.json()
        mine = self._head.fingerprint
        found = {name: head for name, head in info["heads"].items() if head["fingerprint"] == mine}
        if not found:
            theirs = {name: str(head["fingerprint"])[:12] for name, head in info["heads"].items()}
            raise IncompatibleModelError(
                f"The vLLM at {server.url} has other heads than the reward_model here, whose fingerprint is "
                f"{mine[:12]}…: {theirs!r}. Start it with the same head, or pass a copy of its head as reward_model."
            )
        name, head = next(iter(found.items()))
        there = (head["hidden_size"], head["vocab_size"], head["rank"])
        if there != (here := (self._base.hidden_size, self._base.vocab_size, self._head.rank)):
            raise IncompatibleModelError(
                f"The base at {server.url} has hidden size, vocabulary and rank of the head {there}, but "
                f"{self._base.name!r} has {here}. Pass as model what the server was started with."
            )
        server.head, server.bound = name, float(head["gate_bound"])
        server.accepts = frozenset(info.get("accepts", ()))

    def _why_none(self) -> PadError:
        """The error of the server if there is one, or one that has them all."""
        errors = [server.error for server in self.servers if server.error is not None]
        if len(errors) == 1:
            return errors[0]
        unfit = all(isinstance(error, IncompatibleModelError) for error in errors)
        told = " ".join(map(str, errors))
        return IncompatibleModelError(told) if unfit else EngineUnavailableError(f"No server answers. {told}")


def _said(error: BaseException) -> str:
    """An exception as the end of a sentence; some have no message."""
    return f"{type(error).__name__}: {error}".rstrip(": .")
