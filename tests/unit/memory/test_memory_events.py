"""Events and preferences: valid ones survive a round trip, others are refused with a message that helps."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pad_memory import Choice, Critique, Edit, Feedback, Preference, Rating, Statement, Thumb
from pad_memory.errors import InvalidEventError, PadMemoryError, StoreVersionError

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
provenance = {
    "thread": st.none() | text,
    "time": st.none() | st.floats(0, 4e9),
    "source": text,
    "id": st.none() | text,
    "metadata": st.dictionaries(text, json_values, max_size=3),
}
two_texts = st.lists(text, min_size=2, max_size=2, unique=True)
events = st.one_of(
    st.builds(Thumb, text, text, st.booleans(), **provenance),
    st.builds(Rating, text, text, st.floats(1, 5), **provenance),
    st.builds(lambda pair, **rest: Choice("q", *pair, **rest), two_texts, **provenance),
    st.builds(lambda pair, **rest: Edit("q", *pair, **rest), two_texts, **provenance),
    st.builds(Critique, text, text, text, **provenance),
    st.builds(Statement, text, **provenance),
)


@given(events)
def test_events_survive_json(event: Feedback) -> None:
    again = Feedback.from_dict(json.loads(json.dumps(event.to_dict())))
    assert again == event
    assert type(again) is type(event)


@given(
    st.builds(
        Preference,
        text,
        text,
        st.floats(-9, 9),
        st.floats(0, 1),
        st.sampled_from(["stated", "inferred"]),
        st.tuples(text),
    )
)
def test_preferences_survive_json(preference: Preference) -> None:
    assert Preference.from_dict(json.loads(json.dumps(preference.to_dict()))) == preference


def test_events_are_frozen_and_do_not_share_their_metadata() -> None:
    metadata = {"tags": ["a"]}
    event = Statement("be brief", metadata=metadata)
    metadata["tags"].append("b")
    assert event.metadata == {"tags": ["a"]}
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.text = "be long"  # type: ignore[misc]
    assert hash(event) == hash(Statement("be brief"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Thumb("q", "", True), "Thumb.response has to be text that is not empty, but is ''"),
        (lambda: Thumb("q", None, True), "Thumb.response .* but is None"),
        (lambda: Thumb("q", "a", 1), "Thumb.up has to be a valid boolean, but is 1"),
        (lambda: Rating("q", " \n", 3), "Rating.response"),
        (lambda: Rating("q", "a", 0), "Rating.rating has to be greater than or equal to 1, but is 0"),
        (lambda: Rating("q", "a", 5.5), "but is 5.5"),
        (lambda: Rating("q", "a", float("nan")), "but is nan"),
        (lambda: Rating("q", "a", True), "but is True"),
        (lambda: Choice("q", "same", "same"), "two different responses"),
        (lambda: Choice("q", "a", ""), "Choice.rejected"),
        (lambda: Edit("q", "same", "same"), "changed text"),
        (lambda: Critique("q", "a", ""), "Critique.text"),
        (lambda: Statement(""), "Statement.text"),
        (lambda: Statement("bad \ud800"), "lone surrogate at character 4"),
        (lambda: Statement("a", id="\udfff"), "Statement.id"),
        (lambda: Statement("a", id=""), "Statement.id"),
        (lambda: Statement("a", time=float("inf")), "Statement.time has to be a finite number, but is inf"),
        (lambda: Statement("a", time=True), "Statement.time has to be a valid number, but is True"),
        (lambda: Statement("a", metadata={"x": float("nan")}), "JSON"),
        (lambda: Statement("a", metadata={"x": {1, 2}}), "JSON"),
        (lambda: Statement("a", metadata={"x": "\ud800"}), "JSON"),
        (lambda: Statement("a", metadata=[1]), "mapping"),
        (lambda: Thumb("q", "a", up=True, tenant=3), "Thumb.tenant has to be text that is not empty, but is 3"),
        (lambda: Thumb("q", "a"), "Thumb.up has to be a valid boolean, but is None"),
        (lambda: Thumb("q", "a", True, stars=5), "not the fields of a thumb event: stars: Unexpected"),
        (lambda: Thumb("q", "a", True, 5), "not the fields of a thumb event: 3: Unexpected"),
        (lambda: Thumb("q", "a", True, kind="rating"), "Thumb.kind has to be 'thumb', but is 'rating'"),
        (lambda: Statement(), "not the fields of a statement event: text: Field required"),
        (lambda: Choice("q", "a", "b", tie=1), "Choice.tie has to be a valid boolean, but is 1"),
        (lambda: Feedback(kind="thumb"), "Thumb, Rating, Choice, Edit, Critique, Statement"),
        (lambda: Feedback(), "Thumb, Rating, Choice, Edit, Critique, Statement"),
        (lambda: Feedback.from_dict({"schema_version": 1, "kind": "shrug"}), "has to be one of .*'thumb'.*'shrug'"),
        (lambda: Feedback.from_dict({"schema_version": 1, "kind": "statement"}), "fields of a statement"),
        (lambda: Feedback.from_dict({"kind": "statement", "text": "a"}), "schema_version"),
        (lambda: Feedback.from_dict({"schema_version": 1, "kind": ["thumb"]}), "has to be one of .*'thumb'"),
        (
            lambda: Feedback.from_dict({"schema_version": 1, "kind": "retraction", "target": " ", "time": "now"}),
            "Retraction.target has to be text .* Retraction.time has to be a valid number, but is 'now'",
        ),
        (
            lambda: Feedback.from_dict({"schema_version": 1, "kind": "thumb", "prompt": "q", "up": True}),
            "^Thumb.response has to be text that is not empty, but is ''.$",
        ),
        (lambda: Preference("k", "t", float("nan"), 0.5, "stated"), "weight"),
        (lambda: Preference("k", "t", 1.0, 1.5, "stated"), r"confidence has to be in \[0, 1\], but is 1.5"),
        (lambda: Preference("k", "t", 1.0, 0.5, "guessed"), "'guessed'"),
    ],
)
def test_bad_input_is_refused(make, message: str) -> None:
    with pytest.raises(InvalidEventError, match=message) as error:
        make()
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, PadMemoryError)


@pytest.mark.parametrize("read", [Feedback.from_dict, Preference.from_dict])
def test_newer_versions_are_refused(read) -> None:
    with pytest.raises(StoreVersionError, match=r"(?i)2.*upgrade"):
        read({"schema_version": 2, "kind": "statement", "text": "a"})
