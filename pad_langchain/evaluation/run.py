"""Judge a PersRM: `evaluate(EvaluateConfig(...))`, or `pad-langchain evaluate CONFIG.yaml`.

    pairs → accuracy by preference and wording
    prompts → validation: every method × β × k, which chooses β and k → test: win rates, paraphrases, Pareto front

Answers and an LLM judge's verdicts are kept as they come, so a stopped evaluation goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.accuracy import pair_accuracy
from pad_langchain.evaluation.answers import Answer, Kept, Wishes
from pad_langchain.evaluation.cases import Case, chooses, read_cases
from pad_langchain.evaluation.config import CONTROLS, METHODS, EvaluateConfig, Setting
from pad_langchain.evaluation.contenders import Contenders
from pad_langchain.evaluation.grading import Grader
from pad_langchain.evaluation.judges import Judge, make_judge
from pad_langchain.evaluation.plots import new_figure
from pad_langchain.evaluation.report import write_report
from pad_langchain.evaluation.statistics import interval, pareto_front
from pad_langchain.training.config import Progress
from pad_langchain.training.data import load_pairs
from pad_langchain.training.wordings import wishes_of
from pad_memory.embedding import Embedder

__all__ = ["best_setting", "evaluate"]

_log = logging.getLogger(__name__)
Tried = tuple[Setting, dict[str, Any]]  # with its figures
PARETO_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def evaluate(
    config: EvaluateConfig,
    *,
    judges: Sequence[Judge] | None = None,
    embedder: Embedder | None = None,
    progress: Progress | None = None,
) -> Path:
    """Run, or go on with, an evaluation.

    Args:
        judges: instead of the settings', such as an `LLMJudge` around a chat model of yours.
        embedder: embeds preferences for a head; None is the one it names.

    Returns:
        the Markdown report; report.json and the plots are beside it.

    Raises:
        MissingDependencyError: the extra [plot] is not installed.
    """
    new_figure()  # what the plots lack is said before the hours that the answers take
    started, output = time.perf_counter(), Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    made = [make_judge(each) for each in config.judges] if judges is None else judges
    grader = Grader(made, Kept(output / "verdicts.jsonl"), config.seed)
    with Contenders(config, embedder) as contenders:
        found = _Evaluation(config, contenders, grader, progress).run()
    found["seconds"] = time.perf_counter() - started
    return write_report(found, output)


class _Evaluation:
    """The stages of one evaluation, and what is kept of its answers."""

    def __init__(
        self, config: EvaluateConfig, contenders: Contenders, grader: Grader, progress: Progress | None
    ) -> None:
        self.config, self.contenders, self.grader, self.progress = config, contenders, grader, progress
        self.kept = Kept(Path(config.output) / "answers.jsonl")

    def run(self) -> dict[str, Any]:
        """Everything a report tells."""
        config = self.config
        found: dict[str, Any] = {"config": asdict(config)}
        if config.pairs:
            pairs = load_pairs(*(asdict(source) for source in config.pairs)).pairs
            found["accuracy"] = {
                kind: pair_accuracy(persrm, pairs, config.wordings, config.seed, self.tick(f"accuracy of {kind}"))
                for kind, persrm in self.contenders.persrms.items()
            }
        validation, test, left_out = self.cases()
        found["cases"] = {"validation": len(validation), "test": len(test)}
        found["left_out"] = left_out
        found["sweep"], chosen = self.sweep(validation)
        found["chosen"] = {method: asdict(setting) for method, setting in chosen.items()}
        found["test"] = self.test(test, chosen)
        found["paraphrases"] = self.paraphrases(test[: config.again], chosen)
        if config.pareto:
            found["pareto"] = self.pareto(test[: config.again], chosen)
        found["failed_verdicts"] = self.grader.failures
        return found

    def tick(self, stage: str) -> Callable[[int, int], None]:
        """Tells the caller's `progress` how far a stage is."""
        return lambda done, of: None if self.progress is None else self.progress(stage, done, of, {})

    def answer(
        self, cases: Sequence[Case], setting: Setting, stage: str, wished: Sequence[Wishes] | None = None
    ) -> list[Answer]:
        """Answers of one setting, kept or new."""
        setting = setting.plain()
        tick = self.tick(f"{stage}: {setting.method} β={setting.beta:g} k={setting.top_k}")
        return self.contenders.answer(self.kept, cases, setting, wished, tick)

    def figures(self, cases: Sequence[Case], said: Sequence[Answer]) -> dict[str, Any]:
        """What the judges say, what can be counted, and perplexity under the base."""
        return self.grader.figures(cases, said) | {"perplexity": self.contenders.perplexity(cases, said)}

    def cases(self) -> tuple[list[Case], list[Case], list[tuple[int, str]]]:
        """(validation, test, (line, reason) of each prompt that is left out)."""
        config, every = self.config, read_cases(self.config)
        validation, test, left_out = list[Case](), list[Case](), list[tuple[int, str]]()
        for line, case in enumerate(every, 1):
            worded = [[(wish, 1.0) for wish in wishes_of(text)] for text in config.wordings[case.name]]
            if config.pareto:
                worded.append([(config.wordings[each][0], 1.0) for each in config.pareto])
            if reason := self.contenders.too_long(case, worded):
                left_out.append((line, reason))
                _log.warning("%s:%d is left out: %s", config.prompts, line, reason)
            else:
                (validation if chooses(case, config) else test).append(case)
        if not validation or not test:
            raise InvalidRequestError(
                f"{len(every)} prompts, {len(left_out)} of them too long, leave {len(validation)} for validation and "
                f"{len(test)} for the test. Bring more, or change validation."
            )
        return validation, test, left_out

    def sweep(self, cases: Sequence[Case]) -> tuple[list[dict[str, Any]], dict[str, Setting]]:
        """Every method × β × k on the validation prompts, and what is chosen for each method."""
        config, methods = self.config, self.contenders.methods

        def tried(setting: Setting) -> Tried:
            return setting, self.figures(cases, self.answer(cases, setting, "validation"))

        rows = [tried(Setting("base"))]
        limit = rows[0][1]["perplexity"] * config.fluency
        chosen = {method: Setting(method) for method in methods if method in CONTROLS}
        for method in [each for each in methods if each not in CONTROLS]:
            setting, (first, *others) = self.contenders.setting, config.ks or (None,)
            found = [tried(setting(method, beta, first, config.alpha)) for beta in config.betas]
            beta = best_setting(found, limit).beta
            found += [tried(setting(method, beta, k, config.alpha)) for k in others]
            chosen[method] = best_setting(found, limit)
            rows += found
            _log.info("%s: β %g, k %d", method, chosen[method].beta, chosen[method].top_k)
        return [{**asdict(setting), **figures} for setting, figures in rows], chosen

    def test(self, cases: Sequence[Case], chosen: Mapping[str, Setting]) -> dict[str, Any]:
        """Each method at its chosen setting: figures, win rates against the controls, and scores by preference."""
        settings = {**chosen}
        settings.setdefault("base", Setting("base"))
        said = {method: self.answer(cases, setting, "test") for method, setting in settings.items()}
        found = {
            method: self.figures(cases, answers) | {"by_preference": self.by_preference(cases, answers)}
            for method, answers in said.items()
        }
        for method, mine in said.items():
            for control in [each for each in CONTROLS if each in said and each != method]:
                found[method][f"against {control}"] = self.grader.win_rates(cases, mine, said[control])
        return found

    def by_preference(self, cases: Sequence[Case], said: Sequence[Answer]) -> dict[str, Any]:
        """The first scoring judge's scores of seen and unseen preferences, and of each: mean, low, high, and count."""
        judge = self.grader.first
        if judge is None:
            return {}
        groups: dict[str, list[int]] = {}
        for n, case in enumerate(cases):
            for name in ("unseen" if case.name in self.config.unseen else "seen", case.name):
                groups.setdefault(name, []).append(n)
        found = {}
        for name, places in sorted(groups.items()):
            scores = self.grader.scores(judge, [cases[n] for n in places], [said[n] for n in places])
            found[name] = [*interval(scores, self.config.seed), len(scores)]
        return found

    def paraphrases(self, cases: Sequence[Case], chosen: Mapping[str, Setting]) -> dict[str, Any]:
        """The same prompts and preferences in other words: the first judge's mean score by the wording's place."""
        judge = self.grader.first
        named, labels = self.config.wordings, self.config.labels
        most = max(len(said) for said in named.values())
        if judge is None or most == 1:
            return {}
        found: dict[str, Any] = {method: {} for method in chosen if METHODS[method].hears}
        for place in range(most):
            asked = [Case(c.messages, c.name, said[0]) for c in cases if (said := named[c.name][place : place + 1])]
            label = labels[place] if place < len(labels) else f"wording {place + 1}"
            for method, scores in found.items():
                scores[label] = self.grader.mean_score(judge, asked, self.answer(asked, chosen[method], "paraphrases"))
        return found

    def pareto(self, cases: Sequence[Case], chosen: Mapping[str, Setting]) -> dict[str, Any]:
        """Mean scores of two preferences while their weights change; `front` marks the points none dominates."""
        judge = self.grader.first
        if judge is None:
            return {}
        names = self.config.pareto
        texts = [self.config.wordings[name][0] for name in names]
        points: list[dict[str, Any]] = []
        for method, setting in chosen.items():
            for step in (0.5,) if method in CONTROLS else PARETO_WEIGHTS:  # a prompt knows no weights
                both = list(zip(texts, (1 - step, step), strict=True))
                said = self.answer(cases, setting, "pareto", [both] * len(cases))
                scores = [
                    self.grader.mean_score(judge, [Case(c.messages, name, text) for c in cases], said)[0]
                    for name, text in zip(names, texts, strict=True)
                ]
                points.append({"method": method, "weight": step, "scores": scores})
        front = pareto_front([(p["scores"][0], p["scores"][1]) for p in points])
        return {"names": list(names), "points": [{**p, "front": n in front} for n, p in enumerate(points)]}


def best_setting(tried: Sequence[Tried], limit: float) -> Setting:
    """The setting with the best score among those fluent enough; of equal ones the gentlest.

    Args:
        tried: each setting with its figures, "scores" and "perplexity".
        limit: perplexity up to which answers are fluent enough.
    """

    def merit(item: Tried) -> tuple[bool, float, float]:
        setting, measured = item
        scores = list(measured["scores"].values())
        return measured["perplexity"] <= limit, round(scores[0][0], 6) if scores else 0.0, -setting.beta

    return max(tried, key=merit)[0]
