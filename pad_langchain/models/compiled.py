"""The decode step over static KV buffers as one compiled graph. On CUDA it is replayed as CUDA graphs.

Rows and columns are padded to a few sizes, so that joining users and growing answers need no new compilation. Sizes are
symbols of one graph, but a single row has a graph of its own. On CUDA each pair of sizes is captured once.
Prefills and the scoring of candidates are not compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from pad_langchain.errors import IncompatibleModelError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.attention import attention_of, has_windows
from pad_langchain.models.kv.row_cache import RowCache

__all__ = ["DecodeGraph", "decode_graph"]

NARROWEST = 192  # columns; sizes are this times a power of two, which no head size is
BACKEND = "inductor"

_Buffers = list[tuple[torch.Tensor, torch.Tensor]]


class _StaticLayer(CacheLayerMixin):
    """One layer's keys and values, [R, H, C, D]. A step writes column `at` of every row and reads all columns."""

    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, at_1: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values, self.at_1 = keys, values, at_1
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing, as the buffers exist."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys.index_copy_(2, self.at_1, key_states)
        self.values.index_copy_(2, self.at_1, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.keys.shape[2], 0

    def get_seq_length(self) -> int:
        return 0  # positions come with the call

    def get_max_length(self) -> int:
        return int(self.keys.shape[2])


def _decode(
    decoder: Any,
    adapter: Adapter | None,
    dtype: torch.dtype,
    buffers: _Buffers,
    ids_R: torch.Tensor,
    pad_R: torch.Tensor,
    share_R: torch.Tensor,
    at_1: torch.Tensor,
) -> torch.Tensor:
    """Run one token of every row: hidden states [R, D]. `share_R` is 1 for rows that the adapter acts on, else 0."""
    columns_C = torch.arange(buffers[0][0].shape[2], device=ids_R.device)
    seen_RC = (columns_C >= pad_R[:, None]) & (columns_C <= at_1)
    mask_RC = torch.zeros_like(seen_RC, dtype=dtype).masked_fill(~seen_RC, torch.finfo(dtype).min)
    settings = {
        "input_ids": ids_R[:, None],
        "attention_mask": mask_RC[:, None, None],
        "position_ids": (at_1 - pad_R).clamp_min(0)[:, None],
        "past_key_values": Cache(layers=[_StaticLayer(keys, values, at_1) for keys, values in buffers]),
        "use_cache": True,
    }
    if adapter is None:
        return decoder(**settings).last_hidden_state[:, -1]
    with adapter.on(share_R=share_R):
        return decoder(**settings).last_hidden_state[:, -1]


class DecodeGraph:
    """Runs the decode steps of one model's rows. Only one batch of rows at a time may use it.

    Args:
        model: the causal LM, on one device, without sliding windows.
    """

    def __init__(self, model: Any) -> None:
        self.decoder, self.dtype, self.device = model.base_model, model.dtype, model.device
        # A code object of its own: torch.compile counts the recompilations of each.
        own: Any = FunctionType(_decode.__code__.replace(), globals())
        self._step: Callable[..., torch.Tensor] = torch.compile(own, fullgraph=True, dynamic=True, backend=BACKEND)
        self._flat: list[torch.Tensor] = []
        self._views: dict[tuple[int, int], _Buffers] = {}
        self._inputs: dict[int, tuple[torch.Tensor, ...]] = {}
        self._at_1 = torch.zeros(1, dtype=torch.long, device=self.device)
        self._captured: dict[tuple[int, ...], tuple[Any, torch.Tensor]] = {}
        self._loaded: torch.Tensor | None = None

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The (rows, columns) that have buffers: those that ran since the buffers last grew."""
        return sorted(self._views)

    def run(
        self, tokens_B: torch.Tensor, cache: RowCache, pad_B: torch.Tensor, adapter: Adapter | None, start: int
    ) -> torch.Tensor:
        """Append a token to every row of a filled cache. The rows are first copied into the static buffers.

        Args:
            tokens_B: a token id per row.
            cache: the rows' keys and values.
            pad_B: columns of padding on each row's left.
            adapter: acts on the rows from `start` on. None means nothing does.

        Returns:
            hidden states [B, D].
        """
        count, width = len(tokens_B), cache.width
        layer = cache.layers[0]
        sizes = (_up(count, 1), _up(width + 1, NARROWEST))
        if self._loaded is None or layer.keys is not self._loaded or layer.keys.shape[2] != sizes[1]:
            self._load(cache, sizes, pad_B, start)
        self._inputs[sizes[0]][0][:count] = tokens_B
        self._at_1.fill_(width)
        hidden_RD = self._launch(sizes, adapter)
        for layer in cache.layers:
            layer.length = width + 1
        return hidden_RD[:count].clone()

    def warm_up(self, like: RowCache, adapter: Adapter | None, rows: Sequence[int], columns: Sequence[int]) -> float:
        """Compile and capture these sizes, rounded up to those in use. Return the seconds it took.

        Args:
            like: a filled cache of this model, for its shapes.
            adapter: acts on some rows. None means there is none.
            rows, columns: the sizes. All pairs of them are compiled.
        """
        begun = time.perf_counter()
        sizes = sorted({(_up(count, 1), _up(width, NARROWEST)) for count in rows for width in columns}, reverse=True)
        for pair in sizes:
            self._view(like, pair)
        for pair in sizes:
            self._launch(pair, adapter)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - begun

    def _load(self, cache: RowCache, sizes: tuple[int, int], pad_B: torch.Tensor, start: int) -> None:
        """Copy the rows into the buffers of these sizes. Afterwards the cache's tensors are views of them."""
        count, width = len(pad_B), cache.width
        # Copies first: the rows may lie in these very buffers.
        rows = [tuple(part.clone() for part in layer.used()) for layer in cache.layers]
        for layer, parts, buffers in zip(cache.layers, rows, self._view(cache, sizes), strict=True):
            for part, buffer in zip(parts, buffers, strict=True):
                buffer.zero_()  # what is left of others must not be NaN
                buffer[:count, :, :width] = part
            layer.keys, layer.values = (buffer[:count] for buffer in buffers)
        self._loaded = cache.layers[0].keys
        _, pad_R, share_R = self._inputs[sizes[0]]
        pad_R.zero_()
        pad_R[:count] = pad_B
        share_R.zero_()
        share_R[start:count] = 1.0

    def _view(self, like: RowCache, sizes: tuple[int, int]) -> _Buffers:
        """The buffers as [R, H, C, D]. All sizes begin at one address, which moves when a size exceeds all before."""
        if sizes in self._views:
            return self._views[sizes]
        rows, columns = sizes
        wanted = [part[:1, :, :1].numel() * rows * columns for layer in like.layers for part in layer.used()]
        shapes = [(rows, part.shape[1], columns, part.shape[3]) for layer in like.layers for part in layer.used()]
        if not self._flat or wanted[0] > self._flat[0].numel():
            self._views, self._captured, self._loaded = {}, {}, None
            self._flat = [torch.zeros(size, dtype=self.dtype, device=self.device) for size in wanted]
        parts = [flat[:size].view(shape) for flat, size, shape in zip(self._flat, wanted, shapes, strict=True)]
        from torch._dynamo import mark_static  # torch's documentation names it so; it takes seconds to import

        for part in parts:
            mark_static(part, [1, 3])
        self._views[sizes] = list(zip(parts[::2], parts[1::2], strict=True))
        if rows not in self._inputs:
            whole = (torch.zeros(rows, dtype=torch.long, device=self.device) for _ in range(2))
            self._inputs[rows] = (*whole, torch.zeros(rows, dtype=self.dtype, device=self.device))
        return self._views[sizes]

    def _launch(self, sizes: tuple[int, int], adapter: Adapter | None) -> torch.Tensor:
        """Run the step on the inputs. Running it twice does no harm, as it writes the same column."""

        def step() -> torch.Tensor:
            inputs = self._inputs[sizes[0]]
            return self._step(self.decoder, adapter, self.dtype, self._views[sizes], *inputs, self._at_1)

        if self.device.type != "cuda":
            return step()
        key = (*sizes, 0 if adapter is None else adapter.serial)
        with torch.cuda.device(self.device):
            if key not in self._captured:
                self._captured[key] = _capture(step)
            graph, hidden_RD = self._captured[key]
            graph.replay()
        return hidden_RD


def _capture(step: Callable[[], torch.Tensor]) -> tuple[Any, torch.Tensor]:
    """A CUDA graph of a step, and the tensor that each replay fills."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()  # compiles, and lets libraries set themselves up
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads plan requests on the device meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        hidden_RD = step()
    return graph, hidden_RD


def decode_graph(model: Any) -> DecodeGraph:
    """Make the graph of a model's decode steps. Nothing is compiled before the first step.

    Raises:
        IncompatibleModelError: the steps cannot be compiled.
    """
    reason = _why_not(model)
    if reason is not None:
        raise IncompatibleModelError(
            f"compile is True, but the steps of this {type(model).__name__} cannot be compiled: {reason}. Use False."
        )
    return DecodeGraph(model)


def _why_not(model: Any) -> str | None:
    """Why a model's steps cannot be compiled here. None means they can."""
    config = model.config.get_text_config()
    if has_windows(config):
        return "it has attention with a sliding window"
    if (attention := attention_of(config)) not in ("sdpa", "eager"):
        return f"its attention is {attention!r}, not 'sdpa' or 'eager'"
    if len({parameter.device for parameter in model.parameters()}) > 1:
        return "it is spread over several devices"
    if getattr(model, "hf_quantizer", None) is not None or model.get_output_embeddings().weight.dtype == torch.int8:
        return "its weights are quantized"
    return None


def _up(value: int, least: int) -> int:
    """The smallest `least` times a power of two that is not below `value`."""
    while least < value:
        least *= 2
    return least
