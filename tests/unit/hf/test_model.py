"""PADForCausalLM under `generate()` against the naive reference, in every mode that is said to be exact."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    CompileConfig,
    DynamicCache,
    GenerationMixin,
    LlamaPreTrainedModel,
    StaticCache,
    TextIteratorStreamer,
    pipeline,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

import pad_langchain
from naive_reference import NaiveHead, NaiveText, forward, guide_rows, log_softmax, naive_decode, render
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import GuideError, IncompatibleModelError, InvalidRequestError
from pad_langchain.hf.model import PADConfig, PADForCausalLM
from pad_langchain.persrm.build import load_engine
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.testing import TinyPair, tiny_model, tiny_tokenizer
from parts import make_adapter, text_parts

USERS = ("why is the sky blue?", "hi", "explain entropy to me, please, and then make tea", "who are you?")
WISHES = ("be concise", "tell a joke or two", "use formal words", "be kind")
NEW = 12


def text_persrm(pair: TinyPair) -> PersRM:
    model, value_head = text_parts(layers=3)
    return PersRM(model, pair.tokenizer, value_head=value_head)


def compose(pair: TinyPair, kind: str, **kwargs: Any) -> tuple[PADForCausalLM, NaiveHead | NaiveText]:
    if kind == "head":
        model = PADForCausalLM.compose(
            pair.model, pair.head, tokenizer=pair.tokenizer, embedder=pair.embedder, **kwargs
        )
        return model, NaiveHead(pair.head, pair.embedder)
    persrm = text_persrm(pair)
    model = PADForCausalLM.compose(pair.model, persrm, tokenizer=pair.tokenizer, **kwargs)
    return model, NaiveText(persrm.backbone.model, persrm.value_head)


@pytest.fixture(scope="module", params=["head", "text"])
def both(request: pytest.FixtureRequest, pair: TinyPair) -> tuple[PADForCausalLM, NaiveHead | NaiveText]:
    return compose(pair, request.param)


def encoded(pair: TinyPair, model: PADForCausalLM, count: int = 4, **settings: Any) -> dict[str, Any]:
    inputs = model.encode(pair.tokenizer, USERS[:count], [[wish] for wish in WISHES[:count]], embedder=pair.embedder)
    return inputs | {"max_new_tokens": NEW, "do_sample": False} | settings


def answers(pair: TinyPair, inputs: dict[str, Any], sequences: torch.Tensor) -> list[list[int]]:
    """The new tokens of each row, up to the end of its answer."""
    rows = []
    for row in sequences[:, inputs["input_ids"].shape[1] :].tolist():
        end = row.index(pair.tokenizer.eos_token_id) + 1 if pair.tokenizer.eos_token_id in row else len(row)
        rows.append(row[:end])
    return rows


class Naive(LlamaPreTrainedModel, GenerationMixin):
    """Fused logits from Python floats, each row and prefix run anew: what `generate()` should make of the method."""

    def __init__(self, pair: TinyPair, guide: NaiveHead | NaiveText, beta: float, k: int) -> None:
        super().__init__(copy.deepcopy(pair.model.config))
        self.pair, self.guide, self.beta, self.k = pair, guide, beta, k
        self.by_prompt = {tuple(render(pair.tokenizer, user)): (user, wish) for user, wish in zip(USERS, WISHES)}  # noqa: B905
        self.width = max(map(len, self.by_prompt))
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.post_init()

    def forward(self, input_ids: torch.Tensor, attention_mask: Any = None, **_: Any) -> CausalLMOutputWithPast:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        rows = []
        for ids, kept in zip(input_ids.tolist(), mask.tolist(), strict=True):
            whole = [token for token, keep in zip(ids, kept, strict=True) if keep]
            prompt = next(one for one in self.by_prompt if tuple(whole[: len(one)]) == one)
            rows.append(self.fused(*self.by_prompt[prompt], list(prompt), whole[len(prompt) :]))
        return CausalLMOutputWithPast(logits=torch.tensor(rows)[:, None])

    @torch.no_grad()
    def fused(self, user: str, wish: str, prompt: list[int], tokens: list[int]) -> list[float]:
        hidden, logits = forward(self.pair.model, prompt + tokens)
        z = logits.tolist()
        candidates = sorted(range(len(z)), key=lambda a: -z[a])[: self.k]
        arguments = (self.pair.model, self.pair.tokenizer, user, tokens, hidden, self.guide, [(wish, 1.0)], candidates)
        ((_, q, _),) = guide_rows(*arguments, "base", "sum")
        base = log_softmax([z[a] for a in candidates])
        fused = [float("-inf")] * len(z)
        for a, own, ref in zip(candidates, log_softmax(q), base, strict=True):
            fused[a] = z[a] + self.beta * (own - ref)
        return fused


def test_greedy_rows_with_settings_of_their_own_equal_the_naive_reference(pair: TinyPair) -> None:
    """beta × k × alpha × reference, ragged prompts: one left-padded batch, each row with its own settings."""
    for kind, reference in (("head", "base"), ("text", "base"), ("text", "reference")):
        model, guide = compose(pair, kind, reference=reference)
        grid = list(itertools.product((0.0, 0.5, 1.5), (1, 3, 10), (0.0, 0.02)))
        chosen = [(USERS[n % 4], WISHES[n % 3], *settings) for n, settings in enumerate(grid)]
        inputs = model.encode(
            pair.tokenizer, [row[0] for row in chosen], [[row[1]] for row in chosen], embedder=pair.embedder
        )
        beta, k, alpha = (torch.tensor([row[column] for row in chosen]) for column in (2, 3, 4))
        own = {"beta": beta, "guide_top_k": k, "alpha": alpha}
        sequences = model.generate(**inputs | own, max_new_tokens=NEW, do_sample=False)
        for row, tokens in zip(chosen, answers(pair, inputs, sequences), strict=True):
            expected, _ = naive_decode(
                pair.model,
                pair.tokenizer,
                row[0],
                guide,
                [(row[1], 1.0)],
                beta=row[2],
                k=row[3],
                alpha=row[4],
                reference=reference,
                combine="sum",
                max_tokens=NEW,
            )
            assert tokens == expected, (kind, reference, row)


@pytest.mark.parametrize(
    "mode",
    [
        {"do_sample": True, "temperature": 1.3},
        {"do_sample": True, "top_p": 0.8, "num_return_sequences": 3},
        {"num_beams": 4, "num_return_sequences": 2},
        {"num_beams": 3, "do_sample": True},
        {"num_beams": 3, "early_stopping": True, "length_penalty": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("k", [2, 10])
def test_sampling_and_beams_equal_the_naive_model(
    pair: TinyPair, both: tuple[PADForCausalLM, Any], mode: dict[str, Any], k: int
) -> None:
    model, guide = both
    inputs = encoded(pair, model, beta=1.2, guide_top_k=k, **mode)
    torch.manual_seed(5)
    ours = model.generate(**inputs)
    for name in ("reward_input_ids", "reward_attention_mask", "gates", "beta", "guide_top_k"):
        inputs.pop(name, None)
    torch.manual_seed(5)
    theirs = Naive(pair, guide, 1.2, k).generate(**inputs, use_cache=False)
    assert ours.tolist() == theirs.tolist()


def test_every_cache_and_shortcut_gives_the_greedy_tokens(pair: TinyPair, both: tuple[PADForCausalLM, Any]) -> None:
    model, _ = both
    batch = encoded(pair, model)
    expected = model.generate(**batch)
    plain = pair.model.generate(batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=NEW)
    assert expected.tolist() != plain.tolist()
    for more in ({"use_cache": False}, {"cache_implementation": "static"}, {"prefill_chunk_size": 7}):
        assert model.generate(**batch | more).tolist() == expected.tolist(), more
    for n in range(4):
        row = {name: value[n : n + 1] if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
        for more in ({"prompt_lookup_num_tokens": 3}, {"assistant_model": pair.model}, {}):
            alone = model.generate(**row | more)
            assert answers(pair, row, alone) == [answers(pair, batch, expected)[n]], more
    assert model.generate(**batch, past_key_values=DynamicCache()).tolist() == expected.tolist()
    cache = StaticCache(model.config, max_cache_len=160)
    for _ in range(2):
        assert model.generate(**batch, past_key_values=cache).tolist() == expected.tolist()
        cache.reset()


def test_a_compiled_step_is_one_graph_for_all_lengths_and_betas(
    pair: TinyPair, both: tuple[PADForCausalLM, Any]
) -> None:
    model, _ = both
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = CompileConfig(backend=backend, fullgraph=True, dynamic=False, mode=None)
    compiled._compile_all_devices = True
    static = {"cache_implementation": "static", "compile_config": compiled, "max_cache_len": 160}
    for beta, length in ((1.0, NEW), (0.3, NEW // 2)):
        batch = encoded(pair, model, beta=beta, max_new_tokens=length)
        assert model.generate(**batch, **static).tolist() == model.generate(**batch).tolist()
    assert len(graphs) == 1
    torch._dynamo.reset()


def test_beta_zero_is_the_base_whatever_the_temperature(pair: TinyPair, both: tuple[PADForCausalLM, Any]) -> None:
    model, _ = both
    for mode in ({"do_sample": False}, {"do_sample": True, "temperature": 2.0}, {"num_beams": 3}):
        inputs = encoded(pair, model, **mode)
        plain = {name: inputs[name] for name in ("input_ids", "attention_mask", "max_new_tokens", *mode)}
        torch.manual_seed(1)
        expected = pair.model.generate(**{"do_sample": False} | plain)
        torch.manual_seed(1)
        assert model.generate(**inputs | {"beta": 0.0}).tolist() == expected.tolist()
    # The PersRM's longer prompt widens the base's: a penalty on what the prompt says must not see it.
    one = encoded(pair, model, 1, repetition_penalty=2.0, return_dict_in_generate=True, output_scores=True)
    plain = {name: value for name, value in one.items() if "reward" not in name and name not in ("beta", "gates")}
    expected = torch.cat(pair.model.generate(**plain).scores)
    assert torch.allclose(torch.cat(model.generate(**one | {"beta": 0.0}).scores), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["head", "text", "self"])
def test_the_engine_writes_the_same(pair: TinyPair, kind: str) -> None:
    reward: Any = {"head": pair.head, "text": text_persrm(pair), "self": "self"}[kind]
    arguments = {"tokenizer": pair.tokenizer, "embedder": pair.embedder}
    model = PADForCausalLM.compose(pair.model, reward, **arguments)
    inputs = encoded(pair, model)
    ours = answers(pair, inputs, model.generate(**inputs))
    with load_engine(pair.model, reward, **arguments) as engine:
        settled = engine.recommended.settle(len(pair.tokenizer))
        asked = [
            Request(
                [{"role": "user", "content": user}], preferences=[WeightedPreference(wish)], max_tokens=NEW, **settled
            )
            for user, wish in zip(USERS, WISHES, strict=True)
        ]
        streams = [engine.submit(request) for request in asked]
        assert [list(stream.result(60).token_ids) for stream in streams] == ours


def test_candidates_are_as_the_persrm_recommends_unless_a_call_says(pair: TinyPair) -> None:
    persrm = copy.deepcopy(pair.head)
    for recommended, said, expected in (
        ({}, {}, 10),
        ({"top_k": 4}, {}, 4),
        ({"top_k": 4}, {"guide_top_k": 6}, 6),
        ({"candidates": "cut", "alpha": 0.02}, {}, 400),
    ):
        persrm.config = dataclasses.replace(pair.head.config, **recommended)
        model = PADForCausalLM.compose(pair.model, persrm, tokenizer=pair.tokenizer, embedder=pair.embedder, **said)
        assert model.config.guide_top_k == expected
        assert model.config.alpha == persrm.config.alpha


def test_an_adapter_is_merged(pair: TinyPair, tmp_path: Path) -> None:
    make_adapter(pair, tmp_path)
    arguments: dict[str, Any] = {"tokenizer": pair.tokenizer, "device": "cpu"}
    model = PADForCausalLM.compose(pair.model, tmp_path, **arguments)
    assert model.config.guide == "text"
    inputs = encoded(pair, model, 2)
    ours = answers(pair, inputs, model.generate(**inputs))
    with load_engine(pair.model, tmp_path, **arguments) as engine:
        for user, wish, tokens in zip(USERS, WISHES, ours, strict=False):
            request = Request(
                [{"role": "user", "content": user}], preferences=[WeightedPreference(wish)], max_tokens=NEW
            )
            assert list(engine.submit(request).result(60).token_ids) == tokens
    with pytest.raises(InvalidRequestError, match="merging takes away"):
        PADForCausalLM.compose(pair.model, tmp_path, reference="reference", **arguments)


def test_a_streamer_gets_the_prompt_as_it_was_and_every_token(pair: TinyPair, both: tuple[PADForCausalLM, Any]) -> None:
    model, _ = both
    inputs = encoded(pair, model, 1)
    streamer = TextIteratorStreamer(pair.tokenizer, timeout=10)
    whole = model.generate(**inputs, streamer=streamer)
    assert "".join(streamer) == pair.tokenizer.decode(whole[0])
    assert whole[0, : inputs["input_ids"].shape[1]].tolist() == inputs["input_ids"][0].tolist()


def test_lengths_count_the_prompt_that_was_passed(pair: TinyPair, both: tuple[PADForCausalLM, Any]) -> None:
    model, _ = both
    inputs = encoded(pair, model, 1)
    del inputs["max_new_tokens"]
    wanted = inputs["input_ids"].shape[1] + 5
    done = model.generate(**inputs, max_length=wanted, return_dict_in_generate=True, output_logits=True)
    assert done.sequences.shape == (1, wanted)
    assert [int(torch.isfinite(logits).sum()) for logits in done.logits] == [10] * 5


def test_a_folder_round_trips_and_a_pipeline_reads_it(pair: TinyPair, both: Any, tmp_path: Path) -> None:
    model, _ = both
    inputs = encoded(pair, model)
    model.save_pretrained(tmp_path)
    pair.tokenizer.save_pretrained(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.suffix != ".json") in (
        [".jinja", ".safetensors"],
        [".safetensors"],
    )
    assert isinstance(AutoConfig.from_pretrained(tmp_path), PADConfig)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(loaded, PADForCausalLM)
    assert loaded.generate(**inputs).tolist() == model.generate(**inputs).tolist()
    for field in ("guide", "head", "value_head", "reference", "beta", "alpha", "guide_top_k", "layer_types"):
        assert getattr(loaded.config, field) == getattr(model.config, field)
    rounded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert rounded.base.lm_head.weight.dtype == torch.bfloat16
    own = rounded.persrm_head if rounded.persrm_head is not None else rounded.persrm_value_head
    assert {parameter.dtype for parameter in own.parameters()} == {torch.float32}
    assert rounded.generate(**inputs).shape[0] == 4

    chat = pipeline("text-generation", model=loaded, tokenizer=AutoTokenizer.from_pretrained(tmp_path))
    told = {} if model.persrm_head is not None else {name: inputs[name][:1] for name in inputs if "reward" in name}
    if model.persrm_head is not None:
        loaded.set_preferences([WISHES[0]], embedder=pair.embedder)
    (written,) = chat(
        [{"role": "user", "content": USERS[0]}], max_new_tokens=NEW, do_sample=False, return_full_text=False, **told
    )
    one = encoded(pair, model, 1)
    expected = answers(pair, one, model.generate(**one))[0]
    assert written["generated_text"] == pair.tokenizer.decode(expected, skip_special_tokens=True)


def test_a_text_persrm_without_a_prompt_reads_the_bases(pair: TinyPair) -> None:
    model, _ = compose(pair, "text")
    inputs = encoded(pair, model)
    same = {"reward_input_ids": inputs["input_ids"], "reward_attention_mask": inputs["attention_mask"]}
    expected = model.generate(**inputs | same)
    for name in same:
        del inputs[name]
    assert model.generate(**inputs).tolist() == expected.tolist()


def test_a_longer_base_prompt_widens_the_persrms(pair: TinyPair) -> None:
    model, _ = compose(pair, "text")
    inputs = encoded(pair, model, 2)
    swapped = {
        "input_ids": inputs["reward_input_ids"],
        "attention_mask": inputs["reward_attention_mask"],
        "reward_input_ids": inputs["input_ids"],
        "reward_attention_mask": inputs["attention_mask"],
    }
    together = model.generate(**inputs | swapped)
    for n in range(2):
        row = {name: value[n : n + 1][:, mask.bool()] for name, value, mask in (
            ("input_ids", swapped["input_ids"], swapped["attention_mask"][n]),
            ("reward_input_ids", swapped["reward_input_ids"], swapped["reward_attention_mask"][n]),
        )}  # fmt: skip
        alone = model.generate(**row, max_new_tokens=NEW, do_sample=False)
        assert answers(pair, row, alone) == [answers(pair, swapped, together)[n]]


def test_rows_without_preferences_and_gates_that_add_up(pair: TinyPair) -> None:
    model, _ = compose(pair, "head")
    inputs = model.encode(pair.tokenizer, USERS[:2], [[], ["be kind", ("be brief", -0.5)]], embedder=pair.embedder)
    done = model.generate(**inputs, max_new_tokens=NEW, do_sample=False)
    plain = pair.model.generate(
        inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=NEW, do_sample=False
    )
    assert done[0].tolist() == plain[0].tolist()
    gates = pair.head.gates(torch.from_numpy(pair.embedder.embed(["be kind", "be brief"])))
    assert torch.allclose(inputs["gates"][1], gates[0] - 0.5 * gates[1], atol=1e-6)
    # the same, set once
    bare = {name: inputs[name][1:] for name in ("input_ids", "attention_mask")}
    for preferences, expected in ((["be kind", ("be brief", -0.5)], done), ([], plain)):
        model.set_preferences(preferences, embedder=pair.embedder)
        written = answers(pair, bare, model.generate(**bare, max_new_tokens=NEW, do_sample=False))
        assert written == [answers(pair, inputs, expected)[1]]


def test_what_is_refused(pair: TinyPair) -> None:
    head, _ = compose(pair, "head")
    text, _ = compose(pair, "text")
    inputs = encoded(pair, text, 2)
    for model in (head, text):
        with pytest.raises(InvalidRequestError, match="continuous batching"):
            model.generate_batch([[1, 2, 3]])
        with pytest.raises(InvalidRequestError, match="continuous batching"):
            model.generate(inputs["input_ids"], cache_implementation="paged")
        for more in ({"penalty_alpha": 0.6, "top_k": 4}, {"dola_layers": "low"}, {"guidance_scale": 1.5}):
            with pytest.raises(InvalidRequestError, match=next(iter(more))):
                model.generate(inputs["input_ids"], **more)
        with pytest.raises(InvalidRequestError, match="inputs_embeds"):
            model.generate(inputs_embeds=torch.zeros(1, 2, 32))
        with pytest.raises(InvalidRequestError, match="labels"):
            model(inputs["input_ids"], labels=inputs["input_ids"])
        with pytest.raises(InvalidRequestError, match=r"2 conversations but preferences for 1"):
            model.encode(pair.tokenizer, ["a", "b"], [["be kind"]])
        with pytest.raises(InvalidRequestError, match="not for a PersRM of kind"):
            model.generate(**inputs, gates=torch.zeros(2, 8))
    with pytest.raises(InvalidRequestError, match="in its prompt"):
        text.set_preferences(["be kind"])
    with pytest.raises(InvalidRequestError, match="in one prompt"):
        text.encode(pair.tokenizer, ["hi"], [[("be kind", 0.5)]])
    with pytest.raises(InvalidRequestError, match="as large as input_ids"):
        text(inputs["input_ids"], reward_input_ids=inputs["reward_input_ids"])
    used = text.generate(**inputs, return_dict_in_generate=True).past_key_values
    with pytest.raises(InvalidRequestError, match="not empty"):
        text.generate(**inputs, past_key_values=used)
    with pytest.raises(InvalidRequestError, match="reference has to be"):
        compose(pair, "text", reference="theirs")
    with pytest.raises(IncompatibleModelError, match=r"\(32, 400\).*\(48, 400\)"):
        PADForCausalLM.compose(
            tiny_model(1, hidden_size=48),
            PersRM(pair.model, pair.tokenizer, head=pair.head, embedder=pair.embedder),
            tokenizer=pair.tokenizer,
        )
    with pytest.raises(InvalidRequestError, match="None"):
        PADForCausalLM.compose(pair.model, None, tokenizer=pair.tokenizer)
    with pytest.raises(IncompatibleModelError, match="tokenizer of its own"):
        PADForCausalLM.compose(pair.model, PersRM(tiny_model(1), tiny_tokenizer(390)), tokenizer=pair.tokenizer)
    with pytest.raises(IncompatibleModelError, match="300 logits"):
        PADConfig(base_config=pair.model.config, reward_config=tiny_model(1, vocab_size=300).config, guide="text")


def test_a_persrm_that_returns_nan_is_an_error(pair: TinyPair) -> None:
    model, _ = compose(pair, "head")
    inputs = encoded(pair, model, 1)
    inputs["gates"] = inputs["gates"] * float("inf")
    with pytest.raises(GuideError, match="not finite"):
        model.generate(**inputs)
    assert model.generate(**inputs | {"beta": 0.0}).shape[0] == 1


def test_the_name_is_public() -> None:
    assert pad_langchain.PADForCausalLM is PADForCausalLM
