"""What a real model's head does: each wish, two wishes, new wordings, the opposite, remarks, perplexity.

    python benchmarks/persrm/real_head.py                          # SmolLM2 with the shipped head, 12 test prompts
    python benchmarks/persrm/real_head.py --prompts 60             # an hour or more
    python benchmarks/persrm/real_head.py --head FOLDER --backend torch --stages poles two

Greedy, with what the head recommends, on prompts of topics that nothing was learned from. Rules that never see a reward
judge (`pad_langchain.evaluation.wishes`), without the strings that the recipe plants. Wordings are those that no head
was taught (`recipes.demo_world.wordings`). Intervals are bootstraps over prompts.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pad_langchain import ChatPAD
from pad_langchain.adapt.poles import Pole, of_catalogue
from pad_langchain.adapt.prompts import Prompt, read_prompts, split
from pad_langchain.adapt.trials.panel import PLANTED
from pad_langchain.chat.messages import with_preferences_at_end
from pad_langchain.defaults import SMOLLM2_MODEL
from pad_langchain.evaluation.statistics import interval
from pad_langchain.evaluation.wishes import Answer, Verdict, by_pole, judge_all, shares
from recipes.demo_world.wordings import NEW_KEYWORDS, REWORDED

DIMENSIONS = of_catalogue()
POLES: dict[str, Pole] = {each.key(side): each.poles[side] for each in DIMENSIONS for side in (0, 1)}
OPPOSITE = {each.key(side): each.key(1 - side) for each in DIMENSIONS for side in (0, 1)}
NEIGHBOURS = [
    (first.key(side), second.key(side))
    for first, second in zip(DIMENSIONS, (*DIMENSIONS[1:], DIMENSIONS[0]), strict=True)
    for side in (0, 1)
]
REMARKS = (
    "I live in Rome",
    "we had fish for lunch",
    "nobody told me about the strike",
    "it is my sister's wedding on Sunday",
    "I just got back from the dentist",
    "I read your last answer on the train",
)
AT_ONCE = 16
PENALTY = {
    "repetition_penalty": 1.07
}  # in every row of a table: the head recommends it, a base alone would not have it


@dataclass(frozen=True)
class Said:
    """An answer, why it ended, the base's log-probability of each token, and how many are not the base's likeliest."""

    text: str
    finish: str
    logprobs: tuple[float, ...] = ()
    changed: int = 0


@dataclass(frozen=True)
class Bench:
    """What answers: the model with its head, and the prompts that are asked."""

    llm: ChatPAD
    prompts: Sequence[Prompt]

    def answers(self, calls: Sequence[tuple[Prompt, dict[str, Any]]], what: str) -> list[Said]:
        """Answer many calls, some at once, in their order."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(lambda call: self._answer(*call), calls)
            return list(track(found, description=what, total=len(calls)))

    def _answer(self, prompt: Prompt, keywords: dict[str, Any]) -> Said:
        message = self.llm.invoke([dict(turn) for turn in prompt.messages], **keywords)
        told = (message.response_metadata.get("logprobs") or {}).get("content") or []
        # Candidates have the base's log-probabilities, and come by score: the first is the token that was chosen.
        weighed = [[other["logprob"] for other in token["top_logprobs"]] for token in told]
        return Said(
            str(message.content),
            message.response_metadata["finish_reason"],
            tuple(ranked[0] for ranked in weighed),
            sum(ranked[0] < max(ranked) for ranked in weighed),
        )

    def alone(self, keywords: dict[str, Any]) -> dict[str, Said]:
        """What the base answers without a wish, by the prompt's id."""
        said = self.answers([(prompt, keywords) for prompt in self.prompts], "base")
        return {prompt.id: each for prompt, each in zip(self.prompts, said, strict=True)}

    def each(self, keys: Sequence[Any]) -> list[tuple[Any, Prompt]]:
        """Every key with every prompt."""
        return [(key, prompt) for key in keys for prompt in self.prompts]


def question(prompt: Prompt) -> str:
    return "\n".join(turn["content"] for turn in prompt.messages if turn["role"] == "user")


def judged(prompt: Prompt, pole: str, said: Said, wish: str = "") -> Answer:
    return Answer(question(prompt), pole, said.text, said.finish, wish)


def verdicts(found: Sequence[Answer]) -> list[Verdict]:
    return judge_all(found, planted=PLANTED)


def row(name: str, found: Sequence[Verdict]) -> tuple[str, ...]:
    share = shares(found)
    figures = [f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in (share.shown, share.good, share.both)]
    return (name, *figures, str(share.count))


def poles(bench: Bench) -> list[tuple[str, ...]]:
    """Each wish alone: not told, told in its own words, told as the head recommends, and with the head."""
    asked = bench.each(list(POLES))
    base = bench.alone(PENALTY)
    answered = {"base": [base[prompt.id] for _, prompt in asked]}
    own = [
        (
            replace(prompt, messages=with_preferences_at_end(prompt.messages, [(POLES[key].text, 1.0)])),
            {"preference": [], **PENALTY},
        )
        for key, prompt in asked
    ]
    answered["told in own words"] = bench.answers(own, "told in own words")
    for name, keywords in (("told as the head recommends", {"beta": 0.0}), ("+ head", {})):
        calls = [(prompt, {"preference": POLES[key].text, **PENALTY, **keywords}) for key, prompt in asked]
        answered[name] = bench.answers(calls, name)
    found = {
        name: verdicts([judged(prompt, key, each) for (key, prompt), each in zip(asked, said, strict=True)])
        for name, said in answered.items()
    }
    rows = [row(name, each) for name, each in found.items()]
    for pole in POLES:
        shares_of = [by_pole(each)[pole] for each in found.values()]
        told = (" / ".join(f"{getattr(one, what).mean:.2f}" for one in shares_of) for what in ("shown", "good", "both"))
        rows.append((pole, *told, str(len(bench.prompts))))
    return rows


def two_wishes(bench: Bench) -> list[tuple[str, ...]]:
    """Two wishes at once, of neighbouring dimensions: a verdict for each wish of each answer."""
    rows = []
    plans = {"best prompting, two wishes": {"beta": 0.0}, "+ head, two wishes": {}}
    for name, keywords in plans.items():
        asked = bench.each(NEIGHBOURS)
        calls = [
            (prompt, {"preference": [POLES[key].text for key in pair], "condition_base": True, **PENALTY, **keywords})
            for pair, prompt in asked
        ]
        said = bench.answers(calls, name)
        found = verdicts(
            [
                judged(prompt, key, each, POLES[key].text)
                for (pair, prompt), each in zip(asked, said, strict=True)
                for key in pair
            ]
        )
        first, second = found[::2], found[1::2]
        both = [float(a.both and b.both) for a, b in zip(first, second, strict=True)]
        rows += [row(name, found), (f"{name}: both in one good answer", "", "", f"{sum(both) / len(both):.3f}", "")]
    return rows


def new_wordings(bench: Bench) -> list[tuple[str, ...]]:
    """Each wish in its usual words, and in two wordings that no head was taught."""
    rows = []
    plans: dict[str, Callable[[str], str]] = {
        "usual wording": lambda key: POLES[key].text,
        "their words put together anew": lambda key: REWORDED[key][0],
        "words that no wording has": lambda key: NEW_KEYWORDS[key][0],
    }
    for name, wording in plans.items():
        asked = bench.each(list(POLES))
        said = bench.answers([(prompt, {"preference": wording(key), **PENALTY}) for key, prompt in asked], name)
        found = [judged(prompt, key, each, wording(key)) for (key, prompt), each in zip(asked, said, strict=True)]
        rows.append(row(name, verdicts(found)))
    return rows


def opposite(bench: Bench) -> list[tuple[str, ...]]:
    """How often the opposite of a wish is shown, by the head alone: no more often than by the base."""
    asked = bench.each(list(POLES))
    base = bench.alone(PENALTY)
    calls = [
        (prompt, {"preference": POLES[OPPOSITE[key]].text, "condition_base": False, **PENALTY}) for key, prompt in asked
    ]
    said = bench.answers(calls, "the opposite wish")
    plain = verdicts([judged(prompt, key, base[prompt.id]) for key, prompt in asked])
    other = verdicts([judged(prompt, key, each) for (key, prompt), each in zip(asked, said, strict=True)])
    more = [float(b.shown) - float(a.shown) for a, b in zip(plain, other, strict=True)]
    by_prompt = [sum(more[n :: len(bench.prompts)]) / len(POLES) for n in range(len(bench.prompts))]
    mean, low, high = interval(by_prompt, 0)
    lead = (f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]", "", "", "")
    return [row("base", plain), row("head alone, asked for the opposite", other), ("shown, minus the base", *lead)]


def remarks(bench: Bench) -> list[tuple[str, ...]]:
    """Tokens that a remark of no style changes: those that are not the base's likeliest after the same text."""
    asked = bench.each(REMARKS)
    common = {"condition_base": False, "repetition_penalty": 1.0, "top_logprobs": 50}
    said = bench.answers([(prompt, {"preference": remark, **common}) for remark, prompt in asked], "remarks")
    said += bench.answers(
        [(p, {"preference": [(POLES["tone:casual"].text, 0.0)], **common}) for p in bench.prompts], "weight 0"
    )
    rows = []
    for name, part in (("a remark", said[: len(asked)]), ("a wish of weight 0", said[len(asked) :])):
        changed, count = sum(each.changed for each in part), sum(len(each.logprobs) for each in part)
        rows.append((f"{name}: tokens changed", f"{changed / count:.4f}", "", "", str(count)))
    return rows


def perplexity(bench: Bench) -> list[tuple[str, ...]]:
    """Perplexity of answers under the base with the prompt that was given, ÷ that of its own greedy answer as long."""
    asked = bench.each(list(POLES))
    common = {"repetition_penalty": 1.0, "top_logprobs": 1}
    base, rows = bench.alone(common), []
    for name, told in (("head alone", False), ("told + head", True)):
        calls = [(p, {"preference": POLES[key].text, "condition_base": told, **common}) for key, p in asked]
        pairs = [
            (each.logprobs[:length], base[prompt.id].logprobs[:length])
            for (_, prompt), each in zip(asked, bench.answers(calls, name), strict=True)
            if (length := min(len(each.logprobs), len(base[prompt.id].logprobs)))
        ]
        count = sum(len(theirs) for theirs, _ in pairs)
        nats = sum(sum(own) - sum(theirs) for theirs, own in pairs) / count
        rows.append((f"{name}: perplexity ÷ the base's own", f"{math.exp(nats):.3f}", "", "", str(len(pairs))))
    return rows


STAGES = {
    "poles": poles, "two": two_wishes, "wordings": new_wordings, "opposite": opposite, "remarks": remarks,
    "perplexity": perplexity,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=SMOLLM2_MODEL)
    parser.add_argument("--head", default="auto", help="folder of a head; default: the shipped one that fits")
    parser.add_argument("--backend", default="auto", choices=["auto", "torch", "llama.cpp"])
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=160, help="of each answer at most")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    options = parser.parse_args()
    prompts = split(read_prompts(), seed=0, dev=0.15, test=0.2).test[: options.prompts]
    llm = ChatPAD(
        model=options.model, reward_model=options.head, backend=options.backend, max_tokens=options.tokens,
        temperature=0.0, engine_settings={"max_batch": AT_ONCE},
    )  # fmt: skip
    table = Table("", "shown", "good", "both", "answers")
    for stage in options.stages:
        for found in STAGES[stage](Bench(llm, prompts)):
            table.add_row(*found)
        table.add_section()
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
