"""A GGUF file behind the faces: the text of the model it was made from, on whichever engine."""

import importlib.util
from pathlib import Path

import pytest

from gguf_models import to_gguf
from pad_langchain import ChatPAD, unload
from pad_langchain.chat.engines import shared_pair
from pad_langchain.errors import IncompatibleModelError, ModelLoadError
from pad_langchain.testing import HashEmbedder, tiny_head, tiny_model, tiny_pair
from pad_memory import PreferenceMemory, Thumb

BINDING = importlib.util.find_spec("llama_cpp") is not None
BACKENDS = [
    "torch",
    pytest.param("llama.cpp", marks=pytest.mark.skipif(not BINDING, reason="needs make llama-cpp: no binding")),
]
QUESTION = "what is an element?"


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """A tiny pair: its folder, its GGUF file in one and in several parts, and its head."""
    folder = tmp_path_factory.mktemp("pair")
    base, persrm = tiny_pair().save(folder)
    whole = to_gguf(base, folder / "whole.gguf")
    parts = folder / "parts"
    parts.mkdir()
    to_gguf(base, parts / "tiny.gguf", split=8)
    return {"folder": str(base), "file": str(whole), "parts": str(parts), "head": str(persrm)}


@pytest.fixture(scope="module", autouse=True)
def gguf_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAD_LANGCHAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
        unload()


def settings(backend: str) -> dict:
    """float32 everywhere, so that both engines compute alike."""
    if backend == "torch":
        return {"backend": backend, "dtype": "float32"}
    return {"backend": backend, "engine_settings": {"kv_type": "f32"}}


@pytest.mark.parametrize("name", ["file", "parts"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_answers_as_its_model(backend, name, places):
    said = {"max_tokens": 12, "reward_model": None}
    own = ChatPAD(model=places["folder"], dtype="float32", **said).invoke(QUESTION)
    llm = ChatPAD(model=places[name], **said, **settings(backend))
    answer = llm.invoke(QUESTION)
    assert (answer.content, answer.usage_metadata) == (own.content, own.usage_metadata)
    assert llm.get_token_ids("an element") == ChatPAD(model=places["folder"]).get_token_ids("an element")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_head_steers_a_file_as_its_model(backend, places):
    said = {"max_tokens": 12, "reward_model": places["head"], "embedder": HashEmbedder(), "beta": 2.0}
    asked = {"preference": [("be brief", 1.0), ("formal", -0.5)]}
    own = ChatPAD(model=places["folder"], dtype="float32", **said).invoke(QUESTION, **asked)
    answer = ChatPAD(model=places["file"], **said, **settings(backend)).invoke(QUESTION, **asked)
    assert answer.content == own.content
    assert (
        answer.content
        != ChatPAD(model=places["folder"], dtype="float32", **said).invoke(QUESTION, **asked, beta=0).content
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_llama_index_takes_a_file(backend, places):
    llama_index = pytest.importorskip("pad_langchain.llama_index")
    own = llama_index.PADLLM(model=places["folder"], dtype="float32", max_tokens=12, reward_model=None)
    llm = llama_index.PADLLM(model=places["file"], max_tokens=12, reward_model=None, **settings(backend))
    assert llm.complete(QUESTION).text == own.complete(QUESTION).text
    assert llm.metadata.context_window == own.metadata.context_window == 512


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_memory_learns_from_a_files_answers(backend, places):
    """The PersRM on the file judges what the user thought of an answer, as it does on the model's folder."""
    found = []
    for model, said in ((places["folder"], {"dtype": "float32"}), (places["file"], settings(backend))):
        with PreferenceMemory(embedder=HashEmbedder()) as memory:
            llm = ChatPAD(model=model, reward_model=places["head"], memory=memory, max_tokens=8, **said)
            answer = llm.invoke(QUESTION, user_id="ada")
            memory.record("ada", Thumb(prompt=QUESTION, response=answer.text, up=False))
            told = {
                **said.get("engine_settings", {}),
                **{name: said[name] for name in said if name != "engine_settings"},
            }
            pair = shared_pair(model, places["head"], embedder=memory.embedder, **told)
            found.append(pair.persrm.score(QUESTION, answer.text, ["be brief", "formal"]))
            assert memory.profile("ada").pending == 0
    assert found[0] == pytest.approx(found[1], rel=1e-3)  # llama.cpp multiplies in 16 bits


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_head_of_another_base_is_refused(backend, places, tmp_path):
    tiny_head(tiny_model(hidden_size=64)).save_pretrained(tmp_path)
    with pytest.raises(IncompatibleModelError, match=r"\(64, 400\), but the base has \(32, 400\)"):
        shared_pair(places["file"], str(tmp_path), embedder=HashEmbedder(), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_are_given_back_and_loaded_anew(backend, places):
    llm = ChatPAD(model=places["file"], max_tokens=4, reward_model=None, **settings(backend))
    before = llm.invoke(QUESTION).content
    assert unload(places["file"])
    assert llm.invoke(QUESTION).content == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_that_is_replaced_is_loaded_anew(backend, places, tmp_path, monkeypatch):
    monkeypatch.setattr("pad_langchain.chat.engines.LOOK", 0.0)  # a fast machine writes it within that time
    path, other = Path(tmp_path / "model.gguf"), tmp_path / "other"
    path.write_bytes(Path(places["file"]).read_bytes())
    llm = ChatPAD(model=str(path), max_tokens=8, reward_model=None, **settings(backend))
    before = llm.invoke(QUESTION).content
    model, tokenizer = tiny_model(seed=7), tiny_pair().tokenizer
    model.save_pretrained(other)
    tokenizer.save_pretrained(other)
    new = to_gguf(other, tmp_path / "new.gguf")
    new.replace(path)
    assert llm.invoke(QUESTION).content != before


def test_a_cut_file_is_refused_on_every_engine(places, tmp_path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(Path(places["file"]).read_bytes()[:-5000])
    with pytest.raises(ModelLoadError, match="is cut: its tensors need"):
        ChatPAD(model=str(path)).invoke(QUESTION)
