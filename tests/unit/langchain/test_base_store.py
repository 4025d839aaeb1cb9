"""`PreferenceStore` as LangGraph's long-term store, on a real Chroma: contract, isolation, forgetting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, PutOp, SearchItem, SearchOp

from fakes import WordEmbedder
from pad_langchain import InvalidRequestError
from pad_langchain.langchain.store import PreferenceStore
from pad_memory import PreferenceMemory, Statement
from pad_memory.errors import InvalidEventError, InvalidUserError

# Ids that other systems took for patterns, paths, separators or other ids.
HOSTILE = [
    "ada", "ADA", " ada", "*", "%", "_", "ada%", "a*", "ada@example.com", "..", "ada/notes", "ada.notes", "a,b",
    '{"$ne": ""}', "'; DROP TABLE embeddings; --", "profile", "notes", "É", "E\u0301", "\u202eada", "0", "None",
]  # fmt: skip


@pytest.fixture(scope="module")
def shared_memory() -> Iterator[PreferenceMemory]:
    with PreferenceMemory(embedder=WordEmbedder()) as memory:
        yield memory


@pytest.fixture
def store(shared_memory: PreferenceMemory) -> Iterator[PreferenceStore]:
    yield PreferenceStore(shared_memory)
    for user in shared_memory.users():
        shared_memory.forget(user)


def test_put_get_replace_delete(store):
    notes = ("ada", "notes")
    assert store.get(notes, "dog") is None
    store.put(notes, "dog", {"name": "Rex", "age": 3, "toys": ["ball", None], "chip": {"on": True}})
    item = store.get(notes, "dog")
    assert item.value == {"name": "Rex", "age": 3, "toys": ["ball", None], "chip": {"on": True}}
    assert (item.namespace, item.key) == (notes, "dog")
    assert item.created_at == item.updated_at
    store.put(notes, "dog", {"name": "Max"})
    again = store.get(notes, "dog")
    assert again.value == {"name": "Max"}
    assert (again.created_at, again.updated_at > item.updated_at) == (item.created_at, True)
    assert store.get(("ada", "other"), "dog") is None
    store.delete(notes, "dog")
    store.delete(notes, "dog")
    assert store.get(notes, "dog") is None
    assert store.search(("ada",)) == []


def test_search_by_meaning_prefix_filter_and_page(store):
    for key, text, age in (("cat", "my cat is grey", 3), ("dog", "my dog is loud", 5), ("car", "my car is old", 9)):
        store.put(("ada", "notes", "pets" if age < 9 else "things"), key, {"text": text, "age": age})
    store.put(("ada", "notes"), "hidden", {"text": "grey cat"}, index=False)
    store.put(("ada", "notes"), "part", {"title": "grey cat", "text": "of no use"}, index=["text"])
    found = store.search(("ada",), query="grey cat")
    assert found[0].key == "cat"
    assert [item.score is None for item in found] == [False, False, False, False, True]
    assert [item.score for item in found[:4]] == sorted((item.score for item in found[:4]), reverse=True)
    assert found[0].score > 0.5 > found[1].score
    assert [item.key for item in store.search(("ada", "notes", "pets"))] == ["cat", "dog"]
    assert [item.key for item in store.search(("ada", "notes"), limit=2, offset=1)] == ["dog", "car"]
    assert [item.key for item in store.search(("ada",), filter={"age": 5})] == ["dog"]
    assert [item.key for item in store.search(("ada",), filter={"age": {"$gt": 3, "$lte": 9}})] == ["dog", "car"]
    assert [item.key for item in store.search(("ada",), filter={"age": {"$ne": 3}, "text": "my car is old"})] == ["car"]
    assert store.search(("ada", "not")) == []
    with pytest.raises(InvalidRequestError, match=r"operators \['\$eq', .* but got '\$in'"):
        store.search(("ada",), filter={"age": {"$in": [3]}})


def test_list_namespaces(store):
    for labels in ((), ("notes",), ("notes", "pets"), ("tasks", "pets")):
        store.put(("ada", *labels), "k", {"v": 1})
    store.put(("bob", "notes"), "k", {"v": 1})
    mine = store.list_namespaces(prefix=("ada",))
    assert mine == [("ada",), ("ada", "notes"), ("ada", "notes", "pets"), ("ada", "tasks", "pets")]
    assert store.list_namespaces(prefix=("ada",), max_depth=2) == [("ada",), ("ada", "notes"), ("ada", "tasks")]
    assert store.list_namespaces(prefix=("ada",), suffix=("pets",)) == mine[2:]
    assert store.list_namespaces(prefix=("ada", "*", "pets")) == mine[2:]
    assert store.list_namespaces(prefix=("ada",), limit=2, offset=1) == mine[1:3]
    assert store.list_namespaces(prefix=("eve",)) == []


def test_a_batch_runs_in_order(store):
    notes = ("ada", "notes")
    results = store.batch(
        [
            PutOp(notes, "a", {"v": 1}),
            GetOp(notes, "a"),
            PutOp(notes, "a", None),
            GetOp(notes, "a"),
            PutOp(notes, "b", {"v": 2}),
            SearchOp(("ada",)),
            ListNamespacesOp((MatchCondition("prefix", ("ada",)),)),
        ]
    )
    assert results[1].value == {"v": 1}
    assert [results[index] for index in (0, 2, 3, 4)] == [None] * 4
    assert [item.key for item in results[5]] == ["b"]
    assert results[6] == [notes]


async def test_async(store):
    notes = ("ada", "notes")
    await asyncio.gather(*(store.aput(notes, f"k{number}", {"v": number}) for number in range(8)))
    assert (await store.aget(notes, "k3")).value == {"v": 3}
    assert len(await store.asearch(("ada",), limit=20)) == 8
    assert await store.alist_namespaces(prefix=("ada",)) == [notes]
    await store.adelete(notes, "k3")
    assert await store.abatch([GetOp(notes, "k3"), GetOp(notes, "k4")]) == [None, store.get(notes, "k4")]


def test_the_user_may_stand_elsewhere(shared_memory, store):
    other = PreferenceStore(shared_memory, user_at=1)
    other.put(("notes", "ada", "x"), "k", {"v": 1})
    assert other.get(("notes", "ada", "x"), "k").namespace == ("notes", "ada", "x")
    assert [item.namespace for item in other.search(("notes", "ada"))] == [("notes", "ada", "x")]
    assert other.search(("tasks", "ada")) == []
    assert other.list_namespaces(prefix=("notes", "ada")) == [("notes", "ada", "x")]
    assert other.list_namespaces(prefix=("*", "ada")) == [("notes", "ada", "x")]
    assert store.get(("ada", "notes", "x"), "k").value == {"v": 1}, "it is the same item of the same user"
    with pytest.raises(InvalidRequestError, match="name its user at position 1"):
        other.search(("notes",))


# ---- the profile


def test_the_profile_is_shown_and_read_only(shared_memory, store):
    shared_memory.record("ada", Statement("call me Sam"))
    shared_memory.record("ada", Statement("short answers"))
    profile = ("ada", "profile")
    shown = store.search(profile)
    assert [item.value["text"] for item in shown] == ["be concise and brief", "call me Sam"]
    assert shown[0].key == "length:concise"
    assert (shown[0].value["source"], shown[0].value["weight"], shown[0].value["confidence"]) == ("stated", 1.0, 0.9)
    assert "in your own words: “short answers”" in shown[0].value["why"]
    assert store.get(profile, "length:concise").value == shown[0].value
    assert store.get(profile, "length:detailed") is None
    assert store.search(("ada",), query="call me Sam")[0].value["text"] == "call me Sam"
    assert store.list_namespaces(prefix=("ada",)) == [profile]
    assert store.search(("bob", "profile")) == []
    for write in (lambda: store.put(profile, "k", {"v": 1}), lambda: store.delete(profile, "length:concise")):
        with pytest.raises(InvalidRequestError, match=r"read-only.*memory\.record\(user, Statement"):
            write()
    assert len(shared_memory.profile("ada").preferences) == 2


def test_notes_do_not_steer(shared_memory, store):
    store.put(("ada", "notes"), "k", {"text": "never use emojis"})
    assert len(shared_memory.condition("ada")) == 0
    assert shared_memory.events("ada") == ()


# ---- users stay apart


def test_hostile_ids_are_just_ids(shared_memory, store):
    for number, user in enumerate(HOSTILE):
        store.put((user, "notes"), "k", {"owner": user, "text": "secret"})
        shared_memory.record(user, Statement(f"call me {number}"))
    for number, user in enumerate(HOSTILE):
        assert store.get((user, "notes"), "k").value["owner"] == user
        assert [item.value["owner"] for item in store.search((user, "notes"), query="secret")] == [user]
        assert [item.value["text"] for item in store.search((user, "profile"))] == [f"call me {number}"]
        assert store.list_namespaces(prefix=(user,)) == [(user, "notes"), (user, "profile")]
    for user in HOSTILE[::2]:
        store.delete((user, "notes"), "k")
    for number, user in enumerate(HOSTILE):
        assert (store.get((user, "notes"), "k") is None) == (number % 2 == 0)
    assert shared_memory.users() == sorted(HOSTILE)
    shared_memory.forget("*")
    assert shared_memory.users() == sorted(set(HOSTILE) - {"*"})


_LABELS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4).filter(str.strip)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_LABELS, _LABELS, st.lists(_LABELS, max_size=2), _LABELS)
def test_no_id_reads_what_another_wrote(store, user, other, labels, key):
    store.put((user, *labels), key, {"owner": user})
    assert store.get((user, *labels), key).value == {"owner": user} or labels == ["profile"]
    if other != user:
        for item in store.search((other,), limit=100):
            assert item.value == {"owner": other}
        found = store.get((other, *labels), key)
        assert found is None or found.value == {"owner": other}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda store: store.search(()), InvalidRequestError, r"name its user at position 0.*memory\.users\(\)"),
        (lambda store: store.list_namespaces(), InvalidRequestError, "name its user"),
        (lambda store: store.list_namespaces(suffix=("notes",)), InvalidRequestError, "name its user"),
        (lambda store: store.get((), "k"), InvalidRequestError, "name its user"),
        (lambda store: store.put(("", "n"), "k", {}), InvalidUserError, "not empty"),
        (lambda store: store.put(("u" * 2000, "n"), "k", {}), InvalidUserError, "at most 1024 bytes"),
        (lambda store: store.put((7, "n"), "k", {}), InvalidUserError, "but is 7"),
        (lambda store: store.put(("\ud800",), "k", {}), InvalidUserError, "valid Unicode"),
        (lambda store: store.put(("ada", ""), "k", {}), InvalidEventError, "label of a namespace"),
        (lambda store: store.put(("ada", None), "k", {}), InvalidEventError, "label of a namespace .* None"),
        (lambda store: store.put(("ada",), " ", {}), InvalidEventError, "key of an item"),
        (lambda store: store.put(("ada",), "k", {"v": float("nan")}), InvalidEventError, "what JSON can hold"),
        (lambda store: store.put(("ada",), "k", {"v": {1}}), InvalidEventError, "what JSON can hold"),
        (lambda store: store.put(("ada",), "k", {"v": {1: 2}}), InvalidEventError, "string keys"),
        (lambda store: store.put(("ada",), "k", {"v": "\udfff"}), InvalidEventError, "what JSON can hold"),
        (lambda store: store.put(("ada",), "k", {}, ttl=3), NotImplementedError, "without a ttl"),
        (lambda store: store.batch(["put"]), InvalidRequestError, "but is 'put'"),
        (lambda store: PreferenceStore(store.memory, user_at=-1), InvalidRequestError, "user_at has to be"),
    ],
)
def test_bad_input_is_refused(store, call, error, message):
    with pytest.raises(error, match=message):
        call(store)
    assert store.memory.users() == []


# ---- kept, exported, forgotten


def test_items_outlive_a_restart_and_forget_leaves_no_byte(tmp_path: Path):
    path = tmp_path / "memory"
    with PreferenceMemory(path, embedder=WordEmbedder()) as memory:
        store = PreferenceStore(memory)
        store.put(("ada", "notes"), "kestrel", {"text": "zanzibar"})
        store.put(("eve", "notes"), "osprey", {"text": "timbuktu"})
        store.delete(("eve", "notes"), "osprey")
        store.put(("bob", "notes"), "k", {"text": "lisbon"})
    with PreferenceMemory(path, embedder=WordEmbedder()) as memory:
        store = PreferenceStore(memory)
        assert store.search(("ada",), query="zanzibar")[0].score == pytest.approx(1.0, abs=1e-5)
        assert memory.users() == ["ada", "bob"]
        assert memory.forget("ada") == 1
        memory.forget("eve")
        assert store.search(("ada",)) == []
        assert store.get(("bob", "notes"), "k").value == {"text": "lisbon"}
    written = b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())
    assert b"lisbon" in written
    assert [word for word in (b"zanzibar", b"kestrel", b"timbuktu", b"osprey") if word in written] == []


def test_export_and_import(tmp_path: Path):
    with PreferenceMemory(tmp_path / "a", embedder=WordEmbedder()) as memory:
        store = PreferenceStore(memory)
        store.put(("ada", "notes"), "a", {"text": "zanzibar"})
        store.put(("ada", "notes"), "b", {"text": "lisbon"}, index=False)
        memory.record("ada", Statement("short answers"))
        exported, before = memory.export("ada"), store.search(("ada",), query="zanzibar")
    with PreferenceMemory(tmp_path / "b", embedder=WordEmbedder()) as memory:
        store = PreferenceStore(memory)
        store.put(("ada", "notes"), "b", {"text": "newer"})
        assert memory.import_(exported) == 2
        assert memory.import_(exported) == 0
        assert store.get(("ada", "notes"), "a") == _plain(before[0])
        assert store.get(("ada", "notes"), "b").value == {"text": "newer"}
        assert store.search(("ada",), query="zanzibar")[0].score == pytest.approx(before[0].score)
        with pytest.raises(InvalidEventError, match="not an exported item"):
            memory.import_({**exported, "items": [{"key": "c"}]})


def _plain(item: SearchItem) -> Item:
    return Item(**{name: getattr(item, name) for name in ("namespace", "key", "value", "created_at", "updated_at")})


def test_a_graph_uses_it_as_its_store(store):
    def remember(state: MessagesState, runtime: Runtime) -> dict:
        runtime.store.put(("ada@example.com", "notes"), "last", {"text": state["messages"][-1].text})
        return {"messages": []}

    graph = StateGraph(MessagesState)
    graph.add_node("remember", remember)
    graph.add_edge(START, "remember")
    compiled = graph.compile(store=store)
    compiled.invoke({"messages": [("human", "hello")]})
    assert store.get(("ada@example.com", "notes"), "last").value == {"text": "hello"}
    asyncio.run(compiled.ainvoke({"messages": [("human", "again")]}))
    assert store.get(("ada@example.com", "notes"), "last").value == {"text": "again"}
