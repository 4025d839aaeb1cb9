"""Settings of engines: limits, what they keep, and how their models compute."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from pad_langchain.engine import checks
from pad_langchain.errors import InvalidRequestError

__all__ = ["EngineSettings", "KvType", "LlamaSettings", "RemoteSettings", "read_urls", "split_settings"]

KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]

_ADDRESS = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")


@dataclass(frozen=True)
class EngineSettings:
    """How one engine runs.

    Args:
        max_batch: rows that decode together at most, 1 or more. Further rows wait, first come first served.
        max_queue: requests that may wait, 1 or more. One more is refused.
        max_batch_tokens: columns of KV cache, padding included, that the rows of a batch may come to need together, 1
            or more. Requests beyond it wait. A request that alone needs more is refused.
        prefix_tokens: prompt tokens per model whose keys and values are kept, 0 or more. Later turns, and users who
            begin alike, do not run them again. In float32 the answers are the same. In lower precision what is reused
            may round differently from what is run.
        pack_weights: whether large layers keep their weights a second time on the CPU, in a layout in which several
            rows cost little more than one (see `models.cpu.packed`). "auto" does so where the engine loaded the models
            itself and the copies take at most half of the free memory. With True, the weights of a loaded model must
            not be changed through `.data` afterwards.
        compile: whether the decode step runs as one compiled graph over static KV buffers, on a GPU as CUDA graphs
            (see `models.compiled`). The first steps compile it, or `TorchEngine.warm_up` beforehand. On a CPU this
            takes half a minute. On CUDA it has not been run yet.

    Raises:
        InvalidRequestError: a setting is out of its range.
    """

    max_batch: int = 32
    max_queue: int = 1024
    max_batch_tokens: int = 131072
    prefix_tokens: int = 8192
    pack_weights: bool | Literal["auto"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        for name, least in (("max_batch", 1), ("max_queue", 1), ("max_batch_tokens", 1), ("prefix_tokens", 0)):
            check = checks.integer(least, checks.LARGEST, f"an integer of at least {least}")
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if not isinstance(self.pack_weights, bool) and not (
            isinstance(self.pack_weights, str) and self.pack_weights == "auto"
        ):
            checks.refuse("pack_weights", self.pack_weights, "True, False or 'auto'")
        object.__setattr__(self, "compile", checks.flag("compile", self.compile))


@dataclass(frozen=True)
class LlamaSettings:
    """Settings of llama.cpp for one model.

    Args:
        threads: threads that compute, 1 or more. None means the cores that are free when the engine is made (see
            `llama_cpp.cores`). Threads wait for each other without sleeping, so more threads than free cores make a
            token many times as slow.
        gpu_layers: layers whose weights go to the GPU, 0 or more. -1 means all. It needs a llama.cpp built for a GPU.
        context_length: tokens of prompt and answer together at most. None means as many as the model was trained with,
            but no more than 8,192.
        flash_attention: whether attention is computed block by block. None means llama.cpp decides. The quantised
            `kv_type`s ("q8_0" to "q4_0") do not allow False.
        kv_type: the number format in which keys and values are kept.
        unified_kv: whether all sequences share one room for keys and values, in which any may be long, and beginnings
            are stored once. False gives each of `max_batch` sequences room for a whole context of its own, and takes
            the memory for it at once: set `context_length`. Many sequences that share nothing decode faster then.

    Raises:
        InvalidRequestError: a setting is out of its range.
    """

    threads: int | None = None
    gpu_layers: int = 0
    context_length: int | None = None
    flash_attention: bool | None = None
    kv_type: KvType = "f16"
    unified_kv: bool = True

    def __post_init__(self) -> None:
        count = checks.integer(1, 2**31 - 1, "an integer of at least 1, or None")
        for name in ("threads", "context_length"):
            if getattr(self, name) is not None:
                self._set(name, count(name, getattr(self, name)))
        layers = checks.integer(-1, 2**31 - 1, "a number of layers, or -1 for all")
        self._set("gpu_layers", layers("gpu_layers", self.gpu_layers))
        if self.flash_attention is not None:
            self._set("flash_attention", checks.flag("flash_attention", self.flash_attention))
        self._set("kv_type", checks.choice(*get_args(KvType))("kv_type", self.kv_type))
        self._set("unified_kv", checks.flag("unified_kv", self.unified_kv))
        if self.kv_type.startswith("q") and self.flash_attention is False:
            checks.refuse("flash_attention", False, f"True or None with kv_type={self.kv_type!r}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True)
class RemoteSettings:
    """Settings of the connection to servers that decode.

    Args:
        api_key: what the servers ask for as a bearer token. None means nothing is sent.
        served_model: the name under which the servers serve the base. None means the first that they list.
        timeout: seconds after which a server that sends nothing counts as dead. Its own queue counts, too.
        connect_timeout: seconds in which a connection has to be made.
        retries: further tries of a request, 0 or more, on other servers where there are some. A request of which a
            token has come is never tried again.

    Raises:
        InvalidRequestError: a setting is out of its range.
    """

    api_key: str | None = field(default=None, repr=False)
    served_model: str | None = None
    timeout: float = 120.0
    connect_timeout: float = 5.0
    retries: int = 2

    def __post_init__(self) -> None:
        for name in ("api_key", "served_model"):
            if (value := getattr(self, name)) is not None and not checks.text(name, value):
                checks.refuse(name, value, "a text, or None")
        for name in ("timeout", "connect_timeout"):
            check = checks.number(0.0, 1e6, "seconds above 0", above=True)
            object.__setattr__(self, name, check(name, getattr(self, name)))
        check = checks.integer(0, 100, "an integer from 0 to 100")
        object.__setattr__(self, "retries", check("retries", self.retries))


def read_urls(url: str | Sequence[str]) -> tuple[str, ...]:
    """Return the addresses of servers, each once, without "/v1" or a slash at its end.

    >>> read_urls(["http://one:8000/v1", "http://two:8000/", "http://one:8000"])
    ('http://one:8000', 'http://two:8000')

    Raises:
        InvalidRequestError: there is none, or one is no http:// or https:// address of a host.
    """
    listed = [url] if isinstance(url, str) else list(url)
    if not listed or not all(isinstance(one, str) and _ADDRESS.fullmatch(one) for one in listed):
        checks.refuse("url", url, "an address like 'http://vllm:8000', or a list of such (a key goes into api_key)")
    return tuple(dict.fromkeys(one.rstrip("/").removesuffix("/v1").rstrip("/") for one in listed))


def split_settings(
    keywords: Mapping[str, Any], kinds: Sequence[type] = (EngineSettings, LlamaSettings)
) -> tuple[dict[str, Any], ...]:
    """Split keywords into those of each of some classes of settings, and all others, which are the last.

    Raises:
        InvalidRequestError: a setting is out of its range, or another keyword is spelt almost like a setting.
    """
    names = [{field.name for field in fields(kind)} for kind in kinds]
    known = set().union(*names)
    for name in keywords.keys() - known:
        if near := difflib.get_close_matches(name, known, 1, 0.8):
            raise InvalidRequestError(f"The engine has no setting {name!r}. Did you mean {near[0]!r}?")
    split = [{name: value for name, value in keywords.items() if name in own} for own in names]
    for kind, own in zip(kinds, split, strict=True):
        kind(**own)
    return *split, {name: value for name, value in keywords.items() if name not in known}
