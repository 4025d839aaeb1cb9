"""Memory is bounded by a token budget, and running out of it costs the fewest requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from pad_langchain.engine.local.worker import StepReport
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import EngineMemoryError, InvalidRequestError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.testing import TinyPair, paused, tiny_model


def ask(user: str = "explain entropy", **kwargs: Any) -> Request:
    return Request(messages=[{"role": "user", "content": user}], **{"max_tokens": 20, **kwargs})


def guided(pair: TinyPair, **kwargs: Any) -> TorchEngine:
    guide = ModelGuide(Backbone(tiny_model(7)), Prompts(pair.tokenizer))
    return TorchEngine(pair.model, pair.tokenizer, guide, **kwargs)


def watched(engine: TorchEngine) -> tuple[list[int], list[Request]]:
    """Columns of KV cache in use at every step, padding included, and requests in the order they joined."""
    columns: list[int] = []
    joined: list[Request] = []

    def watch(step: StepReport) -> None:
        columns.append(step.kv_tokens)
        joined.extend(request for request in step.requests if request not in joined)

    engine.watch(watch)
    return columns, joined


def test_the_batch_stays_within_the_budget_first_come_first_served(pair: TinyPair) -> None:
    requests = [ask("why? " * (1 + 7 * (index % 3)), max_tokens=10 + index) for index in range(9)]
    with TorchEngine(pair.model, pair.tokenizer) as engine:
        expected = [engine.submit(request).result(60).token_ids for request in requests]
    with TorchEngine(pair.model, pair.tokenizer, max_batch_tokens=200) as engine:
        columns, joined = watched(engine)
        streams = [engine.submit(request) for request in requests]
        assert [stream.result(60).token_ids for stream in streams] == expected
        assert joined == requests
        assert 60 < max(columns) <= 200


def test_a_request_that_alone_exceeds_the_budget(pair: TinyPair) -> None:
    preferences = [WeightedPreference("be kind"), WeightedPreference("be brief")]
    with guided(pair, max_batch_tokens=300) as engine:
        engine.submit(ask(preferences=preferences[:1], max_tokens=9)).result(60)
        with pytest.raises(InvalidRequestError, match=r"needs 3 rows of up to \d+ tokens.*max_batch_tokens 300"):
            engine.submit(ask(preferences=preferences, max_tokens=90))
        with pytest.raises(InvalidRequestError, match="1 rows of up to 417 tokens"):
            engine.submit(ask(max_tokens=400))
    with pytest.raises(InvalidRequestError, match="max_batch_tokens has to be an integer of at least 1"):
        TorchEngine(pair.model, pair.tokenizer, max_batch_tokens=0)


@contextmanager
def failing(module: Any, when: Callable[[torch.Tensor], bool], error: Exception) -> Iterator[None]:
    """Make a module raise in forwards whose input is such."""

    def hook(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if when(inputs[0]):
            raise error

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["base", "guide"])
def test_out_of_memory_in_mid_batch_fails_the_youngest_alone(pair: TinyPair, where: str, error: Exception) -> None:
    """Steps of more than two rows fail in the last layer: two requests live on, as if nothing had happened."""
    settings: dict[str, Any] = {"preferences": [WeightedPreference("be kind")], "max_tokens": 15}
    sampled = {"temperature": 0.9, "seed": 3}
    requests = [ask(f"{index}?", **settings, **(sampled if index else {})) for index in range(4)]
    with guided(pair, prefix_tokens=0) as engine:
        expected = [engine.submit(request).result(60).token_ids for request in requests]
        assert isinstance(engine.guide, ModelGuide)
        model = engine.base.model if where == "base" else engine.guide.backbone.model
        layer = model.model.layers[1].mlp.down_proj
        with failing(layer, lambda states: states.shape[1] == 1 and states.shape[0] > 2, error):
            with paused(engine):
                streams = [engine.submit(request) for request in requests]
            for index, stream in enumerate(streams):
                if index < 2:
                    assert stream.result(60).token_ids == expected[index]
                else:
                    with pytest.raises(EngineMemoryError, match=r"rows in the batch.*max_batch_tokens"):
                        stream.result(60)
        assert engine.submit(requests[3]).result(60).token_ids == expected[3]


def test_kept_prefixes_go_before_a_request_does(pair: TinyPair) -> None:
    with TorchEngine(pair.model, pair.tokenizer) as engine:
        expected = engine.submit(ask("why? " * 20)).result(60).token_ids
        assert len(engine.base.prefixes) > 0
        error = torch.OutOfMemoryError("out of memory")
        full = lambda states: states.shape[1] == 1 and len(engine.base.prefixes) > 0  # noqa: E731
        with failing(pair.model.model.layers[0], full, error):
            assert engine.submit(ask("why? " * 20)).result(60).token_ids == expected


@pytest.mark.parametrize(("prefix_tokens", "first_lives"), [(0, False), (4096, True)])
def test_who_waits_is_not_lost_when_memory_runs_out_as_they_join(
    pair: TinyPair, prefix_tokens: int, first_lives: bool
) -> None:
    requests = [ask(user, preferences=[WeightedPreference("be kind")], max_tokens=30) for user in ("why?", "how?")]
    with guided(pair, prefix_tokens=prefix_tokens) as engine:
        expected = [engine.submit(request).result(60).token_ids for request in requests]
        assert isinstance(engine.guide, ModelGuide)
        armed, shortages = threading.Event(), 0

        def joining(_: torch.Tensor) -> bool:
            """Once: when the second request has left the queue, but the batch has not taken it in."""
            nonlocal shortages
            short = armed.is_set() and (engine.waiting, engine.running) == (0, 1) and not shortages
            shortages += short
            return short

        layer = engine.guide.backbone.model.model.layers[1]
        with failing(layer, joining, torch.OutOfMemoryError("out of memory")):
            first = engine.submit(requests[0])
            reader = iter(first)
            next(reader)
            with paused(engine):
                second = engine.submit(requests[1])
                armed.set()
            assert second.result(60).token_ids == expected[1]
        assert shortages == 1
        if first_lives:
            assert first.result(60).token_ids == expected[0]
        else:
            with pytest.raises(EngineMemoryError):
                list(reader)


def test_another_error_in_a_step_ends_the_batch_and_not_the_worker(pair: TinyPair) -> None:
    with TorchEngine(pair.model, pair.tokenizer) as engine:
        broken = failing(pair.model.model.layers[0], lambda states: states.shape[1] == 1, RuntimeError("broken"))
        with broken, pytest.raises(RuntimeError, match="broken"):
            engine.submit(ask()).result(60)
        assert engine.submit(ask()).result(60).completion_tokens == 20
