"""The prompts that a base answers while a head is made for it: ours or a user's, and their split by topic.

read_prompts() → split(prompts, seed=0, dev=0.2, test=0.2) → train, dev and test share no topic
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pad_langchain.errors import InvalidRequestError
from pad_langchain.paths import absolute
from pad_langchain.training.layouts import Message

__all__ = ["KINDS", "OURS", "Prompt", "Split", "read_prompts", "split"]

OURS = Path(__file__).with_name("prompts.yaml")
KINDS = ("advice", "conversation", "explanation", "fact", "how-to", "opinion", "small-talk", "writing")
COLUMNS = ("messages", "prompt", "topic")
ROLES = ("assistant", "system", "user")


@dataclass(frozen=True)
class Prompt:
    """What a base is asked.

    Args:
        id: its topic and its number within the topic, such as "baking bread/2"; unique in a file.
        topic: what it is about; prompts of one topic stay together in a split.
        kind: one of `KINDS`; "" where its file does not say.
        messages: the conversation, ends with a user's message.
    """

    id: str
    topic: str
    kind: str
    messages: tuple[Message, ...]

    @property
    def text(self) -> str:
        """The last user message."""
        return self.messages[-1]["content"]


@dataclass(frozen=True)
class Split:
    """Three parts of prompts; a topic is in one of them only."""

    train: tuple[Prompt, ...]
    dev: tuple[Prompt, ...]
    test: tuple[Prompt, ...]


@dataclass(frozen=True)
class _Row:
    """A prompt as it stands in a file: its line, from 1, and what is said there. A topic of "" is its own."""

    line: int
    topic: str
    kind: str
    messages: tuple[Message, ...]


def read_prompts(path: str | Path | None = None) -> list[Prompt]:
    """The prompts of a file, in its order.

    Args:
        path: a .txt file with a prompt on each line; a .jsonl file with {prompt | messages} and perhaps a topic on
            each; or a .yaml file laid out as ours, a list of {topic, prompts: [{kind: text or turns}]}. Prompts that
            name no topic have one each. None means the prompts of this package.

    Raises:
        InvalidRequestError: the file does not read, has no prompts, or a line of it is empty, has other columns or
            says what another line says.
    """
    file = OURS if path is None else absolute(path)
    if file.suffix.lower() not in _READERS:
        raise InvalidRequestError(
            f"Prompts have to be in one of {sorted(_READERS)} files, but the file is {str(file)!r}."
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"The prompts in {str(file)!r} do not read: {error}") from error
    found, lines, numbers = list[Prompt](), dict[str, int](), Counter[str]()
    for row in _READERS[file.suffix.lower()](text, file):
        same = json.dumps([dict(message) for message in row.messages], sort_keys=True)
        if same in lines:
            raise _refused(file, row.line, f"has the prompt of line {lines[same]} again. Leave one of them out.")
        lines[same] = row.line
        topic = row.topic or f"line {row.line}"
        numbers[topic] += 1
        found.append(Prompt(f"{topic}/{numbers[topic]}", topic, row.kind, row.messages))
    if not found:
        raise InvalidRequestError(f"{str(file)!r} has no prompts. Write one a line, or leave the file out to use ours.")
    return found


def split(prompts: Sequence[Prompt], seed: int, dev: float = 0.2, test: float = 0.2) -> Split:
    """Part prompts by topic. The order within a part is random, so that its first ones are a fair sample of it.

    Args:
        seed: the same seed parts the same prompts in the same way, in whatever order they come.
        dev, test: shares of topics, above 0 and together under 1; a part has one topic at least.

    Raises:
        InvalidRequestError: the shares are out of range, or there are fewer than three topics.
    """
    if not (dev > 0 and test > 0 and dev + test < 1):
        raise InvalidRequestError(
            f"dev and test have to be shares above 0, together under 1, but are {dev!r} and {test!r}."
        )
    topics = sorted({prompt.topic for prompt in prompts})
    if len(topics) < 3:
        raise InvalidRequestError(
            f"Prompts of three topics at least can be split, but there are {len(topics)}: {topics}. Add prompts."
        )
    order = random.Random(seed)
    order.shuffle(topics)
    tested = max(1, min(round(test * len(topics)), len(topics) - 2))
    developed = max(1, min(round(dev * len(topics)), len(topics) - tested - 1))
    place = {topic: 0 if n < tested else 1 if n < tested + developed else 2 for n, topic in enumerate(topics)}
    shuffled = sorted(prompts, key=lambda prompt: prompt.id)
    order.shuffle(shuffled)
    parts = [tuple(prompt for prompt in shuffled if place[prompt.topic] == n) for n in range(3)]
    return Split(train=parts[2], dev=parts[1], test=parts[0])


def _text_rows(text: str, file: Path) -> Iterator[_Row]:
    for line, prompt in _lines(text, file):
        yield _Row(line, "", "", ({"role": "user", "content": prompt.strip()},))


def _json_rows(text: str, file: Path) -> Iterator[_Row]:
    for line, written in _lines(text, file):
        try:
            row = json.loads(written)
        except ValueError as error:
            raise _refused(file, line, f"is no JSON: {error}") from error
        if not isinstance(row, dict) or not row.keys() <= {*COLUMNS} or len(row.keys() & {"prompt", "messages"}) != 1:
            raise _refused(
                file, line, f"has to be an object of prompt or messages, and perhaps topic, but is {written[:200]}"
            )
        topic = row.get("topic", "")
        if not isinstance(topic, str):
            raise _refused(file, line, f"has to name its topic in words, but has {topic!r}.")
        asked = row["messages"] if "messages" in row else [{"role": "user", "content": row["prompt"]}]
        yield _Row(line, topic.strip(), "", _conversation(asked, file, line))


def _conversation(asked: Any, file: Path, line: int) -> tuple[Message, ...]:
    """Checked messages: text in each, of a known role, the last one the user's."""
    fits = isinstance(asked, list) and all(
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and message["role"] in ROLES
        and isinstance(message["content"], str)
        and message["content"].strip()
        for message in asked
    )
    if not fits or not asked or asked[-1]["role"] != "user":
        raise _refused(
            file,
            line,
            f"has to ask in words: messages of {{role, content}} with a role in {list(ROLES)} and a text, the last one "
            f"the user's, but has {asked!r:.200}",
        )
    return tuple({"role": message["role"], "content": message["content"].strip()} for message in asked)


def _yaml_rows(text: str, file: Path) -> Iterator[_Row]:
    """Rows of our layout. The nodes are read instead of their values because they know their lines."""
    try:
        topics = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise InvalidRequestError(f"The prompts in {str(file)!r} are no YAML: {error}") from error
    if topics is None:
        return
    for node in _items(topics, file, "has to be a list of topics"):
        fields = _fields(node, file, "has to be a topic with its prompts")
        if fields.keys() != {"topic", "prompts"}:
            raise _refused(file, _line(node), f"has to have the columns topic and prompts, but has {sorted(fields)}.")
        topic = _words(fields["topic"], file)
        for asked in _items(fields["prompts"], file, "has to be a list of prompts"):
            ((kind, said),) = _fields(asked, file, "has to be one kind with one prompt", count=1).items()
            if kind not in KINDS:
                raise _refused(file, _line(asked), f"has the kind {kind!r}; there are {list(KINDS)}.")
            yield _Row(_line(asked), topic, kind, _turns(said, file) if kind == "conversation" else _asked(said, file))


def _asked(node: yaml.Node, file: Path) -> tuple[Message, ...]:
    return ({"role": "user", "content": _words(node, file)},)


def _turns(node: yaml.Node, file: Path) -> tuple[Message, ...]:
    turns = [_words(turn, file) for turn in _items(node, file, "has to be a list of turns")]
    if len(turns) < 3 or len(turns) % 2 == 0:
        raise _refused(
            file,
            _line(node),
            f"has {len(turns)} turns; a conversation has the user's and the assistant's by turns, three or more, the "
            "last one the user's.",
        )
    return tuple({"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns))


def _items(node: yaml.Node, file: Path, wanted: str) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise _refused(file, _line(node), f"{wanted}, but is a {node.id}.")
    return list(node.value)


def _fields(node: yaml.Node, file: Path, wanted: str, count: int = 2) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode) or len(node.value) != count:
        raise _refused(file, _line(node), f"{wanted}, but is a {node.id} of {len(node.value)}.")
    return {str(key.value): value for key, value in node.value}


def _words(node: yaml.Node, file: Path) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        raise _refused(file, _line(node), "has to be text, but is " + ("empty." if not node.value else f"a {node.id}."))
    return str(node.value).strip()


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _lines(text: str, file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, from 1. The last one may end with a line break; none may be empty."""
    for line, written in enumerate(text.removesuffix("\n").split("\n") if text.strip() else [], 1):
        if not written.strip():
            raise _refused(file, line, "is empty. Every line is one prompt: take it out.")
        yield line, written


def _refused(file: Path, line: int, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{file}:{line} {why}")


_READERS: dict[str, Callable[[str, Path], Iterator[_Row]]] = {
    ".jsonl": _json_rows,
    ".txt": _text_rows,
    ".yaml": _yaml_rows,
    ".yml": _yaml_rows,
}
