"""Long texts are tokenized beside short ones, and alike."""

from __future__ import annotations

import threading

from pad_langchain.models.prompts import LONG, Prompts
from pad_langchain.testing import tiny_tokenizer
from waiting import until


def test_a_short_text_does_not_wait_for_a_long_one() -> None:
    prompts, long = Prompts(tiny_tokenizer()), "is rain " * (LONG // 8)
    ids: list[list[int]] = []
    with prompts._long_lock:  # as if another long text took for ever
        waits = threading.Thread(target=lambda: ids.append(prompts.encode(long)))
        waits.start()
        assert prompts.encode("is rain") == prompts.encode(long[: LONG - 1])[:2] or prompts.encode("is rain")
        assert prompts.render([{"role": "user", "content": "hi"}])
        assert ids == []
    until(lambda: ids)
    waits.join()
    assert ids == [tiny_tokenizer().encode(long, add_special_tokens=False)]


def test_a_long_conversation_is_the_same_tokens() -> None:
    prompts = Prompts(tiny_tokenizer())
    short = prompts.render([{"role": "user", "content": "a<|im_end|>b"}])
    begun = short[: len(short) - len(prompts.render([{"role": "user", "content": ""}])) // 2]
    long = prompts.render([{"role": "user", "content": "a<|im_end|>b" + " " * LONG}])
    assert prompts._for_long is not None
    assert long.count(prompts.turn_end) == short.count(prompts.turn_end)  # control tokens in a message stay plain text
    assert long[:5] == begun[:5]


def test_a_fork_waits_for_both() -> None:
    prompts = Prompts(tiny_tokenizer())
    assert prompts.hold()
    assert prompts._lock.locked()
    assert prompts._long_lock.locked()
    prompts.let_go()
    assert not prompts._lock.locked()
    assert not prompts._long_lock.locked()
