"""The compiled decode step: the same tokens, one graph for every size, nothing compiled while requests run.

`torch.compile` runs here with the backend that executes the captured graph as it is: capturing, sizes and guards are
those of any backend, machine code is not made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import EngineBusyError, EngineMemoryError, IncompatibleModelError
from pad_langchain.models import compiled
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.testing import TinyPair, tiny_model, tiny_pair
from parts import adapter_of
from waiting import until


@pytest.fixture
def endless_pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyPair]:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    torch.compiler.reset()
    counters.clear()
    pair = tiny_pair()
    # Nothing ends an answer: every request runs to its last step.
    pair.tokenizer.eos_token = pair.model.generation_config.eos_token_id = None
    pair.tokenizer.chat_template = pair.tokenizer.chat_template.replace("<|im_end|>", "")
    yield pair
    torch.compiler.reset()


def engine_of(pair: TinyPair, kind: str, **settings: Any) -> TorchEngine:
    base = Backbone(pair.model)
    guides: dict[str, Any] = {
        "head": lambda: pair.guide(),
        "adapter": lambda: ModelGuide(base, Prompts(pair.tokenizer), adapter=adapter_of(pair)),
        "model": lambda: ModelGuide(Backbone(tiny_model(7, hidden_size=48)), Prompts(pair.tokenizer)),
    }
    return TorchEngine(base, pair.tokenizer, guides[kind](), max_batch=5, **settings)


def requests() -> list[Request]:
    """More than fit at once, of different lengths: rows join late and leave early, and one outgrows the buffers."""
    texts = ("be concise", "tell a joke or two", "use formal words")
    return [
        Request(
            messages=[{"role": "user", "content": "why is the sky " + "very " * (index % 5) + "blue?"}],
            preferences=[WeightedPreference(text) for text in texts[: index % 4]],
            reference="reference" if index % 2 else "base",
            beta=(0.5, 1.0, 1.5)[index % 3],
            max_tokens=190 if index == 6 else 3 + index % 7,
            top_k=5,
        )
        for index in range(12)
    ]


def run(engine: TorchEngine) -> list[tuple[int, ...]]:
    return [stream.result(120).token_ids for stream in [engine.submit(request) for request in requests()]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "adapter", "model"])
def test_tokens_are_the_eager_ones_and_nothing_is_compiled_while_requests_run(
    endless_pair: TinyPair, kind: str
) -> None:
    with engine_of(endless_pair, kind, compile=False) as engine:
        expected = run(engine)
        assert engine.warm_up() == 0.0
    assert not counters["stats"]
    with engine_of(endless_pair, kind, compile=True) as engine:
        assert engine.warm_up(rows=(1, 2), columns=(100,)) > 0.0
        # One graph for a single row and one for several, for each model that has rows of its own.
        graphs = counters["stats"]["unique_graphs"]
        assert graphs == (4 if kind == "model" else 2)
        assert not counters["graph_break"]
        assert run(engine) == expected
        assert counters["stats"]["unique_graphs"] == graphs
        assert engine.base.graph is not None
        sizes = engine.base.graph.sizes
        assert max(columns for _, columns in sizes) >= 2 * compiled.NARROWEST
        assert len({rows for rows, _ in sizes}) >= 2


def test_conversations_go_on_and_errors_leave_the_rows_whole(
    endless_pair: TinyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a compiled step leaves in the prefix store is what an eager one would have left."""
    ask = {"role": "user", "content": "please explain why the sky is so very blue today"}

    def talk(compile: bool) -> list[tuple[int, ...]]:
        with engine_of(endless_pair, "head", compile=compile) as engine:
            prompt = engine.prompts.render([ask])
            first = engine.submit(Request(messages=[ask], max_tokens=40)).result(60).token_ids
            until(lambda: not engine.running)  # the last event comes before the row is kept for the next turn
            more = Request(messages=[], prompt_ids=[*prompt, *first, *prompt], max_tokens=10)
            second = engine.submit(more).result(60).token_ids
            assert engine.stats.reused_tokens > len(prompt) + 20
            return [first, second]

    assert talk(True) == talk(False)
    graphs, steps = iter(("one row", "several")), iter(range(100))

    def out_of_memory_once(graph: torch.fx.GraphModule, _: object) -> Any:
        several = next(graphs) == "several"

        def step(*args: Any) -> Any:
            if several and next(steps) == 2:
                raise torch.OutOfMemoryError("out of memory")
            return graph(*args)

        return step

    monkeypatch.setattr(compiled, "BACKEND", out_of_memory_once)
    with engine_of(endless_pair, "head", compile=True, prefix_tokens=0) as engine:
        expected = engine.submit(Request(messages=[ask], max_tokens=12)).result(60).token_ids
        two = [engine.submit(Request(messages=[ask], max_tokens=12)) for _ in range(2)]
        assert two[0].result(60).token_ids == expected  # the younger row gave way
        with pytest.raises(EngineMemoryError):
            two[1].result(60)


def test_a_warm_up_waits_for_nobody(endless_pair: TinyPair) -> None:
    with engine_of(endless_pair, "head", compile=True) as engine:
        stream = engine.submit(Request(messages=[{"role": "user", "content": "hello"}], max_tokens=400))
        next(iter(stream))
        with pytest.raises(EngineBusyError, match="Requests are running"):
            engine.warm_up()
        stream.cancel()


def test_a_model_that_cannot_be_compiled_is_refused_or_left_alone(endless_pair: TinyPair) -> None:
    endless_pair.model.config.sliding_window = 64
    with pytest.raises(IncompatibleModelError, match=r"compile is True, but .* sliding window"):
        engine_of(endless_pair, "head", compile=True)
    assert engine_of(endless_pair, "head").base.graph is None
