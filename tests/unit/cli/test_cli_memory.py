"""`pad-langchain memory`: what the commands print and change."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fakes import PoleScorer
from pad_langchain.cli.main import app
from pad_langchain.cli.plot import draw, over_time, save
from pad_langchain.testing import HashEmbedder
from pad_memory import Choice, PreferenceMemory, Statement

DAY = 86_400.0
START = 1_735_700_000.0  # 2025-01-01 02:53 UTC


class MiniLM(HashEmbedder):
    """Stands in for the embedder the command line opens its memory with."""

    def __init__(self) -> None:
        super().__init__(384)
        self.name = "all-MiniLM-L6-v2"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("PAD_MEMORY", str(tmp_path / "m"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("pad_memory.memory.default_embedder", MiniLM)
    with PreferenceMemory(tmp_path / "m") as memory:
        for number, words in enumerate(["be concise and brief", "call me Sam", "be detailed and thorough"]):
            memory.record("ada", Statement(words, id=f"e{number}", time=START + number * DAY))
        memory.record("bob", Statement("use emojis"))
    return lambda *arguments, **options: CliRunner().invoke(app, ["memory", *arguments], **options)


def test_show_says_what_holds_what_held_and_why(command: Callable[..., Any]) -> None:
    shown = command("show", "ada", "--events", "--query", "what is a lion?").output
    assert "You said so in your own words: “call me Sam”." in shown
    past = next(line for line in shown.splitlines() if line.startswith("be concise and brief  "))
    assert "2025-01-01 02:53 – 2025-01-03 02:53" in past
    assert past.rstrip().endswith("e2")
    assert "e1     2025-01-02 02:53  statement  call me Sam" in shown
    assert "+1.00 be detailed and thorough (stated" in shown


def test_show_says_what_seems_to_have_changed(command: Callable[..., Any], tmp_path: Path) -> None:
    assert "Changed since" not in command("show", "ada").output
    with PreferenceMemory(tmp_path / "m", scorer=PoleScorer()) as memory:
        for number in range(10):
            event = Choice(f"q {number}", "length:concise", "length:detailed", time=START + (9 + number) * DAY)
            memory.record("ada", event)
    shown = command("show", "ada").output
    assert "Changed since 2025-01-10 02:53? You said “be detailed and thorough”, but 10 of your last 10" in shown
    assert command("next-question", "ada").output.startswith("You said “be detailed and thorough”, but")


def test_search_finds_past_and_present(command: Callable[..., Any]) -> None:
    lines = command("search", "ada", "call me Sam", "--limit", "2").output.splitlines()
    assert lines[1].startswith("1.00  call me Sam")
    assert len(lines) == 3
    assert command("search", "eve", "names").output == "Nothing is known about eve yet.\n"


def test_undo_takes_back_the_last_or_a_given_event(command: Callable[..., Any]) -> None:
    done = command("undo", "ada").output.split()
    assert done[:4] == ["took", "back", "e2", "by"]
    assert "be concise and brief" in command("show", "ada").output
    assert "detailed" not in command("show", "ada").output
    assert command("undo", "ada", done[4]).exit_code == 0  # the retraction itself
    assert "detailed" in command("show", "ada").output
    refused = command("undo", "ada", "nothing")
    assert refused.exit_code == 2
    assert "no event 'nothing' to take back" in refused.stderr


def test_merge_moves_a_user_into_another(command: Callable[..., Any]) -> None:
    assert command("merge", "bob", "ada").output == "merged 1 of 'bob' into 'ada'\n"
    assert command("merge", "bob", "ada").output == "merged 0 of 'bob' into 'ada'\n"
    assert command("list").output == "ada\n"
    assert "1 event, said as 'bob'" in command("show", "ada", "--query", "what is a lion?").output
    refused = command("merge", "eve", "ada")
    assert refused.exit_code == 2
    assert "Nothing is known of 'eve'" in refused.stderr


def test_retention_lists_and_erases_idle_users(command: Callable[..., Any]) -> None:
    listed = "ada  2025-01-03 02:53  3 events, 0 items\n"
    assert command("retention", "--idle", "100d").output == f"{listed}1 users are idle; --erase erases them\n"
    assert command("retention", "--idle", "5000w").output == "0 users are idle; --erase erases them\n"
    assert command("retention", "--idle", "100d", "--erase", input="n\n").exit_code == 1
    assert command("list").output == "ada\nbob\n"
    assert command("retention", "--idle", "36h", "--erase", "--yes").output == f"{listed}forgot 1 users\n"
    assert command("list").output == "bob\n"


@pytest.mark.parametrize("idle", ["0d", "365", "-3d", "1y", ""])
def test_retention_refuses_what_is_no_span(command: Callable[..., Any], idle: str) -> None:
    refused = command("retention", f"--idle={idle}", "--erase", "--yes")
    assert refused.exit_code == 2
    assert f"has to look like 365d, 8w or 36h, above 0, but is '{idle}'" in refused.stderr


def test_export_and_import(command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ada.json"
    assert command("export", "ada", "-o", str(file)).output.startswith("wrote")
    monkeypatch.setenv("PAD_MEMORY", str(tmp_path / "other"))
    assert command("import", str(file)).output == "added 3 of 'ada'\n"
    assert command("import", str(file)).output == "added 0 of 'ada'\n"
    assert command("list").output == "ada\n"
    exported = json.loads(command("export", "ada").output)
    assert exported["profile"] == json.loads(file.read_text())["profile"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "is not a readable export"),
        (lambda path: path.write_text("{"), "is not a readable export"),
        (lambda path: path.write_text("[]"), "import_ takes what export returned"),
    ],
)
def test_import_refuses_what_is_no_export(command: Callable[..., Any], tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path / "x.json")
    refused = command("import", str(tmp_path / "x.json"))
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_stats_and_repair(command: Callable[..., Any]) -> None:
    lines = command("stats").output.splitlines()
    assert lines[0].split() == ["users", "2"]
    assert lines[1].split(maxsplit=1) == ["events", "4 (statement 4)"]
    assert lines[2].split(maxsplit=1) == ["preferences", "3 (stated 3)"]
    assert lines[3].split() == ["pending", "0"]
    repaired = command("repair")
    assert repaired.exit_code == 0
    assert "0 rebuilt" in repaired.output


def test_next_question_is_about_what_is_not_known(command: Callable[..., Any]) -> None:
    lines = command("next-question", "ada").output.splitlines()
    assert lines[1].startswith("1) ")
    assert lines[2].startswith("2) ")
    assert "be concise and brief" not in lines[1] + lines[2]  # length was said in words
    assert float(lines[3].split()[2]) > 0


def test_the_course_of_a_profile(command: Callable[..., Any], tmp_path: Path) -> None:
    with PreferenceMemory(tmp_path / "m") as memory:
        times, series = over_time(memory, "ada")
    assert times == [START, START + DAY, START + 2 * DAY]
    assert series == {
        "be concise and brief": [0.9, 0.9, 0.0],
        "call me Sam": [0.0, 0.9, 0.9],
        "be detailed and thorough": [0.0, 0.0, 0.9],
    }


def test_plot_without_matplotlib_says_how_to_install_it(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    refused = command("plot", "ada", "-o", str(tmp_path / "ada.png"))
    assert refused.exit_code == 2
    assert 'pip install "pad-langchain[plot]"' in refused.stderr


def test_plot_takes_a_share_of_many_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pad_langchain.cli.plot.MOMENTS", 3)
    with PreferenceMemory(tmp_path, embedder=MiniLM()) as memory:
        for number in range(7):
            memory.record("ada", Statement(f"mention animal {number}", time=START + number * DAY))
        times, series = over_time(memory, "ada")
    assert times == [START, START + 3 * DAY, START + 6 * DAY]
    assert series["mention animal 2"] == [0.0, 0.9, 0.9]
    assert series["mention animal 6"] == [0.0, 0.0, 0.9]


def test_plot_writes_a_picture(command: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert command("plot", "ada", "-o", str(tmp_path / "ada.png")).exit_code == 0
    assert (tmp_path / "ada.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert command("plot", "eve", "-o", str(tmp_path / "eve.png")).exit_code == 2
    assert command("plot", "ada", "-o", str(tmp_path / "none" / "ada.png")).exit_code == 2


def test_plot_has_a_lane_for_each_preference_whatever_its_letters(tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    names = ["be brief", "price it in $, not in $\\frac{", "请用中文回答"]
    series = {name: [0.9, 0.5 * lane] for lane, name in enumerate(names)}
    draw(figure, "$\\x", [START, START + DAY], series)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert [text.get_text() for text in axes.texts] == ["–", "0.50", "1.00"]
    tops = [collection.get_paths()[0].vertices[:, 1].min() for collection in axes.collections]
    assert tops == pytest.approx([-0.72, 1 - 0.72, 2 - 0.8])
    save(figure, tmp_path / "lanes.png")  # what a font has not is no error
    assert (tmp_path / "lanes.png").stat().st_size > 5000
