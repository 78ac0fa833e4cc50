"""What the units of a study take of memory, beside what the process has before the first of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from manifoldscope.errors import StudyError
from manifoldscope.robustness.evaluation import COPIES, POOL_BYTES, TOGETHER
from manifoldscope.robustness.selftest import SAMPLE
from manifoldscope.robustness.threat import THREATS, Threat
from manifoldscope.study.bench import Bench
from manifoldscope.study.probe import NOT_ASKED, Probed
from manifoldscope.study.unit import Unit
from manifoldscope.vision.memory import FILLED, NOTHING, Footprint

LATER = 32 * 2**20
"""Bytes of the libraries that are loaded while units are computed."""

CONCLUDING, EACH_CONCLUDED, MOST_CONCLUDED = 80 * 2**20, 30 * 2**20, 20
"""Bytes of the libraries that draw figures; and of tables and figures for each layer of each network, up to so many."""

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def bytes_of(text: str | int) -> int:
    """Bytes as people write them.

    Raises:
        StudyError: a text that is no number of bytes above 0.

    Example:
        >>> bytes_of("4GiB"), bytes_of("500 MB"), bytes_of("2e9")
        (4294967296, 500000000, 2000000000)
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([a-z]*)\s*", str(text).lower())
    try:
        size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size < 1:
        raise StudyError(f"memory = {text!r}; expected a number of bytes, such as 4GiB, 500MB or 2e9")
    return size


@dataclass(frozen=True)
class Need:
    """What a unit takes while it is computed, beside its network.

    Attributes:
        fixed: bytes that it takes in any case.
        batch: what passes take, by how many images go through the network at a time.
        wanted: how many at a time it would have.
        reduce: what to reduce where it does not fit.
    """

    fixed: float
    batch: Footprint
    wanted: int
    reduce: str

    def at_once(self, room: float) -> int:
        """How many images at a time fit, at least one."""
        return max(1, min(self.wanted, self.batch.most(FILLED * (room - self.fixed))))

    def peak(self, room: float) -> float:
        """Bytes at the peak, where batches are no larger than fits."""
        return self.fixed + self.batch.of(self.at_once(room))


def layers_of(unit: Unit) -> list[str]:
    """The layers that a unit measures."""
    return [unit.inputs["layer"]] if "layer" in unit.inputs else list(unit.inputs.get("layers", []))


def need(bench: Bench, unit: Unit, network: Probed) -> Need:
    """What a unit takes."""
    batch_size = bench.study.batch_size
    widths = [network.features[layer] for layer in layers_of(unit)]
    forward = network.forward.memory
    fixed = 0.0
    reduce = "batch_size, or the size of the images"
    gradient, n_attacked = NOTHING, 0
    if unit.kind == "train":
        return _training(bench, unit, network)
    if unit.kind in ("inspect", "check", "smallest"):
        gradient, n_attacked = network.own.memory, unit.n_images
    elif unit.kind in ("attack", "displacement", "transfer"):
        gradient, n_attacked = _attack(bench, unit, network)
        whole = unit.inputs.get("keep") or unit.names.get("example") or unit.kind != "attack"
        fixed += 4 * network.image * unit.n_images if whole else 0
        if not rolls(unit):
            pool = max(TOGETHER * batch_size * network.image, POOL_BYTES)
            fixed += min(pool, network.image * unit.n_images) + COPIES * network.image * min(batch_size, n_attacked)
        if unit.kind == "transfer":
            fixed += network.weights  # of the network that judges
    if unit.kind == "check":
        fixed += 2 * network.image * min(SAMPLE, unit.n_images)
    if unit.kind in ("geometry", "layer", "displacement", "detection"):
        fixed += _measuring(bench, unit, widths)
        forward = Footprint(forward.fixed, forward.each + 8 * sum(widths))
        reduce = "data.geometry.images_per_class, or measure a smaller layer"
        if unit.inputs.get("sensitivity"):
            gradient, n_attacked = network.own.memory, unit.n_images
    copied = COPIES * network.image if n_attacked else 2 * network.image
    wider = max((forward, gradient), key=lambda law: law.of(min(batch_size, unit.n_images)))
    n = min(batch_size, n_attacked if wider is gradient else unit.n_images)
    return Need(fixed, Footprint(wider.fixed, wider.each + copied), max(1, n), reduce)


def _attack(bench: Bench, unit: Unit, network: Probed) -> tuple[Footprint, int]:
    """Whose gradients an attack takes, and of how many images at a time at most."""
    passes = network.search if rolls(unit) else network.own
    n = unit.n_images if unit.kind == "attack" else largest_class(bench)
    return (passes.memory, n) if unit.passes[1] and passes is not NOT_ASKED else (NOTHING, n)


def concluding(bench: Bench) -> int:
    """Bytes that tables, figures and the report take."""
    study = bench.study
    layers = sum(len(network.plan.layers or study.layers) for network in bench.networks.values())
    return CONCLUDING + EACH_CONCLUDED * min(MOST_CONCLUDED, layers)


def rolls(unit: Unit) -> bool:
    """Whether images come to the attack of a unit as others leave it (see `Threat.rolling`)."""
    threat: type[Threat] = THREATS[unit.inputs["threat"]].target  # type: ignore[assignment]  # what the registry holds
    return threat.rolling


def largest_class(bench: Bench) -> int:
    """How many images of one class are attacked together, at most."""
    return int(bench.draws["robustness"].images.labels.bincount().max())


def _training(bench: Bench, unit: Unit, network: Probed) -> Need:
    """The images, the gradients and both moments of the weights, and a batch, which cannot be made smaller."""
    training = bench.networks[unit.names["model"]].plan.training
    if not unit.n_images or training is None:
        return Need(network.weights, NOTHING, 1, "")
    n = len(bench.draws["training"].images)
    held = 2 * network.image * n + 4 * network.weights
    batch = network.own.memory.of(min(training.batch_size, n))
    return Need(held + batch, NOTHING, 1, "data.training.images_per_class, or the batch_size of the training")


def _measuring(bench: Bench, unit: Unit, widths: Sequence[int]) -> float:
    """Points in memory, and what measures make of them: halves, inner products, and coordinates in their span."""
    n = unit.n_images
    may_lie_in_file = unit.kind in ("geometry", "layer")
    sizes = [4.0 * n * width for width in widths]
    sizes = [size for size in sizes if not may_lie_in_file or size <= bench.points(len(widths))]
    held, largest = sum(sizes), max(sizes, default=0.0)
    side = min(n, max(widths))
    standardised = any(plan.scaling == "standardise" for plan in bench.study.measures)
    needed = held + (1.5 * largest if side < n or standardised else 0) + 8 * 8 * side**2
    if unit.kind == "displacement":
        needed += held  # all classes of a layer once more, beside those attacked
    if unit.kind == "detection":
        needed += 3 * 8 * n * max(widths)  # float64: the points, centred, and as coordinates
    return needed
