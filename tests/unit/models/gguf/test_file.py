"""GGUF files: what is read of them, and what is refused before anything loads."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from gguf_models import KINDS, to_gguf
from pad_langchain.errors import IncompatibleModelError, ModelLoadError
from pad_langchain.models.gguf import GgufFile, find_gguf
from pad_langchain.testing import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("gguf") / "own"
    tiny_model().save_pretrained(place)
    tiny_tokenizer().save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def path(own_folder) -> Path:
    return to_gguf(own_folder, own_folder.parent / "tiny.gguf")


def test_a_file_says_what_its_model_is(path):
    file = GgufFile(path)
    assert (file.architecture, file.hidden_size, file.context) == ("llama", 32, 512)
    assert (file.vocab_size, file.size) == (tiny_model().config.vocab_size, path.stat().st_size)
    assert file.end_tokens == {tiny_tokenizer().eos_token_id}
    assert file.metadata["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert file.metadata["tokenizer.ggml.tokens"][:2] == ["<|endoftext|>", "<|im_start|>"]


@pytest.mark.parametrize(("kind", "error"), [("f32", 0.0), ("f16", 1e-3), ("q8_0", 0.01), ("q4_0", 0.2), ("q4_1", 0.2)])
def test_rows_of_the_output_matrix_are_dequantised(kind, error, own_folder, tmp_path):
    assert set(KINDS) == {"f32", "f16", "q8_0", "q4_0", "q4_1"}
    file = GgufFile(to_gguf(own_folder, tmp_path / "tiny.gguf", kind))
    ids = np.array([5, 0, 399, 5])
    rows, own = file.output_rows(ids), tiny_model().lm_head.weight[ids].detach().numpy()
    assert (rows.dtype, rows.shape) == (np.float32, (4, 32))
    assert np.linalg.norm(rows - own) <= error * np.linalg.norm(own)
    np.testing.assert_array_equal(rows[0], rows[3])
    assert file.output_bias() is None
    with pytest.raises(IndexError):
        file.output_rows(np.array([file.vocab_size]))


def test_a_tied_matrix_is_the_embeddings(tmp_path):
    model = tiny_model()
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path / "own")
    tiny_tokenizer().save_pretrained(tmp_path / "own")
    file = GgufFile(to_gguf(tmp_path / "own", tmp_path / "tied.gguf"))
    assert "output.weight" not in file.tensors
    np.testing.assert_array_equal(file.output_rows(np.arange(3)), model.model.embed_tokens.weight[:3].detach().numpy())


def test_several_files_are_one_model(own_folder, path, tmp_path):
    first = to_gguf(own_folder, tmp_path / "tiny.gguf", split=5)
    assert first.name == "tiny-00001-of-00005.gguf"
    whole, file = GgufFile(path), GgufFile(tmp_path / "tiny-00003-of-00005.gguf")
    assert file.path == first
    assert len(file.parts) == 5
    assert file.tensors.keys() == whole.tensors.keys()
    for name in ("token_embd.weight", "output.weight", "blk.1.ffn_down.weight"):
        np.testing.assert_array_equal(file.floats(name), whole.floats(name))
    (tmp_path / "tiny-00004-of-00005.gguf").unlink()
    with pytest.raises(ModelLoadError, match="tiny-00004-of-00005"):
        GgufFile(first)
    first.rename(tmp_path / "alone.gguf")
    with pytest.raises(ModelLoadError, match=r"is one of 5 files, which have to be named NAME-00001-of-00005\.gguf"):
        GgufFile(tmp_path / "alone.gguf")


def test_a_name_stands_for_a_file_or_for_the_one_in_a_folder(own_folder, path, tmp_path):
    assert find_gguf(path) == path
    assert find_gguf(own_folder) is None  # it has a config.json
    assert find_gguf("org/model") is None
    assert find_gguf(tmp_path) is None
    shutil.copy(path, tmp_path / "mmproj-tiny.gguf")
    assert find_gguf(tmp_path) is None
    one = Path(shutil.copy(path, tmp_path / "one.gguf"))
    assert find_gguf(tmp_path) == one
    other = Path(shutil.copy(path, tmp_path / "no_ending"))
    assert find_gguf(other) == other
    shutil.copy(path, tmp_path / "two.gguf")
    with pytest.raises(ModelLoadError, match=r"several GGUF models: one\.gguf, two\.gguf"):
        find_gguf(tmp_path)
    with pytest.raises(ModelLoadError, match=r"There is no GGUF file 'gone\.gguf'"):
        find_gguf("gone.gguf")


def test_parts_in_a_folder_count_as_one_model(own_folder, tmp_path):
    first = to_gguf(own_folder, tmp_path / "tiny.gguf", split=5)
    assert find_gguf(tmp_path) == find_gguf(tmp_path / "tiny-00002-of-00005.gguf") == first


def written(folder: Path, data: bytes) -> Path:
    place = folder / "bad.gguf"
    place.write_bytes(data)
    return place


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: b"", "does not open"),
        (lambda data: b"GG", "begins with b'GG'"),
        (lambda data: b"PK\3\4" + data[4:], r"begins with b'PK\\x03\\x04' and not with b'GGUF'"),
        (lambda data: data[:4] + struct.pack("<I", 1) + data[8:], "is of GGUF version 1; versions 2 and 3"),
        (lambda data: data[:4] + struct.pack(">I", 3) + data[8:], "written for big-endian machines"),
        (lambda data: data[:6], "ends or breaks within its header"),
        (lambda data: data[:500], "ends or breaks within its header"),
        (lambda data: data[:-100], "is cut: its tensors need"),
        (lambda data: data[:8] + struct.pack("<QQ", 2**63, 3) + data[24:], "ends or breaks within its header"),
        (lambda data: data[:16] + struct.pack("<Q", 2**63) + data[24:], "ends or breaks within its header"),
        (lambda data: data[:24] + struct.pack("<Q", 2**62) + data[32:], "ends or breaks within its header"),
    ],
)
def test_a_file_that_is_broken_is_refused_by_what_is_wrong(change, says, path, tmp_path):
    with pytest.raises(ModelLoadError, match=says):
        GgufFile(written(tmp_path, change(path.read_bytes())))


def test_any_cut_and_any_changed_byte_is_refused_or_read(path, tmp_path):
    """Nothing but our own errors comes out of a broken header."""
    data, chance = path.read_bytes(), np.random.default_rng(0)
    header = data.index(b"token_embd.weight") + 2000
    for place in chance.integers(0, header, 300):
        broken = bytearray(data)
        broken[place] ^= int(chance.integers(1, 256))
        for each in (bytes(broken), data[:place]):
            try:
                file = GgufFile(written(tmp_path, each))
                file.output_rows(np.arange(2))
                file.tokenizer  # noqa: B018
            except ModelLoadError:
                pass


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"general.architecture": None}, "'general.architecture' is None"),
        ({"llama.embedding_length": None}, "'llama.embedding_length' is None, and has to be of type int"),
        ({"llama.embedding_length": "wide"}, "is 'wide', and has to be of type int"),
    ],
)
def test_a_file_that_is_no_language_model_is_refused(changes, says, own_folder, tmp_path):
    with pytest.raises(ModelLoadError, match=says):
        GgufFile(to_gguf(own_folder, tmp_path / "bad.gguf", metadata=changes))


def test_an_output_matrix_of_another_width_is_refused(own_folder, tmp_path):
    file = GgufFile(to_gguf(own_folder, tmp_path / "bad.gguf", metadata={"llama.embedding_length": 64}))
    with pytest.raises(ModelLoadError, match="no output matrix of 64 columns"):
        file.output_rows(np.arange(2))
    assert issubclass(IncompatibleModelError, ModelLoadError)
