"""Answers of a real model for benchmarks: many at once, kept in a file, so that a stopped run goes on where it was.

An answer is known by what was asked, how, and by what: another head, or other words, and it is asked anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import track

from pad_langchain import ChatPAD
from pad_langchain.defaults import SMOLLM2_MODEL, reward_folder

__all__ = ["PENALTY", "Asked", "Said", "answering", "model_options"]

PENALTY = 1.07  # on repeats, in every row of a table: the head recommends it, a base alone would not have it
Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Asked:
    """A conversation, and the keywords of the call; both have to be JSON."""

    messages: Messages
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """An answer, why it ended, and the tools it calls: (name, arguments)."""

    text: str
    finish: str
    calls: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class Answering:
    """Answers with one model and head.

    Args:
        llm: answers, greedily.
        file: keeps the answers.
        mark: what answers depend on beside what is asked.
        kept: those of the file.
    """

    llm: ChatPAD
    file: Path
    mark: str
    kept: dict[str, Said] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, asked: Sequence[Asked], what: str) -> list[Said]:
        """Answer all, those that are not kept some at once, in their order."""
        keys = [self._key(each) for each in asked]
        missing = {key: each for key, each in zip(keys, asked, strict=True) if key not in self.kept}
        if missing:
            with ThreadPoolExecutor(self.llm.engine_settings["max_batch"]) as pool:
                done = pool.map(self._answer, missing, missing.values())
                for _ in track(done, description=what, total=len(missing)):
                    pass
        return [self.kept[key] for key in keys]

    def _key(self, asked: Asked) -> str:
        said = json.dumps([self.mark, asked.messages, asked.keywords], sort_keys=True, default=list)
        return hashlib.sha256(said.encode()).hexdigest()[:24]

    def _answer(self, key: str, asked: Asked) -> None:
        message = self.llm.invoke([dict(turn) for turn in asked.messages], **asked.keywords)
        calls = tuple((call["name"], call["args"]) for call in message.tool_calls)
        said = Said(str(message.content), message.response_metadata["finish_reason"], calls)
        with self.lock:
            self.kept[key] = said
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"key": key, **asdict(said)}, ensure_ascii=False) + "\n")


def model_options(parser: argparse.ArgumentParser, tokens: int) -> None:
    """Add what every benchmark of a real model takes.

    Args:
        tokens: of an answer at most, where the command does not say.
    """
    parser.add_argument("--model", default=SMOLLM2_MODEL)
    parser.add_argument("--head", default="auto", help="folder of a head; default: the shipped one that fits")
    parser.add_argument("--backend", default="auto", choices=["auto", "torch", "llama.cpp"])
    parser.add_argument("--batch", type=int, default=16, help="answers at once; in torch 64 and more are faster still")
    parser.add_argument("--threads", type=int, help="of llama.cpp; default: all that are free")
    parser.add_argument("--tokens", type=int, default=tokens, help=f"of an answer at most (default {tokens})")
    parser.add_argument("--kept", type=Path, default=Path("build/proof"), help="folder that keeps the answers")


@contextmanager
def answering(options: argparse.Namespace, name: str) -> Iterator[Answering]:
    """The model and head of a command, its answers kept in `name`.jsonl."""
    settings: dict[str, Any] = {"max_batch": options.batch}
    if options.threads:
        settings["threads"] = options.threads
    llm = ChatPAD(
        model=options.model, reward_model=options.head, backend=options.backend, max_tokens=options.tokens,
        temperature=0.0, engine_settings=settings,
    )  # fmt: skip
    folder = reward_folder(options.model, options.head)
    files = sorted(Path(folder).glob("persrm_head.*")) if folder else []
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files if not _told(file))).hexdigest()[:16]
    recommended = [json.loads(file.read_text()) for file in files if _told(file)]
    for config in recommended:
        for of_the_memory in ("calibration", "signs"):  # they change no answer
            config.pop(of_the_memory, None)
    mark = json.dumps([options.model, options.backend, options.tokens, digest, recommended], sort_keys=True)
    options.kept.mkdir(parents=True, exist_ok=True)
    found = Answering(llm, options.kept / f"{name}.jsonl", mark)
    if found.file.exists():
        for line in found.file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            calls = tuple((name, arguments) for name, arguments in row["calls"])
            found.kept[row["key"]] = Said(row["text"], row["finish"], calls)
    yield found


def _told(file: Path) -> bool:
    return file.suffix == ".json"
