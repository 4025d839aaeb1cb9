"""Scores against sums written out plainly, both kinds, all ways to load them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Recommended, Request, WeightedPreference
from pad_langchain.errors import ContextLengthError, IncompatibleModelError, InvalidRequestError, ModelLoadError
from pad_langchain.persrm import hidden as hidden_module
from pad_langchain.persrm import token_rewards as scoring_module
from pad_langchain.persrm.build import load_pair
from pad_langchain.persrm.files import TextConfig
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.testing import TinyPair

PAIRS = [
    ("explain entropy", "it is the answer to a question"),
    ("why?", "because"),
    ("who are you and what do you do?", "I am a list of examples, " * 4),
    ("say nothing", ""),
]
PREFERENCES = ["be concise", "use a formal tone", "tell jokes"]
PERSRM_PROMPT = (
    "[Guidelines] Your task is to generate response by considering the following principle. "
    "[Principles] {} [Instruction] {}"
)


def ids_of(tokenizer: Any, user: str, response: str) -> tuple[list[int], list[int]]:
    prompt = f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    encode = tokenizer.encode
    return encode(prompt, add_special_tokens=False), [
        *encode(response, add_special_tokens=False),
        tokenizer.eos_token_id,
    ]


def total(model: Any, prompt: list[int], response: list[int], change: Any = None) -> float:
    """Σ_t log p(response token), one position at a time, the hidden state changed on its way to the head."""
    hidden_TD = model.model(input_ids=torch.tensor([prompt + response]), use_cache=False).last_hidden_state[0]
    summed = 0.0
    for place, token in enumerate(response, len(prompt)):
        hidden_D = hidden_TD[place - 1]
        logits = model.lm_head(hidden_D if change is None else change(hidden_D))
        summed += float(logits.log_softmax(-1)[token])
    return summed


def test_a_head_scores_log_ratios_over_the_full_vocabulary(pair: TinyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    persrm = PersRM(pair.model, pair.tokenizer, head=pair.head, embedder=pair.embedder)
    expected = np.zeros((len(PAIRS), len(PREFERENCES)))
    with torch.no_grad():
        for n, (user, response) in enumerate(PAIRS):
            prompt, answer = ids_of(pair.tokenizer, user, response)
            for p, text in enumerate(PREFERENCES):
                gate = pair.head.gates(torch.from_numpy(pair.embedder.embed([text]))[0])
                steered = total(
                    pair.model, prompt, answer, lambda h, g=gate: h + pair.head.V_DR @ ((pair.head.U_RD @ h) * g)
                )
                expected[n, p] = steered - total(pair.model, prompt, answer)
    scores = persrm.score_many(PAIRS, PREFERENCES)
    assert scores == pytest.approx(expected, abs=2e-3)
    assert np.abs(scores).max() > 1
    # one at a time, as a memory calls it; by embeddings; in small blocks; as a conversation
    assert persrm(*PAIRS[2], PREFERENCES) == pytest.approx(scores[2], abs=1e-3)
    assert persrm.score(*PAIRS[0], pair.embedder.embed(PREFERENCES)) == pytest.approx(scores[0], abs=1e-3)
    monkeypatch.setattr(scoring_module, "LOGITS_AT_ONCE", 4000)
    assert persrm.score_many(PAIRS, PREFERENCES) == pytest.approx(scores, abs=1e-3)
    conversation = [{"role": "user", "content": PAIRS[0][0]}]
    assert persrm.score(conversation, PAIRS[0][1], PREFERENCES) == pytest.approx(scores[0], abs=1e-3)
    assert persrm.score_many([], PREFERENCES).shape == (0, 3)
    assert persrm.score(*PAIRS[0], []).shape == (0,)


@pytest.mark.parametrize("against", ["own backbone", "base"])
def test_a_text_persrm_scores_log_ratios(pair: TinyPair, text_parts: tuple[Any, torch.nn.Linear], against: str) -> None:
    model, value_head = text_parts
    engine = TorchEngine(pair.model, pair.tokenizer)
    reference = engine.base if against == "base" else None
    persrm = PersRM(model, pair.tokenizer, value_head=value_head, reference=reference)
    expected = np.zeros((len(PAIRS), len(PREFERENCES)))
    with torch.no_grad():
        for n, (user, response) in enumerate(PAIRS):
            plain, answer = ids_of(pair.tokenizer, user, response)
            for p, text in enumerate(PREFERENCES):
                told, _ = ids_of(pair.tokenizer, PERSRM_PROMPT.format(text, user), response)
                expected[n, p] = total(model, told, answer, lambda h: value_head.weight @ h + value_head.bias)
                expected[n, p] -= total(pair.model, plain, answer) if reference else total(model, told, answer)
    scores = persrm.score_many(PAIRS, PREFERENCES)
    assert scores == pytest.approx(expected, abs=2e-3)
    assert np.abs(scores).max() > 1
    with pytest.raises(InvalidRequestError, match="texts"):
        persrm.score("x", "y", pair.embedder.embed(PREFERENCES))


@pytest.mark.parametrize("layout", ["value_head.safetensors", "value_head.bin", "inside the weights"])
def test_the_authors_layouts_load(
    pair: TinyPair, text_parts: tuple[Any, torch.nn.Linear], tmp_path: Path, layout: str
) -> None:
    model, value_head = text_parts
    original = PersRM(model, pair.tokenizer, value_head=value_head)
    original.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "value_head.safetensors")
    assert set(tensors) == {"v_head.summary.weight", "v_head.summary.bias"}
    if layout != "value_head.safetensors":
        (tmp_path / "value_head.safetensors").unlink()
        if layout == "value_head.bin":
            torch.save(tensors, tmp_path / "value_head.bin")
        else:
            weights = load_file(tmp_path / "model.safetensors")
            save_file(weights | tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = PersRM.from_pretrained(tmp_path, device="cpu")
    assert loaded.kind == "text"
    assert loaded.score_many(PAIRS, PREFERENCES) == pytest.approx(original.score_many(PAIRS, PREFERENCES), abs=1e-4)
    # and it guides
    request = Request(
        messages=[{"role": "user", "content": "hi"}], preferences=[WeightedPreference("be kind")], max_tokens=8
    )
    with TorchEngine(pair.model, pair.tokenizer, original.as_guide()) as engine:
        expected = engine.submit(request).result(60).token_ids
    loaded = load_pair(pair.model, tmp_path, tokenizer=pair.tokenizer, device="cpu")
    with loaded.engine as engine:
        assert engine.submit(request).result(60).token_ids == expected
        assert loaded.persrm is not None
        assert loaded.persrm.reference is engine.base


def test_sharded_weights_load_with_the_value_head_in_any_shard(
    pair: TinyPair, text_parts: tuple[Any, torch.nn.Linear], tmp_path: Path
) -> None:
    original = PersRM(text_parts[0], pair.tokenizer, value_head=text_parts[1], config=TextConfig(alpha=0.3, beta=2.0))
    original.save_pretrained(tmp_path, max_shard_size="40KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    tensors = load_file(tmp_path / "value_head.safetensors")
    (tmp_path / "value_head.safetensors").unlink()
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    for (key, tensor), shard in zip(tensors.items(), (shards[0], shards[-1]), strict=True):
        save_file(load_file(shard) | {key: tensor}, shard, metadata={"format": "pt"})
        index["weight_map"][key] = shard.name
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    loaded = PersRM.from_pretrained(tmp_path, device="cpu")
    assert loaded.score_many(PAIRS, PREFERENCES) == pytest.approx(original.score_many(PAIRS, PREFERENCES), abs=1e-4)
    assert loaded.as_guide().recommended == Recommended(beta=2.0, alpha=0.3)


def test_scores_come_token_by_token(pair: TinyPair, text_parts: tuple[Any, torch.nn.Linear]) -> None:
    for persrm in (
        PersRM(pair.model, pair.tokenizer, head=pair.head, embedder=pair.embedder),
        PersRM(text_parts[0], pair.tokenizer, value_head=text_parts[1]),
    ):
        detail = persrm.score_tokens(*PAIRS[0], PREFERENCES)
        assert "".join(detail.tokens) == PAIRS[0][1] + "<|im_end|>"
        assert detail.rewards_PT.shape == (3, len(detail.tokens))
        assert detail.rewards_PT.sum(1) == pytest.approx(persrm.score(*PAIRS[0], PREFERENCES), abs=1e-4)
        # a token's reward depends on what was said before it alone
        longer = persrm.score_tokens(PAIRS[0][0], PAIRS[0][1] + " and more", PREFERENCES)
        assert longer.rewards_PT[:, : len(detail.tokens) - 1] == pytest.approx(detail.rewards_PT[:, :-1], abs=1e-4)
    assert persrm.score_tokens("a", "b", []).rewards_PT.shape[0] == 0


def test_preferences_share_what_their_prompts_begin_with(
    pair: TinyPair, text_parts: tuple[Any, torch.nn.Linear], monkeypatch: pytest.MonkeyPatch
) -> None:
    persrm = PersRM(text_parts[0], pair.tokenizer, value_head=text_parts[1])
    talk = [
        {"role": "user", "content": "tell me of entropy " * 3},
        {"role": "assistant", "content": "it is a list of examples"},
        {"role": "user", "content": "and in short?"},
    ]
    pairs = [(talk, "disorder"), ("why?", "because it is"), (talk, "it is the answer")]
    widths: list[int] = []
    hook = text_parts[0].model.embed_tokens.register_forward_hook(lambda _, args, out: widths.append(args[0].numel()))
    shared = persrm.score_many(pairs, PREFERENCES)
    saved = sum(widths)
    widths.clear()
    monkeypatch.setattr(hidden_module, "WORTH_SHARING", 10_000)
    alone = persrm.score_many(pairs, PREFERENCES)
    hook.remove()
    assert shared == pytest.approx(alone, abs=1e-3)
    assert saved < 0.6 * sum(widths)


def test_forwards_keep_within_their_tokens(
    pair: TinyPair, text_parts: tuple[Any, torch.nn.Linear], monkeypatch: pytest.MonkeyPatch
) -> None:
    persrm = PersRM(text_parts[0], pair.tokenizer, value_head=text_parts[1])
    pairs = [("why?", "because it is"), ("what is entropy?", "disorder " * 9), ("a", "b")]
    whole = persrm.score_many(pairs, PREFERENCES)
    monkeypatch.setattr(hidden_module, "TOKENS_AT_ONCE_CPU", 100 / torch.get_num_threads())
    sizes: list[tuple[int, int]] = []
    hook = text_parts[0].model.embed_tokens.register_forward_hook(lambda _, args, out: sizes.append(args[0].shape))
    parted = persrm.score_many(pairs, PREFERENCES)
    hook.remove()
    assert parted == pytest.approx(whole, abs=1e-3)
    assert len(sizes) > 6
    assert all(rows == 1 or rows * width <= 100 for rows, width in sizes)


def test_the_hub_gets_what_save_pretrained_writes(pair: TinyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    sent: dict[str, Any] = {}

    class Api:
        def __init__(self, token: str | None) -> None: ...

        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> str:
            sent["private"] = private
            return f"https://example.org/{repo_id}"

        def upload_folder(self, repo_id: str, folder_path: str) -> None:
            sent["files"] = {path.name for path in Path(folder_path).iterdir()}

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    persrm = PersRM(pair.model, pair.tokenizer, head=pair.head, embedder=pair.embedder)
    assert persrm.push_to_hub("me/persrm") == "https://example.org/me/persrm"
    assert sent == {"private": True, "files": {"persrm_head.json", "persrm_head.safetensors"}}


def test_a_head_folder_round_trips(pair: TinyPair, tmp_path: Path) -> None:
    original = PersRM(pair.model, pair.tokenizer, head=pair.head, embedder=pair.embedder)
    original.save_pretrained(tmp_path)
    loaded = PersRM.from_pretrained(tmp_path, base=pair.model, tokenizer=pair.tokenizer, embedder=pair.embedder)
    assert loaded.kind == "head"
    assert (loaded.score_many(PAIRS, PREFERENCES) == original.score_many(PAIRS, PREFERENCES)).all()
    with pytest.raises(InvalidRequestError, match="base="):
        PersRM.from_pretrained(tmp_path)


def test_what_does_not_load(pair: TinyPair, text_parts: tuple[Any, torch.nn.Linear], tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="No PersRM"):
        PersRM.from_pretrained(tmp_path)
    PersRM(text_parts[0], pair.tokenizer, value_head=text_parts[1]).save_pretrained(tmp_path)
    (tmp_path / "value_head.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelLoadError, match="does not read"):
        PersRM.from_pretrained(tmp_path)
    with pytest.raises(IncompatibleModelError, match="hidden size is 48"):
        PersRM(text_parts[0], pair.tokenizer, value_head=torch.nn.Linear(32, 32))


def test_a_response_beyond_the_context_is_refused(pair: TinyPair) -> None:
    persrm = PersRM(pair.model, pair.tokenizer, head=pair.head, embedder=pair.embedder)
    with pytest.raises(ContextLengthError, match="512"):
        persrm.score("hi", "word " * 600, PREFERENCES)
    with pytest.raises(InvalidRequestError, match=r"\[P, 16\]"):
        persrm.score("hi", "ho", np.zeros((2, 5), dtype=np.float32))


def test_scoring_while_the_engine_decodes_with_the_same_model(pair: TinyPair) -> None:
    loaded = load_pair(pair.model, pair.head, tokenizer=pair.tokenizer, embedder=pair.embedder)
    with loaded.engine as engine:
        assert loaded.persrm is not None
        request = Request(
            messages=[{"role": "user", "content": "hi"}], preferences=[WeightedPreference("be kind")], max_tokens=80
        )
        tokens, scores = engine.submit(request).result(60).token_ids, loaded.persrm.score_many(PAIRS, PREFERENCES)
        streams = [engine.submit(request) for _ in range(4)]
        for _ in range(10):
            assert loaded.persrm.score_many(PAIRS, PREFERENCES) == pytest.approx(scores, abs=1e-4)
        assert all(stream.result(60).token_ids == tokens for stream in streams)
