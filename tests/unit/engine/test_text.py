"""Tokens to text: what the tokenizer decodes, as soon as it is certain; stop strings cut however the tokens fall."""

from __future__ import annotations

import os.path
from collections.abc import Collection, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from pad_langchain.engine.detokenize import REPLACEMENT, Detokenizer
from pad_langchain.testing import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
BACKEND = TOKENIZER.backend_tokenizer
SPECIAL = ("<s>", "</s>", "<pad>", "<|im_start|>")
BLANK = "\u2581"
WORDS = ("a", "b", "cat", "\u00e9", "\u732b", "\ufffd", ".", ",", "'", "n't", "\n", "1")


def _with_special(backend: Tokenizer) -> Tokenizer:
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    backend.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    return backend


def _byte_level() -> Tokenizer:
    """Tokens that are parts of characters, ends and beginnings of two together included."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    parts = [
        b"\xe2\x82",
        b"\xac\xe2",
        b"\x82\xac\xe2\x82",
        b"\xf0\x9f",
        b"\x98\x80",
        b"\xff\xfe",
        b"\xe2\x82\xac",
        b" cat",
    ]
    merged = ["".join(_letter(byte) for byte in part) for part in parts]
    backend = Tokenizer(models.BPE({token: index for index, token in enumerate([*letters, *merged])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return _with_special(backend)


def _letter(byte: int) -> str:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte) if byte in printable else chr(256 + [n for n in range(256) if n not in printable].index(byte))


def _byte_fallback(*more: Any) -> Tokenizer:
    """Llama 2, Mistral (with `Strip`) and Gemma (without)."""
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), BLANK, 2 * BLANK, BLANK + "cat", *WORDS]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    backend = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Replace(" ", BLANK)
    backend.decoder = decoders.Sequence([decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), *more])
    return _with_special(backend)


def _unigram(scheme: str) -> Tokenizer:
    words = ["<unk>", BLANK, 2 * BLANK, BLANK + "cat", BLANK + "a", *WORDS]
    backend = Tokenizer(models.Unigram([(word, -float(n)) for n, word in enumerate(words)], 0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return _with_special(backend)


def _word_piece(cleanup: bool) -> Tokenizer:
    words = ["[UNK]", *WORDS, *(f"##{word}" for word in WORDS), "do", "not", "'s", "##"]
    backend = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece(cleanup=cleanup)
    return _with_special(backend)


def _words(decoder: Any) -> Tokenizer:
    """Each token an ordinary word, or part of one; no decoder puts blanks between them."""
    words = [*WORDS, *(f"{word}</w>" for word in WORDS)]
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="a"))
    if decoder is not None:
        backend.decoder = decoder
    return _with_special(backend)


BACKENDS = {
    "byte-level": _byte_level(),
    "byte fallback": _byte_fallback(),
    "byte fallback, no leading space": _byte_fallback(decoders.Strip(" ", 1, 0)),
    "byte fallback, no three leading spaces": _byte_fallback(decoders.Strip(" ", 3, 0)),
    "unigram": _unigram("always"),
    "unigram, first": _unigram("first"),
    "unigram, leading space": _unigram("never"),
    "word piece": _word_piece(cleanup=True),
    "word piece as it is": _word_piece(cleanup=False),
    "words": _words(None),
    "ends of words": _words(decoders.BPEDecoder()),
}
KNOWN = {name: Detokenizer(backend) for name, backend in BACKENDS.items()}


def _some_ids(name: str) -> st.SearchStrategy[list[int]]:
    """Tokens of every kind, with parts of characters, blanks and special tokens as often as all else."""
    backend = BACKENDS[name]
    vocabulary = backend.get_vocab()
    special = [vocabulary[token] for token in SPECIAL]
    single = {f"<0x{byte:02X}>" for byte in b"\n A\xe2\x82\xac\xf0\x9f\x98\x80\xff"}
    single |= {_letter(byte) for byte in b"\n A\xe2\x82\xac\xf0\x9f\x98\x80\xff"}
    parts = [index for token, index in vocabulary.items() if token in single or BLANK in token or token in WORDS]
    each = st.one_of(st.sampled_from(sorted(vocabulary.values())), st.sampled_from(sorted(parts)))
    character = [vocabulary.get(f"<0x{byte:02X}>", vocabulary.get(_letter(byte), 0)) for byte in "\U0001f600".encode()]
    chunk = st.one_of(
        each.map(lambda token: [token]), st.just(character), st.sampled_from(special).map(lambda one: [one])
    )
    return st.lists(chunk, max_size=12).map(lambda chunks: [token for chunk in chunks for token in chunk])


@st.composite
def tokens_of_any_kind(draw: st.DrawFn) -> tuple[str, list[int]]:
    name = draw(st.sampled_from(sorted(BACKENDS)))
    return name, draw(_some_ids(name))


def ids_of(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def stream(
    ids: list[int],
    stop: tuple[str, ...] = (),
    tokens: Detokenizer | None = None,
    visible: Collection[int] = (),
) -> tuple[list[str], bool]:
    text = (tokens or Detokenizer(BACKEND)).stream(stop, visible)
    pieces = []
    for token_id in ids:
        piece, stopped = text.push(token_id)
        pieces.append(piece)
        assert stopped == text.stopped
        if stopped:
            break
    return [*pieces, text.flush()], text.stopped


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text up to the stop string that is complete first, of two the longer one."""
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    return (text[: min(found)[1]], True) if found else (text, False)


@given(tokens_of_any_kind())
def test_pieces_join_to_what_the_tokenizer_decodes(case: tuple[str, list[int]]) -> None:
    name, ids = case
    pieces, stopped = stream(ids, tokens=KNOWN[name])
    assert "".join(pieces) == BACKENDS[name].decode(ids, skip_special_tokens=True)
    assert not stopped


@given(tokens_of_any_kind(), st.sets(st.sampled_from(SPECIAL)))
def test_visible_special_tokens_stay_where_they_are(case: tuple[str, list[int]], shown: set[str]) -> None:
    name, ids = case
    special = {BACKENDS[name].token_to_id(token): token for token in SPECIAL}
    visible = {index for index, token in special.items() if token in shown}
    kept = [token for token in ids if token in visible or token not in special]
    joined = "".join(stream(ids, tokens=KNOWN[name], visible=visible)[0])
    assert joined == BACKENDS[name].decode(kept, skip_special_tokens=False)


@given(tokens_of_any_kind(), st.data())
def test_stop_strings_cut_the_decoding(case: tuple[str, list[int]], data: st.DataObject) -> None:
    name, ids = case
    whole = BACKENDS[name].decode(ids, skip_special_tokens=True)
    start = data.draw(st.integers(0, max(0, len(whole) - 1)))
    within = whole[start : start + data.draw(st.integers(1, 3))] or "z"
    stops = (within, data.draw(st.sampled_from(["zz", REPLACEMENT, "a", " ", "\n"])))
    pieces, stopped = stream(ids, stops, KNOWN[name])
    assert ("".join(pieces), stopped) == cut(whole, stops)


@given(tokens_of_any_kind())
def test_what_is_certain_is_given_at_once(case: tuple[str, list[int]]) -> None:
    """Text that is the same whatever comes next is out: ends, each token, and bytes that make or break a character."""
    name, ids = case
    backend = BACKENDS[name]
    vocabulary = backend.get_vocab()

    def written(text: bytes) -> list[int]:
        found = (vocabulary.get(f"<0x{byte:02X}>", vocabulary.get(_letter(byte))) for byte in text)
        return [token for token in found if token is not None]

    after = [[], [vocabulary["a"]], [vocabulary.get("cat", 0)], *map(written, (b"\xff", b"\x82\xac", b"\x9f\x98\x80"))]
    after += [written(b"\x82"), written(b"\x98\x80"), written(b"\x80"), written(b"\xff\xff\xff")]
    text, given_so_far = KNOWN[name].stream(), ""
    for place, token in enumerate(ids, 1):
        given_so_far += text.push(token)[0]
        if not BACKENDS[name].decode(ids[:place], skip_special_tokens=True):
            continue  # blanks that a decoder drops at the beginning are nothing to give
        futures = [backend.decode([*ids[:place], *more], skip_special_tokens=True) for more in after]
        common = os.path.commonprefix(futures)  # noqa: RUF071
        assert len(given_so_far) >= len(common), (ids[:place], given_so_far, common)


def test_a_broken_run_of_bytes_costs_no_more_however_long() -> None:
    """The work of a step must not grow with the tokens before it; counted in tokens decoded, not in seconds."""
    decoded = 0

    class Counting:
        def __init__(self, inner: Tokenizer) -> None:
            self._inner = inner

        def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
            nonlocal decoded
            decoded += len(ids)
            return self._inner.decode(ids, skip_special_tokens=skip_special_tokens)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    for name in ("byte-level", "byte fallback", "unigram", "word piece", "ends of words"):
        vocabulary = BACKENDS[name].get_vocab()
        tokens = [vocabulary.get("<0xE2>", vocabulary.get(_letter(0xE2), vocabulary["a"]))]
        text = Detokenizer(Counting(BACKENDS[name])).stream()
        text.push(tokens[0])
        decoded = 0
        for token in tokens * 2000:
            text.push(token)
        assert decoded <= 3 * 2000, name


@pytest.mark.parametrize("name", ["byte-level", "byte fallback", "byte fallback, no leading space"])
@pytest.mark.parametrize(
    "text", ["caf\u00e9", "ok \U0001f600 good", "\u65e5\u672c\u306e\u732b", "\U0001f469\u200d\U0001f469", "a\tb\n"]
)
def test_characters_of_several_byte_tokens_come_whole(name: str, text: str) -> None:
    backend = BACKENDS[name]
    ids = backend.encode(text, add_special_tokens=False).ids
    assert "".join(stream(ids, tokens=KNOWN[name])[0]) == backend.decode(ids) == text


@given(st.text(max_size=40))
def test_pieces_join_to_the_text(text: str) -> None:
    pieces, stopped = stream(ids_of(text), visible=range(len(TOKENIZER)))
    assert "".join(pieces) == text
    assert not stopped


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40))
def test_any_tokens_give_their_decoding(ids: list[int]) -> None:
    """Random tokens are mostly invalid UTF-8; streaming must still agree with decoding all at once."""
    assert "".join(stream(ids)[0]) == BACKEND.decode(ids, skip_special_tokens=True)


def test_no_half_characters() -> None:
    ids = ids_of("a日本🙂b")
    pieces, _ = stream(ids)
    assert len(ids) > 8
    assert [piece for piece in pieces if piece] == ["a", "日", "本", "🙂", "b"]


def test_special_tokens_stay_in_the_text_where_they_are_asked_for() -> None:
    ids = ids_of("<tool_call>\n{}</tool_call><|im_start|>")
    calls = [TOKENIZER.convert_tokens_to_ids(token) for token in ("<tool_call>", "</tool_call>")]
    assert "".join(stream(ids, visible=calls)[0]) == "<tool_call>\n{}</tool_call>"
    assert "".join(stream(ids)[0]) == "\n{}"


def test_a_token_by_itself_is_shown_even_if_the_text_leaves_it_out() -> None:
    text = Detokenizer(BACKEND).stream()
    special, letter, broken = (TOKENIZER.convert_tokens_to_ids(token) for token in ("<|im_start|>", "a", _letter(0xE2)))
    assert [text.of(token) for token in (special, letter, broken)] == ["<|im_start|>", "a", REPLACEMENT]
    assert (text.push(special), text.push(letter)) == (("", False), ("a", False))


def test_a_stop_string_may_name_a_special_token() -> None:
    ids = ids_of("one<|im_start|>two")
    assert ("".join(stream(ids, ("<|im_start|>",))[0]), stream(ids, ("<|im_start|>",))[1]) == ("one", True)
    assert "".join(stream(ids, ("<|im_start|>user",))[0]) == "one<|im_start|>two"


@given(st.text("ab<c", max_size=20), st.lists(st.text("ab<c", min_size=1, max_size=4), min_size=1, max_size=3))
def test_stop_cuts_at_the_first_complete_stop_string(text: str, stops: list[str]) -> None:
    pieces, stopped = stream([token for letter in text for token in ids_of(letter)], tuple(stops))
    assert ("".join(pieces), stopped) == cut(text, stops)


def test_text_that_may_become_a_stop_string_is_held_back() -> None:
    text = Detokenizer(BACKEND).stream(("END",))
    assert [text.push(token)[0] for letter in "xENxE" for token in ids_of(letter)] == ["x", "", "", "ENx", ""]
    assert text.flush() == "E"


@pytest.mark.parametrize("stop", ["answer is", "s", "r is c"])
def test_stop_string_inside_and_across_tokens(stop: str) -> None:
    whole = "the answer is clear"
    pieces, stopped = stream(ids_of(whole), (stop,))
    assert stopped
    assert "".join(pieces) == whole[: whole.index(stop)]
