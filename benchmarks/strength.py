"""How strong the attacks are, beside those of other libraries: from the same starts, counted image by image.

    python benchmarks/strength.py [--quick] [--json FILE] [--only TEXT] [--list]

Networks with real weights and thousands of real images (see real_networks.py). PGD is compared at the same starts,
steps and step sizes; a start is read off our own attack, and put in the place of the other library's. APGD, and PGD
with restarts, which spends as many gradients, start elsewhere. Only images that are classified correctly when clean are
attacked, and every outcome on another library's images is by a pass of the plain network.

The other libraries live in an environment of their own (see peers.py). What is found is printed as a Markdown table,
and added to FILE comparison by comparison: with --only, what stands there from other calls is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from scipy import optimize, stats
from torch import Tensor, nn

import real_networks
from manifoldscope.attacks import APGDCE, PGD, evaluate
from manifoldscope.attacks.outcomes import Outcomes
from manifoldscope.attacks.perturbation import Iterates, Perturbation
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from peers import run_with_peers

BATCH = 100
SMALLEST_STEP = 1e-12
"""In pixel units: a step that leaves a pixel where it is, but for one that is exactly 0."""


@dataclass(frozen=True)
class Paired:
    """Two attacks on the same images, in pairs of outcomes.

    Attributes:
        n: images.
        only_ours, only_theirs: images that only one of the two fells.

    Example:
        >>> Paired(n=1000, only_ours=3, only_theirs=1).difference
        0.002
    """

    n: int
    only_ours: int
    only_theirs: int

    @classmethod
    def of(cls, ours: Tensor, theirs: Tensor) -> Paired:
        """From what survives (n,) of the one and of the other."""
        return cls(len(ours), int((~ours & theirs).sum()), int((ours & ~theirs).sum()))

    @property
    def difference(self) -> float:
        """Share of the images that ours fells, minus that of theirs: above 0, ours is the stronger."""
        return (self.only_ours - self.only_theirs) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95% of the difference: those at which the score test does not reject (Tango 1998, equation 12).

        At a difference of 0 that test is McNemar's without correction. Unlike intervals that look at discordant images
        alone, this one has a width where there are none.
        """
        bound = stats.norm.ppf(0.975)

        def beyond(difference: float, end: float) -> float:
            return self._score(difference) - end

        low = optimize.brentq(beyond, -1 + 1e-9, self.difference, args=(bound,)) if self.difference > -1 else -1.0
        high = optimize.brentq(beyond, self.difference, 1 - 1e-9, args=(-bound,)) if self.difference < 1 else 1.0
        return float(low), float(high)

    @property
    def p(self) -> float:
        """Two-sided, by McNemar's exact test."""
        discordant = self.only_ours + self.only_theirs
        return float(stats.binomtest(self.only_ours, discordant).pvalue) if discordant else 1.0

    @property
    def as_strong(self) -> bool:
        """Whether the interval contains 0 or favours ours."""
        return self.interval[1] >= 0

    def _score(self, difference: float) -> float:
        """The score statistic of one difference: standard normal where it is the true one."""
        a = 2 * self.n
        b = (a - self.only_ours + self.only_theirs) * difference - self.only_ours - self.only_theirs
        c = -self.only_theirs * difference * (1 - difference)
        share = (math.sqrt(b * b - 4 * a * c) - b) / (2 * a)  # of images that only theirs fells, given the difference
        variance = self.n * (2 * share + difference * (1 - difference))
        away = self.only_ours - self.only_theirs - self.n * difference
        return away / math.sqrt(variance) if variance > 0 else 0.0


@dataclass(frozen=True)
class Comparison:
    """A network and a budget.

    Attributes:
        attack: "fixed starts", PGD beside PGD; or "adaptive steps", APGD and PGD with restarts beside APGD.
        network, epsilon: what is attacked; epsilon as people say it, "4/255".
        per_class: images of each of ten classes.
        steps: gradients an image, in all.
        restarts: how PGD spends them beside APGD.
    """

    attack: str
    network: str
    epsilon: str
    per_class: int
    steps: int
    restarts: int = 1

    @property
    def name(self) -> str:
        """What --only looks at."""
        return f"{self.attack}, {self.network}, {self.epsilon}"


NETWORKS = {
    "robust CIFAR network": real_networks.robust_cifar,
    "ResNet-20": real_networks.resnet20,
    "robust MNIST network": real_networks.robust_mnist,
}
"""Those that are compared, by what they are called here; others by their name in the zoo."""

COMPARISONS = (
    Comparison("fixed starts", "robust CIFAR network", "4/255", 500, 20),
    Comparison("fixed starts", "robust CIFAR network", "8/255", 500, 20),
    Comparison("fixed starts", "ResNet-20", "1/255", 100, 10),
    Comparison("fixed starts", "ResNet-20", "2/255", 100, 10),
    Comparison("fixed starts", "cifar_oval_base", "8/255", 500, 20),
    Comparison("fixed starts", "cifar_wide_adv", "8/255", 500, 20),
    Comparison("fixed starts", "cifar_cnn_a_mix", "2/255", 500, 20),
    Comparison("fixed starts", "robust MNIST network", "0.3", 500, 40),
    Comparison("fixed starts", "mnist_madry_cnn_tiny", "0.3", 500, 40),
    Comparison("fixed starts", "mnist_conv_small_nat", "0.1", 500, 40),
    Comparison("adaptive steps", "robust CIFAR network", "4/255", 200, 50, 2),
    Comparison("adaptive steps", "robust CIFAR network", "8/255", 200, 50, 2),
    Comparison("adaptive steps", "ResNet-20", "1/255", 50, 20, 2),
    Comparison("adaptive steps", "cifar_oval_base", "8/255", 200, 50, 2),
    Comparison("adaptive steps", "cifar_wide_adv", "8/255", 200, 50, 2),
    Comparison("adaptive steps", "cifar_cnn_a_mix", "2/255", 200, 50, 2),
    Comparison("adaptive steps", "robust MNIST network", "0.3", 200, 100, 5),
    Comparison("adaptive steps", "mnist_madry_cnn_tiny", "0.3", 200, 100, 5),
    Comparison("adaptive steps", "mnist_conv_small_nat", "0.1", 200, 100, 5),
)


class Plain(nn.Module):
    """A network as other libraries want it: pixels in [0, 1] to logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.inner, self._network = network.module, network

    def forward(self, pixels: Tensor) -> Tensor:
        return self._network(pixels)


@dataclass(frozen=True, eq=False)
class Attacked:
    """A network and the images that it classifies correctly when clean; all that is compared.

    Attributes:
        images, pixels, labels: n of each; pixels (n, channels, height, width) in [0, 1].
    """

    network: Network
    images: ImageSet
    pixels: Tensor
    labels: Tensor

    @classmethod
    def of(cls, network: Network, images: ImageSet) -> Attacked:
        """Those of `images` that the network knows."""
        network.module.eval()
        pixels = network.pixels(images)
        known = standing(network, pixels, images.labels)
        return cls(network, images.subset(known), pixels[known], images.labels[known])

    def ours(
        self, attack: Perturbation, *, iterate: Iterates = "both", fast: bool = False, keep: bool = False
    ) -> Outcomes:
        """Our own attack, as anyone would call it."""
        return evaluate(
            self.network, self.images, attack, batch_size=BATCH, iterate=iterate, fast=fast, keep_images=keep
        )

    def robust(self, found: Outcomes, column: str) -> Tensor:
        """(n,): a column of outcomes, in the order of the images."""
        by_name = dict(zip(found.table["image"], found.table[column], strict=True))
        return torch.tensor([by_name[name] for name in self.images.names], dtype=torch.bool)

    def starts(self, epsilon: float) -> Tensor:
        """Where our PGD starts: its images after a step that moves nothing."""
        still = PGD(epsilon=epsilon, steps=1, step_size=SMALLEST_STEP)
        return self.ours(still, keep=True).adversarial[0]


def standing(network: Network, pixels: Tensor, labels: Tensor) -> Tensor:
    """(n,): what the plain network classifies correctly."""
    with torch.no_grad():
        return torch.cat([network(part).argmax(1) for part in pixels.split(500)]) == labels


def torchattacks_pgd(attacked: Attacked, ours: PGD, starts: Tensor) -> Tensor:
    """Last iterates of torchattacks' PGD, whose uniform noise is replaced by the way to our starts."""
    import torchattacks

    attack = torchattacks.PGD(
        Plain(attacked.network).eval(), eps=ours.epsilon, alpha=ours.resolved_step_size, steps=ours.steps
    )
    found = []
    for x, y, start in _batches(attacked, starts):
        with patch.object(Tensor, "uniform_", lambda noise, *_, away=start - x: noise.copy_(away)):
            found.append(attack(x, y))
    return torch.cat(found)


def foolbox_pgd(attacked: Attacked, ours: PGD, starts: Tensor) -> Tensor:
    """Last iterates of Foolbox's PGD, whose random start is replaced by ours."""
    import eagerpy
    import foolbox

    model = foolbox.PyTorchModel(Plain(attacked.network).eval(), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=ours.resolved_step_size, steps=ours.steps)
    found = []
    for x, y, start in _batches(attacked, starts):
        with patch.object(attack, "get_random_start", lambda *_, own=start: eagerpy.astensor(own)):
            found.append(attack(model, x, y, epsilons=ours.epsilon)[1])
    return torch.cat(found)


def torchattacks_apgd(attacked: Attacked, epsilon: float, steps: int) -> Tensor:
    """What torchattacks' APGD on the cross-entropy gives back."""
    import torchattacks

    attack = torchattacks.APGD(Plain(attacked.network).eval(), eps=epsilon, steps=steps)
    return torch.cat([attack(x, y) for x, y, _ in _batches(attacked)])


def _batches(attacked: Attacked, starts: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    return zip(
        *(
            part.split(BATCH)
            for part in (attacked.pixels, attacked.labels, attacked.pixels if starts is None else starts)
        ),
        strict=True,
    )


def compare_pgd(attacked: Attacked, epsilon: float, steps: int) -> Iterator[tuple[str, Tensor, str, Tensor]]:
    """Each of ours beside each of theirs, from shared starts: what is compared, and which images are robust (n,)."""
    pgd = PGD(epsilon=epsilon, steps=steps)
    plain, fast = (attacked.ours(pgd, fast=fast) for fast in (False, True))
    ours = {
        "PGD": attacked.robust(plain, "robust_last"),
        "PGD, faster copy": attacked.robust(fast, "robust_last"),
        "PGD, any iterate": attacked.robust(fast, "robust_any"),
    }
    starts = attacked.starts(epsilon)
    for beside, attack in (("torchattacks PGD", torchattacks_pgd), ("Foolbox LinfPGD", foolbox_pgd)):
        theirs = standing(attacked.network, attack(attacked, pgd, starts), attacked.labels)
        for name, robust in ours.items():
            yield name, robust, beside, theirs


def compare_apgd(
    attacked: Attacked, epsilon: float, steps: int, restarts: int
) -> Iterator[tuple[str, Tensor, str, Tensor]]:
    """APGD-CE, and PGD with restarts that spends as many gradients, beside APGD; each from random starts of its own."""
    attack = PGD(epsilon=epsilon, steps=steps // restarts, restarts=restarts)
    own = attacked.robust(attacked.ours(APGDCE(epsilon=epsilon, steps=steps)), "robust_last")
    ours = {
        "APGD-CE": own,
        f"PGD, {restarts} restarts of {attack.steps}": attacked.robust(
            attacked.ours(attack, iterate="any", fast=True), "robust_any"
        ),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = standing(attacked.network, torchattacks_apgd(attacked, epsilon, steps), attacked.labels)
    for name, robust in ours.items():
        yield name, robust, "torchattacks APGD", theirs


def prepared(comparison: Comparison) -> Attacked:
    """Its network and images."""
    name = comparison.network
    network = NETWORKS[name]() if name in NETWORKS else real_networks.zoo(name)
    images = real_networks.mnist if "mnist" in name.lower() else real_networks.cifar
    return Attacked.of(network, images(comparison.per_class))


def compared(comparison: Comparison, attacked: Attacked) -> list[dict[str, Any]]:
    """The rows of one comparison."""
    epsilon = float(Fraction(comparison.epsilon))
    pairs = (
        compare_pgd(attacked, epsilon, comparison.steps)
        if comparison.attack == "fixed starts"
        else compare_apgd(attacked, epsilon, comparison.steps, comparison.restarts)
    )
    rows = []
    for ours, robust, beside, theirs in pairs:
        paired = Paired.of(robust, theirs)
        rows.append(
            {
                **asdict(comparison),
                "ours": ours,
                "beside": beside,
                **asdict(paired),
                "robust": int(robust.sum()),
                "robust_to_theirs": int(theirs.sum()),
                "difference": paired.difference,
                "interval": paired.interval,
                "p": paired.p,
                "as_strong": paired.as_strong,
            }
        )
    return rows


HEADINGS = (
    "network",
    "epsilon",
    "ours",
    "beside",
    "images",
    "robust",
    "only ours",
    "only theirs",
    "difference",
    "95%",
)


def line(row: dict[str, Any]) -> str:
    """A row as a line of the table; shares in percent."""
    low, high = (100 * end for end in row["interval"])
    cells = [
        row["network"],
        row["epsilon"],
        f"{row['ours']}, {row['steps']} steps" if row["restarts"] == 1 else row["ours"],
        row["beside"],
        f"{row['n']:,}",
        f"{row['robust']:,} and {row['robust_to_theirs']:,}",
        str(row["only_ours"]),
        str(row["only_theirs"]),
        f"{100 * row['difference']:+.2f}",
        f"{low:+.2f} to {high:+.2f}" + ("" if row["as_strong"] else ", weaker"),
    ]
    return f"| {' | '.join(cells)} |"


def kept(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows to the file, in the place of older ones of the same comparison."""
    older = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []
    new = {(row["attack"], row["network"], row["epsilon"]) for row in rows}
    rest = [row for row in older if (row["attack"], row["network"], row["epsilon"]) not in new]
    file.write_text(json.dumps({"rows": [*rest, *rows]}, indent=1), encoding="utf-8")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How strong the attacks are, beside those of other libraries.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the figures to this file, as JSON")
    parser.add_argument("--only", default="", metavar="TEXT", help="only comparisons that name it, such as 'MNIST'")
    parser.add_argument("--list", action="store_true", help="name the comparisons and stop")
    options = parser.parse_args()
    wanted = [comparison for comparison in COMPARISONS if options.only in comparison.name]
    if not wanted or options.list:
        print("\n".join(comparison.name for comparison in wanted or COMPARISONS))
        raise SystemExit(None if wanted else f"no comparison names {options.only!r}")
    run_with_peers("attacks")
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    began = time.perf_counter()
    for comparison in wanted:
        if options.quick:
            comparison = replace(comparison, per_class=comparison.per_class // 10)
        rows = compared(comparison, prepared(comparison))
        print("\n".join(map(line, rows)), flush=True)
        if options.json:
            kept(options.json, rows)
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
