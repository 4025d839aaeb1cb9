"""The demo base's tokenizer and the rendering of training documents, which equals the chat template's.

Byte-level BPE. Digits, capitalised words and characters of other alphabets never merge with the space before them, so
that a
name reads the same in a question, in quotes and in JSON, and can be copied token by token.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from recipes.demo_world.documents import Document, document
from recipes.demo_world.topics import Topic

__all__ = ["CONTEXT", "render", "train_tokenizer"]

VOCABULARY = 4096
CONTEXT = 1024
START, END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"
TOOL_TOKENS = ("<tool_call>", "</tool_call>")
_WORDS = r" ?[a-z]+|[A-Z][a-z]*|[0-9]|[!-/:-@\[-`{-~]+|\n+|."
TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def train_tokenizer(topics: Sequence[Topic], seed: int, documents: int = 30_000) -> PreTrainedTokenizerFast:
    """Train the tokenizer on generated documents and attach the chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END, *TOOL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(topics, seed, documents), trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in TOOL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        chat_template=TEMPLATE.read_text(),
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _texts(topics: Sequence[Topic], seed: int, count: int) -> Iterator[str]:
    rng = random.Random(seed)
    for _ in range(count):
        yield "".join(text for text, _ in render(document(rng, topics)))


def render(doc: Document) -> list[tuple[str, bool]]:
    """Write a document as (text, is the model's own) segments; joined they equal the chat template's rendering."""
    segments: list[tuple[str, bool]] = []
    messages = list(doc.messages)
    system = messages.pop(0)["content"] if messages[0]["role"] == "system" else ""
    if system or doc.tools:
        lines = [system] if system else []
        lines += ["# Tools", *(_signature(tool["function"]) for tool in doc.tools)] if doc.tools else []
        segments.append((f"{START}system\n" + "\n".join(lines) + f"{END}\n", False))
    for message in messages:
        if message["role"] == "assistant":
            segments.append((f"{START}assistant\n", False))
            segments.append((message["content"] + "\n".join(map(_call, message.get("tool_calls", []))) + END, True))
            segments.append(("\n", False))
        else:
            segments.append((f"{START}{message['role']}\n{message['content']}{END}\n", False))
    return segments


def _signature(function: dict[str, Any]) -> str:
    parameters = function["parameters"]
    arguments = ", ".join(
        f"{key}{'' if key in parameters['required'] else '?'}: {schema['type']}"
        for key, schema in parameters["properties"].items()
    )
    return f"- {function['name']}({arguments})" + (f": {function['description']}" if function["description"] else "")


def _call(call: dict[str, Any]) -> str:
    function = call["function"]
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return f'<tool_call>\n{{"name": "{function["name"]}", "arguments": {arguments}}}\n</tool_call>'
