"""Unit: one piece of work, by name; and Payload: what it found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import polars as pl
from torch import Tensor

from manifoldscope.robustness.kept import Kept

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Unit:
    """One piece of work, by name: small to send, run anywhere, stored once.

    Attributes:
        kind: which function does it.
        inputs: everything that changes its answer, as JSON values: parameters, digests, versions.
        needs: keys of the units whose results it reads; they are part of its key.
        after: keys of the units that must have succeeded first, but whose results it does not read.
        names: what people and tables call its parts (model, class, threat); not part of its key.
        n_images: how many images it passes through the network.
        passes: (forward, gradient) passes of each: what a forecast needs.
        files: what its payload holds at least, by file name: without them it is not done; not part of its key.
    """

    kind: str
    inputs: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    names: Mapping[str, Any] = field(default_factory=dict)
    n_images: int = 0
    passes: tuple[float, float] = (0.0, 0.0)
    files: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """SHA-256 of kind, inputs and needs, as canonical JSON."""
        return key_of(self.kind, self.inputs, self.needs)

    @property
    def label(self) -> str:
        """What people call it: "natural · class 3 · pgd 0.1 · attack"."""
        names = self.names
        parts = [names.get("model") or names.get("role")]
        if "class_name" in names:
            parts.append(f"class {names['class_name']}")
        if "layer" in names:
            parts.append(f"{names['layer']}")
        if "dataset" in names:
            parts.append(f"{names['dataset']}")
        if "threat" in names:
            parts.append(f"{names['threat']} {names['strength']:g}")
        return " · ".join([*map(str, filter(None, parts)), self.kind])


@dataclass
class Payload:
    """What a unit found: tables, arrays, attacked images, and a few facts for its manifest."""

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    images: Kept | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def key_of(kind: str, inputs: Mapping[str, Any], needs: Sequence[str]) -> str:
    """The name of a unit: SHA-256 of kind, inputs and needs, as canonical JSON."""
    return hashlib.sha256(canonical([kind, inputs, needs]).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
