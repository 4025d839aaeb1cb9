"""Whether a model writes the same tokens in a batch as alone. Families in `KNOWN` are not tested.

Rows that decode together are padded on the left and leave one by one. Recurrent and hybrid models have another state
than keys and values, and BART's decoder counts positions by itself. Such models load, and then fail or write wrong
tokens. So a model of another family runs a few tokens alone and in a batch, and is refused where they differ. The
process keeps the verdict for the same weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from pad_langchain.errors import IncompatibleModelError
from pad_langchain.models.rows import Rows, Section

if TYPE_CHECKING:
    from pad_langchain.models.backbone import Backbone

__all__ = ["KNOWN", "check_batches", "fingerprint"]

# Model types that `tests/unit/models/test_self_test.py` runs the whole test on.
KNOWN = frozenset(
    {
        "gemma",
        "gemma2",
        "gemma3_text",
        "gpt2",
        "gpt_neox",
        "granite",
        "llama",
        "mistral",
        "olmo2",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
        "stablelm",
        "starcoder2",
    }
)

NEW = 3  # tokens that follow the prompts
_verdicts: dict[str, str] = {}  # fingerprint → why it is refused; "" means it is not


def check_batches(backbone: Backbone) -> None:
    """Refuse a model that writes other tokens in a batch than alone.

    The test takes six forwards of a few tokens, once per weights. Families in `KNOWN` are not tested.

    Raises:
        IncompatibleModelError: the tokens differ, or the model cannot run in a batch.
    """
    if backbone.model.config.get_text_config().model_type in KNOWN:
        return
    key = fingerprint(backbone.model)
    if key not in _verdicts:
        before = replace(backbone.tally)
        _verdicts[key] = _fault(backbone)
        backbone.tally = before
    if _verdicts[key]:
        kind = backbone.model.config.get_text_config().model_type
        raise IncompatibleModelError(
            f"{type(backbone.model).__name__} (model type {kind!r}) cannot decode several rows together here: "
            f"{_verdicts[key]} Use a model whose layers keep keys and values only and that takes position ids, such "
            f"as one of {', '.join(sorted(KNOWN))}."
        )


def fingerprint(model: Any) -> str:
    """Return a hash that tells weights apart: of the class, the config, and some numbers of each tensor."""
    digest = hashlib.sha256(type(model).__name__.encode())
    digest.update(model.config.to_json_string().encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {tensor.device}".encode())
        if tensor.is_floating_point() and tensor.device.type != "meta":
            digest.update(tensor.detach().flatten()[:4].float().cpu().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def _fault(backbone: Backbone) -> str:
    """Why the model cannot decode in batches, or "" if it can."""
    size = backbone.vocab_size
    prompts = [[(7 * place + 3) % size for place in range(length)] for length in (7, 2, 4)]
    precise = next(backbone.model.parameters()).dtype == torch.float32 and not hasattr(backbone.model, "hf_quantizer")
    allowed = 0.001 if precise else 0.1
    try:
        alone = [list(prompt) for prompt in prompts]
        expected = [[_next(backbone, row) for _ in range(NEW)] for row in alone]
        rows = Rows(backbone, prompts)
        for step in range(NEW):
            if step:
                rows.step(torch.tensor([row[step - NEW - 1] for row in alone], device=backbone.device))
            if step == NEW - 1:  # the first leaves
                rows.keep([1, 2])
                expected = expected[1:]
            ours_BV = backbone.logits(rows.hidden(Section.BASE)).float().cpu()
            theirs_BV = torch.stack([row[step] for row in expected])
            error = float(((ours_BV - theirs_BV).norm(dim=-1) / theirs_BV.norm(dim=-1).clamp_min(1e-6)).max())
            if not error <= allowed:  # NaN fails as well
                return f"its logits differ by {error:.2g} of their size from those of a row alone (allowed {allowed})."
    except Exception as error:
        return f"a step of a few tokens ends with {type(error).__name__}: {str(error).partition(chr(10))[0]}."
    return ""


def _next(backbone: Backbone, row: list[int]) -> torch.Tensor:
    """The model's own logits [V] after a row, without a cache. The likeliest token is appended to the row."""
    ids_1T = torch.tensor([row], device=backbone.device)
    logits_V = backbone.model(input_ids=ids_1T, use_cache=False).logits[0, -1].float().cpu()
    row.append(int(logits_V.argmax()))
    return logits_V
