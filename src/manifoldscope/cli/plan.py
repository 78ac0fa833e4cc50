"""Say how many classes, images and networks an association needs, before anything is computed."""

from __future__ import annotations

import argparse
from typing import Any

from manifoldscope.cli.printing import print_json, print_table, say

ORIGINS = {
    "classes": "the classes themselves",
    "measure": "the images that are measured",
    "attacked_images": "the images that are attacked",
    "difficulty": "the images by which difficulty is held fixed",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("study", metavar="STUDY", help="a built-in study by name, or a TOML file")
    parser.add_argument(
        "--set",
        dest="changes",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change any key of the study file, by its dotted name: data.classes=100",
    )
    parser.add_argument(
        "--rho",
        type=float,
        nargs="+",
        default=[0.3, 0.5, 0.7],
        help="sizes of the association over classes of equal difficulty, without any noise (0.3 0.5 0.7)",
    )
    parser.add_argument(
        "--pilot", metavar="DIR", help="results of a smaller study, from which noise is estimated instead of assumed"
    )
    parser.add_argument(
        "--cells", type=int, default=1, metavar="N", help="measures, layers and strengths that p is adjusted for (1)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead")


def execute(options: argparse.Namespace) -> int:
    """Print it."""
    from dataclasses import asdict

    from manifoldscope.api import open_results
    from manifoldscope.evidence import Assumed, pilot, power
    from manifoldscope.evidence.pilot import at_least
    from manifoldscope.evidence.two_draws import CONTROLS
    from manifoldscope.study.loading import load
    from manifoldscope.study.size import size_of

    study = load(options.study, options.changes)
    size = size_of(study)
    assumed = Assumed()
    if options.pilot is not None:
        results = open_results(options.pilot, plugins=study.plugins)
        names = ("geometry", "robustness", "models", "margins", "draw_pairs")
        assumed = pilot({name: results.table(name) for name in names})
    asked: dict[str, Any] = {"n_attacked": size.n_attacked, "assumed": assumed, "n_cells": options.cells}
    found = [
        power(size.n_classes, size.n_measured, rho=rho, control=control, **asked)
        for control in CONTROLS
        for rho in options.rho
    ]
    if options.json:
        print_json({"study": asdict(size), "assumed": asdict(assumed), "power": [asdict(each) for each in found]})
        return 0
    least = [] if options.pilot is None else at_least(assumed)
    _print(study.name, size, found, pilot=options.pilot, least=least)
    return 0


def _print(name: str, size: Any, found: list[Any], *, pilot: str | None, least: list[str]) -> None:
    import polars as pl

    from manifoldscope.evidence.two_draws import FEWEST_CLASSES, FEWEST_IMAGES

    say(
        f"{name}: {size.n_classes} classes, of each {size.n_measured} images that are measured and {size.n_attacked} "
        f"that are attacked; networks: {size.n_networks}"
    )
    say(f"assumed of classes: {'as the pilot says' if pilot else 'as simulated in the benchmarks, not as measured'}")
    if least:
        say(f"too little for the pilot to tell from nothing: {', '.join(least)}; fewer may do than are needed here")
    say("")
    rows = [
        {
            "given": each.control,
            "rho": each.rho,
            "expected r": round(each.expected, 2),
            "power": f"{each.power:.0%}",
            "classes needed": each.needed_classes,
            "images needed": each.needed_images or "more classes",
            "networks needed": each.needed_networks,
        }
        for each in found
    ]
    print_table(pl.DataFrame(rows, strict=False), as_json=False)
    say("\nneeded: for a power of 80%, with the study's images, classes, or across networks\n")
    for control in dict.fromkeys(each.control for each in found):
        same = [each for each in found if each.control == control]
        each = same[len(same) // 2]
        smallest = "nothing" if each.smallest_rho is None else f"rho = {each.smallest_rho:.2f} and above"
        say(f"given {each.control}, this study finds with a power of 80%: {smallest}; variance at rho = {each.rho:g}:")
        for source in each.sources:
            say(f"  {source.variable}: {source.share:.0%} from {ORIGINS[source.origin]}")
    if size.same_images:
        say("\ngeometry and attacks share their images: difficulty cannot be held fixed (data.same_images = false)")
    if size.n_classes < FEWEST_CLASSES or min(size.n_measured, size.n_attacked) < FEWEST_IMAGES:
        say(
            f"\nbelow {FEWEST_CLASSES} classes, or {FEWEST_IMAGES} images of each on a draw, difficulty cannot be held "
            "fixed"
        )
