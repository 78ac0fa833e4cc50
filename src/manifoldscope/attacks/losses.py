"""What an attack increases: cross-entropy, the margin of Carlini and Wagner, and the difference of logits ratio.

Each takes logits (n, n_classes), labels (n,) and, for a targeted attack, goals (n,), and gives one value an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.errors import AttackError

LossName = Literal["ce", "cw", "dlr"]
AttackLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, goals: Tensor | None = None) -> Tensor:
    """Cross-entropy of the label; minus that of the goal."""
    if goals is None:
        return F.cross_entropy(logits, labels, reduction="none")
    return -F.cross_entropy(logits, goals, reduction="none")


def margin(logits: Tensor, labels: Tensor, goals: Tensor | None = None) -> Tensor:
    """The best other logit minus that of the label; that of the goal minus the best other (Carlini & Wagner 2017).

    Its gradient does not vanish where confidence rounds to 1. Above 0 the image is misclassified.
    """
    if goals is None:
        return _best_but(logits, labels) - _of(logits, labels)
    return _of(logits, goals) - _best_but(logits, goals)


def logits_ratio(logits: Tensor, labels: Tensor, goals: Tensor | None = None) -> Tensor:
    """The margin over the spread of the largest logits, which no scaling or shift of them changes (Croce & Hein 2020).

    Raises:
        AttackError: fewer than 3 classes; fewer than 4 for a targeted attack.
    """
    needed = 3 if goals is None else 4
    if logits.shape[1] < needed:
        raise AttackError(
            f"loss = 'dlr' needs at least {needed} classes{' to be targeted' * (goals is not None)}, and the network "
            f"has {logits.shape[1]}; expected loss = 'cw'"
        )
    largest = logits.topk(needed, dim=1).values
    if goals is None:
        spread = largest[:, 0] - largest[:, 2]
        return margin(logits, labels) / spread.clamp_min(1e-12)
    spread = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    return (_of(logits, goals) - _of(logits, labels)) / spread.clamp_min(1e-12)


LOSSES: Mapping[LossName, AttackLoss] = {"ce": cross_entropy, "cw": margin, "dlr": logits_ratio}


def _of(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels[:, None]).squeeze(1)


def _best_but(logits: Tensor, labels: Tensor) -> Tensor:
    best: Tensor = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return best
