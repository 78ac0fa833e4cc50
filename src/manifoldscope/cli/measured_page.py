"""The page of `measure --report`: what was measured, how, and what it was related to."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from manifoldscope.cli import pages
from manifoldscope.geometry import MEASURES, Spectrum
from manifoldscope.recordings import PointSet, join_outcome
from manifoldscope.recordings.outcomes import outcome_column
from manifoldscope.report import associated, words
from manifoldscope.report.measured import MOST_DRAWINGS, cautions, measured_parts, spectra_part
from manifoldscope.report.rows import reals
from manifoldscope.report.small import Drawing, Part, small_page

Wanted = Sequence[tuple[str, Mapping[str, Any]]]


def measured_page(
    options: argparse.Namespace,
    sets: Sequence[PointSet],
    wanted: Wanted,
    values: pl.DataFrame,
    found: pl.DataFrame,
    outcome: pl.DataFrame | None,
    *,
    warned: Sequence[str] = (),
) -> str:
    """The page of one call of `measure`.

    Args:
        options: of the command.
        sets: the points that were measured; several where an axis was taken step by step.
        wanted: the measures, with their settings.
        values: what was measured.
        found: what the command prints: the same, or the associations with an outcome.
        outcome: the table of outcomes, where there is one.
        warned: what there is to say of the points as they were read.
    """
    axes = list(sets[0].at)
    parts, said = [], cautions(values)
    if outcome is not None:
        drawings, left_out = _scatters(options, values, found, outcome, axes)
        said = associated.cautions(found.to_dicts()) + said
        more = f" {left_out} more are in the table alone." if left_out else ""
        parts.append(Part(f"Beside {options.y}", f"A point per class.{more}", drawings))
    meanings = {name: MEASURES[name].summary for name, _ in wanted}
    parts += measured_parts(values, axes=axes, meanings=meanings)
    plain = not (options.curve or options.extrapolate or options.reliability or axes)
    if plain and any(MEASURES[name].traits["reads"] == "spectrum" for name, _ in wanted):
        parts.append(_spectra(options, sets[0]))
    return small_page(
        kind="manifoldscope measure",
        title=Path(options.points).name,
        about=_about(options, sets),
        cautions=[*(f"{caution[:1].upper()}{caution[1:]}." for caution in warned), *said],
        parts=parts,
        table=found,
        row="one coefficient of a measure and the outcome" if options.outcome else "one value of one measure",
        command=pages.command_line(),
        versions=pages.versions("torch", "numpy", "scipy", "polars"),
    )


def _about(options: argparse.Namespace, sets: Sequence[PointSet]) -> list[tuple[str, str]]:
    manifolds = sets[0].manifolds
    sizes, features = ([m.points.shape[axis] for m in manifolds] for axis in (0, 1))
    classes = words.count(len(manifolds), "class", "classes")
    each = f", {_span(sizes)} each" if len(manifolds) > 1 else ""
    window = f", samples {options.window[0]} to before {options.window[1]}" if options.window else ""
    pooled = [f"{axis}: {how}" for axis, how in options.pool]
    halved = options.split_halves and not (options.curve or options.extrapolate or options.reliability)
    drawn = [f"standard errors from {options.split_halves} random halves"] if halved else []
    drawn += [f"chance from {options.null} draws"] if options.null else []
    drawn += ["as many points of each class"] if options.equal else []
    return [
        ("File", f"{options.points}{f', array {options.array}' if options.array else ''}"),
        ("Labels", options.labels or ""),
        ("Points", f"{words.number(sum(sizes))} in {classes}{each}"),
        ("Features", _span(features)),
        ("Left out", words.listing(options.without) if options.without else ""),
        ("Axes", f"{options.axes}{window}" if options.axes else ""),
        ("Pooled", ", ".join(pooled)),
        ("Steps", words.number(len(sets)) if len(sets) > 1 else ""),
        ("Scaling", "every feature to a variance of 1" if options.scaling == "standardise" else ""),
        ("Sampling", "; ".join(drawn)),
        ("Outcome", f"{options.y} of {options.outcome}" if options.outcome else ""),
        ("Held fixed", words.listing(options.control) if options.control else ""),
        ("Seed", str(options.seed)),
    ]


def _scatters(
    options: argparse.Namespace,
    values: pl.DataFrame,
    found: pl.DataFrame,
    outcome: pl.DataFrame,
    axes: Sequence[str],
) -> tuple[list[Drawing], int]:
    """A scatter of each measure (at each place along the axes), and how many more there would be."""
    joined = join_outcome(values, outcome, key=options.key)
    y, identity = outcome_column(values, options.y), [*axes, "measure", "parameters"]
    drawings: list[Drawing] = []
    left_out = 0
    for key, rows in joined.frame.group_by(identity, maintain_order=True):
        if len(drawings) == MOST_DRAWINGS:
            left_out += 1
            continue
        same = [pl.col(name).eq_missing(pl.lit(value)) for name, value in zip(identity, key, strict=True)]
        measure = words.measure(str(key[-2]), str(key[-1] or ""))
        place = ", ".join(f"{name} {value}" for name, value in zip(axes, key, strict=False))
        drawings.append(
            associated.scatter(
                reals(rows, "value"),
                reals(rows, y),
                across=measure,
                up=options.y,
                rows=found.filter(*same).to_dicts(),
                names=rows["label"].to_list(),
                title=f"{measure}{f', {place}' if place else ''}",
            )
        )
    return drawings, left_out


def _spectra(options: argparse.Namespace, points: PointSet) -> Part:
    names = {m.name or str(m.label): m for m in points.manifolds}
    spectra = {name: Spectrum.of(m, scaling=options.scaling) for name, m in names.items()}
    return spectra_part(
        {name: np.asarray(found.eigenvalues.cpu(), dtype=np.float64) for name, found in spectra.items()},
        {name: found.n_points for name, found in spectra.items()},
    )


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return words.number(low) if low == high else f"{words.number(low)} to {words.number(high)}"
