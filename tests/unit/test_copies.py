"""Copies and pickles of everything public: the original is unharmed, and what comes back works or says why not."""

from __future__ import annotations

import copy
import operator
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import pad_langchain
import pad_memory
from pad_langchain import PADLLM, ChatPAD, PADForCausalLM, PersRM, PreferenceMiddleware, PreferenceStore
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.langchain.reader import ChatReader
from pad_langchain.llama_index import PADEmbedding, PreferenceMemoryBlock
from pad_langchain.testing import HashEmbedder, tiny_pair, tiny_tokenizer
from pad_memory import (
    CATALOGUE,
    Calibration,
    Choice,
    Critique,
    Edit,
    EmbeddingScorer,
    Population,
    PreferenceMemory,
    Rating,
    ResponseLog,
    Retraction,
    SentenceEmbedder,
    SignScorer,
    Statement,
    Thumb,
    Values,
)
from pad_memory.errors import StoreClosedError

WISH = "be concise and brief"
SCHEMA = {"title": "Answer", "type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}


def through_pickle(one):
    return pickle.loads(pickle.dumps(one))


def through_cloudpickle(one):
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(one))


def model_copy(one):
    return one.model_copy(deep=True) if hasattr(one, "model_copy") else copy.deepcopy(one)


WAYS = [through_pickle, through_cloudpickle, copy.copy, copy.deepcopy, model_copy]


@pytest.fixture(scope="module")
def used():
    with PreferenceMemory(embedder=HashEmbedder(), values=Values(floor=(("be honest", 0.5),))) as memory:
        memory.record("ada", Statement(WISH))
        memory.record("ada", Thumb(prompt="a", response="b", up=True))
        yield memory


def condition_of(answer):
    return answer.response_metadata["pad"]["condition"]


def generated(model):
    inputs = model.encode(tiny_tokenizer(), ["hello"], [[WISH]], embedder=HashEmbedder())
    return model.generate(**inputs, max_new_tokens=4).tolist()


def itself(one):
    return one


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


@pytest.fixture(scope="module")
def things(folders, used):
    """Name → (the object, what it does), used before it is copied."""
    base, head = folders
    settings = {"model": base, "reward_model": head, "memory": used, "user_id": "ada", "max_tokens": 16}
    chat, llm = ChatPAD(**settings), PADLLM(**settings)
    persrm = PersRM.from_pretrained(head, base=base, embedder=HashEmbedder())
    scored = lambda scorer: scorer("a", "b c d", [WISH]).tolist()  # noqa: E731
    asked = lambda model: condition_of(model.invoke("hi"))  # noqa: E731
    profile = used.profile("ada")
    return {
        "ChatPAD": (chat, asked),
        "bound": (chat.bind_tools([SCHEMA | {"description": "."}], tool_choice="none"), asked),
        "structured": (chat.with_structured_output(SCHEMA), lambda chain: chain.invoke("hi").keys()),
        "PADLLM": (llm, lambda model: model.complete("hi").raw["pad"]["condition"]),
        "PADEmbedding": (PADEmbedding(embedder=HashEmbedder()), lambda one: one.get_text_embedding("a lion")),
        "default PADEmbedding": (PADEmbedding(), lambda one: one.get_text_embedding("a lion")),
        "PreferenceMemoryBlock": (
            PreferenceMemoryBlock(memory=used, user_id="ada"),
            lambda block: (block.memory.condition("ada").explain(), block.budget),
        ),
        "PreferenceMiddleware": (
            PreferenceMiddleware(used, learn=True),
            lambda one: (one.memory.condition("ada").explain(), one.learn),
        ),
        "PreferenceStore": (PreferenceStore(used), lambda one: len(one.search(("ada", "profile")))),
        "PersRM": (persrm, scored),
        "PADForCausalLM": (PADForCausalLM.compose(base, head), generated),
        "PreferenceMemory": (used, lambda one: one.condition("ada").explain()),
        "AsyncMemory": (used.aio, lambda one: type(one).__name__),
        "SentenceEmbedder": (SentenceEmbedder(), lambda one: one.embed(["a lion"]).tolist()),
        "EmbeddingScorer": (EmbeddingScorer(HashEmbedder()), scored),
        "SignScorer": (SignScorer(), scored),
        "ChatReader": (ChatReader(chat), lambda reader: type(reader).__name__),
        "Reader": (used.reader, lambda reader: reader.read(WISH)),
        "Preference": (profile.preferences[0], itself),
        "Profile": (profile, lambda one: one.to_json()),
        "Condition": (used.condition("ada"), lambda one: one.explain()),
        "Question": (used.next_question("ada"), itself),
        "Values": (Values(floor=(("be honest", 0.5),)), itself),
        "Population": (Population(20, {"length:concise": 9}), itself),
        "ResponseLog": (ResponseLog(per_user=7), lambda log: (log.per_user, len(log))),
        "Calibration": (Calibration({"length": 1.0}), itself),
        "CATALOGUE": (CATALOGUE, itself),
        "Dimension": (CATALOGUE[0], itself),
        "Pole": (CATALOGUE[0].poles[0], itself),
        "Statement": (Statement(WISH), itself),
        "Thumb": (Thumb(prompt="a", response="b", up=True), itself),
        "Rating": (Rating(prompt="a", response="b", rating=4), itself),
        "Choice": (Choice(prompt="a", chosen="b", rejected="c"), itself),
        "Edit": (Edit(prompt="a", response="b", edited="c"), itself),
        "Critique": (Critique(prompt="a", response="b", text="too long"), itself),
        "Retraction": (Retraction("x"), itself),
        "errors": (
            [kind("why") for root in (pad_langchain.PadError, pad_memory.PadMemoryError) for kind in subclasses(root)],
            lambda errors: [(type(error), str(error)) for error in errors],
        ),
    }


# What is no object of its own: Protocols, base classes and functions, which pickle by name.
BY_NAME = {"Embedder", "Scorer", "Feedback", "from_langsmith", "reembed", "server_of", "__version__", "unload"}


def test_the_table_has_all_public_names(things):
    public = {name for place in (pad_langchain, pad_memory, pad_langchain.llama_index) for name in dir_of(place)}
    assert {name for name in public if not name.endswith("Error")} - BY_NAME <= things.keys()


def dir_of(place):
    return set(place.__all__) | (set(dir(place)) if place is pad_langchain else set())


@pytest.mark.parametrize("way", WAYS)
def test_copies_work_and_originals_work_on(things, way):
    for name, (one, does) in things.items():
        before = does(one)
        copied = way(one)
        assert type(copied) is type(one), name
        np.testing.assert_equal(does(copied), before, err_msg=f"the copy of {name}")
        np.testing.assert_equal(does(one), before, err_msg=f"{name} itself")


@pytest.mark.parametrize("way", WAYS)
def test_copies_share_the_memory(things, used, way):
    assert way(used) is used
    for name in ("ChatPAD", "PADLLM", "PreferenceMemoryBlock", "PreferenceMiddleware", "PreferenceStore"):
        assert way(things[name][0]).memory is used, name
    embedder = things["default PADEmbedding"][0].embedder
    if way in (copy.copy, copy.deepcopy, model_copy):
        assert way(embedder) is embedder, "the weights are there once"


def test_a_persrm_is_not_tied_to_its_copy(things):
    persrm, scored = things["PersRM"]
    before, copied = scored(persrm), copy.deepcopy(persrm)
    for weight in copied.head.parameters():
        weight.data.zero_()
    assert scored(persrm) == before != scored(copied)


def test_what_cannot_be_pickled_says_so_and_lives_on():
    class Here:
        """Not to be found by name in another process."""

        name = "here"

        def embed(self, texts):
            return np.eye(len(texts), 4, dtype=np.float32)

    embedding = PADEmbedding(embedder=Here())
    with pytest.raises((pickle.PicklingError, AttributeError), match="Here"):
        pickle.dumps(embedding)
    assert embedding.get_text_embedding("a") == [1.0, 0.0, 0.0, 0.0]


def test_an_engine_says_that_it_cannot_be_copied():
    made = tiny_pair()
    with TorchEngine(made.model, made.tokenizer) as engine:
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="An engine has a thread and cannot be copied or pickled"):
                way(engine)


# ---- other processes

ARRIVES = """
import pickle, sys
from pad_memory.errors import StoreClosedError
chat, llm, memory, embedding, plain = pickle.load(open(sys.argv[1], "rb"))
print(embedding.get_text_embedding("a lion")[:2])
print(plain.invoke("hi").text)
for call in (lambda: memory.profile("ada"), lambda: chat.invoke("hi"), lambda: llm.complete("hi")):
    try:
        print(call())
    except StoreClosedError as error:
        print(error)
print(memory.tenant, len(memory.catalogue))
memory.close()
"""


@pytest.mark.slow
def test_in_another_process_a_memory_in_a_folder_says_why_it_is_closed(things, folders, used, tmp_path):
    plain = ChatPAD(model=folders[0], reward_model=None, max_tokens=16)
    embedding = things["PADEmbedding"][0]
    path = tmp_path / "things.pickle"
    path.write_bytes(pickle.dumps([things["ChatPAD"][0], things["PADLLM"][0], used, embedding, plain]))
    run = subprocess.run([sys.executable, "-c", ARRIVES, path], capture_output=True, text=True, timeout=240)
    lines = run.stdout.splitlines()
    assert lines[0] == str(embedding.get_text_embedding("a lion")[:2]), run.stderr
    answer, calls = "\n".join(lines[1:-4]), lines[-4:-1]
    assert answer == plain.invoke("hi").text
    assert all("another process has open" in line and "url=" in line for line in calls), calls
    assert lines[-1] == f"default {len(CATALOGUE)}"
    assert used.condition("ada")


def test_a_memory_on_a_server_that_does_not_answer_says_so_at_its_first_call(used):
    elsewhere = PreferenceMemory.__new__(PreferenceMemory)
    elsewhere.__setstate__(replace(used.__reduce__()[2], url="http://127.0.0.1:9"))
    with pytest.raises(StoreClosedError, match=r"could not be opened here: .*127\.0\.0\.1:9"):
        elsewhere.profile("ada")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_gets_no_memory_of_its_parent(used):
    data = pickle.dumps(used)
    child = os.fork()
    if not child:  # nothing of pytest may run on here
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # the end of one that hangs
        os._exit(0 if says_why(pickle.loads(data)) else 1)
    assert os.waitpid(child, 0)[1] == 0


def says_why(memory):
    try:
        memory.users()
    except StoreClosedError:
        return True
    return False


def test_workers_of_joblib(things):
    joblib = pytest.importorskip("joblib")
    embedding = things["PADEmbedding"][0]
    ask = joblib.delayed(operator.methodcaller("get_text_embedding", "a lion"))
    found = joblib.Parallel(n_jobs=2)(ask(embedding) for _ in range(2))
    assert found == [embedding.get_text_embedding("a lion")] * 2
