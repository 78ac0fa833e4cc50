"""A whole study, from a folder of images to the report, beside fifty lines that one would write for it by hand.

    python benchmarks/whole_study.py [--quick] [--rounds N] [--attacked N] [--measured N] [--json FILE]

ResNet-32 on the ten classes of CIFAR-10 (see real_networks.py): the PCA dimension of the last hidden layer, and PGD of
20 steps at 0, 1, 2, 4 and 8 of 255; with "any", an image that is misclassified at one strength is not attacked at the
next. Ours is the command line, with a page of findings and figures at the end; theirs is whole_study_peers.py, which
prints numbers, in the environment of peers.py; and whole_study_least.py takes the passes alone that an answer needs, so
that it says what ratio could be reached at all. Each is a process of its own, by turns. On a machine that does other
work as well, compare seconds of the processor, with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from peers import python_with_peers
from real_networks import DATA, IMAGENET, WEIGHTS

AIMS = {"any": 6.0, "both": 1.8}
STUDY = """
name = "whole"
layers = ["penultimate"]

[data]
source = "folder"
root = "{images}"
geometry = {{ images_per_class = {measured} }}
robustness = {{ images_per_class = {attacked} }}

[[models]]
name = "resnet32"
source = "small:resnet32"
weights = "{weights}/cifar10/resnet32-d509ac18.th"
mean = {mean}
std = {std}

[[measures]]
name = "pca_dimension"
fraction = 0.95

[[attacks]]
kind = "pgd"
epsilons = [0, {epsilons}]
steps = 20
iterate = "{iterate}"
sweep = "{sweep}"
"""


def timed(command: Sequence[str | Path]) -> tuple[dict[str, float], str]:
    """Seconds of a process, by the clock and of the processor; and what it printed."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - began, "processor": processor}, done.stdout


def ours(iterate: str, attacked: int, measured: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Our study, in a folder of its own; and what it found."""
    with tempfile.TemporaryDirectory() as folder:
        study, out = Path(folder) / "study.toml", Path(folder) / "out"
        filled = STUDY.format(
            images=(DATA / "cifar10-jpeg" / "test").resolve(),
            weights=WEIGHTS.resolve(),
            epsilons=", ".join(f"{k / 255:.8f}" for k in (1, 2, 4, 8)),
            attacked=attacked,
            measured=measured,
            iterate=iterate,
            sweep="reuse" if iterate == "any" else "independent",
            **IMAGENET,
        )
        study.write_text(filled, encoding="utf-8")
        taken, _ = timed([sys.executable, "-m", "manifoldscope", "run", study, "--out", out, "--quiet"])
        if not (out / "report.html").exists():
            raise SystemExit("the study wrote no report")
        rows = pl.read_parquet(out / "tables" / "robustness.parquet")
        rows = rows.filter(pl.col("iterate") == ("any" if iterate == "any" else "last")).sort("strength", "class_index")
        accuracy = {
            round(255 * part["strength"][0]): part["robust_accuracy"].to_list()
            for part in rows.partition_by("strength", maintain_order=True)
        }
        return taken, {"accuracy": accuracy}


def theirs(attacked: int, measured: int) -> tuple[dict[str, float], dict[str, Any]]:
    """The script; and what it found."""
    script = Path(__file__).with_name("whole_study_peers.py")
    images, python = DATA / "cifar10-jpeg" / "test", python_with_peers("attacks")
    taken, printed = timed([python, script, images.resolve(), WEIGHTS.resolve(), str(attacked), str(measured)])
    return taken, json.loads(printed.splitlines()[-1])


def least(iterate: str, attacked: int, measured: int) -> tuple[dict[str, float], dict[str, Any]]:
    """The passes alone; and what they found."""
    script = Path(__file__).with_name("whole_study_least.py")
    images, weights = (DATA / "cifar10-jpeg" / "test").resolve(), WEIGHTS.resolve()
    taken, printed = timed([sys.executable, script, images, weights, str(attacked), str(measured), iterate])
    return taken, json.loads(printed.splitlines()[-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="A whole study, beside fifty lines of other libraries.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the images, once")
    parser.add_argument("--rounds", type=int, help="runs of each, by turns (3; 1 with --quick)")
    parser.add_argument("--attacked", type=int, help="images of each class that are attacked (60; 6 with --quick)")
    parser.add_argument("--measured", type=int, help="images of each class that are measured (200; 20 with --quick)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 3)
    sizes = (options.attacked or (6 if options.quick else 60), options.measured or (20 if options.quick else 200))
    python_with_peers("attacks")
    works = {
        "any": partial(ours, "any"),
        "both": partial(ours, "both"),
        "theirs": theirs,
        "least any": partial(least, "any"),
        "least both": partial(least, "both"),
    }
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in works}
    found: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for name, runs in taken.items():
            seconds, found[name] = works[name](*sizes)
            runs.append({**seconds, "load": os.getloadavg()[0]})
            print(f"{name}: {seconds['seconds']:.1f} s, {seconds['processor']:.1f} s of the processor", file=sys.stderr)
    print(f"| iterate | ours | theirs | ratio | of the processor | ratio | aim |\n|{'---|' * 7}")
    for name, aim in {**AIMS, **{f"least {name}": math.nan for name in AIMS}}.items():
        cells = []
        for clock in ("seconds", "processor"):
            own, other = ([run[clock] for run in taken[each]] for each in (name, "theirs"))
            ratio = statistics.median(b / a for a, b in zip(own, other, strict=True))
            own_median, other_median = statistics.median(own), statistics.median(other)
            cells += [f"{own_median:.1f} s", f"{other_median:.1f} s", f"{ratio:.1f}"]
        cells = [*cells[:3], " and ".join(cells[3:5]), cells[5], "" if math.isnan(aim) else f"{aim:g}"]
        print(f"| {name} | {' | '.join(cells)} |")
    for name, each in found.items():
        means = ", ".join(f"{k}/255 {statistics.mean(v):.3f}" for k, v in each["accuracy"].items())
        print(f"\nmean accuracy of the classes, {name}: {means}", end="")
    print()
    if options.json:
        options.json.write_text(json.dumps({"sizes": sizes, "runs": taken, "found": found}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
