"""What the routes answer, as models for /openapi.json; tests hold every answer to them.

Chat completions stream and are made for every token, so that these only describe them. The other routes' answers pass
through theirs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "ERRORS",
    "ChatCompletion",
    "Comparison",
    "ErrorReply",
    "Export",
    "FeedbackDeleted",
    "FeedbackReply",
    "Known",
    "Model",
    "Models",
    "ResponseObject",
    "SettingsReply",
    "Status",
    "ThreadDeleted",
    "UserDeleted",
    "streamed",
]

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Error(_Reply):
    message: str
    type: str
    param: str | None
    code: str


class ErrorReply(_Reply):
    """Every answer that is no success."""

    error: _Error


# For FastAPI's `responses`: any error, on any route.
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorReply, "description": "The request is refused."},
    "5XX": {"model": ErrorReply, "description": "The server cannot answer it now."},
}


def streamed(whole: type[BaseModel], parts: str) -> dict[int | str, dict[str, Any]]:
    """For FastAPI's `responses`: an answer that comes whole, or as a stream of these parts."""
    stream = {"schema": {"type": "string", "description": f"{parts} as OpenAI sends them, where `stream` is true."}}
    return {200: {"model": whole, "content": {"text/event-stream": stream}}}


class Status(_Reply):
    """Of /health and /ready."""

    status: Literal["ok", "ready"]


class Model(_Reply):
    """The model that answers."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int | None


class Models(_Reply):
    """All there are: one."""

    object: Literal["list"]
    data: list[Model]


class _Function(_Reply):
    name: str
    arguments: str


class _Call(_Reply):
    id: str
    type: Literal["function"]
    function: _Function


class _Message(_Reply):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str = ""
    tool_calls: list[_Call] = []


class _Candidate(_Reply):
    token: str
    logprob: float
    reward: float | None
    bytes: list[int] | None


class _Entry(_Candidate):
    top_logprobs: list[_Candidate]


class _Logprobs(_Reply):
    content: list[_Entry]
    refusal: None


class _Choice(_Reply):
    index: int
    message: _Message
    logprobs: _Logprobs | None
    finish_reason: Literal["stop", "length", "tool_calls", "cancelled"]


class _Usage(_Reply):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count


class _Wish(_Reply):
    text: str
    weight: float
    source: str
    route: Literal["guide", "prompt", "both"] | None


class _Held(_Reply):
    text: str
    reason: str


class _Taste(_Reply):
    choices: int
    more_like: list[str]


class _Pad(_Reply):
    user: str | None
    thread: str | None
    condition: list[_Wish]
    held_back: list[_Held] | None = None
    taste: _Taste | None = None
    beta: float
    top_k: int
    response_id: str
    mean_reward: float | None
    steered: str | None = None
    gate_scaled: float | None = None


class ChatCompletion(_Reply):
    """A whole answer. With `stream` it comes in chunks instead."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[_Choice]
    usage: _Usage
    pad: _Pad


class _Learned(_Reply):
    key: str
    text: str
    weight: float
    confidence: Share
    valid_from: float | None = None
    valid_to: float | None = None
    answers_left: int | None = None
    sensitive: list[str] | None = None
    unread: str | None = None


class _HeldBack(_Reply):
    status: Literal["quarantined", "refused"]
    rule: str
    reason: str


class FeedbackReply(_Reply):
    """What came of something a user told."""

    object: Literal["feedback"]
    id: str
    learned: list[_Learned]
    leaning: list[_Learned]
    expired: list[str] | None = None
    held_back: _HeldBack | None


class FeedbackDeleted(_Reply):
    """That something a user told is taken back, or erased."""

    object: Literal["feedback.deleted"]
    id: str
    deleted: Literal[True]
    erased: bool


class _Question(_Reply):
    dimensions: list[str]
    why: str


class _Side(_Reply):
    id: str
    text: str


class ResponseObject(BaseModel):
    """An answer of the Responses API, with what was asked for beside it."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["response"]
    created_at: float
    model: str
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    output: list[dict[str, Any]]


class Comparison(_Reply):
    """Two answers to choose from; null with a reason where there is nothing to ask."""

    object: Literal["comparison"]
    question: _Question | None
    first: _Side | None
    second: _Side | None
    reason: str | None = None


class _Preference(_Reply):
    key: str
    text: str
    weight: float
    confidence: Share
    source: Literal["stated", "inferred", "population", "operator"]
    scope: str | None
    evidence: list[str]
    why: str | None
    valid_from: float | None
    valid_to: float | None
    expired: bool | None = None
    answers_left: int | None = None
    sensitive: list[str] | None = None


class _Drift(_Reply):
    dimension: str
    since: float
    before: str | None
    after: str | None
    confidence: Share
    evidence: list[str]
    stated: bool
    asked: bool
    why: str


class _KnownTaste(_Reply):
    why: str
    evidence: list[str]


class Known(_Reply):
    """Preferences of a user; `leanings` are those not sure enough to steer, `later` those that do not hold yet.

    `drifts` are tastes that judgements say have changed, and `taste` is what their choices say beyond all of these.
    """

    object: Literal["list"]
    data: list[_Preference]
    leanings: list[_Preference] | None = None
    later: list[_Preference] | None = None
    drifts: list[_Drift] | None = None
    taste: _KnownTaste | None = None


class _KeptAnswer(_Reply):
    id: str
    prompt: str
    response: str
    until: float


class Export(_Reply):
    """All that is kept of a user, as `pad-langchain memory import` takes it."""

    format: Literal["pad-memory"]
    version: int
    tenant: str
    user: str
    events: list[dict[str, Any]]
    items: list[dict[str, Any]]
    profile: dict[str, Any]
    answers: list[_KeptAnswer] | None = None


class SettingsReply(_Reply):
    """What a user set."""

    object: Literal["settings"]
    paused: bool
    time_zone: str


class ThreadDeleted(_Reply):
    """That what was kept for a conversation only is erased."""

    object: Literal["thread.deleted"]
    id: str
    deleted: Literal[True]
    rows: Count


class UserDeleted(_Reply):
    """That all of a user is erased."""

    object: Literal["user.deleted"]
    deleted: Literal[True]
    rows: Count
