"""Training a text PersRM: the loss by hand, what each stage may change, and going on after a kill."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file

from pad_langchain.errors import CheckpointError, InvalidRequestError
from pad_langchain.models.prompts import PERSRM_TEMPLATE
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.testing import tiny_model, tiny_pair, tiny_tokenizer
from pad_langchain.training.config import LoraSettings, Source, StageSettings, TrainConfig
from pad_langchain.training.data import read_pairs
from pad_langchain.training.encoding import encode_pairs

pytest.importorskip("trl")

SHORT, LONG = "yes", "yes, it is a list of examples and a warning"


@pytest.fixture(scope="module")
def text_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base and pairs whose better side the preference alone tells."""
    folder = tmp_path_factory.mktemp("train")
    tiny_pair().save(folder)
    rows = []
    for n in range(48):
        sides = {"chosen": SHORT, "rejected": LONG} if n % 2 else {"chosen": LONG, "rejected": SHORT}
        rows.append({"prompt": f"question {n}?", "preference": ("be long", "be brief")[n % 2], **sides})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def config_of(folder: Path, output: Path, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "base": str(folder / "base"),
        "data": str(folder / "pairs.jsonl"),
        "output": str(output),
        "device": "cpu",
        "batch": 4,
        "held_out": 0.25,
        "save_steps": 2,
        "log_steps": 1,
        "lora": LoraSettings(rank=4, alpha=8),
        "stage1": StageSettings(steps=16, learning_rate=1e-2),
        "stage2": StageSettings(steps=4, learning_rate=2e-3),
    }
    return TrainConfig(**settings | changes)


@pytest.fixture(scope="module")
def trained(text_files: Path) -> tuple[Path, dict[str, Any]]:
    from pad_langchain.training.run import train

    output = text_files / "whole"
    return output, train(config_of(text_files, output))


@pytest.mark.slow
def test_both_stages_learn_and_are_reported(trained: tuple[Path, dict[str, Any]]) -> None:
    output, result = trained
    assert json.loads((output / "training.json").read_text()) == result
    first, second = result["stage1"], result["stage2"]
    assert (first["steps"], second["steps"]) == (16, 4)
    assert [point["step"] for point in first["curve"]] == [*range(1, 17)]
    assert first["curve"][0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # nothing is learned yet
    assert first["held_out_accuracy"] > 0.9
    assert second["held_out_loss"] < first["held_out_loss"] - 0.01
    assert result["pairs"] + result["held_out"] == 48


def test_the_output_is_a_persrm_that_scores_as_it_was_trained(text_files: Path, trained: tuple[Path, Any]) -> None:
    output, _ = trained
    assert {"adapter_config.json", "adapter_model.safetensors", "value_head.safetensors", "persrm.json"} <= {
        path.name for path in output.iterdir()
    }
    persrm = PersRM.from_pretrained(output, device="cpu")
    assert persrm.adapter is not None
    brief, long = (persrm.score("question 99?", text, ["be brief", "be long"]) for text in (SHORT, LONG))
    assert brief[0] - long[0] > brief[1] - long[1] + 1
    again = output.parent / "again"
    persrm.save_pretrained(again)
    loaded = PersRM.from_pretrained(again, base=str(text_files / "base"), device="cpu")
    assert loaded.score("hi", LONG, ["be long"]) == pytest.approx(persrm.score("hi", LONG, ["be long"]))


@pytest.fixture
def parts(text_files: Path) -> tuple[Any, Any]:
    return tiny_model(), tiny_tokenizer()


def trainer_of(folder: Path, output: Path, parts: tuple[Any, Any], **changes: Any) -> Any:
    """A stage 1 trainer with an adapter that is not the identity."""
    import peft

    from pad_langchain.training.text import TextRun

    model, tokenizer = parts
    output.mkdir()
    run = TextRun(config_of(folder, output, **changes), output, tokenizer)
    datasets, _ = run.datasets(model)
    lora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    trainer = run.trainer("stage1", model, datasets, lora)
    torch.manual_seed(1)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    return trainer


def log_ratios(trainer: Any, rows: list[dict[str, Any]], reference_free: bool = False) -> torch.Tensor:
    """Σ_t r(chosen) − Σ_t r(rejected) of each row, in float64 and one token at a time: METHOD's formula."""
    model = trainer.model.double().eval()
    margins = []
    for row in rows:
        sides = []
        for side in ("chosen_ids", "rejected_ids"):
            ids, start = row["prompt_ids"] + row[side], len(row["prompt_ids"])
            with torch.no_grad():
                policy = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
                with model.disable_adapter():
                    reference = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            reward = 0.0
            for place in range(start, len(ids)):
                reward += float(policy[place - 1, ids[place]])
                reward -= 0.0 if reference_free else float(reference[place - 1, ids[place]])
            sides.append(reward)
        margins.append(sides[0] - sides[1])
    return torch.tensor(margins, dtype=torch.float64)


@pytest.mark.parametrize(
    ("changes", "loss_of"),
    [
        ({}, lambda m: -F.logsigmoid(0.1 * m)),
        ({"beta_train": 0.5, "reference_free": True}, lambda m: -F.logsigmoid(0.5 * m)),
        ({"label_smoothing": 0.1}, lambda m: (-0.9 * F.logsigmoid(0.1 * m) + 0.1 * F.logsigmoid(-0.1 * m)) / 0.8),
    ],
    ids=["dpo", "reference free", "robust"],
)
def test_the_loss_is_the_formula(
    text_files: Path, tmp_path: Path, parts: Any, changes: dict[str, Any], loss_of: Any
) -> None:
    trainer = trainer_of(text_files, tmp_path / "o", parts, **changes)
    rows = [trainer.train_dataset[n] for n in range(4)]
    with torch.no_grad():
        loss = float(trainer.compute_loss(trainer.model.eval(), trainer.data_collator(rows)))
    margins = log_ratios(trainer, rows, bool(changes.get("reference_free")))
    assert margins.abs().max() > 0.5
    assert loss == pytest.approx(float(loss_of(margins).mean()), abs=1e-5)


def test_training_reads_the_prompt_that_decoding_writes(text_files: Path) -> None:
    pairs = read_pairs(text_files / "pairs.jsonl").pairs[:2]
    rows, _ = encode_pairs(pairs, tiny_tokenizer(), template=PERSRM_TEMPLATE, max_length=None)
    expected = PERSRM_TEMPLATE.format(preference="be long", text="question 0?")
    tokenizer = tiny_tokenizer()
    assert tokenizer.decode(rows[0].prompt) == f"<|im_start|>user\n{expected}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(rows[0].chosen) == LONG + "<|im_end|>"
    dropped, _ = encode_pairs(
        pairs * 50, tokenizer, template=PERSRM_TEMPLATE, max_length=None, preference_dropout=0.3, seed=2
    )
    plain = [row for row in dropped if "Guidelines" not in tokenizer.decode(row.prompt)]
    assert 15 <= len(plain) <= 45


def test_a_pair_that_is_too_long_is_reported_and_cut_only_when_asked(text_files: Path) -> None:
    pair = read_pairs(text_files / "pairs.jsonl").pairs[1]
    talk = dataclasses.replace(
        pair,
        messages=({"role": "user", "content": "old " * 40}, {"role": "assistant", "content": "ho"}, *pair.messages),
    )
    wordy = dataclasses.replace(pair, messages=({"role": "user", "content": "zebra " + "word " * 150 + "the end"},))
    tokenizer = tiny_tokenizer()
    arguments: dict[str, Any] = {"template": "{preference}: {text}", "max_length": 90}
    rows, bad = encode_pairs([pair, talk, wordy], tokenizer, **arguments)
    assert (len(rows), [row.line for row in bad]) == (1, [2, 3])
    assert "more than max_length 90" in bad[0].reason
    rows, bad = encode_pairs([pair, talk, wordy], tokenizer, truncate=True, **arguments)
    assert bad == []
    assert all(len(row.prompt) + max(len(row.chosen), len(row.rejected)) <= 90 for row in rows)
    assert rows[1].prompt == rows[0].prompt
    cut = tokenizer.decode(rows[2].prompt)
    assert "be brief: " in cut
    assert "the end" in cut
    assert "zebra" not in cut
    with pytest.raises(InvalidRequestError, match="max_length"):
        encode_pairs([talk], tokenizer, **arguments)


def checksums(model: Any) -> dict[str, str]:
    return {
        name: hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()
        for name, tensor in model.state_dict().items()
    }


@pytest.mark.slow
def test_stage_2_changes_nothing_but_w_and_b(text_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pad_langchain.training.run import train
    from pad_langchain.training.text import PairTrainer

    seen: list[tuple[dict[str, str], dict[str, str]]] = []
    learn = PairTrainer.train

    def watched(trainer: Any, **arguments: Any) -> Any:
        before = checksums(trainer.model)
        result = learn(trainer, **arguments)
        seen.append((before, checksums(trainer.model)))
        return result

    monkeypatch.setattr(PairTrainer, "train", watched)
    train(config_of(text_files, tmp_path / "o", held_out=0.0))
    (first_before, first_after), (before, after) = seen
    assert {name for name in after if after[name] != before[name]} == {"v_head.summary.weight", "v_head.summary.bias"}
    assert any("lora" in name for name in before)
    moved = {name for name in first_after if first_after[name] != first_before[name]}
    assert moved
    assert all("lora" in name for name in moved)


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "adapter_model.safetensors") | load_file(output / "value_head.safetensors")


def equal(left: Path, right: Path) -> bool:
    ours, theirs = weights(left), weights(right)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


class StopError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "step"), [("stage1", 5), ("stage2", 3)])
def test_a_stopped_run_goes_on_to_the_same_weights(
    text_files: Path, tmp_path: Path, trained: tuple[Path, Any], stage: str, step: int
) -> None:
    from pad_langchain.training.run import train

    def stop(name: str, at: int, steps: int, logged: dict[str, float]) -> None:
        if (name, at) == (stage, step):
            raise StopError

    config = config_of(text_files, tmp_path / "cut")
    with pytest.raises(StopError):
        train(config, stop)
    steps: list[tuple[str, int]] = []
    train(config, lambda name, at, _, logged: steps.append((name, at)))
    assert steps[0] == (stage, step)  # from the checkpoint of the step before
    assert equal(tmp_path / "cut", trained[0])
    with pytest.raises(InvalidRequestError, match="other settings: beta_train"):
        train(dataclasses.replace(config, beta_train=0.2))


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_weights(text_files: Path, trained: tuple[Path, Any]) -> None:
    output = text_files / "killed"
    config_of(text_files, output).save(text_files / "killed.yaml")
    code = (
        "import sys; from pad_langchain.training.config import TrainConfig;"
        "from pad_langchain.training.run import train;"
        "train(TrainConfig.load(sys.argv[1]), lambda *a: print(*a[:2], flush=True))"
    )
    command = [sys.executable, "-c", code, str(text_files / "killed.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("stage1 4"):
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait(60) == -signal.SIGKILL
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    assert equal(output, trained[0]), time.monotonic() - started


def test_a_full_disk_leaves_the_checkpoint_before(
    text_files: Path, tmp_path: Path, trained: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pad_langchain.training.run import train
    from pad_langchain.training.text import last_checkpoint

    config = config_of(text_files, tmp_path / "full")
    save = torch.save

    def full(tensors: Any, file: Any, **options: Any) -> None:
        if "checkpoint-4" in str(file):
            raise OSError(28, "No space left on device")
        save(tensors, file, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(CheckpointError, match=r"step 4 .* No space left"):
            train(config)
    stage = tmp_path / "full" / "stage1"
    assert [path.name for path in stage.glob("checkpoint-*")] == ["checkpoint-2"]
    (stage / "checkpoint-3").mkdir()  # what a kill in the middle of writing leaves
    (stage / "checkpoint-3" / "trainer_state.json").write_text('{"epoch": ')
    assert last_checkpoint(stage) == str(stage / "checkpoint-2")
    train(config)
    assert equal(tmp_path / "full", trained[0])


def test_settings_round_trip_through_yaml_and_refuse_what_they_do_not_know(tmp_path: Path) -> None:
    config = TrainConfig(base="b", data=(Source("a.jsonl", layout="pad"), Source("c.jsonl")), output="o", alpha=0.02)
    config.save(tmp_path / "c.yaml")
    assert TrainConfig.load(tmp_path / "c.yaml") == config
    (tmp_path / "c.yaml").write_text("base: b\ndata: p.jsonl\noutput: o\nstage1: {learning_rate: 1e-4, steps: 3}\n")
    loaded = TrainConfig.load(tmp_path / "c.yaml")
    assert (loaded.stage1.learning_rate, loaded.stage1.steps, loaded.data) == (1e-4, 3, (Source("p.jsonl"),))
    for text, message in [
        ("base: b\ndata: d\noutput: o\nbatchsize: 3\n", "'batchsize', did you mean 'batch'"),
        ("base: b\ndata: d\noutput: o\nlora: {ranc: 3}\n", "'lora.ranc', did you mean 'lora.rank'"),
        ("base: b\ndata: d\noutput: o\nbatch: many\n", "batch has to be .*int.* but is 'many'"),
        ("base: b\ndata: d\noutput: o\nkind: tree\n", "kind has to be"),
        ("base: b\ndata: d\noutput: o\nlabel_smoothing: 0.7\n", "label_smoothing has to be less than 0.5, but is 0.7"),
        ("base: b\n", "lack data, output"),
        ("- base\n", "YAML mapping"),
    ]:
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(InvalidRequestError, match=message):
            TrainConfig.load(tmp_path / "bad.yaml")
    with pytest.raises(InvalidRequestError, match="template"):
        TrainConfig(base="b", data=(Source("d"),), output="o", template="{text}")
