"""Do the logits of an image depend on the images beside it?

They do where batch norm takes the statistics of the batch in evaluation mode, where attention runs over the images of a
batch, or by an error such as the first image's statistics for all. Accuracy then changes with the order of the images
and the batch size, and an attack changes other images than the one that it perturbs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from manifoldscope.attacks.checks.row import Row, check
from manifoldscope.vision.batching import out_of_memory
from manifoldscope.vision.network import Network, predicted

TOLERANCE = 1e-3
"""Share of the largest logit by which rounding may change logits with the size of the batch, as in `vision.fast`."""

ROUNDINGS = 20
"""The same in units of rounding, for networks in half precision, or whose logits are rounded to it."""

ALONE = 8
"""Images that are shown one by one."""


def batch_independence(network: Network, pixels: Tensor, logits: Tensor, at_once: int, *, deterministic: bool) -> Row:
    """The row on images that are shown alone, in another order, and among other images.

    Args:
        network: as `undisturbed` gives it.
        pixels: (n, channels, height, width) in [0, 1].
        logits: (n, n_classes) what the network says of them in batches of `at_once`.
        deterministic: whether it says the same when it is asked again.
    """
    name = "batch independence"
    tolerance = max(TOLERANCE, ROUNDINGS * precision(network, pixels, logits))
    expected = f"logits of an image differ by at most {tolerance:g} of the largest one, whatever images are beside it"
    if not deterministic:
        return check(name, None, None, expected, "repeated passes differ already")
    if at_once < 2:
        return check(name, None, None, expected, "memory allows one image at a time")
    n = len(pixels)
    everyone = torch.arange(n, device=pixels.device)
    few = everyone[:: max(1, n // ALONE)][:ALONE]
    half = everyone[: max(1, at_once // 2)]

    def alone() -> Tensor:
        return torch.cat([network(pixels[[place]]) for place in few.tolist()])

    def in_another_order() -> Tensor:
        return torch.cat([network(part) for part in torch.split(pixels.flip(0), at_once)])

    def among_others() -> Tensor:
        return network(torch.cat([1 - pixels[half], pixels[half]]))[len(half) :]

    shown: list[tuple[str, Tensor, Callable[[], Tensor]]] = [
        ("alone", few, alone),
        ("in another order", everyone.flip(0), in_another_order),
        ("among other images", half, among_others),
    ]
    differences, notes, n_other = [], [], 0
    for how, places, show in shown:
        try:
            with torch.no_grad():
                found = show()
        except Exception as error:  # whatever a stranger's module does with another number of images
            if out_of_memory(error):
                raise
            said = " ".join(str(error).split())[:200]
            return check(name, False, None, expected, f"shown {how}, images are refused: {said}")
        before = logits[places]
        n_other = max(n_other, int((predicted(found) != predicted(before)).sum()))
        differences.append(gap(found, before, logits))
        notes.append(f"{how} {differences[-1]:.2g}")
    worst = max(differences)
    passed = worst <= tolerance
    advice = (
        f"; up to {n_other} of {n} images are classified otherwise. Give batch norm its running statistics "
        "(track_running_stats=True), and let no layer mix the images of a batch"
    )
    return check(
        name,
        passed,
        worst if worst < torch.inf else None,
        expected,
        f"largest difference: {', '.join(notes)}" + advice * (not passed),
    )


def precision(network: Network, pixels: Tensor, logits: Tensor) -> float:
    """The relative rounding of the coarsest type that the logits (n, n_classes) of pixels went through."""
    types = [network.normalise(pixels[:1]).dtype]
    types += [half for half in (torch.float16, torch.bfloat16) if torch.equal(logits.to(half).to(logits), logits)]
    return max(torch.finfo(each).eps for each in types)


def gap(one: Tensor, other: Tensor, logits: Tensor) -> float:
    """Largest difference of two sets of logits (m, n_classes), as a share of the largest of all `logits`."""
    finite = torch.where(torch.isfinite(logits), logits, 0)
    scale = max(float(finite.abs().max()), torch.finfo(logits.dtype).tiny)
    differences = (one - other).abs()
    differences[~torch.isfinite(one) & ~torch.isfinite(other)] = 0
    return float(differences.nan_to_num(torch.inf).max()) / scale
