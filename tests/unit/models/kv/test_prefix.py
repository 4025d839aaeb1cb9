"""Keys and values of a common beginning are computed once, for other users and later turns, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pad_langchain import ChatPAD
from pad_langchain.chat import Chat
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import InvalidRequestError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.kv.prefixes import BLOCK, PrefixStore, Root
from pad_langchain.models.kv.row_cache import RowCache
from pad_langchain.models.kv.slot_cache import SlotRows
from pad_langchain.models.rows import Rows
from pad_langchain.testing import HashEmbedder, TinyPair, tiny_pair
from pad_memory import PreferenceMemory, Statement
from waiting import until


def engine_behind(llm: ChatPAD) -> Any:
    return Chat.of(llm.model_name, llm).engine


SYSTEM = {"role": "system", "content": "please be concise, formal and polite when you answer my question"}


def filled(tokens: list[int], *, seed: int = 0) -> RowCache:
    cache = RowCache()
    states = torch.randn(1, 2, len(tokens), 4, generator=torch.Generator().manual_seed(seed))
    cache.update(states, states + 1, 0)
    return cache


def test_a_store_finds_the_longest_common_beginning() -> None:
    store = PrefixStore(1000)
    first = list(range(50))
    cache = filled(first)
    store.add(first, cache, 0, 0)
    assert len(store) == 3 * BLOCK
    found = torch.cat(store.find([*range(40), 99, 99, 99]), dim=2)
    assert torch.equal(found, cache.read(0, 0, 2 * BLOCK))
    assert store.find(first[: 2 * BLOCK])[1:] == []  # one token is left to run
    assert store.find([7, *first]) == []
    assert store.find(first, root=Root(5)) == []  # an adapter's KV is not the plain model's
    store.add(first, cache, 0, 0, root=Root(5))
    assert len(store.find(first, root=Root(5))) == 3
    # another sequence shares the common beginning
    store.add([*range(33), *[7] * 17], filled([0] * 50), 0, 0)
    assert len(store) == 7 * BLOCK


def test_a_full_store_forgets_the_ends_of_what_is_used_least() -> None:
    store = PrefixStore(5 * BLOCK)
    old, new = [1] * (3 * BLOCK), [2] * (3 * BLOCK)
    store.add(old, filled(old), 0, 0)
    store.add(new, filled(new), 0, 0)
    assert len(store) == 5 * BLOCK
    assert (len(store.find([*old, 0])), len(store.find([*new, 0]))) == (2, 3)
    huge = [3] * (9 * BLOCK)
    store.add(huge, filled(huge), 0, 0)
    assert (len(store), len(store.find(huge))) == (5 * BLOCK, 5)
    closed = PrefixStore(0)
    closed.add(old, filled(old), 0, 0)
    assert len(closed) == 0


def test_rows_that_reuse_equal_rows_that_do_not(pair: TinyPair) -> None:
    """Ragged prompts that know nothing, something and nearly all of themselves, in one prefill."""
    base = Backbone(pair.model)
    base.prefixes.budget = 1000
    generator = torch.Generator().manual_seed(0)
    known = torch.randint(0, 400, (90,), generator=generator).tolist()
    with torch.inference_mode():
        Rows(base, [known])
        for prompts, reused in (
            ([[*known, 5]], 80),
            ([known[:40], [*known[:70], 5, 6, 7], known], 30 + 63 + 80),
            ([known, [9] * 30, [8]], 60),
            ([[4] * 95, known], 0),
        ):
            before = base.tally.reused
            rows = Rows(base, prompts)
            assert base.tally.reused - before == reused
            rows.step(torch.arange(len(prompts)))
            for row, prompt in enumerate(prompts):
                alone_D = base.hidden(torch.tensor([[*prompt, row]]))[0, -1]
                assert torch.allclose(rows.hidden_BD[row], alone_D, atol=2e-5)


def ask(*turns: str, preference: str | None = None, **kwargs: Any) -> Request:
    roles = ("user", "assistant")
    messages = [SYSTEM, *({"role": roles[index % 2], "content": turn} for index, turn in enumerate(turns))]
    preferences = [] if preference is None else [WeightedPreference(preference)]
    return Request(messages=messages, preferences=preferences, max_tokens=20, **kwargs)


def test_rows_keep_their_salts_as_they_come_and_go(pair: TinyPair) -> None:
    base = Backbone(pair.model)
    base.prefixes.budget = 4096
    prompts = [[index] * (BLOCK + 4) for index in range(1, 5)]
    with torch.inference_mode():
        rows = Rows(base, prompts[:1], guide=prompts[1:2], salts=["a", "b"])
        rows.merge(Rows(base, prompts[2:3], guide=prompts[3:], salts=["c", "d"]))
        assert rows.salts == ["a", "c", "b", "d"]
        rows.keep([1, 3])
        assert rows.salts == ["c", "d"]
        slots = SlotRows(base, ["a", "b"])
        slots.load(prompts[:2])
        assert slots.lengths == [BLOCK, BLOCK]
        strangers = SlotRows(base, ["b", "a"])
        strangers.load(prompts[:2])
        assert strangers.lengths == [0, 0]


def test_a_late_joiner_reuses_what_a_neighbour_is_running(pair: TinyPair) -> None:
    requests = [ask("what is an element?", "it is short", f"and {index}?") for index in range(6)]
    with TorchEngine(pair.model, pair.tokenizer, prefix_tokens=0) as engine:
        expected = [engine.submit(request).result(60).token_ids for request in requests]
    with TorchEngine(pair.model, pair.tokenizer, max_batch=3) as engine:
        streams = [engine.submit(request) for request in requests]
        assert [stream.result(60).token_ids for stream in streams] == expected
        assert engine.stats.reused_tokens > 0


def test_what_a_store_cannot_be(pair: TinyPair) -> None:
    with pytest.raises(InvalidRequestError, match="prefix_tokens has to be an integer of at least 0, but is -1"):
        TorchEngine(pair.model, pair.tokenizer, prefix_tokens=-1)


def test_who_is_forgotten_is_in_no_kept_prompt(tmp_path: Path) -> None:
    """Preferences are in the prompts of a guide that reads text; `memory.forget` reaches the engine that ran them."""
    folder, _ = tiny_pair().save(tmp_path)
    memory = PreferenceMemory(embedder=HashEmbedder())
    llm = ChatPAD(model=str(folder), reward_model="self", memory=memory, user_id="ada", max_tokens=8)
    memory.record("ada", Statement("always be concise and polite"))
    memory.record("bob", Statement("always be formal"))
    llm.invoke("why is the sky blue?")
    engine = engine_behind(llm)
    until(lambda: not engine.running)  # the last event comes before the row is kept for the next turn
    assert len(engine.base.prefixes) > 0
    memory.forget("ada")
    assert len(engine.base.prefixes) == 0
    memory.close()


def test_faces_pass_settings_to_the_engine_they_share(tmp_path: Path) -> None:
    folder = str(tiny_pair().save(tmp_path)[0])
    small = {"max_batch_tokens": 40, "prefix_tokens": 0}
    llm = ChatPAD(model=folder, reward_model=None, engine_settings=small)
    again = ChatPAD(model=folder, reward_model=None, engine_settings=dict(reversed(small.items())))
    assert engine_behind(llm) is engine_behind(again)
    assert engine_behind(llm) is not engine_behind(ChatPAD(model=folder, reward_model=None))
    assert engine_behind(llm).settings.prefix_tokens == 0
    with pytest.raises(InvalidRequestError, match="max_batch_tokens 40"):
        llm.invoke("hello", max_tokens=100)
