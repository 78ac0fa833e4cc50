"""Adversarial examples, saved in a file that anyone can open: as they are, or as 8-bit images.

An attack works on real numbers, and image files hold 256 levels. Rounding may undo an attack, so that what is written
is re-evaluated, and what the rounding changed is counted beside it.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from manifoldscope.attacks.engine import BUDGET_TOLERANCE
from manifoldscope.attacks.outcomes import Outcomes
from manifoldscope.attacks.perturbation import Perturbation, as_attack
from manifoldscope.errors import AttackError, DataError
from manifoldscope.files import read_bytes
from manifoldscope.tables import conform
from manifoldscope.vision.checkpoints import safetensors_content
from manifoldscope.vision.images import ImageSet, batches
from manifoldscope.vision.network import Network, as_network, logits, predicted

Form = Literal["float", "uint8"]


@dataclass(frozen=True, eq=False)
class SavedImages:
    """Adversarial examples and the predictions for them when they were saved.

    Attributes:
        tensors: `images` (n, channels, height, width), float32 in [0, 1] or uint8; `labels`, `clean_predictions` and
            `predictions`, (n,) int64: the last for what is saved, by the network that was attacked.
        metadata: names (a JSON list), attack (its kind), parameters, strength, model, as_ ("float" or "uint8") and
            n_changed: how many outcomes are others than those of the attack.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def n_changed(self) -> int:
        """How many outcomes are others than those of the attack."""
        return int(self.metadata["n_changed"])

    @property
    def pixels(self) -> Tensor:
        """(n, channels, height, width) float32 in [0, 1]."""
        return _pixels(self.tensors["images"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it to a safetensors file, for `re_evaluate`. Raises DataError where it cannot be written."""
        try:
            save_file(self.tensors, Path(path), metadata=self.metadata)
        except (OSError, SafetensorError) as error:
            raise DataError(f"the images cannot be written to {os.fspath(path)!r}: {error}") from error


def rounded(images: Tensor, clean: Tensor) -> Tensor:
    """The images on the 256 levels of image files, uint8: each pixel is rounded towards the clean one.

    Where clean pixels lie on the levels, no pixel moves away from its clean one, so that no ball is left. Elsewhere a
    pixel may pass its clean one, and ends less than a level from it.

    Args:
        images, clean: (n, channels, height, width), floating point in [0, 1].
    """
    levels = 255 * images.double()
    slack = 255 * BUDGET_TOLERANCE  # a level that was missed by rounding in float32 counts as reached
    inwards = torch.where(images >= clean, (levels + slack).floor(), (levels - slack).ceil())
    return inwards.clamp(0, 255).to(torch.uint8)


def gathered(
    network: Network | nn.Module,
    images: ImageSet,
    attack: Perturbation,
    outcomes: Outcomes,
    *,
    as_: Form = "float",
    batch_size: int = 128,
) -> SavedImages:
    """The images that one attack ended with, re-evaluated in the form in which they are saved.

    Args:
        network: the one that was attacked.
        images: those that were attacked, in the same order.
        attack: what was done to them, at one strength.
        outcomes: what `evaluate` returned for this one attack, with keep_images=True.
        as_: "float" keeps the images as they are; "uint8" rounds them (see `rounded`).
        batch_size: images at a time; changes the answer by rounding only.

    Raises:
        AttackError: no images or those of several attacks; another form; 8-bit images would leave the budget.
    """
    network = as_network(network)
    if as_ not in ("float", "uint8"):
        raise AttackError(f"as_ = {as_!r}; expected 'float' or 'uint8'")
    attack = as_attack(attack)
    if not isinstance(outcomes, Outcomes):
        raise AttackError(f"the outcomes are {type(outcomes).__name__}; expected what evaluate() gave of this attack")
    if len(outcomes.adversarial) != 1 or len(outcomes.adversarial[0]) != len(images):
        raise AttackError(
            f"{len(outcomes.adversarial)} attacks with images, for {len(images)} images; expected those of one attack: "
            "evaluate one at a time, on these images, with keep_images=True"
        )
    saved = outcomes.adversarial[0]
    if as_ == "uint8":
        saved = _within_budget(network, images, attack, saved, batch_size)
    row_of = {name: row for row, name in enumerate(outcomes.table["image"])}
    rows = outcomes.table[[row_of[name] for name in images.names]]
    predictions = _predictions(network, saved, batch_size)
    correct = torch.tensor((rows["clean_prediction"] == rows["label"]).to_list())
    robust = correct & (predictions == images.labels)
    told = torch.tensor(rows.select(pl.coalesce("robust_last", "robust_any")).to_series().to_list())
    return SavedImages(
        {
            "images": saved.contiguous(),
            "labels": images.labels.clone(),
            "clean_predictions": torch.tensor(rows["clean_prediction"].to_list()),
            "predictions": predictions,
        },
        {
            "names": json.dumps(list(images.names)),
            "attack": attack.kind,
            "parameters": attack.parameters,
            "strength": repr(attack.strength),
            "model": network.name,
            "as_": as_,
            "n_changed": str(int((robust != told).sum())),
        },
    )


def save_images(
    network: Network | nn.Module,
    images: ImageSet,
    attack: Perturbation,
    outcomes: Outcomes,
    path: str | os.PathLike[str],
    *,
    as_: Form = "float",
    batch_size: int = 128,
) -> SavedImages:
    """Write the images that one attack ended with to a safetensors file, and return what was written (see `gathered`).

    Raises:
        DataError: the file cannot be written.
        AttackError: no images or those of several attacks; another form; 8-bit images would leave the budget.
    """
    saved = gathered(network, images, attack, outcomes, as_=as_, batch_size=batch_size)
    saved.save(path)
    return saved


def load_saved_images(path: str | os.PathLike[str]) -> SavedImages:
    """What `save_images` wrote. Raises DataError for a file that is missing, or that something else wrote."""
    shown = repr(os.fspath(path))
    try:
        saved = SavedImages(*safetensors_content(read_bytes(Path(path))))
    except OSError as error:
        raise DataError(f"{shown} cannot be read as saved images: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{shown} cannot be read as saved images: {error}") from error
    wanted = {"images", "labels", "clean_predictions", "predictions", "names", "attack", "parameters", "strength"}
    if missing := sorted(wanted - set(saved.tensors) - set(saved.metadata)):
        raise DataError(f"{shown} has no {missing[0]}; expected a file that save_images() wrote")
    if wrong := _wrong(saved):
        raise DataError(f"{shown} has {wrong}; expected a file that save_images() wrote")
    return saved


def _wrong(saved: SavedImages) -> str | None:
    """What of a file's content save_images() would not have written."""
    images = saved.tensors.get("images")
    if images is None or images.ndim != 4 or images.dtype not in (torch.float32, torch.uint8):
        return "no images of shape (n, channels, height, width), float32 or uint8"
    if images.numel() and not (float(images.min()) >= 0 and (images.dtype == torch.uint8 or float(images.max()) <= 1)):
        return "images outside [0, 1]"
    for name in ("labels", "clean_predictions", "predictions"):
        found = saved.tensors.get(name)
        if found is None or found.dtype != torch.int64 or found.shape != images.shape[:1]:
            return f"no {name} for its {len(images)} images"
    try:
        names, strength = json.loads(saved.metadata["names"]), float(saved.metadata["strength"])
        whole = int(saved.metadata.get("n_changed", "0"))
    except (KeyError, ValueError, RecursionError):
        return "metadata that cannot be read"
    if not isinstance(names, list) or len(names) != len(images) or not all(isinstance(name, str) for name in names):
        return f"no names for its {len(images)} images"
    if not math.isfinite(strength) or whole < 0 or not {"attack", "parameters"} <= set(saved.metadata):
        return "metadata that cannot be"
    return None


def re_evaluate(network: Network | nn.Module, path: str | os.PathLike[str], *, batch_size: int = 128) -> Outcomes:
    """The outcomes of a network on the images in a file, without the attack.

    An image is robust if it is classified as its label, and was so when clean by the network that was attacked. On
    that network, in batches of the same size, the outcomes are those at saving.

    Raises:
        DataError: a file that is missing, or that `save_images` did not write.
        ModelError: the network cannot take these images.
    """
    network, saved = as_network(network), load_saved_images(path)
    labels, clean = saved.tensors["labels"], saved.tensors["clean_predictions"]
    predictions = _predictions(network, saved.tensors["images"], batch_size)
    table = pl.DataFrame(
        {
            "image": json.loads(saved.metadata["names"]),
            "label": labels.tolist(),
            "clean_prediction": clean.tolist(),
            "last_prediction": predictions.tolist(),
            "robust_last": ((clean == labels) & (predictions == labels)).tolist(),
        }
    ).with_columns(
        model=pl.lit(network.name),
        attack=pl.lit(saved.metadata["attack"]),
        parameters=pl.lit(saved.metadata["parameters"]),
        strength=pl.lit(float(saved.metadata["strength"])),
    )
    return Outcomes(conform("outcomes", table), (saved.pixels,))


def _within_budget(network: Network, images: ImageSet, attack: Perturbation, found: Tensor, batch_size: int) -> Tensor:
    parts, n_outside = [], 0
    for where in batches(len(images), batch_size):
        clean = network.pixels(images, where)
        parts.append(rounded(found[where], clean))
        n_outside += int((attack.excess(clean, _pixels(parts[-1])) > BUDGET_TOLERANCE).sum())
    if n_outside:
        raise AttackError(
            f"{n_outside} of {len(images)} images have clean pixels between the 256 levels, and would leave the "
            f"budget ({attack.strength_setting} {attack.strength:g}) as 8-bit images; save them as 'float'"
        )
    return torch.cat(parts)


def _pixels(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _predictions(network: Network, images: Tensor, batch_size: int) -> Tensor:
    """(n,) int64: the classes given to images that are past the network's preprocessing."""
    unlabelled = ImageSet.of(images, torch.zeros(len(images), dtype=torch.int64))
    return predicted(logits(network, unlabelled, batch_size=batch_size))
