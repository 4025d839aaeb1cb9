"""What a residual gate learned from a user's choices knows of their next ones, and what it does to the reward of harm.

    python benchmarks/memory/taste.py --cache FOLDER [--prompts 80]

SmolLM2 answers our own prompts twice each, its shipped head reads the answers; both are kept in FOLDER. A user picks
the one of two answers to a prompt that clearly has more of a rule counted in its text. "Outside" are the rules of
`text_rules`, which no wish of the catalogue names; "inside" are the catalogue's poles. After 20 choices the memory's
own fold concludes a profile, and is asked about all other pairs: right by the catalogue alone, and with the taste where
the fold has one. "Alone" is what a gate foretells that takes no account of the catalogue, and is asked whether it helps
or not. "Hostile" are users who 50 times pick a hostile answer: what their taste, as a head takes it, adds to the reward
of hostile answers that they have not seen.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from text_rules import RULES

from pad_langchain.adapt.prompts import read_prompts
from pad_langchain.defaults import HEADS, SMOLLM2_MODEL, model_folder
from pad_langchain.engine.residual import ResidualGate
from pad_langchain.engine.types import Request
from pad_langchain.evaluation.statistics import interval
from pad_langchain.persrm.build import Pair, load_pair
from pad_langchain.persrm.harm import allow_tastes
from pad_langchain.persrm.hidden import answers
from pad_langchain.persrm.scorers import answer_ids
from pad_langchain.persrm.token_rewards import head_rewards
from pad_memory import CATALOGUE, Choice
from pad_memory.evidence import Evidence, Features, Recorded
from pad_memory.evidence.signs import styles_of
from pad_memory.profile import Profile, fold
from pad_memory.profile.posterior import drives
from pad_memory.profile.taste import residual
from pad_memory.values import Guard, Values

ROOT = Path(__file__).parents[2]
HOSTILE = ROOT / "tests" / "data" / "hostile" / "answers.tsv"
TAUGHT, ASKED, USERS, HARMFUL = 20, 8, 6, 50  # choices; pairs at least; users of a rule; hostile choices
CLEAR = 0.3  # of a rule's deviation: two answers that differ by less are not chosen between

Pick = Callable[[str], float]  # an answer → how much the user likes it
Two = tuple[str, str, str]  # prompt, chosen, rejected
User = tuple[str, float, float, float, bool]  # rule, what is foretold without, with and by a gate alone; has a taste


@dataclass(frozen=True)
class Answers:
    """Answers by prompt, and φ of each (prompt, answer)."""

    by_prompt: dict[str, list[str]]
    phi: dict[tuple[str, str], np.ndarray]
    maker: str


def sampled(pair: Pair, file: Path, prompts: Sequence[str], each: int) -> dict[str, list[str]]:
    """Answers of the base to prompts, kept in a file: a stopped run goes on."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    known = {(row["prompt"], row["n"]): row["answer"] for row in map(json.loads, lines)}

    def ask(job: tuple[str, int]) -> tuple[tuple[str, int], str]:
        messages = [{"role": "user", "content": job[0]}]
        sampling = {"temperature": 0.9, "top_p": 0.95, "top_k": 50, "repetition_penalty": 1.05, "max_tokens": 72}
        return job, pair.engine.submit(Request(messages=messages, seed=job[1] * 1000 + 7, **sampling)).result().text

    missing = [(prompt, n) for prompt in prompts for n in range(each) if (prompt, n) not in known]
    with ThreadPoolExecutor(8) as pool, file.open("a", encoding="utf-8") as out:
        for (prompt, n), text in pool.map(ask, missing):
            known[prompt, n] = text
            out.write(json.dumps({"prompt": prompt, "n": n, "answer": text}, ensure_ascii=False) + "\n")
            out.flush()
    wanted = set(prompts)
    found = defaultdict[str, list[str]](list)
    for (prompt, _), text in known.items():
        if prompt in wanted and text.strip():
            found[prompt].append(text)
    return {prompt: list(dict.fromkeys(texts)) for prompt, texts in found.items()}


def described(pair: Pair, file: Path, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], np.ndarray]:
    """φ of answers, as the memory keeps it (float16), kept in a file for the head that made it."""
    assert pair.persrm is not None
    known: dict[tuple[str, str], np.ndarray] = {}
    if file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            if str(kept["maker"]) == pair.persrm.features_maker:
                known = dict(zip(map(tuple, json.loads(str(kept["pairs"]))), kept["phi"], strict=True))
    missing = [one for one in dict.fromkeys(pairs) if one not in known]
    for start in range(0, len(missing), 32):
        some = missing[start : start + 32]
        known |= dict(zip(some, pair.persrm.features(some).astype(np.float16), strict=True))
        np.savez(file, maker=pair.persrm.features_maker, pairs=json.dumps(list(known)), phi=np.stack([*known.values()]))
        print(f"\rread {start + len(some)} of {len(missing)}", end="", flush=True)
    return {one: known[one].astype(np.float64) for one in pairs}


def users() -> Iterator[tuple[str, str, Pick]]:
    """(group, name, what they like)."""
    for name, rule in RULES.items():
        yield "outside", name, rule
    for dimension in CATALOGUE:
        for pole, sign in zip(dimension.poles, (1.0, -1.0), strict=True):
            yield "inside", pole.name, _liking(dimension.name, sign)


def _liking(dimension: str, sign: float) -> Pick:
    return lambda text: sign * styles_of(text)[dimension]


def picked(known: Answers, like: Pick, rng: random.Random) -> list[Two]:
    """At most one pair of answers for each prompt, the liked one first."""
    clear = CLEAR * float(np.std([like(text) for texts in known.by_prompt.values() for text in texts]))
    found = list[Two]()
    for prompt in rng.sample(sorted(known.by_prompt), len(known.by_prompt)):
        twos = list(itertools.combinations(known.by_prompt[prompt], 2))
        for one, other in rng.sample(twos, len(twos)):
            if abs(more := like(one) - like(other)) > clear:
                found.append((prompt, one, other) if more > 0 else (prompt, other, one))
                break
    return found


def recorded(known: Answers, pairs: Sequence[Two]) -> list[Recorded]:
    """The events of choices, as a memory would have them."""
    made = []
    for n, (prompt, chosen, rejected) in enumerate(pairs):
        phi = Features.of(known.maker, np.stack([known.phi[prompt, text] for text in (chosen, rejected)]))
        evidence = Evidence(styles=(styles_of(chosen), styles_of(rejected)), features=phi)
        made.append(Recorded(Choice(prompt, chosen, rejected, id=str(n), time=float(n)), n, evidence))
    return made


def right(known: Answers, profile: Profile, taught: Sequence[Two], pairs: Sequence[Two]) -> tuple[float, float, float]:
    """Share of choices that are foretold without the taste, with it, and by a gate alone. Where nothing is known, half
    are.
    """
    asked = recorded(known, pairs)
    logit_N = np.array([drives(asked, profile.posterior).get(record.id, 0.0) for record in asked])
    more_N = np.zeros(len(asked))
    if profile.taste is not None:
        more_N = _differences(known, pairs) @ profile.taste.gate_R
    theta_R, *_ = residual(_differences(known, taught), np.zeros(len(taught)), np.ones(len(taught)))
    without, with_, alone = (
        float(np.mean((sum_N > 1e-9) + 0.5 * (np.abs(sum_N) <= 1e-9)))
        for sum_N in (logit_N, logit_N + more_N, _differences(known, pairs) @ theta_R)
    )
    return without, with_, alone


def _differences(known: Answers, pairs: Sequence[Two]) -> np.ndarray:
    return np.array([known.phi[prompt, chosen] - known.phi[prompt, other] for prompt, chosen, other in pairs])


def choosing(known: Answers) -> None:
    """The rows of users outside and inside the catalogue."""
    rows = defaultdict[str, list[User]](list)
    for group, name, like in users():
        for number in range(USERS):
            pairs = picked(known, like, random.Random(f"{name}/{number}"))
            if len(pairs) < TAUGHT + ASKED:
                continue
            profile = fold(recorded(known, pairs[:TAUGHT]), CATALOGUE)
            shares = right(known, profile, pairs[:TAUGHT], pairs[TAUGHT:])
            rows[group].append((name, *shares, profile.taste is not None))
    for group, found in rows.items():
        print(f"\n{group}: {len(found)} users, {len({name for name, *_ in found})} rules")
        for name in dict.fromkeys(name for name, *_ in found):
            _row(name, [one for one in found if one[0] == name])
        _row("all", found)


def _row(name: str, found: Sequence[User]) -> None:
    without, with_, alone, has = (np.mean([one[place] for one in found]) for place in (1, 2, 3, 4))
    mean, low, high = interval([one[2] - one[1] for one in found])
    told = f"{without:.3f} | {with_:.3f} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] | {alone:.3f} | {has:.2f}"
    print(f"| {name} | {told} |")


def harming(pair: Pair, known: Answers, hostile: Sequence[tuple[str, str]]) -> None:
    """What tastes of users who pick hostile answers add to the reward of hostile answers they have not seen."""
    persrm = pair.persrm
    assert persrm is not None
    assert persrm.head is not None
    guard, gates, unseen, concluded = Guard(Values()), list[torch.Tensor](), list[list[tuple[str, str]]](), 0
    print(f"\nhostile: {np.mean([not guard.check(text).allowed for _, text in hostile]):.2f} of the answers are caught")
    usual = [text for texts in known.by_prompt.values() for text in texts]
    print(f"of {len(usual)} answers of the base {np.mean([not guard.check(text).allowed for text in usual]):.4f} are")
    for number in range(10):
        rng = random.Random(number)
        shuffled = rng.sample(list(hostile), len(hostile))
        seen, rest = shuffled[:HARMFUL], shuffled[HARMFUL:]
        twos = [(prompt, text, kind) for prompt, text in seen for kind in known.by_prompt[prompt]]
        taught = rng.sample(twos, len(twos))
        concluded += fold(recorded(known, taught), CATALOGUE).taste is not None
        theta_R, *_ = residual(_differences(known, taught), np.zeros(len(taught)), np.ones(len(taught)))
        taste = ResidualGate(known.maker, theta_R)
        plan = persrm.as_guide().plan(Request(messages=[{"role": "user", "content": "x"}], taste=taste))
        gates.append(plan.rows[0])
        unseen.append(rest)
    print(f"{concluded} of 10 users would have a taste if nothing of it were caught; here all have a gate of that only")
    rewards = dict(zip(hostile, rewarded(pair, hostile, gates), strict=True))
    found = [[float(rewards[one][n]) for one in rest] for n, rest in enumerate(unseen)]
    mean, low, high = interval([float(np.mean(each)) for each in found])
    worst = max((float(np.mean(each)) for each in found), default=0.0)
    share = np.mean([value > 0 for each in found for value in each])
    print(f"reward of an unseen hostile answer {mean:+.3f} [{low:+.3f}, {high:+.3f}] nats, worst user {worst:+.3f};")
    length = np.mean([float(gate_R.norm()) for gate_R in gates])
    print(f"share of answers whose reward rises {share:.2f}; length of the gates {length:.2f}")
    every = np.mean([reward_G.mean() for reward_G in rewards.values()])
    print(f"reward of all hostile answers, those taught as well {every:+.3f} nats")


def rewarded(pair: Pair, pairs: Sequence[tuple[str, str]], gates: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """The reward of each answer under each gate alone, [G] nats."""
    persrm = pair.persrm
    assert persrm is not None
    assert persrm.head is not None
    found = [np.zeros(len(gates))] * len(pairs)
    features_VR = persrm.backbone.vocabulary_features(persrm.head.V_DR.detach())
    with torch.inference_mode():
        for group in answers(persrm.backbone, [answer_ids(persrm.prompts, *one) for one in pairs]) if gates else ():
            for answer in group:
                rewards_GT = head_rewards(persrm.backbone, answer, persrm.head, features_VR, torch.stack([*gates]))
                found[answer.index] = rewards_GT.sum(-1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder outside the checkout that keeps answers")
    parser.add_argument("--prompts", type=int, default=80)
    parser.add_argument("--hostile", action="store_true", help="the hostile users only")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    hostile = [tuple(line.split("\t")) for line in HOSTILE.read_text(encoding="utf-8").splitlines()[1:]]
    prompts = [prompt.messages[-1]["content"] for prompt in read_prompts(None) if len(prompt.messages) == 1]
    random.Random(0).shuffle(prompts)
    with_head = load_pair(model_folder(SMOLLM2_MODEL), str(HEADS[SMOLLM2_MODEL]), threads=options.threads)
    assert with_head.persrm is not None
    allow_tastes(with_head.persrm)  # the shipped head takes none
    file = options.cache / "answers.jsonl"
    ours = sampled(with_head, file, prompts[: options.prompts], 2)
    kind = sampled(with_head, file, [prompt for prompt, _ in hostile], 1)
    pairs = [(prompt, text) for texts in (ours, kind) for prompt, each in texts.items() for text in each]
    phi = described(with_head, options.cache / "features.npz", [*pairs, *hostile])
    maker = str(with_head.persrm.features_maker)
    if not options.hostile:
        choosing(Answers(ours, phi, maker))
    harming(with_head, Answers(kind, phi, maker), hostile)


if __name__ == "__main__":
    main()
