"""Optimisers, and the learning rate over a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import nn

from manifoldscope.errors import StudyError
from manifoldscope.settings import check_setting

OptimiserName = Literal["adam", "sgd"]

MOMENTUM = 0.9

STATE_OF: Mapping[type[torch.optim.Optimizer], frozenset[str]] = {
    torch.optim.Adam: frozenset({"step", "exp_avg", "exp_avg_sq"}),
    torch.optim.SGD: frozenset({"momentum_buffer"}),
}
"""What they remember of a parameter that had a gradient, by the names that torch gives it."""


def optimiser_of(
    name: str, parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """The optimiser of a training.

    Args:
        name: "adam" (Kingma & Ba 2015), or "sgd", with Nesterov momentum of 0.9 (Sutskever et al. 2013).
        parameters: what is trained.
        learning_rate: until it is set anew.
        weight_decay: factor of the L2 penalty on all parameters, whose gradient is added to that of the loss.

    Raises:
        StudyError: no such optimiser, or a rate or a factor that is no number, negative or not finite.
    """
    check_setting(StudyError, "optimiser", name, OptimiserName)
    check_rates(learning_rate, weight_decay)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay)
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=MOMENTUM, nesterov=True, weight_decay=weight_decay)


def check_rates(learning_rate: float, weight_decay: float) -> None:
    """Raise StudyError unless a training can have these."""
    for what, number in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        check_setting(StudyError, what, number, float)
        if not 0 <= number < torch.finfo(torch.float32).max:
            raise StudyError(f"{what} = {number}; expected a number of at least 0 that float32 holds")


def one_cycle(progress: float, *, warm_up: float = 0.2) -> float:
    """Share of the peak learning rate at `progress` in [0, 1]: up in a straight line, down along a cosine."""
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))
