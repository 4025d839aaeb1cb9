"""What the LlamaIndex tests share: a tiny pair with a long context, two users' wishes, two tools."""

from __future__ import annotations

import torch
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from fakes import QUESTION
from pad_langchain.chat import Chat, Turn
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.types import Request, TokenEvent
from pad_langchain.testing import HashEmbedder, TinyPair, tiny_head, tiny_model, tiny_tokenizer

ASKED = [ChatMessage(QUESTION)]


def pair_settings(folder):
    """Save a pair and return the settings that a face takes."""
    # LlamaIndex's own prompts are long, and this tokenizer needs a token for every two letters.
    model = tiny_model(max_position_embeddings=16384)
    with torch.no_grad():  # so that it never is likeliest: LlamaIndex fails on an empty answer in mid-chain
        model.lm_head.weight[model.config.eos_token_id] = 0.0
    pair = TinyPair(model, tiny_tokenizer(), tiny_head(model), HashEmbedder())
    base, persrm = pair.save(folder)
    return {
        "model": str(base),
        "reward_model": str(persrm),
        "embedder": pair.embedder,
        "dtype": "auto",
        "max_tokens": 12,
        "beta": 2.0,
    }


class Weather(BaseModel):
    """The weather of a place."""

    city: str = Field(max_length=8)
    days: int = Field(ge=1, le=9)


def weather(city: str, days: int) -> str:
    """Tell the weather of a city."""
    return f"{days} days of rain"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


WEATHER = FunctionTool.from_defaults(weather, fn_schema=Weather)
ADD = FunctionTool.from_defaults(add)


def script(monkeypatch, write):
    """Let `write(settings, messages)` say what the model writes; everything behind the engine's stream is real."""

    class Scripted:
        def __init__(self, settings):
            self.settings = settings

        def submit(self, messages, options):
            text = write(self.settings, messages)
            stream = Stream(Request(messages), prompt_tokens=1)
            stream.put(TokenEvent(0, 0, text[:9], 0.0, 0.0))
            stream.put(TokenEvent(1, 1, text[9:], 0.0, 0.0, "stop"))
            return Turn(stream, {"user": options.over(self.settings).user_id})

    monkeypatch.setattr(Chat, "of", classmethod(lambda cls, model, settings: Scripted(settings)))
