"""Does the gradient say how the logits change?

It does not where a part of the network is detached, where a layer gives another gradient than its own, where a sign is
wrong, or where the network says something else when a gradient is asked for. Images may keep some gradient then, and an
attack walks on in a wrong direction.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.checks.independence import ROUNDINGS, TOLERANCE, gap, precision
from manifoldscope.attacks.checks.row import Row, check
from manifoldscope.seeds import generator
from manifoldscope.vision.gradient import NoGradientError, pixel_gradient
from manifoldscope.vision.network import Network

SIZES = (1e-5, 1e-4, 1e-2, 1 / 16)
"""By how much pixels are moved: rounding hides small differences, and curvature spoils large ones."""

DIRECTIONS = 4
"""Of each image, random: every pixel up or down. Each costs four forward passes, or ten where rounding hides them."""

FEW = 8
"""Images that are enough: with their directions, 32 slopes."""

MANY = 32
"""Images of which it is asked whether the margin rises along their own gradients: each costs one, and three passes."""

STEP = 1e-3
"""By how much their pixels are moved; networks curve so little within it that the margin rises by half of what the
gradient says or more."""

AGREE = 0.9
"""A cosine of slopes. It is 0.995 and more for deep networks, and 0.82 where one channel of three has no gradient."""

BEYOND = 8
"""How many times what rounding makes of them the slopes have to be: rounded ones agree with each other by chance."""

HIDDEN = 0.05
"""How much pixels whose gradient is exactly zero may change logits, as a share of what all pixels do."""


def finite_differences(network: Network, pixels: Tensor, labels: Tensor, *, deterministic: bool) -> Row:
    """The row on gradients that do not say how the margin of the label changes along random directions.

    The margin is the label's logit minus that of the likeliest other class, as attacks see both.

    The slopes up and down a direction have to agree with each other before the gradient is held against them, which
    they do not where rounding or steps hide them. The smallest size of moves at which they do decides. Pixels whose
    gradient is exactly zero are also moved alone: a few of them hardly change the cosine.

    Args:
        network: as `undisturbed` gives it.
        pixels: (n, channels, height, width) in [0, 1].
        labels: (n,)
        deterministic: whether it says the same when it is asked again.
    """
    name = "finite differences"
    expected = (
        f"slopes along random directions have a cosine of at least {AGREE:g} with those that the gradient says, and "
        f"pixels without a gradient change logits by at most {HIDDEN:.0%} of what all change"
    )
    if not deterministic:
        return check(name, None, None, expected, "repeated passes differ already")
    with torch.no_grad():
        plain = network(pixels)
    eps = precision(network, pixels, plain)
    try:
        changed = gap(network(pixels.clone().requires_grad_(True)).detach(), plain, plain)
    except NoGradientError:
        return check(name, None, None, expected, "the network gives no gradient")
    if changed > max(TOLERANCE, ROUNDINGS * eps):
        note = (
            f"logits differ by {changed:.2g} of the largest one where a gradient is asked for: an attack climbs "
            "another function than the one that is judged. Let forward not ask whether gradients are on"
        )
        return check(name, False, None, expected, note)
    signs = _signs(plain, labels)
    rounded = 2 * eps * (plain * signs).norm() * DIRECTIONS**0.5
    ways = torch.randint(0, 2, (DIRECTIONS, *pixels.shape), generator=generator(0, "directions")).to(pixels) * 2 - 1
    for size in SIZES:
        centre = pixels.clamp(size, 1 - size).requires_grad_(True)
        middle = _margin(network, centre, signs)
        try:
            gradient = pixel_gradient(network.name, middle.sum(), centre)
        except NoGradientError:
            return check(name, None, None, expected, "the network gives no gradient")
        before, after = _slopes(network, centre, middle, signs, size * ways)
        if not ((before + after).norm() >= BEYOND * rounded and _cosine(before, after) >= AGREE):
            continue
        found = _cosine(before + after, (gradient * ways).flatten(2).sum(2))
        below, above = _slopes(network, centre, middle, signs, size * ways * (gradient == 0))
        share = float((below + above).norm() / (before + after).norm())
        cut = share > HIDDEN and _cosine(below, above) >= AGREE
        advice = (
            ": gradient attacks go elsewhere. A part of the network is detached, or a layer gives another gradient "
            "than its own, as a straight-through estimator does on purpose"
        )
        agrees = found >= AGREE and not cut
        note = f"seen with pixels moved by {size:g}"
        note += f"; those without a gradient change logits by {share:.0%} of what all change" * cut
        note += advice * (not agrees)
        return check(name, agrees, found if math.isfinite(found) else None, expected, note)
    return check(name, None, None, expected, "rounding or steps hide the slopes")


def falling(network: Network, pixels: Tensor, labels: Tensor) -> Tensor:
    """(n,) whether the margin of each image clearly falls where its own gradient says that it rises.

    In a cosine over all images a wrong sign in a few of them would be lost. Of a gradient that is zero, and of margins
    that change by no more than rounding, nothing is said.

    Args:
        network, pixels, labels: as for `finite_differences`.
    """
    centre = pixels.clamp(STEP, 1 - STEP).requires_grad_(True)
    logits = network(centre)
    plain = logits.detach()
    signs = _signs(plain, labels)
    middle = (logits * signs).sum(1)
    gradient = pixel_gradient(network.name, middle.sum(), centre)
    moves = STEP * gradient.sign()
    before, after = _slopes(network, centre.detach(), middle.detach(), signs, moves[None])
    rounded = BEYOND * 2 * precision(network, pixels, plain) * (plain * signs).norm(dim=1)
    told = 2 * (gradient * moves).flatten(1).sum(1)
    found: Tensor = (before + after)[0] < -torch.maximum(rounded, told / 10)
    return found


def _signs(logits: Tensor, labels: Tensor) -> Tensor:
    """Like the logits (n, n_classes): 1 of the label, -1 of the likeliest other class, 0 elsewhere."""
    label = F.one_hot(labels, logits.shape[1]).bool()
    rival = F.one_hot(logits.masked_fill(label, -torch.inf).argmax(1), logits.shape[1])
    return (label.long() - rival).to(logits)


def _slopes(network: Network, centre: Tensor, middle: Tensor, signs: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """(directions, n) how much the margin, `middle` (n,) at the centre, rises up to there, and from there on."""
    with torch.no_grad():
        up, down = (  # clamped, since rounding may carry a pixel past 1
            torch.stack([_margin(network, (centre + move).clamp(0, 1), signs) for move in each])
            for each in (moves, -moves)
        )
        return middle - down, up - middle


def _margin(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """(n,) the logits (n, n_classes) added up by their signs."""
    return (network(pixels) * signs).sum(1)


def _cosine(one: Tensor, other: Tensor) -> float:
    """Of two vectors of any shape; 0 where one is 0, NaN where one holds NaN or infinity."""
    one, other = (each.flatten() / each.abs().max().clamp_min(torch.finfo(each.dtype).tiny) for each in (one, other))
    return float(F.cosine_similarity(one, other, dim=0))
