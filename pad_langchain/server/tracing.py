"""One span of OpenTelemetry for each request, and the request's id in what others log while it is answered.

Spans need `opentelemetry-api`, and go where whoever starts the process sets up its SDK to send them: without either
there are none. A span has route, status, ids of request and key, and figures. It has no path, query, text or user.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from pad_langchain._version import __version__

try:
    from opentelemetry import propagate, trace
except ImportError:
    trace = None  # type: ignore[assignment]

__all__ = ["RequestIds", "RequestSpan", "note_first_token", "note_tokens"]

_METHODS = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE".split())
_request_id: ContextVar[str | None] = ContextVar("pad_request_id", default=None)


class RequestIds(logging.Filter):
    """Gives each record `request`: " request=" and the id of the request that is answered meanwhile, else ""."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        request_id = _request_id.get()
        record.request = "" if request_id is None else f" request={request_id}"
        return True


class RequestSpan:
    """The span of one request, from now to `end`. It belongs to the trace that the request's headers name.

    Args:
        method: of HTTP.
        headers: the request's; their names are read in any case.
        request_id: what the answer and the log call it.
    """

    def __init__(self, method: str, headers: Mapping[str, str], request_id: str) -> None:
        self._request_id = request_id
        self._method = method if method in _METHODS else "_OTHER"  # as OpenTelemetry calls any other word
        self._span = None
        if trace is not None:
            self._span = trace.get_tracer("pad_langchain.server", __version__).start_span(
                self._method,
                context=propagate.extract(headers),
                kind=trace.SpanKind.SERVER,
                attributes={"http.request.method": self._method, "pad.request_id": request_id},
            )

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make it the span that notes go to, and its request the one that log lines name. It does not end here."""
        token = _request_id.set(self._request_id)
        try:
            with nullcontext() if self._span is None else _quietly(self._span):
                yield
        finally:
            _request_id.reset(token)

    def end(self, *, route: str | None, status: int | None, code: str | None, key_id: str | None) -> None:
        """End it.

        Args:
            route: the path's template; None where no route has the path.
            status: of HTTP; None where nothing was sent.
            code: of the error that was answered.
            key_id: whose request it was.
        """
        if self._span is None:
            return
        said = {"http.route": route, "http.response.status_code": status, "error.type": code, "pad.key_id": key_id}
        self._span.set_attributes({name: value for name, value in said.items() if value is not None})
        if route is not None:
            self._span.update_name(f"{self._method} {route}")
        if status is None or status >= 500:
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


def _quietly(span: trace.Span) -> AbstractContextManager[trace.Span]:
    """The span as the current one. Exceptions are not recorded: their messages may quote a user."""
    return trace.use_span(span, record_exception=False, set_status_on_exception=False)


def note_first_token(seconds: float) -> None:
    """Note at the current request how long its first token took."""
    if trace is not None:
        trace.get_current_span().set_attribute("pad.time_to_first_token_seconds", seconds)


def note_tokens(prompt: int, completion: int) -> None:
    """Note at the current request how many tokens it had."""
    if trace is not None:
        tokens = {"gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": completion}
        trace.get_current_span().set_attributes(tokens)
