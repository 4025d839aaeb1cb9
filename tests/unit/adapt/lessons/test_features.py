"""What a head learns from is what the base says under three prompts; and the fit moves the head towards it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from pad_langchain.adapt.config import FitSettings
from pad_langchain.adapt.fit import Distillation, fit
from pad_langchain.adapt.job import Job
from pad_langchain.adapt.lessons import features as module
from pad_langchain.adapt.lessons.features import CONTEXTS, Features, read_features
from pad_langchain.adapt.lessons.texts import Text
from pad_langchain.adapt.lessons.wordings import PoleWordings
from pad_langchain.errors import CheckpointError
from pad_langchain.testing import HashEmbedder
from pad_langchain.training.config import HeadSettings

SAID = ("the answer is short", "a list of examples", "yes", "please be polite and clear", "a warning", "no")
C = 16


@pytest.fixture(scope="module")
def texts(job: Job) -> list[Text]:
    """Six answers to five prompts, both sides of two dimensions; the last prompt is of a second shard."""
    prompts = [job.prompts.train[n] for n in (0, 0, 1, 2, 3, 4)]
    names = ("tone", "tone", "examples", "tone", "examples", "tone")
    return [
        Text(f"{n}", prompt.id, name, n % 2, "told", said, ended=n != 3)
        for n, (prompt, name, said) in enumerate(zip(prompts, names, SAID, strict=True))
    ]


def read(job: Job, texts: list[Text], folder: Path, tick=lambda done, of: None) -> Features:
    return read_features(job.model, texts, job.prompts.train[:5], job.dimensions, folder, candidates=C, tick=tick)


@pytest.fixture(scope="module")
def features(job: Job, texts: list[Text], tmp_path_factory: pytest.TempPathFactory) -> Features:
    return read(job, texts, tmp_path_factory.mktemp("features"))


def test_features_are_the_bases_own_under_three_prompts(job: Job, texts: list[Text], features: Features) -> None:
    text = texts[2]
    (prompt,) = [each for each in job.prompts.train if each.id == text.prompt]
    poles = next(each.poles for each in job.dimensions if each.name == text.dimension)
    said = [*job.model.prompts.encode(text.text), job.model.prompts.turn_end]
    logp, model = {}, job.model.reader.model
    for context, instruction in zip(CONTEXTS, ("", poles[0].instruction, poles[1].instruction), strict=True):
        ids = job.model.prompt_ids(prompt, instruction)
        with torch.no_grad():
            output = model(torch.tensor([ids + said]), output_hidden_states=True)
        logp[context] = output.logits[0, len(ids) - 1 : -1].log_softmax(-1)
        taken = features.take([2], context)
        hidden_TD = output.hidden_states[-1][0, len(ids) - 1 : -1]
        np.testing.assert_allclose(taken.hidden_MD, hidden_TD, rtol=0.01, atol=0.01)
        tokens_MC = features.tokens_K[taken.place_MC]
        assert tokens_MC[:, 0].tolist() == said
        np.testing.assert_allclose(taken.base_MC, logp[context].gather(1, tokens_MC), atol=1e-3)
        np.testing.assert_allclose(features.head_KD[taken.place_MC[0]], model.lm_head.weight[tokens_MC[0]].detach())
    difference_TV = (logp["wish"] - logp["opposite"]) / 2
    np.testing.assert_allclose(taken.teacher_MC, difference_TV.gather(1, tokens_MC), atol=1e-3)
    assert features.examples[2].lean == pytest.approx(2 * float(taken.teacher_MC[:, 0].mean()), abs=1e-5)
    likeliest = torch.stack(list(logp.values())).amax(0).topk(C - 1).indices
    assert all(set(a.tolist()) <= set(b.tolist()) for a, b in zip(likeliest, tokens_MC, strict=True))


def test_an_answer_that_was_cut_off_has_no_end(job: Job, features: Features) -> None:
    last = [features.tokens_K[features.take([n]).place_MC[-1, 0]].item() for n in (2, 3)]
    assert (last[0] == job.model.prompts.turn_end, last[1] == job.model.prompts.turn_end) == (True, False)


def test_some_examples_and_those_of_two_rounds(features: Features) -> None:
    some = features.only([4, 1])
    assert [example.text.id for example in some.examples] == ["4", "1"]
    assert some.place == {"4": 0, "1": 1}
    joined = features.only([0, 1]).join(some)
    assert len(joined) == 4
    for mine, theirs in ((0, 0), (2, 4), (3, 1)):
        ours, own = joined.take([mine], "wish"), features.take([theirs], "wish")
        assert torch.equal(ours.hidden_MD, own.hidden_MD)
        assert torch.equal(joined.head_KD[ours.place_MC], features.head_KD[own.place_MC])
    assert joined.take([0, 3]).example_M.unique(return_counts=True)[1].tolist() == [
        len(features.take([0]).hidden_MD), len(features.take([1]).hidden_MD)
    ]  # fmt: skip


def test_a_killed_reading_goes_on_at_the_next_shard(
    job: Job, texts: list[Text], features: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(job, texts, tmp_path, killed)
    (first,) = tmp_path.iterdir()
    seen: list[tuple[int, int]] = []
    again = read(job, texts, tmp_path, lambda *done: seen.append(done))
    assert seen == [(6, 6)]
    assert first in tmp_path.iterdir()
    assert all(torch.equal(*(each.take([n]).teacher_MC for each in (features, again))) for n in range(6))
    monkeypatch.setattr(module, "save_file", lambda *_, **__: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(CheckpointError, match="disk is full"):
        read(job, texts, tmp_path / "full")


def settings_of(steps: int) -> FitSettings:
    head = HeadSettings(
        rank=8, mlp_size=64, steps=steps, learning_rate=2e-2, readers=1, reader_steps=200, reader_batch=32, turned=0.0
    )
    return FitSettings(head=head)


def test_the_fit_moves_the_head_towards_the_teacher(job: Job, features: Features, tmp_path: Path) -> None:
    shown = [(example.text.dimension, example.text.side) for example in features.examples]
    wordings = PoleWordings(HashEmbedder(), job.dimensions, shown, beside=["I live in Rome."])
    settings = settings_of(steps=900)
    stages: set[str] = set()
    head = fit(
        features, wordings, settings, tmp_path / "fit", progress=lambda stage, done, of, logged: stages.add(stage)
    )
    assert stages == {"reader", "head"}
    assert not head.training
    assert (head.config.hidden_size, head.config.vocab_size, head.config.prototypes) == (32, job.model.vocab_size, 5)
    objective, every = Distillation(features, wordings, settings), range(len(features))
    learned = objective(head, every, random.Random(1))
    with torch.no_grad():
        head.V_DR.zero_()
    nothing = objective(head, every, random.Random(1))
    assert learned.shown < 0.95 * nothing.shown


def test_the_same_seed_makes_the_same_head(job: Job, features: Features, tmp_path: Path) -> None:
    shown = [(example.text.dimension, example.text.side) for example in features.examples]
    wordings = PoleWordings(HashEmbedder(), job.dimensions, shown)
    settings = settings_of(steps=5)
    first, same, other = (
        fit(features, wordings, settings, tmp_path / f"{n}", seed=seed).U_RD for n, seed in enumerate((0, 0, 1))
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_wordings_name_poles_opposites_and_nothing(job: Job) -> None:
    wordings = PoleWordings(HashEmbedder(), job.dimensions, [("tone", 1)], beside=["I live in Rome."])
    lessons, texts = wordings.lessons(), wordings._texts
    named = {text: int(lessons.poles_NQ[n].argmax()) for n, text in enumerate(texts)}
    none = 4
    assert named["I live in Rome."] == none
    assert named["be concise and brief"] == none  # a wish of a dimension that is not learned
    assert named["use a formal and polite tone"] == 0
    assert named["stop being so polite"] == 0  # what it turns away is the formal pole
    (worded,) = wordings.draw([0], random.Random(0))
    assert any(torch.equal(worded.wanted[0], wordings.known_NE[n]) for n in wordings._rows["tone", 1])
    assert any(torch.equal(worded.opposite[0], wordings.known_NE[n]) for n in wordings._rows["tone", 0])
