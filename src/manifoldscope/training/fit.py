"""One training loop for every objective."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.fgsm import FGSM
from manifoldscope.attacks.pgd import PGD
from manifoldscope.errors import ModelError
from manifoldscope.seeds import derive, generator
from manifoldscope.training.objectives import Objective
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, Preprocessing

EVALUATED = 200
"""Training images on which adversarial training is evaluated as it goes, at most."""
EVALUATION_STEPS = 10
"""Steps of the PGD that evaluates it."""
EVALUATION_SHARE = 0.05
"""What this evaluation may cost, as a share of the training itself: with few images, fewer epochs are evaluated."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the images showed.

    Attributes:
        loss: mean training loss.
        learning_rate: at the end of the epoch.
        epsilon: radius of the L-infinity ball in which the network was then attacked; None where it was not.
        n_images: on how many of the training images.
        n_robust_fgsm, n_robust_pgd: how many of these are classified correctly when clean and under one step, or
            at every iterate of ten.
    """

    epoch: int
    loss: float
    learning_rate: float
    epsilon: float | None = None
    n_images: int = 0
    n_robust_fgsm: int | None = None
    n_robust_pgd: int | None = None


def fit(
    network: Network,
    images: ImageSet,
    objective: Objective,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda share: None,
) -> list[Epoch]:
    """Train a network in place with Adam and a one-cycle learning rate; its module is left in evaluation mode.

    The preprocessed images are held in memory: n x channels x height x width x 4 bytes.

    What trains on attacked images is evaluated as it goes, by FGSM and PGD at its full radius on the same 200 of them,
    after every epoch; or, where images are few, after every second, third, ..., so that it costs at most about 5% of
    the training, and after the last. It changes nothing that is trained.

    Args:
        network: the network; its parameters are changed.
        images: what to train on.
        objective: what to train for; one that does not train changes nothing.
        epochs: passes over the images, at least 1.
        batch_size: images per step; the last incomplete batch of an epoch is dropped.
        learning_rate: peak of the cycle.
        seed: order of the images, and the objective's random numbers.
        on_progress: told the share of the work that is done.

    Returns:
        One record an epoch.

    Raises:
        ModelError: the loss became NaN or infinite.
    """
    if not objective.trains:
        network.module.eval()
        return []
    device = network.device
    pixels = network.pixels(images)
    labels = images.labels
    size = min(batch_size, len(pixels))
    batches_per_epoch = len(pixels) // size
    steps = epochs * batches_per_epoch
    evaluate_epoch = _evaluation(network, pixels, labels, objective.radius, seed=seed, batch_size=batch_size)
    between = evaluated_every(batches_per_epoch * size, objective.passes, min(EVALUATED, len(pixels)))
    order, noise = generator(seed, "order"), generator(seed, "objective")
    optimiser = torch.optim.Adam(network.module.parameters(), lr=learning_rate)
    history = []
    network.module.train()
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, "dropout"))  # dropout draws from the global generator
        done = 0
        for epoch in range(epochs):
            shuffled = torch.randperm(len(pixels), generator=order)[: batches_per_epoch * size]
            total, rate = torch.zeros((), device=device), 0.0
            for batch in torch.split(shuffled, size):
                rate = one_cycle(done / steps) * learning_rate
                for group in optimiser.param_groups:
                    group["lr"] = rate
                loss = objective.loss(network, pixels[batch].to(device), labels[batch].to(device), done / steps, noise)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimiser.step()
                total += loss.detach()
                done += 1
                on_progress(done / steps)
            mean = float(total) / batches_per_epoch
            if not math.isfinite(mean):
                raise ModelError(
                    f"training of {network.name} diverged in epoch {epoch + 1} (loss {mean}); lower the learning rate"
                )
            record = Epoch(epoch + 1, mean, rate)
            due = (epoch + 1) % between == 0 or epoch + 1 == epochs
            history.append(evaluate_epoch(record) if due and evaluate_epoch is not None else record)
    for parameter in network.module.parameters():
        parameter.grad = None
    network.module.eval()
    return history


def evaluated_every(n_images: int, passes: float, n_evaluated: int) -> int:
    """After how many epochs adversarial training is evaluated again, by what both cost in gradient passes.

    Args:
        n_images: trained on in an epoch, each at a cost of `passes`.
        n_evaluated: on how many it is evaluated, by one step and by ten.

    Example:
        >>> evaluated_every(60_000, 8.5, 200), evaluated_every(1_000, 8.5, 200)
        (1, 6)
    """
    return max(1, math.ceil(n_evaluated * (EVALUATION_STEPS + 1) / (EVALUATION_SHARE * n_images * passes)))


def _evaluation(
    network: Network, pixels: Tensor, labels: Tensor, radius: float | None, *, seed: int, batch_size: int
) -> Callable[[Epoch], Epoch] | None:
    """What adds to an epoch how robust the network then is; None where the objective attacks nothing."""
    if not radius:
        return None
    chosen = torch.randperm(len(pixels), generator=generator(seed, "judged"))[:EVALUATED].sort().values
    sample = ImageSet.of(pixels[chosen], labels[chosen])
    prepared = replace(network, preprocessing=Preprocessing(channels=pixels.shape[1]))

    def evaluate_epoch(epoch: Epoch) -> Epoch:
        one, many = (
            evaluate(prepared, sample, attack, seed=seed, batch_size=batch_size, iterate="any", fast=False).table
            for attack in (FGSM(epsilon=radius), PGD(epsilon=radius, steps=EVALUATION_STEPS))
        )
        return replace(
            epoch,
            epsilon=radius,
            n_images=len(sample),
            n_robust_fgsm=int(one["robust_last"].sum()),
            n_robust_pgd=int(many["robust_any"].sum()),
        )

    return evaluate_epoch


def one_cycle(progress: float, *, warm_up: float = 0.2) -> float:
    """Share of the peak learning rate at `progress` in [0, 1]: up in a straight line, down along a cosine."""
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def state(network: Network) -> dict[str, Tensor]:
    """Parameters and buffers, on the CPU, contiguous: what a checkpoint holds."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in network.module.state_dict().items()}
