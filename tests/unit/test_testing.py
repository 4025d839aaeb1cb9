"""The public fakes keep what they promise."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pad_langchain.testing import HashEmbedder, tiny_model, tiny_pair, tiny_tokenizer

TOKENIZER = tiny_tokenizer()


@given(st.text(max_size=60))
def test_every_text_round_trips(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)) == text


def test_the_tokenizer_is_small_and_deterministic() -> None:
    assert 300 <= len(TOKENIZER) <= 500
    assert TOKENIZER.get_vocab() == tiny_tokenizer().get_vocab()
    assert TOKENIZER.decode([TOKENIZER.eos_token_id]) == "<|im_end|>"


def test_the_template_is_chatml_with_tools() -> None:
    def render(messages: list[dict[str, object]], tools: list[dict[str, object]] | None = None) -> str:
        return TOKENIZER.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)

    assert render([{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]) == (
        "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )
    call = {"type": "function", "function": {"name": "now", "arguments": {"days": 3}}}
    rendered = render(
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "42"},
        ],
        [{"name": "now"}],
    )
    assert rendered == (
        '<|im_start|>system\n\nTools:\n{"name": "now"}<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n'
        '<|im_start|>assistant\n<tool_call>\n{"name": "now", "arguments": {"days": 3}}\n</tool_call><|im_end|>\n'
        "<|im_start|>tool\n42<|im_end|>\n<|im_start|>assistant\n"
    )


def test_same_seed_same_model() -> None:
    state, again, other = (tiny_model(seed).lm_head.weight for seed in (3, 3, 4))
    assert torch.equal(state, again)
    assert not torch.equal(state, other)


def test_making_a_model_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    tiny_pair()
    assert torch.equal(torch.rand(3), expected)


def test_embeddings_are_unit_vectors_of_the_text() -> None:
    embedder = HashEmbedder()
    vectors = embedder.embed(["a", "b", "a"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors[0] == vectors[2]).all()
    assert not np.allclose(vectors[0], vectors[1])
    assert embedder.embed([]).shape == (0, 16)
