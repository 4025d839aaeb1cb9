"""Best-of-n: several answers to one request, of which the caller sees the best."""

from __future__ import annotations

from pad_langchain.engine.stream import Stream
from pad_langchain.engine.types import TokenEvent

__all__ = ["BestOf"]


class BestOf:
    """Several answers to one request. When all are done, the events of the best go to the caller's stream.

    The best answer has the highest total reward (nats). Of equals, the one that was drawn first is taken.

    Args:
        stream: the caller's.
        count: samples to decode. Each fills one of `samples`.
    """

    def __init__(self, stream: Stream, count: int) -> None:
        self.stream = stream
        self.samples: list[Stream] = [_Sample(self) for _ in range(count)]

    def decide(self) -> None:
        """Fail the request if a sample failed. Give the best sample if all are done."""
        failed = next((sample.error for sample in self.samples if sample.error is not None), None)
        if failed is not None:
            self.stream.fail(failed)
        elif all(sample.done for sample in self.samples):
            best = max(self.samples, key=lambda sample: sum(event.reward or 0.0 for event in sample.events))
            for event in best.events:
                self.stream.put(event)


class _Sample(Stream):
    """The stream of one sample, which only its group reads."""

    def __init__(self, group: BestOf) -> None:
        super().__init__(group.stream.request, group.stream.prompt_tokens)
        self._group = group

    @property
    def cancelled(self) -> bool:
        return self._group.stream.cancelled or self._group.stream.done

    def begin(self) -> None:
        self._group.stream.begin()

    def put(self, event: TokenEvent) -> None:
        super().put(event)
        if event.finish_reason is not None:
            self._group.decide()

    def abandon(self, error: BaseException) -> None:
        self._group.stream.abandon(error)
        super().abandon(error)

    def fail(self, error: BaseException) -> None:
        super().fail(error)
        self._group.decide()
