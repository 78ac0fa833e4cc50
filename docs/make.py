"""Writes docs/measures.md and its figures from the registry of measures.

    python docs/make.py             the text and every figure (some minutes)
    python docs/make.py --text      the text alone
    python docs/make.py two_nn      the text, and the figures of these measures

The text is the docstrings; a measure that is registered is in it. The figures show what each measure says of samples
whose population is known, as the number of points grows.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manifoldscope.geometry import (
    MEASURES,
    Estimate,
    Spectrum,
    ball_capacity,
    class_curve,
    displacement,
    effective_geometry,
    extrapolate,
    mean_field_geometry,
    measure,
    nearest_centroid_disagreement,
    self_duality,
    simulate_capacity,
    subsampled,
)
from manifoldscope.geometry.reference import (
    cube,
    gaussian,
    geometric_variances,
    power_law_variances,
    sphere,
    swiss_roll,
)
from manifoldscope.registry import Entry
from manifoldscope.report.chart import COLOURS, FAINT, INK, MARKERS, Chart, styled
from manifoldscope.seeds import generator
from manifoldscope.vision.jacobian import jacobian_norms

HERE = Path(__file__).parent
IMAGES = HERE / "images" / "measures"
SIZES = (20, 50, 100, 200, 500, 1000, 2000)
SIZES_OF_CLASSES = (5, 10, 20, 40, 80)
DRAWS = 3

INTRODUCTION = (HERE / "measures.in.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Known:
    """A population whose measure is known.

    Attributes:
        name: what the figure calls it.
        draw: (number of points, generator) to a cloud, or to the clouds of several classes for a joint measure.
        truth: of the measure; None where it is not known in closed form.
        parameters: of the measure.
    """

    name: str
    draw: Callable[[int, torch.Generator], Any]
    truth: float | None
    parameters: Mapping[str, Any] | None = None


def _gaussian(variances: Tensor) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, drawing: gaussian(n, variances, generator=drawing)


GEOMETRIC, POWER, EQUAL = geometric_variances(400, 0.9), power_law_variances(1024, 1.0), torch.ones(200)
SPECTRA = {"variances 0.9^k": GEOMETRIC, "variances 1/k, 1,024 features": POWER, "200 equal variances": EQUAL}


def _from_spectra(name: str) -> list[Known]:
    """Gaussian clouds, with what the measure says of their true variances."""
    return [
        Known(what, _gaussian(variances), measure(name, Spectrum(variances, n_points=10**6, n_features=10**4)).value)
        for what, variances in SPECTRA.items()
    ]


def _curved() -> list[Known]:
    return [
        Known("swiss roll, 2", lambda n, drawing: swiss_roll(n, generator=drawing), 2),
        Known("sphere, 10", lambda n, drawing: sphere(n, 10, generator=drawing), 10),
        Known("cube, 24", lambda n, drawing: cube(n, 24, generator=drawing), 24),
    ]


def _balls(dimension: int, radius: float) -> Callable[[int, torch.Generator], list[Tensor]]:
    """Eight classes on spheres of this radius in random subspaces, at random centroids of norm 1."""

    def draw(n: int, drawing: torch.Generator) -> list[Tensor]:
        found = []
        for _ in range(8):
            centroid = torch.randn(400, dtype=torch.float64, generator=drawing)
            axes = torch.randn(dimension, 400, dtype=torch.float64, generator=drawing) / 20
            found.append(centroid / centroid.norm() + radius * sphere(n, dimension - 1, generator=drawing) @ axes)
        return found

    return draw


def known_of(entry: Entry) -> list[Known]:
    """The populations on which a measure is drawn."""
    if entry.traits["reads"] == "spectrum":
        return _from_spectra(entry.name)
    if entry.name == "rankme":  # no dimension of a curved manifold
        return [replace(each, truth=None) for each in _from_spectra("effective_rank")]
    if entry.traits["reads"] == "cloud":
        return _curved()
    truths = JOINT_TRUTHS.get(entry.name, (None, None))
    parameters = {"dichotomies": 40} if entry.name == "simulated_capacity" else None  # it takes long
    return [
        Known("8 spheres, radius 0.5, 3 dimensions", _balls(3, 0.5), truths[0], parameters),
        Known("8 spheres, radius 1, 10 dimensions", _balls(10, 1.0), truths[1], parameters),
    ]


SEEN = (7 / 8) ** 0.5  # the norm of eight unrelated centroids of norm 1, from the mean of all points
BALLS = (ball_capacity(0.5 / SEEN, 3), ball_capacity(1.0 / SEEN, 10))
JOINT_TRUTHS = {
    "capacity": BALLS,
    "effective_capacity": BALLS,
    "simulated_capacity": BALLS,
    "centroid_distance": (2**0.5, 2**0.5),
    "centroid_cosine": (1 / 7, 1 / 7),
    "effective_alignment": (1 / 7, 1 / 7),
    "within_between_ratio": (0.25, 1.0),
    "nc2_equinorm": (0.0, 0.0),
}
"""A sphere has the capacity of the ball that it bounds. Unrelated centroids of norm 1 lie sqrt(2) apart, have cosines
of -1/7 from the mean of eight, and a variance of 1."""


BEHIND = (
    mean_field_geometry,
    effective_geometry,
    simulate_capacity,
    class_curve,
    self_duality,
    nearest_centroid_disagreement,
    displacement,
    jacobian_norms,
    subsampled,
    extrapolate,
)
"""Functions whose docstrings say what measures rest on."""


def text() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## All of them\n", "| measure | what | reads | unchanged by |", "|---|---|---|---|"]
    for entry in MEASURES:
        unchanged = ", ".join(entry.traits["invariant_to"])
        reads = {"spectrum": "spectrum", "cloud": "points", "clouds": "all classes"}[entry.traits["reads"]]
        summary = entry.summary.replace("|", "\\|")
        parts.append(f"| [`{entry.name}`](#{entry.name}) | {summary} | {reads} | {unchanged} |")
    parts.append("")
    for entry in MEASURES:
        parts += [f"## {entry.name}", "", section(inspect.getdoc(entry.target) or ""), ""]
        parts += [f"![{entry.name} of samples of known populations](images/measures/{entry.name}.png)", ""]
    parts += ["# What they rest on", ""]
    for function in BEHIND:
        room = function.__module__.split(".")[1]
        parts += [f"## ms.{room}.{function.__name__}", "", section(inspect.getdoc(function) or ""), ""]
    return "\n".join(parts)


def section(docstring: str) -> str:
    """A docstring as Markdown: prose, then parameters, sources and the example."""
    heads = re.split(r"^(Args|Returns|Raises|References|Example):\n", docstring, flags=re.MULTILINE)
    bodies = dict(zip(heads[1::2], map(inspect.cleandoc, heads[2::2]), strict=True))
    parts = [heads[0].strip()]
    rows = re.findall(r"^(\w[\w, ]*): (.*(?:\n .*)*)", bodies.get("Args", ""), flags=re.MULTILINE)
    settings = [(name, " ".join(about.split())) for name, about in rows][1:]  # the first is what is measured
    parts += [f"- `{name}`: {about}" for name, about in settings]
    if "References" in bodies:
        parts.append(f"Source: {' '.join(bodies['References'].split())}")
    if "Example" in bodies:
        parts.append(f"```python\n{bodies['Example']}\n```")
    joined = "\n\n".join(parts)
    return re.sub(r"(\n- .*)\n(?=\n- )", r"\1", joined)


@styled
def figure(entry: Entry) -> bytes:
    """The measure of samples of each known population, as the number of points grows, as PNG."""
    known = known_of(entry)
    sizes = SIZES_OF_CLASSES if entry.traits["reads"] == "clouds" else SIZES
    chart = Chart(columns=len(known), width=2.6, height=2.2, left=0.7, right=0.2, top=0.5, across=0.6)
    for place, (panel, population) in enumerate(zip(chart.flat, known, strict=True)):
        values, ceilings = [], []
        for size in sizes:
            estimates = [one(entry, population, size, seed) for seed in range(DRAWS)]
            values.append([estimate.value for estimate in estimates])
            ceilings.append(estimates[0].ceiling)
        table = torch.tensor(values, dtype=torch.float64)
        colour = COLOURS[place]
        panel.fill_between(sizes, table.amin(1), table.amax(1), color=colour, alpha=0.2, linewidth=0)
        panel.plot(sizes, table.mean(1), MARKERS[place], linestyle="-", color=colour, markersize=4, label="samples")
        if population.truth is not None:
            panel.axhline(population.truth, color=INK, linestyle=(0, (6, 2)), linewidth=1, label="population")
        if all(ceiling is not None for ceiling in ceilings) and max(ceilings) < 20 * float(table.nanmean()):
            panel.plot(sizes, ceilings, color=FAINT, linestyle=(0, (2, 1.2)), linewidth=1, label="ceiling")
        panel.set_xscale("log")
        panel.set_xticks(sizes[::2], [f"{size:,}" for size in sizes[::2]])
        panel.minorticks_off()
        panel.set_xlabel("points" if entry.traits["reads"] != "clouds" else "points of each class")
        panel.set_title(population.name)
        if place == 0:
            panel.set_ylabel(entry.name.replace("_", " "))
            panel.legend()
    return chart.png(dpi=110)


def one(entry: Entry, population: Known, size: int, seed: int) -> Estimate:
    """One sample, measured; of a joint measure the whole, or the mean over its classes or pairs."""
    drawn = population.draw(size, generator(seed, population.name, size))
    found = measure(entry.name, drawn, **(population.parameters or {}))
    if isinstance(found, Estimate):
        return found
    if found.whole is not None:
        return found.whole
    each = found.classes or tuple(found.pairs.values())
    return replace(each[0], value=sum(estimate.value for estimate in each) / len(each))


def main() -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(description="Write docs/measures.md and its figures.")
    parser.add_argument("names", nargs="*", help="the measures to draw; all if omitted")
    parser.add_argument("--text", action="store_true", help="draw nothing")
    options = parser.parse_args()
    (HERE / "measures.md").write_text(text(), encoding="utf-8")
    IMAGES.mkdir(parents=True, exist_ok=True)
    for entry in () if options.text else MEASURES:
        if not options.names or entry.name in options.names:
            (IMAGES / f"{entry.name}.png").write_bytes(figure(entry))
            print(entry.name, flush=True)


if __name__ == "__main__":
    main()
