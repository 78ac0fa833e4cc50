"""A stream of random numbers for each unit of work, wherever and in whatever order it runs."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names` under `seed`.

    Distinct names give independent streams; the same ones give the same stream on every machine.
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU torch generator for the stream. Draw on the CPU and move: then every device sees the same numbers."""
    return torch.Generator().manual_seed(derive(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for the stream."""
    return np.random.default_rng(derive(seed, *names))
