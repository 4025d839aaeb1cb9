"""A head folder that the first version wrote loads, and steers as it did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pad_langchain.engine.types import Recommended, WeightedPreference
from pad_langchain.errors import InvalidRequestError, ModelLoadError
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.head import HeadConfig, VectorHead
from places import DATA

FOLDER = DATA / "head_0_1"


def test_a_head_of_the_first_version_loads_and_steers_as_it_did() -> None:
    expected = json.loads((FOLDER / "expected.json").read_text())
    head = VectorHead.from_pretrained(FOLDER)
    assert (head.config.beta, head.config.alpha) == (1.5, 0.02)
    assert head.config.calibration == {"center": {"brevity": 0.25}, "scale": {"brevity": 1.5}}
    with torch.no_grad():
        gate_R = head.gate(torch.tensor(expected["embeddings"]), expected["weights"])
        steered_BD = head(torch.linspace(-1, 1, head.config.hidden_size)[None], gate_R[None])
    assert gate_R.tolist() == pytest.approx(expected["gate"], abs=2e-5)
    assert steered_BD[0].tolist() == pytest.approx(expected["steered"], abs=2e-5)


def test_it_is_written_again_as_it_was(tmp_path: Path) -> None:
    VectorHead.from_pretrained(FOLDER).save_pretrained(tmp_path)
    for name in ("persrm_head.json", "persrm_head.safetensors"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


BEST = {
    "beta": 2.0,
    "alpha": 0.1,
    "top_k": 40,
    "condition_base": True,
    "wish_place": "user",
    "repetition_penalty": 1.1,
    "no_repeat_ngram": 3,
    "candidates": "cut",
}


def test_what_it_recommends_is_written_and_read_again(tmp_path: Path) -> None:
    VectorHead.from_pretrained(FOLDER).save_pretrained(tmp_path, **BEST)
    head = VectorHead.from_pretrained(tmp_path)
    assert head.recommended == HeadGuide(head).recommended == Recommended(**BEST)  # type: ignore[arg-type]
    head.save_pretrained(tmp_path, top_k=None, no_repeat_ngram=None)
    found = json.loads((tmp_path / "persrm_head.json").read_text())
    assert BEST.keys() - found.keys() == {"top_k", "no_repeat_ngram"}
    assert VectorHead.from_pretrained(tmp_path).recommended.top_k is None


BAD = [
    ("top_k", 0, "an integer of at least 1"),
    ("beta", None, "a finite number"),
    ("alpha", 2.0, r"a number in \[0, 1\]"),
    ("condition_base", "yes", "True or False"),
    ("wish_place", "end", "'system', 'user' or 'both'"),
    ("repetition_penalty", 0.9, "a finite number of at least 1"),
    ("no_repeat_ngram", 2.5, "an integer of at least 0"),
    ("candidates", "all", "'base' or 'cut'"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_what_cannot_be_recommended_is_refused_when_it_is_read_and_written(
    tmp_path: Path, name: str, value: object, allowed: str
) -> None:
    head = VectorHead.from_pretrained(FOLDER)
    with pytest.raises(InvalidRequestError, match=f"{name} has to be {allowed}"):
        head.save_pretrained(tmp_path, **{name: value})
    head.save_pretrained(tmp_path)
    path = tmp_path / "persrm_head.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(ModelLoadError, match=f"persrm_head.json .*: {name} has to be {allowed}"):
        VectorHead.from_pretrained(tmp_path)


def test_strengths_are_kept_and_multiply_gates(tmp_path: Path) -> None:
    head = VectorHead.from_pretrained(FOLDER)
    some_PE = torch.randn(3, head.config.embedding_size, generator=torch.Generator().manual_seed(0))
    plain_PR = head.gates(some_PE)
    head.save_pretrained(tmp_path, strengths=[2.0] * head.config.prototypes)
    strong = VectorHead.from_pretrained(tmp_path)
    assert torch.allclose(strong.gates(some_PE), 2 * plain_PR, atol=1e-6)
    assert torch.equal(HeadGuide(strong).gates(some_PE.numpy()), plain_PR)  # answers are scored regardless of them


@pytest.mark.parametrize(
    ("name", "said", "allowed"),
    [
        ("strengths", [1.0], "numbers, 0 or more"),
        ("strengths", [-1.0] * 2, "numbers, 0 or more"),
        ("strengths", "strong", "numbers, 0 or more"),
        ("tellings", ["Be brief."], "texts or nulls"),
        ("tellings", [1] * 2, "texts or nulls"),
    ],
)
def test_what_does_not_go_with_the_prototypes_is_refused(tmp_path: Path, name: str, said: object, allowed: str) -> None:
    head = VectorHead.from_pretrained(FOLDER)
    with pytest.raises(InvalidRequestError, match=f"{name} of a head with .* prototypes have to be as many {allowed}"):
        head.save_pretrained(tmp_path, **{name: said})


BRIEF, LONG, ROME = (np.array(vector, dtype=np.float32) for vector in ([1, 0], [-1, 0], [0, 0.1]))


def telling(*tellings: str | None) -> HeadGuide:
    """The guide of a head of two prototypes, which are the signs of an embedding's first number."""
    head = VectorHead(HeadConfig(4, 8, rank=2, embedding_size=2, mlp_size=2, prototypes=2, tellings=list(tellings)))
    head.spread_E.fill_(1.0)
    with torch.no_grad():
        for layer, weights in ((head.f[0], [[1.0, 0], [-1, 0]]), (head.f[3], [[9.0, 0], [0, 9]])):
            layer.weight.copy_(torch.tensor(weights))
            layer.bias.zero_()
    return HeadGuide(head)


def test_a_base_is_told_a_wish_in_the_words_that_the_head_knows_for_it() -> None:
    wishes = [
        WeightedPreference("keep it short", 0.5, BRIEF),
        WeightedPreference("go on and on", -2.0, LONG),
        WeightedPreference("I live in Rome", 1.0, ROME),
    ]
    own = [(wish.text, wish.weight) for wish in wishes]
    assert telling("Answer in a sentence.", "").tell(wishes) == [
        ("Answer in a sentence.", 0.5),
        ("Answer in a sentence.", 2.0),
        own[2],
    ]
    assert telling("", None).tell(wishes) == own[2:]
    assert telling(None, None).tell(wishes) == own
    assert HeadGuide(VectorHead.from_pretrained(FOLDER)).tell(wishes) == own
    assert telling("", "").tell([]) == []
