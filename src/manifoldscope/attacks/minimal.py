"""The minimal perturbation under which an image is misclassified, and robust accuracy against epsilon from it.

Two ways to look for it. Bisection over projected gradient ascent, here, gives a bracket. The minimum-norm attacks
DeepFool (Moosavi-Dezfooli et al. 2016) and FMN (Pintor et al. 2021) come from Foolbox, which has both and installs
without pins; it only proposes.

Whatever the way, an image counts as misclassified where the network is wrong on it in a pass of ours, and its distance
is measured here. So each answer is an upper bound of what the image really needs: attacks find, they do not certify.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manifoldscope.attacks.ball import Norm, check_radius, direction, distance, drawn, per_image, projected
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.seeds import generator
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema, conform, parameters_text
from manifoldscope.vision.batching import BatchSize
from manifoldscope.vision.images import ImageSet, as_image_set
from manifoldscope.vision.memory import Footprint, Memory
from manifoldscope.vision.network import Network, as_network, predicted, undisturbed

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


Attack = Literal["pgd", "fmn", "deepfool"]
Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (n, n_classes) and labels (n,) to what the ascent increases, (n,)."""

STEPS: dict[Attack, int] = {"pgd": 20, "fmn": 100, "deepfool": 50}
"""Steps of each attack where none are given; those of Foolbox are its own."""
COPIES = 12
"""How many tensors of the size of the images a search holds, about."""
SMALLER = 6
"""An image that is robust at the largest epsilon is tried at its halves, quarters, ... this often in all."""
_CURVE_OF = ("model", "attack", "parameters", "label")


@dataclass(frozen=True, kw_only=True)
class Search:
    """What defines a search for the minimal perturbation; `minimal_perturbation` says what each setting means.

    Raises:
        AttackError: an impossible value, or a library that is not installed.
    """

    attack: Attack = "pgd"
    norm: Norm = "linf"
    largest: float = 0.5
    steps: int
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.attack not in STEPS:
            raise AttackError(f"attack = {self.attack!r}; expected one of: {', '.join(STEPS)}")
        check_radius(self.largest, self.norm)
        if self.largest == 0:
            raise AttackError("largest = 0; expected a radius above 0, up to which to search")
        if self.steps < 1:
            raise AttackError(f"steps = {self.steps}; expected at least 1")
        if not 1e-5 <= self.tolerance < 1:
            raise AttackError(f"tolerance = {self.tolerance}; expected a share of epsilon from 1e-5 (float32) to 1")
        if self.attack != "pgd":
            foolbox_version()

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and gradient passes an image costs at most, about: what a forecast needs."""
        if self.attack == "pgd":
            attempts = SMALLER + math.ceil(math.log2(1 / self.tolerance))
            return 0, 2 * attempts * (self.steps + 1)
        return self.steps, self.steps * (
            10 if self.attack == "deepfool" else 1
        )  # it looks at the ten likeliest classes

    @property
    def parameters(self) -> str:
        """What the table says of the search."""
        own = {"tolerance": self.tolerance} if self.attack == "pgd" else {"library": f"foolbox-{foolbox_version()}"}
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

    Where the network gives NaN or infinity for an image, clean or under attack, that image is misclassified; a step
    for which it gives them as a gradient stays where it is.

    Args:
        network: found again as it was.
        images: labelled images.
        attack: "pgd", or "fmn" or "deepfool" through Foolbox.
        norm: "linf" or "l2".
        largest: the radius up to which to search, in pixel units.
        steps: of one attack; 20 for pgd, 100 for fmn and 50 for deepfool if omitted.
        tolerance: bisection ends when the bracket is narrower than this share of its upper end.
        seed: of the random starts, a stream for each image by its name; fmn and deepfool draw nothing.
        batch_size: images at a time, or fewer where memory allows no more; changes the answer by rounding only.
        memory: how much may be taken; most of what is available if omitted.

    Returns:
        The columns of the table `outcomes`, with `largest` as the strength and `robust_last` where no attack up to
        it succeeded, and beside them `low` and `high`. `minimal_epsilon` is `high`: the distance of the nearest image
        that was found, 0 where the clean image is misclassified, infinite where none was found. `low` is the largest
        epsilon below it at which the attack failed; 0 for fmn and deepfool, which do not try any.

    Raises:
        DataError: an image cannot be read.
        ModelError: the network gives NaN or infinity for every image, has fewer outputs than there are labels, or
            takes more memory than there is for a single image.
        AttackError: an impossible value, or Foolbox is needed and not installed.
    """
    network, images = as_network(network), as_image_set(images)
    if not len(images):
        raise AttackError("0 images; expected at least one")
    search = Search(
        attack=attack,
        norm=norm,
        largest=largest,
        steps=STEPS.get(attack, 1) if steps is None else steps,
        tolerance=tolerance,
    )
    predictions = torch.empty(len(images), dtype=torch.int64)
    low, high = (torch.empty(len(images), dtype=torch.float64) for _ in range(2))

    def find(where: slice) -> None:
        clean = network.pixels(images, where).to(network.device)
        labels = images.labels[where].to(network.device)
        streams = [generator(seed, "smallest", attack, name) for name in images.names[where]]
        predictions[where], low[where], high[where] = _of_batch(network, clean, labels, search, streams)

    one, at_once = network.pixels(images, slice(0, 1)), min(batch_size, len(images))
    beside = Footprint(0, COPIES * one.nbytes)
    batch = BatchSize(batch_size)
    batch.fits = (memory or Memory()).batch(network, one, at_once, gradient=True, beside=beside)
    with undisturbed(network):
        batch.over(len(images), find)
    if bool((predictions < 0).all()):
        raise ModelError(
            f"{network.name} gave NaN or infinite logits for all {len(images)} images; no outcome can be given"
        )
    return _table(network, images, search, predictions, low, high)


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


def foolbox_version() -> str:
    """The version of Foolbox that is installed. Raises AttackError where there is none."""
    try:
        return version("foolbox")
    except PackageNotFoundError:
        raise AttackError("foolbox is not installed; install it with: pip install 'manifoldscope[attacks]'") from None


def _of_batch(
    network: Network, clean: Tensor, labels: Tensor, search: Search, streams: Sequence[torch.Generator]
) -> tuple[Tensor, Tensor, Tensor]:
    """Clean predictions, and the brackets (n,) float64; all on the CPU."""
    logits = _logits(network, clean)
    if int(labels.max()) >= logits.shape[1]:
        raise ModelError(
            f"{network.name} has {logits.shape[1]} outputs, but label {int(labels.max())} occurs; the network and the "
            "dataset do not fit"
        )
    prediction = predicted(logits)
    low, high = (torch.zeros(len(clean), dtype=torch.float64) for _ in range(2))
    noise = 2 * drawn(torch.rand, clean.shape, streams).to(clean.device) - 1
    correct = prediction == labels
    if bool(correct.any()):
        attacked = clean[correct], labels[correct]
        if search.attack == "pgd":
            found = _bisected(network, *attacked, noise[correct], search)
        else:
            found = _by_foolbox(network, *attacked, search)
        low[correct.cpu()], high[correct.cpu()] = found
    return prediction.cpu(), low, high


def _bisected(network: Network, clean: Tensor, labels: Tensor, noise: Tensor, search: Search) -> tuple[Tensor, Tensor]:
    low = torch.zeros(len(clean), dtype=torch.float64)
    high = torch.full_like(low, torch.inf)
    nearest = clean.clone()
    attempt = 0
    while len(where := _undecided(low, high, attempt, search.tolerance)):
        already = high[where].isfinite()
        epsilon = torch.where(already, (low[where] + high[where]) / 2, search.largest / 2**attempt)
        here = where.to(clean.device)
        misclassified, images = _attacked(
            network, clean[here], labels[here], noise[here], nearest[here], epsilon, search
        )
        nearest[here[misclassified]] = images[misclassified]
        away = distance(clean[here], images, search.norm).cpu()
        misclassified = misclassified.cpu()
        high[where[misclassified]] = torch.minimum(epsilon, away)[misclassified]
        robust = already & ~misclassified
        low[where[robust]] = epsilon[robust]
        attempt += 1
    low[high.isinf()] = search.largest
    return low, high


def _undecided(low: Tensor, high: Tensor, attempt: int, tolerance: float) -> Tensor:
    """Which images to attack once more: those whose bracket is wide, and at first those that are robust."""
    wide = high.isfinite() & (high - low > tolerance * high)
    return (wide | (high.isinf() & (attempt < SMALLER))).nonzero().flatten()


def _attacked(
    network: Network, clean: Tensor, labels: Tensor, noise: Tensor, nearest: Tensor, epsilon: Tensor, search: Search
) -> tuple[Tensor, Tensor]:
    """Which images are misclassified, each in a ball of its own radius (n,), and that iterate, or the last one."""
    radius = per_image(epsilon).to(clean)
    misclassified, images = _ascended(network, clean, labels, clean + radius * noise, radius, _cross_entropy, search)
    stand = (~misclassified).nonzero().flatten()
    if len(stand):
        still = clean[stand], labels[stand], nearest[stand], radius[stand]
        misclassified[stand], images[stand] = _ascended(network, *still, _margin, search)
    return misclassified, images


def _ascended(
    network: Network, clean: Tensor, labels: Tensor, start: Tensor, radius: Tensor, loss: Loss, search: Search
) -> tuple[Tensor, Tensor]:
    images = projected(start, clean, radius, search.norm)
    found, misclassified = images.clone(), torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
    standing = torch.arange(len(clean), device=clean.device)
    for _ in range(search.steps + 1):  # the last pass is on the last step
        wrong, gradient = _predicted_wrong(network, images, labels, loss)
        found[standing], misclassified[standing] = images, wrong
        images, gradient, clean, labels, radius, standing = (
            each[~wrong] for each in (images, gradient, clean, labels, radius, standing)
        )
        if not len(images):
            break
        moved = images + 2.5 / search.steps * radius * direction(gradient, search.norm)
        images = projected(moved, clean, radius, search.norm)
    return misclassified, found


def _predicted_wrong(network: Network, images: Tensor, labels: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """(n,) whether each image is misclassified, and the gradient of its loss."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_(True)
        logits = network(leaf)
        (gradient,) = torch.autograd.grad(loss(logits, labels).sum(), leaf)
    gradient[~torch.isfinite(gradient.flatten(1)).all(1)] = 0
    return predicted(logits.detach()) != labels, gradient


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    own = F.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).amax(1) - logits[own]


def _logits(network: Network, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)


class _Pixels(nn.Module):
    """The network as Foolbox wants it. It is no submodule, so that nothing of it can be set."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._logits = (network,)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._logits[0](pixels)


def _by_foolbox(network: Network, clean: Tensor, labels: Tensor, search: Search) -> tuple[Tensor, Tensor]:
    foolbox: Any = import_module("foolbox")
    model = foolbox.PyTorchModel(_Pixels(network).eval(), bounds=(0, 1), device=clean.device)
    with _quiet_root():
        proposed = _foolbox_attack(search).run(model, clean, foolbox.criteria.Misclassification(labels))
    proposed = torch.where(proposed.isnan(), clean, proposed.detach()).clamp(0, 1)
    misclassified = (predicted(_logits(network, proposed)) != labels).cpu()
    away = distance(clean, proposed, search.norm).cpu()
    high = torch.where(misclassified & (away <= search.largest), away, torch.inf)
    return torch.zeros_like(high), high


def _foolbox_attack(search: Search) -> Any:
    foolbox: Any = import_module("foolbox")
    if search.attack == "deepfool":
        made = {"linf": foolbox.attacks.LinfDeepFoolAttack, "l2": foolbox.attacks.L2DeepFoolAttack}
        return made[search.norm](steps=search.steps)
    if search.norm == "linf":
        return foolbox.attacks.LInfFMNAttack(steps=search.steps)
    attack = foolbox.attacks.L2FMNAttack(steps=search.steps)
    attack.project = _project_l2
    return attack


def _project_l2(x: Any, x0: Any, epsilon: Any) -> Any:
    # Foolbox 3.3.4 divides a norm by itself, and so projects nothing. The margin takes a linear network across its
    # boundary, where FMN would otherwise stop short of it by rounding, and find nothing.
    return type(x)(projected(x.raw, x0.raw, 1.0001 * per_image(epsilon.raw), "l2"))


@contextmanager
def _quiet_root() -> Iterator[None]:
    """`logging.info`, which Foolbox calls, would give a root logger without handlers one that writes."""
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


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
    return conform("outcomes", outcomes).join(frame.select("image", "low", "high"), on="image", validate="1:1")
