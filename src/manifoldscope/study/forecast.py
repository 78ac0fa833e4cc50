"""What a run will cost, before it starts: seconds for each unit, and memory, which is refused where it cannot fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manifoldscope.errors import StudyError
from manifoldscope.study.context import Context
from manifoldscope.study.cost import Costs, Need
from manifoldscope.study.probe import probe
from manifoldscope.study.progress import Progress, duration
from manifoldscope.study.unit import Unit
from manifoldscope.vision.layers import Layer
from manifoldscope.vision.memory import give_back, process_memory

LATER = 32 * 2**20
"""Bytes of the libraries that are loaded while units are computed."""

CONCLUDING, EACH_CONCLUDED, MOST_CONCLUDED = 80 * 2**20, 30 * 2**20, 20
"""Bytes of the libraries that draw figures; and of tables and figures for each layer of each network, up to so many."""


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


def forecast(context: Context, units: Sequence[Unit], progress: Progress | None = None) -> Forecast:
    """Pass a few images through every network that has work to do, and add up.

    Raises:
        ModelError: a network cannot be loaded, lacks a layer, or gives NaN.
        StudyError: the work cannot fit into memory; the sentence says what to reduce.
    """
    progress = progress or Progress(quiet=True)
    give_back()
    before, limit = process_memory(), context.memory.limit
    seconds: dict[str, float] = {}
    memory: dict[str, float] = {}
    names = list(dict.fromkeys(unit.networks[0].name for unit in units))
    for place, name in enumerate(names):
        mine = [unit for unit in units if unit.networks[0].name == name]
        with progress.stage(f"loading and timing the network {name} ({place + 1} of {len(names)})"):
            layers = sorted({layer for unit in mine for layer in unit.measured_layers})
            network = probe(context, name, mine, layers)
            give_back()
        costs = Costs(context, network, name)
        held = before + LATER + network.weights + network.copies
        for unit in mine:
            needed = unit.need(costs)
            if held + needed.fixed + needed.batch.of(1) > limit:
                raise StudyError(_refusal(unit, held, needed, limit))
            memory[unit.key] = held + needed.peak(limit - held)
            seconds[unit.key] = unit.seconds(costs, needed.at_once(limit - held))
    return Forecast(seconds, memory, before, before + _concluding(context))


def _refusal(unit: Unit, held: float, needed: Need, limit: int) -> str:
    least = held + needed.fixed + needed.batch.of(1)
    return (
        f"{unit.label} needs at least {least / 2**30:.1f} GiB of memory in all, and the process may take "
        f"{limit / 2**30:.1f} GiB; reduce {needed.reduce}, or allow more with --memory"
    )


def _concluding(context: Context) -> int:
    """Bytes that tables, figures and the report take."""
    study = context.study
    asked = [network.plan.layers or study.layers for network in context.networks.values()]
    layers = sum(MOST_CONCLUDED if any(Layer.of(each).is_pattern for each in some) else len(some) for some in asked)
    return CONCLUDING + EACH_CONCLUDED * min(MOST_CONCLUDED, layers)
