"""The settings that `ChatPAD` and `PADLLM` share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

__all__ = ["Settings"]


class Settings(BaseModel):
    """What a face is told beside its model.

    Args:
        reward_model: a PersRM: a head folder or a text PersRM's checkpoint. "auto" is the demo PersRM for the demo
            model, none for any other. None: a preference is only told to the model in the prompt.
        memory: a `pad_memory.PreferenceMemory`; it supplies the user's preferences and gets the PersRM as its scorer.
        beta: guidance strength; None is what the PersRM recommends, else 1.0. 0 is exactly the base model.
        top_k: candidates a token, 1 to the vocabulary's size.
        alpha: plausibility cut in [0, 1]; None is what the PersRM recommends, else 0.0.
        condition_base: put the preferences into the base's prompt, too.
        temperature: 0 is greedy.
        top_p: nucleus in (0, 1].
        max_tokens: new tokens at most.
        seed: makes sampling repeatable, whoever shares the batch.
        stop: strings that end the answer and are not part of it.
        user_id: whose preferences, unless a call says otherwise.
        require_user: refuse calls without a user id.
        device: "auto", "cpu", "cuda", …
        dtype: "auto", "float32", "bfloat16", …
        engine_settings: keywords of `persrm.build.load_pair`: `max_batch`, `max_batch_tokens`, `prefix_tokens`,
            `device_map`, `quantization_config`, … Models and settings that are the same share one engine.
        response_template: how answers are split into text, reasoning and tool calls: transformers' response template,
            or the family that writes calls as the model does ("llama-3", "mistral", "qwen", "gemma"); None finds it
            out from the tokenizer and its chat template.
        embedder: sentence embedder for preferences given by keyword; None is the memory's, else the default one.
    """

    reward_model: str | None = "auto"
    memory: Any = Field(default=None, exclude=True, repr=False)
    beta: float | None = None
    top_k: int = 10
    alpha: float | None = None
    condition_base: bool = False
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int | None = None
    stop: list[str] | None = None
    user_id: str | None = None
    require_user: bool = False
    device: str = "auto"
    dtype: str = "auto"
    engine_settings: dict[str, Any] = Field(default_factory=dict)
    embedder: Any = Field(default=None, exclude=True, repr=False)
    response_template: dict[str, Any] | str | None = None
