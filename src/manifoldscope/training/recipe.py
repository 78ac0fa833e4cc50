"""Recipe: what a file of trained weights says of itself, so that it can be used and made again without this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network

LIBRARIES = ("manifoldscope", "torch", "torchvision", "timm")


def recipe(
    network: Network,
    *,
    source: Mapping[str, Any],
    training: Mapping[str, Any],
    images: ImageSet | None,
    digest: str | None,
) -> str:
    """How a network is used and was trained, as the text of a JSON object.

    `architecture` is the module as torch prints it; `input` says what it is shown: (pixels - mean) / std, of pixels in
    [0, 1], float32.

    Args:
        network: as it was trained.
        source: what it was built from.
        training: objective, schedule and seeds.
        images: what it was trained on; None where it was not trained.
        digest: their SHA-256.

    Example:
        >>> import torch
        >>> made = Network(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), mean=(0.5,), std=(0.25,))
        >>> told = json.loads(recipe(made, source={}, training={"objective": "random"}, images=None, digest=None))
        >>> told["input"]["mean"], told["input"]["std"]
        ([0.5], [0.25])
    """
    return json.dumps(
        {
            "source": dict(source),
            "architecture": str(network.module),
            "n_parameters": network.n_parameters,
            "input": {
                "mean": list(map(float, network.mean)),
                "std": list(map(float, network.std)),
                "shape": None if images is None else list(network.pixels(images, slice(0, 1)).shape[1:]),
                "preprocessing": asdict(network.preprocessing),
            },
            "training": dict(training),
            "images": None
            if images is None
            else {
                "dataset": images.source,
                "split": images.split,
                "n": len(images),
                "sha256": digest,
                "classes": {str(label): images.class_names[label] for label in images.classes},
            },
            "versions": _versions(),
        },
        sort_keys=True,
    )


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
