"""A LoRA on the base's own backbone that only some rows of a forward go through.

A forward over [base rows | adapted rows] reads the big weights once. The low-rank products touch only the adapted rows:
one product for q, k and v together, and one for gate and up. Each module of the model gets one forward hook, once. The
hook does nothing outside `Adapter.on`, so other users of the model object see no change.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from pad_langchain.errors import IncompatibleModelError, ModelLoadError
from pad_langchain.paths import absolute

__all__ = ["ADAPTER_CONFIG", "HOOKED", "Adapter", "adapting"]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
# Projections that read the same input share one product with all their A matrices.
GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
PROJECTIONS = frozenset(itertools.chain(*GROUPS))
# Set on a module that has the hook below, so that a copy of it, which has the hook too, does not get a second one.
HOOKED = "pad_langchain_hooked"
# What PEFT can add to a LoRA that is more than a product on a projection; each changes what the model computes.
EXTRAS = (
    "use_dora",
    "modules_to_save",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "lora_bias",
)

_serials = itertools.count(1)


@dataclass(frozen=True, eq=False)
class _Group:
    """The A matrices of projections that read one input, side by side: [in, sum of ranks]."""

    A_IR: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Part:
    """One projection: its columns of the group's product, and B times the scale, [rank, out]."""

    group: _Group
    columns: slice
    B_RO: torch.Tensor


@dataclass(eq=False)
class _Active:
    """What an adapter adds in this thread, to which rows, and the group product made last."""

    parts: Mapping[nn.Module, _Part]
    start: int
    share_R: torch.Tensor | None = None
    group: _Group | None = None
    input: torch.Tensor | None = None
    low: torch.Tensor | None = None


class _Local(threading.local):
    """What adapts in a thread. It always exists, so that a compiled step finds the same in every thread."""

    def __init__(self) -> None:
        self.active: _Active | None = None


_local = _Local()


class Adapter:
    """Low-rank factors for the projections of one loaded model.

    Args:
        model: the causal LM the adapter belongs to.
        tensors: PEFT's names and tensors: `…q_proj.lora_A.weight` [r, in] and `…q_proj.lora_B.weight` [out, r].
        config: PEFT's `adapter_config.json`.
        folder: where both were read from. None means they were not read from a folder.

    Raises:
        IncompatibleModelError: it is not a plain LoRA on Llama's projections, or was made for another backbone.
    """

    def __init__(
        self,
        model: Any,
        tensors: Mapping[str, torch.Tensor],
        config: Mapping[str, Any],
        *,
        folder: Path | None = None,
    ) -> None:
        self.serial = next(_serials)  # tells its KV cache entries from the plain model's
        self.folder = folder
        _check_kind(config)
        factors = _factors(tensors)
        self._parts: dict[nn.Module, _Part] = {}
        packs: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for path in factors:
            parent, name = path.rpartition(".")[::2]
            group = next(group for group in GROUPS if name in group)
            packs.setdefault((parent, group), []).append(path)
        for paths in packs.values():
            self._pack(model, {path: factors[path] for path in paths}, config)
        for module in self._parts:
            if not hasattr(module, HOOKED):
                module.register_forward_hook(_apply)
                setattr(module, HOOKED, True)

    @classmethod
    def from_pretrained(cls, folder: str | Path, model: Any) -> Adapter:
        """Read a folder that PEFT saved.

        Raises:
            ModelLoadError: a file is missing or unreadable.
            IncompatibleModelError: see the class.
        """
        folder = absolute(folder)
        try:
            config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
            tensors = load_file(folder / ADAPTER_WEIGHTS)
        except Exception as error:  # safetensors raises its own kind
            raise ModelLoadError(
                f"No readable {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS} in {str(folder)!r}: {error}. Save the adapter "
                "with PEFT's save_pretrained."
            ) from error
        return cls(model, tensors, config, folder=folder)

    @contextmanager
    def on(self, start: int = 0, share_R: torch.Tensor | None = None) -> Iterator[None]:
        """Adapt the rows from `start` on in every forward that this thread runs inside the block.

        Args:
            start: index of the first adapted row.
            share_R: for rows of one token each, how much of the adapter each gets, 0 or 1. It takes the place of
                `start` in a graph that was compiled or captured once. None means `start` decides.
        """
        before = _local.active
        _local.active = _Active(self._parts, start, share_R)
        try:
            yield
        finally:
            _local.active = before

    def _added(self, module: nn.Module) -> torch.Tensor | None:
        """What it adds to the weight of one of the model's modules, [out, in] float32. None means nothing."""
        part = self._parts.get(module)
        return None if part is None else (part.group.A_IR[:, part.columns].float() @ part.B_RO.float()).T

    def merged(self, model: Any) -> Any:
        """Return a copy of the adapter's model with the LoRA added to its weights."""
        if any(module.weight.dtype == torch.int8 for module in self._parts):
            raise IncompatibleModelError("An adapter cannot be merged into int8 weights. Load its base without them.")
        copied = copy.deepcopy(model)
        for name, module in model.named_modules():
            if (added_OI := self._added(module)) is not None:
                weight_OI = copied.get_submodule(name).weight
                weight_OI.data = (weight_OI.float() + added_OI).to(weight_OI.dtype)
        return copied

    def _pack(
        self,
        model: Any,
        factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
        config: Mapping[str, Any],
    ) -> None:
        """Check one group's factors against the model, then stack them on its device and in its dtype."""
        modules = {path: _projection(model, path, *pair) for path, pair in factors.items()}
        scales = {path: _scale(config, path, pair[0].shape[0]) for path, pair in factors.items()}
        dtype, device = model.dtype, next(iter(modules.values())).weight.device
        stacked_IR = torch.cat([a_RI.float() for a_RI, _ in factors.values()]).T.contiguous()
        group = _Group(stacked_IR.to(device, dtype))
        first = 0
        for path, (a_RI, b_OR) in factors.items():
            last = first + a_RI.shape[0]
            scaled_RO = (b_OR.float() * scales[path]).T.contiguous().to(device, dtype)
            self._parts[modules[path]] = _Part(group, slice(first, last), scaled_RO)
            first = last


def adapting() -> bool:
    """Whether an adapter is on in this thread."""
    return _local.active is not None


def _apply(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    """Add the low-rank product to the adapted rows of a projection's output, in place."""
    active = _local.active
    part = None if active is None else active.parts.get(module)
    if active is None or part is None:
        return
    (states,) = inputs
    if active.input is not states or active.group is not part.group:
        rows = states[active.start :]
        low = rows.reshape(-1, rows.shape[-1]) @ part.group.A_IR
        active.low = low if active.share_R is None else low * active.share_R[:, None]
        active.input, active.group = states, part.group
    assert active.low is not None
    output[active.start :].view(-1, output.shape[-1]).addmm_(active.low[:, part.columns], part.B_RO)


def _check_kind(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise IncompatibleModelError(f"The adapter is of PEFT's type {kind!r}, but only 'LORA' can share the forward.")
    extras = {name: config[name] for name in EXTRAS if config.get(name)}
    if config.get("bias", "none") != "none":
        extras["bias"] = config["bias"]
    if extras:
        raise IncompatibleModelError(
            f"The adapter is a LoRA with {extras!r}, which changes more than products on projections do. Merge it "
            "into its backbone (PEFT's merge_and_unload) and load that as the PersRM."
        )


def _factors(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """PEFT's tensors as {module path: (A [r, in], B [out, r])}."""
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight", key)
        if match is None or match[1].rpartition(".")[2] not in PROJECTIONS:
            raise IncompatibleModelError(
                f"The adapter changes {key!r}; allowed are lora_A and lora_B on {', '.join(sorted(PROJECTIONS))}. "
                "Merge it into its backbone (PEFT's merge_and_unload) and load that as the PersRM."
            )
        pairs.setdefault(match[1], {})[match[2]] = tensor
    lonely = [path for path, pair in pairs.items() if len(pair) < 2]
    if lonely or not pairs:
        raise IncompatibleModelError(
            f"The adapter needs lora_A and lora_B for every projection, but {lonely[:3]!r} of {len(pairs)} have one "
            "alone. Save it again with PEFT."
        )
    order = [name for group in GROUPS for name in group]
    return {
        path: (pairs[path]["A"], pairs[path]["B"])
        for path in sorted(pairs, key=lambda p: order.index(p.rpartition(".")[2]))
    }


def _projection(model: Any, path: str, a_RI: torch.Tensor, b_OR: torch.Tensor) -> Any:
    """The model's projection of that path, if the factors fit it."""
    try:
        module = model.get_submodule(path)
    except AttributeError as error:
        raise IncompatibleModelError(
            f"The LoRA was made for another backbone: it changes {path!r}, which {type(model).__name__} with "
            f"{getattr(model.config, 'num_hidden_layers', '?')} layers does not have. Use it with its own base."
        ) from error
    want = (module.in_features, module.out_features)
    if (a_RI.shape[1], b_OR.shape[0]) != want:
        raise IncompatibleModelError(
            f"The LoRA was made for another backbone: its factors for {path!r} map {a_RI.shape[1]} → {b_OR.shape[0]} "
            f"features, the base's projection {want[0]} → {want[1]}. Use it with its own base."
        )
    if a_RI.shape[0] != b_OR.shape[1]:
        raise IncompatibleModelError(
            f"The LoRA's rank does not fit: lora_A of {path!r} has rank {a_RI.shape[0]}, lora_B {b_OR.shape[1]}. Save "
            "it again with PEFT."
        )
    return module


def _scale(config: Mapping[str, Any], path: str, rank: int) -> float:
    """alpha / r, or alpha / sqrt(r) for rsLoRA. Patterns may give single modules other values."""
    want = _pattern(config.get("rank_pattern"), path, config.get("r"))
    if want != rank:
        raise IncompatibleModelError(
            f"The LoRA's rank does not fit: {ADAPTER_CONFIG} says {want!r} for {path!r}, its weights have {rank}. "
            "Config and weights must come from one save."
        )
    alpha = _pattern(config.get("alpha_pattern"), path, config.get("lora_alpha", rank))
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _pattern(patterns: Mapping[str, Any] | None, path: str, default: Any) -> Any:
    """The value of the first pattern that matches the end of the module's path, as PEFT reads them."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", path):
            return value
    return default
