"""What a run will cost, before it starts: seconds for each unit, and memory, which is refused where it cannot fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manifoldscope.errors import StudyError
from manifoldscope.geometry.estimate import MEASURES
from manifoldscope.geometry.subsets import size_grid
from manifoldscope.recordings.rows import EXTRAPOLATION_DRAWS
from manifoldscope.robustness.evaluation import CHECKED
from manifoldscope.study.bench import Bench
from manifoldscope.study.measuring import DIRECTIONS
from manifoldscope.study.memory import LATER, Need, concluding, largest_class, layers_of, need, rolls
from manifoldscope.study.probe import Probed, probe
from manifoldscope.study.progress import Group, Progress, duration
from manifoldscope.study.unit import Unit
from manifoldscope.vision.memory import give_back, process_memory

SECONDS_OF_A_UNIT = 0.04
"""What a unit takes however small: what it reads and writes, and what its passes need once."""

SECONDS_OF_A_STEP = 1e-3
"""What a step of an attack takes beside the network."""

SECONDS_OF_A_LIBRARY_STEP = 5e-3
"""The same of an attack with a loop of its own, with what passes need anew for each size of batch."""

SECONDS_OF_A_CALL = 7e-4
"""What a measure takes of however few points."""

_SHARED = {
    **dict.fromkeys(("capacity", "radius", "manifold_dimension"), "capacity"),
    **dict.fromkeys(
        ("effective_capacity", "effective_radius", "effective_dimension", "effective_alignment"), "effective"
    ),
}
"""Joint measures that are read off one computation."""


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    Attributes:
        seconds: by unit key.
        memory: by unit key, bytes of the whole process at the peak of the unit.
        before: bytes of the process before the first unit.
        concluding: bytes of the process while tables, figures and the report are made.
    """

    seconds: Mapping[str, float]
    memory: Mapping[str, float]
    before: int
    concluding: int

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.seconds.values())

    @property
    def peak(self) -> float:
        """Bytes of the whole process at the peak of the run."""
        return max([self.concluding, *self.memory.values()])

    def text(self, units: Sequence[Unit]) -> str:
        """The forecast in one line, by kind of work."""
        by_kind: dict[str, float] = {}
        for unit in units:
            by_kind[unit.kind] = by_kind.get(unit.kind, 0.0) + self.seconds[unit.key]
        parts = ", ".join(f"{kind} {duration(seconds)}" for kind, seconds in by_kind.items() if seconds >= 0.5)
        return (
            f"{len(units)} units to compute, about {duration(self.total)}"
            + (f" ({parts})" if parts else "")
            + f"; up to {self.peak / 2**20:,.0f} MiB in all"
        )


def forecast(bench: Bench, units: Sequence[Unit], progress: Progress | None = None) -> Forecast:
    """Pass a few images through every network that has work to do, and add up.

    Raises:
        ModelError: a network cannot be loaded, lacks a layer, or gives NaN.
        StudyError: the work cannot fit into memory; the sentence says what to reduce.
    """
    progress = progress or Progress(quiet=True)
    give_back()
    before, limit = process_memory(), bench.memory.limit
    seconds: dict[str, float] = {}
    memory: dict[str, float] = {}
    names = list(dict.fromkeys(unit.names["model"] for unit in units))
    for place, name in enumerate(names):
        mine = [unit for unit in units if unit.names["model"] == name]
        with progress.stage(f"loading and timing the network {name} ({place + 1} of {len(names)})"):
            layers = sorted({layer for unit in mine for layer in layers_of(unit)})
            network = probe(bench, name, mine, layers)
            give_back()
        held = before + LATER + network.weights + network.copies
        for unit in mine:
            needed = need(bench, unit, network)
            if held + needed.fixed + needed.batch.of(1) > limit:
                raise StudyError(_refusal(unit, held, needed, limit))
            memory[unit.key] = held + needed.peak(limit - held)
            seconds[unit.key] = _seconds(bench, unit, network, needed.at_once(limit - held))
    return Forecast(seconds, memory, before, before + concluding(bench))


def group_of(unit: Unit) -> Group:
    """Units whose forecasts are off alike: of one kind, of one network, under one threat or in one layer."""
    names = unit.names
    return (
        unit.kind,
        str(names.get("model")),
        str(names.get("threat", names.get("layer"))),
        str(names.get("strength")),
    )


def _refusal(unit: Unit, held: float, needed: Need, limit: int) -> str:
    least = held + needed.fixed + needed.batch.of(1)
    return (
        f"{unit.label} needs at least {least / 2**30:.1f} GiB of memory in all, and the process may take "
        f"{limit / 2**30:.1f} GiB; reduce {needed.reduce}, or allow more with --memory"
    )


def _seconds(bench: Bench, unit: Unit, network: Probed, at_once: int) -> float:
    """Seconds of a unit, whose network has so many images at a time."""
    forwards, gradients = unit.passes
    n = unit.n_images
    seconds = SECONDS_OF_A_UNIT
    if unit.kind in ("attack", "displacement", "transfer"):
        seconds += _attack_seconds(bench, unit, network, at_once)
    elif unit.kind == "train":
        training = bench.networks[unit.names["model"]].plan.training
        at_once = training.batch_size if training is not None else at_once
        seconds += gradients * network.own.seconds.of(n, at_once)
    else:
        seconds += forwards * network.forward.seconds.of(n, at_once)
        seconds += gradients * (network.own.seconds.of(n, at_once) + SECONDS_OF_A_STEP)
    if unit.kind == "inspect":
        seconds += network.loading
    if unit.kind in ("geometry", "layer", "displacement", "detection"):
        seconds += _measuring_seconds(unit, [network.features[layer] for layer in layers_of(unit)])
    return seconds


def _attack_seconds(bench: Bench, unit: Unit, network: Probed, at_once: int) -> float:
    """Seconds of an attack on the images of one class after another, and on a sample by the network itself."""
    forwards, gradients = unit.passes
    rolling = rolls(unit)
    passes = network.search if rolling else network.own
    of_class = unit.n_images if unit.kind == "attack" else largest_class(bench)
    n_classes = math.ceil(unit.n_images / of_class)
    seconds = forwards * network.forward.seconds.of(of_class, at_once)
    step = SECONDS_OF_A_STEP if rolls(unit) else SECONDS_OF_A_LIBRARY_STEP
    seconds += gradients * (passes.seconds.of(of_class, at_once) + step) + forwards * SECONDS_OF_A_STEP
    if network.search is not network.own and rolling:
        sample = math.ceil(of_class / CHECKED)
        seconds += gradients * (network.own.seconds.of(sample, sample) + SECONDS_OF_A_STEP)
    return n_classes * seconds * _share_attacked(bench, unit)


def _share_attacked(bench: Bench, unit: Unit) -> float:
    """About which share of the images is attacked, since those that are misclassified when clean are not."""
    training = bench.networks[unit.names["model"]].plan.training
    untrained = training is not None and not training.made().passes
    return 1 / len(bench.draws["robustness"].images.classes) if untrained else 1.0


def _measuring_seconds(unit: Unit, widths: Sequence[int]) -> float:
    """Seconds to measure the points of a unit as often as is asked: in halves, nulls and draws of fewer points too."""
    measures = unit.inputs.get("measures", [])
    n_measures, n_classes = len(measures), len(unit.names.get("classes", [None]))
    n_points = max(2, unit.n_images // n_classes)
    asked = unit.inputs.get("sampling", {})
    extrapolating = EXTRAPOLATION_DRAWS if asked.get("extrapolate") else 0
    n_sizes = len(size_grid(n_points, smallest=8))
    # as often as all points: two halves cost a quarter each, and the smaller sizes of a curve no more than all points
    often = 1 + asked.get("halvings", 0) / 2
    each = asked.get("null", 0) + asked.get("curve", 0) + 2 * extrapolating
    calls = asked.get("null", 0) + asked.get("curve", 0) * n_sizes + extrapolating * (n_sizes + 4)
    # a wide layer is read once, and is then as wide as it has points
    reduced = [min(width, unit.n_images) if width >= 4 * unit.n_images else width for width in widths]
    seconds: float = _reading_seconds(unit.n_images, widths)
    seconds += (often + each * n_measures) * _reading_seconds(unit.n_images, reduced)
    seconds += calls * n_measures * len(widths) * SECONDS_OF_A_CALL
    seconds += (often + each) * _joint_seconds(measures, n_points, n_classes)
    if reliability := unit.inputs.get("reliability"):
        apart = n_classes * (_reading_seconds(n_points, widths) + SECONDS_OF_A_CALL) * len(reliability["measures"])
        together = _reading_seconds(unit.n_images, widths) * n_measures
        together += _joint_seconds(measures, n_points, n_classes)
        seconds += (1 + reliability["splits"] / 2) * (apart + together)
    if unit.kind == "displacement":
        seconds += n_classes * 4e-11 * DIRECTIONS * unit.n_images * sum(widths)
    return seconds


def _joint_seconds(measures: Sequence[Mapping[str, Any]], n_points: int, n_classes: int) -> float:
    """Seconds of joint measures of so many points of each class, beside reading them; what they share counts once."""
    n, seconds = n_points * n_classes, 0.0
    shared = {_SHARED.get(measure["name"], measure["name"]): measure for measure in measures}
    for family, measure in shared.items():
        if family == "capacity":
            seconds += n_classes * (3e-3 + 5.5e-6 * n_points**2) * measure.get("directions", 300) / 300
        elif family == "effective":
            seconds += 5e-6 * n**2 * measure.get("draws", 200) / 200
        elif family == "simulated_capacity":
            seconds += 8e-5 * n**1.8
        elif MEASURES[measure["name"]].traits["reads"] == "clouds":
            seconds += 2e-4 * n
    return seconds


def _reading_seconds(n_points: int, widths: Sequence[int]) -> float:
    """Seconds for the spectrum or the distances of so many points in layers of these widths."""
    side = min(n_points, max(widths))
    return 2e-10 * n_points * side * sum(widths) + 5e-9 * side**3
