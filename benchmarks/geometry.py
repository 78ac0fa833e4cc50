"""What geometry costs, beside what a user would pick instead: pairs of runs in turn, ratios in one table.

    python benchmarks/geometry.py [--quick] [--json FILE] [--figure FILE.png] [--rounds N]
                                   [--only TEXT]

Each piece of work runs in a process of its own on the same seeded points, ours and the peer's in turn. Seconds exclude
start-up, making the points, and a first time; memory is what the work took beyond the points. The ratio is the median
over the rounds. With --figure, the cost by points, features and classes is measured as well, and drawn. The peers live
in an environment of their own (see peers.py). Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from peers import python_with_peers

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """One comparison: the work, ours and the peer's call, and what is expected of the ratio."""

    work: str
    ours: Sequence[str]
    beside: str
    theirs: Sequence[str]
    at_least: float
    scale: float = 1.0  # how many times the peer's work must be repeated to equal ours
    flops: float = 0.0  # multiplications and additions that ours cannot avoid, where they are matrix products


def rows(quick: bool) -> list[Row]:
    """The comparisons; smaller and fewer in a quick run, of which nothing is expected."""
    points, features = (2000, 1024) if quick else (5000, 2048)
    n_classes, directions = (20, 100) if quick else (100, 300)
    few, some = (2, 50) if quick else (4, 100)
    of_classes = f"capacity, {n_classes} classes of 50, {directions} directions"
    published, apart = [n_classes, 50, 5000, 0], [n_classes, 50, 250, 2]
    times = n_classes * directions / (few * some)
    nearest = f"TwoNN and maximum likelihood, {points:,} x {features:,}, float32"
    pairs = points * points * features  # each product of the symmetric matrix once
    pca = "scikit-learn PCA, full SVD"
    search = ["neighbours", points, features]
    found = [
        Row("spectrum of 1,300 x 2,048, float64", ["spectrum", 1300, 2048, "float64"], pca,
            ["spectrum", 1300, 2048, "float64"], 4),
        Row("the same, float32", ["spectrum", 1300, 2048, "float32"], pca, ["spectrum", 1300, 2048, "float32"], 1),
        Row("spectra of 100 classes of 50 x 2,048, float32", ["spectra", 100, 50, 2048, "float32"], f"{pca}, in a loop",
            ["spectra", 100, 50, 2048], 15),
        Row("the same, our sums in float64", ["spectra", 100, 50, 2048, "float64"], f"{pca}, in a loop",
            ["spectra", 100, 50, 2048], 1),
        Row("spectrum of 500 x 25,088, float32", ["spectrum", 500, 25088, "float32"], pca,
            ["spectrum", 500, 25088, "float32"], 5),
        Row(nearest, search, "scikit-dimension", search, 1.5, flops=pairs),
        Row(nearest, search, "DADApy, TwoNN alone", ["neighbours_dadapy", points, features], 1.5, flops=pairs),
        *(
            Row(f"{of_classes}{name}", ["capacity", *data, directions, few],
                f"{solver}, {few} x {some} one by one, scaled", ["capacity", *data, some, few, solver], aim, times)
            for name, data in (("", published), (", centroids apart", apart))
            for solver, aim in (("cvxopt", 30), ("quadprog", 1))
        ),
    ]  # fmt: skip
    return [replace(row, at_least=math.nan) for row in found if row.at_least > 1] if quick else found


def measured(python: str | Path, script: str, call: Sequence[Any]) -> dict[str, Any]:
    """Seconds, bytes and answer of one call in a process of its own."""
    command = [str(python), str(HERE / script), *map(str, call)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(row: Row, rounds: int, rate: float) -> dict[str, Any]:
    """Ours and theirs in turn; `rate` is that of the machine's float64 products, in GFLOP/s."""
    pairs = [
        (
            measured(sys.executable, "geometry_ours.py", row.ours),
            measured(python_with_peers("geometry"), "geometry_peers.py", row.theirs),
        )
        for _ in range(rounds)
    ]
    return {
        **asdict(row),
        "seconds": statistics.median(ours["seconds"] for ours, _ in pairs),
        "their_seconds": row.scale * statistics.median(theirs["seconds"] for _, theirs in pairs),
        "ratio": statistics.median(row.scale * theirs["seconds"] / ours["seconds"] for ours, theirs in pairs),
        "mebibytes": statistics.median(ours["bytes"] for ours, _ in pairs) / 2**20,
        "their_mebibytes": statistics.median(theirs["bytes"] for _, theirs in pairs) / 2**20,
        "answer": pairs[0][0]["answer"],
        "their_answer": pairs[0][1]["answer"],
        "share_of_rate": row.flops / statistics.median(ours["seconds"] for ours, _ in pairs) / (1e9 * rate),
    }


def shown(answer: Any) -> str:
    """An answer in a few characters."""
    if isinstance(answer, list):
        return " ".join(shown(item) for item in answer[:2]) + (" ..." if len(answer) > 2 else "")
    return f"{answer:.4g}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What geometry costs, beside what a user would pick instead.")
    parser.add_argument("--quick", action="store_true", help="smaller and once: a minute")
    parser.add_argument("--rounds", type=int, default=None, help="pairs of runs (5; 1 with --quick)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw cost by points, features and classes (PNG)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the rows that name it, such as TwoNN")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 5)
    python_with_peers("geometry")
    began = time.perf_counter()
    floor = measured(sys.executable, "geometry_ours.py", ["matrix_products"])["answer"]
    machine = f"{platform.machine()}, {os.cpu_count()} cores; matrix products: " + ", ".join(
        f"{name} {rate:.0f} GFLOP/s" for name, rate in floor.items()
    )
    print(machine)
    widths = "{:<58} {:<36} {:>9} {:>9} {:>8} {:>6} {:>6} {:>6}  {}"
    print(widths.format("work", "beside", "ours", "theirs", "ratio", "aim", "MiB", "theirs", "answers"))
    results = []
    for row in rows(options.quick):
        if options.only not in row.work:
            continue
        found = compared(row, rounds, floor["float64"])
        results.append(found)
        line = widths.format(
            row.work,
            row.beside,
            f"{found['seconds']:.3f}s",
            f"{found['their_seconds']:.3f}s",
            f"{found['ratio']:.1f}x",
            "" if options.quick else f"{row.at_least:g}x",
            f"{found['mebibytes']:.0f}",
            f"{found['their_mebibytes']:.0f}",
            f"{shown(found['answer'])} | {shown(found['their_answer'])}",
        )
        share = f"  {found['share_of_rate']:.0%} of the rate of matrix products" if row.flops else ""
        print(line + share, flush=True)
    costs = cost_curves(options.quick) if options.figure else {}
    if options.figure:
        draw(costs, floor, options.figure)
    if options.json:
        about = {"machine": machine, "floor": floor, "rounds": rounds, "quick": options.quick}
        options.json.write_text(json.dumps({**about, "rows": results, "costs": costs}, indent=1), encoding="utf-8")
    print(f"{time.perf_counter() - began:.0f} s in all")


def cost_curves(quick: bool) -> dict[str, dict[str, list[list[float]]]]:
    """Seconds by points, by features and by classes, each with the floating point operations that it cannot avoid."""
    most = 1 if quick else 2
    points = [250, 500, 1000, 2000, 4000][: 3 + most]
    features = [512, 1024, 2048, 4096, 8192][: 3 + most]
    classes = [10, 20, 40, 80, 160][: 3 + most]

    def curve(calls: list[tuple[int, list[Any], float]]) -> list[list[float]]:
        return [[at, measured(sys.executable, "geometry_ours.py", call)["seconds"], flops] for at, call, flops in calls]

    return {
        "points": {
            "spectrum": curve(
                [
                    (n, ["spectrum", n, 2048, "float32"], n * min(n, 2048) * 2048 + 4 / 3 * min(n, 2048) ** 3)
                    for n in points
                ]
            ),
            "TwoNN and maximum likelihood": curve([(n, ["neighbours", n, 2048], n * n * 2048) for n in points]),
        },
        "features": {
            "spectrum": curve([(d, ["spectrum", 500, d, "float32"], 500**2 * d + 4 / 3 * 500**3) for d in features]),
            "TwoNN and maximum likelihood": curve([(d, ["neighbours", 2000, d], 2000**2 * d) for d in features]),
        },
        "classes": {
            "spectra": curve([(p, ["spectra", p, 50, 2048, "float64"], p * 50**2 * 2048) for p in classes]),
            "capacity, 100 directions": curve(
                [(p, ["capacity", p, 50, 250, 2, 100, 2], p * 100 * 4 * 50**2) for p in classes]
            ),
        },
    }


def draw(costs: dict[str, dict[str, list[list[float]]]], floor: dict[str, float], path: Path) -> None:
    """Cost by points, features and classes on logarithmic axes, beside the floor of the machine's matrix products."""
    import matplotlib.pyplot as plt

    about = {
        "points": "points (2,048 features)",
        "features": "features (500 or 2,000 points)",
        "classes": "classes of 50 points",
    }
    chart, panels = plt.subplots(1, 3, figsize=(11, 4.4), layout="constrained")
    colours = ("#0072b2", "#d55e00")
    for axes, (by, curves) in zip(panels, costs.items(), strict=True):
        for colour, (name, curve) in zip(colours, curves.items(), strict=True):
            at, seconds, flops = zip(*curve, strict=True)
            axes.plot(at, seconds, "o-", color=colour, label=name)
            axes.plot(at, [f / (1e9 * floor["float64"]) for f in flops], ":", color=colour, label=f"{name}: floor")
        axes.set(xscale="log", yscale="log", xlabel=about[by], ylabel="seconds")
        axes.set_xticks(at, [f"{x:,}" for x in at], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    chart.suptitle(
        "What measuring costs; dotted: the least multiplications, at the machine's rate in float64", fontsize=10
    )
    chart.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
