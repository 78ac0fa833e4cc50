"""Our side of benchmarks/geometry.py, one piece of work a call.

python benchmarks/geometry_ours.py WORK SIZES...
"""

from __future__ import annotations

import json
import sys
import time

import torch

from clock import classes, cloud, report
from manifoldscope.geometry import Cloud, Spectrum, effective_geometry, measure
from manifoldscope.geometry import mean_field_geometry as mean_field
from manifoldscope.geometry import spectra as batched


def matrix_products() -> None:
    """The rate of the machine's matrix products, in GFLOP/s, by type."""
    rates = {}
    for name, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        matrix = torch.randn(3000, 3000, dtype=dtype)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - began)
        rates[name] = 2 * 3000**3 / min(times) / 1e9
    print(json.dumps({"seconds": min(times), "bytes": 0, "answer": rates}))


def spectrum(n_points: int, n_features: int, dtype: str) -> None:
    """The exact spectrum of one cloud."""
    report(
        lambda: torch.from_numpy(cloud(n_points, n_features)).to(getattr(torch, dtype)),
        lambda points: Spectrum.of(points).dimension(0.95),
    )


def spectra(n_classes: int, n_points: int, n_features: int, dtype: str) -> None:
    """The spectra of many classes in one batch."""
    report(
        lambda: [torch.from_numpy(cloud(n_points, n_features, seed)) for seed in range(n_classes)],
        lambda clouds: [found.dimension(0.95) for found in batched(clouds, dtype=getattr(torch, dtype))],
    )


def neighbours(n_points: int, n_features: int) -> None:
    """TwoNN and maximum likelihood from one search."""

    def both(points: torch.Tensor) -> list[float]:
        shared = Cloud(points)
        return [measure("two_nn", shared).value, measure("mle", shared).value]

    report(lambda: torch.from_numpy(cloud(n_points, n_features)), both)


def capacity(n_classes: int, n_points: int, n_features: int, spread: int, n_directions: int, n_compared: int) -> None:
    """Mean-field capacity of all classes; the answer is that of the first few, which the peer solves."""

    def work(given: list[torch.Tensor]) -> float:
        found = mean_field(given, directions=n_directions)
        return float(1 / (1 / found.capacities[:n_compared]).mean())

    report(lambda: [torch.from_numpy(each) for each in classes(n_classes, n_points, n_features, spread)], work)


def effective(n_classes: int, n_points: int, n_features: int, spread: int, draws: int) -> None:
    """Effective (GLUE) capacity, radius, dimension and alignments of all classes."""

    def work(given: list[torch.Tensor]) -> list[float]:
        found = effective_geometry(given, directions=draws)
        return [found.capacity, found.missed]

    report(lambda: [torch.from_numpy(each) for each in classes(n_classes, n_points, n_features, spread)], work)


if __name__ == "__main__":
    name, *sizes = sys.argv[1:]
    globals()[name](*(int(size) if size.isdigit() else size for size in sizes))
