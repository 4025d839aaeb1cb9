"""Does a user who only judges get answers in their taste, on a real model? A learning curve, against an oracle.

    python benchmarks/memory/learning_curve.py                     # SmolLM2 with the shipped head, 30 users: an hour
    python benchmarks/memory/learning_curve.py --users 5 --checkpoints 5 20 --prompts 2

Users have two to four tastes and never say them (`judges.py`). They judge the model's own answers to prompts that the
head did not learn from, given under each wish of the catalogue and under none: by turns a thumb, a choice between two
that differ as the memory asks (`next_question`), a thumb, an edit. After some turns they ask prompts of other topics.
Those answers are told to be good and to show each taste by rules that see no reward; an answer counts, for each taste,
if it is good and shows it. The same prompts are answered

    memory    steered by the head and told, as the head recommends, what the memory has learned
    prompt    told the same wishes in the same place, nothing steers: the best prompting
    none      plainly
    oracle    steered and told the true tastes
    wrong     as `memory`, where one judgement in ten on the same answers was wrong

Intervals are bootstraps over users. Answers and rewards are kept: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from judges import EMBEDDER, TEXTS, Seen, User, choice, draw_users, edit, see, thumb

from benchmarks.answering import PENALTY, Answering, Asked, Said, answering, model_options
from pad_langchain.adapt.prompts import Prompt, read_prompts, split
from pad_langchain.chat.chat import Chat
from pad_langchain.evaluation.statistics import interval
from pad_langchain.evaluation.wishes import Answer, Verdict, judge_all, judge_wish
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
        return np.array([10.0 * judge_wish(response, keys[text]) for text in preferences])


@dataclass(frozen=True, eq=False)
class Town:
    """All users, and what they are asked for after they have judged.

    Args:
        unseen: by user, the prompts of a checkpoint.
    """

    users: Sequence[User]
    unseen: Sequence[Sequence[Prompt]]
    seed: int


@dataclass(frozen=True, eq=False)
class Pool:
    """What users judge: the prompts, and their answers by pole; that without a wish has the pole ""."""

    prompts: Sequence[Prompt]
    said: Mapping[tuple[str, str], Said]


def found_town(options: argparse.Namespace) -> Town:
    users = draw_users(options.users, options.seed)
    others = [prompt for prompt in split(read_prompts(), seed=0, dev=0.15, test=0.2).test if len(prompt.messages) == 1]
    # All are shuffled and the first ones taken, so that more of them are the same ones and more.
    rngs = [random.Random(f"{options.seed} {user.name}") for user in users]
    return Town(users, [rng.sample(others, len(others))[: options.prompts] for rng in rngs], options.seed)


def fill_pool(answers: Answering, count: int) -> Pool:
    train = split(read_prompts(), seed=0, dev=0.15, test=0.2).train[LEARNED:]
    prompts = [prompt for prompt in train if len(prompt.messages) == 1][:count]
    calls = {
        (key, prompt.id): Asked(
            prompt.messages, {"preference": text} if text else {"preference": [], "repetition_penalty": PENALTY}
        )
        for key, text in {**TEXTS, "": ""}.items()
        for prompt in prompts
    }
    return Pool(prompts, dict(zip(calls, answers(list(calls.values()), "what users judge"), strict=True)))


def known_wishes(memory: PreferenceMemory, user: User, question: str = "") -> Wishes:
    return tuple((item.text, round(item.weight, 2)) for item in memory.condition(user.name, query=question))


@dataclass(frozen=True, eq=False)
class Memories:
    """What is told of the users.

    Args:
        right: all that they judge. wrong: the same, one judgement in ten wrong.
        rules: what `right` is told, judged as users' rules see it.
    """

    right: PreferenceMemory
    wrong: PreferenceMemory
    rules: PreferenceMemory


def live(
    town: Town, pool: Pool, memories: Memories, turns: int, checkpoints: Sequence[int]
) -> tuple[dict[int, list[Wishes]], dict[int, list[Wishes]]]:
    """Let all users judge, turn by turn; return what the two memories say of each at every checkpoint."""
    rngs = [random.Random(f"{town.seed} {user.name} judges") for user in town.users]
    right, wrong = {}, {}
    for turn in range(1, turns + 1):
        kind = KINDS[(turn - 1) % len(KINDS)]
        for user, rng in zip(town.users, rngs, strict=True):
            prompt = rng.choice(pool.prompts)
            question = memories.right.next_question(user.name) if kind == "choice" else None
            keys = [rng.choice(sorted({key for key, _ in pool.said}))]
            if question is not None:  # one of its dimensions, for each answer was given under one wish
                poles = {text: key for key, text in TEXTS.items()}
                keys = [poles[side[0]] for side in (question.first, question.second)]
            said = [pool.said[key, prompt.id] for key in keys]
            seen = see([(user, prompt.text, each.text, each.finish) for each in said])
            event = judged(user, kind, question, seen, rng)
            for each in (memories.right, memories.rules):
                each.record(user.name, event)
            memories.wrong.record(user.name, judged(replace(user, wrong=WRONG), kind, question, seen, rng))
        if turn in checkpoints:
            right[turn], wrong[turn] = (
                [known_wishes(each, user) for user in town.users] for each in (memories.right, memories.wrong)
            )
            print(f"after {turn}: tastes first {shares_first(memories, town.users)}", flush=True)
    return right, wrong


def shares_first(memories: Memories, users: Sequence[User]) -> str:
    each = {name: first_share(getattr(memories, name), users) for name in ("right", "wrong", "rules")}
    return ", ".join(f"{name} {share:.3f}" for name, share in each.items())


def judged(user: User, kind: str, question: Any, seen: Sequence[Seen], rng: random.Random) -> Any:
    if len(seen) > 1 and seen[0].text.strip() != seen[1].text.strip():
        return choice(user, question, seen[0], seen[1], rng)
    return edit(user, seen[0], rng) if kind == "edit" else thumb(user, seen[0], rng)


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
    verdicts = iter(judge_all(rows, embedder=EMBEDDER))
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
    parser.add_argument("--judged", type=int, default=24, help="prompts whose answers users judge")
    parser.add_argument(
        "--scorer", choices=["recommended", "head"], default="recommended", help="what judges answers for the memory"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    town = found_town(options)
    rows: dict[str, list[Any]] = {}
    last = max(options.checkpoints)
    with answering(options, "learning_curve") as answers:
        persrm = Chat.of(answers.llm.model_name, answers.llm).persrm
        scorer = persrm.memory_scorer if options.scorer == "recommended" else None
        if scorer is None:
            scorer = KeptScorer(persrm, options.kept / "rewards.jsonl", answers.mark)
        pool = fill_pool(answers, options.judged)
        tastes = [tuple((TEXTS[taste], 1.0) for taste in user.tastes) for user in town.users]
        known: dict[str, list[Wishes]] = {}
        opened = [PreferenceMemory(scorer=each) for each in (scorer, scorer, RuleScorer())]
        with opened[0], opened[1], opened[2]:
            right, wrong = live(town, pool, Memories(*opened), options.turns, options.checkpoints)
        rows["none"] = evaluate(town, answers, [()] * len(town.users), "no memory")
        rows["oracle"] = evaluate(town, answers, tastes, "oracle")
        for turn in sorted(right, reverse=True):
            known[f"memory, {turn}"] = known[f"prompt, {turn}"] = right[turn]
            rows[f"memory, {turn}"] = evaluate(town, answers, right[turn], f"memory, {turn}")
            rows[f"prompt, {turn}"] = evaluate(town, answers, right[turn], f"prompt, {turn}", beta=0.0)
            if turn == last:
                known[f"wrong, {turn}"] = wrong[turn]
                rows[f"wrong, {turn}"] = evaluate(town, answers, wrong[turn], f"wrong, {turn}")
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
