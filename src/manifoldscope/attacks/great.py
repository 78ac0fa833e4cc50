"""GREAT score: how robust a network is on the samples of a generative model, from its confidence alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifoldscope.errors import AttackError

ROUNDING = 1e-4
"""How far rounding, in half precision too, may carry a confidence past 0 or 1."""


def great_score(confidences: Tensor, labels: Tensor) -> float:
    """sqrt(pi / 2) times the mean of how much more confident a network is in the label than in any other class.

    A sample that is misclassified counts with 0. The score is an L2 distance in pixel units, for pixels in [0, 1]: a
    lower bound of the mean minimal perturbation of generated samples, up to the error of a finite mean. It holds for
    the distribution of a generative model, sampled from Gaussian noise. Nothing here generates samples: they, and what
    the network says of them, are the caller's. On images of a data set the same formula has no such meaning.

    Args:
        confidences: (n, n_classes), as softmax gives them; where they were calibrated, that is part of the score.
        labels: (n,) the classes as which the samples were generated.

    Raises:
        AttackError: no samples, other shapes, a label without a column, or confidences outside [0, 1].

    References:
        Li, Chen and Yu, "GREAT score: global robustness evaluation of adversarial perturbation using generative
        models" (2023).

    Example:
        >>> round(great_score(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 0])), 4)  # (0.8 + 0) / 2
        0.5013
    """
    if not (isinstance(confidences, Tensor) and isinstance(labels, Tensor)):
        raise AttackError(
            f"confidences are {type(confidences).__name__} and labels {type(labels).__name__}; expected tensors"
        )
    if (
        confidences.ndim != 2
        or not len(confidences)
        or confidences.shape[1] < 2
        or labels.shape != confidences.shape[:1]
    ):
        raise AttackError(
            f"confidences of shape {tuple(confidences.shape)}, labels of shape {tuple(labels.shape)}; expected "
            "(n, n_classes) of at least one sample and two classes, and n labels"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= confidences.shape[1]:
        raise AttackError(
            f"labels reach from {int(labels.min())} to {int(labels.max())}; expected columns of the "
            f"{confidences.shape[1]} classes"
        )
    if not (float(confidences.min()) >= -ROUNDING and float(confidences.max()) <= 1 + ROUNDING):  # also true of NaN
        raise AttackError("confidences reach beyond [0, 1] or hold NaN; expected those of softmax, and not logits")
    wide, column = confidences.detach().cpu().double(), labels.cpu().long()[:, None]
    ahead = wide.gather(1, column).squeeze(1) - wide.scatter(1, column, -torch.inf).amax(1)
    return math.sqrt(math.pi / 2) * float(ahead.clamp_min(0).mean())
