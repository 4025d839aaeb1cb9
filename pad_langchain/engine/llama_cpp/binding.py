"""llama.cpp through llama-cpp-python's functions. No other module calls them.

    Weights.load(path) → Context(weights, …): decode(…) → logits [N, V] and hidden states [N, D], without a copy

The hidden state is the one after the final norm, which the output matrix is applied to.
"""

from __future__ import annotations

import ctypes
import logging
import operator
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pad_langchain.engine.settings import LlamaSettings
from pad_langchain.errors import EngineMemoryError, IncompatibleModelError, MissingDependencyError, ModelLoadError

__all__ = ["FORKED", "TRIED", "Context", "Weights", "load_binding"]

logger = logging.getLogger(__name__)

TRIED = ("0.3.36",)  # versions of llama-cpp-python that the tests ran with
_INSTALL = 'pip install "pad-langchain[llama-cpp]"'

_NEEDED = (
    "llama_backend_init llama_context_default_params llama_decode llama_free llama_get_embeddings llama_get_logits "
    "llama_get_memory llama_init_from_model llama_log_callback llama_log_get llama_log_set "
    "llama_max_parallel_sequences llama_memory_seq_cp llama_memory_seq_rm llama_model_default_params "
    "llama_model_desc llama_model_free llama_model_get_vocab llama_model_has_decoder llama_model_has_encoder "
    "llama_model_is_diffusion llama_model_is_hybrid llama_model_is_recurrent llama_model_load_from_file "
    "llama_model_n_ctx_train llama_model_n_embd llama_n_ctx llama_set_embeddings llama_state_seq_get_data "
    "llama_state_seq_get_size llama_state_seq_set_data llama_supports_gpu_offload llama_tokenize llama_vocab_n_tokens"
).split()
_FIELDS = ("embeddings", "flash_attn_type", "kv_unified", "n_outputs_max", "n_seq_max", "swa_full", "type_k", "type_v")

# enum ggml_type, enum llama_flash_attn_type
_KV_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}
_FLASH = {None: -1, False: 0, True: 1}
_NO_SLOT = 1  # what llama_decode returns where keys and values have no place
_PART = 512  # tokens of a prompt in one forward

FORKED = (
    "The engine was made before the process forked, and llama.cpp's threads and memory are the parent's. Make the "
    'engine in the child (gunicorn: without preload_app), or start processes with "spawn".'
)


@cache
def load_binding() -> ModuleType:
    """Load llama-cpp-python's functions.

    Raises:
        MissingDependencyError: it is not installed, does not load, or lacks a function.
    """
    try:
        library = import_module("llama_cpp.llama_cpp")
    except ImportError as error:
        raise MissingDependencyError(
            f"GGUF models on llama.cpp need llama-cpp-python ({error}). Install it: {_INSTALL}. Or use backend='torch'."
        ) from error
    except (OSError, RuntimeError) as error:  # its shared library is not there, or is for another machine
        raise MissingDependencyError(
            f"llama-cpp-python is installed, but llama.cpp does not load: {error}. Build it for this machine: "
            "pip install --no-binary llama-cpp-python --force-reinstall llama-cpp-python. Or use backend='torch'."
        ) from error
    check_binding(library)
    # Where nobody has asked it to be verbose, it prints every line of llama.cpp's log.
    if (talk := logging.getLogger("llama-cpp-python")).level == logging.NOTSET:
        talk.setLevel(logging.ERROR)
    library.llama_backend_init()
    return library


def check_binding(library: Any) -> None:
    """Check that a binding has all functions and settings that are used here.

    Raises:
        MissingDependencyError: it lacks one.
    """
    missing = [name for name in _NEEDED if not hasattr(library, name)]
    if not missing:
        params = library.llama_context_default_params()
        missing = [f"llama_context_params.{name}" for name in _FIELDS if not hasattr(params, name)]
    if missing:
        version = getattr(import_module("llama_cpp"), "__version__", "unknown")
        raise MissingDependencyError(
            f"This llama-cpp-python ({version}) has no {', '.join(missing)}; it has worked with {', '.join(TRIED)}. "
            f"Install it: {_INSTALL}. Or use backend='torch'."
        )


_logs = threading.Lock()  # llama.cpp has one log for all
# Threads of one call wait for each other without sleeping, so those of two calls would wait for each other's cores.
_turns = threading.Lock()


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Send llama.cpp's messages to our log inside the block, and collect its errors for our own messages."""
    library, errors = load_binding(), []
    before, data = library.llama_log_callback(), ctypes.c_void_p()

    @library.llama_log_callback
    def hear(level: int, text: bytes, _: Any) -> None:
        line = text.decode("utf-8", "replace").strip()
        logger.debug("%s", line)
        if level == 3 and line:  # GGML_LOG_LEVEL_ERROR
            errors.append(line)

    with _logs:
        library.llama_log_get(ctypes.byref(before), ctypes.byref(data))
        library.llama_log_set(hear, None)
        try:
            yield errors
        finally:
            library.llama_log_set(before, data)


class Weights:
    """A model's loaded weights, memory-mapped on a CPU. They are freed with the last reference.

    Args:
        path: the GGUF file. Of a model in several files, the first.
        gpu_layers: layers on the GPU, 0 or more. -1 means all.

    Raises:
        MissingDependencyError: llama.cpp is not installed, or was not built for a GPU.
        ModelLoadError: llama.cpp cannot read the file, or there is no memory for it.
        IncompatibleModelError: the model is not a decoder with attention layers alone.
    """

    def __init__(self, path: Path, gpu_layers: int = 0) -> None:
        library = load_binding()
        if gpu_layers and not library.llama_supports_gpu_offload():
            raise MissingDependencyError(
                f"gpu_layers={gpu_layers} needs a llama.cpp that was built for a GPU, but this one was not. Build "
                "llama-cpp-python with CMAKE_ARGS='-DGGML_CUDA=on' (see its README), or leave gpu_layers at 0."
            )
        params = library.llama_model_default_params()
        params.n_gpu_layers = gpu_layers if gpu_layers >= 0 else 2**31 - 1
        with _heard() as errors:
            self.model = library.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            said = "; ".join(errors[:3]) or "it gives no reason"
            less = ", or lower gpu_layers if the GPU has no room for it" if gpu_layers else ""
            raise ModelLoadError(
                f"llama.cpp cannot load {str(path)!r}: {said}. Fetch the file again if it may be cut, convert it anew "
                f"for this llama.cpp{less}."
            )
        weakref.finalize(self, library.llama_model_free, self.model)
        self._vocabulary = library.llama_model_get_vocab(self.model)
        self.vocab_size: int = library.llama_vocab_n_tokens(self._vocabulary)
        self.hidden_size: int = library.llama_model_n_embd(self.model)
        self.context: int = library.llama_model_n_ctx_train(self.model)
        self._check_kind(library, path)

    def __deepcopy__(self, _: Any) -> Weights:
        return self

    def tokenize(self, text: str, *, begin: bool = False, control: bool = True) -> list[int]:
        """Return the token ids that llama.cpp reads a text as. Thread-safe.

        Args:
            text: the text.
            begin: whether the tokens that the model begins or ends a text with are added, as its file says.
            control: whether names of control tokens in the text stand for them.
        """
        data = text.encode()
        ids = (ctypes.c_int32 * (3 * len(data) + 16))()  # a space may become a sign of three bytes
        count = load_binding().llama_tokenize(self._vocabulary, data, len(data), ids, len(ids), begin, control)
        if count < 0:
            raise RuntimeError(f"llama.cpp made more than {len(ids)} tokens of {len(data)} bytes.")
        return ids[:count]

    def _check_kind(self, library: Any, path: Path) -> None:
        kinds = (
            ("has an encoder", library.llama_model_has_encoder(self.model)),
            ("has no decoder", not library.llama_model_has_decoder(self.model)),
            ("is recurrent", library.llama_model_is_recurrent(self.model)),
            ("is in part recurrent", library.llama_model_is_hybrid(self.model)),
            ("writes by diffusion", library.llama_model_is_diffusion(self.model)),
        )
        what = [text for text, true in kinds if true]
        if what:
            name = ctypes.create_string_buffer(128)
            library.llama_model_desc(self.model, name, len(name))
            raise IncompatibleModelError(
                f"The model in {str(path)!r} ({name.value.decode(errors='replace')}) {' and '.join(what)}; guided "
                "decoding here needs a model with attention layers alone that continues a text. Use another model."
            )


class Context:
    """Keys and values of many sequences, and the outputs of the last call. Only one thread may use it.

    One call takes `part` tokens at most.

    Args:
        weights: the model's.
        settings: how it computes.
        threads: threads that compute, 1 or more.
        cells: tokens that all sequences together may hold.
        sequences: how many sequences there may be. Their ids are 0 to sequences - 1.

    Raises:
        EngineMemoryError: there is no memory for it.
    """

    def __init__(self, weights: Weights, settings: LlamaSettings, threads: int, cells: int, sequences: int) -> None:
        library = load_binding()
        self._weights, self._library, self.cells, self.sequences = weights, library, cells, sequences
        self._unified = settings.unified_kv
        params = library.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = max(_PART, sequences)
        params.n_seq_max = params.n_outputs_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.embeddings, params.pooling_type = True, 0
        params.kv_unified, params.swa_full, params.no_perf = settings.unified_kv, True, True
        params.type_k = params.type_v = _KV_TYPES[settings.kv_type]
        params.flash_attn_type = _FLASH[settings.flash_attention]
        with _heard() as errors:
            self._pointer = library.llama_init_from_model(weights.model, params)
        if not self._pointer:
            said = "; ".join(errors[:3]) or "it gives no reason"
            raise EngineMemoryError(
                f"llama.cpp cannot hold keys and values of {cells} tokens as {settings.kv_type} "
                f"(flash_attention={settings.flash_attention}): {said}. Lower max_batch_tokens or context_length."
            )
        weakref.finalize(self, _free, library, self._pointer, weights)
        self._memory = library.llama_get_memory(self._pointer)
        self._batch, self._wanted = _Batch(library, params.n_batch), True
        self._arrays: dict[tuple[int, int, int], np.ndarray] = {}
        self._turn: AbstractContextManager[Any] = _turns if threads > 1 else nullcontext()
        self.part: int = params.n_batch  # tokens at most that one call takes

    def read(self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]) -> None:
        """Run tokens of prompts for their keys and values alone.

        Args:
            tokens: N token ids, at most `part`.
            positions: each token's place in its sequence, from 0.
            sequences: the id of each token's sequence.

        Raises:
            EngineMemoryError: there is no room for so many tokens.
        """
        self._run(False, tokens, positions, sequences)

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run N tokens, at most `sequences`, and read their outputs. The arguments are those of `read`.

        Returns:
            logits [N, V] and hidden states [N, D], float32. They are llama.cpp's own memory, valid until the next
            call. The logits may be overwritten.

        Raises:
            EngineMemoryError: there is no room for so many tokens.
        """
        if self._unified or all(map(operator.lt, sequences, sequences[1:])):
            return self._decode(tokens, positions, sequences)
        # Sequences that hold their keys and values apart are computed together only where their ids follow each other.
        order = sorted(range(len(sequences)), key=sequences.__getitem__)
        logits, hidden = self._decode(*([each[n] for n in order] for each in (tokens, positions, sequences)))
        back = np.argsort(order)
        return logits[back], hidden[back]

    def _decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        self._run(True, tokens, positions, sequences)
        logits = self._library.llama_get_logits(self._pointer)
        hidden = self._library.llama_get_embeddings(self._pointer)
        return (
            self._array(logits, len(tokens), self._weights.vocab_size),
            self._array(hidden, len(tokens), self._weights.hidden_size),
        )

    def _array(self, pointer: Any, rows: int, columns: int) -> np.ndarray:
        """llama.cpp's memory as an array. Its address rarely changes between steps."""
        key = (ctypes.addressof(pointer.contents), rows, columns)
        if key not in self._arrays:
            self._arrays = {name: seen for name, seen in self._arrays.items() if name[2] != columns}
            self._arrays[key] = np.ctypeslib.as_array(pointer, (rows, columns))
        return self._arrays[key]

    def _run(self, wanted: bool, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]) -> None:
        if wanted != self._wanted:  # with embeddings on, every token of a call has logits and a hidden state
            self._library.llama_set_embeddings(self._pointer, wanted)
            self._wanted = wanted
        batch = self._batch.fill(tokens, positions, sequences, wanted)
        with self._turn:
            code = self._library.llama_decode(self._pointer, batch)
        if code == _NO_SLOT:
            raise EngineMemoryError(f"llama.cpp has no room for {len(tokens)} more tokens in {self.cells} cells.")
        if code:
            raise RuntimeError(f"llama.cpp could not run {len(tokens)} tokens: llama_decode returned {code}.")

    def copy(self, source: int, target: int, length: int) -> None:
        """Let the empty sequence `target` begin with the first `length` tokens of `source`.

        They are stored once where all sequences share one room.
        """
        if self._unified:
            self._library.llama_memory_seq_cp(self._memory, source, target, 0, length)
        else:
            self.load(self.save(source), target)
            self.cut(target, length)

    def cut(self, sequence: int, length: int = 0) -> None:
        """Drop all but the first `length` tokens of a sequence."""
        if not self._library.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise RuntimeError(f"llama.cpp cannot shorten sequence {sequence} to {length} tokens.")

    def save(self, sequence: int) -> np.ndarray:
        """Return a copy of a sequence's keys and values as bytes."""
        size = self._library.llama_state_seq_get_size(self._pointer, sequence)
        state = np.empty(size, dtype=np.uint8)
        written = self._library.llama_state_seq_get_data(self._pointer, _bytes(state), size, sequence)
        if written != size:
            raise RuntimeError(f"llama.cpp wrote {written} of the {size} bytes of sequence {sequence}.")
        return state

    def load(self, state: np.ndarray, sequence: int) -> None:
        """Fill an empty sequence with what `save` returned.

        Raises:
            EngineMemoryError: there is no room for its tokens.
        """
        if not self._library.llama_state_seq_set_data(self._pointer, _bytes(state), len(state), sequence):
            raise EngineMemoryError(f"llama.cpp has no room for a kept beginning of {len(state)} bytes.")


class _Batch:
    """The arrays that llama_decode reads, made once."""

    def __init__(self, library: Any, size: int) -> None:
        self._token, self._position, self._one, self._sequence = (np.ones(size, dtype=np.int32) for _ in range(4))
        self._wanted = np.zeros(size, dtype=np.int8)
        first, step = self._sequence.ctypes.data, self._sequence.itemsize
        integer = ctypes.POINTER(ctypes.c_int32)
        self._pointers = (integer * size)(*(ctypes.cast(first + step * n, integer) for n in range(size)))
        self._batch = library.llama_batch()
        self._batch.token, self._batch.pos, self._batch.n_seq_id = (
            array.ctypes.data_as(integer) for array in (self._token, self._position, self._one)
        )
        self._batch.seq_id = self._pointers
        self._batch.logits = self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))

    def fill(self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: bool) -> Any:
        count = len(tokens)
        self._token[:count], self._position[:count], self._sequence[:count] = tokens, positions, sequences
        self._wanted[:count] = wanted
        self._batch.n_tokens = count
        return self._batch


def _bytes(state: np.ndarray) -> Any:
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


def _free(library: Any, context: Any, _weights: Weights) -> None:
    """Free a context. The argument holds its weights until then."""
    library.llama_free(context)
