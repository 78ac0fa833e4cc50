"""The small networks that are trained here."""

from __future__ import annotations

from typing import Any

from manifoldscope.errors import ModelError, unknown
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.small import SMALL, build
from manifoldscope.vision.sources.files import from_file, normalisation
from manifoldscope.vision.sources.source import SOURCES
from manifoldscope.vision.weights import Fitted


@SOURCES.register("small")
def small(
    name: str,
    *,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    channels: int | None = None,
    size: int | None = None,
    n_classes: int | None = None,
    seed: int = 0,
) -> Network:
    """One of the small networks that are trained here; `list models` names them.

    `channels`, `size` (the side of the images that it takes; others are brought to it) and `n_classes` have no
    default: a study takes them from its images. `weights` is a file, for example a checkpoint that a study trained.
    """
    if name not in SMALL.names():
        raise ModelError(f"small: {unknown('network', name, SMALL.names())}")
    if channels is None or size is None or n_classes is None:
        raise ModelError(
            f"small:{name} has no shape of its own; give channels, size and n_classes, for example "
            "channels=1, size=28, n_classes=10"
        )
    module = build(name, channels=channels, size=size, n_classes=n_classes, seed=seed)
    fitted: Fitted | None = None
    if weights is None:
        provenance: dict[str, Any] = {"weights": "random", "seed": seed}
    else:
        provenance, fitted = from_file(module, weights, f"small:{name}")
    means, stds, said = normalisation(f"small:{name}", mean, std, fitted, channels=channels)
    return Network(
        module,
        name=name,
        mean=means,
        std=stds,
        preprocessing=Preprocessing(crop=size, resize=size, channels=channels),
        provenance={"source": f"small:{name}", **provenance, **said},
    )
