"""Does the network take red, green and blue in this order? Clean accuracy falls by a few points where it does not.

Files of weights do not say, and some libraries read images as blue, green and red.
"""

from __future__ import annotations

import torch

from manifoldscope.attacks.checks.normalisation import CLEARLY, correct_among, evenly_spread
from manifoldscope.attacks.checks.row import Row, check, share_interval
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, undisturbed


def channel_order_checks(network: Network, images: ImageSet, *, batch_size: int = 128) -> list[Row]:
    """One row, of images in colour; none of grey ones.

    It fails only where the reverse order is clearly better: by more than 5 points, and by more than the 95% interval of
    its accuracy.

    Args:
        network: found again as it was; mean and std stay with the place of a channel, and not with its colour.
        images: labelled images; at most 128 of them, evenly spread, are used.
        batch_size: images at a time.

    Raises:
        AttackError: no images.
    """
    pixels, labels = evenly_spread(network, images)
    if pixels.shape[1] != 3 or torch.equal(pixels, pixels.flip(1)):
        return []
    with undisturbed(network):
        present, reverse = (correct_among(network, each, labels, batch_size) for each in (pixels, pixels.flip(1)))
    n = len(labels)
    gain = (reverse - present) / n
    better = gain > CLEARLY and share_interval(reverse, n)[0] > present / n
    note = f"clean accuracy on {n} images: {present / n:.1%} as it is, {reverse / n:.1%} with blue first"
    passed: bool | None = True
    if better:
        passed = False
        note += "; was it trained on images that were read as blue, green and red?"
    elif gain >= -CLEARLY:
        passed = None
        note += "; clean accuracy does not tell the two orders apart: look up what the network was trained with"
    expected = f"blue first is not better by more than {CLEARLY:.0%} of the images, beyond its 95% interval"
    return [check("channel order", passed, gain, expected, note)]
