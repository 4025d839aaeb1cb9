"""Errors in OpenAI's shape, and what our own exceptions become."""

from __future__ import annotations

import re

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from pad_langchain import errors
from pad_langchain.server.errors import INTERNAL, ApiError, translate
from pad_memory import errors as memory_errors


def test_the_body_is_openais() -> None:
    error = ApiError(400, "unsupported_value", "n has to be 1, but is 3.", param="n")
    assert error.body() == {
        "error": {
            "message": "n has to be 1, but is 3.",
            "type": "invalid_request_error",
            "param": "n",
            "code": "unsupported_value",
        }
    }
    assert str(error) == "n has to be 1, but is 3."


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "invalid_request_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_the_type_follows_from_the_status(status: int, kind: str) -> None:
    assert ApiError(status, "code", "message").type == kind


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (120.0, "120")])
def test_retry_after_is_whole_seconds_and_at_least_one(seconds: float, header: str) -> None:
    assert ApiError(429, "rate_limited", "later", retry_after=seconds).headers() == {"Retry-After": header}


def test_only_401_asks_for_a_key() -> None:
    assert ApiError(401, "invalid_api_key", "no").headers() == {"WWW-Authenticate": "Bearer"}
    assert ApiError(403, "not_allowed", "no").headers() == {}


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (errors.InvalidRequestError("said"), 400, "invalid_value", None),
        (errors.ContextLengthError("said"), 400, "context_length_exceeded", "messages"),
        (memory_errors.InvalidEventError("said"), 400, "invalid_value", None),
        (memory_errors.InvalidUserError("said"), 400, "invalid_value", "user"),
    ],
)
def test_what_a_request_got_wrong_keeps_its_message(
    error: Exception, status: int, code: str, param: str | None
) -> None:
    told = translate(error)
    assert (told.status, told.code, told.param, told.message) == (status, code, param, "said")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.EngineBusyError, 429, "queue_full"),
        (errors.EngineClosedError, 503, "shutting_down"),
        (errors.EngineMemoryError, 503, "out_of_memory"),
        (errors.EngineUnavailableError, 503, "engine_unavailable"),
        (errors.ModelLoadError, 503, "not_ready"),
        (errors.IncompatibleModelError, 503, "not_ready"),
        (errors.GuideError, 500, "internal_error"),
        (errors.MissingDependencyError, 500, "internal_error"),
        (errors.CheckpointError, 500, "internal_error"),
        (memory_errors.UnknownResponseError, 404, "unknown_response"),
        (memory_errors.StoreError, 503, "memory_unavailable"),
        (memory_errors.StoreLockedError, 503, "memory_unavailable"),
        (memory_errors.StoreVersionError, 503, "memory_unavailable"),
        (memory_errors.EmbedderError, 503, "memory_unavailable"),
        (memory_errors.StoreClosedError, 503, "shutting_down"),
        (memory_errors.StoreForkedError, 503, "shutting_down"),
        (memory_errors.ScorerError, 500, "internal_error"),
        (KeyError, 500, "internal_error"),
        (RecursionError, 500, "internal_error"),
    ],
)
def test_what_is_not_the_requests_fault_says_nothing_of_the_exception(
    error: type[Exception], status: int, code: str
) -> None:
    told = translate(error("/srv/secret/place"))
    assert (told.status, told.code) == (status, code)
    assert "secret" not in str(told.body()) + str(told.headers())
    assert ("Retry-After" in told.headers()) == (status in (429, 503))


@pytest.mark.parametrize(
    ("error", "code", "param", "words"),
    [
        (memory_errors.PausedError("the-tenant ada"), "memory_paused", None, "this user paused"),
        (memory_errors.ConsentNeededError(("health",), "why"), "consent_needed", "consented", r"\(health\)"),
    ],
)
def test_what_is_not_recorded_now_says_why(error: Exception, code: str, param: str | None, words: str) -> None:
    told = translate(error)
    assert (told.status, told.code, told.param) == (409, code, param)
    assert re.search(words, told.message)
    assert "tenant" not in told.message


def test_every_error_of_ours_is_in_a_test_above() -> None:
    ours = {getattr(errors, name) for name in errors.__all__} - {errors.PadError}
    theirs = {getattr(memory_errors, name) for name in memory_errors.__all__} - {memory_errors.PadMemoryError}
    tested: set[type] = set()
    for test in (
        test_what_a_request_got_wrong_keeps_its_message,
        test_what_is_not_the_requests_fault_says_nothing_of_the_exception,
        test_what_is_not_recorded_now_says_why,
    ):
        (mark,) = test.pytestmark  # type: ignore[attr-defined]
        tested |= {each[0] if isinstance(each[0], type) else type(each[0]) for each in mark.args[1]}
    assert ours | theirs <= tested


def test_an_api_error_stays_itself() -> None:
    error = ApiError(404, "model_not_found", "There is no model 'x'.", param="model")
    assert translate(error) is error


class Message(BaseModel):
    role: str


class Body(BaseModel):
    messages: list[Message]


def test_what_pydantic_refuses_is_named_and_not_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        Body.model_validate({"messages": [{"role": ["secret"]}]})
    told = translate(refused.value)
    assert (told.status, told.code, told.param) == (400, "invalid_value", "messages.0.role")
    assert told.message == "messages.0.role: Input should be a valid string"


def test_what_fastapi_refuses_is_named_without_the_word_body() -> None:
    detail = {"type": "missing", "loc": ("query", "query"), "msg": "Field required", "input": None}
    told = translate(RequestValidationError([detail]))
    assert (told.status, told.param, told.message) == (400, "query", "query: Field required")


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "unknown_url"), (405, "method_not_allowed"), (413, "body_too_large"), (418, "invalid_value")],
)
def test_the_frameworks_own_get_our_codes(status: int, code: str) -> None:
    told = translate(HTTPException(status, "said"))
    assert (told.status, told.code, told.message) == (status, code, "said")


def test_the_frameworks_500_keeps_its_words_to_itself() -> None:
    told = translate(HTTPException(500, "secret"))
    assert (told.code, told.message) == ("internal_error", INTERNAL)
