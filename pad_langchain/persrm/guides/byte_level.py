"""A text PersRM with another tokenizer than the base's: candidates are compared as bytes.

The answer so far is committed to the PersRM in its own tokens, up to the last boundary that no continuation can move.
The bytes after it are pending. A candidate's score is the logarithm of

    P(the PersRM writes a text that starts with pending + candidate) − P(… with a longer candidate that extends it)

along the tokens that the PersRM's tokenizer writes that text with. At each of them this adds the probability of all
single tokens that cover the rest, which are a range of the vocabulary sorted by bytes. All candidates of all rows are
one trie and one forward, together with the tokens that were committed since the last forward. Nothing is encoded or run
twice.

Two things differ from a PersRM with the base's tokenizer, even if both tokenizers are the same. There, a candidate " w"
is that very token; here, it is every text that starts so, " world" included, unless another candidate is that text.
Here the PersRM sees only the text so far, not the base's choice of tokens for it. With single-byte tokens both agree.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from pad_langchain.engine.protocol import Base, GuideRows, Plan
from pad_langchain.engine.types import Request
from pad_langchain.errors import IncompatibleModelError
from pad_langchain.models.byte_vocabulary import ByteVocabulary
from pad_langchain.models.ends import end_tokens
from pad_langchain.models.kv.slot_cache import Branches, SlotRows
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.persrm.guides.trie import Trie, Way, log_sum_exp

__all__ = ["ByteLevelGuide", "fitting_guide"]

logger = logging.getLogger(__name__)

PREFILL_AT_ONCE = 512  # tokens of a prompt: what each sees is a mask in memory
SPARE = 64  # tokens of context: what is pending and a candidate are never longer, token for byte
NODES_AT_ONCE = 64  # full-vocabulary logits of so many trie nodes are in memory together
FLOOR = -60.0  # nats below the best candidate: what the PersRM cannot write at all


class ByteLevelGuide(ModelGuide):
    """A text PersRM whose tokenizer is not the base's. The arguments are those of `ModelGuide`.

    Both tokenizers have to be byte-level BPEs. The reference "reference" is the PersRM's own backbone with W =
    identity, compared in the same way.
    """

    bound: Base | None = None  # whose tokens are compared

    def bind(self, base: Base, prompts: Prompts) -> None:
        """Check that both tokenizers can be compared, and read the base's tokens as bytes.

        Raises:
            IncompatibleModelError: a tokenizer is not a byte-level BPE, the PersRM's names no end token, or its model
                is the base's own or has a sliding window.
        """
        if self.bound is base:
            return
        if self.adapter is not None or self.rides(base):
            raise IncompatibleModelError(
                "The PersRM is the base's own model under another tokenizer. Load it with the base's tokenizer."
            )
        windows = getattr(self.backbone.model.config.get_text_config(), "sliding_window", None)
        if windows is not None:
            raise IncompatibleModelError(
                f"The PersRM has another tokenizer and attention with a sliding window of {windows}, which a tree of "
                "continuations does not fit. Use a PersRM with the base's tokenizer."
            )
        self.theirs = ByteVocabulary(prompts.tokenizer, end_tokens(base.model, prompts.tokenizer))
        own = self.prompts.tokenizer
        self.ours = ByteVocabulary(own, end_tokens(self.backbone.model, own))
        if not self.ours.ends:
            raise IncompatibleModelError(
                "The PersRM's tokenizer names no token that ends an answer. Set its eos_token."
            )
        self.named = {text: index for index, text in self.ours.special.items()}
        self.order_V = torch.tensor(self.ours.by_bytes, device=self.backbone.head.weight.device)
        some = [self.theirs.tokens[token] for token in self.theirs.by_bytes[:: 1 + len(self.theirs.by_bytes) // 2000]]
        self.bound = base
        self.ratio = sum(len(self.ours.encode(text)) for text in some) / len(some)

    def plan(self, request: Request) -> Plan:
        """Plan as any text PersRM. The room counts the base's tokens, by the mean ratio of both tokenizers."""
        plan = super().plan(request)
        return plan if plan.room is None else replace(plan, room=max(1, int(plan.room / self.ratio)))

    def start(self, base: Base, plans: Sequence[Plan]) -> GuideRows:
        """Open the rows of these plans, and prefill their prompts in parts of 512 tokens per row."""
        prompts = [(list(prompt), plan.salt) for plan in plans for prompt in plan.rows]
        return _ByteRows(self, [prompt for prompt, _ in prompts], [salt for _, salt in prompts])

    def means(self, token: int) -> _Meaning:
        """Return what a token of the base means to the PersRM: bytes, or special tokens."""
        if token in self.theirs.tokens:
            return _Meaning(self.theirs.tokens[token])
        if token in self.theirs.ends:
            return _Meaning(ends=tuple(self.ours.ends))
        text = self.theirs.special.get(token, "")  # "" for a row of the head that no token has
        return _Meaning(ends=(self.named[text],)) if text in self.named else _Meaning(text.encode())


def fitting_guide(guide: ModelGuide, base: Base, prompts: Prompts) -> ModelGuide:
    """Return the guide itself if its tokenizer is the base's, else the same PersRM compared as bytes."""
    if guide.shares_tokens(base, prompts):
        return guide
    logger.info("The PersRM has a tokenizer of its own: candidates are compared as bytes.")
    return ByteLevelGuide(
        guide.backbone,
        guide.prompts,
        guide.value_head,
        adapter=guide.adapter,
        template=guide.template,
        beta=guide.recommended.beta,
        alpha=guide.recommended.alpha,
    )


@dataclass(frozen=True)
class _Meaning:
    """What a token means: bytes of text, or any of some special tokens after which text begins anew, or nothing."""

    text: bytes = b""
    ends: tuple[int, ...] = ()


@dataclass
class _State:
    """One guide row: bytes that are not in a token yet, and tokens that are committed but not run."""

    pending: bytes = b""
    committed: list[int] = field(default_factory=list)


class _ByteRows:
    def __init__(self, guide: ByteLevelGuide, prompts: Sequence[list[int]], salts: Sequence[str | None]) -> None:
        self.guide = guide
        self.states = [_State() for _ in prompts]
        self.rows = SlotRows(guide.backbone, salts)
        self.rows.load(prompts)
        fresh = [prompt[length:] for prompt, length in zip(prompts, self.rows.lengths, strict=True)]
        guide.backbone.tally.reused += sum(self.rows.lengths)
        guide.backbone.tally.prefilled += sum(map(len, fresh))
        roots: dict[int, torch.Tensor] = {}
        for begin in range(0, max(map(len, fresh)), PREFILL_AT_ONCE):
            parts = [prompt[begin : begin + PREFILL_AT_ONCE] for prompt in fresh]
            hidden_GTD = self.rows.run([Branches(part, len(part)) for part in parts])
            roots |= {row: hidden_GTD[row, len(part) - 1] for row, part in enumerate(parts) if part}
        self.root_GD = torch.stack([roots[row] for row in range(len(prompts))])
        for row, prompt in enumerate(prompts):
            self.rows.remember(row, prompt)

    @property
    def full(self) -> list[bool]:
        """Whether each row's context has no room for another token and for what is tried out after it, [G]."""
        spare = min(SPARE, self.rows.last_position // 4)
        return [self.rows.left(row) - len(state.committed) <= spare for row, state in enumerate(self.states)]

    def advance(self, tokens_GT: torch.Tensor) -> None:
        """Take in the chosen tokens [G, T]. They are run together with the next candidates."""
        ours = self.guide.ours
        for state, tokens in zip(self.states, tokens_GT.reshape(len(self.states), -1).tolist(), strict=True):
            for token in tokens:
                meaning = self.guide.means(token)
                if meaning.ends:
                    state.committed += [*ours.encode(state.pending), meaning.ends[0]]
                    state.pending = b""
                state.pending += meaning.text
            tokens, state.pending = ours.commit(state.pending)
            state.committed += tokens

    def merge(self, other: _ByteRows) -> None:
        self.rows.merge(other.rows)
        self.states += other.states
        self.root_GD = torch.cat([self.root_GD, other.root_GD])

    def keep(self, rows: Sequence[int]) -> None:
        self.rows.keep(rows)
        # A row may come twice, and its copies go their own ways.
        self.states = [replace(self.states[row], committed=list(self.states[row].committed)) for row in rows]
        self.root_GD = self.root_GD[torch.tensor(rows, device=self.root_GD.device)]

    def logits(
        self, hidden_GD: torch.Tensor, candidates_GK: torch.Tensor, own_reference: bool, keep_GK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        meanings = [[self.guide.means(token) for token in row] for row in candidates_GK.tolist()]
        kept = keep_GK.tolist()
        tries = [Trie(self._ways(*row)) for row in zip(self.states, meanings, kept, strict=True)]
        nodes_GM = self._run(tries)
        with_own = own_reference and self.guide.value_head is not None
        found = []
        for head in (self.guide.value_head, None) if with_own else (self.guide.value_head,):
            logprobs = self._logprobs(tries, nodes_GM, head)
            masses = [trie.masses(logprobs) for trie in tries]
            scores = [_exclusive(*row) for row in zip(meanings, kept, masses, strict=True)]
            found.append(torch.tensor(scores, dtype=torch.float32, device=candidates_GK.device))
        return found[0], found[1] if with_own else None

    def added(self, hidden_GD: np.ndarray, candidates_GK: np.ndarray) -> None:
        """Return None, as these rows have no logits of the base's tokens."""

    def _ways(self, state: _State, meanings: Sequence[_Meaning], kept: Sequence[bool]) -> Iterator[Way]:
        """Every way to write each kept candidate after what is pending."""
        ours, order_V = self.guide.ours, self.guide.order_V
        for column, (meaning, keep) in enumerate(zip(meanings, kept, strict=True)):
            if keep and meaning.ends:
                yield Way(column, ours.encode(state.pending), torch.tensor(meaning.ends, device=order_V.device))
            elif keep and meaning.text:
                rest = state.pending + meaning.text
                tokens = ours.encode(rest)
                for n, token in enumerate(tokens):
                    begin, end = ours.starting_with(rest)
                    if begin < end:
                        yield Way(column, tokens[:n], order_V[begin:end])
                    rest = rest[len(ours.tokens[token]) :]

    def _run(self, tries: Sequence[Trie]) -> list[torch.Tensor]:
        """Run the committed tokens and the tries in one forward. Return each trie's hidden states [M, D]."""
        new = []
        for state, trie in zip(self.states, tries, strict=True):
            kept = len(state.committed)
            parents = [kept + parent - 1 if parent else -1 for parent in trie.parents]
            new.append(Branches(state.committed + trie.tokens, kept, parents))
            state.committed = []
        if not any(one.tokens for one in new):
            return list(self.root_GD[:, None])
        hidden_GTD = self.rows.run(new)
        for row, one in enumerate(new):
            if one.kept:
                self.root_GD[row] = hidden_GTD[row, one.kept - 1]
        return [
            torch.cat([self.root_GD[row : row + 1], hidden_GTD[row, one.kept : len(one.tokens)]])
            for row, one in enumerate(new)
        ]

    def _logprobs(
        self, tries: Sequence[Trie], nodes_GM: Sequence[torch.Tensor], value_head: torch.nn.Linear | None
    ) -> Iterator[float]:
        """The answers to what the nodes of the tries ask, in nats."""
        hidden_MD = torch.cat(list(nodes_GM))
        nodes = [(trie, node) for trie in tries for node in range(len(trie))]
        for begin in range(0, len(nodes), NODES_AT_ONCE):
            own_MD = hidden_MD[begin : begin + NODES_AT_ONCE]
            steered_MD = own_MD if value_head is None else value_head(own_MD.to(value_head.weight.dtype))
            logits_MV = self.guide.backbone.logits(steered_MD)
            asked = [trie.ask(node, logits_V) for (trie, node), logits_V in zip(nodes[begin:], logits_MV, strict=False)]
            counts_M = torch.tensor([sum(map(len, parts)) for parts in asked], device=logits_MV.device)
            if parts := [part for parts in asked for part in parts]:
                yield from (torch.cat(parts) - logits_MV.logsumexp(-1).repeat_interleave(counts_M)).tolist()


def _exclusive(meanings: Sequence[_Meaning], kept: Sequence[bool], masses: dict[int, float]) -> list[float]:
    """Subtract from each candidate the mass of longer candidates that extend it: log scores, one per column.

    The best is 0 and none is below FLOOR, so that rewards stay finite. Columns that are not kept are 0.
    """
    if any(math.isnan(mass) for mass in masses.values()):
        return [math.nan] * len(kept)
    texts = {text: mass for column, mass in masses.items() if (text := meanings[column].text)}
    longer = _next_longer(texts)
    scores = dict(masses)
    for column, mass in masses.items():
        if extending := longer.get(meanings[column].text):
            rest = 1.0 - math.exp(min(0.0, log_sum_exp([texts[one] for one in extending]) - mass))
            scores[column] = mass + (math.log(rest) if rest > 0.0 else -math.inf)
    best = max(scores.values(), default=0.0)
    return [max(scores.get(column, -math.inf) - best, FLOOR) if keep else 0.0 for column, keep in enumerate(kept)]


def _next_longer(texts: Collection[bytes]) -> dict[bytes, list[bytes]]:
    """Each text → the longer texts that begin with it, except those that begin with another of these."""
    found: dict[bytes, list[bytes]] = {text: [] for text in texts}
    line: list[bytes] = []  # each begins with the one before
    for text in sorted(texts):
        while line and not text.startswith(line[-1]):
            line.pop()
        if line:
            found[line[-1]].append(text)
        line.append(text)
    return found
