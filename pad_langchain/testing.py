"""Fakes to test your own app with: a tiny random model, its tokenizer, a tiny PersRM head and an embedder without a
model.

All are deterministic, need no network and no files, and run in milliseconds. The text they write is noise, but every
invariant of the real parts holds: same seed, same text; `beta=0` is the base; a preference changes the answer.

    from pad_langchain.testing import tiny_pair

    pair = tiny_pair()
    engine = TorchEngine(pair.model, pair.tokenizer, pair.guide())

Requests that come at different times share fewer forwards. `paused` lets them begin together.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from pad_langchain.engine.torch.engine import TorchEngine
    from pad_langchain.persrm.guides.head import HeadGuide
    from pad_langchain.persrm.head import VectorHead

__all__ = ["HashEmbedder", "TinyPair", "paused", "tiny_head", "tiny_model", "tiny_pair", "tiny_tokenizer"]

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")

CHAT_TEMPLATE = """\
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{%- if system or tools %}{{ '<|im_start|>system\\n' + system }}
{%- if tools %}{{ '\\nTools:' }}{% for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}{% endif %}
{{- '<|im_end|>\\n' }}{% endif %}
{%- for message in (messages[1:] if messages[0].role == 'system' else messages) %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{%- set body = {'name': call.function.name, 'arguments': call.function.arguments} %}
{{- '<tool_call>\\n' + (body | tojson) + '\\n</tool_call>' }}
{%- endfor %}{{ '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

# What the BPE merges are learned from: plain English and JSON's punctuation keep prompts and calls short.
_CORPUS = (
    "the answer is short and clear and polite with a list of examples and a warning for the reader",
    "please be concise, formal, casual, humorous, detailed, simple or technical when you answer my question",
    'system user assistant tool {"name": "weather", "arguments": {"city": "Rome", "days": 3}} true false null',
    "what is an element? how do you make tea? why is the sky blue? who are you? explain entropy to me.",
)


@dataclass(frozen=True)
class TinyPair:
    """A tiny base model with its tokenizer, head PersRM and embedder."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    head: VectorHead
    embedder: HashEmbedder

    def guide(self) -> HeadGuide:
        """The head as a guide, ready for `TorchEngine(model, tokenizer, guide)`."""
        from pad_langchain.persrm.guides.head import HeadGuide

        return HeadGuide(self.head, self.embedder)

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write base and head to disk; return their folders, `folder/base` and `folder/persrm`."""
        base, persrm = Path(folder) / "base", Path(folder) / "persrm"
        self.model.save_pretrained(base)
        self.tokenizer.save_pretrained(base)
        self.head.save_pretrained(persrm)
        return base, persrm


class HashEmbedder:
    """Turns a text into a pseudo-random unit vector [size] that depends on the text alone: no model and no meaning."""

    def __init__(self, size: int = 16) -> None:
        self.size = size
        self.name = f"hash-{size}"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed N texts: [N, E] float32, unit rows."""
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
            rows.append(np.random.default_rng(seed).standard_normal(self.size))
        vectors_NE = np.asarray(rows, dtype=np.float32).reshape(len(rows), self.size)
        return vectors_NE / np.linalg.norm(vectors_NE, axis=1, keepdims=True)


@contextmanager
def paused(engine: TorchEngine, until: int | None = None) -> Iterator[None]:
    """Requests that are submitted within it wait; at its end they join the batch together, if they fit.

    Args:
        engine: whose requests wait.
        until: end it as soon as this many requests wait, for callers that block within; after a minute at the latest.
            None means at the end of the block.
    """
    left = threading.Event()

    def watch() -> None:
        for _ in range(60_000):
            if engine.waiting >= (until or 0) or left.wait(0.001):
                break
        engine.resume()

    watcher = threading.Thread(target=watch, name="pad-paused", daemon=True)
    engine.pause()
    try:
        if until is not None:
            watcher.start()
        yield
    finally:
        left.set()
        if until is not None:
            watcher.join()
        engine.resume()


def tiny_tokenizer(vocab_size: int = 400) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocab_size` tokens with a ChatML template and tools; every text round-trips."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        show_progress=False,
    )
    backend.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def tiny_model(
    seed: int = 0,
    *,
    hidden_size: int = 32,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    vocab_size: int | None = None,
    max_position_embeddings: int = 512,
    initializer_range: float = 0.2,
) -> LlamaForCausalLM:
    """A Llama with random weights in float32, in evaluation mode; the same `seed` makes the same weights.

    `initializer_range` is wide on purpose: at the usual 0.02 the logits of a random model all but tie.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer) if vocab_size is None else vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=max_position_embeddings,
        initializer_range=initializer_range,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def tiny_head(model: LlamaForCausalLM, seed: int = 0, *, embedder: HashEmbedder | None = None) -> VectorHead:
    """A PersRM head of rank 8 with random weights for `model`, strong enough that a preference changes the text."""
    import torch

    from pad_langchain.persrm.head import HeadConfig, VectorHead

    embedder = embedder or HashEmbedder()
    config = HeadConfig(
        hidden_size=model.config.hidden_size,
        vocab_size=model.config.vocab_size,
        rank=8,
        embedding_size=embedder.size,
        mlp_size=16,
        embedder=embedder.name,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = VectorHead(config).eval()
        with torch.no_grad():
            head.V_DR.normal_(std=1.0)
            head.f[-1].weight.mul_(40.0)  # type: ignore[operator]  # each preference has a prototype of its own
            head.G_QR.mul_(2.0)
    return head


def tiny_pair(seed: int = 0) -> TinyPair:
    """A tiny model, tokenizer, head and embedder that fit each other; the same `seed` makes the same weights."""
    embedder = HashEmbedder()
    model = tiny_model(seed)
    return TinyPair(model, tiny_tokenizer(), tiny_head(model, seed, embedder=embedder), embedder)
