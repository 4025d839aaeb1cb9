"""Valid JSON by grammar: random schemas, answered greedily and sampled by a model with random weights.

    python benchmarks/engine/json_schemas.py [--schemas 500] [--seed 0]

A model with random weights wants to write anything but JSON, so what is valid here is valid on any model. An answer is
valid when it ends by itself, parses and passes `jsonschema`. Also measures what the grammar costs a token.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from typing import Any

import jsonschema
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pad_langchain.chat.tools.schemas import closed
from pad_langchain.engine.grammar import GrammarCompiler
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request
from pad_langchain.testing import tiny_model, tiny_tokenizer

_WORDS = "name city age price tags owner items state x y rate note size color unit day code".split()


def random_schema(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A schema of up to three levels with the keywords that tools and pydantic models use."""
    kinds = ["string", "integer", "number", "boolean", "enum", "const", "null", "nullable", "format"]
    if depth < 3:
        kinds += ["object", "object", "array", "anyOf"]
    kind = "object" if depth == 0 else rng.choice(kinds)
    if kind == "object":
        names = rng.sample(_WORDS, rng.randint(1, 4))
        properties = {name: random_schema(rng, depth + 1) for name in names}
        return {"type": "object", "properties": properties, "required": rng.sample(names, rng.randint(0, len(names)))}
    if kind == "array":
        low = rng.randint(0, 2)
        return {
            "type": "array",
            "items": random_schema(rng, depth + 1),
            "minItems": low,
            "maxItems": low + rng.randint(0, 3),
        }
    if kind == "anyOf":
        return {"anyOf": [random_schema(rng, depth + 1) for _ in range(2)]}
    return _leaf(rng, kind)


def _leaf(rng: random.Random, kind: str) -> dict[str, Any]:
    if kind == "string":
        return rng.choice(
            [
                {"type": "string"},
                {"type": "string", "maxLength": rng.randint(1, 20)},
                {"type": "string", "minLength": 2, "maxLength": 9},
                {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
            ]
        )
    if kind in ("integer", "number"):
        low = rng.randint(-50, 50)
        limits: dict[str, Any] = {"minimum": low, "maximum": low + rng.randint(0, 1000)}
        return {"type": kind, **rng.choice([{}, limits, {"minimum": low}])}
    if kind == "enum":
        return {"enum": rng.choice([["a", "b", "ü"], [1, 2, 3], ["yes", None, False]])}
    if kind == "const":
        return {"const": rng.choice(["fixed", 7, True])}
    if kind == "nullable":
        return {"type": [rng.choice(["string", "integer", "boolean"]), "null"]}
    if kind == "format":
        return {"type": "string", "format": rng.choice(["date", "date-time", "uuid", "ipv4", "email"])}
    return {"type": kind}


def why_invalid(schema: dict[str, Any], text: str, finish_reason: str) -> str | None:
    """None if the answer is complete, JSON and valid under `schema`, else what is wrong."""
    if finish_reason != "stop":
        return f"did not end ({finish_reason})"
    try:
        jsonschema.validate(json.loads(text), schema, format_checker=jsonschema.FormatChecker())
    except (ValueError, jsonschema.ValidationError) as error:
        return str(error).splitlines()[0]
    return None


def run(engine: TorchEngine, schemas: list[dict[str, Any]], temperature: float, max_tokens: int) -> list[str | None]:
    """Answer every schema, all in the engine's batches; the reasons why answers are invalid."""
    streams = [
        engine.submit(
            Request(
                messages=[{"role": "user", "content": "Answer in JSON."}],
                grammar=engine.grammars.json_schema(schema),
                temperature=temperature,
                seed=number,
                max_tokens=max_tokens,
            )
        )
        for number, schema in enumerate(schemas)
    ]
    done = [stream.result(3600) for stream in streams]
    return [why_invalid(schema, one.text, one.finish_reason) for schema, one in zip(schemas, done, strict=True)]


def grammar_cost(compiler: GrammarCompiler, end: int, schema: dict[str, Any], tokens: int = 2000) -> float:
    """Median seconds a token for mask and accept together, on random legal tokens."""
    rng = random.Random(0)
    grammar, times = compiler.json_schema(schema), []
    while len(times) < tokens:
        state = grammar.start()
        while not state.finished and len(times) < tokens:
            begun = time.perf_counter()
            legal_V = state.mask()
            times.append(time.perf_counter() - begun)
            token = rng.choice(np.flatnonzero(legal_V).tolist())
            if token == end:
                break
            begun = time.perf_counter()
            state.accept(token)
            times[-1] += time.perf_counter() - begun
    return statistics.median(times)


def wide_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `size` tokens, learned from random syllables."""
    rng = random.Random(0)
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
    words = [" " + "".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(60_000)]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False
    )
    backend.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")


def random_engine() -> TorchEngine:
    """Random weights with room for long answers."""
    return TorchEngine(tiny_model(max_position_embeddings=8192), tiny_tokenizer())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-tokens", type=int, default=6000)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    schemas = [closed(random_schema(rng)) for _ in range(options.schemas)]
    with random_engine() as engine:
        for name, temperature in (("greedy", 0.0), ("sampled at 1.0", 1.0)):
            begun = time.perf_counter()
            reasons = run(engine, schemas, temperature, options.max_tokens)
            valid = reasons.count(None)
            print(f"{name}: {valid}/{len(schemas)} valid ({time.perf_counter() - begun:.0f} s)")
            for number, reason in enumerate(reasons):
                if reason is not None:
                    print(f"  schema {number}: {reason}: {json.dumps(schemas[number])}")
    tokenizer = wide_tokenizer(32_000)
    compiler = GrammarCompiler(tokenizer, len(tokenizer))
    cost = statistics.median(grammar_cost(compiler, tokenizer.eos_token_id, schema) for schema in schemas[:8])
    print(f"mask + accept: median {cost * 1e6:.0f} µs a token at {len(tokenizer)} tokens")


if __name__ == "__main__":
    main()
