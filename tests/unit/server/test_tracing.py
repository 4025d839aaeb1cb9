"""What of a request other systems see: a span of figures and ids, and its id in what is logged meanwhile."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pad_langchain.server import tracing
from pad_langchain.server.tracing import RequestIds, RequestSpan
from served_app import Served

HUSH = "what-a-user-wrote"
PATH = "/v1/chat/completions"
SAID = {"model": "pad-demo", "messages": [{"role": "user", "content": HUSH}], "max_tokens": 2}
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Gets the spans that end."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


def attributes(spans: InMemorySpanExporter) -> dict[str, Any]:
    return dict(only(spans).attributes or {})


async def test_a_stream_is_one_span_of_figures(served: Served, ada: httpx.AsyncClient, spans: Any) -> None:
    headers = {"X-Request-Id": "r-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = await ada.post(PATH, json={**SAID, "stream": True}, headers=headers)
    assert answer.status_code == 200
    said = attributes(spans)
    assert 0 < said.pop("pad.time_to_first_token_seconds") < 60
    assert said.pop("gen_ai.usage.input_tokens") > 2
    assert said.pop("pad.key_id").startswith("key-")
    assert said == {
        "http.request.method": "POST",
        "http.route": PATH,
        "http.response.status_code": 200,
        "pad.request_id": "r-1",
        "gen_ai.usage.output_tokens": 2,
    }
    span = only(spans)
    assert (span.name, span.kind) == (f"POST {PATH}", trace.SpanKind.SERVER)
    assert span.context is not None
    assert format(span.context.trace_id, "032x") == TRACE


async def test_a_whole_answer_has_its_tokens(ada: httpx.AsyncClient, spans: Any) -> None:
    usage = (await ada.post(PATH, json=SAID)).json()["usage"]
    said = attributes(spans)
    assert said["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert said["gen_ai.usage.output_tokens"] == usage["completion_tokens"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "name"),
    [
        ("GET", f"/admin/users/{HUSH}", 403, "not_allowed", "GET /admin/users/{user:path}"),
        ("GET", f"/{HUSH}?query={HUSH}", 404, "unknown_url", "GET"),
        (HUSH.upper(), "/ready", 405, "method_not_allowed", "_OTHER"),
    ],
)
async def test_a_span_names_the_route_and_never_the_path(
    ada: httpx.AsyncClient, spans: Any, method: str, path: str, status: int, code: str, name: str
) -> None:
    await ada.request(method, path)
    said = attributes(spans)
    assert (said["http.response.status_code"], said["error.type"]) == (status, code)
    assert only(spans).name.startswith(name)
    assert HUSH not in only(spans).to_json().lower()


async def test_a_bug_is_an_error_without_its_message(
    served: Served, ada: httpx.AsyncClient, spans: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError(HUSH)

    monkeypatch.setattr(served.chat, "submit", fail)
    assert (await ada.post(PATH, json=SAID)).status_code == 500
    span = only(spans)
    assert span.status.status_code is trace.StatusCode.ERROR
    assert attributes(spans)["error.type"] == "internal_error"
    assert (span.events, span.status.description) == ((), None)
    assert HUSH not in span.to_json()


async def test_nobody_knows_the_user_from_a_span(served: Served, spans: Any) -> None:
    async with served.client("app") as app:
        await app.post(PATH, json={**SAID, "user": "somebody-known"}, headers={"X-PAD-User": "somebody-known"})
    assert "somebody-known" not in only(spans).to_json()


def test_without_opentelemetry_there_is_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "trace", None)
    span = RequestSpan("GET", {}, "r-1")
    with span.current():
        tracing.note_tokens(1, 2)
        tracing.note_first_token(0.1)
    span.end(route="/ready", status=200, code=None, key_id=None)


# ---- the id in the log


@pytest.fixture
def lines() -> Any:
    """The lines of the logger "elsewhere", each with what the filter adds."""
    written: list[str] = []

    class Listing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(f"{record.getMessage()}{record.request}")  # type: ignore[attr-defined]

    handler = Listing()
    handler.addFilter(RequestIds())
    logger = logging.getLogger("elsewhere")
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)


async def test_lines_of_its_threads_have_the_requests_id(
    served: Served, ada: httpx.AsyncClient, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, record = served.chat.submit, served.memory.record

    def submits(*arguments: Any, **more: Any) -> Any:
        logging.getLogger("elsewhere").warning("submits")
        return submit(*arguments, **more)

    def records(*arguments: Any, **more: Any) -> Any:
        logging.getLogger("elsewhere").warning("records")
        return record(*arguments, **more)

    monkeypatch.setattr(served.chat, "submit", submits)
    monkeypatch.setattr(served.memory, "record", records)
    await ada.post(PATH, json=SAID, headers={"X-Request-Id": "r-1"})
    await ada.post("/v1/feedback", json={"kind": "statement", "text": "be brief"}, headers={"X-Request-Id": "r-2"})
    logging.getLogger("elsewhere").warning("between requests")
    assert lines == ["submits request=r-1", "records request=r-2", "between requests"]
