"""The heads that a server steers with. `PAD_PERSRM` names the folder of one, or a folder with one in each subfolder.

A head never changes under its name: clients compute gates with the other half of its file. A new version is a new
subfolder, which is there for the next request that names it. Front end, engine and workers read the same files.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pad_vllm.arithmetic.head_file import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    HeadConfig,
    NewerFormatError,
    read_config,
    read_weights,
)

__all__ = ["VARIABLE", "Head", "Heads", "served"]

VARIABLE = "PAD_PERSRM"
ROOM = 8  # preferences of weight 1, read as strongly as one can be, that a sum of gates has room for


@dataclass(frozen=True, eq=False)
class Head:
    """What a server needs of a head.

    Args:
        name: of its folder.
        config: its config.
        fingerprint: SHA-256 of its weights' file.
        gate_bound: the largest |g| of any feature that a gate may have (see `gate_bound`).
        U_RD, V_DR: features of a hidden state, and what they add to it, in float32 on the CPU.
    """

    name: str
    config: HeadConfig
    fingerprint: str
    gate_bound: float
    U_RD: torch.Tensor
    V_DR: torch.Tensor

    @classmethod
    def read(cls, folder: Path) -> Head:
        """Read a head's folder.

        Raises:
            ValueError: a file is missing or not readable, or holds other shapes than its config says.
        """
        try:
            config, weights = read_config(folder), read_weights(folder)
            fingerprint = _sha256(folder / WEIGHTS_NAME)
        except NewerFormatError as error:
            raise ValueError(f"The head in {str(folder)!r} has format version {error}. Upgrade pad-vllm.") from error
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"No readable head in {str(folder)!r}: {error}") from error
        sizes = config.rank, config.hidden_size
        wanted = {"U_RD": sizes, "V_DR": sizes[::-1], "G_QR": (config.prototypes, config.rank)}
        found = {name: tuple(weights[name].shape) for name in wanted if name in weights}
        if found != wanted or not all(bool(weights[name].isfinite().all()) for name in wanted):
            raise ValueError(f"The head in {str(folder)!r} has to hold finite {wanted}, but holds {found}.")
        bound = gate_bound(weights["G_QR"], config.strengths)
        return cls(folder.name, config, fingerprint, bound, weights["U_RD"].float(), weights["V_DR"].float())

    def describe(self) -> dict[str, Any]:
        """What a client asks of it before it sends gates."""
        config = self.config
        return {
            "fingerprint": self.fingerprint,
            "rank": config.rank,
            "gate_bound": self.gate_bound,
            "hidden_size": config.hidden_size,
            "vocab_size": config.vocab_size,
            "tokenizer": config.tokenizer,
            "beta": config.beta,
            "alpha": config.alpha,
            "top_k": config.top_k,
        }


def gate_bound(G_QR: torch.Tensor, strengths: list[float] | None = None) -> float:
    """The largest |g| of a feature that `ROOM` preferences in full agreement can reach.

    One preference has g = strength · (a - b) G, where a and b have no negative entry and length 1. So a feature's
    largest value takes a along the positive entries of its column and b along the negative ones.
    """
    reach_R = G_QR.clamp(min=0).norm(dim=0) + G_QR.clamp(max=0).norm(dim=0)
    return ROOM * max(strengths or [1.0]) * float(reach_R.max())


class Heads:
    """The heads of a folder, each read once.

    Args:
        place: the folder of one head, or one with heads in its subfolders.

    Raises:
        ValueError: there is no head, one does not read, or they are for bases of different sizes.
    """

    def __init__(self, place: str | Path) -> None:
        self._place = Path(place).absolute()
        self._alone = (self._place / CONFIG_NAME).is_file()
        self._known: dict[str, tuple[tuple[int, ...], Head]] = {}
        if not self.names():
            raise ValueError(
                f"{VARIABLE} has to be the folder of a head ({CONFIG_NAME}), or one with heads in its subfolders, but "
                f"{str(place)!r} has none."
            )
        for name in self.names():
            self.get(name)

    def names(self) -> list[str]:
        """The names of the heads that are there now."""
        if self._alone:
            return [self._place.name]
        found = self._place.iterdir() if self._place.is_dir() else ()
        return sorted(folder.name for folder in found if (folder / CONFIG_NAME).is_file())

    def get(self, name: str | None = None) -> Head:
        """Return a head. None means the only one.

        Raises:
            ValueError: it is not there, does not read, or is for a base of other sizes.
        """
        if name is None and (self._alone or len(self._known) == 1):
            name = next(iter(self._known))
        if name not in self._known and name not in self.names():
            raise ValueError(f"pad_head has to be one of {self.names()}, but is {name!r:.200}.")
        if name not in self._known:
            head = Head.read(folder := self._folder(str(name)))
            self._keep(_stamp(folder), head)
        return self._known[str(name)][1]

    def check(self, head: Head) -> None:
        """Raise ValueError if a head's file is another than when it was read, or gone: clients may have the new one."""
        stamp, _ = self._known[head.name]
        try:
            if (now := _stamp(self._folder(head.name))) == stamp:
                return
            fingerprint = _sha256(self._folder(head.name) / WEIGHTS_NAME)
        except OSError as error:
            raise ValueError(f"The weights of the head {head.name!r} cannot be read any more: {error}") from error
        if fingerprint != head.fingerprint:
            raise ValueError(
                f"The head {head.name!r} was changed while it was served. Put a new head under a new name, or restart."
            )
        self._known[head.name] = now, head

    def _folder(self, name: str) -> Path:
        return self._place if self._alone else self._place / name

    def _keep(self, stamp: tuple[int, ...], head: Head) -> None:
        for _, other in self._known.values():
            sizes = [(each.config.hidden_size, each.config.vocab_size) for each in (head, other)]
            if sizes[0] != sizes[1]:
                raise ValueError(
                    f"The head {head.name!r} is for a base with (hidden size, vocabulary) {sizes[0]}, but "
                    f"{other.name!r} for one with {sizes[1]}. One server has one base."
                )
        self._known[head.name] = stamp, head


@cache
def _heads(place: str) -> Heads:
    return Heads(place)


def served() -> Heads:
    """The heads that `PAD_PERSRM` names, read once a process.

    Raises:
        ValueError: it is not set, or see `Heads`.
    """
    if not (place := os.environ.get(VARIABLE)):
        raise ValueError(f"{VARIABLE} has to name the folder of a head, or of heads, but is not set.")
    return _heads(place)


def _stamp(folder: Path) -> tuple[int, ...]:
    found = (folder / WEIGHTS_NAME).stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
