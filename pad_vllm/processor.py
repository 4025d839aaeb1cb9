"""Where logits are changed: one class for both of vLLM's interfaces, those of Model Runner V1 and V2."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.model_executor.custom_op import op_registry_oot
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import interface as v1
from vllm.v1.worker.gpu.sample.logits_processor import interface as v2

from pad_vllm.arithmetic.repeats import Repeats
from pad_vllm.heads import Head, served
from pad_vllm.requests import Guidance, read_guidance, read_repeats
from pad_vllm.steering import NEVER, End, Group, Weights, groups_of, steer_rows
from pad_vllm.tap import LAYER, Tap, taken_of

__all__ = ["PadProcessor"]

logger = logging.getLogger(__name__)


class PadProcessor(v1.LogitsProcessor, v2.LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Steers the rows of requests that bring a gate, and lets repeats cost what they say. It does not touch others.

    V1 makes it with a device and tells it rows by `update_state`. V2 makes it with its request states and tells it
    slots by `add_request`, and the slots of a step's rows by `apply`.

    Raises:
        ValueError: `PAD_PERSRM` has no head, or one that is not for this base, or the tap is not loaded.
    """

    def __init__(self, vllm_config: VllmConfig, place: Any, is_pin_memory: bool = False) -> None:
        self._config, self._states = vllm_config, place
        self._device: torch.device = getattr(place, "device", place)
        self._heads = served()
        self._weights: dict[Head, Weights] = {}
        self._guided: dict[int, Guidance | End] = {}  # by row (V1) or slot (V2)
        # So, too: the repeats that cost something, and V1's list of the answer's tokens, which grows.
        self._repeats: dict[int, tuple[Repeats, list[int]]] = {}
        self._rows: dict[int, Guidance | End] = {}  # those of the last step, by row
        self._groups: list[Group] | None = None  # of `_rows`; None where they are not made yet
        if op_registry_oot.get(LAYER) is not Tap:
            raise ValueError("The plugin pad_vllm is not loaded. Name it in VLLM_PLUGINS as well, if that is set.")
        model = vllm_config.model_config
        has = model.get_hidden_size(), model.get_vocab_size()
        for name in self._heads.names():
            config = self._heads.get(name).config
            if (wants := (config.hidden_size, config.vocab_size)) != has:
                raise ValueError(
                    f"The head {name!r} was trained for a base with (hidden size, vocabulary) {wants}, but "
                    f"{model.model!r} has {has}. Serve its own base, or train a head for this one."
                )

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse what no worker may see. It runs in the front end, whose clients get HTTP 400.

        Raises:
            ValueError: see `read_guidance`, `read_repeats` and `Heads.check`.
        """
        read_repeats(sampling_params.extra_args)
        guidance = read_guidance(sampling_params.extra_args, heads := served())
        if guidance is not None:
            heads.check(guidance.head)

    def is_argmax_invariant(self) -> bool:
        """Return False: guidance changes which token is the best."""
        return False

    def update_state(self, batch_update: v1.BatchUpdate | None) -> None:
        """V1: follow the rows of the batch."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._forget(row)
        for row, params, _, answer in batch_update.added:
            self._add(row, params, answer)
        for source, target, direction in batch_update.moved:
            for table in (self._guided, self._repeats):
                _move(table, source, target, direction == v1.MoveDirectionality.SWAP)
        self._groups = None

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """V2: take a slot; return whether its rows are changed."""
        self._groups = None
        return self._add(req_idx, sampling_params)

    def _add(self, place: int, params: SamplingParams, answer: list[int] | None = None) -> bool:
        self._forget(place)
        guided: Guidance | End | None
        try:
            guided = read_guidance(params.extra_args, self._heads)
            if (repeats := read_repeats(params.extra_args)) is not None:
                self._repeats[place] = repeats, [] if answer is None else answer
        except ValueError as error:  # the front end took it, so that its files are others; other requests go on
            logger.error("A request ends here without an answer, as this worker cannot read its guidance: %s", error)
            guided = End(min(params.all_stop_token_ids, default=0))
        if guided is not None:
            self._guided[place] = guided
        return place in self._guided or place in self._repeats

    def _forget(self, place: int) -> None:
        self._guided.pop(place, None)
        self._repeats.pop(place, None)

    def apply(self, logits: torch.Tensor, ctx: v2.LogitsContext | None = None) -> torch.Tensor:
        """Change the float32 logits [B, V] in place: what repeats cost, then guided scores. V2 brings `ctx`."""
        if self._repeats:
            for row, repeats, tokens in self._written() if ctx is None else self._written_in_slots(ctx, len(logits)):
                repeats.follow(tokens)
                repeats.apply(logits[row])
        if not self._guided:
            return logits
        self._lay_out(self._guided if ctx is None else self._in_slots(ctx, len(logits)))
        taken = taken_of(self._config)
        for group in self._groups or ():
            steer_rows(logits, taken.hidden_of(len(logits)), taken.logits, group)
        for row, end in self._rows.items():
            if isinstance(end, End):
                logits[row] = NEVER
                logits[row, end.token] = 0.0
        return logits

    def _in_slots(self, ctx: v2.LogitsContext, count: int) -> dict[int, Guidance | End]:
        """The guided rows of a step of V2."""
        slots = _slots(ctx, count)
        return {row: self._guided[slot] for row, slot in enumerate(slots) if slot in self._guided}

    def _written(self) -> Iterator[tuple[int, Repeats, list[int]]]:
        """V1: rows whose repeats cost something, and the tokens of their answers.

        Where vLLM schedules ahead of the device, -1 stands for a token that is not there yet. It is there when the
        next one is sampled.
        """
        for row, (repeats, tokens) in self._repeats.items():
            if tokens and tokens[-1] < 0:
                raise RuntimeError("vLLM tells pad-vllm no tokens of an answer. Start it with --no-async-scheduling.")
            yield row, repeats, tokens

    def _written_in_slots(self, ctx: v2.LogitsContext, count: int) -> Iterator[tuple[int, Repeats, list[int]]]:
        """V2: the same. The device has the tokens, and a row's drafts are what its request's rows up to it were fed."""
        slots = _slots(ctx, count)
        rows = [row for row, slot in enumerate(slots) if slot in self._repeats]
        if not rows:
            return
        told = torch.stack([each.long() for each in (ctx.pos, ctx.expanded_local_pos, ctx.input_ids)]).tolist()
        begins = [int(self._states.prompt_len.np[slots[row]]) for row in rows]
        ends = [told[0][row] + 1 - told[1][row] for row in rows]
        low, places = min(begins), torch.tensor([slots[row] for row in rows]).to(self._device)
        known = self._states.all_token_ids.gpu[places, low : max(ends)].cpu().numpy()
        for row, begin, end, known_L in zip(rows, begins, ends, known, strict=True):
            drafts = told[2][row - told[1][row] + 1 : row + 1]
            written = known_L[begin - low : max(begin, end) - low].tolist()  # none yet where a prompt goes in in parts
            yield row, self._repeats[slots[row]][0], written + drafts

    def _lay_out(self, rows: dict[int, Guidance | End]) -> None:
        """Put a step's guided rows onto the device, unless they are those of the step before."""
        if self._groups is None or rows != self._rows:
            guided = {row: each for row, each in rows.items() if isinstance(each, Guidance)}
            self._rows, self._groups = dict(rows), groups_of(guided, self._weights_of, self._device)

    def _weights_of(self, head: Head) -> Weights:
        if head not in self._weights:
            self._weights[head] = head.U_RD.to(self._device), head.V_DR.to(self._device)
        return self._weights[head]


def _slots(ctx: v2.LogitsContext, count: int) -> list[int]:
    """The slot of each row of V2. With drafts a request has several rows, and only the device knows which."""
    slots = ctx.idx_mapping_np if len(ctx.idx_mapping_np) == count else ctx.expanded_idx_mapping.cpu().numpy()
    return [int(slot) for slot in slots]


def _move(table: dict[int, Any], source: int, target: int, swap: bool) -> None:
    moved, replaced = table.pop(source, None), table.pop(target, None)
    if moved is not None:
        table[target] = moved
    if replaced is not None and swap:
        table[source] = replaced
