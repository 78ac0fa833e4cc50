"""Is there a gradient at pixels of 0 and 1, where an attack leaves many of them?

A network that begins with `clamp(x, 0, 1)` has none there: torch gives a clamp the gradient 0 at its bounds. One that
begins with `clamp(x, 0.1, 0.9)`, or with a threshold, has none near them either. No gradient attack then moves a black
or a white pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldscope.attacks.checks.row import Row, check
from manifoldscope.vision.gradient import NoGradientError, pixel_gradient
from manifoldscope.vision.network import Network

INSIDE = (1e-3, 1 / 8)
"""How far inside gradients are looked for: a quarter of a level of 8 bits, beyond the rounding of a normalisation and
too little to change much else; and as far as most attacks go."""

CUT = 0.1
"""Share of the pixels at a bound that may lose their gradient there: ReLU has such places too."""


def gradient_at_bounds(network: Network, pixels: Tensor, labels: Tensor, *, deterministic: bool) -> Row:
    """The row on gradients that are zero at a bound and not inside of it, pixel by pixel.

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
        f"{' or '.join(f'{far:g}' for far in INSIDE)} inside"
    )
    if not deterministic:
        return check(name, None, None, expected, "repeated passes differ already")
    chequered = torch.arange(pixels[0].numel(), device=pixels.device).view_as(pixels[0]) % 2 == 0
    shown = torch.where(chequered, pixels.round(), pixels)
    try:
        at = _gradient(network, shown, labels)
        for far in INSIDE:
            inside = _gradient(network, shown.clamp(far, 1 - far), labels)
            shares = _cut_off(at, inside, shown)
            if max(shares.values(), default=0) > CUT:
                break
    except NoGradientError:
        return check(name, None, None, expected, "the network gives no gradient")
    if not shares:
        return check(name, None, None, expected, "no pixel has a gradient")
    worst = max(shares.values())
    each = " and ".join(f"{share:.1%} of the pixels at {bound}" for bound, share in shares.items())
    advice = (
        f", which have a gradient {far:g} inside, as behind a clamp: gradient attacks do not move these pixels. Take "
        "the clamp out of the network; pixels are in [0, 1] already"
    )
    return check(name, worst <= CUT, worst, expected, f"cut off at {each}" + advice * (worst > CUT))


def _cut_off(at: Tensor, inside: Tensor, shown: Tensor) -> dict[int, float]:
    """By bound, the share of its pixels that have no gradient `at` it, of those that have one `inside`; all the same
    shape."""
    has, shares = inside != 0, {}
    for bound in (0, 1):
        n = int((has & (shown == bound)).sum())
        if n:
            shares[bound] = int((has & (at == 0) & (shown == bound)).sum()) / n
    return shares


def _gradient(network: Network, pixels: Tensor, labels: Tensor) -> Tensor:
    leaf = pixels.detach().requires_grad_(True)
    return pixel_gradient(network.name, network(leaf).gather(1, labels.view(-1, 1)).sum(), leaf)
