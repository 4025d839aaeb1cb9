"""Loading of base and PersRM: `reward_model=` of any form → guide, and both → an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.engine.protocol import Guide
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.errors import InvalidRequestError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.cpu.packed import pack
from pad_langchain.models.gguf import GgufFile
from pad_langchain.models.loading import SOURCE, load_causal_lm, open_gguf, pick_device
from pad_langchain.models.precision import fastest_dtype
from pad_langchain.models.prompts import SELF_TEMPLATE, Prompts
from pad_langchain.persrm.backends import Choice, choose
from pad_langchain.persrm.files import TextConfig
from pad_langchain.persrm.guides.self_guide import SELF_ALPHA, SELF_BETA
from pad_langchain.persrm.head import VectorHead
from pad_langchain.persrm.persrm import PersRM
from pad_memory.embedding import Embedder

if TYPE_CHECKING:
    from pad_langchain.engine.llama_cpp import LlamaCppEngine
    from pad_langchain.engine.remote import RemoteEngine

__all__ = ["Pair", "guide_for", "load_engine", "load_pair"]


@dataclass(frozen=True, eq=False)
class Pair:
    """An engine, and the PersRM behind its guide. None means the base decodes alone."""

    engine: TorchEngine | LlamaCppEngine | RemoteEngine
    persrm: PersRM | None


def guide_for(
    reward_model: Any | None,
    base: Any,
    tokenizer: Any,
    *,
    device: str = "auto",
    dtype: Any = "auto",
    embedder: Embedder | None = None,
    **keywords: Any,
) -> tuple[PersRM | None, Guide | None]:
    """Make a PersRM and its guide for a base.

    Args:
        reward_model: as in `load_pair`. None means no PersRM and no guide.
        base: the base that the guide will steer, a `Backbone` or a `LlamaBase`.
        tokenizer: the base's.
        device, dtype, embedder: as in `load_pair`, for a PersRM that has to be loaded.
        keywords: those that the base was loaded with. Those that say how files are fetched are used for the PersRM,
            too.

    Returns:
        the PersRM and its guide. Both are None where `reward_model` is None.

    Raises:
        InvalidRequestError: `reward_model` is of another type.
        ModelLoadError: the PersRM was not found or cannot be read.
        IncompatibleModelError: base and PersRM do not fit each other.
    """
    if reward_model is None:
        return None, None
    if isinstance(reward_model, str) and reward_model == "self":
        config = TextConfig(template=SELF_TEMPLATE, beta=SELF_BETA, alpha=SELF_ALPHA)
        persrm = PersRM(base, tokenizer, reference=base, config=config)
    elif isinstance(reward_model, PersRM):
        persrm = reward_model
    elif isinstance(reward_model, VectorHead):
        persrm = PersRM(base, tokenizer, head=reward_model, embedder=embedder)
    elif isinstance(reward_model, str | Path):
        persrm = PersRM.from_pretrained(
            reward_model,
            base=base,
            tokenizer=tokenizer,
            embedder=embedder,
            device=device,
            dtype=dtype,
            **{name: keywords[name] for name in keywords.keys() & SOURCE},
        )
    else:
        raise InvalidRequestError(
            f"reward_model has to be a folder or hub id, 'self', a PersRM, a VectorHead or None, but is "
            f"{reward_model!r}."
        )
    return persrm, persrm.guide_on(base, Prompts(tokenizer))


def load_pair(
    model: Any,
    reward_model: Any | None = None,
    *,
    tokenizer: Any | None = None,
    device: str = "auto",
    dtype: Any = "auto",
    embedder: Embedder | None = None,
    backend: str = "auto",
    url: str | Sequence[str] | None = None,
    **keywords: Any,
) -> Pair:
    """Load base and PersRM and put an engine on them.

    Args:
        model: a hub id, a folder, a GGUF file, or a loaded causal LM (then pass its `tokenizer`).
        reward_model: a PersRM folder or hub id (head, adapter or text), or a loaded `PersRM` or `VectorHead`. "self"
            means the base guides itself (see `SelfGuide`). None means the base decodes alone.
        tokenizer: the tokenizer of a loaded model. None means it is loaded with the model.
        device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", …
        dtype: "auto", "bfloat16", "float32", … or a torch dtype. "auto" is bfloat16 on CUDA, and on CPUs that compute
            in it (AVX512-BF16, AMX) for models of 64 MB of weights or more. Elsewhere it is float32. The log says which
            and why.
        embedder: embeds preferences for a head. None means the sentence embedder that the head names, loaded when
            first needed.
        backend: what runs a GGUF file: "llama.cpp" or "torch", whose weights are dequantised once into the user's
            cache folder. "auto" is llama.cpp where a binding is installed and nothing that is asked for needs torch.
        url: address of a vLLM server, or of several, which run the base in the place of this process. Of `model` the
            tokenizer and config are read, and `reward_model` has to be a head or None (see `persrm.remote`).
        keywords: settings of the engine (`EngineSettings`) and of llama.cpp (`LlamaSettings`). All others are passed to
            `load_causal_lm` for the base: `weights="int8"` on a CPU, `device_map="auto"` for a model larger than one
            card, `quantization_config=` for 4 or 8 bits, … Those that say which files are read (`revision`,
            `subfolder`, `trust_remote_code`, …) hold for its tokenizer as well. Those that say how files are fetched
            (`cache_dir`, `token`, `local_files_only`, …) hold for the PersRM as well.

    Raises:
        ModelLoadError: a model was not found or cannot be read.
        IncompatibleModelError: base and PersRM do not fit each other.
        MissingDependencyError: a keyword needs a package that is not installed.
    """
    if url is not None:
        from pad_langchain.persrm.remote import load_remote

        place = {"device": device, "dtype": dtype, "backend": backend}
        keywords |= {name: value for name, value in place.items() if value != "auto"}
        return Pair(*load_remote(model, reward_model, url, tokenizer=tokenizer, embedder=embedder, **keywords))
    file = open_gguf(model, keywords)
    choice = choose(backend, model, file, reward_model, keywords, device=device, dtype=dtype)
    if choice.backend == "llama.cpp" and file is not None:
        return _on_llama_cpp(file, tokenizer, reward_model, embedder, choice)
    loads = all(one is None or isinstance(one, str | PathLike) for one in (model, reward_model))
    if isinstance(model, str | PathLike):
        dtype = fastest_dtype(dtype, pick_device(device), choice.model.get("weights"), model)
    pair = _on_torch(file or model, tokenizer, reward_model, embedder, choice, device=device, dtype=dtype)
    engine = pair.engine
    if loads and isinstance(engine, TorchEngine) and engine.settings.pack_weights == "auto":
        for backbone in engine.models:
            pack(backbone.model, spare=True, join=not engine.settings.compile)
    return pair


def _on_torch(
    model: Any,
    tokenizer: Any | None,
    reward_model: Any | None,
    embedder: Embedder | None,
    choice: Choice,
    **place: Any,
) -> Pair:
    model, tokenizer = load_causal_lm(model, tokenizer, **place, **choice.model)
    base = Backbone(model)
    persrm, guide = guide_for(reward_model, base, tokenizer, embedder=embedder, **place, **choice.model)
    return Pair(TorchEngine(base, tokenizer, guide, **choice.engine), persrm)


def _on_llama_cpp(
    file: GgufFile, tokenizer: Any | None, reward_model: Any | None, embedder: Embedder | None, choice: Choice
) -> Pair:
    from pad_langchain.engine.llama_cpp import LlamaBase, LlamaCppEngine

    base = LlamaBase(file, **choice.llama)
    tokenizer = base.tokenizer if tokenizer is None else tokenizer
    persrm, guide = guide_for(reward_model, base, tokenizer, embedder=embedder, **choice.model)
    return Pair(LlamaCppEngine(base, tokenizer, guide, **choice.engine), persrm)


def load_engine(
    model: Any, reward_model: Any | None = None, **keywords: Any
) -> TorchEngine | LlamaCppEngine | RemoteEngine:
    """Load the engine of `load_pair` alone. The arguments and errors are the same."""
    return load_pair(model, reward_model, **keywords).engine
