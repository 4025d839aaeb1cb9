"""Weights of GGUF files in torch: those of the models they were made from, or a refusal by name."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from gguf_models import to_gguf
from pad_langchain.errors import IncompatibleModelError
from pad_langchain.models.gguf import GgufFile
from pad_langchain.models.gguf.architectures import FREQUENCIES
from pad_langchain.models.gguf.weights import bytes_of, write_checkpoint
from pad_langchain.testing import tiny_model, tiny_tokenizer

SMALL = {
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 7,  # Gemma 3 has a layer of another kind after five
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "eos_token_id": 2,
    "bos_token_id": None,
    "pad_token_id": 0,
}
GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16}
LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LINEAR, YARN = {"rope_theta": 1e4, "rope_type": "linear", "factor": 4.0}, {"rope_theta": 1e4, "rope_type": "yarn"}
MODELS = {
    "llama": ("Llama", {}),
    "tied, with biases": ("Llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "wide heads": ("Llama", {"head_dim": 32}),
    "llama 3.1": ("Llama", {"rope_parameters": LLAMA_3}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen 2": ("Qwen2", {}),
    "qwen 2, longer": ("Qwen2", {"rope_parameters": {**YARN, "factor": 4.0, "original_max_position_embeddings": 64}}),
    "qwen 3": ("Qwen3", {"head_dim": 32}),
    "gemma 2": ("Gemma2", GEMMA),
    "gemma 3": ("Gemma3", {**GEMMA, "rope_parameters": None}),
    "gemma 3, longer": ("Gemma3", {**GEMMA, "rope_parameters": {"full_attention": {**LINEAR, "rope_theta": 1e6}}}),
}


def made(family: str, folder: Path, **more) -> torch.nn.Module:
    """A random model of a family, saved with a tokenizer."""
    name, settings = MODELS[family]
    config = getattr(transformers, f"{name}TextConfig" if name == "Gemma3" else f"{name}Config")
    said = {key: value for key, value in {**SMALL, **settings, **more}.items() if key != "rope_parameters" or value}
    if "full_attention" in (said.get("rope_parameters") or {}):
        near = {"rope_theta": 1e4, "rope_type": "default"}
        said["rope_parameters"] = {**said["rope_parameters"], "sliding_attention": near}
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM")(config(**said)).eval()
    for parameter in model.parameters():  # biases begin as zeros
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return model


def read(file: GgufFile, folder: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    folder.mkdir()
    write_checkpoint(file, folder, dtype)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


@pytest.mark.parametrize("family", MODELS)
@torch.inference_mode()
def test_a_files_weights_compute_what_its_model_computes(family, tmp_path):
    model = made(family, tmp_path / "own")
    file = GgufFile(to_gguf(tmp_path / "own", tmp_path / "small.gguf"))
    again = read(file, tmp_path / "read")
    ids_BT = torch.arange(5, 105)[None]
    torch.testing.assert_close(again(ids_BT).logits, model(ids_BT).logits, rtol=0, atol=1e-5)
    assert again.generation_config.eos_token_id == [2]
    assert bytes_of(file, torch.float32) >= sum(parameter.nbytes for parameter in model.parameters())


def test_weights_are_kept_in_the_type_that_is_asked_for(tmp_path):
    made("llama", tmp_path / "own")
    path = to_gguf(tmp_path / "own", tmp_path / "small.gguf", "q8_0")
    again = read(GgufFile(path), tmp_path / "read", torch.bfloat16)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.bfloat16}
    whole = torch.from_numpy(GgufFile(path).floats("output.weight"))
    torch.testing.assert_close(again.lm_head.weight, whole.to(torch.bfloat16))


def test_large_models_are_written_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("pad_langchain.models.gguf.weights._SHARD", 40_000)
    model = made("llama", tmp_path / "own")
    again = read(GgufFile(to_gguf(tmp_path / "own", tmp_path / "small.gguf", split=9)), tmp_path / "read")
    assert len(list((tmp_path / "read").glob("*.safetensors"))) > 3
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"general.architecture": "mamba", "mamba.embedding_length": 32},
            "'mamba'.* Those that can are gemma2, gemma3",
        ),
        ({"general.architecture": "bert", "bert.embedding_length": 32}, "'bert', which cannot be run in torch"),
        ({"llama.expert_count": 8}, "is a mixture of experts"),
        ({"llama.attention.scale": 0.5}, r"says \['attention.scale'\], which torch would not take into account"),
        ({"llama.attention.value_length": 4}, "whose keys, values and rotary parts differ in size"),
        ({"llama.rope.dimension_count": 4}, "whose keys, values and rotary parts differ in size"),
        ({"llama.rope.scaling.type": "longrope", "llama.rope.scaling.factor": 4.0}, "scales positions by 'longrope'"),
        ({"llama.block_count": 1}, "blk.1.*left over"),
        ({"llama.block_count": 3}, "blk.2.*are missing"),
        ({"llama.feed_forward_length": 96}, "ffn_.*of another shape"),
    ],
)
def test_what_torch_cannot_run_is_refused_by_name(changes, says, tmp_path):
    tiny_model().save_pretrained(tmp_path / "own")
    tiny_tokenizer().save_pretrained(tmp_path / "own")
    file = GgufFile(to_gguf(tmp_path / "own", tmp_path / "odd.gguf", metadata=changes))
    with pytest.raises(IncompatibleModelError, match=says):
        read(file, tmp_path / "read")
    assert not list((tmp_path / "read").glob("*.safetensors"))


def test_rotary_factors_that_are_not_llama_3s_are_refused(tmp_path):
    made("llama 3.1", tmp_path / "own")
    file = GgufFile(to_gguf(tmp_path / "own", tmp_path / "odd.gguf"))
    assert FREQUENCIES in file.tensors
    floats = file.floats
    file.floats = lambda name: floats(name) * (1.1 if name == FREQUENCIES else 1)  # type: ignore[method-assign]
    with pytest.raises(IncompatibleModelError, match="is not Llama 3's"):
        read(file, tmp_path / "read")
    assert np.isfinite(floats(FREQUENCIES)).all()
