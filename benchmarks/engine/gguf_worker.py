"""One way to run a GGUF file, at work in a process of its own: what `gguf_engines.py` starts and asks.

    python benchmarks/engine/gguf_worker.py "llama.cpp engine" '{"model": "model.gguf", "threads": 2, …}'

Each line of its input is a JSON object {"do": a method of the contender, …: its arguments}; each line of its output is
what the method returns.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

WISH_SIZE = 384  # of all-MiniLM-L6-v2's embeddings
QUESTIONS = (
    "Why is the sky blue?",
    "How do I learn to cook?",
    "What is a good morning routine?",
    "Who was Ada Lovelace?",
)
WISHES = ("Be concise.", "Use bullet points.", "Explain it with an example.", "Write in a casual tone.")


@dataclass(frozen=True)
class Place:
    """What a contender is given: model file, head folder or "", threads, and how much it has to hold.

    Args:
        cells: tokens of all sequences together. sequences: how many at once.
        keep: whether prompts stay known between runs, so that only decoding takes time.
    """

    model: str
    head: str
    threads: int
    cells: int
    sequences: int
    keep: bool


def text_of(number: int, length: int) -> str:
    """A list that a model goes on with and does not end; texts of other numbers have other beginnings."""
    numbers = range(100 * number, 100 * number + length)
    return f"List {number}. " + " ".join(f"The number {n} comes before {n + 1}." for n in numbers)


def resident(name: str = "VmRSS") -> float:
    """MiB of this process now; as "VmHWM", at its most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def random_head(model: str) -> Any:
    """A head for a GGUF file, with random weights: its products are as large as a trained one's."""
    import torch

    from pad_langchain.models.gguf import GgufFile
    from pad_langchain.persrm.head import HeadConfig, VectorHead

    file = GgufFile(model)
    torch.manual_seed(0)
    head = VectorHead(HeadConfig(file.hidden_size, file.vocab_size, embedding_size=WISH_SIZE)).eval()
    with torch.no_grad():
        head.V_DR.normal_(std=0.1)
    return head


class LlamaAlone:
    """llama.cpp and nothing of ours: its functions in a loop, the likeliest token of each sequence by numpy."""

    def __init__(self, place: Place, *, unified: bool) -> None:
        import llama_cpp.llama_cpp as library

        self.place, self.unified, self.library, self.imported = place, unified, library, resident()
        self._silent = library.llama_log_callback(lambda *_: None)
        library.llama_log_set(self._silent, None)
        library.llama_backend_init()
        self.part = 2048
        self.batch = library.llama_batch_init(self.part, 0, 1)
        self._load()

    def _load(self) -> None:
        library, place = self.library, self.place
        self.model = library.llama_model_load_from_file(place.model.encode(), library.llama_model_default_params())
        params = library.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.n_batch = place.cells, place.sequences, self.part
        params.n_threads = params.n_threads_batch = place.threads
        params.kv_unified, params.no_perf = self.unified, True
        self.context = library.llama_init_from_model(self.model, params)
        self.memory = library.llama_get_memory(self.context)
        self.vocabulary = library.llama_model_get_vocab(self.model)
        self.size = library.llama_vocab_n_tokens(self.vocabulary)
        self.held: dict[int, list[int]] = {}  # of each sequence, the tokens whose keys and values are there

    def encode(self, text: str) -> list[int]:
        data, ids = text.encode(), (self.library.llama_token * (len(text) + 16))()
        count = self.library.llama_tokenize(self.vocabulary, data, len(data), ids, len(ids), False, True)
        return list(ids[:count])

    def _run(self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: bool) -> None:
        batch = self.batch
        batch.n_tokens = len(tokens)
        for n, (token, position, sequence) in enumerate(zip(tokens, positions, sequences, strict=True)):
            batch.token[n], batch.pos[n], batch.n_seq_id[n], batch.logits[n] = token, position, 1, wanted
            batch.seq_id[n][0] = sequence
        if self.library.llama_decode(self.context, batch):
            raise RuntimeError(f"llama_decode failed on {len(tokens)} tokens")

    def _read(self, sequence: int, ids: Sequence[int]) -> None:
        """Run the tokens of a prompt that are not there yet, but for the last."""
        held = self.held.get(sequence, [])
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(held, ids[:-1], strict=False)))
        self.library.llama_memory_seq_rm(self.memory, sequence, known, -1)
        for begin in range(known, len(ids) - 1, self.part):
            part = range(begin, min(begin + self.part, len(ids) - 1))
            self._run([ids[n] for n in part], part, [sequence] * len(part), wanted=False)
        self.held[sequence] = list(ids[:-1])

    def _step(self, tokens: Sequence[int], position: int) -> list[int]:
        self._run(tokens, [position] * len(tokens), range(len(tokens)), wanted=True)
        logits = np.ctypeslib.as_array(self.library.llama_get_logits(self.context), (len(tokens), self.size))
        return logits.argmax(axis=1).tolist()

    def decode(self, sequences: int, context: int, tokens: int) -> float:
        """Tokens a second after the first of each sequence."""
        prompts = [self.encode(text_of(row, context))[:context] for row in range(sequences)]
        for row, ids in enumerate(prompts):
            self._read(row, ids)
        chosen = self._step([ids[-1] for ids in prompts], context - 1)
        begun = time.perf_counter()
        for place in range(context, context + tokens - 1):
            chosen = self._step(chosen, place)
        return sequences * (tokens - 1) / (time.perf_counter() - begun)

    def start(self, new: bool = False) -> float:
        """Seconds from nothing but imports to a first token."""
        self.library.llama_free(self.context)
        self.library.llama_model_free(self.model)
        begun = time.perf_counter()
        self._load()
        ids = self.encode(text_of(0, 8))
        self._read(0, ids)
        self._step(ids[-1:], len(ids) - 1)
        return time.perf_counter() - begun


class Ours:
    """An engine of this package, plain or guided by a head."""

    def __init__(self, place: Place, *, backend: str, guided: bool = False, **keywords: Any) -> None:
        from pad_langchain.engine.types import WeightedPreference
        from pad_langchain.persrm.build import load_engine

        if backend == "llama.cpp":
            import pad_langchain.engine.llama_cpp.engine

            pad_langchain.engine.llama_cpp.binding.load_binding()
        self.place, self.imported, self._open = place, resident(), load_engine
        self.keywords: dict[str, Any] = {"backend": backend, "max_batch": place.sequences, **keywords}
        self.keywords["max_batch_tokens"] = place.cells
        if backend == "llama.cpp":
            self.keywords["threads"] = place.threads
        if place.keep:
            self.keywords["prefix_tokens"] = place.cells
        self.reward_model = (place.head or random_head(place.model)) if guided else None
        wish_E = np.random.default_rng(0).normal(size=WISH_SIZE).astype(np.float32)
        self.wishes = [WeightedPreference("be concise", 1.0, wish_E / np.linalg.norm(wish_E))] if guided else []
        self._fresh = count(1000)
        self._load()

    def _load(self) -> None:
        self.engine = self._open(self.place.model, self.reward_model, **self.keywords)
        self.engine.end_tokens = frozenset()  # random weights may choose one

    def _request(self, ids: Sequence[int], tokens: int) -> Any:
        from pad_langchain.engine.types import Request

        talk = [{"role": "user", "content": "Go on."}]
        return Request(messages=talk, prompt_ids=ids, preferences=self.wishes, max_tokens=tokens, logprobs=False)

    def _ids(self, number: int, length: int) -> list[int]:
        return self.engine.prompts.encode(text_of(number, length))[:length]

    def decode(self, sequences: int, context: int, tokens: int) -> float:
        """Tokens a second after the first of each sequence."""
        from pad_langchain.testing import paused

        requests = [self._request(self._ids(row, context), tokens) for row in range(sequences)]
        with paused(self.engine):
            streams = [self.engine.submit(request) for request in requests]
        readers = [iter(stream) for stream in streams]
        for reader in readers:
            next(reader)
        begun, done = time.perf_counter(), sum(len(stream.events) for stream in streams)
        count = sum(stream.result().completion_tokens for stream in streams)
        return (count - done) / (time.perf_counter() - begun)

    def first_token(self, length: int) -> tuple[float, float]:
        """Seconds to the first token of a prompt nobody has asked, and of one that differs in its last 8 tokens."""
        number = next(self._fresh)
        ids = self._ids(number, length)
        return tuple(self._seconds(prompt) for prompt in (ids, ids[:-8] + self._ids(number + 1, length)[-8:]))  # type: ignore[return-value]

    def _seconds(self, ids: Sequence[int]) -> float:
        begun = time.perf_counter()
        self.engine.submit(self._request(ids, 1)).result()
        return time.perf_counter() - begun

    def start(self, new: bool = False) -> float:
        """Seconds from nothing but imports to a first token. `new`: nothing of the file is in the cache."""
        self.engine.close()
        if new:
            with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, PAD_LANGCHAIN_CACHE=folder):
                return self.start()
        begun = time.perf_counter()
        self._load()
        self.engine.submit(self._request(self._ids(0, 64), 1)).result()
        return time.perf_counter() - begun


class Generate:
    """transformers' generate() on the dequantised weights: float32, or linear layers as dynamic int8."""

    def __init__(self, place: Place, *, int8: bool) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        from pad_langchain.models.gguf import GgufFile
        from pad_langchain.models.gguf.dequantised import torch_folder

        self.imported = resident()
        file = GgufFile(place.model)
        self.tokenizer = file.tokenizer
        self.model = AutoModelForCausalLM.from_pretrained(torch_folder(file, torch.float32), dtype=torch.float32).eval()
        self.model.generation_config.eos_token_id = None
        if int8:
            self.model = torch.ao.quantization.quantize_dynamic(self.model, {torch.nn.Linear}, dtype=torch.qint8)
        self._prompts: Any = None

    def decode(self, sequences: int, context: int, tokens: int) -> float:
        """Tokens a second after the first of each sequence."""
        import torch

        texts = [text_of(row, context) for row in range(sequences)]
        encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        ids_BT, times = torch.tensor([ids[:context] for ids in encoded]), []
        if self._prompts is None or not torch.equal(self._prompts[0], ids_BT):
            with torch.inference_mode():
                self._prompts = ids_BT, self.model(ids_BT, logits_to_keep=1).past_key_values
        cache = self._prompts[1]
        cache.crop(context - 1 - cache.get_seq_length())  # below 0: so many go

        def note(ids_BT: Any, *_: Any, **__: Any) -> Any:
            times.append(time.perf_counter())
            return torch.zeros(len(ids_BT), dtype=torch.bool)

        self.model.generate(
            ids_BT, past_key_values=cache, max_new_tokens=tokens, do_sample=False, stopping_criteria=[note],
            attention_mask=torch.ones_like(ids_BT), pad_token_id=0,
        )  # fmt: skip
        return sequences * (len(times) - 1) / (times[-1] - times[0])


class Heads:
    """A head on quantised hidden states: rewards and tokens of llama.cpp against float32, on the same answers."""

    def __init__(self, place: Place) -> None:
        from pad_memory.embedding import SentenceEmbedder

        self.place, self.embedder = place, SentenceEmbedder()

    def compare(self, tokens: int, wishes: int, beta: float, folder: str) -> dict[str, Any]:
        """Weights → figures over every token of answers that float32 weights chose."""
        from pad_langchain.engine.types import Request, WeightedPreference
        from pad_langchain.persrm.build import load_engine

        def told(engine: Any, question: str, wish: str, done: Sequence[int], most: int) -> Any:
            talk = [{"role": "user", "content": question}]
            ids = [*engine.prompts.render(talk), *done]
            wished = [WeightedPreference(wish, 1.0, vectors[wish])]
            return engine.submit(Request(talk, ids, preferences=wished, beta=beta, max_tokens=most, candidates=10))

        def plain(event: Any) -> int:
            return max(event.candidates, key=lambda candidate: candidate.logprob).token_id

        vectors = dict(zip(WISHES, self.embedder.embed(WISHES), strict=True))
        asked = [(question, wish) for question in QUESTIONS for wish in WISHES[:wishes]]
        with load_engine(self.place.model, self.place.head, backend="torch", dtype="float32") as engine:
            answers = [stream.result() for stream in [told(engine, *each, (), tokens) for each in asked]]
        steps = [
            (each, answer.token_ids[:n], event)
            for each, answer in zip(asked, answers, strict=True)
            for n, event in enumerate(answer.events)
            if event.candidates
        ]
        found = {"steps": len(steps), "reward": statistics.mean(abs(event.reward) for *_, event in steps)}
        for name, path in self._files(Path(folder)):
            with load_engine(path, self.place.head, backend="llama.cpp", threads=self.place.threads) as engine:
                streams = [told(engine, *each, done, 1) for each, done, _ in steps]
                pairs = [(event, stream.result().events[0]) for (*_, event), stream in zip(steps, streams, strict=True)]
            apart = []
            for event, other in pairs:
                theirs = {candidate.token_id: candidate.reward for candidate in other.candidates}
                apart += [abs(one.reward - theirs[one.token_id]) for one in event.candidates if one.token_id in theirs]
            found[name] = {
                "same token, guided": statistics.mean(event.token_id == other.token_id for event, other in pairs),
                "same token, plain": statistics.mean(plain(event) == plain(other) for event, other in pairs),
                "reward apart, median": statistics.median(apart),
                "reward apart, 95 of 100": float(np.percentile(apart, 95)),
            }
        return found

    def _files(self, folder: Path) -> Iterator[tuple[str, str]]:
        """The file itself, and the same weights as Q8_0."""
        import ctypes

        import llama_cpp.llama_cpp as library

        yield "as it is", self.place.model
        params = library.llama_model_quantize_default_params()
        params.ftype, params.allow_requantize, params.nthread = 7, True, self.place.threads  # 7: mostly Q8_0
        path = folder / "q8_0.gguf"
        if library.llama_model_quantize(self.place.model.encode(), str(path).encode(), ctypes.byref(params)):
            raise RuntimeError("llama.cpp could not write the model as Q8_0.")
        yield "as Q8_0", str(path)


CONTENDERS: dict[str, Callable[[Place], Any]] = {
    "llama.cpp, one KV": lambda place: LlamaAlone(place, unified=True),
    "llama.cpp, a KV each": lambda place: LlamaAlone(place, unified=False),
    "llama.cpp engine": lambda place: Ours(place, backend="llama.cpp"),
    "llama.cpp engine, head": lambda place: Ours(place, backend="llama.cpp", guided=True),
    "llama.cpp engine, a KV each": lambda place: Ours(place, backend="llama.cpp", unified_kv=False),
    "llama.cpp engine, head, a KV each": lambda place: Ours(place, backend="llama.cpp", guided=True, unified_kv=False),
    "torch engine": lambda place: Ours(place, backend="torch", dtype="float32"),
    "torch engine, head": lambda place: Ours(place, backend="torch", dtype="float32", guided=True),
    "torch engine int8": lambda place: Ours(place, backend="torch", weights="int8"),
    "generate float32": lambda place: Generate(place, int8=False),
    "generate int8": lambda place: Generate(place, int8=True),
    "heads": Heads,
}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    name, place = sys.argv[1], Place(**json.loads(sys.argv[2]))
    with suppress(ImportError):  # a contender that needs no torch may run where there is none
        if not name.startswith("llama.cpp,"):
            import torch

            torch.set_num_threads(place.threads)
    contender = CONTENDERS[name](place)
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        do = asked.pop("do")
        found = resident("VmHWM") - contender.imported if do == "memory" else getattr(contender, do)(**asked)
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
