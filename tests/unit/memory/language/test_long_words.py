"""Reading what users write takes time that grows with its length at most, and there is a stated limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from fakes import WordEmbedder
from pad_memory import CATALOGUE, Critique, Edit, PreferenceMemory, Statement, Thumb, Values
from pad_memory.errors import InvalidEventError
from pad_memory.language import Reader, explicit_statements, wanted
from pad_memory.values import Guard

# What is repeated: each made some pattern try every pair, or every triple, of places.
FAMILIES = [
    " ", "\n", "\t ", "a", "a ", ".", ". ", ",", ", ", ":", ": ", '"', "“", "«", "‘", "' '", "`", "```", "<a",
    "<a>", "(",
    "[", "-", "a-", "-'", "not ", "no ", "never ", "in the ", "for a ", "when I ask about ", "you used ", "i used to ",
    "keep the a ", "a? ", "4a", "$", "aA1", "a_", "help to ", "explain how to ", "send a@", "# ", "> ", "context ",
    "please ", " but ", "不", "&amp;", "ignore all ", "too ", "leave it ", "\u200b", "\u00b4", "e\u0301",
]  # fmt: skip


@pytest.fixture(scope="module")
def reads() -> dict[str, Callable[[str], object]]:
    reader, guard = Reader(CATALOGUE, WordEmbedder()), Guard(Values(classifier=False))
    found: dict[str, Callable[[str], object]] = {
        "a statement": reader.read,
        "a message": lambda text: explicit_statements(text, reader),
        "the floor": guard.check,
        "a wish": wanted,
    }
    for read in found.values():
        read("never use emojis")  # loads what is loaded once
    return found


def seconds(read: Callable[[str], object], text: str) -> float:
    before = time.process_time()
    read(text)
    return time.process_time() - before


@pytest.mark.parametrize("family", FAMILIES)
def test_time_does_not_grow_faster_than_the_text(reads: dict[str, Callable[[str], object]], family: str) -> None:
    for name, read in reads.items():
        for around in ("{}", "be {}brief"):
            took = [seconds(read, around.format(family * (size // len(family)))) for size in (9_000, 18_000)]
            assert max(took) < 1.5, (name, around, took)
            assert took[1] < 4 * took[0] + 0.2, (name, around, took)


@pytest.fixture
def unclassified() -> Iterator[PreferenceMemory]:
    with PreferenceMemory(embedder=WordEmbedder(), values=Values(classifier=False)) as memory:
        yield memory


@pytest.mark.parametrize(
    "event",
    [
        Statement("a" * 20_001),
        Statement(" " * 20_000 + "a"),
        Critique("q", "a", text="too long " * 3000),
        Thumb("q", "a" * 1_000_001, True),
        Edit("q", "a", "b" * 1_000_001),
    ],
)
def test_what_is_too_long_is_refused_with_the_limit(unclassified: PreferenceMemory, event) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidEventError, match=r"has [\d,]+ characters, but at most (20,000|1,000,000) are read"):
        unclassified.record("ada", event)
    data = {**unclassified.export("ada"), "events": []}
    unclassified.record("bob", Statement("be brief", id="1"))
    exported = unclassified.export("bob")["events"][0]
    body = event.stamped(id="1", time=1.0).to_dict()
    with pytest.raises(InvalidEventError, match="are read"):
        unclassified.import_({**data, "events": [{**exported, "event": body}]})
    assert unclassified.events("ada") == ()


def test_a_long_run_of_blanks_is_one(unclassified: PreferenceMemory) -> None:
    before = time.process_time()
    unclassified.record("ada", Statement("never" + " " * 19_000 + "use emojis"))
    unclassified.record("bob", Statement("never use " + "x " * 9_000))
    assert time.process_time() - before < 5.0
    assert unclassified.profile("bob").preferences == ()
