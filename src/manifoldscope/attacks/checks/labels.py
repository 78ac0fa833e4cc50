"""Do labels and outputs number the classes alike? Clean accuracy stays above chance where only a few are exchanged.

It happens where a folder sorts the names of its classes otherwise than the training did.
"""

from __future__ import annotations

from torch import Tensor

from manifoldscope.attacks.checks.normalisation import CLEARLY
from manifoldscope.attacks.checks.row import Row, check, share_interval

FEWEST = 5
"""Images of a class from which on it is asked what most of them are taken for."""


MOST_TOLD = 10
"""Exchanged classes that the row names."""


def label_order(predictions: Tensor, labels: Tensor) -> Row:
    """The row on classes that are exchanged for one another.

    It fails where classes are taken for each other in a circle, as 3 for 5 and 5 for 3, or each for another one, as
    behind an output for the background, and clean accuracy would be clearly better with them exchanged: by more than 5
    points, and by more than its 95% interval, which is above a half.

    Args:
        predictions, labels: (n,) of images with finite logits, at least one.

    Example:
        >>> import torch
        >>> labels = torch.arange(60) % 5
        >>> row = label_order(torch.tensor([0, 1, 3, 4, 2])[labels], labels)
        >>> row["passed"], row["note"].partition(";")[0]
        (False, 'clean accuracy on 60 images: 40.0% as it is, 100.0% with 3 for 2, 4 for 3, 2 for 4')
    """
    n, right = len(labels), predictions == labels
    present = int(right.sum()) / n
    taken = {
        label: int(predictions[labels == label].mode().values)
        for label in sorted(set(labels.tolist()))
        if int((labels == label).sum()) >= FEWEST
    }
    shifted = len(set(taken.values())) == len(taken) > 1 and all(label != other for label, other in taken.items())
    exchanged = {
        label: other for label, other in taken.items() if other != label and (shifted or _returns(label, taken))
    }
    found = int(right.sum())
    for label, other in exchanged.items():
        found += int((predictions[labels == label] == other).sum()) - int(right[labels == label].sum())
    gain = found / n - present
    better = gain > CLEARLY and share_interval(found, n)[0] > max(present, 0.5)
    note = f"clean accuracy on {n} images: {present:.1%} as it is"
    if better:
        each = ", ".join([f"{other} for {label}" for label, other in exchanged.items()][:MOST_TOLD])
        each += f" and {len(exchanged) - MOST_TOLD} more" * (len(exchanged) > MOST_TOLD)
        note += f", {found / n:.1%} with {each}; look up the order of the classes in training"
    expected = f"no exchange of classes is better by more than {CLEARLY:.0%} of the images, beyond its 95% interval"
    return check("label order", not better, gain, expected, note)


def _returns(label: int, taken: dict[int, int]) -> bool:
    """Whether going from a class to what it is taken for leads back to it."""
    at: int | None = label
    for _ in taken:
        at = taken.get(at) if at is not None else None
        if at == label:
            return True
    return False
