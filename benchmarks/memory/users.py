"""Does the memory find out what its users like? Simulated users with known preferences, judged against an oracle.

    python benchmarks/memory/users.py                        the demo pair's PersRM as scorer
    python benchmarks/memory/users.py --scorer synthetic     no model: true styles with noise

Each user has one to three of the catalogue's preferences and gives ten events: "mixed" has two wishes in held-out words
and eight thumbs and choices, "choices" has ten choices; twenty show how that goes on. Answers have random style; users
judge where they have a view, which is wrong in 10%. The figure is the share of true preferences among the user's first
n, where n is how many they have. The oracle is the same memory with a scorer that knows every answer's true style.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pad_memory import CATALOGUE, Choice, Feedback, PreferenceMemory, Scorer, Statement, Thumb

WRONG = 0.1
EVENTS = 10
POLES = {dimension.name: [pole.text for pole in dimension.poles] for dimension in CATALOGUE}
KEYS = {(d.name, side): f"{d.name}:{pole.name}" for d in CATALOGUE for side, pole in enumerate(d.poles)}

Style = Mapping[str, int]  # dimension → index of its pole, 0 or 1
Answerer = Callable[[Style, random.Random], tuple[str, str]]  # → (prompt, response)


@dataclass(frozen=True)
class User:
    """A simulated user and the preferences they have."""

    likes: Style

    def utility(self, style: Style) -> int:
        """Wishes met minus wishes not met."""
        return sum(1 if style[name] == pole else -1 for name, pole in self.likes.items())


class TrueStyles:
    """A scorer that remembers the style each answer was made with: margins of ±`nats`, plus noise on each reward."""

    def __init__(self, nats: float = 20.0, noise: float = 0.0, seed: int = 0) -> None:
        self.styles: dict[str, Style] = {}
        self._nats, self._noise, self._rng = nats, noise, np.random.default_rng(seed)

    def __call__(self, prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
        style = self.styles[response]
        met = {
            text: 1 if style[name] == side else -1 for name, texts in POLES.items() for side, text in enumerate(texts)
        }
        rewards_P = np.array([met[text] for text in preferences]) * self._nats / 2.0
        return rewards_P + self._rng.normal(0.0, self._noise, len(preferences))


def simulate(
    users: int,
    kind: str,
    answer: Answerer,
    words: Mapping[str, Sequence[str]],
    scorer: TrueStyles,
    seed: int,
    each: int = EVENTS,
) -> list[tuple[User, list[Feedback]]]:
    """Draw users and their events; the true style of every answer goes into `scorer.styles`."""
    rng = random.Random(seed)

    def made() -> tuple[str, str, Style]:
        style = {name: rng.randrange(2) for name in POLES}
        prompt, response = answer(style, rng)
        scorer.styles[response] = style
        return prompt, response, style

    def judgement(user: User, choice: bool) -> Feedback:
        while True:  # until they have a view
            prompt, first, style = made()
            _, second, other = made()
            advantage = user.utility(style) - (user.utility(other) if choice else 0)
            if advantage:
                break
        up = (advantage > 0) != (rng.random() < WRONG)
        if not choice:
            return Thumb(prompt, first, up)
        return Choice(prompt, first, second) if up else Choice(prompt, second, first)

    found = []
    for _ in range(users):
        names = rng.sample(list(POLES), rng.randint(1, 3))
        user = User({name: rng.randrange(2) for name in names})
        events: list[Feedback] = []
        if kind == "mixed":
            spoken = (rng.sample(names, len(names)) * 2)[:2]
            keys = [KEYS[name, user.likes[name]] for name in spoken]
            events += [Statement(rng.choice(words[key])) for key in keys]
        events += [judgement(user, kind == "choices" or rng.random() < 0.5) for _ in range(each - len(events))]
        rng.shuffle(events)
        found.append((user, events))
    return found


def share_found(memory: PreferenceMemory, users: Sequence[tuple[User, Sequence[Feedback]]]) -> float:
    """Record everybody's events and return the share of true preferences ranked first, by signed weight."""
    found = total = 0
    for number, (user, events) in enumerate(users):
        name = f"user {number}"
        for event in events:
            memory.record(name, event)
        posterior = memory.profile(name).posterior
        first = sorted(range(len(posterior.dimensions)), key=lambda row: -abs(posterior.mean_D[row]))[: len(user.likes)]
        ranked = {posterior.dimensions[row]: 0 if posterior.mean_D[row] > 0 else 1 for row in first}
        found += sum(ranked.get(name) == pole for name, pole in user.likes.items())
        total += len(user.likes)
    return found / total


def synthetic_answer(style: Style, rng: random.Random) -> tuple[str, str]:
    """An answer that is nothing but its style and a number that makes it unique."""
    return "Tell me.", f"answer {rng.getrandbits(64):x} in {sorted(style.items())}"


def demo_answer(style: Style, rng: random.Random) -> tuple[str, str]:
    """An answer of the demo pair's world on a random topic."""
    from recipes.demo_world import world
    from recipes.demo_world.topics import TOPICS

    topic = rng.choice(TOPICS)
    return world.question(topic, rng), world.answer(topic, style, rng)


def demo_scorer() -> Scorer:
    """The demo pair's PersRM with the calibration it is shipped with."""
    from pad_langchain import PersRM
    from pad_langchain.defaults import WEIGHTS

    return PersRM.from_pretrained(WEIGHTS / "persrm", base=WEIGHTS / "base")


def main() -> None:
    from recipes.demo_world.wordings import REWORDED

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scorer", choices=["demo", "synthetic"], default="demo")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=1, help="repeat with this many seeds and pool")
    options = parser.parse_args()
    answer = demo_answer if options.scorer == "demo" else synthetic_answer
    scorer = demo_scorer() if options.scorer == "demo" else None
    print(f"{'events':<13}{'scorer':>10}{'oracle':>10}{'of the oracle':>16}")
    for kind, each in (("mixed", EVENTS), ("choices", EVENTS), ("choices", 2 * EVENTS)):
        shares = []
        for seed in range(options.seeds):
            oracle, noisy = TrueStyles(), TrueStyles(noise=8.0, seed=seed)
            users = simulate(options.users, kind, answer, REWORDED, oracle, seed, each)
            noisy.styles = oracle.styles
            with PreferenceMemory(scorer=scorer or noisy) as memory, PreferenceMemory(scorer=oracle) as best:
                shares.append((share_found(memory, users), share_found(best, users)))
        share, limit = np.mean(shares, axis=0)
        print(f"{each:>2} {kind:<10}{share:>10.3f}{limit:>10.3f}{share / limit:>16.3f}")


if __name__ == "__main__":
    main()
