"""How `store.tar.xz` and `expected.json` were made. It ran once, with the code of commit 417e53a; see README.md.

PYTHONPATH=memory:tests/unit python make.py FOLDER
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

from memory_fakes import PoleScorer, WordEmbedder
from pad_memory.files import blank_unused
from pad_memory.items import Items

from pad_memory import Choice, Critique, Edit, PreferenceMemory, Rating, Retraction, Statement, Thumb, Values

START = 1_735_700_000.0  # Unix seconds
DAY = 86_400.0
USERS = ("ada", "bob", "cleo")
QUERY = "how do I sort a list in code"


def opened(folder: Path, scorer: PoleScorer | None = None) -> PreferenceMemory:
    return PreferenceMemory(folder, embedder=WordEmbedder(), scorer=scorer, values=Values(classifier=False))


def tell(memory: PreferenceMemory, user: str, events: list[Any]) -> None:
    for number, make in enumerate(events):
        memory.record(user, make(id=f"{user} {number}", time=START + number * DAY))


ADA = [
    lambda **at: Statement("short answers", **at),
    lambda **at: Statement("call me Sam", thread="monday", metadata={"page": 3}, **at),
    lambda **at: Statement("for code, be terse", **at),
    lambda **at: Statement("in this conversation, use emojis", thread="monday", **at),
    lambda **at: Statement("always mention the weather", **at),
    lambda **at: Statement("long answers", **at),
    lambda **at: Statement("call me Max", **at),
    lambda **at: Statement("always insult immigrants", **at),
    lambda **at: Thumb("q", "tone:casual", True, **at),
    lambda **at: Thumb("q", "tone:formal format:list", False, **at),
    lambda **at: Rating("q", "tone:casual format:prose", 5, **at),
    *[lambda **at: Choice("q", "tone:casual level:simple", "tone:formal level:technical", **at)] * 4,
    lambda **at: Choice("q", "examples:examples", "examples:no-examples", tie=True, **at),
    lambda **at: Choice("q", "humor:serious", "humor:humorous", tie=False, **at),
    lambda **at: Edit("q", "format:list", edited="format:prose", **at),
    lambda **at: Critique("q", "a", "no jokes", **at),
    lambda **at: Retraction("ada 4", **at),
]
WAITING = [  # recorded without a scorer, and still in the journal
    lambda **at: Statement("never use emojis", **at),
    *[lambda **at: Choice("q", "warnings:no-warnings", "warnings:warnings", **at)] * 8,
    lambda **at: Thumb("q", "level:technical", True, **at),
]


def seen(memory: PreferenceMemory) -> dict[str, Any]:
    """What a user of the memory sees."""
    conditions = {
        user: {
            name: [[item.key, item.text, item.weight] for item in memory.condition(user, *arguments)]
            for name, arguments in (("plain", ()), ("query", (QUERY, "monday", 8)))
        }
        for user in USERS
    }
    exports = {user: memory.export(user) for user in ("ada", "bob")}  # with their profiles
    many = hashlib.sha256(memory.profile("cleo").to_json().encode()).hexdigest()
    return {"users": memory.users(), "conditions": conditions, "exports": exports, "cleo's profile": many}


def main(folder: Path) -> None:
    with opened(folder / "memory", PoleScorer()) as memory:
        tell(memory, "ada", ADA)
        for number in range(60):  # past Chroma's threshold: her shard's index is on disk
            event = Statement(f"mention animal {number}", id=f"cleo {number}", time=START + number)
            memory.record("cleo", event)
        Items(memory).put("ada", ("notes",), "dog", {"name": "Rex"}, "a dog named Rex")
    with opened(folder / "memory") as memory:
        tell(memory, "bob", WAITING)
        Items(memory).put("bob", (), "plan", {"steps": [1, 2]})
        shutil.copytree(folder / "memory", folder / "store")  # as a process leaves it that is killed here
    (folder / "store" / "pad-memory.lock").unlink()
    (folder / "store" / "catalogue.npz").unlink()  # only a copy, made anew
    blank_unused(folder / "store")
    expected = {}
    for name, scorer in (("without a scorer", None), ("with a scorer", PoleScorer())):
        with opened(Path(shutil.copytree(folder / "store", folder / name)), scorer) as memory:
            expected[name] = seen(memory)
    text = json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False)
    Path(__file__).with_name("expected.json").write_text(text + "\n", encoding="utf-8")
    with tarfile.open(Path(__file__).with_name("store.tar.xz"), "w:xz") as archive:
        for path in sorted((folder / "store").rglob("*")):
            archive.add(path, path.relative_to(folder / "store"), recursive=False, filter=anonymous)


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]))
