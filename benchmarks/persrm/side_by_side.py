"""Two answers side by side for each of the catalogue's 16 wishes: plainly, and as the head recommends.

    python benchmarks/persrm/side_by_side.py                            # prints them
    python benchmarks/persrm/side_by_side.py --write docs/evidence.md   # puts them behind the page's last heading

Nothing is chosen by hand: wish number n of the catalogue is asked test prompt number n, of topics that no head learned
from, in the order of the split. Greedy and unedited, cut off after --tokens. What the rules say of each stands below.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.answering import PENALTY, Asked, Said, answering, model_options
from pad_langchain.adapt.prompts import Prompt, read_prompts, split
from pad_langchain.evaluation.wishes import Answer, Verdict, judge_all
from pad_memory import CATALOGUE

HEADING = "## Side by side"


def quoted(said: Said) -> str:
    """An answer as a quote of Markdown; what was cut off ends with an ellipsis."""
    text = said.text.strip() + ("" if said.finish == "stop" else " …")
    return "\n".join(f"> {line.replace('<', '&lt;')}" if line.strip() else ">" for line in text.splitlines())


def judged(verdict: Verdict) -> str:
    faults = [
        name
        for name, holds in (
            ("off the question", verdict.relevance < 0.4), ("loops", verdict.loops), ("a scrap", verdict.scrap),
            ("recites the wish", verdict.echo),
        )
        if holds
    ]  # fmt: skip
    return f"*{'shown' if verdict.shown else 'not shown'}, {'good' if verdict.good else ' and '.join(faults)}*"


def section(pairs: list[tuple[str, str, Prompt, list[Said], list[Verdict]]], command: str) -> str:
    parts = [
        HEADING, "",
        "Wish number n of the catalogue with test prompt number n, unedited. In italics what the rules say.",
        "", "```", command, "```",
    ]  # fmt: skip
    for number, (key, text, prompt, said, verdicts) in enumerate(pairs, 1):
        parts += ["", f"### {number}. {key.replace(':', ': ')}", "", f"“{prompt.text}”, and the wish “{text}”."]
        for name, answer, verdict in zip(("Plain", "With the wish"), said, verdicts, strict=True):
            parts += ["", f"**{name}**", "", quoted(answer), "", judged(verdict)]
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model_options(parser, 160)
    parser.add_argument("--write", type=Path, help="a page; what stands behind its heading “Side by side” is replaced")
    options = parser.parse_args()
    poles = [(f"{each.name}:{pole.name}", pole.text) for each in CATALOGUE for pole in each.poles]
    prompts = split(read_prompts(), seed=0, dev=0.15, test=0.2).test[: len(poles)]
    asked = [
        Asked(prompt.messages, keywords)
        for (_, text), prompt in zip(poles, prompts, strict=True)
        for keywords in ({"preference": [], "repetition_penalty": PENALTY}, {"preference": text})
    ]
    with answering(options, "side_by_side") as answers:
        said = answers(asked, "answers")
    keys = [(key, prompt, text) for (key, text), prompt in zip(poles, prompts, strict=True) for _ in range(2)]
    verdicts = judge_all(
        [
            Answer(
                "\n".join(turn["content"] for turn in prompt.messages if turn["role"] == "user"),
                key,
                one.text,
                one.finish,
                text,
            )
            for (key, prompt, text), one in zip(keys, said, strict=True)
        ]
    )
    pairs = [
        (key, text, prompt, said[2 * n : 2 * n + 2], verdicts[2 * n : 2 * n + 2])
        for n, ((key, text), prompt) in enumerate(zip(poles, prompts, strict=True))
    ]
    found = section(
        pairs, "python benchmarks/persrm/side_by_side.py --backend torch --batch 96 --write docs/evidence.md"
    )
    if options.write is None:
        print(found)
        return
    page = options.write.read_text(encoding="utf-8").partition(HEADING)[0]
    options.write.write_text(page.rstrip() + "\n\n" + found, encoding="utf-8")


if __name__ == "__main__":
    main()
