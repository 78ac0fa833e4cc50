"""What one attack did: whether saved images stay in their budget, what a faster copy changed, what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from manifoldscope.attacks.checks.row import Row, check
from manifoldscope.attacks.engine import BUDGET_TOLERANCE
from manifoldscope.attacks.outcomes import Failures, FastPath
from manifoldscope.attacks.perturbation import Perturbation

FAST_PATH_DIFFERS = 0.02
"""Share of outcomes that may differ between a faster copy's gradients and the network's own."""


def feasibility(clean: Tensor, adversarial: Tensor, attack: Perturbation) -> dict[str, Any]:
    """Whether adversarial images that are stored stay within their budget, as JSON values; see `feasibility_check`.

    Args:
        clean: (n, channels, height, width), pixels in [0, 1].
        adversarial: the same shape, as it is stored: floating point in [0, 1], or uint8 in 0..255.

    Returns:
        How pixels are `stored` (the type), n_images, how many of them are not finite (`n_not_finite`), and by how much
        the others exceed the budget or [0, 1] (`excess`, in the budget's unit; 0 where none does).
    """
    stored = str(adversarial.dtype).removeprefix("torch.")
    if adversarial.dtype == torch.uint8:
        adversarial = adversarial.to(clean) / 255
    finite = torch.isfinite(adversarial).flatten(1).all(1)
    kept, origin = adversarial[finite], clean[finite]
    excess = 0.0
    if len(kept):
        outside = float(torch.maximum(-kept.amin(), kept.amax() - 1))
        excess = max(0.0, outside, float(attack.excess(origin, kept).max()))
    return {"stored": stored, "n_images": len(finite), "n_not_finite": int((~finite).sum()), "excess": excess}


def feasibility_check(attack: str, found: Sequence[Mapping[str, Any]]) -> Row:
    """The row on the adversarial images of one attack that are stored, from what `feasibility` found in parts."""
    n_images = sum(part["n_images"] for part in found)
    stored = " or ".join(sorted({part["stored"] for part in found}))
    broken = sum(part["n_not_finite"] for part in found)
    excess = max((part["excess"] for part in found), default=0.0)
    return check(
        f"feasibility ({attack})",
        broken == 0 and excess <= BUDGET_TOLERANCE,
        excess,
        f"images that are stored exceed their budget and [0, 1] by at most {BUDGET_TOLERANCE:g}, and none has NaN",
        f"{n_images} images of the classes with examples, stored as {stored}"
        + f"; {broken} hold NaN or infinity" * (broken > 0),
    )


def fast_path_check(attack: str, found: Sequence[FastPath]) -> Row:
    """The row on what a faster copy of the network made of the outcomes under one attack, from its parts."""
    whole = FastPath(
        "; or ".join(sorted({part.means for part in found})),
        sum(part.n_checked for part in found),
        sum(part.n_differ for part in found),
    )
    share = whole.n_differ / whole.n_checked if whole.n_checked else None
    return check(
        f"fast path ({attack})",
        None if share is None else share <= FAST_PATH_DIFFERS,
        share,
        f"the network's own gradients misclassify at most {FAST_PATH_DIFFERS:.0%} more of the images",
        f"a copy ({whole.means}); of {whole.n_checked} images attacked both ways the network's own gradients "
        f"misclassify {whole.n_differ} more, so that of all images they would at most {whole.at_most:.1%} (one-sided "
        "95% bound)",
    )


def failures_check(attack: str, found: Sequence[Failures]) -> Row:
    """The row on what went wrong under one attack and did not stop it, from its parts; at least one part."""
    no_class, no_gradient = (
        sum(getattr(part, f"n_without_{what}") for part in found) for what in ("class", "gradient")
    )
    sizes = [part.batch_size for part in found if part.batch_size is not None]
    return check(
        f"finite outputs ({attack})",
        no_class + no_gradient == 0,
        float(no_class + no_gradient),
        "no image for which the network gives NaN or infinity, as logits or as a gradient",
        f"{no_class} images without a class count as misclassified; {no_gradient} had steps without a gradient"
        + (f"; memory ran out, and batches went down to {min(sizes)} images" if sizes else ""),
    )
