"""Does a user who only judges get answers in their taste, on a real model? A learning curve, against an oracle.

    python benchmarks/memory/learning_curve.py                     # SmolLM2 with the shipped head, 30 users: an hour
    python benchmarks/memory/learning_curve.py --users 5 --turns 4 --checkpoints 1 4 --prompts 3

Users have two to four tastes and never say them (`judges.py`). Each turn they ask a prompt that the head did not learn
from, and judge what the model with their memory answers, by turns: a thumb, a choice between the two answers of the
memory's own question (`next_question`), a thumb, an edit. After some turns they ask prompts of other topics. Their
answers are told to be good and to show each taste by rules that see no reward; an answer counts, for each taste, if it
is good and shows it. Everybody's same prompts are answered

    memory    steered by the head and told, as the head recommends, what the memory has learned
    prompt    told the same wishes in the same place, nothing steers: the best prompting
    none      plainly
    oracle    steered and told the true tastes
    wrong     as `memory`, where one judgement in ten is wrong

Intervals are bootstraps over users. Answers and rewards are kept: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from judges import TEXTS, Seen, User, choice, draw_users, edit, see, thumb

from benchmarks.answering import PENALTY, Answering, Asked, answering, model_options
from pad_langchain.adapt.prompts import Prompt, read_prompts, split
from pad_langchain.chat.chat import Chat
from pad_langchain.evaluation.statistics import interval
from pad_langchain.evaluation.wishes import Answer, Verdict, judge_all
from pad_memory import CATALOGUE, PreferenceMemory

LEARNED = 64  # of the training's prompts, those that the shipped head learned from
WRONG = 0.1
KINDS = ("thumb", "choice", "thumb", "edit")
Wishes = tuple[tuple[str, float], ...]


class KeptScorer:
    """The PersRM as the memory's scorer, its rewards kept in a file.

    Args:
        persrm: scores.
        file: keeps the rewards.
        mark: what they depend on beside prompt and answer.
    """

    def __init__(self, persrm: Any, file: Path, mark: str) -> None:
        self._persrm, self._file, self._mark = persrm, file, mark
        self.calibration = persrm.calibration
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else ()
        self._kept = {tuple(row["key"]): row["rewards"] for row in map(json.loads, lines)}

    def __call__(self, prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
        key = (self._mark, prompt, response, *preferences)
        if key not in self._kept:
            rewards = [round(float(each), 4) for each in self._persrm(prompt, response, preferences)]
            self._kept[key] = rewards
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"key": key, "rewards": rewards}, ensure_ascii=False) + "\n")
        return np.array(self._kept[key])


class RuleScorer:
    """A scorer that sees what the users' rules see: a reward of 10 nats where a pole is shown."""

    def __call__(self, prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
        keys = {text: key for key, text in TEXTS.items()}
        answers = [Answer(prompt, keys[text], response) for text in preferences]
        return np.array([10.0 * verdict.shown for verdict in judge_all(answers)])


@dataclass(frozen=True, eq=False)
class Town:
    """All users, what they ask while they judge, and what they are asked for afterwards.

    Args:
        asks: by user, a prompt for each turn.
        unseen: by user, the prompts of a checkpoint.
    """

    users: Sequence[User]
    asks: Sequence[Sequence[Prompt]]
    unseen: Sequence[Sequence[Prompt]]
    seed: int


def found_town(options: argparse.Namespace) -> Town:
    parts = split(read_prompts(), seed=0, dev=0.15, test=0.2)
    single = [prompt for prompt in parts.train[LEARNED:] if len(prompt.messages) == 1]
    users = draw_users(options.users, options.seed)
    rngs = [random.Random(f"{options.seed} {user.name}") for user in users]
    asks = [rng.sample(single, options.turns) for rng in rngs]
    unseen = [rng.sample([each for each in parts.test if len(each.messages) == 1], options.prompts) for rng in rngs]
    return Town(users, asks, unseen, options.seed)


def known_wishes(memory: PreferenceMemory, user: User, question: str = "") -> Wishes:
    return tuple((item.text, round(item.weight, 2)) for item in memory.condition(user.name, query=question))


def live(
    town: Town, answers: Answering, memory: PreferenceMemory, oracle: PreferenceMemory, checkpoints: Sequence[int]
) -> dict[int, list[Wishes]]:
    """Let all users judge, turn by turn; return what their memory says of each at every checkpoint.

    Args:
        oracle: is told the same judgements.
    """
    rngs = [random.Random(f"{town.seed} {user.name} {user.wrong}") for user in town.users]
    found = {}
    for turn in range(1, len(town.asks[0]) + 1):
        kind = KINDS[(turn - 1) % len(KINDS)]
        calls, questions = [], []
        for user, asks in zip(town.users, town.asks, strict=True):
            prompt = asks[turn - 1]
            wishes = known_wishes(memory, user, prompt.text)
            question = memory.next_question(user.name) if kind == "choice" else None
            questions.append(question)
            if question is None:
                calls.append((prompt, wishes))
                continue
            poles = {text: key.partition(":")[0] for key, text in TEXTS.items()}
            others = [wish for wish in wishes if poles.get(wish[0]) not in question.dimensions]
            for side in (question.first, question.second):
                calls.append((prompt, (*others, *((text, 1.0) for text in side))))
        said = iter(answers([ask(prompt, wishes) for prompt, wishes in calls], f"turn {turn}, {kind}"))
        shown = iter(
            see(
                [
                    (user, asks[turn - 1].text, (each := next(said)).text, each.finish)
                    for user, asks, question in zip(town.users, town.asks, questions, strict=True)
                    for _ in range(1 if question is None else 2)
                ]
            )
        )
        for user, question, rng in zip(town.users, questions, rngs, strict=True):
            first = next(shown)
            second = None if question is None else next(shown)
            event = judged(user, kind, question, first, second, rng)
            for each in (memory, oracle):
                each.record(user.name, event)
        if turn in checkpoints:
            found[turn] = [known_wishes(memory, user) for user in town.users]
    return found


def judged(user: User, kind: str, question: Any, first: Seen, second: Seen | None, rng: random.Random) -> Any:
    if second is not None and first.text.strip() != second.text.strip():
        return choice(user, question, first, second, rng)
    return edit(user, first, rng) if kind == "edit" else thumb(user, first, rng)


def ask(prompt: Prompt, wishes: Wishes, **keywords: Any) -> Asked:
    """A call with some wishes; without any, and not guided, the penalty is as where the head recommends one."""
    if not wishes or keywords.get("beta") == 0.0:
        keywords = {**keywords, "repetition_penalty": PENALTY}
    return Asked(prompt.messages, {"preference": [list(wish) for wish in wishes], **keywords})


def evaluate(town: Town, answers: Answering, wishes: Sequence[Wishes], what: str, **keywords: Any) -> list[Any]:
    """For each user their verdicts, a list of one for each taste for every unseen prompt."""
    calls = [
        (user, prompt, known)
        for user, known, prompts in zip(town.users, wishes, town.unseen, strict=True)
        for prompt in prompts
    ]
    said = answers([ask(prompt, known, **keywords) for _, prompt, known in calls], what)
    rows = [
        Answer(prompt.text, taste, each.text, each.finish, " ".join(text for text, _ in known))
        for (user, prompt, known), each in zip(calls, said, strict=True)
        for taste in user.tastes
    ]
    verdicts = iter(judge_all(rows))
    return [
        [[next(verdicts) for _ in user.tastes] for _ in prompts]
        for user, prompts in zip(town.users, town.unseen, strict=True)
    ]


def measures(found: Sequence[Sequence[Sequence[Verdict]]]) -> dict[str, list[float]]:
    """By user: share of (answer, taste) that are shown, good and both, and of answers with all tastes."""
    names = ("shown", "good", "both")
    by = {name: [np.mean([getattr(v, name) for one in user for v in one]) for user in found] for name in names}
    return {**by, "all": [np.mean([all(v.both for v in one) for one in user]) for user in found]}


def right(users: Sequence[User], wishes: Sequence[Wishes]) -> tuple[float, float]:
    """Share of tastes that steer, and share of what steers that is a taste."""
    known = [{text for text, weight in each if weight > 0} for each in wishes]
    tastes = [{TEXTS[taste] for taste in user.tastes} for user in users]
    hits = sum(len(a & b) for a, b in zip(tastes, known, strict=True))
    return hits / sum(map(len, tastes)), hits / max(1, sum(map(len, known)))


def first_share(memory: PreferenceMemory, users: Sequence[User]) -> float:
    """Share of tastes among a user's first n dimensions by signed weight, where n is how many tastes they have."""
    hits = 0
    for user in users:
        posterior = memory.profile(user.name).posterior
        rows = sorted(range(len(CATALOGUE)), key=lambda row: -abs(posterior.mean_D[row]))[: len(user.tastes)]
        sides = {f"{CATALOGUE[r].name}:{CATALOGUE[r].poles[0 if posterior.mean_D[r] > 0 else 1].name}" for r in rows}
        hits += len(sides & set(user.tastes))
    return hits / sum(len(user.tastes) for user in users)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model_options(parser, 128)
    parser.add_argument("--users", type=int, default=30)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[1, 5, 10, 20])
    parser.add_argument("--prompts", type=int, default=6, help="of a checkpoint, for each user")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    town = found_town(options)
    wrong = replace(town, users=[replace(user, wrong=WRONG) for user in town.users])
    rows: dict[str, list[Any]] = {}
    last = max(options.checkpoints)
    with answering(options, "learning_curve") as answers:
        scorer = KeptScorer(
            Chat.of(answers.llm.model_name, answers.llm).persrm, options.kept / "rewards.jsonl", answers.mark
        )
        tastes = [tuple((TEXTS[taste], 1.0) for taste in user.tastes) for user in town.users]
        rows["none"] = evaluate(town, answers, [()] * len(town.users), "no memory")
        rows["oracle"] = evaluate(town, answers, tastes, "oracle")
        known: dict[str, list[Wishes]] = {}
        for name, people in (("memory", town), ("wrong", wrong)):
            with PreferenceMemory(scorer=scorer) as memory, PreferenceMemory(scorer=RuleScorer()) as oracle:
                for turn, wishes in live(people, answers, memory, oracle, options.checkpoints).items():
                    known[f"{name}, {turn}"] = wishes
                    if name == "memory" or turn == last:
                        rows[f"{name}, {turn}"] = evaluate(people, answers, wishes, f"{name}, {turn}")
                    if name == "memory":
                        rows[f"prompt, {turn}"] = evaluate(town, answers, wishes, f"prompt, {turn}", beta=0.0)
                ranks = first_share(memory, people.users), first_share(oracle, people.users)
                print(f"{name}: tastes first after {options.turns}: {ranks[0]:.3f}, told by rules {ranks[1]:.3f}")
    report(town, rows, known, last)


def report(town: Town, rows: dict[str, Any], known: dict[str, list[Wishes]], last: int) -> None:
    print("\n| | taste shown | good | both | all tastes, good | tastes that steer | what steers is a taste |")
    print("|---|---|---|---|---|---|---|")
    by = {name: measures(found) for name, found in rows.items()}
    for name, each in by.items():
        mean, low, high = interval(each["both"])
        steer = [f"{share:.2f}" for share in right(town.users, known[name])] if name in known else ["", ""]
        shown, good, all_ = (np.mean(each[part]) for part in ("shown", "good", "all"))
        both = f"**{mean:.3f}** [{low:.3f}, {high:.3f}]"
        print(f"| {name} | {shown:.3f} | {good:.3f} | {both} | {all_:.3f} | {steer[0]} | {steer[1]} |")
    memory, oracle = by[f"memory, {last}"]["both"], by["oracle"]["both"]
    print(f"\nmemory ÷ oracle {np.mean(memory) / np.mean(oracle):.3f}")
    for name in (f"prompt, {last}", "none"):
        mean, low, high = interval([a - b for a, b in zip(memory, by[name]["both"], strict=True)])
        print(f"memory − {name}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    print(f"wrong ÷ right {np.mean(by[f'wrong, {last}']['both']) / np.mean(memory):.3f}")


if __name__ == "__main__":
    main()
