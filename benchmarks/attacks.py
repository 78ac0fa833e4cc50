"""What an attack costs, beside the libraries that people use: pairs of runs in turn, ratios in one table.

    python benchmarks/attacks.py [--quick] [--json FILE] [--rounds N] [--only TEXT] [--device DEVICE]

Real networks and photographs (MANIFOLDSCOPE_DATA; ../shared/data if omitted). Each run is a process of its own;
time is from images to outcomes, ours with all its checks. The libraries live in an environment of their own, which sees
the project's torch; everything runs there (see peers.py). Run it on an otherwise idle machine. On a GPU the libraries
convolve as torch does where nobody says otherwise, in TF32; ours judges in float32.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geometry import measured
from peers import run_with_peers

CIFAR = [f"{k / 255:.7f}" for k in (4, 8)]
FIVE = [f"{k / 255:.7f}" for k in (2, 4, 6, 8, 10)]
FROM_ONE = [f"{k / 255:.7f}" for k in (1, 2, 4, 6, 8)]
LIBRARIES = ("torchattacks", "foolbox", "art")


@dataclass(frozen=True)
class Row:
    """One comparison: what is done, by whom, and what is expected of the ratio."""

    work: str
    ours: Sequence[Any]
    theirs: Sequence[Sequence[Any]]  # the fastest counts
    at_least: float


def rows(quick: bool, device: str) -> list[Row]:
    """The comparisons; fewer steps and images in a quick run.

    A few seconds of work at least, so that what is set up once does not count for more than it does where people work.
    """
    steps, few = (5, 2) if quick else (20, 5)
    some, many = (500, 1000) if quick else (1000, 4000)
    known = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    found: list[Row] = []

    def beside(others: Sequence[str], at_least: float, work: str, who: str, network: str, *how: Any) -> None:
        """`who` beside others; the libraries judge the last iterate, whatever is asked of ours."""
        theirs = [[name, network, how[0], "last" if name in LIBRARIES else how[1], *how[2:]] for name in others]
        found.append(Row(work, [who, network, *how], theirs, at_least))

    last = f"every step, last iterate: ResNet-20 at 32 x 32, {steps} steps"
    beside(known, 1.6, last, "ours", "resnet20", some, "last", steps, 100, CIFAR[1])
    last = f"every step, last iterate: ResNet-50 at 224 x 224, {few} steps"
    beside(known, 1.6, last, "ours", "resnet50", 40, "last", few, 20, CIFAR[0])
    for network, n_images, at_least in (("resnet20", some, 6), ("robust", many, 1.6)):
        for epsilon, name in zip(CIFAR, ("4/255", "8/255"), strict=True):
            how = ("any", steps, 100, epsilon)
            beside(known, at_least, f"any iterate, {network}, {name}", "ours", network, n_images, *how)
            beside(["loop"], 1.3, f"any iterate, {network}, {name}, a loop that shrinks", "ours", network, many, *how)
    authors = [name for name in ("pyautoattack", "torchattacks") if importlib.util.find_spec(name)]
    for network, epsilon, name, at_least in (
        ("robust", CIFAR[1], "8/255", 1.5),
        ("robust", FIVE[0], "2/255", 1.5),
        ("oval", CIFAR[1], "8/255", 1.5),
        ("oval", FIVE[0], "2/255", 1.5),
        ("resnet20", FROM_ONE[0], "1/255", 4),
    ):
        how = (200, "any", steps if quick else 100, 100, epsilon)
        found += [
            Row(
                f"APGD-CE, {network}, {name}",
                ["ours_apgd", network, *how],
                [["pyautoattack_apgd", network, *how]] if "pyautoattack" in authors else [],
                2,
            ),
            Row(
                f"AutoAttack, {network}, {name}",
                ["ours_autoattack", network, *how],
                [[f"{author}_autoattack", network, *how] for author in authors],
                at_least,
            ),
        ]
    for network, n_images, radii, name in (
        ("resnet20", some, FIVE, "2, 4, 6, 8, 10/255"),
        ("resnet20", some, FROM_ONE, "1, 2, 4, 6, 8/255"),
        ("robust", many, FIVE, "2, 4, 6, 8, 10/255"),
    ):
        how = (n_images, "any", steps, 100, *radii)
        beside(["ours_apart"], 2.5, f"one evaluation, {network}: {name}", "ours_sweep", network, *how)
    return found


def compared(row: Row, rounds: int, device: str) -> dict[str, Any]:
    """Ours and each of theirs in turn; the fastest of theirs counts."""
    taken: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for call in [row.ours, *row.theirs]:
            taken.setdefault(call[0], []).append(
                measured(sys.executable, "attacks_work.py", [*call[:2], device, *call[2:]])
            )
    ours = taken.pop(row.ours[0])
    fastest = min(taken, key=lambda name: statistics.median(run["seconds"] for run in taken[name]))
    pairs = list(zip(ours, taken[fastest], strict=True))
    mine, other = ([stands for each in run["answer"] for stands in each] for run in pairs[0])
    return {
        **asdict(row),
        "beside": fastest,
        "seconds": statistics.median(run["seconds"] for run in ours),
        "their_seconds": {name: statistics.median(run["seconds"] for run in runs) for name, runs in taken.items()},
        "ratio": statistics.median(theirs["seconds"] / own["seconds"] for own, theirs in pairs),
        "share_of_rate": statistics.median(run["share_of_rate"] for run in ours)
        if "share_of_rate" in ours[0]
        else None,
        "mebibytes": statistics.median(run["bytes"] for run in ours) / 2**20,
        "least_mebibytes": min(statistics.median(run["bytes"] for run in runs) for runs in taken.values()) / 2**20,
        "outcomes": len(mine),
        "stand": sum(mine),
        "their_stand": sum(other),
        "only_ours_stand": sum(a and not b for a, b in zip(mine, other, strict=True)),
        "only_theirs_stand": sum(b and not a for a, b in zip(mine, other, strict=True)),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What an attack costs, beside the libraries that people use.")
    parser.add_argument("--quick", action="store_true", help="fewer steps and once")
    parser.add_argument("--rounds", type=int, default=None, help="runs of each in turn (3; 1 with --quick)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the rows that name it, such as 'robust'")
    parser.add_argument("--device", default="cpu", help="where, such as cuda (cpu); memory is then that of the device")
    options = parser.parse_args()
    run_with_peers("attacks")
    rounds = options.rounds or (1 if options.quick else 3)
    widths = "{:<60} {:<13} {:>8} {:>8} {:>7} {:>6} {:>6} {:>6}  {}"
    print(widths.format("work", "beside", "ours", "theirs", "ratio", "aim", "MiB", "least", "outcomes"))
    results = []
    for row in rows(options.quick, options.device):
        if options.only not in row.work or not row.theirs:
            continue
        found = compared(row, rounds, options.device)
        results.append(found)
        outcomes = (
            f"{found['stand']} and {found['their_stand']} of {found['outcomes']} stand; "
            f"{found['only_ours_stand']} only here, {found['only_theirs_stand']} only there"
        )
        if found["share_of_rate"] is not None:
            outcomes += f"; gradients at {found['share_of_rate']:.0%} of the rate of float32 products"
        theirs = found["their_seconds"][found["beside"]]
        print(
            widths.format(
                row.work,
                found["beside"],
                f"{found['seconds']:.2f}s",
                f"{theirs:.2f}s",
                f"{found['ratio']:.2f}x",
                "" if options.quick or math.isnan(row.at_least) else f"{row.at_least:g}x",
                f"{found['mebibytes']:.0f}",
                f"{found['least_mebibytes']:.0f}",
                outcomes,
            ),
            flush=True,
        )
    if options.json:
        options.json.write_text(
            json.dumps({"rounds": rounds, "device": options.device, "rows": results}, indent=1), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
