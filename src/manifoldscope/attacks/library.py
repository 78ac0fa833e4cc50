"""The attacks of AutoAttack (Croce & Hein 2020), through the library of its authors.

The library is pyautoattack: it is the reference code of all four attacks, needs nothing but torch and numpy, and takes
any function that gives logits. torchattacks carries adapted copies of the same code and pins an old requests, Foolbox
has neither FAB nor Square, and the Adversarial Robustness Toolbox wants its own wrapper around a network.

The library proposes and never decides. It is asked for one run at a time (a restart, a target class), on the images
that are still robust by the outcome of `Target`. What it returns is projected onto the ball and into [0, 1] before it
is shown, because it may exceed either by rounding, and FAB, which minimises a norm, by much more. An image on which a
run fails is shown at the run's best point, not clean; only FAB, where it finds nothing at all, has no such point.

The library draws from torch's global generator on the CPU. It is seeded for each run from the attack's own stream, and
put back after it. The numbers are drawn for the images that are still robust: unlike the starts of `PGD`, those of an
image depend on what else is in its batch.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import torch
from torch import Tensor

from manifoldscope.attacks.ball import Norm, check_radius, distance, projected
from manifoldscope.attacks.perturbation import ATTACKS, Perturbation
from manifoldscope.attacks.target import Target
from manifoldscope.errors import AttackError
from manifoldscope.vision.network import seeded

Run = Callable[[int, Tensor, Tensor], Tensor]
"""One run of an attack: seed, images and labels to proposals of the same shape."""

LIBRARY = "pyautoattack"
_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())


@dataclass(frozen=True, kw_only=True)
class LibraryAttack(Perturbation, ABC):
    """What the attacks of the library share: the ball, and how a run is evaluated.

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".

    Raises:
        AttackError: an impossible value, or the library is not installed.
    """

    strength_setting: ClassVar[str] = "epsilon"
    iterative: ClassVar[bool] = False

    epsilon: float
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        library_version()
        check_radius(self.epsilon, self.norm)
        self._check()

    @property
    def parameters(self) -> str:
        """The settings, and the version of the library."""
        return f"{super().parameters} library={LIBRARY}-{library_version()}"

    @abstractmethod
    def runs(self, target: Target) -> list[Run]:
        """The runs in their order. Raises AttackError where the network or the images do not fit the attack."""

    def perturb(self, target: Target) -> None:
        for run in self.runs(target) if self.epsilon else []:
            if not len(target.clean):
                return
            target.conclude(self._proposed(run, target))
            target.standing()

    def _proposed(self, run: Run, target: Target) -> Tensor:
        """What one run makes of the images that are still robust, within the ball."""
        clean, labels = target.clean, target.labels
        images = clean.clone()
        seeds = [int(torch.randint(2**62, (), generator=each)) for each in target.generators]

        def propose(where: slice) -> None:
            found = run(seeds[where.start], clean[where], labels[where]).detach()
            images[where] = projected(found, clean[where], self.epsilon, self.norm)

        target.in_batches(propose)
        return images

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon

    @abstractmethod
    def _check(self) -> None:
        """Raise AttackError unless the attack's own settings are possible."""

    def _made(self, module: str, attack: str, target: Target, **settings: Any) -> Any:
        """One of the library's attacks on this network, which it sees as a function from pixels to logits."""
        return getattr(import_module(f"{LIBRARY}.{module}"), attack)(
            partial(_logits, target),
            eps=self.epsilon,
            norm={"linf": "Linf", "l2": "L2"}[self.norm],
            device=target.clean.device,
            **settings,
        )


@ATTACKS.register("apgd_ce", needs=LIBRARY)
@dataclass(frozen=True, kw_only=True)
class APGDCE(LibraryAttack):
    """Auto-PGD on the cross-entropy, whose step size needs no setting (Croce & Hein 2020, Algorithm 1).

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        steps: gradient steps of a run, at least 1.
        restarts: runs from a random start that an image must be robust to.

    Raises:
        AttackError: an impossible value, or the library is not installed.
    """

    kind: ClassVar[str] = "apgd_ce"

    steps: int = 100
    restarts: int = 1

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def passes(self) -> tuple[int, int]:
        return (self.restarts, self.restarts * (self.steps + 1))

    def runs(self, target: Target) -> list[Run]:
        attack = self._made("autopgd_base", "APGDAttack", target, n_iter=self.steps, loss="ce", logger=_LOG)
        return [partial(_apgd, attack)] * self.restarts

    def _check(self) -> None:
        _at_least_one(steps=self.steps, restarts=self.restarts)


@ATTACKS.register("apgd_t", needs=LIBRARY)
@dataclass(frozen=True, kw_only=True)
class APGDT(LibraryAttack):
    """Auto-PGD on the targeted difference-of-logits ratio, towards one class after another (Croce & Hein 2020).

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        steps: gradient steps of a run, at least 1.
        restarts: runs towards each class.
        targets: how many classes to aim at, the likeliest first; all others where there are fewer.

    Raises:
        AttackError: an impossible value, a network of fewer than 4 classes, or the library is not installed.
    """

    kind: ClassVar[str] = "apgd_t"

    steps: int = 100
    restarts: int = 1
    targets: int = 9

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def passes(self) -> tuple[int, int]:
        n_runs = self.restarts * self.targets
        return (2 * n_runs, n_runs * (self.steps + 1))

    def runs(self, target: Target) -> list[Run]:
        n_classes = _n_classes(target)
        if n_classes < 4:
            raise AttackError(
                f"{self.kind} divides by the difference of the first and the third and fourth logit, and the network "
                f"has {n_classes} classes; expected at least 4 (apgd_ce, fab_t and square need fewer)"
            )
        attack = self._made("autopgd_base", "APGDAttack_targeted", target, n_iter=self.steps, logger=_LOG)
        return [partial(_apgd_towards, attack, rank) for rank in _ranks(self.targets, n_classes, self.restarts)]

    def _check(self) -> None:
        _at_least_one(steps=self.steps, restarts=self.restarts, targets=self.targets)


@ATTACKS.register("fab_t", needs=LIBRARY)
@dataclass(frozen=True, kw_only=True)
class FABT(LibraryAttack):
    """The fast adaptive boundary attack, targeted: the nearest point of another class (Croce & Hein 2020, "Minimally
    distorted adversarial examples").

    It minimises the norm and does not stop at epsilon; what lies outside the ball is projected onto it.

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        steps: steps of a run, at least 1.
        restarts: runs towards each class; all but the first from a random start.
        targets: how many classes to aim at, the likeliest first; all others where there are fewer.

    Raises:
        AttackError: an impossible value, or the library is not installed.
    """

    kind: ClassVar[str] = "fab_t"

    steps: int = 100
    restarts: int = 1
    targets: int = 9

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def passes(self) -> tuple[int, int]:
        n_runs = self.restarts * self.targets
        return (n_runs * (self.steps + 3), n_runs * self.steps)

    def runs(self, target: Target) -> list[Run]:
        attack = self._made("fab_pt", "FABAttack_PT", target, n_iter=self.steps, targeted=True)
        ranks = _ranks(self.targets, _n_classes(target), self.restarts)
        return [partial(_fab_towards, attack, rank, place % self.restarts > 0) for place, rank in enumerate(ranks)]

    def _check(self) -> None:
        _at_least_one(steps=self.steps, restarts=self.restarts, targets=self.targets)


@ATTACKS.register("square", needs=LIBRARY)
@dataclass(frozen=True, kw_only=True)
class Square(LibraryAttack):
    """Random search with squares, which needs no gradient (Andriushchenko et al. 2020).

    What it misclassifies and a gradient attack does not is a sign that gradients are masked.

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        queries: forward passes of a run, at least 1.
        restarts: runs that an image must be robust to.
        rescale_schedule: False shrinks the squares as AutoAttack does, by the number of the query, as if there were
            10,000; True by the share of `queries` that is used up, which is better where they are few.

    Raises:
        AttackError: an impossible value, images that an L2 square does not fit, or the library is not installed.
    """

    kind: ClassVar[str] = "square"

    queries: int = 5000
    restarts: int = 1
    rescale_schedule: bool = False

    @property
    def passes(self) -> tuple[int, int]:
        return (self.restarts * (self.queries + 2), 0)

    def runs(self, target: Target) -> list[Run]:
        height, width = target.clean.shape[-2:]
        if self.norm == "l2" and (height < 5 or height != width):
            raise AttackError(
                f"{self.kind} tiles the image for the norm l2, and the images are {height} x {width}; expected as many "
                "rows as columns, and at least 5"
            )
        attack = self._made(
            "square", "SquareAttack", target, n_queries=self.queries, resc_schedule=self.rescale_schedule
        )
        return [partial(_square, attack)] * self.restarts

    def _check(self) -> None:
        _at_least_one(queries=self.queries, restarts=self.restarts)


@ATTACKS.register("autoattack", needs=LIBRARY)
@dataclass(frozen=True, kw_only=True)
class AutoAttack(LibraryAttack):
    """AutoAttack: APGD-CE, APGD-T, FAB-T and Square in turn, each on the images that are still robust (Croce & Hein
    2020).

    An image is robust only if it is robust to all four. With the defaults it is the version "standard" of the library.

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        steps: gradient steps of a run of the first three.
        targets: classes at which APGD-T and FAB-T aim; all others where there are fewer.
        queries: forward passes of Square.

    Raises:
        AttackError: an impossible value, a network of fewer than 4 classes, or the library is not installed.
    """

    kind: ClassVar[str] = "autoattack"

    steps: int = 100
    targets: int = 9
    queries: int = 5000

    @property
    def attacks(self) -> tuple[LibraryAttack, ...]:
        """The four attacks in their order."""
        epsilon, norm, steps, targets = self.epsilon, self.norm, self.steps, self.targets
        return (
            APGDCE(epsilon=epsilon, norm=norm, steps=steps),
            APGDT(epsilon=epsilon, norm=norm, steps=steps, targets=targets),
            FABT(epsilon=epsilon, norm=norm, steps=steps, targets=targets),
            Square(epsilon=epsilon, norm=norm, queries=self.queries),
        )

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def passes(self) -> tuple[int, int]:
        forward, gradient = zip(*(attack.passes for attack in self.attacks), strict=True)
        return (sum(forward), sum(gradient))

    def runs(self, target: Target) -> list[Run]:
        return [run for attack in self.attacks for run in attack.runs(target)]

    def _check(self) -> None:
        _at_least_one(steps=self.steps, targets=self.targets, queries=self.queries)


def library_version() -> str:
    """The version of the library that is installed. Raises AttackError where there is none."""
    try:
        return version(LIBRARY)
    except PackageNotFoundError:
        raise AttackError(
            f"{LIBRARY} is not installed; install it with: pip install 'manifoldscope[attacks]'"
        ) from None


def _logits(target: Target, images: Tensor) -> Tensor:
    # Where a gradient vanishes, FAB divides by zero and asks about NaN.
    return target.logits(images.nan_to_num())


def _apgd(attack: Any, seed: int, images: Tensor, labels: Tensor) -> Tensor:
    attack.init_hyperparam(images)
    with seeded(seed, LIBRARY):
        best, stands, _, adversarial = attack.attack_single_run(images, labels)
    return torch.where(stands.view(-1, 1, 1, 1), best, adversarial)


def _apgd_towards(attack: Any, rank: int, seed: int, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        attack.y_target = attack.model(images).argsort(dim=1)[:, -rank]
    return _apgd(attack, seed, images, labels)


def _fab_towards(attack: Any, rank: int, random_start: bool, seed: int, images: Tensor, labels: Tensor) -> Tensor:
    attack.target_class = rank
    with torch.no_grad(), seeded(seed, LIBRARY):
        nearest: Tensor = attack.attack_single_run(images, labels, use_rand_start=random_start, is_targeted=True)
    return nearest


def _square(attack: Any, seed: int, images: Tensor, labels: Tensor) -> Tensor:
    attack.init_hyperparam(images)
    with seeded(seed, LIBRARY):
        _, best = attack.attack_single_run(images, labels)
    best_images: Tensor = best
    return best_images


def _n_classes(target: Target) -> int:
    return target.clean_logits.shape[1]


def _ranks(targets: int, n_classes: int, restarts: int) -> list[int]:
    """The place of each target class among the sorted logits, from the end: 1 is the label itself."""
    return [rank for rank in range(2, min(targets, n_classes - 1) + 2) for _ in range(restarts)]


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise AttackError(f"{name} = {count}; expected at least 1")
