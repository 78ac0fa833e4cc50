"""What sources share: weights from a file, and by which mean and standard deviation pixels are normalised."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from manifoldscope.errors import ModelError
from manifoldscope.vision.weights import Fitted, fit, load_weights


def from_file(
    module: nn.Module, weights: str, where: str, *, without: Sequence[str] = ()
) -> tuple[dict[str, Any], Fitted]:
    """Fit a file's weights; its name, its digest as it was read, and never its folder, go into the provenance.

    Args:
        without: names of parts of which the file may hold tensors that are none of the network's.
    """
    loaded = load_weights(weights)
    left = {name for name in loaded.tensors if not set(name.split(".")).isdisjoint(without)}
    if left:
        loaded = replace(loaded, tensors={name: one for name, one in loaded.tensors.items() if name not in left})
    fitted = fit(module, loaded, where)
    provenance: dict[str, Any] = {"weights": Path(weights).name, "weights_sha256": fitted.digest}
    if fitted.entry or fitted.prefix:
        provenance["weights_entry"] = ":".join(part for part in (fitted.entry, fitted.prefix) if part)
    notes = list(fitted.notes)
    if left:
        parts = ", ".join(part for part in without if any(part in name.split(".") for name in left))
        notes.append(f"{len(left)} tensors of parts that are never run were left out ({parts})")
    if notes:
        provenance["weights_notes"] = notes
    return provenance, fitted


def normalisation(
    where: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    fitted: Fitted | None,
    *,
    channels: int,
    own: tuple[Sequence[float], Sequence[float]] | None = None,
) -> tuple[tuple[float, ...], tuple[float, ...], dict[str, Any]]:
    """Mean and std as said, else as they stand beside the weights, else the source's own; and what provenance says.

    One value becomes one per channel. Where nobody says anything, pixels are left as they are.
    """
    said: dict[str, Any] = {}
    given = (mean, std)
    found = fitted.normalisation if fitted is not None else None
    if found is not None:
        in_file = (list(found.mean), list(found.std))
        for what, told, stored in zip(("mean", "std"), given, in_file, strict=True):
            if told is not None and not _agree(told, stored):
                warnings.warn(
                    f"{where}: {what} = {list(told)} is used, but the file of weights normalises by {stored} "
                    f"({', '.join(found.names)})",
                    stacklevel=3,
                )
        if None in given:
            if not (0 <= min(in_file[0]) <= max(in_file[0]) <= 1 and 0 < min(in_file[1]) <= max(in_file[1]) <= 1):
                raise ModelError(
                    f"{where}: the file of weights normalises by mean {in_file[0]} and std {in_file[1]}, which are "
                    "not those of pixels in [0, 1]; give mean and std for such pixels"
                )
            own = in_file
            said = {"normalisation": f"{' and '.join(found.names)} of the file of weights"}
    n = len(mean if mean is not None else std if std is not None else [0.0])
    own = own or ([0.0] * n, [1.0] * n)
    means, stds = (tuple(own[i] if part is None else part) for i, part in enumerate(given))
    for what, told in (("mean", mean), ("std", std)):
        if told is not None and len(told) == 1 < channels:
            said[what] = f"the same for all {channels} channels"
    means, stds = (part * channels if len(part) == 1 else part for part in (means, stds))
    return means, stds, said


def _agree(one: Sequence[float], other: Sequence[float]) -> bool:
    """Equal but for rounding, where one value may stand for every channel."""
    n = max(len(one), len(other))
    pairs = zip(list(one) * (n // max(len(one), 1)), list(other) * (n // max(len(other), 1)), strict=False)
    return all(abs(a - b) <= 1e-3 for a, b in pairs)
