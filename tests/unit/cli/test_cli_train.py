"""`pad-langchain train` and `evaluate`, and the settings that the docs show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pad_langchain.cli.main import app
from pad_langchain.evaluation.config import EvaluateConfig
from pad_langchain.testing import tiny_pair
from pad_langchain.training.config import TrainConfig
from places import DOCS


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    tiny_pair().save(folder)
    sides = {"chosen": "yes", "rejected": "yes it is"}
    rows = [{"prompt": f"{n}?", "preference": "be brief", **sides} for n in range(12)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"what is {n}?"}) + "\n" for n in range(6)))
    settings = {
        "base": str(folder / "base"), "data": str(folder / "pairs.jsonl"), "output": str(folder / "out"),
        "device": "cpu", "batch": 4, "held_out": 0.3, "stage1": {"steps": 2}, "stage2": {"steps": 1},
    }  # fmt: skip
    (folder / "train.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_train_then_evaluate(files: Path) -> None:
    pytest.importorskip("trl")
    done = run("train", str(files / "train.yaml"))
    assert done.exit_code == 0, done.output
    assert re.search(r"stage2: accuracy \d\.\d+ on \d held-out pairs", done.output)
    assert json.loads((files / "out" / "training.json").read_text())["refused"] == 1
    settings = {
        "base": str(files / "base"), "text": str(files / "out"), "prompts": str(files / "prompts.jsonl"),
        "output": str(files / "report"), "preferences": {"short": ["be brief", "in a word"]}, "betas": [1],
        "judges": [{"kind": "rules", "rules": {"short": {"max_words": 5}}}], "methods": ["base", "text"],
        "max_tokens": 6, "device": "cpu",
    }  # fmt: skip
    (files / "evaluate.yaml").write_text(yaml.safe_dump(settings))
    done = run("evaluate", str(files / "evaluate.yaml"))
    assert done.exit_code == 0, done.output
    assert f"the report is in {files / 'report' / 'report.md'}" in done.output.replace("\n", "")
    assert "| text | 1, 10 |" in (files / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"bacth": 3}, "did you mean 'batch'"), ({"data": "nowhere.jsonl"}, "is not there"), ({"kind": "tree"}, "kind")],
)
def test_what_is_refused_is_one_line(files: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    settings = yaml.safe_load((files / "train.yaml").read_text()) | {"output": str(tmp_path / "o")} | change
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(settings))
    done = run("train", str(tmp_path / "bad.yaml"))
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")


def test_the_settings_in_the_docs_are_settings() -> None:
    blocks = [
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", (DOCS / "training.md").read_text(), re.DOTALL)
    ]
    train, evaluate = blocks
    config = TrainConfig(**train)
    assert (config.stage1.learning_rate, len(config.data), config.data[1].layout) == (5e-5, 2, "helpsteer2")
    assert EvaluateConfig(**evaluate).pareto == ("short", "list")
