"""The minimal perturbation under which an image is misclassified, and robust accuracy against epsilon from it.

Three ways to look for it: bisection over projected gradient ascent, which gives a bracket, and the minimum-norm attacks
FMN (Pintor et al. 2021) and FAB (Croce & Hein 2020).

Whatever the way, an image counts as misclassified where the network is wrong on it, and its distance is measured here.
So each answer is an upper bound of what the image really needs: attacks find, they do not certify.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import polars as pl
import torch
from torch import Tensor, nn

from manifoldscope.attacks.ball import Norm, check_radius
from manifoldscope.attacks.bisection import SMALLER, Bisection
from manifoldscope.attacks.engine import Engine, Found
from manifoldscope.attacks.fab import FABT
from manifoldscope.attacks.fmn import FMN
from manifoldscope.attacks.outcomes import OUTCOMES
from manifoldscope.attacks.perturbation import Perturbation
from manifoldscope.attacks.subject import Subject
from manifoldscope.errors import AttackError
from manifoldscope.seeds import generator
from manifoldscope.settings import check_setting, check_settings
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema, conform, parameters_text
from manifoldscope.vision.batching import BatchSize
from manifoldscope.vision.fast import FastNetwork
from manifoldscope.vision.images import ImageSet, as_image_set
from manifoldscope.vision.memory import Footprint, Memory
from manifoldscope.vision.network import Network, as_network, undisturbed

MINIMAL = Schema(
    name="minimal",
    row="the minimal perturbations that a search found for the images of a class (upper bounds)",
    columns={
        "model": TEXT,
        "attack": TEXT,
        "parameters": TEXT,
        "norm": TEXT,
        "largest": REAL,
        "class_index": INTEGER,
        "class_name": TEXT,
        "n_images": INTEGER,
        "n_clean_correct": INTEGER,
        "n_found": INTEGER,
        "lower_quartile": REAL,
        "median": REAL,
        "upper_quartile": REAL,
        "split": TEXT,
    },
    identity=("model", "attack", "parameters", "largest", "class_index"),
    optional=True,
)


Attack = Literal["pgd", "fmn", "fab"]

STEPS: dict[Attack, int] = {"pgd": 20, "fmn": 100, "fab": 100}
"""Steps of each attack where none are given."""
COPIES = 12
"""How many tensors of the size of the images a search holds, about."""
_CURVE_OF = ("model", "attack", "parameters", "label")


@dataclass(frozen=True, kw_only=True)
class Search:
    """What defines a search for the minimal perturbation; `minimal_perturbation` says what each setting means.

    Raises:
        AttackError: an impossible value.
    """

    attack: Attack = "pgd"
    norm: Norm = "linf"
    largest: float = 0.5
    steps: int
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        check_settings(AttackError, self)
        check_radius(self.largest, self.norm)
        if self.largest == 0:
            raise AttackError("largest = 0; expected a radius above 0, up to which to search")
        if self.steps < 1:
            raise AttackError(f"steps = {self.steps}; expected at least 1")
        if not 1e-5 <= self.tolerance < 1:
            raise AttackError(f"tolerance = {self.tolerance}; expected a share of epsilon from 1e-5 (float32) to 1")

    @property
    def made(self) -> Perturbation:
        """The attack that searches."""
        if self.attack == "pgd":
            return Bisection(epsilon=self.largest, norm=self.norm, steps=self.steps, tolerance=self.tolerance)
        if self.attack == "fmn":
            return FMN(epsilon=self.largest, norm=self.norm, steps=self.steps)
        return FABT(epsilon=self.largest, norm=self.norm, steps=self.steps)

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and gradient passes an image costs at most, about: what a forecast needs."""
        if self.attack == "pgd":
            attempts = SMALLER + math.ceil(math.log2(1 / self.tolerance))
            return 0, 2 * attempts * (self.steps + 1)
        return self.made.passes

    @property
    def parameters(self) -> str:
        """What the table says of the search."""
        own = {"tolerance": self.tolerance} if self.attack == "pgd" else {}
        return parameters_text({"norm": self.norm, "steps": self.steps, **own})


def minimal_perturbation(
    network: Network | nn.Module,
    images: ImageSet,
    *,
    attack: Attack = "pgd",
    norm: Norm = "linf",
    largest: float = 0.5,
    steps: int | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
    batch_size: int = 128,
    memory: Memory | None = None,
) -> pl.DataFrame:
    """The smallest epsilon at which each image was found to be misclassified.

    "pgd" bisects: it attacks at `largest`, then between the largest epsilon at which the image was robust and the
    smallest at which it was misclassified, all images of a batch at once and each with an epsilon of its own. An attack
    is projected gradient ascent with steps of 2.5 epsilon / steps, twice: on the cross-entropy from a random start, as
    `PGD` does; and where that fails, on the margin (the best other logit minus that of the label) from the nearest
    adversarial example so far, brought into the ball, or from the clean one.

    FMN and FAB walk along the boundary of the class; the nearest misclassified image that they showed counts. FMN may
    never reach it (see `FMN`): compare it with another search before relying on it alone.

    Where the network gives NaN or infinity for an image, clean or under attack, that image is misclassified; a step
    for which it gives them as a gradient stays where it is.

    Args:
        network: found again as it was.
        images: labelled images.
        attack: "pgd", "fmn" or "fab".
        norm: "linf" or "l2".
        largest: the radius up to which to search, in pixel units.
        steps: of one attack; 20 for pgd, 100 for fmn and fab if omitted.
        tolerance: bisection ends when the bracket is narrower than this share of its upper end.
        seed: of the random starts, a stream for each image by its name; fmn and fab draw nothing.
        batch_size: images at a time, or fewer where memory allows no more; changes the answer by rounding only.
        memory: how much may be taken; most of what is available if omitted.

    Returns:
        The columns of the table `outcomes`, with `largest` as the strength and `robust_last` where no attack up to
        it succeeded, and beside them `low` and `high`. `minimal_epsilon` is `high`: the distance of the nearest image
        that was found, 0 where the clean image is misclassified, infinite where none was found. `low` is the largest
        epsilon below it at which the attack failed; 0 for fmn and fab, which do not try any.

    Raises:
        DataError: an image cannot be read.
        ModelError: the network gives NaN or infinity for every image, has fewer outputs than there are labels, or
            takes more memory than there is for a single image.
        AttackError: an impossible value.
    """
    network, images = as_network(network), as_image_set(images)
    if not len(images):
        raise AttackError("0 images; expected at least one")
    check_setting(AttackError, "attack", attack, Attack)
    search = Search(
        attack=attack,
        norm=norm,
        largest=largest,
        steps=STEPS[attack] if steps is None else steps,
        tolerance=tolerance,
    )
    batch = BatchSize(batch_size)
    one, at_once = network.pixels(images, slice(0, 1)), min(batch_size, len(images))
    beside = Footprint(0, COPIES * one.nbytes)
    batch.fits = (memory or Memory()).batch(network, one, at_once, gradient=True, beside=beside)
    with undisturbed(network):
        subject = Subject.of(network, images, batch)
        made, chosen = search.made, subject.correct.nonzero().flatten()
        made.refuse(one.shape[1:], subject.logits.shape[1])
        engine = Engine(network, FastNetwork(network), batch, batch)
        source = subject.source(chosen, stream=partial(generator, seed, "smallest", attack), ahead=batch.fits)
        found = Found.of(images.labels.to(network.device))
        low = torch.zeros(len(images), dtype=torch.float64, device="cpu")
        for look in engine.looks(made, source, found, chosen, outcome="any", nearest=norm):
            if "low" in look.state:  # of a bracket
                low[look.rows.place.cpu()] = look.state["low"].double().cpu()
    high = torch.where(found.nearest.cpu() <= largest, found.nearest.cpu().double(), torch.inf)
    high[~subject.correct] = 0
    if attack == "pgd":
        low[high.isinf()] = largest
    return _table(network, images, search, subject.predictions, torch.minimum(low, high), high)


def robustness_curve(table: pl.DataFrame) -> pl.DataFrame:
    """Accuracy against epsilon, class by class, and the median smallest epsilon.

    Args:
        table: of `minimal_perturbation`, or several of them together.

    Returns:
        One row for epsilon 0 and for each minimal epsilon of an image of the class: model, attack, parameters,
        label, epsilon, n_images, n_robust, robust_accuracy, median. An image is robust at epsilon where its minimal one
        is larger. `median` is the smallest epsilon that leaves at most half of the class standing, infinite if none
        does.

    Raises:
        AttackError: an image has no smallest epsilon.

    Example:
        >>> rows = {"model": "m", "attack": "t", "parameters": "", "label": 0, "minimal_epsilon": [0.0, 0.1, 0.3]}
        >>> robustness_curve(pl.DataFrame(rows)).select("epsilon", "n_robust", "median").rows()
        [(0.0, 2, 0.1), (0.1, 1, 0.1), (0.3, 0, 0.1)]
    """
    unknown = table["minimal_epsilon"].null_count()
    if unknown:
        raise AttackError(f"{unknown} rows have no minimal_epsilon; expected the table of minimal_perturbation")
    curves = []
    for key, rows in table.group_by(_CURVE_OF, maintain_order=True):
        smallest = rows["minimal_epsilon"].sort()
        epsilons = pl.concat([pl.Series([0.0]), smallest.filter(smallest.is_finite())]).unique().sort()
        curves.append(
            pl.DataFrame({"epsilon": epsilons, "n_robust": [int((smallest > epsilon).sum()) for epsilon in epsilons]})
            .with_columns(n_images=pl.lit(len(smallest)), median=pl.lit(smallest[(len(smallest) - 1) // 2]))
            .with_columns(robust_accuracy=pl.col("n_robust") / pl.col("n_images"))
            .select(
                *(pl.lit(value).alias(name) for name, value in zip(_CURVE_OF, key, strict=True)),
                *("epsilon", "n_images", "n_robust", "robust_accuracy", "median"),
            )
            .cast({"label": pl.Int64, "n_images": pl.Int64})
        )
    return pl.concat(curves)


def minimal_of(outcomes: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Minimal perturbations told class by class: the table `minimal`.

    Args:
        outcomes: of `minimal_perturbation`, as the table `outcomes`, with a column `split` beside it.
        classes: columns `label` and `class_name`.

    Returns:
        `median` is the smallest epsilon that leaves at most half of the class standing, `lower_quartile` at most three
        quarters and `upper_quartile` at most one: infinite where no epsilon up to the largest was found to. Images that
        are misclassified when clean count with 0.
    """
    by = ["model", "attack", "parameters", "norm", "strength", "label", "split"]
    smallest, n = pl.col("minimal_epsilon"), pl.len()

    def leaving(share: float) -> pl.Expr:
        return smallest.sort().get(((1 - share) * n).ceil().cast(pl.Int64) - 1)

    told = outcomes.group_by(by).agg(
        n_images=n,
        n_clean_correct=(pl.col("clean_prediction") == pl.col("label")).sum(),
        n_found=(smallest.is_finite() & (smallest > 0)).sum(),
        lower_quartile=leaving(0.75),
        median=leaving(0.5),
        upper_quartile=leaving(0.25),
    )
    return conform(
        MINIMAL,
        told.join(classes, on="label", how="left").rename({"label": "class_index", "strength": "largest"}),
    )


def _table(
    network: Network, images: ImageSet, search: Search, prediction: Tensor, low: Tensor, high: Tensor
) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "image": list(images.names),
            "label": images.labels.tolist(),
            "clean_prediction": prediction.tolist(),
            "robust_last": high.isinf().tolist(),
            "minimal_epsilon": high.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
        }
    )
    outcomes = frame.drop("low", "high").with_columns(
        model=pl.lit(network.name),
        attack=pl.lit(f"minimal_{search.attack}"),
        parameters=pl.lit(search.parameters),
        norm=pl.lit(search.norm),
        n_steps=pl.lit(search.steps, dtype=pl.Int64),
        targeted=pl.lit(False),
        strength=pl.lit(search.largest),
    )
    return conform(OUTCOMES, outcomes).join(frame.select("image", "low", "high"), on="image", validate="1:1")
