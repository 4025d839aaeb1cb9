"""Folders keep their meaning: `~`, relative paths after `chdir`, other systems' paths; homes that cannot be written."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
import yaml
from platformdirs import user_cache_path
from typer.testing import CliRunner

from pad_langchain import PADLLM, ChatPAD, InvalidRequestError, ModelLoadError, PersRM
from pad_langchain.chat.engines import context_size, shared_pair
from pad_langchain.cli.main import app
from pad_langchain.cli.options import default_memory_path
from pad_langchain.evaluation.config import EvaluateConfig
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.paths import absolute, cache_folder, is_path, model_place, replacing
from pad_langchain.persrm.head import VectorHead
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_langchain.training.config import TrainConfig
from pad_langchain.training.data import Pair, write_pairs
from pad_memory import CATALOGUE, PreferenceMemory, Statement
from pad_memory.language import Reader

QUESTION = "what is an element?"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    tiny_pair().save(folder)
    return folder


@pytest.fixture
def home(saved, monkeypatch):
    """A home with `base` and `persrm`; the process is in it."""
    monkeypatch.setenv("HOME", str(saved))
    monkeypatch.chdir(saved)
    return saved


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Goes to a folder in which nothing is."""
    return lambda: monkeypatch.chdir(tmp_path)


# ---- how a name is read


def test_a_path_is_read_once(home):
    assert absolute("~/a") == home / "a"
    assert absolute("a/../b") == home / "a/../b"
    assert absolute(home) == home
    assert absolute("~nobody-of-that-name/a") == home / "~nobody-of-that-name/a"


def test_hub_ids_and_names_of_ours_stay_names(home):
    for name in ("org/model", "gpt2", "pad-demo", "self", "C:\\models\\m", ""):
        assert model_place(name) == name
    (home / "self").mkdir(exist_ok=True)
    assert model_place("self", "auto", "self") == "self"
    assert model_place("self") == str(home / "self")
    (home / "self").rmdir()
    assert [model_place(name) for name in ("base", "./x", "~/x")] == [str(home / name) for name in ("base", "x", "x")]


@pytest.mark.parametrize(
    "name", ["~/m", "./m", "../m", "/m", "C:\\models\\m", "C:/models/m", "models\\m", "\\\\host\\m"]
)
def test_a_path_where_nothing_is_is_told_of_as_a_path(name, home):
    assert is_path(name)
    for call in (
        lambda: load_causal_lm(name),
        lambda: PersRM.from_pretrained(name),
        lambda: ChatPAD(model=name, reward_model=None).invoke("hi"),
    ):
        with pytest.raises(ModelLoadError, match="there is no such folder"):
            call()
    assert not is_path("org/model")


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    place = tmp_path / "kept.json"
    with replacing(place) as file:
        assert (file.parent, file.suffix, place.exists()) == (tmp_path, ".json", False)
        file.write_text("old")

    def full():
        with replacing(place) as file:
            file.write_text("ne")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        full()
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]
    assert place.read_text() == "old"
    (tmp_path / "link").symlink_to(place)
    with replacing(tmp_path / "link") as file:
        file.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert place.read_text() == "new"
    with replacing(Path(os.devnull)) as file:
        assert file == Path(os.devnull)


def test_pairs_that_end_early_leave_the_file_before(tmp_path):
    pair = Pair(({"role": "user", "content": "q"},), "good", "bad", "be kind")
    write_pairs([pair], tmp_path / "pairs.jsonl")
    before = (tmp_path / "pairs.jsonl").read_text()

    def broken():
        yield pair
        yield pair
        raise KeyError("row")

    with pytest.raises(KeyError):
        write_pairs(broken(), tmp_path / "pairs.jsonl")
    assert (tmp_path / "pairs.jsonl").read_text() == before


# ---- models


@pytest.mark.parametrize(("base", "persrm"), [("~/base", "~/persrm"), ("base", "persrm"), ("./base", "./persrm")])
def test_models_are_where_they_were_named(base, persrm, home, elsewhere):
    def answer(llm):
        return llm.invoke(QUESTION, preference="be kind").text

    settings = {"embedder": HashEmbedder(), "max_tokens": 8, "beta": 2.0}
    expected = answer(ChatPAD(model=str(home / "base"), reward_model=str(home / "persrm"), **settings))
    llm = ChatPAD(model=base, reward_model=persrm, **settings)
    llama = PADLLM(model=base, reward_model=persrm, **settings)
    elsewhere()
    assert answer(llm) == expected
    assert llama.complete(QUESTION, preference="be kind").text == expected
    assert llama.metadata.context_window == context_size(str(home / "base")) == 512


def test_a_relative_name_means_another_folder_elsewhere(home, tmp_path, monkeypatch):
    here = shared_pair("base", None)
    assert shared_pair("~/base", None) is shared_pair(str(home / "base"), None) is here
    tiny_pair(3).save(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert shared_pair("base", None) is not here


def test_persrms_are_saved_and_loaded_at_home(home, elsewhere):
    persrm = PersRM.from_pretrained("~/persrm", base="~/base", embedder=HashEmbedder())
    persrm.save_pretrained("~/copies/persrm")
    assert VectorHead.from_pretrained("~/copies/persrm").config == persrm.head.config
    assert (home / "copies/persrm").is_dir()
    assert not (home / "~").exists()


def test_folders_of_the_engine_settings_are_absolute(home):
    llm = ChatPAD(engine_settings={"cache_dir": "~/hub", "offload_folder": "off", "revision": "~v"})
    assert llm.engine_settings == {
        "cache_dir": str(home / "hub"),
        "offload_folder": str(home / "off"),
        "revision": "~v",
    }


# ---- the memory


@pytest.mark.parametrize("name", ["~/m1", "m2", Path("m3"), "./m4"], ids=str)
def test_a_memory_is_where_it_was_named(name, home, elsewhere):
    with PreferenceMemory(name, embedder=HashEmbedder()) as memory:
        elsewhere()
        memory.record("ada", Statement("be concise"))
        memory.profile("ada")
        assert list(Path().iterdir()) == []
    with PreferenceMemory(home / Path(name).name, embedder=HashEmbedder()) as memory:
        assert len(memory.events("ada")) == 1


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
def test_a_cache_that_cannot_be_written_is_done_without(caplog):
    with caplog.at_level(logging.DEBUG, "pad_memory"):
        reader = Reader(CATALOGUE, HashEmbedder(), Path("/proc/nohome"))
        assert reader.read("answer with plenty of colourful comparisons")
    assert "are not kept for the next process" in caplog.text
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


# ---- training and evaluation


def test_folders_of_training_and_evaluation_are_absolute(home, elsewhere):
    pair = Pair(({"role": "user", "content": "q"},), "good", "bad", "be kind")
    assert write_pairs([pair], "~/pairs.jsonl") == 1
    trained = TrainConfig(base="base", data="pairs.jsonl", output="~/out")
    judged = EvaluateConfig(
        base="~/base", output="report", prompts="~/p.jsonl", head="persrm", pairs=("~/pairs.jsonl",)
    )
    named = EvaluateConfig(base="pad-demo", output="report", prompts="p.jsonl", head="auto", text="org/model")
    elsewhere()
    assert (trained.base, trained.output, trained.data[0].source) == tuple(
        str(home / name) for name in ("base", "out", "pairs.jsonl")
    )
    assert (judged.base, judged.output, judged.prompts, judged.head, judged.pairs[0].source) == tuple(
        str(home / name) for name in ("base", "report", "p.jsonl", "persrm", "pairs.jsonl")
    )
    assert (named.base, named.head, named.text) == ("pad-demo", "auto", "org/model")
    trained.save("~/train.yaml")
    assert TrainConfig.load("~/train.yaml") == trained


# ---- the command


def test_options_of_the_command_may_begin_with_the_home(home, elsewhere):
    def run(*args):
        result = CliRunner().invoke(app, [*args, "--memory", "~/cli"])
        assert result.exit_code == 0, result.output
        return result.output

    elsewhere()
    run("feedback", "ada", "--prefer", "be concise")
    run("memory", "export", "ada", "--output", "~/ada.json")
    assert "added 0 of 'ada'" in run("memory", "import", "~/ada.json")
    assert list(Path().iterdir()) == []
    (home / "train.yaml").write_text(yaml.safe_dump({"bases": "x"}))
    assert "did you mean 'base'" in CliRunner().invoke(app, ["train", "~/train.yaml"]).output


def test_the_cache_is_where_the_user_wants_it(home, monkeypatch):
    monkeypatch.delenv("PAD_LANGCHAIN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "there"))
    assert cache_folder() == user_cache_path("pad-langchain", appauthor=False)
    if sys.platform == "linux":
        assert cache_folder() == home / "there/pad-langchain"
    for named, place in (("~/c", home / "c"), ("c", home / "c"), (str(home / "d"), home / "d"), (" ", cache_folder())):
        monkeypatch.setenv("PAD_LANGCHAIN_CACHE", named)
        assert cache_folder() == place
    assert not any((home / name).exists() for name in ("c", "d", "there"))


def test_a_cache_needs_a_home(monkeypatch):
    for name in ("PAD_LANGCHAIN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does where nobody knows the home
    for named in ("", "~/c"):
        monkeypatch.setenv("PAD_LANGCHAIN_CACHE", named)
        with pytest.raises(InvalidRequestError, match="no home folder to keep caches in"):
            cache_folder()


def test_the_default_memory_needs_a_home(monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does where nobody knows the home
    result = CliRunner().invoke(app, ["memory", "list"], env={"PAD_MEMORY": None})
    assert (result.exit_code, result.output) == (
        2,
        "error: There is no home folder to keep the memory in. Name a folder with --memory.\n",
    )


def test_a_default_memory_of_an_earlier_version_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *args, **kwargs: tmp_path / "Library" / args[0])
    assert default_memory_path() == tmp_path / "Library/pad-langchain/memory"
    earlier = tmp_path / ".local/share/pad-langchain/memory"
    earlier.mkdir(parents=True)
    assert default_memory_path() == earlier
    monkeypatch.setenv("XDG_DATA_HOME", "~/data")  # the specification wants an absolute path; earlier versions took it
    assert default_memory_path() == tmp_path / "Library/pad-langchain/memory"
    (tmp_path / "data/pad-langchain/memory").mkdir(parents=True)
    assert default_memory_path() == tmp_path / "data/pad-langchain/memory"


def command(args, said="", **environment):
    """The command in a process of its own, as bytes."""
    return subprocess.run(
        [sys.executable, "-c", "from pad_langchain.cli.main import app; app()", *args],
        input=said.encode(),
        capture_output=True,
        timeout=300,
        env={**os.environ, **environment},
    )


NOBODY = {"HOME": "/proc/nohome", "XDG_DATA_HOME": "", "XDG_CACHE_HOME": "", "HF_HOME": "", "PAD_MEMORY": ""}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
def test_a_home_that_cannot_be_written_is_said_and_a_conversation_goes_on():
    chat = command(["chat", "--model", "pad-demo", "--max-tokens", "4"], "hi\n/prefer be concise\n", **NOBODY)
    assert chat.returncode == 0, chat.stderr
    assert b"note: The memory cannot be kept in '/proc/nohome/" in chat.stderr
    assert b"What is learned now is gone at the end." in chat.stderr
    assert b"Noted. Next answers: be concise and brief (+1.0)" in chat.stdout
    kept = command(["feedback", "ada", "--prefer", "x"], **NOBODY)
    assert (kept.returncode, kept.stdout) == (2, b"")
    assert kept.stderr.startswith(b"error: The memory cannot be kept in '/proc/nohome/")
    named = command(["chat", "--model", "pad-demo", "--memory", "/proc/nohome/m"], "hi\n", **NOBODY)
    assert (named.returncode, named.stdout) == (2, b"")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_every_terminal_shows_what_it_can(encoding, tmp_path):
    where = {"PYTHONIOENCODING": encoding, "PAD_MEMORY": str(tmp_path / "m"), "COLUMNS": "200"}
    said = "/prefer be concise, señor 日本 🙂\nhi 🙂\n/profile\n/why\n/help\n/nonsense 🙂\n"
    chat = command(["chat", "--model", "pad-demo", "--echo", "--max-tokens", "4"], said, **where)
    assert b"Traceback" not in chat.stderr
    assert chat.stderr.startswith(b"error: There is no command /nonsense")
    assert "me> hi" in chat.stdout.decode(encoding)
    for args in (["memory", "show", "me", "--events"], ["chat", "--help"]):
        shown = command(args, **where)
        assert (shown.returncode, b"Traceback" in shown.stderr) == (0, False)
        shown.stdout.decode(encoding)
    # What is read back loses nothing, and beyond ASCII what is typed is read as UTF-8.
    (tmp_path / "me.json").write_bytes(command(["memory", "export", "me"], **where).stdout)
    other = [*"memory import".split(), str(tmp_path / "me.json"), "--memory", str(tmp_path / "m2")]
    assert command(other, **where).stdout.startswith(b"added 1 of")
    typed = "señor 日本 🙂" if encoding == "ascii" else "señor 日本 🙂".encode().decode("latin-1")
    assert typed in json.dumps(json.loads((tmp_path / "me.json").read_text("utf-8")), ensure_ascii=False)
