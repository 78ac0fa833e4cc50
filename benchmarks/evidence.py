"""Whether the tests of `evidence` hold their level, find what is there, and cover what they say: by simulation.

    python benchmarks/evidence.py [--quick] [--only TEXT] [--json FILE] [--processes N] [--seed N]

Classes are simulated with a difficulty that both their geometry and their robustness follow (see `simulated.py`), and
the package's own functions test them. A share of rejections at 10,000 simulations has a standard error of 0.2%.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one process per core, one thread each

import numpy as np
from scipy import special

from manifoldscope.evidence.interval import disattenuated, jackknife_interval, spearman_interval
from manifoldscope.evidence.permutation import Block, joint_test
from manifoldscope.evidence.power import power as planned
from manifoldscope.evidence.prediction import gain_test
from manifoldscope.evidence.two_draws import Control, log_odds, normal_scores
from manifoldscope.evidence.within_between import mean_z
from simulated import Simulated, World

PERMUTATIONS = 199


@dataclass(frozen=True)
class Cell:
    """One line of the table.

    Attributes:
        section: which question it belongs to.
        name: what is simulated.
        share: what is counted in a range of simulations, from their seed: a share of them for each column.
        aim: between which shares it is expected.
        n: simulations.
    """

    section: str
    name: str
    share: Callable[[int, int], np.ndarray]
    aim: tuple[float, float]
    n: int


def block_of(world: Simulated, control: Control | None = "margin", *, swapped: bool = False) -> Block | None:
    """What the primary test looks at; without the classes of which no image is correct when clean."""
    known = world.second.n_correct > 0
    x, y = normal_scores(world.measure[known]), log_odds(world.n_robust[known], world.second.n_correct[known])
    if control is None:
        return Block.of(x[None], y[None])
    a, c = (draw.subset(known).controls(control) for draw in (world.first, world.second))
    return Block.of(x[None], y[None], *((c, a) if swapped else (a, c)))


@dataclass(frozen=True)
class Rejects:
    """How often the primary test rejects at 5%."""

    world: World
    control: Control | None = "margin"
    swapped: bool = False

    def __call__(self, seed: int, n: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        found = 0
        for k in range(n):
            block = block_of(self.world.draw(rng), self.control, swapped=self.swapped)
            found += joint_test([block], PERMUTATIONS, seed + k).p_values[0][0, 0] <= 0.05
        return np.array([found / n])


@dataclass(frozen=True)
class Adds:
    """How often a measure is found at 5% to add to the prediction of classes left out; `own`: by one draw alone."""

    world: World
    own: bool = False

    def __call__(self, seed: int, n: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        found = 0
        for k in range(n):
            block = block_of(self.world.draw(rng))
            if self.own:
                block = replace(block, other=block.own)
            found += gain_test(block, PERMUTATIONS, seed + k).p_values[0] <= 0.05
        return np.array([found / n])


@dataclass(frozen=True)
class Dependent:
    """Sixty dependent cells: ten measures by six outcomes of the same classes; the largest, and the median."""

    world: World
    n_x: int = 10
    n_y: int = 6

    def __call__(self, seed: int, n: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        found = np.zeros(2)
        for k in range(n):
            one = self.world.draw(rng)
            known = one.second.n_correct > 0
            noisy = one.measure + 0.5 * rng.normal(size=(self.n_x, self.world.n_classes))
            robust = one.robust_at(np.linspace(-1.2, 1.2, self.n_y), rng)
            a, c = (draw.subset(known).controls("margin") for draw in (one.first, one.second))
            block = Block.of(
                normal_scores(noisy[:, known]), log_odds(robust[:, known], one.second.n_correct[known]), a, c
            )
            tested = joint_test([block], PERMUTATIONS, seed + k)
            found += [np.nanmin(tested.p_adjusted[0]) <= 0.05, tested.p_median <= 0.05]
        return found / n


@dataclass(frozen=True)
class Networks:
    """Networks whose classes share what makes them differ, without an association within any: "for these networks".

    Attributes:
        joint: test by joint permutations of the classes, and not by Student's t over networks.
    """

    n_networks: int
    joint: bool = True
    n_classes: int = 20

    def __call__(self, seed: int, n: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        found = 0
        for k in range(n):
            shared = rng.normal(size=(2, self.n_classes))
            own = rng.normal(size=(self.n_networks, 2, self.n_classes))
            blocks = [Block.of(x[None], y[None]) for x, y in shared + own]
            if self.joint:
                found += mean_z(blocks, permutations=PERMUTATIONS, seed=seed + k).p_value[0, 0] <= 0.05
                continue
            z = np.array([np.arctanh(block.coefficients[0, 0]) for block in blocks])
            t = abs(z.mean()) / (z.std(ddof=1) / np.sqrt(self.n_networks))
            found += t > special.stdtrit(self.n_networks - 1, 0.975)
        return np.array([found / n])


@dataclass(frozen=True)
class Covers:
    """How often intervals of a correlation of 0.5 hold it: Pearson's, Spearman's, and Pearson's without noise."""

    n_classes: int
    rho: float = 0.5

    def __call__(self, seed: int, n: int) -> np.ndarray:
        from manifoldscope.evidence.association import associate

        rng = np.random.default_rng(seed)
        found = np.zeros(3)
        spearman = 6 / np.pi * np.arcsin(self.rho / 2)
        reliability = 0.7
        for _ in range(n):
            x, e = rng.normal(size=(2, self.n_classes))
            y = self.rho * x + np.sqrt(1 - self.rho**2) * e
            low, high = jackknife_interval(Block.of(x[None], y[None]))
            found[0] += low[0, 0] <= self.rho <= high[0, 0]
            r = associate(x, y, method="spearman", permutations=0).coefficient
            below, above = spearman_interval(r, self.n_classes)
            found[1] += below <= spearman <= above
            noise = np.sqrt((1 - reliability) / reliability)
            seen = x + noise * rng.normal(size=self.n_classes), y + noise * rng.normal(size=self.n_classes)
            block = Block.of(seen[0][None], seen[1][None])
            low, high = jackknife_interval(block)
            limits = disattenuated(float(block.coefficients[0, 0]), low[0, 0], high[0, 0], reliability, reliability)
            found[2] += limits is not None and limits[1] <= self.rho <= limits[2]
        return found / n


@dataclass(frozen=True)
class CoversSkewed:
    """How often the jackknife's interval holds 0 for independent lognormal pairs."""

    n_classes: int

    def __call__(self, seed: int, n: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        found = 0
        for _ in range(n):
            x, y = np.exp(rng.normal(size=(2, self.n_classes)))
            low, high = jackknife_interval(Block.of(x[None], y[None]))
            found += low[0, 0] <= 0 <= high[0, 0]
        return np.array([found / n])


WORLDS = {
    "clean .75": World(clean=0.75),
    "clean .95": World(),
    "clean .99": World(clean=0.99),
    "geometry curved in difficulty": World(curved=0.4),
    "skewed difficulty": World(skewed=True),
    "heteroscedastic geometry": World(heteroscedastic=True),
    "20 images": World(n_images=20),
    "200 images": World(n_images=200),
    "images, a second difficulty, .75": World(clean=0.75, by_image=True, second=0.5),
    "images, a second difficulty, .95": World(by_image=True, second=0.5),
    "images, a second difficulty, .99": World(clean=0.99, by_image=True, second=0.5),
}


def cells(quick: bool) -> Iterator[Cell]:
    """All of them; a twentieth of the simulations in a quick run."""
    few = 20 if quick else 1

    def of(section: str, name: str, share: Callable[[int, int], np.ndarray], aim: tuple[float, float], n: int) -> Cell:
        return Cell(section, name, share, aim, n // few)

    for k in (10, 20, 40, 100):
        for name, world in WORLDS.items():
            aim = (0.0, 0.06) if k == 10 else (0.04, 0.06)
            yield of("level", f"{name}, {k} classes", Rejects(replace(world, n_classes=k)), aim, 10_000)
    shared = World(n_classes=100, shared_error=1.0)
    yield of("level", "geometry carries its draw's margin error, 100 classes", Rejects(shared), (0.04, 0.06), 10_000)
    yield of("swapped", "the same with the draws swapped", Rejects(shared, swapped=True), (0.2, 0.5), 2_000)
    for k in (40, 100):
        yield of("raw", f"no control, {k} classes", Rejects(World(n_classes=k), None), (0.5, 1.0), 2_000)
        accuracy = Rejects(World(n_classes=k, n_images=200), "clean_accuracy")
        yield of("level", f"clean accuracy as control, 200 images, {k} classes", accuracy, (0.0, 0.07), 5_000)
    for rho, k, least in ((0.5, 100, 0.8), (0.7, 40, 0.7)):
        power = Rejects(World(n_classes=k, n_images=200, rho=rho))
        yield of("power", f"rho = {rho}, {k} classes, 200 images", power, (least, 1.0), 5_000)
    for k in (20, 40, 100):
        yield of("60 cells: largest, median", f"{k} classes", Dependent(World(n_classes=k)), (0.04, 0.065), 5_000)
    for k, n, rho in itertools.product((40, 100), (50, 200), (0.3, 0.5, 0.7)):
        said = planned(k, n, rho=rho).power
        name = f"rho = {rho}, {k} classes, {n} images: predicted {said:.1%}"
        found = Rejects(World(n_classes=k, n_images=n, rho=rho))
        yield of("planner", name, found, (said - 0.05, min(1.0, said + 0.05)), 2_000)
    for n in (50, 200):
        said = planned(100, n, rho=0.5, control="clean_accuracy").power
        name = f"given clean accuracy, rho = 0.5, 100 classes, {n} images: predicted {said:.1%}"
        asked = Rejects(World(n_classes=100, n_images=n, rho=0.5), "clean_accuracy")
        yield of("planner", name, asked, (said - 0.1, said + 0.15), 2_000)
    for k, (name, world) in itertools.product((40, 100), WORLDS.items()):
        if "images" not in name:
            yield of("prediction", f"{name}, {k} classes", Adds(replace(world, n_classes=k)), (0.04, 0.06), 5_000)
    for k in (40, 100):
        alone = Adds(World(n_classes=k), own=True)
        yield of("prediction", f"difficulty of one draw alone, {k} classes", alone, (0.06, 0.5), 2_000)
    strong = Adds(World(n_classes=100, n_images=200, rho=0.5))
    yield of("prediction", "rho = 0.5, 100 classes, 200 images", strong, (0.8, 1.0), 2_000)
    for n in (4, 10, 30):
        joint = "networks: joint permutation"
        yield of(joint, f"{n} networks, 20 classes", Networks(n), (0.04, 0.065), 5_000)
        yield of(
            "networks: t-test over them", f"{n} networks, 20 classes", Networks(n, joint=False), (0.09, 0.6), 2_000
        )
    for k in (10, 20, 40, 100):
        yield of("coverage: Pearson, Spearman, without noise", f"{k} pairs", Covers(k), (0.93, 0.975), 5_000)
    for name, share in limits():
        yield of("limits", name, share, (0.0, 1.0), 2_000)


def limits() -> Iterator[tuple[str, Callable[[int, int], np.ndarray]]]:
    """Where the tests are known not to hold 5%, or intervals 95%: nothing is expected, the figures are in the docs."""
    for k, n, clean in ((40, 50, 0.95), (100, 50, 0.95), (100, 50, 0.99), (100, 200, 0.99)):
        asked = Rejects(World(n_classes=k, n_images=n, clean=clean), "clean_accuracy")
        yield f"given clean accuracy alone, {clean} clean, {n} images, {k} classes", asked
    for size, alike in ((5, 0.5), (5, 0.8), (10, 0.8)):
        yield (
            f"100 classes in groups of {size} that share {alike:.0%}",
            Rejects(World(n_classes=100, groups=size, alike=alike)),
        )
    for k in (10, 40, 100):
        yield f"coverage of 0, lognormal pairs, {k} of them", CoversSkewed(k)


def run(cell: Cell, processes: int, seed: int) -> np.ndarray:
    """The shares of one cell, its simulations cut over processes."""
    parts = [(seed + 1_000_003 * part, len(some)) for part, some in enumerate(np.array_split(range(cell.n), 8))]
    parts = [part for part in parts if part[1]]
    with ProcessPoolExecutor(processes) as pool:
        found = list(pool.map(cell.share, *zip(*parts, strict=True)))
    return np.average(found, axis=0, weights=[n for _, n in parts])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Whether the tests of evidence hold their level.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the simulations")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cells that name it, such as 'power'")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=20_261_128)
    options = parser.parse_args()
    rows = []
    print("| what | simulated | simulations | found | aim | seconds |\n|---|---|---:|---|---|---:|")
    for cell in cells(options.quick):
        if options.only not in f"{cell.section}: {cell.name}":
            continue
        began = time.perf_counter()
        found = run(cell, options.processes, options.seed)
        low, high = cell.aim
        missed = "" if all(low <= each <= high for each in found) or options.quick else " **missed**"
        shown = ", ".join(f"{each:.1%}" for each in found)
        seconds = time.perf_counter() - began
        aim = f"{low:.1%} to {high:.1%}"
        print(f"| {cell.section} | {cell.name} | {cell.n:,} | {shown}{missed} | {aim} | {seconds:.0f} |", flush=True)
        rows.append({"section": cell.section, "name": cell.name, "n": cell.n, "found": found.tolist(), "aim": cell.aim})
    if options.json:
        options.json.write_text(json.dumps({"seed": options.seed, "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
