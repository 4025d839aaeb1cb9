"""Prompts for making a head: ours, and those of users' files, and that a split keeps topics apart."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from pad_langchain.adapt.prompts import KINDS, Prompt, read_prompts, split
from pad_langchain.errors import InvalidRequestError


@pytest.fixture(scope="module")
def ours():
    return read_prompts()


@pytest.fixture
def written(tmp_path):
    """Writes a file of prompts and names it."""

    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def talk(*turns):
    return tuple({"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns))


def test_our_prompts_are_many_of_all_kinds(ours):
    kinds = Counter(prompt.kind for prompt in ours)
    assert len(ours) >= 480
    assert set(kinds) == set(KINDS)
    assert kinds["conversation"] >= 40
    assert min(kinds.values()) >= 15
    topics = Counter(prompt.topic for prompt in ours)
    assert len(topics) >= 120
    assert set(topics.values()) == {4}


def test_our_prompts_differ(ours):
    assert len({prompt.id for prompt in ours}) == len(ours)
    asked = Counter(re.sub(r"\W+", " ", prompt.text.lower()) for prompt in ours)
    assert [text for text, count in asked.items() if count > 1] == []


def test_our_conversations_end_with_the_user(ours):
    for prompt in ours:
        assert (len(prompt.messages) > 1) == (prompt.kind == "conversation")
        assert prompt.messages == talk(*(message["content"] for message in prompt.messages))


def test_our_prompts_do_not_say_how_to_answer(ours):
    said = re.compile(
        r"\b(briefly|concise|in (one|two|a few) (sentence|word)s?|in detail|step by step|bullet|emojis?|formal|"
        r"simple words|for example|give (me )?examples?|warn me|funny|a joke)\b",
        re.IGNORECASE,
    )
    assert [prompt.text for prompt in ours if said.search(prompt.text)] == []


def test_the_text_of_a_prompt_is_the_last_message():
    assert Prompt("tea/1", "tea", "conversation", talk("Tea?", "Yes.", "Why?")).text == "Why?"


def test_text_has_a_prompt_a_line(written):
    assert read_prompts(written("a.txt", "What is tea?\n  And coffee? \n")) == [
        Prompt("line 1/1", "line 1", "", talk("What is tea?")),
        Prompt("line 2/1", "line 2", "", talk("And coffee?")),
    ]


def test_json_has_prompts_or_messages(written):
    rows = [
        {"prompt": "What is tea?", "topic": "drinks"},
        {"messages": [*talk("Hi", "Hello.", "Coffee?")], "topic": "drinks"},
        {"prompt": "Why\u2028is the sky blue?"},
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert read_prompts(str(written("a.jsonl", text))) == [
        Prompt("drinks/1", "drinks", "", talk("What is tea?")),
        Prompt("drinks/2", "drinks", "", talk("Hi", "Hello.", "Coffee?")),
        Prompt("line 3/1", "line 3", "", talk("Why\u2028is the sky blue?")),
    ]


def test_yaml_is_laid_out_as_ours(written):
    text = """
- topic: tea
  prompts:
    - fact: "What is tea?"
    - conversation: ['Tea?', 'Yes.', 'Why?']
"""
    assert read_prompts(written("a.yml", text)) == [
        Prompt("tea/1", "tea", "fact", talk("What is tea?")),
        Prompt("tea/2", "tea", "conversation", talk("Tea?", "Yes.", "Why?")),
    ]


TEXT, ROWS, OURS = "a.txt", "a.jsonl", "a.yaml"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (TEXT, "", "a.txt' has no prompts"),
        (TEXT, "\n", "a.txt' has no prompts"),
        (TEXT, "What?\n\nWhy?\n", "a.txt:2 is empty"),
        (TEXT, "What?\nWhy?\nWhat?\n", "a.txt:3 has the prompt of line 1 again"),
        ("a.csv", "What?", "one of .*jsonl.*a.csv"),
        (ROWS, '{"prompt": "What?"}\n\n{"prompt": "Why?"}', "a.jsonl:2 is empty"),
        (ROWS, '{"prompt": "What?"}\n{"prompt', "a.jsonl:2 is no JSON"),
        (ROWS, '{"prompt": "What?", "answer": "That."}', "a.jsonl:1 has to be an object of prompt or messages.*answer"),
        (ROWS, '{"prompt": "What?", "messages": []}', "a.jsonl:1 has to be an object of prompt or messages"),
        (ROWS, '{"topic": "tea"}', "a.jsonl:1 has to be an object of prompt or messages"),
        (ROWS, '["What?"]', "a.jsonl:1 has to be an object of prompt or messages"),
        (ROWS, '{"prompt": 3}', "a.jsonl:1 has to ask in words"),
        (ROWS, '{"prompt": " "}', "a.jsonl:1 has to ask in words"),
        (ROWS, '{"prompt": "What?", "topic": 3}', "a.jsonl:1 has to name its topic in words"),
        (ROWS, '{"messages": []}', "a.jsonl:1 has to ask in words"),
        (ROWS, '{"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]}', "the user's"),
        (ROWS, '{"messages": [{"role": "robot", "content": "A"}]}', "role in .*assistant.*robot"),
        (OURS, "", "a.yaml' has no prompts"),
        (OURS, "- topic: [", "a.yaml' are no YAML"),
        (OURS, "topic: tea", "a.yaml:1 has to be a list of topics, but is a mapping"),
        (OURS, "- tea", "a.yaml:1 has to be a topic with its prompts"),
        (OURS, "- topic: tea\n  asked: []", "a.yaml:1 has to have the columns topic and prompts"),
        (OURS, "- topic: tea\n  prompts: What?", "a.yaml:2 has to be a list of prompts"),
        (OURS, "- topic: tea\n  prompts:\n  - What?", "a.yaml:3 has to be one kind with one prompt"),
        (OURS, "- topic: tea\n  prompts:\n  - tale: What?", "a.yaml:3 has the kind 'tale'"),
        (OURS, "- topic: tea\n  prompts:\n  - fact:", "a.yaml:3 has to be text, but is empty"),
        (OURS, "- topic: tea\n  prompts:\n  - fact: ['What?']", "a.yaml:3 has to be text, but is a sequence"),
        (OURS, "- topic: tea\n  prompts:\n  - conversation: ['Tea?', 'Yes.']", "a.yaml:3 has 2 turns"),
        (
            OURS,
            "- topic: tea\n  prompts:\n  - fact: What?\n  - opinion: What?",
            "a.yaml:4 has the prompt of line 3",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(written, name, text, said):
    with pytest.raises(InvalidRequestError, match=said):
        read_prompts(written(name, text))


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(InvalidRequestError, match=r"none\.txt' do not read"):
        read_prompts(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("Café?".encode("latin-1"))
    with pytest.raises(InvalidRequestError, match=r"latin\.txt' do not read"):
        read_prompts(tmp_path / "latin.txt")


def test_a_topic_is_in_one_part_only(ours):
    parts = split(ours, seed=3, dev=0.2, test=0.3)
    train, dev, test = ({prompt.topic for prompt in part} for part in (parts.train, parts.dev, parts.test))
    assert train.isdisjoint(dev | test)
    assert dev.isdisjoint(test)
    assert sorted(p.id for p in parts.train + parts.dev + parts.test) == sorted(p.id for p in ours)
    topics = len(train) + len(dev) + len(test)
    assert (len(dev), len(test)) == (round(0.2 * topics), round(0.3 * topics))


def test_the_first_prompts_of_a_part_are_of_many_topics(ours):
    assert len({prompt.topic for prompt in split(ours, seed=0).dev[:20]}) >= 12


def test_a_split_depends_on_the_seed_alone(ours):
    assert split(ours, seed=1) == split(ours[::-1], seed=1)
    assert split(ours, seed=1) != split(ours, seed=2)


def test_small_files_split_into_three(written):
    parts = split(read_prompts(written("a.txt", "One?\nTwo?\nThree?\n")), seed=0, dev=0.01, test=0.98)
    assert [len(part) for part in (parts.train, parts.dev, parts.test)] == [1, 1, 1]


@pytest.mark.parametrize(("dev", "test"), [(0.0, 0.2), (0.2, 0.0), (0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.1)])
def test_shares_out_of_range_are_refused(ours, dev, test):
    with pytest.raises(InvalidRequestError, match="together under 1"):
        split(ours, seed=0, dev=dev, test=test)


def test_two_topics_cannot_be_split(written):
    with pytest.raises(InvalidRequestError, match=r"three topics at least.*there are 2"):
        split(read_prompts(written("a.txt", "One?\nTwo?\n")), seed=0)
