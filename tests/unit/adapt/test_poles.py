"""Dimensions and poles: the catalogue's, a user's own, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pad_langchain.adapt.poles import choose_dimensions, of_catalogue, read_poles
from pad_langchain.errors import InvalidRequestError
from pad_memory.catalogue import CATALOGUE

RHYMED = {
    "name": "rhymed",
    "text": "answer in rhymes",
    "wordings": ["make it rhyme"],
    "instruction": "Answer in rhymes.",
}
PLAIN = {"name": "plain", "text": "do not rhyme", "wordings": ["no rhymes"], "instruction": "Answer without rhymes."}


def written(folder: Path, poles: Any) -> Path:
    (folder / "poles.yaml").write_text(yaml.safe_dump(poles))
    return folder / "poles.yaml"


def test_the_catalogues_poles_have_an_instruction_each() -> None:
    found = of_catalogue()
    assert [dimension.name for dimension in found] == [dimension.name for dimension in CATALOGUE]
    poles = [pole for dimension in found for pole in dimension.poles]
    assert len({pole.instruction for pole in poles}) == len(poles)
    assert found[0].poles[0].texts == (CATALOGUE[0].poles[0].text, *CATALOGUE[0].poles[0].paraphrases)
    assert found[0].key(1) == "length:detailed"


def test_a_users_poles_are_read(tmp_path: Path) -> None:
    (found,) = read_poles(written(tmp_path, {"rhyme": [RHYMED | {"rule": {"min_words": 2}}, PLAIN]}))
    assert (found.name, found.key(0), found.key(1)) == ("rhyme", "rhyme:rhymed", "rhyme:plain")
    first, second = found.poles
    assert first.texts == ("answer in rhymes", "make it rhyme")
    assert first.rule is not None
    assert first.rule.holds("two words")
    assert not first.rule.holds("one")
    assert second.rule is None


@pytest.mark.parametrize(
    ("poles", "message"),
    [
        ({}, "has no dimensions"),
        ({"rhyme": [RHYMED]}, "a list of two poles"),
        ({"rhyme": [RHYMED, RHYMED]}, "have to be opposites, but both say 'answer in rhymes'"),
        ({"rhyme": [RHYMED, PLAIN | {"name": "rhymed"}]}, "both say 'rhymed'"),
        ({"rhyme": [RHYMED, PLAIN | {"wordings": ["Make it  rhyme!"]}]}, "both say 'make it rhyme'"),
        ({"rhyme": [RHYMED, PLAIN | {"instruction": "answer in rhymes"}]}, "both say 'Answer in rhymes.'"),
        ({"rhyme": [RHYMED, PLAIN | {"text": " "}]}, "say something in every field"),
        ({"rhyme": [RHYMED, PLAIN | {"wordings": "no rhymes"}]}, "a list of texts"),
        ({"rhyme": [RHYMED, PLAIN | {"colour": "red"}]}, "has to be a mapping of name, text"),
        ({"rhyme": [RHYMED, {"name": "plain"}]}, "has to be a mapping of name, text"),
        ({"rhyme": [RHYMED | {"rule": {"words": 2}}, PLAIN]}, "none that a judge knows"),
    ],
)
def test_poles_that_cannot_be_learned_are_refused(tmp_path: Path, poles: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        read_poles(written(tmp_path, poles))


def test_dimensions_are_chosen_by_name() -> None:
    every = of_catalogue()
    assert choose_dimensions(every, ()) == every
    assert [each.name for each in choose_dimensions(every, ("emoji", "length"))] == ["length", "emoji"]
    with pytest.raises(InvalidRequestError, match=r"name \['size'\]"):
        choose_dimensions(every, ("length", "size"))
