"""One training loop for every objective."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.errors import ModelError
from manifoldscope.seeds import derive, generator
from manifoldscope.training.objectives import Objective
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network


@dataclass(frozen=True)
class Epoch:
    """What one pass over the images showed: the mean training loss, and the learning rate at its end."""

    epoch: int
    loss: float
    learning_rate: float


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

    Args:
        network: the network; its parameters are changed.
        images: what to train on.
        objective: what to train for; one whose `passes` is 0 changes nothing.
        epochs: passes over the images, at least 1.
        batch_size: images a step; the last incomplete batch of an epoch is left out.
        learning_rate: peak of the cycle.
        seed: order of the images, and the objective's random numbers.
        on_progress: told the share of the work that is done.

    Returns:
        One record an epoch.

    Raises:
        ModelError: the loss became NaN or infinite.
    """
    if objective.passes == 0:
        network.module.eval()
        return []
    device = network.device
    pixels = network.pixels(images)
    labels = images.labels
    size = min(batch_size, len(pixels))
    batches_per_epoch = len(pixels) // size
    steps = epochs * batches_per_epoch
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
            history.append(Epoch(epoch + 1, mean, rate))
    for parameter in network.module.parameters():
        parameter.grad = None
    network.module.eval()
    return history


def one_cycle(progress: float, *, warm_up: float = 0.2) -> float:
    """Share of the peak learning rate at `progress` in [0, 1]: up in a straight line, down along a cosine."""
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def state(network: Network) -> dict[str, Tensor]:
    """Parameters and buffers, on the CPU, contiguous: what a checkpoint holds."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in network.module.state_dict().items()}
