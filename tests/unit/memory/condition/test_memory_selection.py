"""History, taking back, fading, and what is chosen for a query: on a real store with a fake embedder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fakes import PoleScorer, WordEmbedder
from pad_memory import CATALOGUE, Choice, Feedback, Preference, PreferenceMemory, Retraction, Statement, Thumb, Values
from pad_memory.condition.select import Request, count_tokens, select
from pad_memory.embedding import embed
from pad_memory.errors import InvalidEventError
from pad_memory.evidence import Evidence, Recorded
from pad_memory.language.matters import NEWEST
from pad_memory.language.polarity import _polarity
from pad_memory.language.reader import Reader
from pad_memory.language.ridge import KEPT
from pad_memory.profile import fold, infer, standing
from pad_memory.profile.population import Population

DAY = 86_400.0


class Counting(WordEmbedder):
    """Counts the texts it embeds."""

    def __init__(self) -> None:
        self.texts = 0

    def embed(self, texts):  # type: ignore[no-untyped-def]
        self.texts += len(texts)
        return super().embed(texts)


def test_history_tells_what_held_when(memory: PreferenceMemory) -> None:
    for number, text in enumerate(["short answers", "no jokes", "long answers"]):
        memory.record("ada", Statement(text, id=f"e{number}", time=1000.0 + number))
    told = [(item.key, item.valid_from, item.valid_to, item.ended_by) for item in memory.history("ada")]
    assert told == [
        ("length:concise", 1000.0, 1002.0, "e2"),
        ("humor:serious", 1001.0, None, None),
        ("length:detailed", 1002.0, None, None),
    ]
    assert [item.key for item in memory.profile("ada", at=1001.5).preferences] == ["humor:serious", "length:concise"]
    assert memory.profile("ada", at=0.0).preferences == ()


def test_a_profile_after_a_retraction_is_as_if_the_event_had_never_been(memory: PreferenceMemory) -> None:
    events: list[Feedback] = [
        Statement("short answers", id="s", time=1.0),
        *(Choice("q", "tone:casual", "tone:formal", id=f"c{number}", time=400 * DAY) for number in range(8)),
        Statement("long answers", id="l", time=900 * DAY),
    ]
    for event in events:
        memory.record("ben", event)
        if event.id != "l":
            memory.record("ben without", event)
    retraction = memory.retract("ben", "l")
    assert memory.retract("ben", "l") == retraction
    assert memory.profile("ben").to_json() == memory.profile("ben without").to_json()
    assert len(memory.events("ben")) == 11
    with_it = [item.key for item in memory.profile("ben").preferences]
    memory.retract("ben", retraction)
    assert [item.key for item in memory.profile("ben").preferences] != with_it


def test_undo_goes_back_one_by_one_and_then_says_so(memory: PreferenceMemory) -> None:
    first, second = (memory.record("cleo", Statement(text)) for text in ("short answers", "no jokes"))
    assert [memory.undo("cleo"), memory.undo("cleo")] == [second, first]
    assert memory.profile("cleo").preferences == ()
    with pytest.raises(InvalidEventError, match="nothing to undo"):
        memory.undo("cleo")


def test_nobody_takes_back_what_is_not_theirs(memory: PreferenceMemory) -> None:
    theirs = memory.record("dan", Statement("short answers"))
    for call in (lambda: memory.retract("eve", theirs), lambda: memory.record("eve", Retraction(theirs))):
        with pytest.raises(InvalidEventError, match=r"no event .* to take back"):
            call()
    assert len(memory.profile("dan").preferences) == 1


def test_events_carry_their_user_and_tenant(memory: PreferenceMemory) -> None:
    memory.record("fay", Statement("short answers", prompt="What is a lion?"))
    (event,) = memory.events("fay")
    assert (event.user, event.tenant) == ("fay", "default")
    with pytest.raises(InvalidEventError, match="of 'fay', not of 'gil'"):
        memory.record("gil", event)
    export = memory.export("fay")
    with pytest.raises(InvalidEventError, match="of 'gil', but has an event of 'fay'"):
        memory.import_({**export, "user": "gil"})
    with PreferenceMemory(embedder=WordEmbedder(), tenant="other") as other:
        assert other.import_(export) == 1
        assert other.events("fay")[0].tenant == "other"


def test_an_event_from_the_future_is_refused(memory: PreferenceMemory) -> None:
    with pytest.raises(InvalidEventError, match="ahead of this machine's clock"):
        memory.record("hal", Statement("short answers", time=4e9))


def test_a_judgement_counts_half_after_a_half_life() -> None:
    choice = Recorded(Choice("q", "a", "b", id="c", time=0.0), 0, Evidence(styles=({"length": 1.0}, {"length": -1.0})))
    later = Recorded(Statement("x", id="s", time=90 * DAY), 1, Evidence())
    posterior = infer([choice, later], ("length",), half_life=90 * DAY)
    sigma = 0.1 + 0.8 / (1.0 + np.exp([-3.0, 3.0, 0.0]))
    weighed = np.array([0.125, 0.125, 0.75]) * np.sqrt(sigma)
    assert posterior.positive_D[0] == pytest.approx(weighed[0] / weighed.sum())
    forever = infer([choice, later], ("length",), half_life=None)
    assert forever.mean_D[0] == pytest.approx(infer([choice], ("length",)).mean_D[0])


@pytest.mark.parametrize("half_life", [0, -1.0, float("nan")])
def test_a_half_life_is_above_zero(half_life: float) -> None:
    with pytest.raises(InvalidEventError, match="half_life has to be"):
        PreferenceMemory(embedder=WordEmbedder(), half_life=half_life)


def test_retractions_that_point_at_each_other_end() -> None:
    one = Recorded(Retraction("b", id="a", time=0.0), 0, Evidence())
    two = Recorded(Retraction("a", id="b", time=0.0), 1, Evidence())
    assert standing([one, two]) == []
    assert fold([one, two], CATALOGUE).preferences == ()


def stated(key: str, text: str, scope: str | None = None) -> Preference:
    return Preference(key if scope is None else f"{key}@{scope}", text, 1.0, 0.9, "stated", scope=scope)


GENERAL = stated("length:detailed", "be detailed and thorough")
CODE = stated("length:concise", "be concise and brief", "code")
PYTHON = stated("length:detailed", "be detailed and thorough", "python")
HERE = stated("length:concise", "be concise and brief", "thread:t1")


@pytest.mark.parametrize(
    ("preferences", "request_", "chosen", "reasons"),
    [
        ([GENERAL, CODE], Request(relevance={"code": 0.3}), [CODE], ["for code “be concise and brief” holds"]),
        (
            [GENERAL, CODE],
            Request(relevance={"code": -0.3}),
            [GENERAL],
            ["only for code, and the query is not about it"],
        ),
        ([GENERAL, CODE], Request(), [GENERAL], ["only for code, and there is no query"]),
        (
            [CODE, PYTHON],
            Request(relevance={"code": 0.1, "python": 0.4}),
            [PYTHON],
            ["for python “be detailed and thorough” holds"],
        ),
        ([GENERAL, HERE], Request(thread="t1"), [HERE], ["for this conversation “be concise and brief” holds"]),
        ([GENERAL, HERE], Request(thread="t2"), [GENERAL], ["only for another conversation"]),
        ([HERE], Request(), [], ["only for another conversation"]),
        ([GENERAL], Request(max_tokens=5), [], ["its 6 tokens do not fit the 5 that are left"]),
        ([GENERAL], Request(budget=0), [], ["only 0 steer at once"]),
    ],
)
def test_what_acts_where(
    preferences: list[Preference], request_: Request, chosen: list[Preference], reasons: list[str]
) -> None:
    items, left_out, _ = select(preferences, request_)
    assert list(items) == chosen
    assert [reason for _, reason in left_out] == reasons


def test_a_token_budget_skips_what_does_not_fit(memory: PreferenceMemory) -> None:
    for text in ("no jokes", "mention my dog Rex and my two cats whenever it makes sense"):
        memory.record("ida", Statement(text))
    size = count_tokens("be serious and do not joke")
    condition = memory.condition("ida", query="lions", max_tokens=size)
    assert [item.text for item in condition] == ["be serious and do not joke"]
    assert "tokens do not fit the 0 that are left" in condition.explain()
    with pytest.raises(InvalidEventError, match="max_tokens has to be a number of tokens"):
        memory.condition("ida", max_tokens=-1)


def test_the_population_helps_only_where_nothing_is_known(memory: PreferenceMemory) -> None:
    with PreferenceMemory(embedder=WordEmbedder(), scorer=PoleScorer(), tenant="crowd") as crowd:
        for number in range(19):
            crowd.record(f"u{number}", Statement("short answers"))
        assert crowd.survey() == Population(19, {})
        crowd.record("u19", Statement("short answers"))
        crowd.record("u19", Statement("my secret is 1234"))
        for number in range(4):
            crowd.record(f"u{number}", Statement("no jokes"))
        survey = crowd.survey()
        assert survey == Population(20, {"length:concise": 20})  # four are too few, and words are never counted
        assert Population.from_dict(survey.to_dict()) == survey
        assert "secret" not in str(survey)

        assert len(crowd.condition("new")) == 0
        crowd.population = survey
        (item,) = crowd.condition("new")
        assert (item.key, item.source, item.weight, item.confidence) == ("length:concise", "population", 0.5, 1.0)
        assert "what 100% of the others want" in crowd.condition("new").explain()
        assert crowd.profile("new").preferences == ()
        crowd.record("new", Statement("long answers"))
        assert [item.key for item in crowd.condition("new")] == ["length:detailed"]
        crowd.record("leans", Choice("q", "length:detailed", "length:concise"))
        assert len(crowd.condition("leans")) == 0
        assert Population(19, {"length:concise": 19}).preferences(crowd.profile("nobody"), CATALOGUE) == ()


def test_a_query_is_embedded_only_where_it_decides() -> None:
    embedder = Counting()
    with PreferenceMemory(embedder=embedder) as memory:
        memory.record("ada", Statement("short answers"))
        memory.record("ada", Statement("call me Sam"))
        memory.condition("ada")
        before = embedder.texts
        memory.condition("ada", query="what is a lion?")
        assert embedder.texts == before
        memory.condition("ada", query="what is a lion?", budget=1)
        assert embedder.texts == before + 1


def test_the_catalogue_is_embedded_once_for_all_processes(tmp_path: Path) -> None:
    first, second, damaged = Counting(), Counting(), Counting()
    read = Reader(CATALOGUE, first, tmp_path).read("short answers")
    assert Reader(CATALOGUE, second, tmp_path).read("short answers") == read
    assert first.texts > 800
    assert second.texts < 10
    (tmp_path / KEPT).write_bytes(b"PK\x03\x04 not really")
    assert Reader(CATALOGUE, damaged, tmp_path).read("short answers") == read
    assert damaged.texts == first.texts
    assert Reader(CATALOGUE[:4], Counting(), tmp_path).read("short answers") == read


def test_thumbs_do_not_need_words(memory: PreferenceMemory) -> None:
    memory.record("kai", Thumb("q", "length:concise", True))
    assert memory.history("kai") == ()
    assert memory.search("kai", "length") == ()


def test_search_ranks_by_meaning(memory: PreferenceMemory) -> None:
    for text in ("mention cats", "mention trains"):
        memory.record("lea", Statement(text))
    hits = memory.search("lea", "cats", limit=1)
    assert [item.text for item, _ in hits] == ["mention cats"]
    vectors_NE = embed(WordEmbedder(), ["cats", "mention cats"])
    assert hits[0][1] == pytest.approx(float(vectors_NE[0] @ vectors_NE[1]), abs=1e-4)


@pytest.mark.slow
def test_ten_thousand_wishes_of_one_user_are_read_once_each() -> None:
    embedder = Counting()
    with PreferenceMemory(embedder=embedder, values=Values(classifier=False)) as memory:
        memory.record("ada", Statement("mention topic 0", id="e0", time=1.0))
        export = memory.export("ada")
        first = json.dumps(export["events"][0])
        numbers = range(1, 10_000)
        export["events"] = [
            json.loads(first.replace("topic 0", f"topic {number}").replace('"e0"', f'"e{number}"'))
            for number in numbers
        ]
        assert memory.import_(export) == len(numbers)
        assert len(memory.profile("ada").preferences) == 10_000
        assert len(memory.condition("ada", "what of topic 7?", budget=5)) == 5
        memory.record("ada", Statement("mention herons"))  # each is read for the first time
        read, embedder.texts = _polarity.cache_info().misses, 0
        memory.record("ada", Statement("mention owls"))
        assert len(memory.condition("ada", "what of owls?", budget=5)) == 5
        assert _polarity.cache_info().misses - read < 10
        assert embedder.texts < 2 * NEWEST
        assert memory.forget("ada") > 10_000
        assert memory.users() == []
