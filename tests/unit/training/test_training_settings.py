"""Settings of training and evaluation: every name and value is checked, from Python and from files alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.config import EvaluateConfig
from pad_langchain.training.config import HeadSettings, LoraSettings, Source, StageSettings, TrainConfig

TRAIN = {"base": "b", "data": "d.jsonl", "output": "o"}
EVALUATE = {"base": "b", "output": "o", "prompts": "p.jsonl"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": "many"}, "batch has to be a valid integer, but is 'many'."),
        ({"batch": True}, "batch has to be a valid integer, but is True."),
        ({"batch": 0}, "batch has to be greater than or equal to 1, but is 0."),
        ({"held_out": 1}, "held_out has to be less than 1, but is 1."),
        ({"beta": float("nan")}, "beta has to be a finite number, but is nan."),
        ({"alpha": True}, "alpha has to be a valid number, but is True."),
        ({"kind": "head", "recommends": {"top_k": 0}}, "top_k has to be an integer of at least 1, but is 0."),
        ({"kind": "head", "recommends": {"topk": 9}}, "recommends of the kind 'head' has to name only ['candidates', "
            "'condition_base', 'no_repeat_ngram', 'repetition_penalty', 'top_k', 'wish_place'], but names ['topk']."),
        ({"recommends": {"top_k": 9}}, "recommends of the kind 'text' has to name only [], but names ['top_k']."),
        ({"truncate": "yes"}, "truncate has to be a valid boolean, but is 'yes'."),
        ({"kind": "tree"}, "kind has to be 'text' or 'head', but is 'tree'."),
        ({"bf16": "no"}, "bf16 has to be True, False or 'auto', but is 'no'."),
        ({"data": []}, "data has to have at least 1 item after validation, not 0, but is []."),
        ({"base": 3}, "base has to be a valid string, but is 3."),
        ({"stage1": 3}, "stage1 has to be a dictionary or an instance of StageSettings, but is 3."),
        ({"stage1": {"warmup": 2}}, "stage1.warmup has to be less than or equal to 1, but is 2."),
        ({"head": {"readers": 3}}, "head: readers has to be 0 or a divisor of mlp_size 256, but is 3."),
        ({"data": ["a", {"source": "b", "limit": 0}]}, "data.1.limit has to be greater than or equal to 1, but is 0."),
        ({"data": ["a", {"sorce": "b"}]}, "The settings lack data.1.source. There is no setting 'data.1.sorce', did "
                                          "you mean 'data.source'?"),
        ({"learning_rate": 1e-3}, "There is no setting 'learning_rate', did you mean 'head.learning_rate'?"),
        ({"lora": {"zzzzzzzzz": 1}}, "There is no setting 'lora.zzzzzzzzz'; there are ['lora.alpha', "
                                      "'lora.dropout', 'lora.rank', 'lora.targets']."),
        ({"batch": 0, "keep": 0}, "batch has to be greater than or equal to 1, but is 0. keep has to be greater than "
                                  "or equal to 1, but is 0."),
    ],
)  # fmt: skip
def test_what_a_training_refuses(changes: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = TRAIN | changes
    with pytest.raises(InvalidRequestError) as refused:
        TrainConfig(**settings)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": "base"}, "methods has to be a valid tuple, but is 'base'."),
        ({"betas": [1, "much"]}, "betas.1 has to be a valid number, but is 'much'."),
        ({"ks": [5, 0]}, "ks.1 has to be greater than or equal to 1, but is 0."),
        ({"judges": [3]}, "judges.0 has to be a valid dictionary, but is 3."),
        ({"preferences": {"a": "x", "b": ["y", 3]}}, "preferences.b.1 has to be a valid string, but is 3."),
        ({"fluency": 0}, "fluency has to be greater than 0, but is 0."),
    ],
)
def test_what_an_evaluation_refuses(changes: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = EVALUATE | changes
    with pytest.raises(InvalidRequestError) as refused:
        EvaluateConfig(**settings)
    assert str(refused.value) == message


def test_what_is_missing_is_said_at_once() -> None:
    with pytest.raises(InvalidRequestError, match=r"^The settings lack base, data, output\.$"):
        TrainConfig()  # type: ignore[call-arg]


def test_values_without_names_are_named_in_errors() -> None:
    assert Source("a.jsonl", "pad") == Source(source="a.jsonl", layout="pad")
    with pytest.raises(InvalidRequestError, match=r"^source has to be a valid string, but is 3\.$"):
        Source(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="rank has to be"):
        LoraSettings(0)


def test_values_are_what_they_say(tmp_path: Path) -> None:
    settings: dict[str, Any] = TRAIN | {
        "output": tmp_path / "o",
        "data": [tmp_path / "a.jsonl", Source("b.jsonl"), {"source": "c", "attributes": {"verbosity": "be brief"}}],
        "stage1": {"learning_rate": "1e-4", "epochs": 2},
        "lora": LoraSettings(targets=("q_proj",)),
        "max_length": None,
    }
    config = TrainConfig(**settings)
    assert (config.output, config.data[0]) == (str(tmp_path / "o"), Source(str(tmp_path / "a.jsonl")))
    assert config.stage1 == StageSettings(learning_rate=1e-4, epochs=2.0)
    assert isinstance(config.stage1.epochs, float)
    config.save(tmp_path / "c.yaml")
    assert TrainConfig.load(tmp_path / "c.yaml") == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3  # type: ignore[misc]


def test_a_changed_copy_is_checked_as_well() -> None:
    with pytest.raises(InvalidRequestError, match="rank has to be"):
        dataclasses.replace(HeadSettings(), rank=0)
    assert dataclasses.replace(HeadSettings(), rank=8).rank == 8


def test_one_wording_is_a_list_of_one() -> None:
    settings: dict[str, Any] = EVALUATE | {"preferences": {"short": "be brief", "list": ["use bullets", "list it"]}}
    assert EvaluateConfig(**settings).wordings == {"short": ("be brief",), "list": ("use bullets", "list it")}


def test_names_of_a_file_need_not_be_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("base: b\ndata: d\noutput: o\n1: x\n")
    with pytest.raises(InvalidRequestError, match="There is no setting '1'"):
        TrainConfig.load(tmp_path / "c.yaml")
