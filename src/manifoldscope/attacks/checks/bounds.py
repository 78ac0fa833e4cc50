"""Is there a gradient at pixels of 0 and 1, where an attack leaves many of them?

A network that begins with `clamp(x, 0, 1)` has none there: torch gives a clamp the gradient 0 at its bounds. No
gradient attack then moves a black or a white pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldscope.attacks.checks.row import Row, check
from manifoldscope.vision.network import Network, NoGradientError, pixel_gradient

HAIR = 1e-3
"""A quarter of a level of 8 bits: beyond the rounding of a normalisation, and too little to change much else."""

CUT = 0.1
"""Share of the pixels at a bound that may lose their gradient there: ReLU has such places too."""


def gradient_at_bounds(network: Network, pixels: Tensor, labels: Tensor, *, deterministic: bool) -> Row:
    """The row on gradients that are zero at a bound and not a hair inside, pixel by pixel.

    Every other pixel is brought to its nearer bound first, as attacks do: few images have black and white pixels of
    their own. The gradient is that of the label's logit, which does not vanish as a softmax saturates.

    Args:
        network: as `undisturbed` gives it.
        pixels: (n, channels, height, width) in [0, 1].
        labels: (n,)
        deterministic: whether it says the same when it is asked again.
    """
    name = "gradient at 0 and 1"
    expected = (
        f"at most {CUT:.0%} of the pixels at 0, or at 1, have a gradient of exactly zero there, and another one "
        f"{HAIR:g} inside"
    )
    if not deterministic:
        return check(name, None, None, expected, "repeated passes differ already")
    chequered = torch.arange(pixels[0].numel(), device=pixels.device).view_as(pixels[0]) % 2 == 0
    shown = torch.where(chequered, pixels.round(), pixels)
    try:
        at, inside = (_gradient(network, each, labels) for each in (shown, shown.clamp(HAIR, 1 - HAIR)))
    except NoGradientError:
        return check(name, None, None, expected, "the network gives no gradient")
    cut, has = (at == 0) & (inside != 0), inside != 0
    shares = {}
    for bound in (0, 1):
        n = int((has & (shown == bound)).sum())
        if n:
            shares[bound] = int((cut & (shown == bound)).sum()) / n
    if not shares:
        return check(name, None, None, expected, "no pixel has a gradient")
    worst = max(shares.values())
    each = " and ".join(f"{share:.1%} of the pixels at {bound}" for bound, share in shares.items())
    advice = (
        ", as behind a clamp to [0, 1]: gradient attacks do not move these pixels. Take the clamp out of the network; "
        "pixels are in [0, 1] already"
    )
    return check(name, worst <= CUT, worst, expected, f"cut off at {each}" + advice * (worst > CUT))


def _gradient(network: Network, pixels: Tensor, labels: Tensor) -> Tensor:
    leaf = pixels.detach().requires_grad_(True)
    return pixel_gradient(network, network(leaf).gather(1, labels.view(-1, 1)).sum(), leaf)
