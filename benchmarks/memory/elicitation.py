"""How well is a user known after ten questions? Simulated users answer what `PreferenceMemory.next_question` asks.

    python benchmarks/memory/elicitation.py                       the demo pair's PersRM reads the two answers
    python benchmarks/memory/elicitation.py --scorer synthetic    true styles, with noise
    python benchmarks/memory/elicitation.py --scorer oracle       true styles

The users are those of users.py. The two answers differ in what the question asks about and are alike, of random
style, in all else. A user picks the better one, or says "no difference"; one answer in ten is wrong, any of the other
two. With --forced "no difference" cannot be said and users without a view pick at random.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

import numpy as np
from users import (
    POLES,
    WRONG,
    Answerer,
    TrueStyles,
    User,
    demo_answer,
    demo_scorer,
    share_found,
    simulate,
    synthetic_answer,
)

from pad_memory import Choice, PreferenceMemory, Scorer
from pad_memory.profile.elicitation import Question


def ask(
    question: Question, user: User, answer: Answerer, truth: TrueStyles, rng: random.Random, forced: bool
) -> Choice:
    """Put one question before a user."""
    shared = {name: rng.randrange(2) for name in POLES}
    seed, answers, liked = rng.random(), [], []
    for texts in (question.first, question.second):
        asked = {name: POLES[name].index(text) for name, text in zip(question.dimensions, texts, strict=True)}
        style = {**shared, **asked}
        prompt, response = answer(style, random.Random(seed))  # the same topic for both
        truth.styles[response] = style
        answers.append(response)
        liked.append(user.utility(style))
    picks = [1, 2] if forced else [1, 2, None]
    undecided = rng.choice(picks) if forced else None
    picked = undecided if liked[0] == liked[1] else 1 if liked[0] > liked[1] else 2
    if rng.random() < WRONG:
        picked = rng.choice([other for other in picks if other != picked])
    event = question.choice(prompt, answers[0], answers[1], picked)
    return Choice(event.prompt, event.chosen, event.rejected) if forced else event


def interview(
    memory: PreferenceMemory, users: Sequence[User], answer: Answerer, truth: TrueStyles, rounds: int, forced: bool
) -> float:
    """Ask every user `rounds` questions and return the share of true preferences ranked first."""
    rng = random.Random(0)
    for number, user in enumerate(users):
        for _ in range(rounds):
            question = memory.next_question(f"user {number}")
            if question is None:
                break
            memory.record(f"user {number}", ask(question, user, answer, truth, rng, forced))
    return share_found(memory, [(user, []) for user in users])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scorer", choices=["demo", "synthetic", "oracle"], default="demo")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--rounds", type=int, nargs="+", default=[10])
    parser.add_argument("--seeds", type=int, default=1, help="repeat with this many seeds and pool")
    parser.add_argument("--forced", action="store_true", help='"no difference" cannot be said')
    options = parser.parse_args()
    answer = demo_answer if options.scorer == "demo" else synthetic_answer
    demo = demo_scorer() if options.scorer == "demo" else None
    for rounds in options.rounds:
        shares = []
        for seed in range(options.seeds):
            truth = TrueStyles(noise=8.0 if options.scorer == "synthetic" else 0.0, seed=seed)
            users = [user for user, _ in simulate(options.users, "choices", synthetic_answer, {}, truth, seed)]
            scorer: Scorer = demo or truth
            with PreferenceMemory(scorer=scorer) as memory:
                shares.append(interview(memory, users, answer, truth, rounds, options.forced))
        print(f"{rounds:>3} questions, {options.scorer} scorer: {np.mean(shares):.3f} of true preferences ranked first")


if __name__ == "__main__":
    main()
