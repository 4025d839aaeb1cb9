"""Dequantised weights in the user's cache folder: made once, whole or not at all, listed and cleared."""

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from gguf_models import to_gguf
from pad_langchain.errors import IncompatibleModelError, ModelLoadError
from pad_langchain.models.gguf import GgufFile, clear_dequantised, dequantised, hashes, sha256_of, torch_folder
from pad_langchain.models.loading import context_size, load_causal_lm, load_tokenizer
from pad_langchain.testing import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def own_file(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("gguf")
    tiny_model().save_pretrained(place / "own")
    tiny_tokenizer().save_pretrained(place / "own")
    return to_gguf(place / "own", place / "tiny.gguf")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("PAD_LANGCHAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "_here", {})
    return tmp_path / "cache"


def folders(cache: Path) -> list[str]:
    return sorted(each.name for each in (cache / "gguf").glob("*") if each.is_dir())


def test_the_second_start_reads_what_the_first_one_made(own_file, cache, caplog):
    caplog.set_level(logging.INFO, logger="pad_langchain")
    first = torch_folder(GgufFile(own_file), torch.float32)
    assert [record.message.split()[0] for record in caplog.records] == ["Dequantising", "Dequantised"]
    made = {each.name: each.stat().st_mtime_ns for each in first.glob("*.safetensors")}
    caplog.clear()
    assert torch_folder(GgufFile(own_file), torch.float32) == first
    assert {each.name: each.stat().st_mtime_ns for each in first.glob("*.safetensors")} == made
    assert caplog.records == []
    assert first.name == f"{sha256_of(own_file)}-float32"


def test_a_file_is_hashed_once_for_its_path_size_and_time(own_file, cache, monkeypatch, tmp_path):
    read: list[int] = []
    digest = hashes.hashlib.file_digest

    def counted(*args):
        read.append(1)
        return digest(*args)

    monkeypatch.setattr(hashes.hashlib, "file_digest", counted)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(own_file.read_bytes())
    found = sha256_of(copy)
    hashes._here.clear()  # as in another process
    assert sha256_of(copy) == sha256_of(copy) == found
    assert len(read) == 1
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    assert sha256_of(copy) != found
    assert len(read) == 2
    (cache / "hashes.json").write_text("[1, 2")
    hashes._here.clear()
    assert sha256_of(copy) != found
    assert len(read) == 3


def test_a_folder_that_cannot_be_written_only_costs_the_hashing(own_file, monkeypatch):
    monkeypatch.setenv("PAD_LANGCHAIN_CACHE", "/proc/no/such/place")
    assert len(sha256_of(own_file)) == 64
    with pytest.raises(ModelLoadError, match=r"cannot be kept for torch in '/proc/no/such/place/gguf'.*llama-cpp"):
        torch_folder(GgufFile(own_file), torch.float32)


def test_the_same_bytes_elsewhere_are_the_same_model(own_file, cache, tmp_path):
    copy = tmp_path / "elsewhere.gguf"
    copy.write_bytes(own_file.read_bytes())
    assert torch_folder(GgufFile(own_file), torch.float32) == torch_folder(GgufFile(copy), torch.float32)
    assert torch_folder(GgufFile(own_file), torch.bfloat16).name.endswith("-bfloat16")
    assert len(folders(cache)) == 2


def test_without_room_there_is_a_clear_error_and_nothing_left(own_file, cache, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(ModelLoadError, match=r"0\.1 GB are needed and 0\.0 GB are free.*pad-langchain cache clear"):
        torch_folder(GgufFile(own_file), torch.float32)
    assert folders(cache) == []


FULL = """
import resource, sys, torch
from pad_langchain.errors import ModelLoadError
from pad_langchain.models.gguf import GgufFile, torch_folder
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # the disk refuses more in a file
try:
    torch_folder(GgufFile(sys.argv[1]), torch.float32)
except ModelLoadError as error:
    print("refused:", error)
"""


@pytest.mark.slow
def test_a_disk_that_refuses_leaves_nothing(own_file, cache):
    done = subprocess.run([sys.executable, "-c", FULL, str(own_file)], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("refused: The weights of"), done.stderr
    assert folders(cache) == []
    assert torch_folder(GgufFile(own_file), torch.float32).exists()


def test_a_model_that_is_refused_leaves_nothing(own_file, cache, tmp_path):
    odd = to_gguf(own_file.parent / "own", tmp_path / "odd.gguf", metadata={"llama.block_count": 1})
    with pytest.raises(IncompatibleModelError):
        torch_folder(GgufFile(odd), torch.float32)
    assert folders(cache) == []


def test_what_a_killed_process_left_is_removed(own_file, cache):
    name = f"{sha256_of(own_file)}-float32"
    left = cache / "gguf" / f"{name}.abc.partial"
    left.mkdir(parents=True)
    (left / "model-00000.safetensors").write_bytes(b"half")
    torch_folder(GgufFile(own_file), torch.float32)
    assert folders(cache) == [name]


RACE = """
import sys, torch
from pad_langchain.models.gguf import GgufFile, torch_folder
print(torch_folder(GgufFile(sys.argv[1]), torch.float32))
"""


@pytest.mark.slow
def test_two_processes_make_it_once(own_file, cache):
    running = [
        subprocess.Popen([sys.executable, "-c", RACE, str(own_file)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert [Path(each).name for each in said] == folders(cache) == [f"{sha256_of(own_file)}-float32"]


def test_threads_make_it_once(own_file, cache, monkeypatch):
    from pad_langchain.models.gguf import weights

    written, write = [], weights.write_checkpoint
    monkeypatch.setattr(weights, "write_checkpoint", lambda *args: (written.append(1), write(*args)))
    threads = [threading.Thread(target=torch_folder, args=(GgufFile(own_file), torch.float32)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written == [1]


def test_the_cache_is_listed_and_cleared(own_file, cache):
    assert dequantised() == []
    assert clear_dequantised() == 0
    torch_folder(GgufFile(own_file), torch.bfloat16)
    folder = torch_folder(GgufFile(own_file), torch.float32)
    os.utime(folder / "source.json", (2e9, 2e9))
    kept = dequantised()
    assert [(one.dtype, one.source) for one in kept] == [("float32", str(own_file)), ("bfloat16", str(own_file))]
    assert kept[0].folder == folder
    (cache / "gguf" / f"{folder.name}.abc.partial").mkdir()
    assert clear_dequantised() >= sum(one.size for one in kept)
    assert folders(cache) == []
    assert dequantised() == []


def test_a_file_loads_where_a_models_folder_does(own_file, cache, tmp_path):
    model, tokenizer = load_causal_lm(own_file)
    own = tiny_model()
    ids_BT = torch.arange(5, 25)[None]
    torch.testing.assert_close(model(ids_BT).logits, own(ids_BT).logits, rtol=0, atol=1e-5)
    assert tokenizer.get_vocab() == load_tokenizer(str(own_file)).get_vocab() == tiny_tokenizer().get_vocab()
    assert tokenizer.chat_template == tiny_tokenizer().chat_template
    assert context_size(str(own_file)) == 512
    assert json.loads((next((cache / "gguf").glob("*/config.json"))).read_text())["max_position_embeddings"] == 512


def test_the_keyword_gguf_file_names_one_in_a_folder(own_file, cache, tmp_path):
    folder = tmp_path / "several"
    folder.mkdir()
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(own_file.read_bytes())
    model, tokenizer = load_causal_lm(str(folder), gguf_file="b.gguf")
    assert model.config.hidden_size == 32
    assert len(tokenizer) == len(tiny_tokenizer())
    assert context_size(str(folder), gguf_file="b.gguf") == 512
    with pytest.raises(ModelLoadError, match=r"several GGUF models: a\.gguf, b\.gguf"):
        load_causal_lm(str(folder))
    with pytest.raises(ModelLoadError, match=r"There is no GGUF file '.*c\.gguf'"):
        load_causal_lm(str(folder), gguf_file="c.gguf")
