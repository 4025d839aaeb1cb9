"""Parts of random weights that tests put together."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pad_langchain.models.adapter import Adapter
from pad_langchain.testing import TinyPair, tiny_model

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def make_adapter(
    pair: TinyPair, folder: Path, *, value_head: bool = True, **config: Any
) -> tuple[Any, torch.nn.Linear]:
    """Save a random LoRA (and W, b) as PEFT does; returns PEFT's own merge of it, and W."""
    import peft

    settings = {"r": 4, "lora_alpha": 8, "target_modules": list(LINEAR), **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        wrapped = peft.get_peft_model(copy.deepcopy(pair.model), peft.LoraConfig(task_type="CAUSAL_LM", **settings))
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        head = torch.nn.Linear(32, 32).requires_grad_(False)
        head.weight.copy_(torch.eye(32))
        head.bias.zero_()
        if value_head:
            head.weight.add_(0.2 * torch.randn(32, 32))
            head.bias.add_(0.2 * torch.randn(32))
    wrapped.save_pretrained(folder)
    if value_head:
        tensors = {"v_head.summary.weight": head.weight.data, "v_head.summary.bias": head.bias.data}
        save_file(tensors, folder / "value_head.safetensors")
    return wrapped.merge_and_unload().eval(), head


def text_parts(seed: int = 7, layers: int = 2) -> tuple[Any, torch.nn.Linear]:
    """The model of a text PersRM, and W (with bias) near the identity."""
    model = tiny_model(seed, hidden_size=48, layers=layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        value_head = torch.nn.Linear(48, 48).requires_grad_(False)
        value_head.weight.copy_(torch.eye(48) + 0.3 * torch.randn(48, 48))
        value_head.bias.copy_(0.3 * torch.randn(48))
    return model, value_head


def adapter_of(pair: TinyPair) -> Adapter:
    """A LoRA of rank 4 on every linear layer of the pair's base."""
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for name, module in pair.model.named_modules():
        if name.endswith("_proj"):
            tensors[f"{name}.lora_A.weight"] = torch.randn(4, module.in_features, generator=generator) / 6
            tensors[f"{name}.lora_B.weight"] = torch.randn(module.out_features, 4, generator=generator) / 6
    return Adapter(pair.model, tensors, {"peft_type": "LORA", "r": 4, "lora_alpha": 4})
