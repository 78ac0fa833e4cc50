"""What units take of memory and time: the laws that kinds of units forecast themselves with."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from manifoldscope.attacks.evaluation import CHECKED, COPIES
from manifoldscope.errors import StudyError
from manifoldscope.study.context import Context
from manifoldscope.study.probe import NOT_ASKED, Probed
from manifoldscope.study.refs import AttackRef
from manifoldscope.vision.memory import FILLED, NOTHING, Footprint

SECONDS_OF_A_UNIT = 0.01
"""What a unit takes however small: what it reads and writes, and what its passes need once."""

SECONDS_OF_A_STEP = 1e-3
"""What a step of an attack takes beside the network."""

IMAGES = "batch_size, or the size of the images"
POINTS = "data.geometry.images_per_class, or measure a smaller layer"

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def bytes_of(text: str | int) -> int:
    """Bytes as people write them.

    Raises:
        StudyError: a text that is no number of bytes above 0.

    Example:
        >>> bytes_of("4GiB"), bytes_of("500 MB"), bytes_of("2e9")
        (4294967296, 500000000, 2000000000)
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([a-z]*)\s*", str(text).lower())
    try:
        size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size < 1:
        raise StudyError(f"memory = {text!r}; expected a number of bytes, such as 4GiB, 500MB or 2e9")
    return size


@dataclass(frozen=True)
class Need:
    """What a unit takes while it is computed, beside its network.

    Attributes:
        fixed: bytes that it takes in any case.
        batch: what passes take, by how many images go through the network at a time.
        wanted: how many at a time it would have.
        reduce: what to reduce where it does not fit.
    """

    fixed: float
    batch: Footprint
    wanted: int
    reduce: str

    def at_once(self, room: float) -> int:
        """How many images at a time fit, at least one."""
        return max(1, min(self.wanted, self.batch.most(FILLED * (room - self.fixed))))

    def peak(self, room: float) -> float:
        """Bytes at the peak, where batches are no larger than fits."""
        return self.fixed + self.batch.of(self.at_once(room))


@dataclass(frozen=True)
class Costs:
    """What a unit is forecast from.

    Attributes:
        context: the study's images, networks and settings.
        network: what the unit's own network takes.
        name: of that network.
    """

    context: Context
    network: Probed
    name: str

    # --- memory ---------------------------------------------------------------------------------------------------

    def passing(
        self,
        n_images: int,
        *,
        gradient: Footprint = NOTHING,
        n_attacked: int = 0,
        fixed: float = 0.0,
        widths: Sequence[int] = (),
        reduce: str = IMAGES,
    ) -> Need:
        """What it takes to pass images through the network.

        Args:
            n_images: how many there are.
            gradient: what gradients take, and `n_attacked` of how many images together at most.
            fixed: bytes that are taken in any case.
            widths: of the layers whose features are kept.
            reduce: what to reduce where it does not fit.
        """
        network, batch_size = self.network, self.context.study.batch_size
        forward = Footprint(network.forward.memory.fixed, network.forward.memory.each + 8 * sum(widths))
        copied = COPIES * network.image if n_attacked else 2 * network.image
        wider = max((forward, gradient), key=lambda law: law.of(min(batch_size, n_images)))
        n = min(batch_size, n_attacked if wider is gradient else n_images)
        return Need(fixed, Footprint(wider.fixed, wider.each + copied), max(1, n), reduce)

    def attacking(
        self,
        attack: AttackRef,
        n_images: int,
        *,
        kept: bool,
        fixed: float = 0.0,
        widths: Sequence[int] = (),
        reduce: str = IMAGES,
    ) -> Need:
        """What it takes to attack that many images together; `kept`: their last images are kept."""
        network, passes = self.network, self.network.search
        gradient = passes.memory if attack.passes[1] and passes is not NOT_ASKED else NOTHING
        fixed += 4 * network.image * n_images if kept else 0
        n_rows = self.context.study.batch_size  # several runs of one image may be under attack together
        return self.passing(n_images, gradient=gradient, n_attacked=n_rows, fixed=fixed, widths=widths, reduce=reduce)

    def measuring(self, n_points: int, widths: Sequence[int], *, may_lie_in_file: bool) -> float:
        """Bytes of points, and of what measures make of them: halves, inner products, coordinates in their span."""
        sizes = [4.0 * n_points * width for width in widths]
        sizes = [size for size in sizes if not may_lie_in_file or size <= self.context.points(len(widths))]
        held, largest = sum(sizes), max(sizes, default=0.0)
        side = min(n_points, max(widths))
        standardised = any(plan.scaling == "standardise" for plan in self.context.study.measures)
        return held + (1.5 * largest if side < n_points or standardised else 0) + 8 * 8 * side**2

    # --- seconds --------------------------------------------------------------------------------------------------

    def widths(self, layers: Sequence[str]) -> list[int]:
        """The values of an image in layers."""
        return [self.network.values[layer] for layer in layers]

    def forward_seconds(self, n_images: float, at_once: int) -> float:
        """Seconds of passes without a gradient."""
        return self.network.forward.seconds.of(n_images, at_once)

    def gradient_seconds(self, n_images: float, at_once: int) -> float:
        """Seconds of passes with the network's own gradient, a step each."""
        return self.network.own.seconds.of(n_images, at_once) + SECONDS_OF_A_STEP

    def attack_seconds(
        self, attack: AttackRef, n_images: int, n_together: int, at_once: int, *, more: float = 0.0
    ) -> float:
        """Seconds of an attack on images, and on a sample by the network itself.

        Args:
            n_images: how many they are, and `n_together` with those that are attacked beside them.
            more: passes of each image beside the clean one and those of the attack.
        """
        network = self.network
        n_batches = math.ceil(n_together / at_once)

        def forward(times: float) -> float:
            return times * (network.forward.seconds.of(n_together, at_once) + n_batches * SECONDS_OF_A_STEP)

        forwards, gradients = attack.passes
        attacked = forward(forwards)
        attacked += gradients * (network.search.seconds.of(n_together, at_once) + n_batches * SECONDS_OF_A_STEP)
        if network.search is not network.own:
            sample = math.ceil(n_together / CHECKED)
            attacked += gradients * (network.own.seconds.of(sample, sample) + SECONDS_OF_A_STEP)
        seconds = forward(1.0 + more) + self._share_attacked() * attacked
        return SECONDS_OF_A_UNIT + n_images / n_together * seconds

    def _share_attacked(self) -> float:
        """About which share of the images is attacked, since those that are misclassified when clean are not."""
        training = self.context.networks[self.name].plan.training
        untrained = training is not None and not training.made().trains
        return 1 / len(self.context.shown(self.name, "robustness").classes) if untrained else 1.0
