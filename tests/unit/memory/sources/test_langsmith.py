"""LangSmith's feedback dicts become our events."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from langsmith.schemas import Feedback as LangSmithFeedback
from langsmith.schemas import FeedbackSourceBase

from fakes import PoleScorer, WordEmbedder
from pad_memory import Critique, Edit, PreferenceMemory, Rating, Thumb
from pad_memory.errors import InvalidEventError
from pad_memory.sources.langsmith import from_langsmith

TEXTS = {"prompt": "q", "response": "a"}


def plain(event):
    """The event without its provenance."""
    values = {name: getattr(event, name) for name in ("up", "rating", "text", "edited") if hasattr(event, name)}
    return type(event), *values.values()


@pytest.mark.parametrize(
    ("feedback", "events"),
    [
        ({"key": "user", "score": 1}, [(Thumb, True)]),
        ({"key": "user", "score": 0.0}, [(Thumb, False)]),
        ({"key": "user", "score": True}, [(Thumb, True)]),
        ({"key": "user", "score": False}, [(Thumb, False)]),
        ({"key": "stars", "score": 0.75}, [(Rating, 4.0)]),
        ({"key": "stars", "score": 0.5}, [(Rating, 3.0)]),
        ({"key": "user", "comment": "too long"}, [(Critique, "too long")]),
        ({"key": "user", "score": 0, "comment": "too long"}, [(Critique, "too long")]),
        ({"key": "user", "score": 1, "comment": "nice!"}, [(Thumb, True)]),
        ({"key": "user", "score": 0, "comment": "  "}, [(Thumb, False)]),
        ({"key": "user", "correction": "better"}, [(Edit, "better")]),
        ({"key": "user", "correction": {"output": "better", "n": 3}}, [(Edit, "better")]),
        ({"key": "user", "score": 0, "correction": {"answer": "better"}}, [(Thumb, False), (Edit, "better")]),
        ({"key": "user", "score": 0, "comment": "wrong", "correction": "b"}, [(Critique, "wrong"), (Edit, "b")]),
    ],
)
def test_what_becomes_what(feedback, events):
    found = from_langsmith(feedback, **TEXTS)
    assert [plain(event) for event in found] == events
    assert all((event.prompt, event.response, event.source) == ("q", "a", "langsmith") for event in found)
    assert all(event.metadata["key"] == feedback["key"] for event in found)
    assert all(event.metadata.get("score") == feedback.get("score") for event in found)


@pytest.mark.parametrize(("score", "rating"), [(1, 1.0), (3, 3.0), (5, 5.0), (4.5, 4.5)])
def test_five_stars(score, rating):
    for given in ({"scale": (1, 5)}, {}):
        config = {} if given else {"feedback_config": {"type": "continuous", "min": 1, "max": 5}}
        (event,) = from_langsmith({"key": "stars", "score": score, **config}, **TEXTS, **given)
        assert plain(event) == (Rating, rating)


def test_a_scale_may_be_centred():
    (event,) = from_langsmith({"key": "user", "score": -1}, **TEXTS, scale=(-1, 1))
    assert plain(event) == (Rating, 1.0)


def test_provenance_and_idempotency():
    feedback = {
        "id": UUID(int=7),
        "key": "user",
        "score": 0,
        "correction": "b",
        "run_id": UUID(int=8),
        "created_at": "2026-01-02T03:04:05Z",
    }
    thumb, edit = from_langsmith(feedback, **TEXTS)
    assert thumb.id == f"langsmith:{UUID(int=7)}"
    assert edit.id == f"langsmith:{UUID(int=7)}:edit"
    assert thumb.time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert thumb.metadata["run_id"] == str(UUID(int=8))
    with PreferenceMemory(embedder=WordEmbedder(), scorer=PoleScorer()) as memory:
        for _ in range(2):
            for event in from_langsmith(feedback, **TEXTS):
                memory.record("ada", event)
        assert [event.kind for event in memory.events("ada")] == ["thumb", "edit"]


def test_by_response_id():
    with PreferenceMemory(embedder=WordEmbedder(), scorer=PoleScorer()) as memory:
        memory.responses.add("ada", "pad-1", "q", "a")
        (event,) = from_langsmith({"key": "user", "score": 1}, response_id="pad-1")
        memory.record("ada", event)
        assert (memory.events("ada")[0].prompt, memory.events("ada")[0].response) == ("q", "a")


def test_what_langsmith_itself_exports():
    exported = LangSmithFeedback(
        id=UUID(int=1),
        created_at=datetime(2026, 1, 1),  # without a zone, as old exports have it
        modified_at=datetime(2026, 1, 1),
        run_id=UUID(int=2),
        trace_id=None,
        key="user",
        score=1.0,
        feedback_source=FeedbackSourceBase(type="app"),
    )
    (event,) = from_langsmith(exported.model_dump(), **TEXTS)
    assert plain(event) == (Thumb, True)
    assert event.time == datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def test_a_model_judges_verdict_is_not_the_users():
    feedback = {"key": "correctness", "score": 1, "feedback_source": {"type": "model", "metadata": {}}}
    assert from_langsmith(feedback, **TEXTS) == ()


@pytest.mark.parametrize(
    ("feedback", "message"),
    [
        ({"key": "user"}, r"nothing that can be learned from: it has \['key'\]"),
        ({"key": "user", "value": "up"}, "needs a score, a comment or a correction"),
        ({"score": 2}, "a number from 0 to 1, but is 2. Pass scale="),
        ({"score": float("nan")}, "but is nan"),
        ({"score": "1"}, "but is '1'"),
        ({"comment": 3}, "comment has to be text, but is 3"),
        ({"correction": {"a": "b"}}, "correction has to be a text, or a dict"),
        ({"correction": {"output": "b", "text": "c"}}, "one text under one of"),
        ({"correction": "a"}, "changed text"),
        (
            {"score": 1, "created_at": "yesterday"},
            "created_at has to be a datetime or its ISO text, but is 'yesterday'",
        ),
        ({"score": 1, "created_at": 3}, "created_at"),
        ({"score": 1, "feedback_config": {"min": 1, "max": 1}}, "worst < best"),
        ([], "feedback has to be a dict"),
    ],
)
def test_what_cannot_be_converted_says_why(feedback, message):
    with pytest.raises(InvalidEventError, match=message):
        from_langsmith(feedback, **TEXTS)


def test_it_has_to_be_about_an_answer():
    with pytest.raises(InvalidEventError, match=r"Thumb\.prompt"):
        from_langsmith({"score": 1})
