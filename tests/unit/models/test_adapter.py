"""A LoRA on the base's own backbone: one forward for everybody, the same tokens as PEFT's merged model."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from naive_reference import NaiveText, naive_decode
from pad_langchain import ChatPAD
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError, ModelLoadError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.rows import Rows, Section
from pad_langchain.persrm.build import load_engine
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.testing import TinyPair, tiny_model
from parts import make_adapter

peft = pytest.importorskip("peft", reason="needs the extra [train]")

CONDITIONS = (
    (("be concise", 1.0),),
    (("be concise", 1.0), ("tell a joke or two", -0.5), ("use formal words", 1.5)),
)
GRID = list(itertools.product((0.0, 0.5, 1.5), (1, 10), (0.0, 0.02), ("base", "reference"), CONDITIONS))


def engine_on(pair: TinyPair, folder: Path, **kwargs: Any) -> TorchEngine:
    return load_engine(pair.model, folder, tokenizer=pair.tokenizer, device="cpu", **kwargs)


def request_of(index: int, settings: tuple[Any, ...]) -> Request:
    beta, k, alpha, reference, condition = settings
    return Request(
        messages=[{"role": "user", "content": "why is the sky " + "very " * (index % 5) + f"blue {index % 7}?"}],
        preferences=[WeightedPreference(text, weight) for text, weight in condition],
        beta=beta,
        top_k=k,
        alpha=alpha,
        reference=reference,
        combine="max" if index % 5 == 0 else "sum",
        max_tokens=3 + index % 7,
    )


def naive(pair: TinyPair, guide: NaiveText, request: Request) -> tuple[list[int], list[float]]:
    return naive_decode(
        pair.model,
        pair.tokenizer,
        str(request.messages[0]["content"]),
        guide,
        [(preference.text, preference.weight) for preference in request.preferences],
        beta=request.beta,
        k=request.top_k,
        alpha=request.alpha,
        reference=request.reference,
        combine=request.combine,
        max_tokens=request.max_tokens,
    )


def test_every_setting_equals_the_naive_reference(pair: TinyPair, tmp_path: Path) -> None:
    """beta × k × alpha × reference × preferences, alone and in ragged batches that rows join late and leave early."""
    merged, value_head = make_adapter(pair, tmp_path)
    requests = [request_of(index, settings) for index, settings in enumerate(GRID)]
    expected = [naive(pair, NaiveText(merged, value_head, pair.model), request) for request in requests]
    for max_batch in (1, 5, 16):
        with engine_on(pair, tmp_path, max_batch=max_batch) as engine:
            streams = [engine.submit(request) for request in requests]
            for (tokens, rewards), stream, settings in zip(expected, streams, GRID, strict=True):
                done = stream.result(120)
                assert list(done.token_ids) == tokens, (max_batch, settings)
                assert [event.reward for event in done.events] == pytest.approx(rewards, abs=1e-3), settings
    # The comparison means something: the adapter changes what is said, and so does the reference.
    by_setting = {settings: tokens for settings, (tokens, _) in zip(GRID, expected, strict=True)}
    assert by_setting[1.5, 10, 0.0, "base", CONDITIONS[0]] != by_setting[0.0, 10, 0.0, "base", CONDITIONS[0]]
    rewards = {settings: rewards for settings, (_, rewards) in zip(GRID, expected, strict=True)}
    assert rewards[1.5, 10, 0.0, "base", CONDITIONS[0]] != rewards[1.5, 10, 0.0, "reference", CONDITIONS[0]]


@pytest.mark.parametrize(
    "config",
    [
        {"use_rslora": True, "r": 9},
        {"target_modules": ["q_proj", "up_proj", "down_proj"]},
        {"target_modules": ["v_proj"], "layers_to_transform": [1]},
        {"rank_pattern": {"k_proj": 2, "layers.1.mlp.up_proj": 6}, "alpha_pattern": {"o_proj": 1}},
    ],
)
def test_every_kind_of_plain_lora_equals_pefts_merge(pair: TinyPair, tmp_path: Path, config: dict[str, Any]) -> None:
    merged, _ = make_adapter(pair, tmp_path, value_head=False, **config)
    adapter = Adapter.from_pretrained(tmp_path, pair.model)
    ids_BT = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        plain_BTD = Backbone(pair.model).hidden(ids_BT)
        with adapter.on(1):
            half_BTD = pair.model.model(input_ids=ids_BT).last_hidden_state
        whole_BTD = Backbone(pair.model).hidden(ids_BT, adapter=adapter)
        gold_BTD = merged.model(input_ids=ids_BT).last_hidden_state
    assert torch.allclose(whole_BTD, gold_BTD, atol=1e-4)
    assert not torch.allclose(whole_BTD, plain_BTD, atol=1e-2)
    assert torch.equal(half_BTD[0], plain_BTD[0])  # the base's row is not touched
    assert torch.allclose(half_BTD[1], gold_BTD[1], atol=1e-4)
    request = request_of(0, (1.0, 10, 0.0, "reference", CONDITIONS[1]))
    identity = torch.nn.Linear(32, 32).requires_grad_(False)
    identity.weight.copy_(torch.eye(32))
    identity.bias.zero_()
    with engine_on(pair, tmp_path) as engine:
        tokens = list(engine.submit(request).result(60).token_ids)
    assert tokens == naive(pair, NaiveText(merged, identity, pair.model), request)[0]


def test_an_adapter_on_a_copied_model_acts_once(pair: TinyPair, tmp_path: Path) -> None:
    """A copy comes with the hooks of the model it was made of."""
    merged, _ = make_adapter(pair, tmp_path, value_head=False)
    first = Adapter.from_pretrained(tmp_path, pair.model)
    copied = copy.deepcopy(pair.model)
    ids_BT = torch.arange(12)[None]
    with torch.no_grad():
        plain_BTD = Backbone(pair.model).hidden(ids_BT)
        assert torch.equal(Backbone(copied).hidden(ids_BT, adapter=first), plain_BTD)  # it belongs to the other
        own = Adapter.from_pretrained(tmp_path, copied)
        gold_BTD = merged.model(input_ids=ids_BT).last_hidden_state
        assert torch.allclose(Backbone(copied).hidden(ids_BT, adapter=own), gold_BTD, atol=1e-4)
        assert torch.allclose(Backbone(first.merged(pair.model)).hidden(ids_BT), gold_BTD, atol=1e-4)
    assert own.folder == tmp_path


def test_base_and_reward_rows_share_one_forward(pair: TinyPair, tmp_path: Path) -> None:
    """One forward a step, whatever the preferences; the base's rows and its other users see nothing of the adapter."""
    make_adapter(pair, tmp_path)
    forwards = 0

    def count(*_: Any) -> None:
        nonlocal forwards
        forwards += 1

    plain = Request(messages=[{"role": "user", "content": "hi"}], max_tokens=9)
    with TorchEngine(pair.model, pair.tokenizer) as other:
        expected = other.submit(plain).result(60).token_ids
        with engine_on(pair, tmp_path) as engine:
            hook = pair.model.model.register_forward_hook(count)
            done = engine.submit(request_of(3, (1.0, 10, 0.0, "reference", CONDITIONS[1]))).result(60)
            hook.remove()
            assert forwards == len(done.token_ids) > 3
            streams = [
                side.submit(request)
                for side, request in ((other, plain), (engine, plain), (engine, request_of(6, GRID[-1])))
            ]
            assert [stream.result(60).token_ids for stream in streams[:2]] == [expected] * 2
            streams[2].result(60)


def test_self_guidance_rides_in_the_same_forward(pair: TinyPair) -> None:
    with load_engine(pair.model, "self", tokenizer=pair.tokenizer) as engine:
        forwards = engine.base.tally.forwards
        done = engine.submit(request_of(6, (1.0, 10, 0.0, "base", CONDITIONS[1]))).result(60)
        assert engine.base.tally.forwards - forwards == len(done.token_ids) > 3


def test_a_step_that_fails_leaves_the_rows_as_they_were(pair: TinyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Backbone(pair.model)
    with torch.inference_mode():
        rows, twin = (Rows(base, [[1, 2, 3], [4, 5]], [[6]]) for _ in range(2))
        last = pair.model.model.layers[1]

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("out of memory")

        with monkeypatch.context() as patch:
            patch.setattr(last.mlp.act_fn, "forward", fail)
            with pytest.raises(RuntimeError):
                rows.step(torch.tensor([7, 8, 9]))
        for group in (rows, twin):
            group.step(torch.tensor([[7, 8], [8, 9], [9, 7]]))
        assert torch.equal(rows.hidden_BD, twin.hidden_BD)
        assert rows.lengths == [5, 4, 3]
        assert torch.allclose(
            rows.hidden(Section.REFERENCE)[0], base.hidden(torch.tensor([[6, 9, 7]]))[0, -1], atol=1e-5
        )


def test_an_adapter_scores_as_its_merged_model_does(pair: TinyPair, tmp_path: Path) -> None:
    merged, value_head = make_adapter(pair, tmp_path)
    persrm = PersRM.from_pretrained(tmp_path, base=pair.model, tokenizer=pair.tokenizer, device="cpu")
    gold = PersRM(merged, pair.tokenizer, value_head=value_head, reference=Backbone(pair.model))
    arguments = ("explain entropy", "it is the answer to a question", ["be concise", "tell jokes"])
    assert persrm.score(*arguments) == pytest.approx(gold.score(*arguments), abs=1e-3)
    assert persrm.kind == "text"
    assert persrm.merge().score(*arguments) == pytest.approx(gold.score(*arguments), abs=1e-3)
    with pytest.raises(InvalidRequestError, match="base="):
        PersRM.from_pretrained(tmp_path)


def test_the_faces_load_an_adapter_folder(pair: TinyPair, tmp_path: Path) -> None:
    base, _ = pair.save(tmp_path)
    make_adapter(pair, tmp_path / "adapter")
    request = request_of(2, (1.0, 10, 0.0, "base", CONDITIONS[0]))
    with engine_on(pair, tmp_path / "adapter") as engine:
        expected = engine.submit(request).result(60)
    llm = ChatPAD(model=str(base), reward_model=str(tmp_path / "adapter"), device="cpu", max_tokens=5, beta=1.0)
    said = llm.invoke(request.messages[0]["content"], preference=CONDITIONS[0][0][0])  # type: ignore[arg-type]
    assert said.text == expected.text


def change_config(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


def change_tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "adapter_model.safetensors")
        change(tensors)
        save_file(tensors, folder / "adapter_model.safetensors")

    return apply


def add(key: str, *shape: int) -> Callable[[Path], None]:
    return change_tensors(lambda tensors: tensors.update({key: torch.ones(shape)}))


Q = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (change_config(use_dora=True), IncompatibleModelError, "use_dora"),
        (change_config(modules_to_save=["lm_head"]), IncompatibleModelError, r"modules_to_save.*lm_head"),
        (change_config(bias="all"), IncompatibleModelError, r"bias.*all"),
        (change_config(peft_type="IA3"), IncompatibleModelError, "'IA3'"),
        (change_config(r=5), IncompatibleModelError, "says 5"),
        (add(f"{Q}.lora_magnitude_vector.weight", 1), IncompatibleModelError, "lora_magnitude_vector"),
        (add("base_model.model.lm_head.lora_A.weight", 4, 32), IncompatibleModelError, "lm_head"),
        (change_tensors(lambda t: t.pop(f"{Q}.lora_B.weight")), IncompatibleModelError, "have one alone"),
        (add(f"{Q}.lora_B.weight", 32, 3), IncompatibleModelError, "lora_B 3"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), ModelLoadError, "No readable"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"no"), ModelLoadError, "read"),
    ],
)  # fmt: skip
def test_what_is_no_plain_lora(
    pair: TinyPair, tmp_path: Path, change: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    make_adapter(pair, tmp_path)
    change(tmp_path)
    with pytest.raises(error, match=message):
        engine_on(pair, tmp_path)


def test_a_lora_for_another_backbone(pair: TinyPair, tmp_path: Path) -> None:
    make_adapter(pair, tmp_path)
    for other, message in ((tiny_model(1, hidden_size=48), "32 → 32"), (tiny_model(1, layers=1), "with 1 layers")):
        with pytest.raises(IncompatibleModelError, match=rf"another backbone.*{message}"):
            load_engine(other, tmp_path, tokenizer=pair.tokenizer)
    persrm = PersRM.from_pretrained(tmp_path, base=tiny_model(2), tokenizer=pair.tokenizer, device="cpu")
    with pytest.raises(IncompatibleModelError, match="another model object"):
        TorchEngine(pair.model, pair.tokenizer, persrm.as_guide())
