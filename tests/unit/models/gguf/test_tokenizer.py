"""Tokenizers from GGUF files: the ids of the models' own tokenizers, and of llama.cpp's reading of the same file."""

import ctypes
import json
import unicodedata
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from gguf_models import write_vocabulary
from pad_langchain.errors import IncompatibleModelError, ModelLoadError
from pad_langchain.models.gguf import GgufFile
from pad_langchain.models.gguf.splits import SPLITS

CORPUS = [
    *(Path(__file__).parents[4] / "README.md").read_text(encoding="utf-8").splitlines(),
    *["naïve café Zürich 東京は日本の首都です。 Привет, мир! 12345 67 8901 don't WE'LL I'M she's"] * 3,
    *["   indented    code\n\tdef f(x):\n\t\treturn x+1\r\n\r\n", "😀👍🏽 emoji 🇫🇷"] * 3,
]
TEXTS = [
    *["Hello, world!", "  two spaces", "trailing  ", "\n\n\nnew\n lines \n", "a\tb\t\tc", "", "x", " ", "    "],
    *["1234567 12,345.67 3.14 2026-11-30", "a  1 b   22\n  3.5", "x=  12;\n\t\t7", "don't WE'LL I'm she'D a' 's 'S ’s"],
    *[
        "naïve café",
        "cafe\u0301 nai\u0308ve",
        "東京は日本の首都です。",
        "Привет, мир!",
        "😀👍🏽 🇫🇷 x",
        "ﬁ Å ½ ² ١٢٣ ४५",
    ],
    *[
        "<|im_start|>user\nHi<|im_end|>\n",
        '<tool_call>{"a": 1}</tool_call>',
        "def f(x):\r\n\treturn x+1",
        "\u0000\u0001",
    ],
    *["HTTPServer XMLHttpRequest", "a/b//c ... !!! ???", "\u200bzero\u00a0width", "foo_bar__baz-qux", "A1b2 C3"],
    *[
        "the the  the   the",
        "<unk> </s> <s>",
        "▁under ▁▁x",
        "<start_of_turn>model\nOK<end_of_turn>",
        "<｜User｜>Hi",
        "unreachable",
    ],
]
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_2 = LLAMA_3.replace("{1,3}", "")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split_by(pattern: str) -> pre_tokenizers.PreTokenizer:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level])


def bpe(pre, normalizer=None, **settings) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre, decoders.ByteLevel()
    if normalizer is not None:
        backend.normalizer = normalizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [
        AddedToken(text, special=True, normalized=False) for text in ("<|endoftext|>", "<|im_end|>", "<｜User｜>")
    ]
    # "unreachable" can be taken whole only: no merges lead to it.
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=alphabet, special_tokens=special, show_progress=False, max_token_length=8
    )
    backend.train_from_iterator(CORPUS, trainer)
    vocabulary = backend.get_vocab(with_added_tokens=False)

    merges = [tuple(merge) for merge in json.loads(backend.to_str())["model"]["merges"]]
    vocabulary["unreachable"] = len(vocabulary)
    backend.model = models.BPE(vocab=vocabulary, merges=merges, **settings)
    backend.add_tokens([AddedToken(text, normalized=False) for text in ("<tool_call>", "</tool_call>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template="{{ messages[0].content }}",
        clean_up_tokenization_spaces=False,
    )


def sentencepiece(prefix: bool) -> PreTrainedTokenizerFast:
    special = ["<unk>", "<s>", "</s>", "<start_of_turn>", "<end_of_turn>"]
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True)
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=special + pieces, limit_alphabet=200, show_progress=False
    )
    learner.train_from_iterator(CORPUS, trainer)

    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(merge) for merge in learned["merges"]]
    backend = Tokenizer(
        models.BPE(vocab=learned["vocab"], merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    )
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    last = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last])
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template="{{ messages[0].content }}",
        clean_up_tokenization_spaces=False,
    )


BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
FAMILIES = {
    "gpt-2": lambda: bpe(BYTE_LEVEL),
    "smollm": lambda: bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTE_LEVEL])),
    "llama-bpe": lambda: bpe(split_by(LLAMA_3), ignore_merges=True),
    "qwen2": lambda: bpe(split_by(QWEN_2), normalizers.NFC()),
    "tekken": lambda: bpe(split_by(TEKKEN), ignore_merges=True),
    "gemma": lambda: sentencepiece(prefix=False),
    "mistral": lambda: sentencepiece(prefix=True),
}


def written(tokenizer: PreTrainedTokenizerFast, folder: Path, pre: str) -> Path:
    tokenizer.save_pretrained(folder / "own")
    return write_vocabulary(folder / "own", folder / "vocabulary.gguf", pre)


@pytest.fixture(scope="module")
def llama_cpp():
    module = pytest.importorskip("llama_cpp", reason="needs a llama.cpp binding: pip install pad-langchain[llama-cpp]")
    quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *said: None)
    module.llama_log_set(quiet, None)
    module.llama_backend_init()
    yield module
    module.llama_log_set(ctypes.cast(None, type(quiet)), None)


def llama_ids(llama_cpp, path: Path, texts: list[str]) -> list[list[int]]:
    """What llama.cpp makes of texts, control tokens read as such."""
    settings = llama_cpp.llama_model_default_params()
    settings.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), settings)
    assert model, f"llama.cpp does not read {path}"
    vocabulary, found = llama_cpp.llama_model_get_vocab(model), []
    for text in texts:
        data = text.encode()
        room = (llama_cpp.llama_token * (2 * len(data) + 16))()
        count = llama_cpp.llama_tokenize(vocabulary, data, len(data), room, len(room), False, True)
        found.append(list(room[:count]))
    llama_cpp.llama_model_free(model)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_files_tokenizer_is_its_models_own(family, tmp_path):
    own = FAMILIES[family]()
    read = GgufFile(written(own, tmp_path, family)).tokenizer
    assert read.get_vocab() == own.get_vocab()
    for text in TEXTS:
        ids = own.encode(text, add_special_tokens=False)
        assert read.encode(text, add_special_tokens=False) == ids
        assert read.decode(ids) == own.decode(ids)
    assert read.special_tokens_map == own.special_tokens_map
    messages = [{"role": "user", "content": "Hello <|im_end|>"}]
    rendered = [each.apply_chat_template(messages, sanitize_control_tokens=True) for each in (read, own)]
    assert rendered[0]["input_ids"] == rendered[1]["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_reads_the_same_ids_from_the_file(family, tmp_path, llama_cpp):
    path = written(FAMILIES[family](), tmp_path, family)
    read = GgufFile(path).tokenizer
    # Qwen's own tokenizer composes characters first. llama.cpp does not: the one difference here.
    texts = [unicodedata.normalize("NFC", text) if family == "qwen2" else text for text in TEXTS]
    theirs = llama_ids(llama_cpp, path, texts)
    assert [read.encode(text, add_special_tokens=False) for text in texts] == theirs


@pytest.mark.parametrize("pre", SPLITS)
def test_every_name_of_a_split_splits_as_in_llama_cpp(pre, tmp_path, llama_cpp):
    merged = bpe(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))  # its merges cross all borders
    path = written(merged, tmp_path, pre)
    texts = [unicodedata.normalize("NFC", text) for text in TEXTS]
    read = GgufFile(path).tokenizer
    for text, ids in zip(texts, llama_ids(llama_cpp, path, texts), strict=True):
        assert read.convert_ids_to_tokens(read.encode(text, add_special_tokens=False)) == read.convert_ids_to_tokens(
            ids
        )


def broken(folder: Path, **changes) -> Path:
    """A vocabulary's file with other values under keys of its tokenizer; None leaves one out."""
    bpe(BYTE_LEVEL).save_pretrained(folder / "own")
    said = {f"tokenizer.ggml.{name}": value for name, value in changes.items()}
    return write_vocabulary(folder / "own", folder / "broken.gguf", metadata=said)


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"tokens": None}, ModelLoadError, "has no tokenizer"),
        ({"merges": None}, ModelLoadError, "has no merges"),
        ({"token_type": [1, 1, 1]}, ModelLoadError, "contradicts itself: .* 3 kinds"),
        ({"tokens": ["a", "b", "a"], "token_type": None}, ModelLoadError, "3 tokens of which 2 differ"),
        ({"tokens": ["a", "b"], "token_type": None}, ModelLoadError, "contradicts itself"),  # the merges need others
        (
            {"pre": "martian"},
            IncompatibleModelError,
            "is called 'martian'.* llama.cpp may know it.*smollm",
        ),
        ({"pre": None}, IncompatibleModelError, "convert the model again"),
        ({"model": "bert"}, IncompatibleModelError, r"of kind 'bert'. Those of kind \['gpt2', 'llama'\]"),
        ({"model": "llama"}, ModelLoadError, "has no score for each token"),
    ],
)
def test_a_tokenizer_that_cannot_be_made_is_refused_by_name(changes, kind, says, tmp_path):
    with pytest.raises(kind, match=says):
        GgufFile(broken(tmp_path, **changes)).tokenizer  # noqa: B018


def test_rows_that_only_fill_the_matrices_are_no_tokens(tmp_path):
    own = bpe(BYTE_LEVEL)
    own.save_pretrained(tmp_path / "own")
    read = GgufFile(write_vocabulary(tmp_path / "own", tmp_path / "padded.gguf", vocab_size=2000)).tokenizer
    assert read.get_vocab() == own.get_vocab()
    assert len(read) == len(own)
