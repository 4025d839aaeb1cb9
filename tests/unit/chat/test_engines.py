"""Weights in a process that lives long: loaded beside other calls, loaded anew, given back."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fresh import run_program
from pad_langchain import ChatPAD, unload
from pad_langchain.chat.engines import said, shared_pair
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request
from pad_langchain.models.fingerprint import fingerprint
from pad_langchain.persrm import build
from pad_langchain.testing import paused, tiny_head, tiny_model, tiny_pair, tiny_tokenizer
from pad_memory import PreferenceMemory
from waiting import PATIENCE, until

QUESTION = "what is an element?"
ASKED = Request([{"role": "user", "content": QUESTION}], max_tokens=12)


@pytest.fixture(autouse=True)
def look_each_time(monkeypatch):
    """Files are looked at by each call, though tiny models are written within the time that they count as they were."""
    monkeypatch.setattr("pad_langchain.chat.engines.LOOK", 0.0)


def test_callers_that_come_together_look_at_the_files_once(tmp_path, monkeypatch):
    folder, looks = saved(tmp_path, 1), []
    monkeypatch.setattr("pad_langchain.chat.engines.fingerprint", lambda *said: looks.append(said) or "the same")
    monkeypatch.setattr("pad_langchain.chat.engines.LOOK", 60.0)
    first = shared_pair(folder, None)
    seen = len(looks)
    assert all(shared_pair(folder, None) is first for _ in range(5))
    assert len(looks) == seen > 0


def saved(folder, seed=0, **sizes):
    """A tiny base alone in a folder."""
    tiny_model(seed, **sizes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def fresh(seed):
    """What a fresh process says with the weights of this seed."""
    with TorchEngine(tiny_model(seed), tiny_tokenizer()) as engine:
        return engine.submit(ASKED).result(PATIENCE).text


def chat(folder, reward_model=None, **settings):
    return ChatPAD(model=folder, reward_model=reward_model, max_tokens=12, **settings)


# ---- loaded anew


def test_a_model_that_was_trained_again_answers_with_its_new_weights(tmp_path):
    llm = chat(saved(tmp_path, 1))
    assert llm.invoke(QUESTION).text == fresh(1)
    saved(tmp_path, 2)
    assert llm.invoke(QUESTION).text == chat(str(tmp_path)).invoke(QUESTION).text == fresh(2) != fresh(1)
    engine = shared_pair(str(tmp_path), None).engine
    (tmp_path / "train.log").write_text("no weights")
    assert shared_pair(str(tmp_path), None).engine is engine


def test_a_persrm_that_was_trained_again_steers_and_judges(tmp_path):
    pair = tiny_pair()
    base, persrm = map(str, pair.save(tmp_path))
    with PreferenceMemory(embedder=pair.embedder) as memory:
        llm = chat(base, persrm, memory=memory, embedder=pair.embedder, beta=2.0)
        before, old = llm.invoke(QUESTION, preference="be brief").text, memory.scorer
        again = replace(pair, head=tiny_head(pair.model, 7, embedder=pair.embedder))
        again.head.save_pretrained(persrm)
        now = llm.invoke(QUESTION, preference="be brief").text
        assert memory.scorer is shared_pair(base, persrm, embedder=pair.embedder).persrm is not old
    folders = map(str, again.save(tmp_path / "fresh"))
    assert (
        now == chat(*folders, embedder=pair.embedder, beta=2.0).invoke(QUESTION, preference="be brief").text != before
    )


def test_a_folder_that_is_gone_changes_nothing(tmp_path):
    llm = chat(saved(tmp_path / "base", 1))
    before = llm.invoke(QUESTION).text
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    assert llm.invoke(QUESTION).text == before


def test_a_closed_engine_is_forgotten(tmp_path):
    llm = chat(saved(tmp_path, 1))
    before = llm.invoke(QUESTION).text
    closed = shared_pair(str(tmp_path), None).engine
    closed.close()
    assert closed.closed
    assert llm.invoke(QUESTION).text == chat(str(tmp_path)).invoke(QUESTION).text == before
    assert shared_pair(str(tmp_path), None).engine is not closed


def test_fingerprints(tmp_path):
    assert fingerprint(str(tmp_path)) is None
    folder = saved(tmp_path / "base")
    before = fingerprint(folder)
    assert before == fingerprint(folder) == fingerprint(folder, {"revision": "main"})
    (Path(folder) / "sub").mkdir()
    (Path(folder) / "sub" / "config.json").write_text("{}")
    assert fingerprint(folder) == before != fingerprint(folder, {"subfolder": "sub"})
    config = Path(folder) / "config.json"
    config.write_text(config.read_text() + " ")
    assert fingerprint(folder) != before
    assert fingerprint(str(config)) not in (None, fingerprint(folder))
    assert fingerprint("no/such/hub/id") is None
    assert fingerprint("org/absent") is None


def test_a_hub_id_is_its_commit(tmp_path):
    place = tmp_path / "models--org--chat"
    (place / "refs").mkdir(parents=True)
    for revision, commit in (("main", "a" * 40), ("v2", "b" * 40)):
        saved(place / "snapshots" / commit)
        (place / "refs" / revision).write_text(commit)
    there = {"cache_dir": str(tmp_path)}
    assert str(fingerprint("org/chat", there)).endswith("a" * 40)
    assert str(fingerprint("org/chat", {**there, "revision": "v2"})).endswith("b" * 40)


# ---- beside others


def test_calls_go_on_while_another_model_loads(tmp_path, monkeypatch):
    first, second = chat(saved(tmp_path / "a", 1)), chat(saved(tmp_path / "b", 2))
    first.invoke(QUESTION)
    loading, go_on = threading.Event(), threading.Event()
    load = build.load_causal_lm

    def slowly(*args, **kwargs):
        loading.set()
        assert go_on.wait(PATIENCE)
        return load(*args, **kwargs)

    monkeypatch.setattr(build, "load_causal_lm", slowly)
    answers = []
    loader = threading.Thread(target=lambda: answers.append(second.invoke(QUESTION).text))
    caller = threading.Thread(target=lambda: answers.append(first.invoke(QUESTION).text))
    loader.start()
    assert loading.wait(PATIENCE)
    caller.start()
    caller.join(PATIENCE / 2)
    waited = not answers
    go_on.set()
    loader.join(PATIENCE)
    caller.join(PATIENCE)
    assert not waited
    assert answers == [fresh(1), fresh(2)]


def test_many_first_callers_load_once(tmp_path, monkeypatch):
    folder, loads, load = saved(tmp_path), [], build.load_causal_lm
    monkeypatch.setattr(build, "load_causal_lm", lambda *a, **k: loads.append(a) or load(*a, **k))
    callers = [threading.Thread(target=shared_pair, args=(folder, None)) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE)
    assert len(loads) == 1


# ---- given back


UNLOAD = """
import gc, sys, weakref
from pathlib import Path
from pad_langchain import ChatPAD, unload
from pad_langchain.chat.engines import shared_pair

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

folder = sys.argv[1]
llm = ChatPAD(model=folder, reward_model=None, max_tokens=12, engine_settings={"pack_weights": False})
llm.invoke("what is an element?")
engine = shared_pair(folder, None, pack_weights=False).engine
size = sum(weight.nbytes for weight in engine.base.model.parameters())
weights = weakref.ref(engine.base.model)
del engine
loaded = resident()
print(size > 100e6, unload(folder), weights() is None, loaded - resident() > 0.7 * size)
print(bool(llm.invoke("what is an element?").text))  # it comes back when it is asked
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured in /proc")
def test_unload_returns_the_memory(tmp_path):
    """In a process of its own: what others allocate and free meanwhile is not looked at."""
    done = run_program(UNLOAD, saved(tmp_path, 1, hidden_size=1024, layers=6, heads=8))
    assert (done.returncode, done.stdout.split()) == (0, ["True"] * 5), done.stderr


def test_unload_takes_the_persrm_out_of_memories(tmp_path):
    pair = tiny_pair()
    base, persrm = map(str, pair.save(tmp_path))
    with PreferenceMemory(embedder=pair.embedder) as memory:
        llm = chat(base, persrm, memory=memory)
        llm.invoke(QUESTION, user_id="ada")
        assert memory.scorer is not None
        assert unload(base)
        assert memory.scorer is None
        llm.invoke(QUESTION, user_id="ada")
        assert memory.scorer is not None


def test_unload_lets_answers_end(tmp_path):
    folder = saved(tmp_path, 1)
    llm = chat(folder)
    before, answers = llm.invoke(QUESTION).text, []
    engine = shared_pair(folder, None).engine
    with paused(engine):
        caller = threading.Thread(target=lambda: answers.append(llm.invoke(QUESTION).text))
        caller.start()
        until(lambda: shared_pair(folder, None).engine.waiting)
        assert not unload(folder, timeout=0.0)
    caller.join(PATIENCE)
    assert answers == [before]
    engine_gone = weakref.ref(engine)
    del engine
    assert unload(folder)
    assert engine_gone() is None


def test_unload_gives_back_one_model_or_all(tmp_path):
    folders = [saved(tmp_path / name, seed) for seed, name in enumerate("ab")]
    engine = [weakref.ref(shared_pair(folder, None).engine) for folder in folders]
    assert unload(folders[0])
    assert engine[0]() is None
    assert engine[1]() is not None
    unload()
    assert engine[1]() is None
    assert unload("never/loaded")


def test_an_engine_that_nobody_has_ends_its_thread(tmp_path):
    engine = TorchEngine(tiny_model(3), tiny_tokenizer())
    base, stream = weakref.ref(engine.base.model), engine.submit(ASKED)
    del engine
    gc.collect()
    assert stream.result(PATIENCE).text == fresh(3)

    def gone() -> bool:
        gc.collect()
        return base() is None

    until(gone)


# ---- names of settings


def test_settings_are_told_apart_by_what_they_hold():
    class Config:
        def __init__(self, bits):
            self.bits = bits

    assert said({"config": Config(4)}) == said({"config": Config(4)}) != said({"config": Config(8)})
    assert said({"a": 1, "b": [{2, 1}]}) == said({"b": [{1, 2}], "a": 1})
    assert said({"dtype": torch.float32}) != said({"dtype": torch.float16})
    assert said("1") != said(1)
