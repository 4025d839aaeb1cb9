"""The demo's recipe at toy size: it learns, resumes exactly, and reads cached features back."""

import dataclasses
import random

import numpy as np
import pytest
import torch

from pad_langchain.testing import HashEmbedder
from recipes.demo_world import base, head, pairs, tokenizer
from recipes.demo_world.muon import Float32Muon
from recipes.demo_world.topics import TOPICS

RECIPE = base.BaseRecipe(
    hidden_size=32,
    intermediate_size=64,
    layers=1,
    heads=2,
    schedule=((0, 0.5), (2, 1.0), (6, 0.1)),
    calls_from=4,
    batch_tokens=512,
    shard=64,
)


@pytest.fixture(scope="module")
def small_tokenizer():
    return tokenizer.train_tokenizer(TOPICS, seed=1, documents=800)


@pytest.fixture(scope="module")
def small_base(small_tokenizer, tmp_path_factory):
    recipe = dataclasses.replace(RECIPE, schedule=((0, 1.0), (40, 0.1)), calls_from=40)
    return base.train_base(recipe, TOPICS, small_tokenizer, tmp_path_factory.mktemp("base"), processes=1)


def test_batches_repeat_and_mark_the_models_own_words(small_tokenizer):
    first, again = (next(base.batches(RECIPE, TOPICS, small_tokenizer, "0")) for _ in range(2))
    assert torch.equal(first.ids_BT, again.ids_BT)
    other = next(base.batches(RECIPE, TOPICS, small_tokenizer, "1"))
    assert first.ids_BT.shape != other.ids_BT.shape or not torch.equal(first.ids_BT, other.ids_BT)
    own = small_tokenizer.decode(first.ids_BT[0][first.target_BT[0]])
    whole = small_tokenizer.decode(first.ids_BT[0])
    assert own.endswith("<|im_end|>")
    assert f"assistant\n{own.split('<|im_end|>')[0]}" in whole


def test_training_lowers_the_loss(small_base, small_tokenizer):
    batch = next(base.batches(RECIPE, TOPICS, small_tokenizer, "5"))
    fresh = type(small_base)(small_base.config)
    assert base._loss(small_base, batch) < base._loss(fresh, batch) - 0.5


def test_a_stopped_run_goes_on_where_it_was(small_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "SAVE_EVERY", 3)
    whole = base.train_base(RECIPE, TOPICS, small_tokenizer, _folder(tmp_path, "whole"), processes=1)
    step, calls = base._step, []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(base, "_step", stops)
    with pytest.raises(KeyboardInterrupt):
        base.train_base(RECIPE, TOPICS, small_tokenizer, _folder(tmp_path, "cut"), processes=1)
    monkeypatch.setattr(base, "_step", step)
    resumed = base.train_base(RECIPE, TOPICS, small_tokenizer, _folder(tmp_path, "cut"), processes=1)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def _folder(parent, name):
    (parent / name).mkdir(exist_ok=True)
    return parent / name


@pytest.fixture(scope="module")
def drawn_pairs():
    rng = random.Random(0)
    return [pairs.draw_pair(rng, pairs.TRAIN_TOPICS[:5], pairs.draw_spec(rng, 1, 2, held_out=False)) for _ in range(12)]


def test_features_are_the_bases_hidden_states(small_base, small_tokenizer, drawn_pairs, tmp_path):
    cache = tmp_path / "features.pt"
    found = head.compute_features(small_base, small_tokenizer, drawn_pairs, cache=cache)
    prompt, answer = head._encode(small_tokenizer, drawn_pairs[3], 1)
    with torch.inference_mode():
        logprobs_TV = small_base(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    here = slice(int(found.starts[7]), int(found.starts[8]))
    assert found.token_M[here].tolist() == answer
    expected = logprobs_TV[len(prompt) - 1 : -1].gather(1, torch.tensor(answer)[:, None])[:, 0]
    np.testing.assert_allclose(found.base_M[here], expected, atol=0.05)  # features are computed in bfloat16
    again = head.compute_features(small_base, small_tokenizer, [], cache=cache)
    assert torch.equal(found.hidden_MD, again.hidden_MD)


def test_a_fresh_head_rewards_nothing(small_base, small_tokenizer, drawn_pairs):
    found = head.compute_features(small_base, small_tokenizer, drawn_pairs)
    new = head.VectorHead(
        head.HeadConfig(32, small_base.config.vocab_size, rank=4, embedding_size=16, mlp_size=8)
    ).eval()
    margin_N, calm = head.margins(new, small_base.lm_head.weight.detach(), found, range(12), torch.randn(12, 4))
    np.testing.assert_allclose(margin_N.detach(), 0.0, atol=1.0)  # bfloat16 logits against float32 ones
    assert calm == 0  # all tokens count unless training asks otherwise


def test_head_training_tells_the_sides_apart(small_base, small_tokenizer, tmp_path, monkeypatch):
    phrases = pairs._training_phrases
    monkeypatch.setattr(pairs, "_training_phrases", lambda pole: phrases(pole)[:3])  # hashed, they cannot generalise
    recipe = head.HeadRecipe(
        pairs=40, steps=120, batch=16, rank=8, mlp_size=128, wording_pool=3, uncertain=0.0, reader_steps=300
    )
    embedder = HashEmbedder(64)
    trained = head.train_head(recipe, small_base, small_tokenizer, embedder, tmp_path)
    drawn = head.training_pairs(recipe)
    found = head.compute_features(small_base, small_tokenizer, drawn)
    pool = head.WordingPool(embedder, recipe.seed, recipe.wording_pool)
    rng = random.Random(1)
    gates_NR = head.gates_of(trained, [pool.draw(pair.spec, rng, 0.0) for pair in drawn])
    margin_N, _ = head.margins(trained, small_base.lm_head.weight.detach(), found, range(40), gates_NR)
    assert (margin_N > 0).float().mean() > 0.7


@pytest.mark.parametrize("shape", [(48, 16), (16, 48), (32, 32)])
def test_muon_in_float32_steps_as_torchs_own(shape):
    torch.manual_seed(3)
    start, gradients = torch.randn(shape), [torch.randn(shape) for _ in range(3)]
    ends = []
    for kind in (torch.optim.Muon, Float32Muon):
        parameter = torch.nn.Parameter(start.clone())
        optimizer = kind([parameter], lr=0.02, weight_decay=0.05, momentum=0.95)
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        ends.append(parameter.detach())
    moved = (ends[0] - start).abs().max()
    assert (ends[0] - ends[1]).abs().max() < 0.03 * moved  # torch's own rounds to bfloat16
