"""What all stages of a run share, and the folder it lives in.

| in the folder | what |
|---|---|
| adapt.yaml, inputs.json | the settings, and the hashes of base, prompts and poles. Others are refused |
| answers.jsonl, planted.jsonl | the base's answers and planted sentences, each as soon as it is there |
| features/ | shards (see `features`) |
| fit-0/, draft-0/ | checkpoints of the head; the head before it is known how strongly it should steer |
| round-1.jsonl, features-1/, fit-1/, draft-1/ | the same of a round on answers that the head has guided, and so on |
| dev.jsonl, test.jsonl | answers that were judged |
| head/ | the head: what `ChatPAD(reward_model=...)` takes |
| report.md, report.json, *.png | what was measured |
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pad_langchain.adapt.config import AdaptConfig
from pad_langchain.adapt.model import Model, Tick
from pad_langchain.adapt.poles import Dimension, choose_dimensions, of_catalogue, read_poles
from pad_langchain.adapt.prompts import OURS, Split, read_prompts, split
from pad_langchain.defaults import model_folder
from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.answers import Kept
from pad_langchain.evaluation.plots import new_figure
from pad_langchain.models.gguf import find_gguf, sha256_of
from pad_langchain.paths import replacing
from pad_langchain.training.config import Progress
from pad_memory.embedding import Embedder, SentenceEmbedder

__all__ = ["Job", "Spent", "open_job"]

CONFIG_FILE, INPUTS_FILE = "adapt.yaml", "inputs.json"
FREE = {"output", "device", "engine_settings"}  # settings that may change when a run goes on

_log = logging.getLogger(__name__)


@dataclass
class Spent:
    """What one stage has done in this process: units of its own, and seconds."""

    units: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Job:
    """One run.

    Args:
        config: its settings. folder: where it lives.
        model: the base.
        dimensions: those it learns.
        prompts: training, development and test prompts, no more of each than the settings say.
        embedder: embeds wishes and texts.
        progress: is told of every step.
    """

    config: AdaptConfig
    folder: Path
    model: Model
    dimensions: tuple[Dimension, ...]
    prompts: Split
    embedder: Embedder
    progress: Progress | None = None
    spent: dict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))

    @property
    def keys(self) -> dict[tuple[str, int], str]:
        """(dimension, side) → the pole's name among all."""
        return {(each.name, side): each.key(side) for each in self.dimensions for side in (0, 1)}

    def kept(self, name: str) -> Kept:
        """Return answers that are kept in a file of the folder."""
        return Kept(self.folder / f"{name}.jsonl")

    @contextmanager
    def stage(self, name: str) -> Iterator[Tick]:
        """A stage that is on: what it yields is told how far it is."""
        started, spent, before = time.perf_counter(), self.spent[name], 0

        def tick(done: int, of: int) -> None:
            nonlocal before
            spent.units += done - before
            before = done
            if self.progress is not None:
                self.progress(name, done, of, {})

        yield tick
        spent.seconds += time.perf_counter() - started


def open_job(config: AdaptConfig, progress: Progress | None, embedder: Embedder | None) -> Job:
    """Check settings and inputs, load the base, and make or open the run's folder.

    Raises:
        InvalidRequestError: an input is unusable, the folder holds another run, or the base cannot be contrasted.
        ModelLoadError: the base was not found or cannot be read.
        MissingDependencyError: matplotlib is not installed.
    """
    new_figure()  # the report draws: better missed now than in hours
    dimensions = of_catalogue() if config.poles is None else read_poles(config.poles)
    dimensions = choose_dimensions(dimensions, config.dimensions)
    parts = split(read_prompts(config.prompts), config.seed, config.dev, config.test)
    choice = config.choice
    prompts = Split(
        parts.train[: config.sample.prompts], parts.dev[: choice.dev_prompts], parts.test[: choice.test_prompts]
    )
    folder = Path(config.output)
    _check_folder(config, folder)
    model = Model(config)
    model.check_contrast(prompts.train[:4], dimensions)
    _keep_settings(config, folder)
    return Job(config, folder, model, dimensions, prompts, embedder or SentenceEmbedder(config.embedder), progress)


def _check_folder(config: AdaptConfig, folder: Path) -> None:
    """Refuse a folder that holds a run with other settings or inputs, or something else."""
    if not (folder / CONFIG_FILE).exists():
        if folder.exists() and any(folder.iterdir()):
            raise InvalidRequestError(
                f"{str(folder)!r} is not empty and holds no run of adapt: nothing in it is overwritten. Choose another "
                "output."
            )
        return
    old, new = AdaptConfig.load(folder / CONFIG_FILE).plain(), config.plain()
    differing = sorted(name for name in new if name not in FREE and old[name] != new[name])
    if not differing:
        was, now = json.loads((folder / INPUTS_FILE).read_text(encoding="utf-8")), _inputs(config)
        differing = [f"the contents of {name}" for name in now if was.get(name) != now[name]]
    if differing:
        raise InvalidRequestError(
            f"{str(folder)!r} holds a run with other settings: {', '.join(differing)}. Choose another output, or "
            "delete it."
        )


def _keep_settings(config: AdaptConfig, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CONFIG_FILE).exists():
        return
    with replacing(folder / INPUTS_FILE) as file:
        file.write_text(json.dumps(_inputs(config), indent=1) + "\n", encoding="utf-8")
    config.save(folder / CONFIG_FILE)


def _inputs(config: AdaptConfig) -> dict[str, str]:
    """Hashes of what the run is made from."""
    hashes = {"base": _base_hash(model_folder(config.base)), "prompts": _hash(config.prompts or OURS)}
    return hashes if config.poles is None else {**hashes, "poles": _hash(config.poles)}


def _hash(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _base_hash(place: str) -> str:
    """A hash of the base's weights; of its name, where they are on a hub."""
    file = find_gguf(place)
    files = [file] if file is not None else sorted(Path(place).glob("*.safetensors"))
    said = [f"{path.name} {sha256_of(path)}" for path in files] or [place]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()
