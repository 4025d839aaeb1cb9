"""A base on servers and a head here: what is read, what is refused, and what judges answers."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_vllm import FakeVllm, decoder, fingerprint_of
from gguf_models import to_gguf
from pad_langchain import ChatPAD
from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.chat.engines import shared_pair, unload
from pad_langchain.engine.remote import RemoteEngine
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError, ModelLoadError
from pad_langchain.persrm import PersRM, load_pair
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import PreferenceMemory, Thumb

URL = "http://127.0.0.1:9"  # nothing is there
QUESTION = "what is an element?"


def test_nothing_is_asked_of_servers_and_no_weights_are_read(folders: tuple[str, str], tmp_path: Path) -> None:
    base, persrm = folders
    for name in Path(base).iterdir():
        if name.suffix != ".safetensors":
            shutil.copy(name, tmp_path)
    pair = load_pair(str(tmp_path), persrm, url=URL, embedder=HashEmbedder(), max_batch=4, timeout=3)
    with pair.engine as engine:
        assert isinstance(engine, RemoteEngine)
        assert (engine.context, engine.guided, engine.settings.max_batch) == (512, True, 4)
        assert engine.end_tokens == {tiny_pair().tokenizer.eos_token_id}
        assert engine.alive
        assert not engine.ready()


def test_a_gguf_file_is_a_tokenizer_too(folders: tuple[str, str], tmp_path: Path) -> None:
    file = to_gguf(folders[0], tmp_path / "tiny.gguf")
    with load_pair(file, folders[1], url=[URL], embedder=HashEmbedder()).engine as engine:
        assert engine.context == 512
        assert engine.prompts.encode("tea") == tiny_pair().tokenizer.encode("tea")


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"reward_model": "self"}, IncompatibleModelError, "second row"),
        ({"reward_model": "BASE"}, IncompatibleModelError, "is no head"),
        ({"reward_model": tiny_pair().head}, IncompatibleModelError, "cannot be a VectorHead"),
        ({"model": tiny_pair().model}, InvalidRequestError, "has to name the tokenizer's folder"),
        ({"device": "cuda"}, InvalidRequestError, r"\['device'\] are for models that are loaded"),
        ({"prefix_tokens": 9, "threads": 2}, InvalidRequestError, r"\['prefix_tokens', 'threads'\] are for models"),
        ({"timeout": 0}, InvalidRequestError, "timeout has to be seconds above 0"),
        ({"retires": 1}, InvalidRequestError, "Did you mean 'retries'"),
        ({"url": "vllm:8000"}, InvalidRequestError, "url has to be an address"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    folders: tuple[str, str], said: dict[str, Any], error: type[Exception], message: str
) -> None:
    base, persrm = folders
    asked = {"model": base, "reward_model": persrm, "url": URL, "embedder": HashEmbedder(), **said}
    if asked["reward_model"] == "BASE":
        asked["reward_model"] = base
    with pytest.raises(error, match=message):
        load_pair(**asked)


def test_a_head_of_another_base_is_refused(folders: tuple[str, str]) -> None:
    from places import DEMO

    with pytest.raises(IncompatibleModelError, match=r"hidden size, vocabulary.*\(256, 4096\)"):
        load_pair(folders[0], str(DEMO / "persrm"), url=URL)


def test_a_head_without_its_weights_does_not_load(folders: tuple[str, str], tmp_path: Path) -> None:
    shutil.copy(Path(folders[1]) / "persrm_head.json", tmp_path)
    with pytest.raises(ModelLoadError, match=r"has no persrm_head\.safetensors"):
        load_pair(folders[0], str(tmp_path), url=URL)


def test_auto_is_no_second_row_where_no_head_fits(folders: tuple[str, str]) -> None:
    pair = shared_pair(folders[0], "auto", url=(URL,))
    assert not pair.engine.guided
    assert pair.persrm is None
    del pair
    gc.collect()
    assert unload(folders[0])


def test_what_feedback_says_of_answers_waits_for_a_scorer(folders: tuple[str, str]) -> None:
    base, persrm = folders
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        settings = ChatSettings(reward_model=persrm, memory=memory, url=URL)
        chat = Chat.of(base, settings)
        assert memory.scorer is None
        memory.record("ada", Thumb("what is tea?", "Tea is a drink.", up=True))
        assert memory.profile("ada").pending == 1
        memory.scorer = lambda prompt, response, preferences: np.arange(len(preferences), dtype=float)
        assert memory.profile("ada").pending == 0
        assert chat.persrm is not None
        with pytest.raises(InvalidRequestError, match=r"weights of .* are on a server"):
            chat.persrm.score("what is tea?", "Tea is a drink.", ["be concise"])
        chat.engine.close()


def test_a_head_that_counts_signs_judges_without_its_base(folders: tuple[str, str], tmp_path: Path) -> None:
    tiny_pair().head.save_pretrained(tmp_path, signs=True)
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        chat = Chat.of(folders[0], ChatSettings(reward_model=str(tmp_path), memory=memory, url=URL))
        memory.record("ada", Thumb("what is tea?", "Tea is a drink.", up=True))
        assert memory.profile("ada").pending == 0
        chat.engine.close()


def test_a_persrm_whose_base_is_here_judges_itself(folders: tuple[str, str]) -> None:
    persrm = PersRM.from_pretrained(folders[1], base=folders[0], embedder=HashEmbedder())
    assert persrm.judge is persrm


def test_the_answer_says_what_a_server_did_otherwise(folders: tuple[str, str]) -> None:
    base, persrm = folders
    pair = tiny_pair()
    with FakeVllm(decoder(pair), heads={"tiny": fingerprint_of(persrm)}, bound=1.0, key="s3cret") as server:
        llm = ChatPAD(
            model=base, reward_model=persrm, url=server.url + "/v1", embedder=HashEmbedder(), api_key="s3cret"
        )
        answer = llm.invoke(QUESTION, preference=["be concise", "use formal words"], max_tokens=8, logprobs=True)
        pad = answer.response_metadata["pad"]
        assert 0 < pad["gate_scaled"] < 1
        assert pad["mean_reward"] is None
        assert {one["reward"] for one in answer.response_metadata["logprobs"]["content"]} == {None}
        here = Chat.of(base, ChatSettings(reward_model=persrm, embedder=HashEmbedder()))
        plain = CallOptions(preference=[], max_tokens=8)
        expected = here.submit([{"role": "user", "content": QUESTION}], plain).result().text
        assert llm.invoke(QUESTION, preference=[], max_tokens=8).text == expected
        del here
        assert unload(base)
