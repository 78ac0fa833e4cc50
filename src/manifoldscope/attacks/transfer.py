"""Transfer: whether images that were made to deceive one network deceive another, which the attack never saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor, nn

from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.perturbation import Perturbation, as_attack
from manifoldscope.errors import AttackError
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema, conform
from manifoldscope.vision.images import ImageSet, batches
from manifoldscope.vision.network import Network, as_network, predicted, undisturbed

TRANSFER = Schema(
    name="transfer",
    row="adversarial examples of a source model by an attack at a strength, on a target model (last iterates)",
    columns={
        "source_model": TEXT,
        "target_model": TEXT,
        "attack": TEXT,
        "parameters": TEXT,
        "strength": REAL,
        "n_images": INTEGER,
        "n_clean_correct": INTEGER,
        "n_misclassified": INTEGER,
    },
    identity=("source_model", "target_model", "attack", "parameters", "strength"),
    optional=True,
)


@dataclass(frozen=True, eq=False)
class Seen:
    """What one network says of images and of what an attack made of them.

    Attributes:
        correct: (n,) whether the clean image is classified as its label.
        standing: (n,) whether the attacked image is.
    """

    correct: Tensor
    standing: Tensor


def transfer(
    networks: Sequence[Network | nn.Module],
    images: ImageSet,
    attack: Perturbation,
    *,
    seed: int = 0,
    batch_size: int = 128,
) -> pl.DataFrame:
    """The last iterates of each source model, evaluated on every target model.

    Only images that both classify correctly when clean count, so that the diagonal is the attack itself:
    n_misclassified of the images that it attacks.

    Args:
        networks: each with a name of its own; all of them bring the images to the same pixels.
        images: labelled images.
        attack: what is done to them, at one strength.
        seed: of the attack's random numbers.
        batch_size: images at a time; changes the answer by rounding only.

    Returns:
        The table `transfer`: one row for each pair of source_model and target_model.

    Raises:
        AttackError: no list of networks, or no attack; two networks with one name, or that see the images differently.
    """
    attack = as_attack(attack)
    if isinstance(networks, Network | nn.Module) or not isinstance(networks, Iterable):
        raise AttackError(f"the networks are {type(networks).__name__}; expected a list of networks")
    compared = [as_network(network) for network in networks]
    names = [network.name for network in compared]
    if len(set(names)) < len(names):
        raise AttackError(f"the networks are called {', '.join(names)}; expected a name of its own for each")
    rows = []
    for source in compared:
        attacked = evaluate(source, images, attack, seed=seed, batch_size=batch_size, keep_images=True).adversarial[0]
        own = evaluated_on(source, source, images, attacked, batch_size=batch_size)
        for target in compared:
            said = own if target is source else evaluated_on(target, source, images, attacked, batch_size=batch_size)
            rows.append(
                {
                    "source_model": source.name,
                    "target_model": target.name,
                    "attack": attack.kind,
                    "parameters": attack.parameters,
                    "strength": attack.strength,
                    **counts(own, said),
                }
            )
    return conform(TRANSFER, rows)


def evaluated_on(
    target: Network, source: Network, images: ImageSet, attacked: Tensor, *, batch_size: int = 128
) -> Seen:
    """What `target` says of clean images, and of the adversarial examples that were made of them on `source`.

    Args:
        attacked: (n, channels, height, width) in [0, 1], past the preprocessing of `source`.

    Raises:
        AttackError: the two networks bring the images to other pixels.
    """
    correct: list[Tensor] = []
    standing: list[Tensor] = []
    with undisturbed(target), torch.inference_mode():
        for where in batches(len(images), batch_size):
            clean, labels = target.pixels(images, where), images.labels[where]
            _require_same_pixels(target, source, clean, images, where)
            for pixels, found in ((clean, correct), (attacked[where], standing)):
                found.append(predicted(target(pixels.to(target.device))).cpu() == labels)
    return Seen(torch.cat(correct), torch.cat(standing))


def counts(source: Seen, target: Seen) -> dict[str, int]:
    """n_images, n_clean_correct (by both) and n_misclassified of these, as rows of the table `transfer` have them."""
    both = source.correct & target.correct
    return {
        "n_images": len(both),
        "n_clean_correct": int(both.sum()),
        "n_misclassified": int((both & ~target.standing).sum()),
    }


def _require_same_pixels(target: Network, source: Network, clean: Tensor, images: ImageSet, where: slice) -> None:
    if target.preprocessing == source.preprocessing or torch.equal(source.pixels(images, where), clean):
        return
    raise AttackError(
        f"{source.name} and {target.name} bring the images to other pixels ({source.preprocessing} and "
        f"{target.preprocessing}); expected the same, so that adversarial examples of the one can be evaluated on the "
        "other"
    )
