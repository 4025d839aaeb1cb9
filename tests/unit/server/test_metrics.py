"""What a server counts."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pad_langchain.server.metrics import AnswerClock, Metrics


def figures(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_what_is_counted() -> None:
    metrics = Metrics()
    metrics.watch(running=lambda: 3, waiting=lambda: 2)
    metrics.tokens(10, 4)
    metrics.tokens(5, 1)
    metrics.refused("queue_full")
    metrics.feedback("thumb")
    metrics.feedback("thumb")
    metrics.queued(0.3)
    with metrics.memory("record"):
        pass
    with pytest.raises(OSError, match="gone"), metrics.memory("record"):
        raise OSError("gone")
    seen = figures(metrics)
    assert seen[("pad_requests_running",)] == 3
    assert seen[("pad_requests_waiting",)] == 2
    assert seen[("pad_prompt_tokens_total",)] == 15
    assert seen[("pad_completion_tokens_total",)] == 5
    assert seen[("pad_refused_total", "queue_full")] == 1
    assert seen[("pad_feedback_total", "thumb")] == 2
    assert seen[("pad_memory_seconds_count", "record")] == 2
    assert seen[("pad_queue_wait_seconds_sum",)] == 0.3


def test_an_answer_is_timed_from_its_request_and_from_token_to_token() -> None:
    first: list[float] = []
    between: list[float] = []
    moments = iter([10.0, 12.0, 12.5, 13.5])
    clock = AnswerClock(first.append, between.append, lambda: next(moments))
    for _ in range(3):
        clock.token()
    assert (first, between) == ([2.0], [0.5, 1.0])


def test_the_times_reach_the_histograms() -> None:
    metrics = Metrics()
    clock = metrics.answer()
    for _ in range(3):
        clock.token()
    seen = figures(metrics)
    assert seen[("pad_time_to_first_token_seconds_count",)] == 1
    assert seen[("pad_time_between_tokens_seconds_count",)] == 2


def test_two_servers_of_a_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.tokens(1, 1)
    assert figures(other)[("pad_prompt_tokens_total",)] == 0
