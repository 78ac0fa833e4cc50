"""The spectra of variance of single classes as the page draws them: few values on a logarithmic axis."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from manifoldscope.report.explore.view import Explored
from manifoldscope.report.figures.spectra import reaches, shares
from manifoldscope.report.rows import Reals

MOST_VALUES = (60, 40, 25)
"""Of a spectrum: as many as fit."""

MOST_BYTES = 180_000
"""Of all spectra, as text."""

NONE = 65535
"""In place of a share that there is not."""

_LEAST = 1e-12


def spectra(page: Explored, order: Sequence[int]) -> tuple[dict[str, Any], int | None]:
    """By network and layer ("n.l") the spectra of the classes, the first of `order` where not all fit.

    Returns:
        Per network and layer `rank` (the components that are shown, from 1), `of` (by position of the class its shares
        of variance there, as `packed_shares`), `reached` (by position of the class, the components that reach 95% of
        its variance), `low`, `middle` and `high` (the 10th, 50th and 90th percentile over all classes), `noise` (what
        points without structure give, `isotropic`), `n_points` and `n_features`. And of how many classes there are
        spectra here; None where of all.
    """
    found: dict[tuple[int, int], dict[int, tuple[Reals, int, int]]] = {}
    for picture in page.contents.pictures_of("spectrum"):
        names = picture.names
        index = int(names.get("class_index", -1))
        if names["model"] not in page.networks or names["layer"] not in page.layers or index not in page.class_position:
            continue
        share = shares(picture.arrays["eigenvalues"])
        if share.size:
            key = page.networks.index(names["model"]), page.layers.index(names["layer"])
            place = page.class_position[index]
            found.setdefault(key, {})[place] = (share, int(names["n_points"]), int(names["n_features"]))
    every = {place for cell in found.values() for place in cell}
    n = next((n for n in MOST_VALUES if _size(n) * sum(map(len, found.values())) <= MOST_BYTES), MOST_VALUES[-1])
    ordered = [place for place in order if place in every]
    kept = ordered[: max(1, MOST_BYTES // (_size(n) * max(1, len(found))))]
    cells = {f"{network}.{layer}": _cell(cell, kept, n) for (network, layer), cell in sorted(found.items())}
    return cells, len(kept) if len(kept) < len(ordered) else None


def packed_shares(share: Reals) -> str:
    """Shares as base64 of 16 bits each: -1000 times the decimal logarithm; `NONE` where there is none.

    Example:
        >>> list(base64.b64decode(packed_shares(np.array([0.1, np.nan]))))
        [232, 3, 255, 255]
    """
    known = np.isfinite(share) & (share > _LEAST)
    level = np.full(share.shape, NONE, dtype="<u2")
    level[known] = np.round(-1000 * np.log10(share[known]))
    return base64.b64encode(level.tobytes()).decode()


@lru_cache(maxsize=64)
def isotropic(n_points: int, n_features: int) -> Reals:
    """The shares of variance that points without structure show: independent features of the same variance.

    Args:
        n_points: of which the centroid is taken away, so that at most n_points - 1 components are left.
        n_features: of each point.

    Returns:
        (min(n_points - 1, n_features),), the largest first: quantiles of the law of Marchenko and Pastur,
        "Distribution of eigenvalues for some sets of random matrices" (1967), which holds for many points and features.

    Example:
        >>> shares_of_many = isotropic(100_001, 4)
        >>> bool((abs(shares_of_many - 0.25) < 0.005).all())
        True
    """
    n, most = min(n_points - 1, n_features), max(n_points - 1, n_features)
    if n < 1:
        return np.empty(0)
    root = np.sqrt(n / most)
    low, high = (1 - root) ** 2, (1 + root) ** 2
    # With x = low + (high - low) sin^2(t), the density over t has no singularity but at x = 0.
    t = np.linspace(0, np.pi / 2, 4001)
    middle = (t[1:] + t[:-1]) / 2
    x = low + (high - low) * np.sin(middle) ** 2
    mass = np.concatenate([[0.0], np.cumsum(np.sin(middle) ** 2 * np.cos(middle) ** 2 / x)])
    at = np.interp(1 - (np.arange(n) + 0.5) / n, mass / mass[-1], t)
    values = low + (high - low) * np.sin(at) ** 2
    shares_of_all: Reals = values / values.sum()
    return shares_of_all


def _size(n: int) -> int:
    """About how many bytes of text a spectrum of so many values takes."""
    return 8 * n // 3 + 20


def _cell(cell: dict[int, tuple[Reals, int, int]], kept: Sequence[int], n: int) -> dict[str, Any]:
    length = max(share.size for share, _, _ in cell.values())
    places = np.unique(np.round(np.geomspace(1, length, min(length, n))).astype(np.int64)) - 1
    stack = np.full((len(cell), length), np.nan)
    for row, (share, _, _) in zip(stack, cell.values(), strict=True):
        row[: share.size] = share
    rows = dict(zip(cell, stack[:, places], strict=True))
    with np.errstate(all="ignore"):
        known = np.isfinite(stack[:, places]).any(0)
        bands = np.full((3, len(places)), np.nan)
        bands[:, known] = np.nanquantile(stack[:, places[known]], (0.1, 0.5, 0.9), axis=0)
    n_points, n_features = max((points, features) for _, points, features in cell.values())
    noise = np.full(length, np.nan)
    alone = isotropic(n_points, n_features)[:length]
    noise[: alone.size] = alone
    return {
        "rank": (places + 1).tolist(),
        "of": {str(place): packed_shares(rows[place]) for place in kept if place in rows},
        "reached": {str(place): reaches(np.cumsum(cell[place][0]), 0.95) for place in kept if place in cell},
        **{name: packed_shares(band) for name, band in zip(("low", "middle", "high"), bands, strict=True)},
        "noise": packed_shares(noise[places]),
        "n_points": n_points,
        "n_features": n_features,
        "n_classes": len(cell),
    }
