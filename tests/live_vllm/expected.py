"""What our engine answers to the requests that vLLM is then asked: `python tests/live_vllm/expected.py FILE`.

It runs in the environment of the project, whose transformers is another than vLLM's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pad_langchain.defaults import HEADS, model_folder
from pad_langchain.engine.types import Request, TokenEvent, WeightedPreference
from pad_langchain.models.gguf import GgufFile, torch_folder
from pad_langchain.persrm.build import load_engine

QUESTIONS = [
    "What is a lion?",
    "Explain what copper is used for.",
    "How do you make tea?",
    "Why is the sky blue?",
    "Tell me about the moon.",
    "What should I know before I climb a mountain?",
    "Who are you?",
    "Is iron heavier than wood?",
]
CONDITIONS: list[list[tuple[str, float]]] = [
    [("be concise and brief", 1.0)],
    [("explain in detail, at length", 1.0), ("be formal", 0.5)],
    [("use humour and jokes", 1.0), ("be concise and brief", -0.7)],
    [("use bullet points", 2.0), ("simple words for a child", 1.0), ("give examples", 0.5)],
]
SETTINGS = [
    {"beta": 1.0, "alpha": 0.02, "top_k": 10},
    {"beta": 2.0, "alpha": 0.0, "top_k": 5},
    {"beta": -1.5, "alpha": 0.001, "top_k": 50},
]
# These cost plain answers, too.
REPEATS = [
    {"repetition_penalty": 1.07},
    {"repetition_penalty": 1.3, "no_repeat_ngram": 3},
    {"no_repeat_ngram": 2},
]
YES_NO = 'start: "Yes, " WORDS "." | "No, " WORDS "."\nWORDS: /[a-z ]{1,40}/'
JSON = """start: %json {"x-guidance": {"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "},
 "type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "heavy": {"type": "boolean"}},
 "required": ["name", "heavy"], "additionalProperties": false}"""
PAGE = "The library lends books, maps and records. Members may keep them for three weeks and renew them once. "


class Model:
    """A base with its head on our engine.

    Args:
        base: a folder, or a GGUF file.
        persrm: its head's folder.
        served: the folder that vLLM loads. None means `base`.
    """

    def __init__(self, base: str, persrm: str, served: Path | None = None) -> None:
        self.base, self.persrm = str(served or base), persrm
        self.engine: Any = load_engine(base, persrm, dtype="float32", backend="torch")
        if served is not None:
            served.mkdir(parents=True, exist_ok=True)
            for part in torch_folder(GgufFile(base), torch.float32).iterdir():
                (served / part.name).unlink(missing_ok=True)
                (served / part.name).symlink_to(part)
            self.engine.tokenizer.save_pretrained(served)
        self.guide, self.grammars = self.engine.guide, self.engine.grammars

    def ask(
        self, text: str, wishes: list[tuple[str, float]], tokens: int, lark: str | None = None, **settings: Any
    ) -> Callable[[], dict[str, Any]]:
        """Ask our engine; return what waits for its answer and tells it with the request, as vLLM takes it."""
        prompt = self.engine.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        request = Request(
            prompt_ids=prompt,
            preferences=[WeightedPreference(wish, weight) for wish, weight in wishes],
            max_tokens=tokens,
            grammar=None if lark is None else self.grammars.lark(lark),
            candidates=2,
            **settings,
        )
        stream = self.engine.submit(request)
        gate = self.guide.plan(request).rows[0].tolist() if wishes else None
        extra = {f"pad_{name}": value for name, value in settings.items() if wishes or "repe" in name}
        asked = {
            "prompt": prompt,
            "xargs": extra if gate is None else {"pad_gate": gate, **extra},
            "lark": lark,
            "max_tokens": tokens,
        }
        return lambda: asked | self._answer(list(stream))

    def _answer(self, events: list[TokenEvent]) -> dict[str, Any]:
        margins = [a.score - b.score for a, b in (event.candidates for event in events if len(event.candidates) == 2)]
        written = [event for event in events if event.token_id >= 0 and event.token_id not in self.engine.end_tokens]
        return {"tokens": [event.token_id for event in written], "margin": min(margins, default=0.0)}

    def cases(
        self, questions: list[str], conditions: list[Any], tokens: int, long: int, grammars: int
    ) -> dict[str, Any]:
        """Requests of every kind, with the answers."""
        mixed = [
            self.ask(text, wishes, tokens, **SETTINGS[(n + m) % len(SETTINGS)])
            for n, text in enumerate(questions)
            for m, wishes in enumerate([*conditions, []])
        ]
        penalised = [
            self.ask(text, wishes, tokens, **SETTINGS[(n + m) % len(SETTINGS)], **REPEATS[(n + m // 2) % len(REPEATS)])
            for n, text in enumerate(questions)
            for m, wishes in enumerate([*conditions, []])
        ]
        shared = [
            self.ask(PAGE * 8 + questions[n], conditions[n % len(conditions)], tokens, **SETTINGS[n % 2])
            for n in range(long)
        ]
        masked = [
            self.ask(questions[n % len(questions)], wishes, tokens, lark=lark, **SETTINGS[0])
            for n, (wishes, lark) in enumerate(
                (wishes, lark) for wishes in [*conditions, []] for lark in (YES_NO, JSON)
            )
        ][:grammars]
        return {
            "base": self.base,
            "persrm": self.persrm,
            "ends": sorted(self.engine.end_tokens),
            "mixed": [answer() for answer in mixed],
            "penalised": [answer() for answer in penalised],
            "long": [answer() for answer in shared],
            "grammar": [answer() for answer in masked],
        }


def main(file: Path) -> None:
    """Write requests and answers of the demo pair and of SmolLM2 with its head."""
    demo = Model(model_folder("pad-demo"), str(HEADS["pad-demo"]))
    told = {"demo": demo.cases(QUESTIONS, CONDITIONS, 32, 6, 10)}
    real = Model(model_folder("smollm2-135m"), str(HEADS["smollm2-135m"]), file.parent / "smollm2")
    told["smollm2"] = real.cases(QUESTIONS[:3], CONDITIONS[:3], 24, 2, 4)
    file.write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
