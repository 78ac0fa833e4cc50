"""Measure any matrix of points: activations, or recordings of neurons."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from typing import Any

from manifoldscope.cli import pages
from manifoldscope.cli.printing import print_table, say
from manifoldscope.errors import StudyError, printable, shortened


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument(
        "points",
        metavar="POINTS",
        help=".npy, .csv, .tsv or .parquet, one row a point; .npz or .mat, by the names of its arrays; or .safetensors",
    )
    parser.add_argument(
        "--labels",
        metavar="LABELS",
        help="one whole number or text a point: a column or array of POINTS, or a file (.npy, .csv, .tsv, .parquet)",
    )
    parser.add_argument(
        "--points", metavar="NAME", dest="array", help="the array of an .npz or .mat file that is meant"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column of a table that is no feature, such as the number of a trial; may be given again",
    )
    parser.add_argument(
        "--axes",
        metavar="NAMES",
        help="the axes of the array: trials,neurons,time or neurons,trials; classes may have one of their own",
    )
    parser.add_argument(
        "--window",
        type=_window,
        metavar="START:STOP",
        help="of the axis `time`: its samples from START to before STOP",
    )
    parser.add_argument(
        "--pool",
        action="append",
        type=_pool,
        default=[],
        metavar="AXIS=HOW",
        help="for each further axis, such as time: its mean, flatten (into features), or each (measured apart)",
    )
    parser.add_argument(
        "--measure",
        dest="names",
        metavar="NAME",
        action="append",
        help="a measure by name (manifoldscope list measures); by default all that measure one class",
    )
    parser.add_argument(
        "--set",
        dest="changes",
        metavar="NAME.KEY=VALUE",
        action="append",
        default=[],
        help="a setting of a measure: pca_dimension.fraction=0.9",
    )
    parser.add_argument(
        "--scaling",
        choices=("none", "standardise"),
        default="none",
        help="standardise: every feature to a variance of 1",
    )
    parser.add_argument(
        "--split-halves", type=_number, default=5, metavar="N", help="random halves for standard errors (5); 0: none"
    )
    parser.add_argument("--equal", action="store_true", help="as many points of each class as the smallest has")
    parser.add_argument(
        "--null", type=_number, default=0, metavar="N", help="draws of a null, such as 40: Gaussian, or shuffled labels"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--curve", action="store_true", help="print each measure against the number of points instead")
    instead.add_argument(
        "--extrapolate",
        type=_factor,
        metavar="FACTOR",
        help="print what so many times the points would show instead, or why that cannot be told",
    )
    instead.add_argument(
        "--reliability", action="store_true", help="print split-half reliabilities across classes instead"
    )
    instead.add_argument(
        "--outcome",
        metavar="TABLE",
        help="associate each measure with the column --y of this table instead",
    )
    parser.add_argument("--y", metavar="COLUMN", help="with --outcome: its column of numbers")
    parser.add_argument("--key", metavar="COLUMN", help="with --outcome: its column with the names of the classes")
    parser.add_argument(
        "--control", action="append", default=[], metavar="COLUMN", help="with --outcome: a column to hold fixed"
    )
    parser.add_argument("--seed", type=int, default=0, help="of every random draw (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    pages.add_report(parser)


def execute(options: argparse.Namespace) -> int:
    """Print one table, and with --report make a page of it."""
    from manifoldscope.geometry import MEASURES
    from manifoldscope.recordings import (
        curves,
        equally_many,
        extrapolations,
        load_sets,
        measured,
        reliabilities,
        stepwise,
    )
    from manifoldscope.study.loading import parse_change

    if options.null and (
        instead := [name for name in ("curve", "extrapolate", "reliability", "outcome") if getattr(options, name)]
    ):
        raise StudyError(f"--null stands beside values, which --{instead[0]} does not print; leave out one of them")
    outcome = _outcome(options)
    if options.report:
        pages.require_report(options.report)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        sets = load_sets(
            options.points,
            options.labels,
            points=options.array,
            axes=options.axes,
            window=options.window,
            pool=dict(options.pool),
            without=options.without,
        )
    cautions = [str(caution.message) for caution in warned]
    for caution in cautions:
        say(f"warning: {caution}", file=sys.stderr)
    _require_classes(options, len(sets[0].manifolds))
    _require_points(options, sets[0].manifolds)
    names = options.names or [entry.name for entry in MEASURES if entry.traits["reads"] != "clouds"]
    settings: dict[str, dict[str, Any]] = {name: {} for name in names}
    for change in options.changes:
        path, value = parse_change(change)
        name, _, key = path.partition(".")
        if name not in settings or not key:
            raise StudyError(f"--set {change}: expected NAME.KEY=VALUE with one of the measures: {', '.join(settings)}")
        settings[name][key] = value
    wanted = [(name, MEASURES[name].validate(own)) for name, own in settings.items()]
    common = {"scaling": options.scaling, "seed": options.seed}

    def table(manifolds: Any) -> Any:
        if options.equal:
            manifolds = equally_many(manifolds, seed=options.seed)
        if options.curve:
            return curves(manifolds, wanted, **common)
        if options.extrapolate:
            return extrapolations(manifolds, wanted, factor=options.extrapolate, **common)
        if options.reliability:
            return reliabilities(manifolds, wanted, **common)
        split_halves = 0 if options.outcome and not options.report else options.split_halves
        return measured(manifolds, wanted, split_halves=split_halves, null=options.null, **common)

    found = values = stepwise(sets, table)
    if outcome is not None:
        found = _beside_outcome(options, values, outcome)
    if options.report:
        from manifoldscope.cli.measured_page import measured_page

        pages.write_report(
            options.report, measured_page(options, sets, wanted, values, found, outcome, warned=cautions)
        )
    print_table(found, as_json=options.json)
    return 0


def _outcome(options: argparse.Namespace) -> Any:
    """The table of outcomes; None where none was asked for.

    Raises:
        StudyError: one was given without its column, or the other way round.
    """
    from manifoldscope.frames import read_frame

    if options.outcome and not options.y:
        raise StudyError(f"--outcome {options.outcome} needs --y COLUMN, the numbers that measures are associated with")
    for name in ("y", "key", "control"):
        if getattr(options, name) and not options.outcome:
            raise StudyError(f"--{name} is a column of an outcome; give --outcome TABLE as well")
    return read_frame(options.outcome, numeric=[options.y, *options.control]) if options.outcome else None


def _beside_outcome(options: argparse.Namespace, measured: Any, outcome: Any) -> Any:
    from manifoldscope.api import associate_outcome

    return associate_outcome(
        measured, outcome, y=options.y, key=options.key, controls=tuple(options.control), seed=options.seed
    )


def _require_classes(options: argparse.Namespace, n_classes: int) -> None:
    for name, least in (("equal", 2), ("reliability", 3)):
        if getattr(options, name) and n_classes < least:
            raise StudyError(
                f"--{name} compares classes: it needs {least} at least, and {options.points} has {n_classes}; "
                "give --labels, one label a point"
            )


def _require_points(options: argparse.Namespace, manifolds: Any) -> None:
    """Raise StudyError where a class has one point, with the names of all such classes."""
    alone = [shortened(printable(manifold.name or str(manifold.label)), 40) for manifold in manifolds]
    alone = [name for name, manifold in zip(alone, manifolds, strict=True) if manifold.n_points < 2]
    if alone:
        listed = ", ".join(alone[:6]) + (f", ... ({len(alone)} in all)" if len(alone) > 6 else "")
        raise StudyError(
            f"{options.points}: one point has no geometry, and {listed} {'has' if len(alone) == 1 else 'have'} no "
            "more; leave their rows out, or check that the labels name classes and not points"
        )


def _number(text: str) -> int:
    """A whole number of at least 0."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of draws; expected a whole number, 0 for none")
    return number


def _factor(text: str) -> float:
    """A factor by which samples are extrapolated."""
    from manifoldscope.geometry.extrapolation import FARTHEST

    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 1 < factor <= FARTHEST:
        raise argparse.ArgumentTypeError(
            f"{text} times the points cannot be told; expected more than 1 and at most {FARTHEST}, as 2"
        )
    return factor


def _window(text: str) -> tuple[int, int]:
    """Samples START:STOP of an axis."""
    start, _, stop = text.partition(":")
    try:
        return int(start), int(stop)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no window; expected START:STOP in samples, as 10:30") from None


def _pool(text: str) -> tuple[str, str]:
    """What becomes of an axis: NAME=HOW."""
    name, equals, how = text.partition("=")
    if not name or not equals or not how:
        raise argparse.ArgumentTypeError(f"{text} says nothing of an axis; expected AXIS=HOW, as time=mean")
    return name, how
