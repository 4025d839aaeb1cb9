"""Edits and planted sentences: the changed answer and the plain one differ in the pole alone."""

from __future__ import annotations

import ast
import inspect
import random
from pathlib import Path

import pytest

from pad_langchain.adapt import poles
from pad_langchain.adapt.job import Job
from pad_langchain.adapt.lessons import filters, plant, texts
from pad_langchain.adapt.lessons.plant import EDITS, OPENINGS, first_sentence
from pad_langchain.adapt.lessons.texts import Text, bullets, emojis, sentences
from pad_langchain.adapt.model import Said
from pad_langchain.adapt.poles import of_catalogue
from pad_langchain.evaluation import signs, wishes
from pad_langchain.evaluation.answers import Kept

PLAIN = "Tea is a drink. It is made from leaves. Many people like it. Some add milk."


@pytest.mark.parametrize("seed", range(5))
def test_edits_show_their_pole_and_keep_the_words(seed: int) -> None:
    rng = random.Random(seed)
    listed, decorated, short = (EDITS[key](PLAIN, rng) for key in ("format:list", "emoji:emoji", "length:concise"))
    assert bullets(listed) == 4
    assert emojis(decorated) >= 1
    assert all(part in listed and part in decorated for part in sentences(PLAIN))
    assert PLAIN.startswith(short)
    assert 1 <= len(sentences(short)) <= 2


def test_what_shows_the_pole_already_is_not_edited() -> None:
    assert EDITS["emoji:emoji"](f"{PLAIN} 😊", random.Random(0)) == ""
    assert EDITS["format:list"]("Two. Sentences.", random.Random(0)) == ""


def test_first_sentence() -> None:
    assert first_sentence(" likes 3.5 cups. And more.") == " likes 3.5 cups."
    assert first_sentence("without an end") == ""


def test_a_planted_sentence_is_the_openings_end_and_the_rest_follows(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = job.prompts.train[:2]
    plain = [Text(f"{prompt.id}|plain", prompt.id, "tone", 0, "plain", PLAIN, True) for prompt in prompts]
    begun: dict[str, str] = {}

    def answer(chat, asked):
        for each in asked:
            begun[each.id] = each.begun
            yield each, Said(" likes it with sugar. Then more", True, 9)

    monkeypatch.setattr(job.model, "answer", answer)
    dimensions = [each for each in of_catalogue() if each.name in ("examples", "emoji")]
    kept = Kept(tmp_path / "planted.jsonl")
    ticks: list[tuple[int, int]] = []
    arguments = (job.model, plain, prompts, dimensions, job.config, kept)
    found = plant.plant(*arguments, lambda *done: ticks.append(done))
    planted = [text for text in found if text.source == "planted"]
    assert (len(planted), ticks) == (2, [(1, 2), (2, 2)])
    for text in planted:
        start = begun[f"{text.prompt}|plain|examples:examples"]
        assert (text.dimension, text.side) == ("examples", 0)
        assert start.endswith(OPENINGS["examples:examples"])
        assert text.text.startswith(f"{start} likes it with sugar.")
        assert " ".join([*sentences(start)[:-1], *sentences(text.text)[len(sentences(start)) :]]) == PLAIN
        (twin,) = [each for each in found if each.id == text.twin]
        assert (twin.text, twin.side, twin.source, twin.twin) == (PLAIN, 1, "beside", text.id)
    assert {text.dimension for text in found if text.source == "edited"} == {"emoji"}
    monkeypatch.setattr(job.model, "answer", lambda chat, asked: iter(()) if not asked else pytest.fail("asked again"))
    assert plant.plant(*arguments[:-1], Kept(tmp_path / "planted.jsonl"), lambda *done: None) == found


def test_the_base_goes_on_with_a_begun_answer(job: Job, tmp_path: Path) -> None:
    prompts = job.prompts.train[:3]
    plain = [Text(f"{prompt.id}|plain", prompt.id, "tone", 0, "plain", PLAIN, True) for prompt in prompts]
    dimensions = [each for each in of_catalogue() if each.name == "warnings"]
    kept = Kept(tmp_path / "planted.jsonl")
    plant.plant(job.model, plain, prompts, dimensions, job.config, kept, lambda *done: None)
    assert len((tmp_path / "planted.jsonl").read_text().splitlines()) == 3


def strings(module) -> set[str]:
    """The texts in a module, without its docstrings."""
    tree = ast.parse(inspect.getsource(module))
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    return said - docs - set(module.__all__)


def test_what_makes_the_answers_shares_nothing_with_the_judge() -> None:
    keys = {dimension.key(side) for dimension in of_catalogue() for side in (0, 1)}
    mine = set().union(*(strings(module) for module in (plant, filters, poles, texts))) - keys
    theirs = set().union(*(strings(module) for module in (signs, wishes))) - keys
    shared = {text for text in mine & theirs if sum(map(str.isalpha, text)) > 2}
    assert not shared


@pytest.mark.parametrize(("key", "opening"), [(key, each) for key, every in OPENINGS.items() for each in every])
def test_an_opening_alone_does_not_show_its_pole(key: str, opening: str) -> None:
    assert not wishes.judge_wish(f"{PLAIN} {opening} drinks tea at home.", key)
