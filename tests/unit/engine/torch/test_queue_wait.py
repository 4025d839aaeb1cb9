"""How long a request waited in the queue is told once, when it joins the batch."""

from __future__ import annotations

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.testing import paused


def asked(**more: object) -> Request:
    return Request(messages=[{"role": "user", "content": "hi"}], max_tokens=2, **more)  # type: ignore[arg-type]


def test_it_is_told_when_the_request_joins(torch_engine: TorchEngine) -> None:
    told: list[float] = []
    with paused(torch_engine):
        stream = torch_engine.submit(asked())
        stream.when_begun(told.append)
        assert told == []
    stream.result()
    assert len(told) == 1
    assert 0 < told[0] < 60
    late: list[float] = []
    stream.when_begun(late.append)
    assert late == told


def test_samples_of_one_request_wait_once(torch_engine: TorchEngine) -> None:
    told: list[float] = []
    with paused(torch_engine):
        stream = torch_engine.submit(
            asked(best_of=3, temperature=1.0, preferences=(WeightedPreference("be brief", 1.0),))
        )
        stream.when_begun(told.append)
    stream.result()
    assert len(told) == 1


def test_who_leaves_the_queue_has_not_begun(torch_engine: TorchEngine) -> None:
    told: list[float] = []
    with paused(torch_engine):
        stream = torch_engine.submit(asked())
        stream.when_begun(told.append)
        stream.cancel()
    assert stream.result().finish_reason == "cancelled"
    assert told == []
