"""Training a head for any base: the feature cache, the loss over candidates, and what comes out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pad_langchain.engine.types import Recommended, Request, WeightedPreference
from pad_langchain.errors import CheckpointError, InvalidRequestError
from pad_langchain.models.backbone import Backbone
from pad_langchain.persrm.build import load_engine
from pad_langchain.persrm.head import VectorHead
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.testing import HashEmbedder, tiny_head, tiny_model, tiny_pair, tiny_tokenizer
from pad_langchain.training.config import HeadSettings, TrainConfig
from pad_langchain.training.data import read_pairs
from pad_langchain.training.encoding import EncodedPair, encode_pairs
from pad_langchain.training.features import compute_features
from pad_langchain.training.margins import gates_of, margins
from pad_langchain.training.run import train
from pad_langchain.training.wordings import OPPOSITES, SAME, CatalogueWordings, wishes_of

SHORT, LONG = "yes", "yes, it is a list of examples and a warning"
ALL: dict[str, Any] = {"uncertain": 0.0, "settled": 1.0}


@pytest.fixture(scope="module")
def head_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head")
    tiny_pair().save(folder)
    rows = []
    for n in range(60):
        sides = {"chosen": SHORT, "rejected": LONG} if n % 2 else {"chosen": LONG, "rejected": SHORT}
        rows.append({"prompt": f"question {n}?", "preference": ("ramble", "be terse")[n % 2], **sides})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def encoded(head_files: Path) -> list[EncodedPair]:
    return encode_pairs(read_pairs(head_files / "pairs.jsonl").pairs, tiny_tokenizer(), template=None, max_length=None)[
        0
    ]


def test_features_are_the_bases_states_and_likeliest_tokens(encoded: list[EncodedPair], tmp_path: Path) -> None:
    model = tiny_model()
    found = compute_features(Backbone(model), encoded[:11], tmp_path, candidates=20, **ALL)
    assert len(found) == 11
    pair = encoded[3]
    here = slice(int(found.starts[7]), int(found.starts[8]))  # the rejected side
    with torch.no_grad():
        output = model(torch.tensor([pair.prompt + pair.rejected]), output_hidden_states=True)
    logits_TV = output.logits[0, len(pair.prompt) - 1 : -1]
    assert found.candidates_MC[here][:, 0].tolist() == pair.rejected
    expected = logits_TV.gather(1, torch.tensor(found.candidates_MC[here].tolist()))
    np.testing.assert_allclose(found.logits_MC[here], expected, atol=1e-3)
    for row_C, logits_V in zip(found.candidates_MC[here], logits_TV, strict=True):
        assert len(set(row_C.tolist())) == 20
        assert set(logits_V.topk(19).indices.tolist()) <= set(row_C.tolist())
    hidden = torch.from_numpy(np.array(found.hidden_MD[here])).view(torch.bfloat16).float()
    np.testing.assert_allclose(hidden, output.hidden_states[-1][0, len(pair.prompt) - 1 : -1], rtol=0.01, atol=0.01)


def test_a_killed_feature_run_goes_on_behind_its_last_batch(
    encoded: list[EncodedPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = Backbone(tiny_model())
    settings = {"uncertain": 0.3, "settled": 0.5}
    whole = compute_features(backbone, encoded[:30], tmp_path / "whole", **settings)
    logits, calls = Backbone.logits, []

    def stops(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 25:  # in the middle of the second batch
            raise KeyboardInterrupt
        return logits(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "logits", stops)
        with pytest.raises(KeyboardInterrupt):
            compute_features(backbone, encoded[:30], tmp_path / "cut", **settings)
    seen: list[int] = []
    again = compute_features(
        backbone, encoded[:30], tmp_path / "cut", progress=lambda done, of: seen.append(done), **settings
    )
    assert seen == [16, 24, 30]
    for name, value in vars(whole).items():
        assert np.array_equal(value, getattr(again, name)), name
    compute_features(backbone, encoded[:30], tmp_path / "cut", progress=lambda done, of: seen.append(done), **settings)
    assert len(seen) == 3
    other = compute_features(backbone, encoded[:8], tmp_path / "cut", **settings)
    assert len(other) == 8


def test_margins_are_the_scores_where_the_candidates_are_the_vocabulary(
    encoded: list[EncodedPair], tmp_path: Path
) -> None:
    model, embedder = tiny_model(), HashEmbedder()
    head = tiny_head(model)
    found = compute_features(Backbone(model), encoded[:4], tmp_path, candidates=10_000, **ALL)
    vector = torch.from_numpy(embedder.embed(["be terse"])[0])
    with torch.no_grad():
        gates_NR = gates_of(head, [[vector]] * 4)
        both_GN, calm = margins(head, model.lm_head.weight, found, range(4), torch.stack([-gates_NR, gates_NR]))
    turned_N, margin_N = both_GN
    assert not torch.allclose(turned_N, margin_N, atol=0.1)
    persrm = PersRM(model, tiny_tokenizer(), head=head, embedder=embedder)
    for pair, margin in zip(encoded, margin_N.tolist(), strict=False):
        source = pair.source
        chosen, rejected = (
            persrm.score(source.prompt, text, ["be terse"]) for text in (source.chosen, source.rejected)
        )
        assert margin == pytest.approx(float(chosen[0] - rejected[0]), abs=0.5, rel=0.05)  # states are bfloat16
    assert calm == 0


def config_of(folder: Path, output: Path, **changes: Any) -> TrainConfig:
    head = HeadSettings(rank=8, mlp_size=64, prototypes=8, steps=150, batch=16, learning_rate=1e-2, uncertain=0.0)
    settings: dict[str, Any] = {"base": str(folder / "base"), "data": str(folder / "pairs.jsonl"), "kind": "head"}
    return TrainConfig(**settings | {"output": str(output), "device": "cpu", "held_out": 0.25, "head": head} | changes)


def test_a_trained_head_tells_the_sides_apart_and_guides(head_files: Path, tmp_path: Path) -> None:
    embedder = HashEmbedder(16)
    steps: list[str] = []
    result = train(
        config_of(head_files, tmp_path, beta=2.0, alpha=0.02, recommends={"top_k": 40, "wish_place": "user"}),
        lambda stage, done, of, logged: steps.append(stage),
        embedder=embedder,
    )
    assert result["head"]["held_out_accuracy"] > 0.9
    assert set(result["head"]["by_preference"]) == {"be terse", "ramble"}
    assert result["head"]["curve"][-1]["loss"] < 0.5
    assert (steps.count("head"), "features" in steps) == (150, True)
    head = VectorHead.from_pretrained(tmp_path)
    assert (head.config.beta, head.config.alpha, head.config.embedder) == (2.0, 0.02, "hash-16")
    assert head.recommended == Recommended(2.0, 0.02, top_k=40, wish_place="user")
    assert head.config.calibration is not None
    request = Request(
        messages=[{"role": "user", "content": "question 99?"}],
        preferences=[WeightedPreference("be terse")],
        beta=2.0,
        max_tokens=8,
    )
    with load_engine(str(head_files / "base"), tmp_path, device="cpu", embedder=embedder) as engine:
        assert engine.submit(request).result(60).token_ids


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_stopped_head_goes_on_to_the_same_weights(
    head_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    embedder = HashEmbedder(16)
    whole, cut = (config_of(head_files, tmp_path / name, save_steps=40, log_steps=30) for name in ("whole", "cut"))
    result = train(whole, embedder=embedder)
    saved: list[int] = []
    replace = os.replace

    def stops(source: Path, target: Path) -> None:
        if target.name == "checkpoint.pt":
            saved.append(torch.load(source, weights_only=True)["step"])
            if len(saved) == 3:
                raise failure
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stops)
        with pytest.raises(CheckpointError if isinstance(failure, OSError) else KeyboardInterrupt):
            train(cut, embedder=embedder)
    assert saved == [40, 80, 120]
    steps: list[int] = []
    again = train(
        cut, lambda stage, done, of, logged: steps.append(done) if stage == "head" else None, embedder=embedder
    )
    assert steps[0] == 81
    assert again == result
    ours, theirs = (VectorHead.from_pretrained(run.output).state_dict() for run in (cut, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_full_disk_keeps_the_features_before(
    encoded: list[EncodedPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = Backbone(tiny_model())
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if json.loads(source.read_text())["pairs"] > 16:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(CheckpointError, match=r"pair 17 and on .* No space left"):
            compute_features(backbone, encoded[:30], tmp_path / "cut", **ALL)
    seen: list[int] = []
    again = compute_features(
        backbone, encoded[:30], tmp_path / "cut", progress=lambda done, _: seen.append(done), **ALL
    )
    assert seen == [24, 30]
    whole = compute_features(backbone, encoded[:30], tmp_path / "whole", **ALL)
    assert all(np.array_equal(value, getattr(again, name)) for name, value in vars(whole).items())


def test_a_head_needs_preferences(head_files: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    with pytest.raises(InvalidRequestError, match="preference for every pair"):
        train(config_of(head_files, tmp_path, data=str(tmp_path / "plain.jsonl"), held_out=0.0))


def test_wishes_and_their_opposites() -> None:
    assert wishes_of("be brief; no emojis ;") == ["be brief", "no emojis"]
    brief = "be concise and brief"
    assert brief in SAME[brief]
    assert not set(SAME[brief]) & set(OPPOSITES[brief])
    assert all(brief in OPPOSITES[other] for other in OPPOSITES[brief])


def test_whole_features_are_normalised_over_the_vocabulary(encoded: list[EncodedPair], tmp_path: Path) -> None:
    model, embedder = tiny_model(), HashEmbedder()
    head, base = tiny_head(model), Backbone(model)
    whole = compute_features(base, encoded[:4], tmp_path / "whole", candidates=None, **ALL)
    every = compute_features(base, encoded[:4], tmp_path / "every", candidates=10_000, **ALL)
    assert whole.whole
    assert whole.candidates_MC.shape[1] == 1
    vector = torch.from_numpy(embedder.embed(["be terse"])[0])
    gates_NR = gates_of(head, [[vector]] * 4)
    gates_GNR = torch.stack([gates_NR, -gates_NR]).detach()
    with torch.no_grad():
        ours, theirs = (margins(head, model.lm_head.weight, each, range(4), gates_GNR)[0] for each in (whole, every))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)  # states are bfloat16
    assert compute_features(base, encoded[:4], tmp_path / "whole", candidates=5, **ALL).candidates_MC.shape[1] == 5


def test_training_gives_the_head_it_always_gave(head_files: Path, tmp_path: Path) -> None:
    """The figures are those of the trainer before it took wordings from a source."""
    rows = [json.loads(line) for line in (head_files / "pairs.jsonl").read_text().splitlines()]
    for n, row in enumerate(rows):
        row["preference"] = ("ramble", "be terse", "be odd; be terse")[n % 3 if n % 5 else n % 2]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    head = HeadSettings(
        rank=8, mlp_size=64, prototypes=8, steps=60, batch=16, learning_rate=1e-2, uncertain=0.2, settled=0.5
    )
    config = config_of(head_files, tmp_path / "o", data=str(tmp_path / "pairs.jsonl"), label_smoothing=0.05, head=head)
    result = train(config, embedder=HashEmbedder(16))
    losses = [point["loss"] for point in result["head"]["curve"]]
    assert losses == pytest.approx([0.69262, 0.68664, 0.67041, 0.64727, 0.62685, 0.61061], abs=1e-3)
    sums = {
        name: float(tensor.double().abs().sum())
        for name, tensor in VectorHead.from_pretrained(config.output).state_dict().items()
    }
    expected = {"G_QR": 26.8167, "U_RD": 42.7555, "V_DR": 13.1187, "f.0.weight": 137.3878, "f.3.weight": 39.6868}
    assert {name: sums[name] for name in expected} == pytest.approx(expected, rel=2e-3)


def test_readers_name_wishes_before_pairs_are_shown(head_files: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"rank": 8, "mlp_size": 128, "steps": 60, "batch": 16, "learning_rate": 1e-2}
    settings |= {"uncertain": 0.0, "readers": 2, "reader_steps": 300, "reader_batch": 128, "reader_decay": 0.1}
    embedder, seen = HashEmbedder(512), list[str]()
    config = config_of(head_files, tmp_path, head=HeadSettings(**settings))
    result = train(config, lambda stage, *_: seen.append(stage), embedder=embedder)
    assert seen.count("reader") == 600
    assert result["head"]["held_out_accuracy"] > 0.9
    head = VectorHead.from_pretrained(tmp_path)
    lessons = CatalogueWordings(embedder, ["be terse", "ramble"]).lessons()
    # 16 poles, a prototype each for "be terse" and "ramble", and one for none
    assert head.config.prototypes == lessons.poles_NQ.shape[1] == 19
    with torch.no_grad():
        named = head.read(lessons.about_NE).argmax(-1)
    assert float((named == lessons.poles_NQ.argmax(-1)).float().mean()) > 0.95


def test_lessons_name_the_pole_that_a_wording_is_about() -> None:
    lessons = CatalogueWordings(HashEmbedder(16), ["pirates", "no pirates", "pirates; use emojis"]).lessons()
    assert torch.equal(lessons.poles_NQ.sum(1), torch.ones(len(lessons.poles_NQ)))
    assert lessons.poles_NQ.shape[1] == 18
    assert lessons.poles_NQ[:, -2].sum() == 2  # pirates, wanted and turned away
    assert lessons.poles_NQ[:, -1].sum() == 0  # the catalogue has no wording of nothing
    emoji, none = lessons.poles_NQ[:, 14:16].sum(0).tolist()
    assert emoji > none  # "no emojis" is about emojis


@pytest.mark.parametrize("wrong", [{"readers": 3}, {"readers": -1}, {"candidates": 1}])
def test_settings_of_a_head_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(wrong))):
        HeadSettings(mlp_size=256, **wrong)
