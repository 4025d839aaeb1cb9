"""Readers of preference data, on small files written in exactly the published layouts."""

from __future__ import annotations

import json
import logging

import pytest

from pad_langchain import evaluation, training
from pad_langchain.errors import InvalidRequestError
from pad_langchain.testing import HashEmbedder
from pad_langchain.training.data import Pair, load_pairs, read_pairs, split_pairs, write_pairs
from pad_memory import Choice, PreferenceMemory, Statement

GOOD = {"prompt": "what is tea?", "preference": "be brief", "chosen": "A drink.", "rejected": "Tea is, well, a drink."}


def jsonl(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def simple(pairs):
    return [(pair.prompt, pair.preference, pair.chosen, pair.rejected) for pair in pairs]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def test_our_schema_round_trips(tmp_path):
    talk = {**GOOD, "messages": [user("hi"), assistant("ho"), user("tea?")], "attribute": "length"}
    del talk["prompt"]
    found = read_pairs(jsonl(tmp_path / "a.jsonl", GOOD, talk))
    assert simple(found.pairs) == [
        ("what is tea?", "be brief", "A drink.", "Tea is, well, a drink."),
        ("tea?", "be brief", "A drink.", "Tea is, well, a drink."),
    ]
    assert [len(pair.messages) for pair in found.pairs] == [1, 3]
    assert found.pairs[1].attribute == "length"
    assert write_pairs(found.pairs, tmp_path / "b.jsonl") == 2
    assert read_pairs(tmp_path / "b.jsonl").pairs == found.pairs
    assert found.layouts == {str(tmp_path / "a.jsonl"): "pad"}


def test_parquet_and_json_read_alike(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.Table.from_pylist([GOOD, {**GOOD, "prompt": "and milk?"}]), tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text(json.dumps([GOOD, {**GOOD, "prompt": "and milk?"}]))
    found = read_pairs(tmp_path / "a.parquet")
    assert found.pairs == read_pairs(tmp_path / "a.json").pairs
    assert [pair.prompt for pair in found.pairs] == ["what is tea?", "and milk?"]
    assert read_pairs(tmp_path / "a.parquet", limit=1).rows == 1


def test_a_memorys_export_is_read_as_it_is():
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        memory.record("ada", Statement("be concise and brief"))
        memory.record("ada", Choice(prompt="tea?", chosen="A drink.", rejected="It is a drink, my dear friend."))
        found = read_pairs(memory.export_pairs())
    assert simple(found.pairs) == [
        ("tea?", "be concise and brief", "A drink.", "It is a drink, my dear friend."),
    ]


def test_trl_in_its_three_shapes(tmp_path):
    rows = [
        {"prompt": "tea?", "chosen": "yes", "rejected": "no"},
        {"prompt": [user("tea?")], "chosen": [assistant("yes")], "rejected": [assistant("no")]},
        {"chosen": [user("tea?"), assistant("yes")], "rejected": [user("tea?"), assistant("no")]},
        {"chosen": [user("tea?"), assistant("yes")], "rejected": [user("milk?"), assistant("no")]},
    ]
    found = read_pairs(jsonl(tmp_path / "trl.jsonl", *rows), preference="be helpful")
    assert simple(found.pairs) == [("tea?", "be helpful", "yes", "no")] * 3
    assert [(row.line, row.reason) for row in found.bad] == [(4, "chosen and rejected do not share their prompt")]
    assert found.layouts[str(tmp_path / "trl.jsonl")] == "trl"


def test_hh_rlhf_transcripts(tmp_path):
    opening = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: tea?\n\nAssistant: "
    rows = [{"chosen": opening + "yes", "rejected": opening + "no"}, {"chosen": opening + "yes", "rejected": "no"}]
    found = read_pairs(jsonl(tmp_path / "hh.jsonl", *rows))
    assert simple(found.pairs) == [("tea?", "helpful and harmless", "yes", "no")]
    assert [turn["role"] for turn in found.pairs[0].messages] == ["user", "assistant", "user"]
    assert "does not end with 'Assistant:'" in found.bad[0].reason


def test_ultrafeedback_gives_a_pair_an_aspect(tmp_path):
    def completion(text, **ratings):
        return {"response": text, "annotations": {name: {"Rating": value} for name, value in ratings.items()}}

    row = {
        "instruction": "tea?",
        "completions": [
            completion("a", helpfulness="3", honesty="5", truthfulness="N/A", instruction_following="4"),
            completion("b", helpfulness="5", honesty="2", truthfulness="5", instruction_following="4"),
            completion("c", helpfulness="1", honesty="3", truthfulness="N/A", instruction_following="4"),
        ],
    }
    level = {"instruction": "milk?", "completions": [completion("a", honesty="2"), completion("b", honesty="2")]}
    found = read_pairs(jsonl(tmp_path / "uf.jsonl", row, level))
    assert [(pair.attribute, pair.chosen, pair.rejected) for pair in found.pairs] == [
        ("helpfulness", "b", "c"),
        ("honesty", "a", "b"),
    ]
    assert found.pairs[0].preference == "be helpful"
    assert [row.line for row in found.bad] == [2]


def test_helpsteer2_compares_the_responses_to_a_prompt(tmp_path):
    def row(response, verbosity, prompt="tea?", **others):
        scores = {"helpfulness": 4, "correctness": 4, "coherence": 4, "complexity": 2, "verbosity": verbosity}
        return {"prompt": prompt, "response": response, **scores, **others}

    talk = "hi\n<extra_id_1>Assistant\nhello\n<extra_id_1>User\nmilk?"
    rows = [row("long", 4), row("short", 1), row("x", 1, talk, helpfulness=1), row("y", 1, talk), row("z", 1, "alone")]
    found = read_pairs(jsonl(tmp_path / "hs.jsonl", *rows))
    assert simple(found.pairs) == [
        ("tea?", "be detailed", "long", "short"),
        ("tea?", "be concise and brief", "short", "long"),
        ("milk?", "be helpful", "y", "x"),
    ]
    assert [turn["role"] for turn in found.pairs[2].messages] == ["user", "assistant", "user"]
    assert [(row.line, row.reason[:20]) for row in found.bad] == [(5, "no score differs bet")]
    only = read_pairs(tmp_path / "hs.jsonl", attributes={"verbosity": "talk a lot"})
    assert simple(only.pairs) == [("tea?", "talk a lot", "long", "short")]


def test_helpsteer3_and_safe_rlhf_and_rewards_in_context(tmp_path):
    third = [
        {
            "context": [user("tea?")],
            "response1": "a",
            "response2": "b",
            "overall_preference": value,
            "domain": "general",
        }
        for value in (-2, 3, 0)
    ]
    found = read_pairs(jsonl(tmp_path / "hs3.jsonl", *third))
    assert simple(found.pairs) == [("tea?", "be helpful", "a", "b"), ("tea?", "be helpful", "b", "a")]
    assert "tie" in found.bad[0].reason

    safe = {"prompt": "tea?", "response_0": "a", "response_1": "b", "better_response_id": 0, "safer_response_id": 1}
    found = read_pairs(jsonl(tmp_path / "safe.jsonl", safe, {**safe, "safer_response_id": -1}))
    assert simple(found.pairs)[:2] == [("tea?", "be helpful", "a", "b"), ("tea?", "be harmless and safe", "b", "a")]
    assert [row.line for row in found.bad] == [2]

    asked = "\n\nHuman: tea?\n\nAssistant:"
    rows = [
        {"prompt": asked, "response": "a", "score1": 1.0, "score2": -1.0},
        {"prompt": "\n\nHuman: milk?\n\nAssistant:", "response": "c", "score1": 0.5, "score2": 0.5},
        {"prompt": asked, "response": "b", "score1": 0.0, "score2": 2.0},
    ]
    found = read_pairs(jsonl(tmp_path / "ric.jsonl", *rows))
    assert simple(found.pairs) == [("tea?", "be harmless and safe", "a", "b"), ("tea?", "be helpful", "b", "a")]


def test_every_refused_row_is_reported_with_its_line_and_reason(tmp_path, caplog):
    rows = [
        GOOD,
        {**GOOD, "chosen": "  "},
        {**GOOD, "rejected": ""},
        {**GOOD, "rejected": " A drink. "},
        "{not json",
        {**GOOD, "prompt": ""},
        {"prompt": "x", "response_0": "a", "response_1": "b", "better_response_id": 0, "safer_response_id": 1},
        {**GOOD, "messages": [assistant("hi")]},
        {**GOOD, "chosen": 3},
        [1, 2],
    ]
    with caplog.at_level(logging.WARNING):
        found = read_pairs(jsonl(tmp_path / "a.jsonl", *rows))
    assert len(found.pairs) == 1
    assert found.rows == 10
    reasons = {row.line: row.reason for row in found.bad}
    assert sorted(reasons) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert (reasons[2], reasons[3], reasons[4]) == ("chosen is empty", "rejected is empty", "chosen equals rejected")
    assert reasons[5].startswith("not JSON")
    assert "looks like 'safe_rlhf'" in reasons[7]
    assert reasons[6] == reasons[8] == "the prompt is empty or does not end with a user's message"
    assert "9 rows refused" in caplog.text
    assert f"{tmp_path / 'a.jsonl'}:2" in found.report()


def test_what_cannot_be_read_says_what_is_near(tmp_path):
    with pytest.raises(InvalidRequestError, match="'choosen' looks like 'chosen'"):
        read_pairs(jsonl(tmp_path / "a.jsonl", {"prompt": "a", "choosen": "b", "rejected": "c", "preference": "d"}))
    with pytest.raises(InvalidRequestError, match="layout has to be one of"):
        read_pairs(tmp_path / "a.jsonl", layout="hh")
    with pytest.raises(InvalidRequestError, match="no usable preference pair"):
        read_pairs(jsonl(tmp_path / "b.jsonl", {**GOOD, "chosen": ""}))
    with pytest.raises(InvalidRequestError, match=r"is not there, or not a \.jsonl"):
        read_pairs(tmp_path / "missing.jsonl")


def test_sources_join_and_conversations_never_straddle_the_split(tmp_path):
    rows = [{**GOOD, "prompt": f"question {n // 3}", "chosen": f"answer {n}"} for n in range(300)]
    first, second = jsonl(tmp_path / "a.jsonl", *rows), jsonl(tmp_path / "b.jsonl", GOOD, {**GOOD, "chosen": ""})
    found = load_pairs(first, {"source": second, "layout": "pad"})
    assert (len(found.pairs), found.rows, len(found.bad)) == (301, 302, 1)
    train, held = split_pairs(found.pairs, 0.2, seed=1)
    assert len(train) + len(held) == 301
    assert 30 <= len(held) <= 90
    assert not {pair.prompt for pair in train} & {pair.prompt for pair in held}
    assert split_pairs(list(reversed(found.pairs)), 0.2, seed=1)[1] == list(reversed(held))
    assert isinstance(held[0], Pair)
    with pytest.raises(InvalidRequestError, match="held_out"):
        split_pairs(found.pairs, 1.0)


@pytest.mark.parametrize("room", [training, evaluation], ids=lambda room: room.__name__)
def test_a_rooms_nouns_are_there_by_name(room):
    assert dir(room) == sorted(room.__all__)
    assert all(getattr(room, name).__name__ == name for name in room.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Oracle'"):
        room.Oracle  # noqa: B018
