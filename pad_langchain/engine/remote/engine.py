"""The engine whose models run on vLLM servers, alone or behind a router.

    submit(Request) → admission → queue → dispatcher: POST /v1/completions → Stream of TokenEvents

A prompt goes as token ids, the preferences as one gate of R numbers, and token ids come back, which become text here.
No text of a preference and no id of a user reaches a server beyond the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from pad_langchain.engine.admission import Admission, Admitted
from pad_langchain.engine.local.engine import QueuedEngine
from pad_langchain.engine.local.queue import Queue
from pad_langchain.engine.local.row import Row
from pad_langchain.engine.protocol import Capabilities, Engine, Guide
from pad_langchain.engine.remote.base import RemoteBase
from pad_langchain.engine.remote.dispatcher import Dispatcher
from pad_langchain.engine.remote.servers import HeadHere, Servers
from pad_langchain.engine.remote.wire import check
from pad_langchain.engine.settings import EngineSettings, RemoteSettings, read_urls
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.types import EngineStats
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.models.prompts import Prompts

__all__ = ["RemoteEngine"]

ROWS = 256  # requests that are at the servers together, unless max_batch says otherwise
TOKENS = 2**40  # of all of them: the servers have limits of their own
ASKED = 5.0  # seconds in which it is found out whether a server answers


class RemoteEngine(QueuedEngine):
    """Has vLLM servers decode, each request on the least loaded one that works.

    It connects with the first request or `ready`. With a guide, servers need the plugin pad-vllm with the same head. A
    request is tried on other servers until its first token has come. Afterwards, a server that breaks off ends its
    stream with EngineUnavailableError.

    Rewards are not known here: events of guided requests have None for them, and what needs them (`best_of`) is
    refused, as are `clip` and `combine="max"` of several preferences. Where a request has a `region`, preferences steer
    the answer up to its first call of a tool, if one special token begins calls, else nothing; `Stream.notes` says so.

    Args:
        base: what the servers serve.
        url: the address of a server, or of several.
        guide: of kind "head". None means the base decodes alone.
        fingerprint: sha256 of the head's safetensors file, as hex digits. It is needed with a guide.
        settings: those of `RemoteSettings`, and of `EngineSettings` `max_batch` (requests that are at the servers
            together, by default 256), `max_queue` and `max_batch_tokens` (tokens of them, by default any number).

    Raises:
        IncompatibleModelError: the guide is none that a server can have, or does not fit the base.
        InvalidRequestError: a setting is out of its range, or an address is none.
    """

    capabilities = Capabilities(guides=frozenset({"head"}))

    def __init__(
        self,
        base: RemoteBase,
        url: str | Sequence[str],
        guide: Any | None = None,
        *,
        fingerprint: str | None = None,
        **settings: Any,
    ) -> None:
        own = {field.name for field in fields(RemoteSettings)}
        connection = RemoteSettings(**{name: value for name, value in settings.items() if name in own})
        others = {name: value for name, value in settings.items() if name not in own}
        limits = EngineSettings(**{"max_batch": ROWS, "max_batch_tokens": TOKENS, **others})
        self.base, self.urls = base, read_urls(url)
        self.models: list[RemoteBase] = [base]
        prompts = Prompts(base.tokenizer)
        head = self._bound(guide, prompts, fingerprint)
        admission = Admission(prompts, guide, limits, base.vocab_size, base.context)
        queue = Queue(limits.max_queue, admission.fit)
        urls = self.urls
        self._dispatcher = Dispatcher(
            queue,
            lambda client: Servers(urls, client, base, head, connection),
            connection,
            base,
        )
        super().__init__(self._dispatcher, queue, base.tokenizer, guide, admission)

    def _bound(self, guide: Guide | None, prompts: Prompts, fingerprint: str | None) -> HeadHere | None:
        """Bind the guide, and return what servers have to have."""
        if guide is None:
            return None
        if guide.kind not in self.capabilities.guides:
            raise IncompatibleModelError(
                f"A PersRM of kind {guide.kind!r} runs rows of its own, which a server does not have: it can have "
                f"{sorted(self.capabilities.guides)}. Pass a head as reward_model (pad-langchain adapt makes one for "
                "any base), reward_model=None to tell preferences in the prompt, or decode in this process."
            )
        if fingerprint is None:
            raise InvalidRequestError("A server is asked for the head by its fingerprint, but fingerprint is None.")
        guide.bind(self.base, prompts)
        return HeadHere(fingerprint, int(guide.head.config.rank))  # type: ignore[attr-defined]

    def _open(self, admitted: Admitted) -> tuple[Stream, list[Row]]:
        check(admitted.request)
        return super()._open(admitted)

    @property
    def stats(self) -> EngineStats:
        """What servers were sent. What they keep and compute, only they know."""
        return EngineStats(forwards=0, prefilled_tokens=self._dispatcher.prompt_tokens, reused_tokens=0)

    def ready(self) -> bool:
        """Return whether a server works. Blocks for up to five seconds."""
        return self.alive and self._dispatcher.ready(ASKED)

    def forget_prefixes(self) -> None:
        """Let no later prompt share what servers have kept. They drop it themselves when they need room."""
        self._dispatcher.forget()

    def __enter__(self) -> RemoteEngine:
        return self


_ENGINE: type[Engine] = RemoteEngine  # a type checker compares the two
