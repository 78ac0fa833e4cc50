"""What can be seen of a network without attacking it: its inputs, state, outputs and gradients."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manifoldscope.attacks.checks.bounds import gradient_at_bounds
from manifoldscope.attacks.checks.differences import FEW, MANY, falling, finite_differences
from manifoldscope.attacks.checks.independence import batch_independence
from manifoldscope.attacks.checks.labels import label_order
from manifoldscope.attacks.checks.row import Row, check
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.vision.gradient import NoGradientError, pixel_gradient
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.memory import Memory
from manifoldscope.vision.network import Network, first_pass, identical, predicted, undisturbed

DETERMINISM_TOLERANCE = 1e-4
"""Repeated passes may differ by this share of the largest logit."""

FAR = 0.1
"""Outputs in [0, 1] that come so near to both ends are no logits; those of random weights may lie anywhere within."""

NEAR = 0.01
"""The same of outputs in [-1, 1], where those of random weights may lie as well."""

AT_BOUNDS = 16
"""Images that are enough to see whether gradients are cut at 0 and 1: each has many pixels."""


def network_checks(
    network: Network, images: ImageSet, *, batch_size: int = 128, memory: Memory | None = None
) -> list[Row]:
    """What can be seen of a network without attacking it.

    Args:
        images: clean images, of which classes may stand one after another.
        batch_size: how many of them are used at most, evenly spread.
        memory: how much may be taken, so that they go through the network in parts; most of what is available if
            omitted.

    Raises:
        AttackError: no images.
        ModelError: logits that are NaN or infinite for every image, or not of shape (n, n_classes) with a class for
            each label.
    """
    if not len(images):
        raise AttackError("0 images; expected at least one")
    where = slice(0, len(images), -(-len(images) // batch_size))
    pixels = network.pixels(images, where).to(network.device)
    labels = images.labels[where].to(network.device)
    before = {name: value.clone() for name, value in _state(network)}
    at_once = _at_once(network, pixels, memory or Memory())
    parts = torch.split(pixels, at_once)
    with undisturbed(network):
        with torch.no_grad():
            logits = torch.cat([first_pass(network, part) for part in parts])
            again = torch.cat([network(part) for part in parts])
        finite = torch.isfinite(logits).all(1)
        if not bool(finite.any()):
            raise ModelError(
                f"{network.name} gives outputs of shape {tuple(logits.shape)} that hold NaN or infinity; expected "
                "finite logits of shape (n, n_classes)"
            )
        if int(images.labels.max()) >= logits.shape[1]:
            raise ModelError(
                f"{network.name} has {logits.shape[1]} outputs, but label {int(images.labels.max())} occurs; "
                "the network and the dataset do not fit"
            )
        first, second = logits[finite], again[finite]
        scale = max(float(first.abs().max()), torch.finfo(first.dtype).tiny)
        difference = float((first - second).abs().max()) / scale
        deterministic = difference <= DETERMINISM_TOLERANCE
        independence = batch_independence(network, pixels, logits, at_once, deterministic=deterministic)
        gradients = _gradients(network, parts, torch.split(labels, at_once), finite, first)
        few = slice(0, min(AT_BOUNDS, at_once))
        at_bounds = gradient_at_bounds(network, pixels[few], labels[few], deterministic=deterministic)
        places = _spread(finite, min(FEW, at_once))
        few_pixels, few_labels = pixels[places], labels[places]
        differences = finite_differences(network, few_pixels, few_labels, deterministic=deterministic)
        if differences["passed"]:  # attacks leave the images, towards other classes
            halfway = (few_pixels + few_pixels.roll(1, 0)) / 2
            between = finite_differences(network, halfway, few_labels, deterministic=deterministic)
            if between["passed"] is False:
                differences = between | {"note": f"halfway between two images: {between['note']}"}
        if differences["passed"]:
            places = _spread(finite, min(MANY, at_once))
            n_falling = int(falling(network, pixels[places], labels[places]).sum())
            if n_falling:
                note = (
                    f"the margin of {n_falling} of {len(places)} images falls where their own gradients say that it "
                    "rises: a layer gives some images another gradient than its own, and gradient attacks go elsewhere"
                )
                differences |= {"passed": False, "note": note}
        with torch.no_grad():
            last = torch.cat([network(part) for part in parts])[finite]
        difference = float(torch.stack([first - second, first - last]).abs().max()) / scale  # NaN where one is
        # `undisturbed` puts buffers back when it ends: look before.
        now = dict(_state(network))
        changed = [name for name, value in before.items() if name not in now or not identical(now[name], value)]
        training = _out_of_reach(network)
    low, high = float(pixels.min()), float(pixels.max())
    dim = 0 < high <= 1 / 255
    return [
        check(
            "input contract",
            low >= 0 and high <= 1 and not dim,
            high,
            "pixels in [0, 1], and one that is brighter than the first of 255 levels",
            f"seen: [{low:.3g}, {high:.3g}]" + "; were they divided by 255 twice?" * dim,
        ),
        _unchanged(changed, training),
        check(
            "finite outputs",
            bool(finite.all()),
            float((~finite).float().mean()),
            "no NaN or infinity among the logits",
            f"{int((~finite).sum())} of {len(finite)} images have no class; they count as misclassified"
            * (not bool(finite.all())),
        ),
        _logits(first),
        check(
            "determinism",
            difference <= DETERMINISM_TOLERANCE,
            difference,
            f"repeated passes differ by at most {DETERMINISM_TOLERANCE:g} of the largest logit",
        ),
        independence,
        gradients,
        at_bounds,
        differences,
        label_order(predicted(first), labels[finite]),
    ]


def _spread(chosen: Tensor, most: int) -> Tensor:
    """At most that many places of the truths of chosen (n,), evenly spread."""
    places = chosen.nonzero().flatten()
    return places[:: -(-len(places) // most)]


def _logits(outputs: Tensor) -> Row:
    """The row on finite outputs (n, n_classes) that a softmax, a sigmoid, a tanh or a choice has been through."""
    low, high, totals = float(outputs.min()), float(outputs.max()), outputs.sum(1)
    total = float(totals[0]) if len(totals) > 1 else 1.0  # as of percentages; a single image has but one sum
    differ = high - low > 1e-3 * total > 0  # from each other by more than their sums do by rounding
    sums = low >= 0 and differ and bool(torch.allclose(totals, torch.full_like(totals, total)))
    squashed = low >= 0 and high <= 1 and low < FAR and high > 1 - FAR
    bent = -1 <= low < NEAR - 1 and 1 - NEAR < high <= 1
    ranked = outputs.sort(1).values
    alone = outputs.shape[1] > 2 and bool(
        (ranked[:, 0] == ranked[:, -2]).all() and (ranked[:, -1] > ranked[:, 0]).any()
    )
    wrong = (
        (sums, f"outputs are at least 0 and sum to {total:.3g}, as behind a softmax: gradients vanish there"),
        (squashed, "outputs lie in [0, 1], as behind a sigmoid: gradients vanish there"),
        (bent, "outputs lie in [-1, 1] and reach both ends, as behind a tanh: gradients vanish there"),
        (alone, "all outputs of an image but the largest are equal: no gradient leads to another class"),
    )
    said = next((what for so, what in wrong if so), "")
    return check("logits", not said, None, "unnormalised logits", said and f"{said}; give the logits")


def _unchanged(changed: list[str], training: list[str]) -> Row:
    """The row on parameters and buffers that change, and on modules that stay in training mode."""
    advice = (
        f"{', '.join(training[:3])}: modules in a plain list, tuple or dict, which no eval() reaches, stay in training "
        "mode; keep them in a torch.nn.ModuleList or ModuleDict, or call eval() of each"
    )
    notes = (", ".join(changed[:3]), advice * bool(training))
    return check(
        "state",
        not (changed or training),
        float(len(changed) + len(training)),
        "no parameter or buffer changes, and every module is in evaluation mode",
        "; ".join(filter(None, notes)),
    )


def _out_of_reach(network: Network) -> list[str]:
    """Attributes that hold modules in training mode which torch knows nothing of."""
    known = set(network.module.modules())
    found = []
    for owner_name, owner in network.module.named_modules():
        for name, value in vars(owner).items():
            held = list(value.values()) if isinstance(value, dict) else value
            for each in held if isinstance(held, list | tuple) else ():
                if isinstance(each, nn.Module) and each not in known and any(one.training for one in each.modules()):
                    found.append(f"{owner_name}.{name}".removeprefix("."))
                    break
    return found


def _state(network: Network) -> Iterator[tuple[str, Tensor]]:
    """Its parameters and buffers by name, also those that no file of weights holds."""
    yield from network.module.named_parameters()
    yield from network.module.named_buffers()


def _at_once(network: Network, pixels: Tensor, memory: Memory) -> int:
    """How many images go through the network at a time; at least two are wanted, to show an image beside another."""
    for gradient in (True, False):
        try:
            return memory.batch(network, pixels[:1], max(2, len(pixels)), gradient=gradient)
        except Exception:  # whatever a stranger's module does with one image, or without a gradient: rows say it
            continue
    return max(2, len(pixels))


def _gradients(
    network: Network, parts: tuple[Tensor, ...], labels: tuple[Tensor, ...], finite: Tensor, logits: Tensor
) -> Row:
    """The row on the gradient of the cross-entropy, for the images whose logits are finite: (n, n_classes)."""
    name, expected = "vanishing gradient", "every image has an input gradient that is finite and not all zero"
    try:
        gradient = torch.cat([_gradient(network, *each) for each in zip(parts, labels, strict=True)])[finite]
    except NoGradientError as error:
        return check(name, False, 1.0, expected, str(error))
    largest = gradient.flatten(1).abs().amax(1)  # NaN where one is
    n_broken = int((~torch.isfinite(largest)).sum())
    n_bad = int((largest == 0).sum()) + n_broken
    certain = float((torch.softmax(logits.float(), dim=1).amax(1) == 1).float().mean())
    notes = (
        f"NaN or infinity in the gradient of {n_broken} of {len(largest)} images" * (n_broken > 0),
        f"confidence rounds to 1 in float32 for {certain:.1%} of the images" * (certain > 0),
    )
    return check(name, n_bad == 0, n_bad / len(largest), expected, "; ".join(filter(None, notes)))


def _gradient(network: Network, pixels: Tensor, labels: Tensor) -> Tensor:
    """Like the pixels."""
    leaf = pixels.detach().requires_grad_(True)
    return pixel_gradient(network.name, F.cross_entropy(network(leaf), labels, reduction="sum"), leaf)
