"""What a run will cost, before it starts: seconds for each unit, and memory, which is refused where it cannot fit."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from manifoldscope.errors import ModelError, StudyError
from manifoldscope.geometry.subsets import size_grid
from manifoldscope.study.bench import Bench
from manifoldscope.study.measuring import DIRECTIONS
from manifoldscope.study.progress import duration
from manifoldscope.study.rows import EXTRAPOLATION_DRAWS
from manifoldscope.study.unit import Unit
from manifoldscope.vision.activations import IN_MEMORY, n_features
from manifoldscope.vision.network import Network, undisturbed

PROBE_IMAGES = 16
SHARE_OF_MEMORY = 0.9
SECONDS_OF_A_CALL = 7e-4
"""What a measure takes of however few points."""

LONG_ENOUGH = 0.5
"""Seconds after which a network has been timed enough."""


@dataclass(frozen=True)
class Forecast:
    """Seconds by unit key, and the largest memory that a unit's points or training images will take, in bytes."""

    seconds: Mapping[str, float]
    memory: int

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.seconds.values())

    def text(self, units: Sequence[Unit]) -> str:
        """The forecast in one line, by kind of work."""
        by_kind: dict[str, float] = {}
        for unit in units:
            by_kind[unit.kind] = by_kind.get(unit.kind, 0.0) + self.seconds[unit.key]
        parts = ", ".join(f"{kind} {duration(seconds)}" for kind, seconds in by_kind.items() if seconds >= 0.5)
        return (
            f"{len(units)} units to compute, about {duration(self.total)}"
            + (f" ({parts})" if parts else "")
            + (f"; up to {self.memory / 2**20:,.0f} MiB beside the networks" if self.memory >= 2**20 else "")
        )


def forecast(bench: Bench, units: Sequence[Unit]) -> Forecast:
    """Time a few images through every network that has work to do, and add up.

    This is also where a network first meets the images: layers that do not exist, weights that do not fit and NaN
    are found here, before any time is spent.

    Raises:
        ModelError: a network cannot be loaded, lacks a layer, or gives NaN.
        StudyError: the work cannot fit into memory; the sentence says what to reduce.
    """
    seconds: dict[str, float] = {}
    memory = 0
    for name in dict.fromkeys(unit.names["model"] for unit in units):
        mine = [unit for unit in units if unit.names["model"] == name]
        network = bench.untrained(name)
        forward, gradient, features, image_bytes = _probe(bench, network, mine)
        for unit in mine:
            forwards, gradients = unit.passes
            seconds[unit.key] = 0.005 + unit.n_images * (forwards * forward + gradients * gradient)
            if unit.kind in ("geometry", "layer", "displacement", "detection"):
                widths = [features[layer] for layer in _layers(unit)]
                needed = _measuring_memory(unit.n_images, widths)
                if unit.kind == "detection":
                    needed += 3 * 8 * unit.n_images * max(widths)  # float64: the points, centred, and as coordinates
                seconds[unit.key] += _measuring_seconds(unit, widths)
                reduce = "data.geometry.images_per_class, or measure a smaller layer"
            elif unit.kind == "train" and unit.n_images:
                needed = 3 * image_bytes * len(bench.draws["training"].images)  # raw, preprocessed, and stacked
                reduce = "data.training.images_per_class"
            else:
                continue
            memory = max(memory, needed)
            if needed > SHARE_OF_MEMORY * available_memory():
                raise StudyError(
                    f"{unit.label} needs about {needed / 2**30:.1f} GiB and {available_memory() / 2**30:.1f} GiB are "
                    f"free; reduce {reduce}"
                )
    return Forecast(seconds, memory)


def _layers(unit: Unit) -> list[str]:
    """The layers that a unit measures."""
    return [unit.inputs["layer"]] if "layer" in unit.inputs else list(unit.inputs.get("layers", []))


def _measuring_seconds(unit: Unit, widths: Sequence[int]) -> float:
    """Seconds to measure the points of a unit as often as is asked: in halves, nulls and draws of fewer points too."""
    n_measures, n_classes = len(unit.inputs.get("measures", [])), len(unit.names.get("classes", [None]))
    n_points = max(2, unit.n_images // n_classes)
    asked = unit.inputs.get("sampling", {})
    extrapolating = EXTRAPOLATION_DRAWS if asked.get("extrapolate") else 0
    n_sizes = len(size_grid(n_points, smallest=8))
    # as often as all points: two halves cost a quarter each, and the smaller sizes of a curve no more than all points
    often = 1 + asked.get("halvings", 0) / 2
    each = asked.get("null", 0) + asked.get("curve", 0) + 2 * extrapolating
    calls = asked.get("null", 0) + asked.get("curve", 0) * n_sizes + extrapolating * (n_sizes + 4)
    seconds: float = (often + each * n_measures) * _reading_seconds(unit.n_images, widths)
    seconds += calls * n_measures * len(widths) * SECONDS_OF_A_CALL
    if reliability := unit.inputs.get("reliability"):
        apart = n_classes * (_reading_seconds(n_points, widths) + SECONDS_OF_A_CALL) * len(reliability["measures"])
        together = _reading_seconds(unit.n_images, widths) * n_measures
        seconds += (1 + reliability["splits"] / 2) * (apart + together)
    if unit.kind == "displacement":
        seconds += n_classes * 4e-11 * DIRECTIONS * unit.n_images * sum(widths)
    return seconds


def _reading_seconds(n_points: int, widths: Sequence[int]) -> float:
    """Seconds for the spectrum or the distances of so many points in layers of these widths."""
    side = min(n_points, max(widths))
    return 2e-10 * n_points * side * sum(widths) + 5e-9 * side**3


def _measuring_memory(n_points: int, widths: Sequence[int]) -> int:
    """Bytes: the points and halves of them, or their inner products where they lie in a file; and a few blocks."""
    in_memory = sum(2 * 4 * n_points * width for width in widths if 4 * n_points * width <= IN_MEMORY)
    side = min(n_points, max(widths))
    return in_memory + 4 * 8 * side * side


def _probe(bench: Bench, network: Network, units: Sequence[Unit]) -> tuple[float, float, dict[str, int], int]:
    """Seconds an image takes forward and for a gradient, features of each layer, and bytes of one image."""
    images = bench.draws["robustness"].images.subset(range(min(PROBE_IMAGES, len(bench.draws["robustness"].images))))
    pixels = network.pixels(images).to(network.device)
    layers = sorted({layer for unit in units for layer in _layers(unit)})
    features = n_features(network, layers, pixels[:1]) if layers else {"none": 1}
    wants_gradient = any(unit.passes[1] for unit in units)
    with undisturbed(network):
        with torch.no_grad():
            outputs = network(pixels)
        if not torch.isfinite(outputs).all():
            bad = int((~torch.isfinite(outputs)).flatten(1).any(1).sum())
            raise ModelError(
                f"{network.name} gave NaN or infinite outputs for {bad} of the first {len(pixels)} images; "
                "look for weights that diverged, or a normalisation that divides by zero"
            )
        labels = outputs.argmax(1)

        def clean() -> None:
            with torch.no_grad():
                network(pixels)

        def attacked() -> None:
            leaf = pixels.detach().requires_grad_(True)
            torch.autograd.grad(F.cross_entropy(network(leaf), labels, reduction="sum"), leaf)

        forward = _seconds(clean, network) / len(pixels)
        gradient = _seconds(attacked, network) / len(pixels) if wants_gradient else 0.0
    return forward, gradient, features, pixels[0].numel() * 4


def _seconds(work: Callable[[], None], network: Network) -> float:
    """The median time of a few calls, the first left out; one call after the first where it is slow."""
    times: list[float] = []
    for _ in range(6):
        began = time.perf_counter()
        work()
        _wait(network)
        times.append(time.perf_counter() - began)
        if len(times) > 1 and sum(times) > LONG_ENOUGH:
            break
    return statistics.median(times[1:])


def _wait(network: Network) -> None:
    if network.device.type == "cuda":
        torch.cuda.synchronize(network.device)


def available_memory() -> int:
    """Bytes of memory that are free, or that the machine has where the system does not tell."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _reclaimable()
    except (ValueError, OSError, AttributeError):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            return 2**63


def _reclaimable() -> int:
    """Page cache that the system gives back when asked: Linux counts it as used."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return max(0, values["MemAvailable"] - values["MemFree"])
    except (OSError, KeyError, ValueError, IndexError):
        return 0
