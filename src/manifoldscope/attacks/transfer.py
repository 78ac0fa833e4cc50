"""Transfer: whether images that were made to deceive one network deceive another, which the attack never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.perturbation import Perturbation
from manifoldscope.errors import AttackError
from manifoldscope.tables import conform
from manifoldscope.vision.images import ImageSet, batches
from manifoldscope.vision.network import Network, predicted, undisturbed


@dataclass(frozen=True, eq=False)
class Judged:
    """What one network says of images and of what an attack made of them.

    Attributes:
        correct: (n,) whether the clean image is classified as its label.
        standing: (n,) whether the attacked image is.
    """

    correct: Tensor
    standing: Tensor


def transfer(
    networks: Sequence[Network], images: ImageSet, attack: Perturbation, *, seed: int = 0, batch_size: int = 128
) -> pl.DataFrame:
    """Each network's last iterates, judged by every network.

    Only images that both classify correctly when clean count, so that the diagonal is the attack itself: n_misclassified of
    the images that it attacks.

    Args:
        networks: each with a name of its own; all of them bring the images to the same pixels.
        images: labelled images.
        attack: what is done to them, at one strength.
        seed: of the attack's random numbers.
        batch_size: images at a time; changes the answer by rounding only.

    Returns:
        The table `transfer`: one row for each pair of source_model and target_model.

    Raises:
        AttackError: two networks with one name, or networks that see the images differently.
    """
    names = [network.name for network in networks]
    if len(set(names)) < len(names):
        raise AttackError(f"the networks are called {', '.join(names)}; expected a name of its own for each")
    rows = []
    for maker in networks:
        attacked = evaluate(maker, images, attack, seed=seed, batch_size=batch_size, keep_images=True).adversarial[0]
        own = judged(maker, maker, images, attacked, batch_size=batch_size)
        for judge in networks:
            said = own if judge is maker else judged(judge, maker, images, attacked, batch_size=batch_size)
            rows.append(
                {
                    "source_model": maker.name,
                    "target_model": judge.name,
                    "attack": attack.kind,
                    "parameters": attack.parameters,
                    "strength": attack.strength,
                    **counts(own, said),
                }
            )
    return conform("transfer", rows)


def judged(judge: Network, maker: Network, images: ImageSet, attacked: Tensor, *, batch_size: int = 128) -> Judged:
    """What `judge` says of clean images, and of those that were made of them on `maker`.

    Args:
        attacked: (n, channels, height, width) in [0, 1], past the preprocessing of `maker`.

    Raises:
        AttackError: the two networks bring the images to other pixels.
    """
    correct: list[Tensor] = []
    standing: list[Tensor] = []
    with undisturbed(judge), torch.inference_mode():
        for where in batches(len(images), batch_size):
            clean, labels = judge.pixels(images, where), images.labels[where]
            _require_same_pixels(judge, maker, clean, images, where)
            for pixels, found in ((clean, correct), (attacked[where], standing)):
                found.append(predicted(judge(pixels.to(judge.device))).cpu() == labels)
    return Judged(torch.cat(correct), torch.cat(standing))


def counts(maker: Judged, judge: Judged) -> dict[str, int]:
    """n_images, n_clean_correct (by both) and n_misclassified of these, as rows of the table `transfer` have them."""
    both = maker.correct & judge.correct
    return {
        "n_images": len(both),
        "n_clean_correct": int(both.sum()),
        "n_misclassified": int((both & ~judge.standing).sum()),
    }


def _require_same_pixels(judge: Network, maker: Network, clean: Tensor, images: ImageSet, where: slice) -> None:
    if judge.preprocessing == maker.preprocessing or torch.equal(maker.pixels(images, where), clean):
        return
    raise AttackError(
        f"{maker.name} and {judge.name} bring the images to other pixels ({maker.preprocessing} and "
        f"{judge.preprocessing}); expected the same, so that the one can be shown what was made on the other"
    )
