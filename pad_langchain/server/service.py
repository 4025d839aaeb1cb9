"""`Service`: what the routes of one server share: its chat, its memory, threads, and how many requests it has."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from starlette.requests import ClientDisconnect, Request

from pad_langchain.chat import CallOptions, Chat, ChatSettings, Delta, Turn
from pad_langchain.chat.turn import begin
from pad_langchain.errors import EngineBusyError, EngineUnavailableError, IncompatibleModelError
from pad_langchain.models.prompts import LONG
from pad_langchain.server.errors import ApiError
from pad_langchain.server.identity import Caller, memory_user, who
from pad_langchain.server.metrics import Metrics
from pad_langchain.server.retention import Retention
from pad_langchain.server.settings import ServerSettings
from pad_langchain.server.tracing import note_tokens

if TYPE_CHECKING:
    from pad_memory import PreferenceMemory

__all__ = ["Service", "load_chat", "service_of", "user_of", "while_connected"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

_PLACE = ("device", "dtype", "weights", "backend")  # settings of the engine that a chat has under names of their own
_THREADS = 4  # of each kind: tokenizing, and the memory


def load_chat(settings: ServerSettings) -> Chat:
    """Open the memory and load the models that the settings name. Blocks for seconds.

    Raises:
        ModelLoadError, IncompatibleModelError: a model was not found, or does not fit.
        StoreError: the memory cannot be opened.
    """
    memory = _open_memory(settings.memory)
    try:
        engine = dict(settings.engine_settings)
        place = {name: engine.pop(name) for name in _PLACE if name in engine}
        chat_settings = ChatSettings(
            reward_model=settings.reward_model,
            memory=memory,
            defaults=settings.defaults,
            selective=settings.selective,
            url=settings.engine_url,
            engine_settings=engine,
            **place,
        )
        if memory is not None and settings.scorer is not None:
            memory.scorer = _scorer(settings.scorer)
        return Chat.of(settings.model, chat_settings)
    except BaseException:
        if memory is not None:
            memory.close()
        raise


def _scorer(model: str) -> Any:
    """The PersRM of a model that is loaded here.

    Raises:
        IncompatibleModelError: the model has none.
    """
    from pad_langchain.chat.engines import shared_pair

    persrm = shared_pair(model).persrm
    if persrm is None or persrm.judge is None:
        raise IncompatibleModelError(f"{model!r} has no PersRM that judges answers. Name another scorer.")
    return persrm.judge


def _open_memory(place: str | None) -> PreferenceMemory | None:
    if place is None:
        return None
    from pad_memory import PreferenceMemory

    return PreferenceMemory(url=place) if place.startswith(("http://", "https://")) else PreferenceMemory(place)


class Service:
    """What answers, what remembers, and who waits.

    Args:
        settings: the server's.
        chat: answers; it and its memory are closed with the service.
        metrics: counts what is answered.
    """

    def __init__(self, settings: ServerSettings, chat: Chat, metrics: Metrics) -> None:
        self.settings, self.chat, self.metrics = settings, chat, metrics
        self.model = Path(settings.model).name if Path(settings.model).is_absolute() else settings.model
        self.created = int(time.time())
        engine = chat.engine
        metrics.watch(running=lambda: engine.running, waiting=lambda: engine.waiting)
        self.ends = frozenset(str(engine.tokenizer.decode([token])) for token in engine.end_tokens)
        self.room = engine.settings.max_batch + engine.settings.max_queue
        self.requests = 0  # answers under way, those that are still tokenized included
        self._submitting = ThreadPoolExecutor(_THREADS, thread_name_prefix="pad-submit")
        self._submitting_long = ThreadPoolExecutor(1, thread_name_prefix="pad-submit-long")
        self._remembering = ThreadPoolExecutor(_THREADS, thread_name_prefix="pad-remember")
        self._retention = None if chat.memory is None else Retention(chat.memory, settings.answer_retention_s, metrics)

    @property
    def memory(self) -> PreferenceMemory:
        """The memory.

        Raises:
            ApiError: the server was started without one.
        """
        if self.chat.memory is None:
            raise ApiError(404, "unknown_url", "This server keeps no preferences: it was started without a memory.")
        memory: PreferenceMemory = self.chat.memory
        return memory

    def warm_up(self) -> None:
        """Do once what takes seconds the first time: an answer, a grammar, the embedder, the floor, the scorer.

        Raises:
            IncompatibleModelError: servers that decode have another model or PersRM. Those that do not answer yet may
                come later: until then this server is not ready.
        """
        hello = CallOptions(user_id=None, max_tokens=2)
        try:
            self.chat.submit([{"role": "user", "content": "Hello"}], hello).result()
        except EngineUnavailableError as error:
            logger.warning("Nothing decodes yet: %s", error)
        self.chat.engine.grammars.json_schema({"type": "object"})
        memory = self.chat.memory
        if memory is None:
            return
        from pad_memory import CATALOGUE

        wish = "Could you keep it a little shorter for me?"
        memory.embedder.embed([wish])
        memory.reader.read(wish)
        memory.guard.check(wish)
        if memory.scorer is not None:
            memory.scorer("Hello", "Hello!", [pole.text for pole in CATALOGUE[0].poles])

    def check_model(self, name: str) -> None:
        """Refuse the name of another model.

        Raises:
            ApiError: it is not the one that is here.
        """
        if name != self.model:
            message = f"There is no model {name[:100]!r} here. The one that answers is {self.model!r}."
            raise ApiError(404, "model_not_found", message, param="model")

    @contextmanager
    def admitted(self, rows: int = 1) -> Iterator[None]:
        """Count a request from here on, before it is tokenized.

        Raises:
            EngineBusyError: there are as many as the batch and the queue hold.
        """
        if self.requests + rows > self.room:
            raise EngineBusyError(f"{self.requests} requests are under way, and there is room for {self.room}.")
        self.requests += rows
        try:
            yield
        finally:
            self.requests -= rows

    def count(self, delta: Delta) -> None:
        """Count the tokens of an answer that ends with this delta."""
        if delta.usage is not None:
            self.metrics.tokens(delta.usage.prompt_tokens, delta.usage.completion_tokens)
            note_tokens(delta.usage.prompt_tokens, delta.usage.completion_tokens)

    async def begin(self, submit: Callable[[], Turn], size: int = 0) -> Turn:
        """Call `submit` in a thread for tokenizing; if the task that waits is cancelled, the turn is stopped.

        Args:
            submit: begins the turn.
            size: bytes of the request's body. Long ones are tokenized one after another, so that short ones find a
                thread and a core.
        """
        turn = await begin(submit, self._submitting if size < LONG else self._submitting_long)
        turn.when_begun(self.metrics.queued)
        return turn

    async def remember(self, operation: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something of the memory in a thread for it. A call whose task is cancelled is still carried out.

        Args:
            operation: what it is called in the metrics.
        """

        def timed() -> T:
            with self.metrics.memory(operation):
                return call(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._remembering, copy_context().run, timed)

    def close(self) -> None:
        """End what runs, and close engine and memory."""
        self.chat.engine.close()
        for executor in (self._submitting, self._submitting_long, self._remembering):
            executor.shutdown()
        if self._retention is not None:
            self._retention.close()
        if self.chat.memory is not None:
            self.chat.memory.close()


def service_of(request: Request) -> Service:
    """Return the service of the app that got the request.

    Raises:
        ApiError: it is not loaded yet.
    """
    service = getattr(request.app.state, "service", None)
    if service is None:
        raise ApiError(503, "not_ready", "The model is loading. Try again later.", retry_after=5)
    assert isinstance(service, Service)
    return service


def user_of(request: Request, body_user: str | None = None) -> str:
    """Return the id under which the memory knows the user that a request is about.

    Args:
        body_user: `user` of its body.

    Raises:
        ApiError: it is about nobody, or about somebody its key may not name.
    """
    caller: Caller = request.state.caller
    user = who(caller, request.headers, body_user)
    if user is None:
        message = f"This is kept for each user, but the request names none. Name one by {caller.naming.user_header}."
        raise ApiError(400, "invalid_value", message, param="user")
    return memory_user(caller.tenant, user)


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Wait for `work`, or cancel it when the client leaves.

    Args:
        request: one whose body has been read.

    Raises:
        ClientDisconnect: the client left first.
    """
    working: asyncio.Future[T] = asyncio.ensure_future(work)
    leaving: asyncio.Future[None] = asyncio.ensure_future(_left(request))
    both: set[asyncio.Future[Any]] = {working, leaving}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for waiting in both:
            waiting.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
