"""How long a run will take and what it will yield, from its first prompts."""

from __future__ import annotations

from dataclasses import dataclass

from pad_langchain.adapt.job import Job
from pad_langchain.adapt.lessons.corpus import Corpus

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """What is to be expected.

    Args:
        minutes: stage → minutes that are left. A stage that did nothing in this process is left out.
        examples: pole → examples in the end.
        few: the poles that will have too few.
    """

    minutes: dict[str, float]
    examples: dict[str, int]
    few: tuple[str, ...]

    def lines(self) -> list[str]:
        """The estimate in words."""
        parts = ", ".join(f"{name} {minutes:.0f}" for name, minutes in self.minutes.items())
        said = [f"about {sum(self.minutes.values()):.0f} minutes are left ({parts}), and those of the fit"]
        said.append("examples to be expected: " + ", ".join(f"{key} {n}" for key, n in self.examples.items()))
        if self.few:
            said.append(f"too few examples are to be expected for {', '.join(self.few)}: the head will be weak there")
        return said


def estimate(job: Job, pilot: Corpus, prompts: int, judged: int) -> Estimate:
    """Extrapolate from the first prompts.

    Args:
        pilot: what they yielded.
        prompts: how many they are.
        judged: answers that will be judged in the end.
    """
    times = len(job.prompts.train) / prompts
    minutes = {
        name: spent.seconds / 60 * (times - 1) for name, spent in job.spent.items() if spent.units and spent.seconds
    }
    answers = job.spent["answers"]
    if answers.units:
        longer = job.config.choice.max_tokens / job.config.sample.max_tokens
        minutes["judging"] = judged * answers.seconds / answers.units * longer / 60
    examples = {key: round(pilot.kept[key] * times) for key in pilot.tried}
    few = tuple(key for key, number in examples.items() if number < job.config.filter.least_kept)
    return Estimate(minutes, examples, few)
