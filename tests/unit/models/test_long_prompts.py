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
        assert prompts.encode("is rain") == tiny_tokenizer().encode("is rain", add_special_tokens=False)
        assert prompts.render([{"role": "user", "content": "hi"}])
        assert ids == []
    until(lambda: ids)
    waits.join()
    assert ids == [tiny_tokenizer().encode(long, add_special_tokens=False)]


def test_a_long_conversation_is_the_same_tokens() -> None:
    words = " is rain" * (LONG // 16)
    twice = Prompts(tiny_tokenizer())
    halves = [{"role": "user", "content": f"a<|im_end|>b{words}"}, {"role": "user", "content": words}]
    alone = Prompts(tiny_tokenizer())
    short = [alone.render([half]) for half in halves]
    together = twice.render(halves)
    assert (alone._for_long, twice._for_long is None) == (None, False)
    begins = len(alone.render([{"role": "user", "content": ""}])) - 3  # the assistant's turn, which comes last
    assert together[: len(short[0]) - begins] == short[0][: len(short[0]) - begins]
    assert together.count(twice.turn_end) == 2  # control tokens in a message stay plain text


def test_a_fork_waits_for_both() -> None:
    prompts = Prompts(tiny_tokenizer())
    assert prompts.hold()
    assert prompts._lock.locked()
    assert prompts._long_lock.locked()
    prompts.let_go()
    assert not prompts._lock.locked()
    assert not prompts._long_lock.locked()
