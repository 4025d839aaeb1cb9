"""The demo's recipe at toy size: it learns, resumes exactly, and reads cached features back."""

import contextlib
import dataclasses
import random

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from pad_langchain.defaults import WEIGHTS
from pad_langchain.models.backbone import Backbone
from pad_langchain.testing import HashEmbedder
from pad_langchain.training import margins
from pad_langchain.training.config import HeadSettings
from pad_langchain.training.features import compute_features
from pad_langchain.training.margins import are_right
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
    assert base.loss_of(small_base, batch) < base.loss_of(fresh, batch) - 0.5


def test_a_stopped_run_goes_on_where_it_was(small_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "SAVE_EVERY", 3)
    whole = base.train_base(RECIPE, TOPICS, small_tokenizer, _folder(tmp_path, "whole"), processes=1)
    calls = []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 9:  # two batches a step: in the fifth
            raise KeyboardInterrupt
        return loss_of(*arguments)

    loss_of = base.loss_of
    with monkeypatch.context() as patch:
        patch.setattr(base, "loss_of", stops)
        with pytest.raises(KeyboardInterrupt):
            base.train_base(RECIPE, TOPICS, small_tokenizer, _folder(tmp_path, "cut"), processes=1)
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


def test_the_trainer_reads_what_the_template_writes(small_tokenizer, drawn_pairs):
    found = head.encoded(small_tokenizer, drawn_pairs)[3]
    asked = [{"role": "user", "content": drawn_pairs[3].question}]
    prompt = small_tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    texts = (prompt, drawn_pairs[3].chosen + "<|im_end|>", drawn_pairs[3].rejected + "<|im_end|>")
    assert [found.prompt, found.chosen, found.rejected] == small_tokenizer(texts, add_special_tokens=False).input_ids


SMALL = HeadSettings(
    rank=8, mlp_size=128, steps=120, batch=16, learning_rate=5e-3, uncertain=0.0, candidates=None, readers=4,
    reader_steps=300,
)  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_head_training_tells_the_sides_apart(small_base, small_tokenizer, tmp_path, monkeypatch):
    phrases = pairs.training_phrases
    monkeypatch.setattr(pairs, "training_phrases", lambda pole: phrases(pole)[:3])  # hashed, they cannot generalise
    recipe = head.HeadRecipe(pairs=40, wording_pool=3, head=SMALL)
    embedder = HashEmbedder(64)
    trained = head.train_head(recipe, small_base, small_tokenizer, embedder, tmp_path)
    drawn = head.training_pairs(recipe)
    given = head.encoded(small_tokenizer, drawn)
    found = compute_features(Backbone(small_base), given, tmp_path / "all", uncertain=0.0, settled=1.0, candidates=None)
    pool = head.WordingPool(embedder, recipe.seed, recipe.wording_pool, tmp_path / "wordings.npz")  # read back
    rng = random.Random(1)
    wishes = [pool.draw(pair.spec, rng, 0.0) for pair in drawn]
    assert np.mean(are_right(trained, small_base.lm_head.weight.detach(), found, wishes)) > 0.7


def test_the_trainer_gives_the_head_that_the_demos_own_gave(tmp_path, monkeypatch):
    """The figures are those of the demo's own trainer, which there was before, for the same toy and in float32."""
    monkeypatch.setattr(margins, "mixed_precision", lambda *_: contextlib.nullcontext())
    shipped = AutoTokenizer.from_pretrained(WEIGHTS / "base")
    torch.manual_seed(5)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape |= {"num_key_value_heads": 2, "tie_word_embeddings": True, "initializer_range": 0.3}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(shipped), **shape)).eval()
    settings = dataclasses.replace(SMALL, mlp_size=64, steps=20, batch=8, uncertain=0.97, settled=1.0, reader_steps=20)
    recipe = head.HeadRecipe(pairs=16, wording_pool=6, beside=0.2, head=settings)
    state = head.train_head(recipe, model, shipped, HashEmbedder(64), tmp_path).state_dict()
    sums = {name: float(tensor.double().abs().sum()) for name, tensor in state.items()}
    expected = {"G_QR": 51.981553, "U_RD": 36.265131, "V_DR": 0.4859478, "center_E": 0.1106223, "spread_E": 7.998697}
    expected |= {"f.0.weight": 240.363807, "f.0.bias": 3.674012, "f.3.weight": 31.363489, "f.3.bias": 1.015891}
    assert sums == pytest.approx(expected, rel=1e-4)


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
