"""A whole run on a tiny model: killed at every stage it goes on to the same bytes, and what cannot be is refused."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pad_langchain.adapt import adapt
from pad_langchain.adapt.config import AdaptConfig, ChoiceSettings, SampleSettings
from pad_langchain.adapt.estimate import estimate
from pad_langchain.adapt.job import Job, open_job
from pad_langchain.adapt.lessons.corpus import Corpus
from pad_langchain.adapt.lessons.sample import rotation, sample
from pad_langchain.adapt.model import Model, Said
from pad_langchain.adapt.poles import of_catalogue
from pad_langchain.adapt.run import by_prototype
from pad_langchain.adapt.trials.choose import choose
from pad_langchain.adapt.trials.panel import Judged, Way
from pad_langchain.cli.main import app
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import InvalidRequestError, MissingDependencyError
from pad_langchain.evaluation.answers import Kept
from pad_langchain.evaluation.wishes import Verdict
from pad_langchain.persrm.build import load_engine
from pad_langchain.persrm.head import VectorHead
from pad_langchain.testing import HashEmbedder, tiny_pair

Make = Callable[..., AdaptConfig]
KILLED_AT = ("answers", "features", "reader", "head", "round-1: answers", "features-1", "dev: base", "test: base")


@pytest.fixture(scope="module")
def done(config_of: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    adapt(config_of(folder, rounds=1), embedder=HashEmbedder())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a run's folder, without the settings, which name the folder, and checkpoints, which become the drafts.

    The bytes of a checkpoint say which of its objects were one.
    """
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "adapt.yaml" and path.suffix != ".pt"}


def test_a_run_that_is_killed_at_every_stage_comes_to_the_same(config_of: Make, done: Path, tmp_path: Path) -> None:
    killed: list[str] = []

    def kill(stage: str, *_: Any) -> None:
        if stage in KILLED_AT and stage not in killed:
            killed.append(stage)
            raise KeyboardInterrupt

    config = config_of(tmp_path / "killed", rounds=1)
    for _ in KILLED_AT:
        with pytest.raises(KeyboardInterrupt):
            adapt(config, kill, embedder=HashEmbedder())
    assert killed == list(KILLED_AT)
    with (tmp_path / "killed" / "answers.jsonl").open("a") as stream:
        stream.write('["cut", {"te')
    adapt(config, kill, embedder=HashEmbedder())
    assert contents(tmp_path / "killed") == contents(done)


def test_a_finished_run_learns_nothing_anew(config_of: Make, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(done)
    monkeypatch.setattr("pad_langchain.training.head.teach_reader", None)  # what calls it fails
    adapt(config_of(done, rounds=1), embedder=HashEmbedder())
    assert contents(done) == before


def test_the_head_steers_its_base(base: str, done: Path) -> None:
    head = VectorHead.from_pretrained(done / "head")
    report = json.loads((done / "report.json").read_text())
    chosen = report["chosen"]
    assert (head.config.beta, head.config.top_k) == (chosen["beta"], chosen["top_k"])
    assert head.config.condition_base is (chosen["place"] is not None)
    engine = load_engine(base, done / "head", embedder=HashEmbedder())
    wish = WeightedPreference("use a formal and polite tone")
    with engine:
        asked: list[dict[str, Any]] = [{"role": "user", "content": "what is an element?"}]
        events = [
            engine.submit(Request(asked, preferences=(wish,), beta=beta, top_k=50, max_tokens=8)).result()
            for beta in (0.0, 200.0)
        ]
    assert any(event.reward for event in events[1].events)
    assert report["corpus"]["few"] == [
        key for key, _ in report["corpus"]["tried"].items() if report["corpus"]["kept"].get(key, 0) < 2
    ]
    names = ("base", "told in the system turn", "told in the user turn", "told in both turns", "head, by pole")
    assert {*names, report["told"]} < set(report["test"])
    assert any(name.endswith(" + self") for name in report["test"])
    text = (done / "report.md").read_text()
    assert "## By pole" in text
    assert all((done / f"{name}.png").exists() for name in ("ways", "poles", "strength"))


@pytest.mark.parametrize("changes", [{"seed": 3}, {"candidates": 8}, {"rounds": 0}])
def test_another_run_is_refused_and_nothing_is_overwritten(
    config_of: Make, done: Path, changes: dict[str, Any]
) -> None:
    before = contents(done)
    with pytest.raises(InvalidRequestError, match=f"other settings: {next(iter(changes))}"):
        adapt(config_of(done, **{"rounds": 1} | changes), embedder=HashEmbedder())
    assert contents(done) == before


def test_another_base_in_the_same_place_is_refused(config_of: Make, done: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("adapt.yaml", "inputs.json"):
        (tmp_path / "run" / name).write_bytes((done / name).read_bytes())
    told = json.loads((tmp_path / "run" / "inputs.json").read_text())
    (tmp_path / "run" / "inputs.json").write_text(json.dumps(told | {"base": "another"}))
    with pytest.raises(InvalidRequestError, match="the contents of base"):
        open_job(config_of(tmp_path / "run", rounds=1), None, HashEmbedder())


def test_a_folder_of_something_else_is_left_alone(config_of: Make, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidRequestError, match="holds no run of adapt"):
        adapt(config_of(tmp_path), embedder=HashEmbedder())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_base_without_a_chat_template_is_refused(config_of: Make, tmp_path: Path) -> None:
    pair = tiny_pair()
    pair.tokenizer.chat_template = None
    base, _ = pair.save(tmp_path)
    with pytest.raises(InvalidRequestError, match="no chat template"):
        adapt(config_of(tmp_path / "run", base=str(base)), embedder=HashEmbedder())
    assert not (tmp_path / "run").exists()


def test_a_base_that_does_not_hear_its_user_is_refused(config_of: Make, tmp_path: Path) -> None:
    pair = tiny_pair()
    pair.tokenizer.chat_template = "{{ '<|im_start|>assistant\\n' }}"
    base, _ = pair.save(tmp_path)
    with pytest.raises(InvalidRequestError, match="told opposite things, it begins its answers alike"):
        adapt(config_of(tmp_path / "run", base=str(base)), embedder=HashEmbedder())
    assert not (tmp_path / "run").exists()


def test_what_the_report_needs_is_missed_at_once(
    config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="plot"):
        adapt(config_of(tmp_path / "run"), embedder=HashEmbedder())
    assert not (tmp_path / "run").exists()


def test_nothing_to_learn_from_is_said(config_of: Make, tmp_path: Path) -> None:
    strict = dataclasses.replace(config_of(tmp_path).filter, least_words=1000)
    with pytest.raises(InvalidRequestError, match="too short"):
        adapt(config_of(tmp_path / "run", filter=strict), embedder=HashEmbedder())


def test_every_dimension_has_its_turn() -> None:
    dimensions = of_catalogue()
    turns = [dimension.name for place in range(8) for dimension in rotation(place, dimensions, 3)]
    assert {turns.count(dimension.name) for dimension in dimensions} == {3}
    assert len(rotation(5, dimensions[:2], 3)) == 2


def test_what_a_model_thinks_is_no_answer(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Model, chat: Any, asked: Any) -> Any:
        for n, each in enumerate(asked):
            yield each, Said("", ended=False, tokens=24) if n == 0 else Said("It is so. And th", ended=False, tokens=24)

    monkeypatch.setattr(Model, "answer", answer)
    found = sample(
        job.model, job.prompts.train[:1], job.dimensions, job.config, Kept(tmp_path / "a.jsonl"), lambda *_: None
    )
    assert [text.text for text in found] == ["It is so."] * 4


def test_the_estimate_names_what_will_be_few(job: Job) -> None:
    counted = {"tone:formal": 8, "tone:casual": 0}
    nothing: Any = None
    corpus = Corpus(nothing, Counter(counted), Counter(counted), Counter())
    job.spent["answers"].units, job.spent["answers"].seconds = 20, 60.0
    found = estimate(job, corpus, prompts=4, judged=10)
    job.spent.clear()
    assert found.few == ("tone:casual",)
    assert found.examples == {"tone:formal": 16, "tone:casual": 0}
    assert found.minutes == {"answers": pytest.approx(1.0), "judging": pytest.approx(10 * 3 / 60 * 8 / 24)}
    assert "too few" in found.lines()[-1]


def by_pole(common: Way, **poles: Way) -> Way:
    return dataclasses.replace(common, each=tuple((f"tone:{name}", way) for name, way in poles.items()))


class Panel:
    """Judges ways by a table instead of answers."""

    def __init__(self, both: dict[str, float], ended: dict[str, float], good: dict[str, float] | None = None) -> None:
        self.both, self.ended, self.good = both, ended, good or {}

    def judge(self, way: Way) -> Judged:
        key = way.of("tone:formal").key
        both, good, ends = self.both.get(key, 0.0), self.good.get(key, 1.0), self.ended.get(key, 1.0)
        verdicts = [
            Verdict(f"q{n}", "tone:formal", n < 20 * both, 1.0, n >= 20 * good, False, False, n < 20 * ends)
            for n in range(20)
        ]
        return Judged(way, ("",) * 20, tuple(verdicts))


def test_strength_and_place_are_chosen_step_by_step() -> None:
    settings = ChoiceSettings(betas=(4.0, 2.0), ks=(50, 400), alphas=(0.001, 0.1))
    both = {
        "told in the user turn": 0.5,
        "head 2 50 0.001": 0.4, "head 4 50 0.001": 0.4, "head 2 400 0.001": 0.45,
        "told in the user turn + head 2 50 0.001": 0.6, "told in the user turn + head 4 50 0.001": 0.9,
        "told in the user turn + head 2 50 0.1": 0.7,
    }  # fmt: skip
    found = choose(Panel(both, {"told in the user turn + head 4 50 0.001": 0.2}), settings)
    prompted = Way(place="user")
    assert found.told == by_pole(prompted, formal=prompted)
    gentle, told = Way("head", None, 2.0, 400, 0.001), Way("head", "user", 2.0, 50, 0.1)
    assert found.alone == by_pole(gentle, formal=gentle)  # of equals the gentlest
    assert found.both == found.best == by_pole(told, formal=told)  # the strongest one does not come to an end
    assert len({each.way for each in found.tried}) == len(found.tried)


def test_of_ways_about_as_good_as_the_best_the_one_with_more_good_answers_is_taken() -> None:
    told = "told in the user turn + head"
    both = {"told in the user turn": 0.5, f"{told} 1 50 0": 0.3, f"{told} 2 50 0": 0.6, f"{told} 4 50 0": 0.65}
    settings = ChoiceSettings(betas=(1.0, 2.0, 4.0), alphas=(0.0,))
    found = choose(Panel(both, {}, {f"{told} 2 50 0": 0.95, f"{told} 4 50 0": 0.7}), settings)
    way = dataclasses.replace(found.both, each=())
    assert way == Way("head", "user", 2.0, 50, 0.0)  # the gentlest is worse, the strongest spoils more


class PanelOfTwo:
    """Judges two poles, each by a table: β → answers of 20 that show it and are good. 0 is without the head."""

    def __init__(self, formal: dict[float, int], casual: dict[float, int]) -> None:
        self.poles = {"tone:formal": formal, "tone:casual": casual}

    def judge(self, way: Way) -> Judged:
        verdicts = [
            Verdict(f"q{n}", pole, n < both.get(way.of(pole).beta or 0.0, 0), 1.0, False, False, False, True)
            for pole, both in self.poles.items()
            for n in range(20)
        ]
        return Judged(way, ("",) * 40, tuple(verdicts))


def test_each_pole_gets_a_strength_of_its_own() -> None:
    settings = ChoiceSettings(betas=(1.0, 2.0, 4.0), alphas=(0.0,))
    found = choose(PanelOfTwo({0: 20, 1: 12, 2: 9, 4: 2}, {0: 2, 1: 10, 2: 14, 4: 18}), settings)
    common = Way("head", "system", 2.0, 50, 0.0)
    gentle, strong = (dataclasses.replace(common, beta=beta) for beta in (1.0, 4.0))
    assert found.both == by_pole(common, formal=gentle, casual=strong)
    assert [found.both.of(f"tone:{name}") for name in ("formal", "casual")] == [gentle, strong]


def test_a_pole_alone_does_not_go_where_the_others_suffer() -> None:
    settings = ChoiceSettings(betas=(1.0, 4.0), alphas=(0.0,))
    found = choose(PanelOfTwo({0: 2, 1: 14, 4: 2}, {0: 2, 1: 14, 4: 16}), settings)
    gentle = Way("head", "system", 1.0, 50, 0.0)
    assert found.both == by_pole(gentle, formal=gentle, casual=gentle)


class PanelOfWords:
    """Judges two poles: one is shown where the base is told an instruction, one where it is told nothing."""

    poles = ("tone:formal", "tone:casual")

    def judge(self, way: Way) -> Judged:
        def shown(pole: str) -> int:
            how = way.of(pole)
            if pole == "tone:casual":
                return 18 if how.place is None else 6
            return 4 if how.place is None else 16 if how.words == "other" else 10

        verdicts = [
            Verdict(f"q{n}", pole, n < shown(pole), 1.0, False, False, False, True)
            for pole in self.poles
            for n in range(20)
        ]
        return Judged(way, ("",) * 40, tuple(verdicts))


def test_each_pole_is_told_as_works_best_for_it() -> None:
    found = choose(PanelOfWords(), ChoiceSettings(betas=(1.0,), alphas=(0.0,)))
    told, base = Way(place="system", words="other"), Way()
    assert (found.told.of("tone:formal"), found.told.of("tone:casual")) == (told, base)
    guided = [dataclasses.replace(way, guide="head", beta=1.0, top_k=50, alpha=0.0) for way in (told, base)]
    assert [found.both.of(pole) for pole in PanelOfWords.poles] == guided


def test_the_head_keeps_how_each_pole_is_told_and_steered() -> None:
    length, *_ = of_catalogue()
    guided = Way("head", "user", 2.0, 50, 0.0, "other")
    ways = [(length.key(0), dataclasses.replace(guided, beta=3.0)), (length.key(1), Way())]
    kept = by_prototype([length], dataclasses.replace(guided, each=tuple(ways)))
    assert kept == {"strengths": [1.5, 0.0, 1.0], "tellings": [length.poles[0].other, "", None]}
    assert by_prototype([length], Way("head", None, 2.0, 50, 0.0)) == {"strengths": [1.0] * 3, "tellings": None}
    assert by_prototype([length], None) == {}


def test_the_command(base: str, done: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load((done / "adapt.yaml").read_text())
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(settings))
    refused = CliRunner().invoke(
        app, ["adapt", base, "--output", str(done), "--config", str(tmp_path / "more.yaml"), "--seed", "9"]
    )
    assert (refused.exit_code, "other settings: seed" in refused.stderr) == (2, True)
    unknown = CliRunner().invoke(app, ["adapt", base, "--output", str(tmp_path / "o"), "--dimension", "size"])
    assert (unknown.exit_code, "dimensions have to be of" in unknown.stderr) == (2, True)


def test_a_users_poles_without_a_rule_are_not_judged(config_of: Make, tmp_path: Path) -> None:
    poles = {
        "rhyme": [
            {"name": "rhymed", "text": "rhyme", "wordings": [], "instruction": "Answer in rhymes."},
            {"name": "plain", "text": "do not rhyme", "wordings": [], "instruction": "Do not rhyme."},
        ]
    }
    (tmp_path / "poles.yaml").write_text(yaml.safe_dump(poles))
    longer = SampleSettings(prompts=8, dimensions=1, max_tokens=96)
    config = config_of(tmp_path / "run", poles=tmp_path / "poles.yaml", dimensions=(), sample=longer)
    head = adapt(config, embedder=HashEmbedder())
    assert VectorHead.from_pretrained(head).config.prototypes == 3
    assert json.loads((tmp_path / "run" / "report.json").read_text())["not judged"] == ["rhyme:rhymed", "rhyme:plain"]
