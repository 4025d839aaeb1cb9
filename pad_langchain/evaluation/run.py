"""Judge a PersRM: `evaluate(EvaluateConfig(...))`, or `pad-langchain evaluate CONFIG.yaml`.

    pairs → accuracy by preference and wording
    prompts → validation: every method × β × k, which chooses β and k → test: win rates, paraphrases, Pareto front

Answers and an LLM judge's verdicts are kept as they come, so a stopped evaluation goes on.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pad_langchain.defaults import model_folder, reward_folder
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.errors import ContextLengthError, InvalidRequestError
from pad_langchain.evaluation.accuracy import pair_accuracy
from pad_langchain.evaluation.answers import GUIDED, Answer, Kept, Setting, answer_all, key_of, request_of
from pad_langchain.evaluation.config import EvaluateConfig
from pad_langchain.evaluation.judges import Case, Judge, make_judge, names_of
from pad_langchain.evaluation.statistics import distinct, interval, pareto_front
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.persrm.build import guide_for
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.persrm.token_rewards import log_probabilities
from pad_langchain.training.data import load_pairs
from pad_langchain.training.head import wishes_of
from pad_memory.embedding import Embedder, SentenceEmbedder
from pad_memory.language import embed_wishes

__all__ = ["EvaluateConfig", "evaluate"]

_log = logging.getLogger(__name__)
Progress = Callable[[str, int, int, dict[str, float]], None]
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
    """
    from pad_langchain.evaluation.report import write_report

    started = time.perf_counter()
    with _Run(config, judges, embedder, progress) as run:
        found: dict[str, Any] = {"config": asdict(config)}
        if config.pairs:
            pairs = load_pairs(*(asdict(source) for source in config.pairs)).pairs
            found["accuracy"] = {
                kind: pair_accuracy(persrm, pairs, config.wordings, config.seed, run.tick(f"accuracy of {kind}"))
                for kind, persrm in run.persrms.items()
            }
        validation, test = run.cases()
        found["cases"] = {"validation": len(validation), "test": len(test)}
        found["left_out"] = run.left_out
        found["sweep"], chosen = run.sweep(validation)
        found["chosen"] = {method: asdict(setting) for method, setting in chosen.items()}
        found["test"] = run.test(test, chosen)
        found["paraphrases"] = run.paraphrases(test[: config.again], chosen)
        if config.pareto:
            found["pareto"] = run.pareto(test[: config.again], chosen)
        found["failed_verdicts"] = run.failures
    found["seconds"] = time.perf_counter() - started
    return write_report(found, Path(config.output))


class _Run:
    """The models, judges and kept answers of one evaluation."""

    def __init__(
        self,
        config: EvaluateConfig,
        judges: Sequence[Judge] | None,
        embedder: Embedder | None,
        progress: Progress | None,
    ) -> None:
        self.config, self.progress = config, progress
        self.output = Path(config.output)
        self.output.mkdir(parents=True, exist_ok=True)
        self.judges = [make_judge(each) for each in config.judges] if judges is None else list(judges)
        self.failures = dict.fromkeys(names_of(self.judges), 0)
        self.kept, self.verdicts = Kept(self.output / "answers.jsonl"), Kept(self.output / "verdicts.jsonl")
        self.vectors: dict[str, np.ndarray] = {}
        model, self.tokenizer = load_causal_lm(model_folder(config.base), device=config.device, dtype=config.dtype)
        self.base = Backbone(model)
        self.persrms: dict[str, PersRM] = {}
        self.paths = {"base": config.base, "head": reward_folder(config.base, config.head), "text": config.text}
        for kind in ("head", "text"):
            if (path := self.paths[kind]) is not None:
                self.persrms[kind] = PersRM.from_pretrained(
                    path, base=self.base, tokenizer=self.tokenizer, embedder=embedder, device=config.device,
                    dtype=config.dtype,
                )  # fmt: skip
        if head := self.persrms.get("head"):
            assert head.head is not None
            embedder = embedder or SentenceEmbedder(head.head.config.embedder)
            texts = sorted({wish for said in config.wordings.values() for text in said for wish in wishes_of(text)})
            self.vectors = dict(zip(texts, embed_wishes(embedder, texts), strict=True))
        self.methods = [method for method in config.methods if self._guide_of(method) is not False]
        self._engines: dict[str, TorchEngine] = {}
        self.left_out: list[tuple[int, str]] = []

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for engine in self._engines.values():
            engine.close()

    def _guide_of(self, method: str) -> Any:
        """What guides a method: a PersRM, "self", None for no guide, False where it is missing."""
        if method in ("base", "prompted"):
            return None
        if method == "pad+prompt":
            return self.persrms.get("head") or self.persrms.get("text") or False
        return "self" if method == "self" else self.persrms.get(method, False)

    def mark(self, method: str) -> str:
        """Names the models of a method: another PersRM leaves what the others answered as it is."""
        used = ["base", method, *(("head" if "head" in self.persrms else "text",) * (method == "pad+prompt"))]
        return key_of(*(_fingerprint(self.paths[name]) for name in used if name in self.paths))

    def engine(self, method: str) -> TorchEngine:
        """The engine of a method; all share the base."""
        guide = self._guide_of(method)
        key = str(id(guide))
        if key not in self._engines:
            _, made = guide_for(guide, self.base, self.tokenizer)
            self._engines[key] = TorchEngine(self.base, self.tokenizer, made)
        return self._engines[key]

    def answer(self, cases: Sequence[Case], setting: Setting, stage: str, weights: Any = None) -> list[Answer]:
        """Answers of one setting, kept or new."""

        setting = setting.plain()
        tick = self.tick(f"{stage}: {setting.method} β={setting.beta:g} k={setting.top_k}")
        return answer_all(
            self.kept,
            self.engine,
            self.mark(setting.method),
            cases,
            setting,
            self.vectors,
            self.config.max_tokens,
            weights,
            tick,
        )

    def tick(self, stage: str) -> Callable[[int, int], None]:
        """Tells the caller's `progress` how far a stage is."""
        return lambda done, of: None if self.progress is None else self.progress(stage, done, of, {})

    def cases(self) -> tuple[list[Case], list[Case]]:
        """(validation, test): each prompt with one preference; a prompt's text decides its side."""
        named = self.config.wordings
        names, rng = sorted(named), random.Random(self.config.seed)
        rng.shuffle(names)
        sides: tuple[list[Case], list[Case]] = ([], [])
        try:
            lines = Path(self.config.prompts).read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()][: self.config.limit]
            asked = [tuple(row.get("messages") or ({"role": "user", "content": row["prompt"]},)) for row in rows]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise InvalidRequestError(
                f"{self.config.prompts!r} has to be a JSONL file of {{prompt}} or {{messages}} rows: {error!r}"
            ) from error
        for n, (row, messages) in enumerate(zip(rows, asked, strict=True)):
            name = row.get("preference") or names[n % len(names)]
            if name not in named:
                raise InvalidRequestError(f"{self.config.prompts}:{n + 1} has the preference {name!r}, not in {names}.")
            if reason := self._too_long(messages, name):
                self.left_out.append((n + 1, reason))
                _log.warning("%s:%d is left out: %s", self.config.prompts, n + 1, reason)
                continue
            mark = hashlib.sha256(f"{self.config.seed}{json.dumps(messages)}".encode()).digest()[0] / 256
            sides[mark >= self.config.validation].append(Case(messages, name, named[name][0]))
        if not sides[0] or not sides[1]:
            raise InvalidRequestError(
                f"{len(rows)} prompts, {len(self.left_out)} of them too long, leave {len(sides[0])} for validation and "
                f"{len(sides[1])} for the test. Bring more, or change validation."
            )
        return sides

    def _too_long(self, messages: Sequence[Mapping[str, Any]], name: str) -> str | None:
        """Why a prompt leaves no room for an answer with some method and wording; None where all have it."""
        worded = [[(wish, 1.0) for wish in wishes_of(text)] for text in self.config.wordings[name]]
        if self.config.pareto:
            worded.append([(self.config.wordings[each][0], 1.0) for each in self.config.pareto])
        most = self.config.max_tokens
        for method, wishes in itertools.product(self.methods, worded):
            case = Case(tuple(messages), name, "")
            try:
                room = self.engine(method).room(request_of(case, wishes, Setting(method, 1.0), self.vectors, most))
            except ContextLengthError as error:
                return str(error)
            if room < most:
                return f"its prompt leaves {room} tokens for an answer, but max_tokens is {most}"
        return None

    def sweep(self, cases: Sequence[Case]) -> tuple[list[dict[str, Any]], dict[str, Setting]]:
        """Every method × β × k on the validation prompts, and what is chosen for each method."""
        plain = self.measure(cases, self.answer(cases, Setting("base"), "validation"))
        rows = [{**asdict(Setting("base")), **plain}]
        chosen = {method: Setting(method) for method in self.methods if method not in GUIDED}
        for method in [each for each in self.methods if each in GUIDED]:
            tried: list[tuple[Setting, dict[str, Any]]] = []

            def attempt(setting: Setting, tried: list[tuple[Setting, dict[str, Any]]] = tried) -> None:
                measured = self.measure(cases, self.answer(cases, setting, "validation"))
                tried.append((setting, measured))
                rows.append({**asdict(setting), **measured})

            for beta in self.config.betas:
                attempt(Setting(method, beta, self.config.ks[0], self.config.alpha))
            best = _best(tried, plain["perplexity"] * self.config.fluency)
            for k in self.config.ks[1:]:
                attempt(Setting(method, best.beta, k, self.config.alpha))
            chosen[method] = _best(tried, plain["perplexity"] * self.config.fluency)
            _log.info("%s: β %g, k %d", method, chosen[method].beta, chosen[method].top_k)
        return rows, chosen

    def test(self, cases: Sequence[Case], chosen: Mapping[str, Setting]) -> dict[str, Any]:
        """Each method at its chosen setting: scores, win rates against the base and the prompted base, and costs."""
        said = {method: self.answer(cases, setting, "test") for method, setting in chosen.items()}
        said.setdefault("base", self.answer(cases, Setting("base"), "test"))
        found = {
            method: self.measure(cases, answers) | {"by_preference": self.by_preference(cases, answers)}
            for method, answers in said.items()
        }
        for method, mine in said.items():
            for other in ("base", "prompted"):
                if other in said and other != method:
                    found[method][f"against {other}"] = {
                        judge.name: self.win_rate(judge, cases, mine, said[other]) for judge in self.judges
                    }
        return found

    def paraphrases(self, cases: Sequence[Case], chosen: Mapping[str, Setting]) -> dict[str, Any]:
        """The same prompts and preferences in other words: the first judge's mean score by the wording's place."""
        judge = next((each for each in self.judges if each.scores), None)
        named, labels = self.config.wordings, self.config.labels
        most = max(len(said) for said in named.values())
        if judge is None or most == 1:
            return {}
        found: dict[str, Any] = {method: {} for method in chosen if method != "base"}
        for place in range(most):
            asked = [Case(c.messages, c.name, said[0]) for c in cases if (said := named[c.name][place : place + 1])]
            label = labels[place] if place < len(labels) else f"wording {place + 1}"
            for method in found:
                told = self.answer(asked, chosen[method], "paraphrases")
                found[method][label] = interval(self.scores(judge, asked, told), self.config.seed)
        return found

    def pareto(self, cases: Sequence[Case], chosen: Mapping[str, Setting]) -> dict[str, Any]:
        """Mean scores of two preferences while their weights change; `front` marks the points none dominates."""
        judge = next((each for each in self.judges if each.scores), None)
        if judge is None:
            return {}
        names = self.config.pareto
        texts = [self.config.wordings[name][0] for name in names]
        points: list[dict[str, Any]] = []
        for method, setting in chosen.items():
            steps = PARETO_WEIGHTS if method in GUIDED else (0.5,)
            for step in steps:
                weights = [list(zip(texts, (1 - step, step), strict=True))] * len(cases)
                said = self.answer(cases, setting, "pareto", None if method == "base" else weights)
                place = [
                    float(np.mean(self.scores(judge, [Case(c.messages, name, text) for c in cases], said)))
                    for name, text in zip(names, texts, strict=True)
                ]
                points.append({"method": method, "weight": step, "scores": place})
        front = pareto_front([(p["scores"][0], p["scores"][1]) for p in points])
        return {"names": list(names), "points": [{**p, "front": n in front} for n, p in enumerate(points)]}

    def measure(self, cases: Sequence[Case], said: Sequence[Answer]) -> dict[str, Any]:
        """Scores, length, diversity, perplexity under the base, speed."""
        tokens, seconds = sum(each.tokens for each in said), sum(each.seconds for each in said)
        return {
            "scores": {
                judge.name: interval(self.scores(judge, cases, said), self.config.seed)
                for judge in self.judges
                if judge.scores
            },
            "tokens": tokens / len(said),
            "ended": float(np.mean([each.ended for each in said])),
            "distinct_2": distinct([each.text for each in said]),
            "perplexity": self.perplexity(cases, said),
            "tokens_per_second": tokens / seconds if seconds else float("nan"),
            "memory_gib": max(each.memory for each in said),
        }

    def by_preference(self, cases: Sequence[Case], said: Sequence[Answer]) -> dict[str, Any]:
        """The first scoring judge's scores of seen and unseen preferences, and of each: mean, low, high, and count."""
        judge = next((each for each in self.judges if each.scores), None)
        groups: dict[str, list[int]] = {}
        for n, case in enumerate(cases):
            for name in ("unseen" if case.name in self.config.unseen else "seen", case.name):
                groups.setdefault(name, []).append(n)
        found = {}
        for name, places in sorted(groups.items() if judge is not None else ()):
            scores = self.scores(judge, [cases[n] for n in places], [said[n] for n in places])
            found[name] = [*interval(scores, self.config.seed), len(scores)]
        return found

    def perplexity(self, cases: Sequence[Case], said: Sequence[Answer]) -> float:
        """exp of the mean −log p of the answers' tokens under the base, which is told no preference."""
        prompts = self.engine("base").prompts
        rows = [
            (prompts.render(list(case.messages)), ids)
            for case, each in zip(cases, said, strict=True)
            if (ids := prompts.encode(each.text))
        ]
        (found,) = log_probabilities(self.base, rows)
        return float(np.exp(-np.concatenate(found).mean())) if found else float("nan")

    def scores(self, judge: Any, cases: Sequence[Case], said: Sequence[Answer]) -> list[float]:
        """A scoring judge's scores; rows on which it fails are left out and counted."""
        found = []
        for case, each in zip(cases, said, strict=True):
            value = self._verdict(judge, judge.score, case, each.text)
            if value is not None:
                found.append(value)
        return found

    def win_rate(
        self, judge: Judge, cases: Sequence[Case], mine: Sequence[Answer], other: Sequence[Answer]
    ) -> dict[str, Any]:
        """Share of cases won, ties half: mean and interval, and the share of ties."""
        found: list[float] = []
        for case, left, right in zip(cases, mine, other, strict=True):
            key = key_of(judge.name, case.messages, case.text, left.text, right.text)
            value = self.verdicts.get(key)
            if value is None:
                value = self._verdict(judge, judge.compare, case, left.text, right.text)
                if value is not None and not judge.scores:
                    self.verdicts.put(key, value)
            if value is not None:
                found.append(value)
        ties = float(np.mean([value == 0.5 for value in found])) if found else float("nan")
        return {"won": interval(found, self.config.seed), "ties": ties, "judged": len(found)}

    def _verdict(self, judge: Judge, ask: Callable[..., float], *asked: Any) -> float | None:
        try:
            return float(ask(*asked))
        except Exception as error:  # a judge is a model or a service: whatever it does, the rest goes on
            self.failures[judge.name] += 1
            _log.warning("the judge %r failed: %s", judge.name, error)
            return None


def _best(tried: Sequence[tuple[Setting, dict[str, Any]]], limit: float) -> Setting:
    """The setting with the best score among those fluent enough; of equal ones the gentlest."""

    def merit(item: tuple[Setting, dict[str, Any]]) -> tuple[bool, float, float]:
        setting, measured = item
        scores = list(measured["scores"].values())
        return measured["perplexity"] <= limit, round(scores[0][0], 6) if scores else 0.0, -setting.beta

    return max(tried, key=merit)[0]


def _fingerprint(path: str | None) -> list[Any]:
    """Name, sizes and times of a model folder's files: another training in the same folder is another model."""
    folder = Path(model_folder(path)) if path else None
    if folder is None or not folder.is_dir():
        return [path]
    files = sorted(folder.glob("*.safetensors"))
    return [str(path), [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]]
