"""What callers are told when a step fails, and what running out of memory looks like."""

from __future__ import annotations

import torch

from pad_langchain.errors import EngineMemoryError

__all__ = ["explain_memory", "failure", "out_of_memory"]

# How torch's CPU allocator and older CUDA paths say it: a plain RuntimeError.
SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def failure(error: BaseException) -> Exception:
    """Return the error as an `Exception`. What ends a thread, such as a panic in Rust, must not end the caller's."""
    if isinstance(error, Exception):
        return error
    told = RuntimeError(f"The request ended with {type(error).__name__}: {error}")
    told.__cause__ = error
    return told


def explain_memory(error: BaseException, rows: int, max_batch: int, max_batch_tokens: int) -> Exception:
    """Return the error for the caller: an `EngineMemoryError` where memory ran out, else the error itself.

    Args:
        error: what was raised.
        rows: rows that were in the batch.
        max_batch, max_batch_tokens: the engine's limits, for the message.
    """
    if not out_of_memory(error):
        return failure(error)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    told = EngineMemoryError(
        f"Memory ran out while the request ran, with {rows} rows in the batch: {reason} Lower max_tokens, or the "
        f"engine's max_batch ({max_batch}) or max_batch_tokens ({max_batch_tokens})."
    )
    told.__cause__ = error
    return told
